package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// System is the operating system's file system. It has no state.
type System struct{}

var _ FS = System{}

// OpenFile implements FS.
func (System) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, noSpace(err)
	}
	conn, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &systemFile{f, conn}, nil
}

// Mkdir implements FS.
func (System) Mkdir(name string, perm fs.FileMode) error { return noSpace(os.Mkdir(name, perm)) }

// Rename implements FS.
func (System) Rename(from, to string) error { return noSpace(os.Rename(from, to)) }

// Remove implements FS.
func (System) Remove(name string) error { return os.Remove(name) }

// ReadDir implements FS.
func (System) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat implements FS.
func (System) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Chtimes implements FS.
func (System) Chtimes(name string, modified time.Time) error {
	return os.Chtimes(name, time.Time{}, modified)
}

// SyncDir implements FS.
func (System) SyncDir(name string, _ Site) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	err = noSpace(f.Sync())
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Free implements FS.
func (System) Free(name string) (int64, error) {
	var st unix.Statfs_t
	for {
		switch err := unix.Statfs(name, &st); {
		case err == nil:
			return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // narrower on 32-bit systems
		case !errors.Is(err, unix.EINTR):
			return 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
		}
	}
}

type systemFile struct {
	f    *os.File
	conn syscall.RawConn
}

func (f *systemFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

func (f *systemFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, noSpace(err)
}

func (f *systemFile) Close() error { return noSpace(f.f.Close()) }

func (f *systemFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *systemFile) Truncate(size int64) error { return noSpace(f.f.Truncate(size)) }

func (f *systemFile) Sync(Site) error { return noSpace(f.f.Sync()) }

func (f *systemFile) Datasync(Site) error {
	var err error
	if ctlErr := f.conn.Control(func(fd uintptr) {
		for {
			if err = unix.Fdatasync(int(fd)); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}); ctlErr != nil {
		return ctlErr
	}
	if err != nil {
		return noSpace(&fs.PathError{Op: "fdatasync", Path: f.f.Name(), Err: err})
	}
	return nil
}

// noSpace marks the errors that a full disk or a quota causes.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
