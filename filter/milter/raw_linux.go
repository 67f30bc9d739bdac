//go:build !race

package milter

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// raw reads and writes a socket with system calls of which the runtime is not told.
// It may wake a thread of its own for each that might block, to look after the others
// meanwhile; ours never does, since Go's sockets are non-blocking, and waiting for
// one is left to the runtime as ever. Behind a Postfix that spared the daemon 9 µs
// of CPU time a message. The race detector has to see reads and writes, which order
// what both ends do, so that a program with it does without. Like the conn that it
// belongs to, it serves one goroutine at a time.
type raw struct {
	conn        syscall.RawConn
	read, write func(fd uintptr) bool // made once: they would be allocated at each call

	p   []byte // to be filled or written
	n   int
	err error
}

// streamOf gives what reads and writes a connection: what is no socket does it itself.
func streamOf(nc net.Conn) io.ReadWriter {
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return nc
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return nc
	}
	r := &raw{conn: conn}
	r.read = func(fd uintptr) bool { return r.try(fd, syscall.SYS_READ) }
	r.write = func(fd uintptr) bool {
		for len(r.p) > r.n && r.err == nil {
			if !r.try(fd, syscall.SYS_WRITE) {
				return false
			}
		}
		return true
	}
	return r
}

// try makes one system call with what is left of p, and reports whether it could.
func (r *raw) try(fd, trap uintptr) bool {
	for {
		rest := r.p[r.n:]
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)))
		switch errno {
		case 0:
			r.n += int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			r.err = os.NewSyscallError("read or write", errno)
			return true
		}
	}
}

// do is a call of Read or Write. p must not be empty.
func (r *raw) do(call func(func(uintptr) bool) error, try func(uintptr) bool, p []byte) (int, error) {
	r.p, r.n, r.err = p, 0, nil
	err := call(try)
	if err == nil {
		err = r.err
	}
	r.p = nil
	return r.n, err
}

// Read is as net.Conn's.
func (r *raw) Read(p []byte) (int, error) {
	n, err := r.do(r.conn.Read, r.read, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write is as net.Conn's.
func (r *raw) Write(p []byte) (int, error) { return r.do(r.conn.Write, r.write, p) }
