package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// TempSuffix ends the names of files that are not finished. Whoever owns a
// folder removes them when it opens the folder.
const TempSuffix = ".tmp"

// MakeFolder makes sure that there is a folder called name and that its name is
// durable in its parent, also when an earlier run made it and did not come to
// sync it. The parent has to be there: only its own maker knows whether it is
// durable, so folders within folders are made one by one, outermost first.
func MakeFolder(fsys FS, name string, perm fs.FileMode, site Site) error {
	err := fsys.Mkdir(name, perm)
	existed := errors.Is(err, fs.ErrExist)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("make folder %s: %w: make %s first", name, fs.ErrNotExist, filepath.Dir(name))
	case err != nil && !existed:
		return err
	}
	if existed {
		info, err := fsys.Stat(name)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder: move it away", name)
		}
	}
	err = fsys.SyncDir(filepath.Dir(name), site)
	if existed && errors.Is(err, fs.ErrPermission) {
		return nil // made by an administrator, in a folder that we may not read
	}
	return err
}

// Replace gives the file called name the given content, as a whole or not at
// all: it writes a temporary file beside it, syncs it (site content), renames
// it and syncs the folder (site names). When it returns nil the content is
// durable. After an error the old content is there, or the new one if only the
// last step failed.
func Replace(fsys FS, name string, data []byte, perm fs.FileMode, content, names Site) error {
	temp := name + TempSuffix
	if err := writeSynced(fsys, temp, data, perm, content); err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		_ = fsys.Remove(temp)
		return err
	}
	return fsys.SyncDir(filepath.Dir(name), names)
}

func writeSynced(fsys FS, name string, data []byte, perm fs.FileMode, site Site) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync(site)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// ErrTooLong says that a file holds more than it can.
var ErrTooLong = errors.New("the file is too long")

// ReadFile gives what a file holds. Of one with more than limit bytes the error
// satisfies ErrTooLong.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %s holds %d bytes, more than the %d that it can have", ErrTooLong, name, size, limit)
	}
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// Guard refuses writes while free space is short, so that a store stops in good
// order before the disk is full.
type Guard struct {
	FS      FS
	Path    string // any name on the file system in question
	MinFree int64  // bytes that have to stay free; 0 or less: no bound
}

// Check gives an error that satisfies ErrNoSpace when writing need bytes would
// leave less than MinFree. It costs one statfs call.
func (g Guard) Check(need int64) error {
	if g.MinFree <= 0 {
		return nil
	}
	free, err := g.FS.Free(g.Path)
	if err != nil {
		return err
	}
	if free-need < g.MinFree {
		return fmt.Errorf("%w: %d MiB are free at %s, and %d MiB have to stay free: make room, or lower the bound",
			ErrNoSpace, free>>20, g.Path, g.MinFree>>20)
	}
	return nil
}
