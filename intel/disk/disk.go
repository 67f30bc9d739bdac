package disk

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// Site names one place in the code that makes something durable, such as
// "wal.append". The real disk ignores it. Sites are constants of the package
// that calls, one for each call.
type Site string

// ErrNoSpace is the root of every error that a lack of space caused: the disk
// is full, a quota is reached, or a Guard saw too little left. What was to be
// written is not there, and trying again once there is room is right.
var ErrNoSpace = errors.New("not enough disk space")

// FS is a file system. Names are paths as package os takes them. Errors are
// those of package os (fs.ErrNotExist and so on), and satisfy ErrNoSpace where
// space was the cause.
//
// What was written, created, renamed or removed survives a power cut only after
// the matching sync: File.Sync or File.Datasync for what a file holds, SyncDir
// of the folder for the names in it. A rename within one folder survives as a
// whole or not at all.
type FS interface {
	// OpenFile opens a file as os.OpenFile does. Appending (os.O_APPEND) is not
	// offered: offsets are the caller's.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Mkdir makes one folder.
	Mkdir(name string, perm fs.FileMode) error
	// Rename moves a file, replacing what has the new name.
	Rename(from, to string) error
	// Remove removes a file or an empty folder.
	Remove(name string) error
	// ReadDir lists a folder in the order of names.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file or folder.
	Stat(name string) (fs.FileInfo, error)
	// Chtimes sets a file's modification time.
	Chtimes(name string, modified time.Time) error
	// SyncDir makes the names in a folder durable.
	SyncDir(name string, site Site) error
	// Free gives the bytes that an unprivileged process can still write to the
	// file system that holds name.
	Free(name string) (int64, error)
}

// File is an open file. Its methods may be called at the same time, as those of
// os.File; ReadAt and WriteAt keep no offset.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size gives the file's length in bytes.
	Size() (int64, error)
	// Truncate cuts the file, or extends it with zeros.
	Truncate(size int64) error
	// Sync makes content and all metadata durable. After an error nothing is
	// known of what was written since the last success, and a second Sync that
	// succeeds proves nothing: the kernel may have dropped the pages. Write again.
	Sync(site Site) error
	// Datasync is Sync without the metadata that reading does not need; the
	// length is included.
	Datasync(site Site) error
}
