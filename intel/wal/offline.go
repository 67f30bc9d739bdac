package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"

	"github.com/weirmail/weir/intel/disk"
)

// Reader reads a log that this process does not write: one that a daemon has
// open, or a copy. It changes nothing and needs no lock.
type Reader struct {
	folder   folder
	segments []Segment
	tail     tail
}

// OpenReader finds what the log in a folder holds now. Of a log that is being
// written it may see records that are not durable yet. A torn last batch is left
// out; other damage to the last segment, or between segments, is a *DamageError.
func OpenReader(fsys disk.FS, dir string) (*Reader, error) {
	r := &Reader{folder: folder{fs: fsys, dir: dir}}
	const tries = 5 // the daemon may drop segments between the look at the folder and that at its files
	var err error
	for range tries {
		if err = r.load(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read log in %s: %w", dir, err)
	}
	return r, nil
}

func (r *Reader) load() error {
	var err error
	if r.segments, err = r.folder.list(); err != nil || len(r.segments) == 0 {
		return err
	}
	active := &r.segments[len(r.segments)-1]
	file, err := r.folder.fs.OpenFile(r.folder.path(active.Base), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	r.tail, err = r.folder.findTail(file, *active)
	active.Bytes = r.tail.end
	return err
}

// Read is as Log.Read, up to the last record that was there when the Reader
// was opened.
func (r *Reader) Read(after Position) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) { r.folder.read(r.segments, after, yield) }
}

// Get is as Log.Get.
func (r *Reader) Get(at Position) (Record, error) { return r.folder.get(r.segments, at) }

// Segments lists the files of the log, oldest first.
func (r *Reader) Segments() []Segment { return r.segments }

// Torn gives the number of bytes at the end that belong to no record: what the
// next Open would cut off, or what a daemon is writing at the moment.
func (r *Reader) Torn() int64 { return r.tail.cut }
