//go:build !linux

package milter

import (
	"io"
	"net"
)

// streamOf is for Linux.
func streamOf(nc net.Conn) io.ReadWriter { return nc }
