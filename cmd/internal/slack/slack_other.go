//go:build !linux

package slack

// Widen is for Linux.
func Widen() {}
