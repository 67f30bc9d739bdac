package mta

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// dialAs connects to a unix socket with the rights of another user. On Linux
// these belong to a thread: the goroutine takes one for itself, gives it the
// user's file system IDs and groups, and the runtime ends the thread with the
// goroutine.
func dialAs(id identity, path string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked
		conn, err := connectAs(id, path)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

func connectAs(id identity, path string) (net.Conn, error) {
	if err := unix.Setgroups(id.groups); err != nil {
		return nil, fmt.Errorf("cannot take the groups of %s: %w", id.name, err)
	}
	// Both give the ID that was in force and no error: asked again, they tell.
	for _, set := range []struct {
		to  int
		try func(int) (int, error)
	}{{id.gid, unix.SetfsgidRetGid}, {id.uid, unix.SetfsuidRetUid}} {
		if _, err := set.try(set.to); err != nil {
			return nil, err
		}
		if now, err := set.try(set.to); err != nil || now != set.to {
			return nil, fmt.Errorf("cannot become %s: %w", id.name, syscall.EPERM)
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	within := unix.NsecToTimeval(dialWithin.Nanoseconds()) // also bounds connect(2), see unix(7)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &within); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: os.NewSyscallError("connect", err)}
	}
	return net.FileConn(f)
}
