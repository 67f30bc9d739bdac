package kv

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// CompactionReserve is what compactions may write in the background while
// nothing is written by us, in bytes: two at a time, the larger one of a full
// level 0 (15 tables of 8 MiB) into a base level that holds less than 100 MiB.
const CompactionReserve = 512 << 20

// DefaultMinFree is the free space below which a database is neither opened nor
// written to.
const DefaultMinFree = CompactionReserve

// Options says how a database is kept.
type Options struct {
	// FS holds the marker and tells the free space; required. Badger itself always
	// uses the operating system's file system.
	FS disk.FS
	// Dir is the database's folder, made where it is missing; required unless
	// InMemory. Its parent has to be there.
	Dir string
	// Name names the database in metrics and messages; required.
	Name string
	// Schema is the version of what the keys and values mean. A database of
	// another version is emptied.
	Schema uint32
	// BootID tells one boot of the machine from the next; the kernel's if empty.
	BootID string
	// MinFree is the free space in bytes below which nothing is opened or written;
	// DefaultMinFree if 0, no bound if negative.
	MinFree int64
	// InMemory keeps everything in memory and nothing on disk: for tests, and for
	// tools that look at something once.
	InMemory bool

	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none

	closeWithin time.Duration // for tests; closeWithin if 0
}

// closeWithin is how long Close waits for what is under way and for Badger. What
// is in memory, 32 MiB at most, takes a second or two to write; where it cannot
// be written Badger tries again for ever.
const closeWithin = 10 * time.Second

func (o *Options) validate() error {
	switch {
	case o.Name == "":
		return errors.New("kv: Options.Name is missing")
	case o.FS == nil && !o.InMemory:
		return errors.New("kv: Options.FS is missing")
	case o.Dir == "" && !o.InMemory:
		return errors.New("kv: Options.Dir is missing")
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.closeWithin == 0 {
		o.closeWithin = closeWithin
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.BootID == "" && !o.InMemory {
		id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		o.BootID = strings.TrimSpace(string(id))
		if err != nil || o.BootID == "" {
			// Then a database that was not closed is always in doubt.
			o.BootID = fmt.Sprintf("unknown-%d", time.Now().UnixNano())
		}
	}
	if strings.ContainsAny(o.BootID, " \n") {
		return fmt.Errorf("kv: boot ID %q is not one word", o.BootID)
	}
	return nil
}

const (
	memTable = 8 << 20
	// What Badger takes in one transaction follows from the memtable: 15 % of it
	// in bytes, and a node of its skip list for each entry. Ours stay below both.
	maxBatchBytes = 1_200_000
	maxBatchCount = 10_000
	perEntry      = 32 // bytes that an entry costs besides its key and value
)

// Bounds on keys and values, in bytes. Longer values would go to Badger's value
// log, which is not used.
const (
	MaxKey   = 4 << 10
	MaxValue = 1<<20 - 1
)

// badgerOptions gives the options that were measured to be right for ten million
// small keys.
func badgerOptions(dir string, o Options) badger.Options {
	if o.InMemory {
		dir = ""
	}
	b := badger.DefaultOptions(dir).
		WithInMemory(o.InMemory).
		WithLogger(logger{o.Logger.Named("badger").With(zap.String("db", o.Name)).Sugar()}).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithDetectConflicts(false).
		WithSyncWrites(false).
		WithNumVersionsToKeep(1).
		WithMetricsEnabled(false).
		// When a table is opened: a damaged block that is found later only makes
		// Badger say that it does not know the key.
		WithChecksumVerificationMode(options.OnTableRead).
		WithValueThreshold(MaxValue + 1). // nothing goes to the value log
		WithValueLogFileSize(1 << 20)
	// Tables would grow from level to level, and a compaction builds up to ten of them
	// at once in memory.
	b.BaseTableSize = 1 << 20
	b.TableSizeMultiplier = 1
	return b
}

// logger passes on what Badger says. What it calls information is of no interest
// to an operator.
type logger struct{ s *zap.SugaredLogger }

func (l logger) Errorf(format string, args ...any) {
	l.s.Errorf(strings.TrimSpace(format), args...)
}

func (l logger) Warningf(format string, args ...any) {
	l.s.Warnf(strings.TrimSpace(format), args...)
}

func (l logger) Infof(format string, args ...any) {
	l.s.Debugf(strings.TrimSpace(format), args...)
}

func (l logger) Debugf(string, ...any) {}
