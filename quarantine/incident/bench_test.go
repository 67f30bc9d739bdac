package incident

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
)

// onDisk is a Desk whose ledger, views and blobs are on the disk under the
// temporary folder.
func onDisk(b *testing.B) (*Desk, *ident.Identity) {
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	dir, fsys := b.TempDir(), disk.System{}
	db, err := kv.Open(kv.Options{Name: "views", FS: fsys, Dir: dir + "/views"})
	must(err)
	b.Cleanup(func() { _ = db.Close() })
	id, err := ident.Open(ident.Options{FS: fsys, Dir: dir})
	must(err)
	view, err := NewView(db)
	must(err)
	held, err := quarantine.NewView(db)
	must(err)
	l, err := ledger.Open(ledger.Options{FS: fsys, Dir: dir + "/ledger", Index: db, Node: "test", Key: id.Key("ledger"), NewID: id.NewID, Views: []ledger.View{view, held}})
	must(err)
	b.Cleanup(func() { _ = l.Close() })
	blobs, err := blob.OpenFolder(blob.Options{FS: fsys, Dir: dir + "/blobs"})
	must(err)
	b.Cleanup(func() { _ = blobs.Close() })
	j, err := journal.Open(journal.Options{FS: fsys, Dir: dir + "/journal", IndexInMemory: true})
	must(err)
	b.Cleanup(func() { _ = j.Close() })
	parser, err := message.NewParser(message.Limits{})
	must(err)
	items, err := quarantine.New(quarantine.Options{Ledger: l, View: held, Blobs: blobs, Judge: &judge{action: intel.ActionAccept}, Journal: j, Identity: id,
		Scratch: func() quarantine.ScratchSpace { return heapScratch{} }, Settings: quarantine.Settings{Parser: parser, HoldTime: time.Minute}})
	must(err)
	d, err := New(Options{Ledger: l, View: view, Journal: j, Tracker: &tracker{told: map[string][]delivery.Delivery{}}, Items: items, Identity: id,
		Settings: Settings{Mailbox: mailboxOf, CapIncident: 1 << 30, CapHour: 1 << 30}})
	must(err)
	return d, id
}

// messages makes n messages to mailboxes in turn.
func messages(id *ident.Identity, n, mailboxes int) []Match {
	var all []Match
	for i := range n {
		e := &journal.Entry{ID: id.NewID(), Time: time.Now(), MessageID: fmt.Sprintf("m%d@evil.example", i), From: "pay@evil.example", Subject: "Your invoice is due",
			To: []string{fmt.Sprintf("u%d@example.org", i%mailboxes)}, Size: 10_000}
		all = append(all, sure(e)...)
	}
	return all
}

// BenchmarkPull measures all that a pull costs but the mailboxes: 1 000 messages
// in 100 mailboxes, leased, kept and reported by so many workers. An operation is a
// message.
func BenchmarkPull(b *testing.B) {
	for _, workers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			d, id := onDisk(b)
			ctx := context.Background()
			i, err := d.Open(ctx, bySource())
			if err == nil {
				_, err = d.Extend(ctx, i.ID, list, messages(id, b.N, 100))
			}
			if err != nil {
				b.Fatal(err)
			}
			body := make([]byte, 10_000)
			for n := range body {
				body[n] = "0123456789abcdef\r\n"[n%18]
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for {
						leases, err := d.Lease(ctx, Request{Actor: puller, Max: 1})
						if err != nil {
							b.Error(err)
						}
						if len(leases) == 0 {
							return // fewer mailboxes than workers are left
						}
						l := leases[0]
						raw := fmt.Appendf(nil, "Subject: x\r\nMessage-ID: <%s>\r\n\r\n%s", l.Job.Target.MessageID, body)
						k, err := d.Keep(ctx, puller, l.ID, copyOf(&l.Job, "1"), raw)
						if err == nil {
							err = d.Report(ctx, puller, l.ID, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: k.Copy, Fate: job.Removed, Item: k.Item}}})
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkExtend measures finding 10 000 deliveries. An operation is all of them.
func BenchmarkExtend(b *testing.B) {
	d, id := onDisk(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		o := bySource()
		o.Key = id.NewID()
		i, err := d.Open(ctx, o)
		if err == nil {
			_, err = d.Extend(ctx, i.ID, list, messages(id, 10_000, 1000))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

// BenchmarkLease measures giving out one job of 100 000 that are wanted, without
// the commits.
func BenchmarkLease(b *testing.B) {
	d, id := onDisk(b)
	ctx := context.Background()
	if err := d.ready(ctx); err != nil {
		b.Fatal(err)
	}
	var records []*record
	for n := range 100_000 {
		records = append(records, &record{Delivery: Delivery{ID: id.NewID(), Incident: inc1, Mailbox: fmt.Sprint("u", n%10_000), Outcome: Pending, Status: delivery.Mailbox, Time: time.Now()}, Open: true})
	}
	d.take(records)
	b.ReportAllocs()
	for b.Loop() {
		leases, err := d.Lease(ctx, Request{Actor: puller, Max: 1})
		if err != nil || len(leases) != 1 {
			b.Fatal(err)
		}
		d.giveBack(leases)
	}
}
