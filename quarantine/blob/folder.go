package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// Options says where blobs are kept and how many.
type Options struct {
	FS       disk.FS // required
	Dir      string  // made where it is missing; its parent has to be there; required
	MaxBytes int64   // all blobs together, as stored; 0: no bound
	MinFree  int64   // below so much free space Put gives disk.ErrNoSpace; 0: only a full disk does

	Clock   func() time.Time      // time.Now if nil
	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

func (o *Options) validate() error {
	switch {
	case o.FS == nil:
		return errors.New("blob: Options.FS is missing")
	case o.Dir == "":
		return errors.New("blob: Options.Dir is missing")
	case o.MaxBytes < 0, o.MinFree < 0:
		return errors.New("blob: a size in Options is negative")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

// Every sync of this package has its site here.
const (
	siteFolder  disk.Site = "blob.folder"  // the store's folder in its parent
	siteShards  disk.Site = "blob.shards"  // the folders in it
	siteContent disk.Site = "blob.content" // what a blob holds
	siteName    disk.Site = "blob.name"    // a blob's name
	siteDelete  disk.Site = "blob.delete"  // a removed blob's name
)

const (
	shards     = 256
	suffix     = ".zst"
	folderMode = fs.FileMode(0o700)
	fileMode   = fs.FileMode(0o600)
)

// Folder keeps blobs as files of this node: DIR/ab/abcd….zst, zstd frames that
// any zstd can read. All methods may be called at the same time.
type Folder struct {
	o       Options
	codecs  codecs
	temps   atomic.Uint64 // numbers temporary files
	bytes   atomic.Int64  // stored; what is being written counts in full
	count   atomic.Int64
	names   [shards]sync.Mutex // held while the names in a shard change
	metrics *metrics
}

var _ Store = (*Folder)(nil)

// OpenFolder opens a store, or makes it, and removes what a crash left
// unfinished. It looks at every file once. A folder must be open once at a time:
// the caller holds a disk.Lock on the state folder.
func OpenFolder(o Options) (*Folder, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	f := &Folder{o: o}
	if err := f.prepare(); err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	var err error
	f.metrics, err = newMetrics(f)
	return f, err
}

// Close gives the store up. Nothing is left to be written.
func (f *Folder) Close() error {
	f.metrics.unregister()
	return nil
}

// Usage gives the bytes that all blobs take, and their number.
func (f *Folder) Usage() (stored, count int64) { return f.bytes.Load(), f.count.Load() }

func (f *Folder) prepare() error {
	if err := disk.MakeFolder(f.o.FS, f.o.Dir, folderMode, siteFolder); err != nil {
		return err
	}
	for i := range shards {
		if err := f.o.FS.Mkdir(f.shard(byte(i)), folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	// Also when all were there: a run before may have died before its sync.
	if err := f.o.FS.SyncDir(f.o.Dir, siteShards); err != nil {
		return err
	}
	for i := range shards {
		if err := f.take(byte(i)); err != nil {
			return err
		}
	}
	return nil
}

// take counts a shard's blobs and removes what is unfinished.
func (f *Folder) take(shard byte) error {
	entries, err := f.o.FS.ReadDir(f.shard(shard))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), disk.TempSuffix) {
			if err := f.o.FS.Remove(filepath.Join(f.shard(shard), e.Name())); err != nil {
				return err
			}
			continue
		}
		if _, ok := parseName(e.Name()); !ok {
			f.o.Logger.Warn("a file among the blobs is none of them", zap.String("file", filepath.Join(f.shard(shard), e.Name())))
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f.bytes.Add(info.Size())
		f.count.Add(1)
	}
	return nil
}

func (f *Folder) shard(n byte) string { return filepath.Join(f.o.Dir, fmt.Sprintf("%02x", n)) }

func (f *Folder) path(ref Ref) string { return filepath.Join(f.shard(ref[0]), ref.String()+suffix) }

func parseName(name string) (Ref, bool) {
	text, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return Ref{}, false
	}
	ref, err := ParseRef(text)
	return ref, err == nil
}

// Stat implements Store.
func (f *Folder) Stat(ctx context.Context, ref Ref) (Info, error) {
	if err := context.Cause(ctx); err != nil {
		return Info{}, err
	}
	info, err := f.o.FS.Stat(f.path(ref))
	if err != nil {
		return Info{}, wrap(ref, err)
	}
	return Info{ref, info.Size(), info.ModTime()}, nil
}

// wrap says which blob an error is about.
func wrap(ref Ref, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", ref, ErrNotFound)
	}
	return fmt.Errorf("blob %s: %w", ref, err)
}

// Delete implements Store. An error that comes after the blob was removed leaves
// open whether it stays so after a power cut.
func (f *Folder) Delete(ctx context.Context, ref Ref, before time.Time) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	lock := &f.names[ref[0]]
	lock.Lock()
	defer lock.Unlock()
	info, err := f.o.FS.Stat(f.path(ref))
	if err != nil {
		return wrap(ref, err)
	}
	if !info.ModTime().Before(before) {
		return fmt.Errorf("blob %s: %w", ref, ErrRecent)
	}
	if err := f.o.FS.Remove(f.path(ref)); err != nil {
		return wrap(ref, err)
	}
	f.bytes.Add(-info.Size())
	f.count.Add(-1)
	if err := f.o.FS.SyncDir(f.shard(ref[0]), siteDelete); err != nil {
		return wrap(ref, err)
	}
	return nil
}

// All implements Store.
func (f *Folder) All(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for i := range shards {
			if err := context.Cause(ctx); err != nil {
				yield(Info{}, err)
				return
			}
			entries, err := f.o.FS.ReadDir(f.shard(byte(i)))
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, e := range entries {
				ref, ok := parseName(e.Name())
				if !ok {
					continue
				}
				info, err := e.Info()
				if errors.Is(err, fs.ErrNotExist) {
					continue // deleted meanwhile
				}
				if err != nil {
					yield(Info{}, wrap(ref, err))
					return
				}
				if !yield(Info{ref, info.Size(), info.ModTime()}, nil) {
					return
				}
			}
		}
	}
}
