package control_test

import (
	"errors"
	"fmt"
	"os/user"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
)

// cpuTime gives what the process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPull measures what a pull costs daemon and client together but for the
// mailboxes: messages of 4 KB in 100 mailboxes, leased, kept and reported over the
// control socket by one sidecar, 16 mailboxes at a time. An operation is a message.
func BenchmarkPull(b *testing.B) {
	who, err := user.Current()
	if err != nil {
		b.Fatal(err)
	}
	h := controltest.New(b, control.Access{Pullers: []config.Principal{{Name: who.Username}}})
	if err := h.Desk.SetSettings(incident.Settings{CapIncident: 1 << 30, CapHour: 1 << 30, Mailbox: func(address string) (string, bool) { return address, true }}); err != nil {
		b.Fatal(err)
	}
	i, err := h.Desk.Open(ctx, incident.Opening{Key: "k", Title: "Bench", Severity: incident.High, Actor: "list:block/urls.txt", Source: "list:block/urls.txt"})
	if err != nil {
		b.Fatal(err)
	}
	var found []incident.Match
	for n := range b.N {
		e := &journal.Entry{ID: h.Identity.NewID(), Time: time.Now(), MessageID: fmt.Sprintf("m%d@evil.example", n), From: "pay@evil.example", Subject: "Your invoice is due",
			To: []string{fmt.Sprintf("u%d@example.org", n%100)}, Size: 4000}
		found = append(found, incident.Match{Entry: e, Chain: []incident.Step{{How: "indicator", What: "https://evil.example/", Sure: true}}})
	}
	if _, err := h.Desk.Extend(ctx, i.ID, "list:block/urls.txt", found); err != nil {
		b.Fatal(err)
	}
	jobs := client.NewJobs(h.Socket)
	defer jobs.Close()
	body := strings.Repeat("An invoice is due: see https://pay.evil.example/login?u=1\r\n", 60)
	pullAll := func(visit []job.Lease) error {
		var uploads []pull.Upload
		for _, l := range visit {
			raw := fmt.Appendf(nil, "Subject: Your invoice\r\nMessage-ID: <%s>\r\nFrom: pay@evil.example\r\n\r\n%s", l.Job.Target.MessageID, body)
			uploads = append(uploads, pull.Upload{Lease: l.ID, Raw: raw,
				Copy: mailbox.Copy{Folder: "INBOX", ID: "7/" + l.ID, MessageID: l.Job.Target.MessageID, Size: int64(len(raw)), Date: time.Now()}})
		}
		var reports []pull.Report
		for n, s := range jobs.Keep(ctx, uploads) {
			if s.Err != nil {
				return s.Err
			}
			reports = append(reports, pull.Report{Lease: visit[n].ID, Result: job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: s.Kept.Copy, Fate: job.Removed, Item: s.Kept.Item}}}})
		}
		return errors.Join(jobs.Report(ctx, reports)...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuTime(b)
	slots, visits := make(chan struct{}, 16), sync.WaitGroup{}
	for left := b.N; left > 0; {
		leases, err := jobs.Lease(ctx, 256, time.Second)
		if err != nil {
			b.Fatal(err)
		}
		if len(leases) == 0 {
			b.Fatalf("%d of %d are not given", left, b.N)
		}
		left -= len(leases)
		for len(leases) > 0 {
			n := 1
			for n < len(leases) && leases[n].Job.Mailbox == leases[0].Job.Mailbox {
				n++
			}
			visit := leases[:n]
			leases = leases[n:]
			slots <- struct{}{}
			visits.Go(func() {
				defer func() { <-slots }()
				if err := pullAll(visit); err != nil {
					b.Error(err)
				}
			})
		}
	}
	visits.Wait()
	b.ReportMetric(float64((cpuTime(b)-used).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
