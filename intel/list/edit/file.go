package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirmail/weir/intel/disk"
)

// file is an operators' list on disk.
type file struct {
	name string
	// between is called when the new content stands beside the file, and just before
	// they change places, for tests.
	between func(step string)
}

// read gives the content of the file, nil if there is none.
func (f *file) read() ([]byte, error) { return readFile(f.name) }

func readFile(name string) ([]byte, error) {
	in, _, err := disk.OpenRegular(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	if err == nil && len(content) > maxBytes {
		err = fmt.Errorf("%s has more than %d bytes", name, maxBytes)
	}
	if content == nil {
		content = []byte{}
	}
	return content, err
}

// replace makes the file hold next if it holds old, nil for one that is not there.
// done is false where it holds something else by now, which then stays.
func (f *file) replace(old, next []byte) (done bool, err error) {
	if err := os.MkdirAll(filepath.Dir(f.name), 0o755); err != nil {
		return false, err
	}
	name := f.name
	if old != nil {
		if name, err = filepath.EvalSymlinks(f.name); err != nil {
			return false, err
		}
	}
	beside := name + disk.TempSuffix
	if err := writeBeside(name, beside, next); err != nil {
		_ = os.Remove(beside)
		return false, err
	}
	f.meanwhile("written")
	if old == nil {
		done, err = create(name, beside)
	} else {
		done, err = f.exchange(name, beside, old, next)
	}
	if err == nil && done {
		err = syncFolder(filepath.Dir(name))
	}
	return done, err
}

func (f *file) meanwhile(step string) {
	if f.between != nil {
		f.between(step)
	}
}

// writeBeside writes a file durably, with the mode and, as far as that is allowed,
// the owner of the one in whose place it will be.
func writeBeside(name, beside string, content []byte) error {
	perm := fs.FileMode(0o644)
	info, err := os.Stat(name)
	if err == nil {
		perm = info.Mode().Perm()
	}
	_ = os.Remove(beside) // of a run that died while it wrote
	out, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = out.Write(content)
	if info != nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			_ = out.Chown(int(owner.Uid), int(owner.Gid)) // a daemon that is not root keeps its own
		}
		err = errors.Join(err, out.Chmod(perm))
	}
	return errors.Join(err, out.Sync(), out.Close())
}

// create gives the file its name, unless another one has taken it.
func create(name, beside string) (done bool, err error) {
	err = os.Link(beside, name)
	err = errors.Join(err, os.Remove(beside))
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// exchange puts the file beside in place of the one that held old.
func (f *file) exchange(name, beside string, old, next []byte) (done bool, err error) {
	swap := func() error {
		return unix.Renameat2(unix.AT_FDCWD, beside, unix.AT_FDCWD, name, unix.RENAME_EXCHANGE)
	}
	// Most often this tells, and nobody ever sees a version that does not stay.
	if now, err := readFile(name); err != nil || !bytes.Equal(now, old) || now == nil {
		return false, errors.Join(err, os.Remove(beside))
	}
	f.meanwhile("exchange")
	err = swap()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return true, os.Rename(beside, name) // the look before has to do
	}
	if errors.Is(err, fs.ErrNotExist) { // it was removed just now
		return false, os.Remove(beside)
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(beside))
	}
	found, err := readFile(beside)
	if err == nil && bytes.Equal(found, old) {
		return true, os.Remove(beside)
	}
	// What was there is newer than what had been read: it comes back.
	if err := swap(); err != nil {
		return false, fmt.Errorf("%s was changed by somebody else, whose version is %s now: %w", name, beside, err)
	}
	if ours, err := readFile(beside); err != nil || !bytes.Equal(ours, next) {
		return false, fmt.Errorf("%s was changed twice at the same moment; one version is %s now: %w", name, beside, errors.Join(ErrContended, err))
	}
	return false, os.Remove(beside)
}

func syncFolder(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
