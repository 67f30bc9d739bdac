package wal

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

// cpu gives the processor time that this process has used so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func payload(size int) []byte {
	p := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// BenchmarkAppend shows what a durable record of 2 KB costs, beside the bare
// system calls that the same number of records needs one by one.
func BenchmarkAppend(b *testing.B) {
	rec := payload(2048)
	b.Run("floor/write+fdatasync", func(b *testing.B) {
		f, err := disk.System{}.OpenFile(b.TempDir()+"/floor", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		b.ReportAllocs()
		before, n := cpu(b), 0
		for b.Loop() {
			if _, err := f.WriteAt(rec, int64(n*len(rec))); err != nil {
				b.Fatal(err)
			}
			if err := f.Datasync(siteAppend); err != nil {
				b.Fatal(err)
			}
			n++
		}
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(n), "cpu-µs/op")
	})
	for _, callers := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchmarkCallers(b, disk.System{}, callers, rec) })
	}
	b.Run("no device/callers=16", func(b *testing.B) { benchmarkCallers(b, nullFS{}, 16, rec) })
}

func benchmarkCallers(b *testing.B, fsys disk.FS, callers int, rec []byte) {
	l, err := Open(Options{FS: fsys, Dir: b.TempDir() + "/log", Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	var next atomic.Int64
	done := make(chan error, callers)
	for range callers {
		go func() {
			for next.Add(1) <= int64(b.N) {
				if _, err := l.Append(ctx, rec); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// nullFS forgets what is written, so that only our own work is left to measure.
type nullFS struct{ disk.System }

func (n nullFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := n.System.OpenFile(name, flag, perm)
	return nullFile{f}, err
}

type nullFile struct{ disk.File }

func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) Sync(disk.Site) error                   { return nil }
func (nullFile) Datasync(disk.Site) error               { return nil }

// BenchmarkRead shows what following a log costs.
func BenchmarkRead(b *testing.B) {
	l, err := Open(Options{FS: disk.System{}, Dir: b.TempDir(), Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	rec := payload(2048)
	records := make([][]byte, 4000)
	for i := range records {
		records[i] = rec
	}
	positions, err := l.AppendAll(context.Background(), records)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("on", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(rec)))
		for n := 0; n < b.N; {
			for _, err := range l.Read(0) {
				if err != nil {
					b.Fatal(err)
				}
				if n++; n >= b.N {
					break
				}
			}
		}
	})
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := l.Get(positions[i%len(positions)]); err != nil {
				b.Fatal(err)
			}
			i += 17
		}
	})
}

var _ io.ReaderAt = nullFile{}
