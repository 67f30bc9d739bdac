package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
)

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCommit records one event of 1 KB for a new entity, as a held message
// does, with the index on disk.
func BenchmarkCommit(b *testing.B) {
	data, err := json.Marshal(strings.Repeat("metadata of a held message ", 38))
	if err != nil {
		b.Fatal(err)
	}
	event := []Event{{Type: "held", Schema: 1, Data: data}}
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			dir := b.TempDir()
			db, err := kv.Open(kv.Options{FS: disk.System{}, Dir: dir + "/views", Name: "views", MinFree: -1})
			must(b, err)
			defer func() { _ = db.Close() }()
			o := testOptions(b, disk.System{}, dir+"/ledger")
			o.Index = db
			l := mustOpen(b, o)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu(b)
			var next atomic.Int64
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						id := fmt.Sprint("message-", n)
						_, err := l.Commit(ctx, Command{ID: id, Entity: id, Actor: "rule:default", Reason: "listed hash"},
							func(State) ([]Event, error) { return event, nil })
						must(b, err)
					}
				})
			}
			wg.Wait()
			must(b, l.index.flush()) // the index's share counts
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkFollow reads events back, as a view that is built again does.
func BenchmarkFollow(b *testing.B) {
	l := mustOpen(b, testOptions(b, disk.System{}, b.TempDir()))
	for i := range 2000 {
		commit(b, l, fmt.Sprint(i), fmt.Sprint("e", i), "some text of the event")
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		for _, err := range l.Events(Cursor{}) {
			must(b, err)
			if n++; n >= b.N {
				break
			}
		}
	}
}
