package blob

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

// Put implements Store. A blob that is there is replaced by the new copy: that
// mends a damaged one, and needs no trust in what another Put did or did not come
// to sync.
func (f *Folder) Put(ctx context.Context, content []byte) (Ref, error) {
	ref := RefOf(content)
	began := time.Now()
	if err := f.put(ctx, ref, content); err != nil {
		f.metrics.failed.Inc()
		return Ref{}, wrap(ref, err)
	}
	f.metrics.put.Observe(time.Since(began).Seconds())
	return ref, nil
}

func (f *Folder) put(ctx context.Context, ref Ref, content []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	reserved, err := f.reserve(content)
	if err != nil {
		return err
	}
	defer f.bytes.Add(-reserved) // what was stored in the end is counted apart

	temp := fmt.Sprintf("%s.%d%s", f.path(ref), f.temps.Add(1), disk.TempSuffix)
	size, err := f.write(ctx, temp, content)
	if err == nil {
		err = f.name(temp, ref, size)
	}
	if err != nil {
		_ = f.o.FS.Remove(temp)
		return err
	}
	return f.o.FS.SyncDir(f.shard(ref[0]), siteName)
}

// reserve books the most that a content can take.
func (f *Folder) reserve(content []byte) (int64, error) {
	most := int64(f.codecs.bound(len(content)))
	guard := disk.Guard{FS: f.o.FS, Path: f.o.Dir, MinFree: f.o.MinFree}
	if err := guard.Check(most); err != nil {
		return 0, err
	}
	if total := f.bytes.Add(most); f.o.MaxBytes > 0 && total > f.o.MaxBytes {
		f.bytes.Add(-most)
		return 0, fmt.Errorf("%w: %d bytes are kept, of at most %d: delete or release items, or raise the limit",
			ErrFull, total-most, f.o.MaxBytes)
	}
	return most, nil
}

// write compresses a content into a file of its own, synced.
func (f *Folder) write(ctx context.Context, name string, content []byte) (size int64, err error) {
	file, err := f.o.FS.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	out := &counter{w: io.NewOffsetWriter(file, 0), ctx: ctx}
	if err := f.codecs.compress(out, content); err != nil {
		return 0, err
	}
	return out.n, file.Sync(siteContent)
}

// counter counts what is written, and stops when the context ends.
type counter struct {
	w   io.Writer
	ctx context.Context
	n   int64
}

func (c *counter) Write(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// name gives a finished file the time of its put and the blob's name. The time is
// taken under the lock: a put that began earlier and ends later must not leave an
// earlier one. That it may be lost in a power cut, and be that of the last write,
// does no harm: who had not recorded yet that he needs the blob is gone then.
func (f *Folder) name(temp string, ref Ref, size int64) error {
	lock := &f.names[ref[0]]
	lock.Lock()
	defer lock.Unlock()
	name := filepath.Clean(f.path(ref))
	before, err := f.o.FS.Stat(name)
	replaces := err == nil
	if err := f.o.FS.Chtimes(temp, f.o.Clock()); err != nil {
		return err
	}
	if err := f.o.FS.Rename(temp, name); err != nil {
		return err
	}
	f.bytes.Add(size)
	if replaces {
		f.bytes.Add(-before.Size())
	} else {
		f.count.Add(1)
	}
	return nil
}
