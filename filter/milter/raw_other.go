//go:build !linux || race

package milter

import (
	"io"
	"net"
)

// streamOf is for Linux, and not for the race detector.
func streamOf(nc net.Conn) io.ReadWriter { return nc }
