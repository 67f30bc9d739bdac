package incident

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
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

// cpuTime gives what the process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// mailOf gives a message of about 4 KB as a filter and a mail store leave one.
func mailOf(j *job.Job) []byte {
	var text strings.Builder
	for n := range 40 {
		fmt.Fprintf(&text, "line %d of an invoice that is due: see https://pay%d.evil.example/login?u=%d\r\n", n, n%4, n)
	}
	return fmt.Appendf(nil, "Return-Path: <pay@evil.example>\r\nReceived: from mail.evil.example (mail.evil.example [198.51.100.7])\r\n"+
		"\tby mx.example.org (Postfix) with ESMTPS id 4XyzQ00001\r\n\tfor <%[2]s>; Fri, 1 May 2026 08:00:00 +0000 (UTC)\r\n"+
		"X-Weir-ID: %[3]s.abcdefghijklmnop\r\nMessage-ID: <%[1]s>\r\nFrom: Accounts <pay@evil.example>\r\nTo: <%[2]s>\r\nSubject: Your invoice is due\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bbb\r\n\r\n--bbb\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%[4]s\r\n"+
		"--bbb\r\nContent-Type: application/octet-stream; name=invoice.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n%[5]s\r\n--bbb--\r\n",
		j.Target.MessageID, j.Recipient, j.Target.WeirID, text.String(), strings.Repeat("TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQK", 10))
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
			b.ReportAllocs()
			b.ResetTimer()
			used := cpuTime(b)
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
						k, err := d.Keep(ctx, puller, l.ID, copyOf(&l.Job, "1"), mailOf(&l.Job))
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
			b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(b.N), "cpu-µs/op")
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
