package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/weirmail/weir/intel/disk"
)

// inMemory bounds the contents that are kept in memory from their check to their
// use. Larger ones are read twice.
const inMemory = 1 << 20

// Open implements Store.
func (f *Folder) Open(ctx context.Context, ref Ref) (Content, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	file, err := f.o.FS.OpenFile(f.path(ref), os.O_RDONLY, 0)
	if err != nil {
		return nil, wrap(ref, err)
	}
	c, err := f.check(ctx, file, ref)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("blob %s: %w", ref, err)
	}
	return c, nil
}

// check reads a blob to its end and compares it with its name.
func (f *Folder) check(ctx context.Context, file disk.File, ref Ref) (Content, error) {
	plain, said, err := f.codecs.decompress(file)
	if err != nil {
		return nil, err
	}
	size := said
	if size < 0 {
		size = unsaid // at most; how many there are shows below
	}
	var kept bytes.Buffer
	sum := sha256.New()
	to := io.Writer(sum)
	if size <= inMemory {
		kept.Grow(int(size))
		to = io.MultiWriter(sum, &kept)
	}
	n, err := io.Copy(to, &interruptible{ctx, io.LimitReader(plain, size+1)})
	f.codecs.giveBack(plain)
	switch {
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, damaged(err)
	case said >= 0 && n != size || Ref(sum.Sum(nil)) != ref:
		return nil, fmt.Errorf("%w: its content is not what its name says", ErrDamaged)
	}
	if size <= inMemory {
		return &small{Reader: bytes.NewReader(kept.Bytes())}, file.Close()
	}
	plain, _, err = f.codecs.decompress(file)
	if err != nil {
		return nil, err
	}
	return &large{f: f, file: file, plain: plain, size: size}, nil
}

// damaged tells what is wrong with the bytes from a failing device.
func damaged(err error) error {
	var device *os.PathError
	if errors.As(err, &device) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := context.Cause(i.ctx); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// small is a content in memory.
type small struct{ *bytes.Reader }

func (s *small) Size() int64  { return s.Reader.Size() }
func (s *small) Close() error { return nil }

// large is a content that is read from its file once more.
type large struct {
	f     *Folder
	file  disk.File
	plain *decoder
	size  int64
}

func (l *large) Size() int64 { return l.size }

func (l *large) Read(p []byte) (int, error) {
	if l.plain == nil {
		return 0, os.ErrClosed
	}
	n, err := l.plain.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damaged(err)
	}
	return n, err
}

func (l *large) Close() error {
	if l.plain == nil {
		return os.ErrClosed
	}
	l.f.codecs.giveBack(l.plain)
	l.plain = nil
	return l.file.Close()
}
