package milter

import (
	"net"
	"syscall"
)

// quickAck gives a function that acknowledges at once what was read from a TCP
// connection. MTAs send a milter many small packets and expect no reply to most;
// with Nagle's algorithm at their end and delayed acknowledgements at ours each
// of their writes would wait up to 40 ms for our acknowledgement. Linux falls back
// to delaying by itself, so this has to be said again after each read.
func quickAck(nc net.Conn) func() {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	// An error costs speed only.
	set := func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(set) }
}
