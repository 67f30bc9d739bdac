package feed

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/weirmail/weir/intel/disk"
)

// ErrTooLarge says that a document has more bytes than Feed.MaxBytes.
var ErrTooLarge = errors.New("larger than max_size")

// unpack gives what a document holds: itself, or what is packed in it, at most so
// many bytes.
func unpack(f disk.File, limit int64) (io.Reader, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	plain := io.NewSectionReader(f, 0, size)
	head := make([]byte, 4)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bufio.NewReader(plain))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return &limited{z, limit, "gzip"}, nil
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		z, err := zip.NewReader(f, size)
		if err != nil {
			return nil, fmt.Errorf("zip: %w", err)
		}
		if len(z.File) != 1 || z.File[0].FileInfo().IsDir() {
			return nil, fmt.Errorf("zip: there are %d files in the archive, and one is meant", len(z.File))
		}
		one, err := z.File[0].Open()
		if err != nil {
			return nil, fmt.Errorf("zip: %w", err)
		}
		return &limited{one, limit, "zip"}, nil
	}
	return &limited{plain, limit, ""}, nil
}

// limited ends with an error behind so many bytes.
type limited struct {
	r    io.Reader
	left int64
	kind string // how it was packed
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, ErrTooLarge
	}
	// One byte more tells an end from a limit.
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) && l.kind != "" {
		err = fmt.Errorf("%s: %w", l.kind, err)
	}
	return n, err
}
