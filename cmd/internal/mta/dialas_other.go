//go:build !linux

package mta

import "net"

// dialAs connects to a unix socket with the rights of this process: only Linux
// lends those of others to one thread.
func dialAs(_ identity, path string) (net.Conn, error) {
	return net.DialTimeout("unix", path, dialWithin)
}
