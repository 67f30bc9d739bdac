package spool

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirmail/weir/filter/message"
)

func TestAFullDiskIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p := newPool(t, Options{Dir: dir, MemoryPerMessage: 64 << 10})
	s := p.Spool()
	b := s.New()
	var err error
	for range 100 {
		if _, err = b.Write(make([]byte, 64<<10)); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk gave %v", err)
	}
	if _, again := b.Bytes(); !errors.Is(again, syscall.ENOSPC) {
		t.Errorf("and then %v", again)
	}

	text := "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=61 ", 1<<20)
	m := message.Parse([]byte(text), message.Options{Scratch: s})
	if !errors.Is(m.Incomplete, syscall.ENOSPC) {
		t.Errorf("the parser says %v", m.Incomplete)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if after := p.Spool().New(); after != nil {
		write(t, after, make([]byte, 512<<10))
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}
	if p.Files() != 0 {
		t.Errorf("%d files are left", p.Files())
	}
}
