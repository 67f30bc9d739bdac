package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

// FileOptions says which file is followed.
type FileOptions struct {
	Path string        // required
	Poll time.Duration // how often a file at its end is looked at again; 100 ms if 0
}

// File follows a file that others append to and rotate: by renaming it and
// making a new one, or by copying and truncating it. What was rotated before it
// was read is read first; of compressed files nothing is.
type File struct {
	path string
	poll time.Duration
}

const defaultPoll = 100 * time.Millisecond

// NewFile checks the options. The file need not be there.
func NewFile(o FileOptions) (*File, error) {
	if o.Path == "" {
		return nil, errNoPath
	}
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	return &File{path: o.Path, poll: o.Poll}, nil
}

// Name implements Source.
func (f *File) Name() string { return filePrefix + f.path }

// Run implements Source. It ends with an error when the file is not there at
// first, or cannot be read.
func (f *File) Run(ctx context.Context, after []byte, emit Emit) error {
	at, err := readPlace(after)
	if err != nil {
		return err
	}
	drained := false // all of the file that at lies in was read
	for {
		parts, gap, err := f.parts(at, drained)
		if err != nil {
			return err
		}
		at, err = f.read(ctx, parts, gap, emit)
		if errors.Is(err, errEnded) {
			return nil
		}
		if err != nil {
			return err
		}
		drained = at.drained
	}
}

// read reads parts one after the other; of the last one it waits for more until
// the file is rotated. It gives where it ended, or errEnded.
func (f *File) read(ctx context.Context, parts []*part, gap string, emit Emit) (place, error) {
	defer closeAll(parts)
	// Also without a gap: whoever waited for the file sees that it is there.
	if err := emit(Batch{Gap: gap, AsOf: parts[0].place.Written, After: parts[0].place.encode()}); err != nil {
		return place{}, err
	}
	for i, p := range parts {
		if err := p.toEnd(ctx, emit); err != nil {
			if errors.Is(err, errTruncated) {
				return p.place, nil
			}
			return place{}, fmt.Errorf("read %s: %w", p.file.Name(), err)
		}
		if i < len(parts)-1 {
			if err := p.finish(emit); err != nil {
				return place{}, err
			}
		}
	}
	live := parts[len(parts)-1]
	for {
		if !sleep(ctx, f.poll) {
			return place{}, errEnded
		}
		// Whoever writes goes over to a new file once; then the old one is complete.
		moved := f.moved(live)
		err := live.toEnd(ctx, emit)
		switch {
		case errors.Is(err, errTruncated):
			return live.place, nil
		case err != nil:
			return place{}, fmt.Errorf("read %s: %w", f.path, err)
		case moved:
			if err := live.finish(emit); err != nil {
				return place{}, err
			}
			live.place.drained = true
			return live.place, nil
		}
	}
}

// moved reports whether there is another file in the place of the one that is
// read, and somebody writes to it.
func (f *File) moved(p *part) bool {
	info, err := os.Stat(f.path)
	if err != nil || info.Size() == 0 {
		return false // the next one is not there yet
	}
	dev, ino := identity(info)
	return dev != p.place.Device || ino != p.place.Inode
}

// part is a file that is read from a place on.
type part struct {
	file  *os.File
	place place // behind the last whole line

	split  splitter
	offset int64  // of what was read last, whole lines or not
	tail   []byte // the bytes before offset
	buf    []byte
}

const chunk = 256 << 10

var (
	errTruncated = errors.New("the file is not the one that was read")
	errEnded     = errors.New("reading was ended")
)

func openPart(path string) (*part, error) {
	file, info, err := disk.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	p := &part{file: file}
	p.place.Device, p.place.Inode = identity(info)
	p.place.Written = info.ModTime()
	return p, nil
}

// toEnd reads what there is and emits it. Each read begins before the offset, so
// that a file that was truncated and has grown again is told from the same one.
// Without an error all was read: what is pending then is a line that goes on, or
// has no end.
func (p *part) toEnd(ctx context.Context, emit Emit) error {
	if p.buf == nil {
		p.buf = make([]byte, maxTail+chunk)
	}
	for ctx.Err() == nil {
		n, err := p.file.ReadAt(p.buf[:len(p.tail)+chunk], p.offset-int64(len(p.tail)))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n < len(p.tail) || !bytes.Equal(p.buf[:len(p.tail)], p.tail) {
			return errTruncated
		}
		if n == len(p.tail) {
			return nil
		}
		info, err := p.file.Stat()
		if err != nil {
			return err
		}
		p.place.Written = info.ModTime()
		if err := p.take(p.buf[:n], emit); err != nil {
			return err
		}
	}
	return errEnded
}

// take emits the lines in what was read, tail first.
func (p *part) take(read []byte, emit Emit) error {
	var b Batch
	fresh := read[len(p.tail):]
	consumed, tooLong := p.split.feed(fresh, func(line []byte) { b.add(line) })
	p.offset += int64(len(fresh))
	whole := read[:len(read)-int(min(p.split.pending, int64(len(fresh))))]
	p.tail = append(p.tail[:0], lastBytes(read)...)
	if consumed == 0 {
		return nil
	}
	p.place.Offset += consumed
	p.place.setTail(lastBytes(whole))
	return p.emit(b, tooLong, emit)
}

// finish emits a last line that has no end. Nothing more will come.
func (p *part) finish(emit Emit) error {
	var b Batch
	consumed, tooLong := p.split.rest(func(line []byte) { b.add(line) })
	if consumed == 0 {
		return nil
	}
	p.place.Offset += consumed
	p.place.setTail(p.tail)
	return p.emit(b, tooLong, emit)
}

func (p *part) emit(b Batch, tooLong int, emit Emit) error {
	b.TooLong, b.AsOf, b.After = tooLong, p.place.Written, p.place.encode()
	return emit(b)
}

// add takes a line, but for those that are empty.
func (b *Batch) add(line []byte) {
	if len(line) > 0 {
		b.Lines = append(b.Lines, Line{Text: line})
	}
}

func lastBytes(b []byte) []byte { return b[max(0, len(b)-maxTail):] }
