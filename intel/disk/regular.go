package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular says that something else stands where a file was to be read.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens a file of the host for reading and gives what it is. A pipe in
// its place, which would hold up who opens it until somebody writes, or anything else
// that is no regular file, is an *fs.PathError with ErrNotRegular; the information
// is given then, too. Other errors are those of os.OpenFile.
func OpenRegular(name string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, info, errors.Join(err, file.Close())
	}
	return file, info, nil
}
