package milter

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// sockets gives both ends of a connection over a unix socket.
func sockets(t *testing.T) (ours, theirs *net.UnixConn) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	theirs, err = net.DialUnix("unix", nil, ln.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	if ours, err = ln.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	return ours, theirs
}

func TestARawStreamWritesMoreThanTheSocketTakesAtOnce(t *testing.T) {
	ours, theirs := sockets(t)
	if err := ours.SetWriteBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(streamOf(theirs))
		got <- all
	}()
	if n, err := streamOf(ours).Write(want); n != len(want) || err != nil {
		t.Fatalf("%d bytes written, of %d: %v", n, len(want), err)
	}
	_ = ours.Close()
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("%d bytes came, of %d, or others", len(all), len(want))
	}
}

func TestARawStreamObeysDeadlinesAndSaysHowFarItCame(t *testing.T) {
	ours, _ := sockets(t)
	s := streamOf(ours)
	passed := time.Now().Add(-time.Second)
	if err := ours.SetReadDeadline(passed); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d, %v", n, err)
	}
	many := make([]byte, 4<<20)
	if err := ours.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Write(many); n == 0 || n == len(many) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d of %d that nobody reads, %v", n, len(many), err)
	}
}

func TestARawStreamTellsOfTheOtherEndsEnd(t *testing.T) {
	ours, theirs := sockets(t)
	s := streamOf(ours)
	_ = theirs.Close()
	if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := s.Write([]byte("x")); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("wrote %d, %v", n, err)
	}
	_ = ours.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}
