package pull

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
	"github.com/weirmail/weir/quarantine/pull"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

const (
	benchMailboxes = 100
	benchEach      = 10
	benchConns     = 16
)

var benchText = strings.Repeat("some text of a letter that is neither long nor short\r\n", 380)

func benchLetter(mailbox, n int) (id string, raw []byte) {
	id = fmt.Sprintf("target-%d-%d@example.org", mailbox, n)
	return id, []byte("Message-ID: <" + id + ">\r\nSubject: x\r\n\r\n" + benchText + id)
}

// eachMailbox does something for many mailboxes at once.
func eachMailbox(tb testing.TB, do func(i int) error) {
	tb.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range benchConns {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < benchMailboxes; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// serverTime gives the processor time that Dovecot's sessions have used, once all
// of them have ended: unlike the rate it does not tell of what else the machine does.
func (s *site) serverTime(tb testing.TB) time.Duration {
	tb.Helper()
	time.Sleep(500 * time.Millisecond)
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(s.ConfigPath()), "run", "master.pid"))
	if err != nil {
		tb.Fatal(err)
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
	if err != nil {
		tb.Fatal(err)
	}
	_, behind, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(behind)
	user, err1 := strconv.ParseInt(fields[13], 10, 64) // cutime
	system, err2 := strconv.ParseInt(fields[14], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		tb.Fatal(err)
	}
	const ticks = 100 // a second, on Linux
	return time.Duration(user+system) * time.Second / ticks
}

func fill(tb testing.TB, s *site) {
	tb.Helper()
	eachMailbox(tb, func(i int) error {
		c, err := mailboxtest.Login(s.IMAPAddr(), user(i), lab.Password)
		if err != nil {
			return err
		}
		defer c.Close()
		var raws [][]byte
		for n := range benchEach {
			_, raw := benchLetter(i, n)
			raws = append(raws, raw)
		}
		return c.AppendAll("INBOX", raws, time.Now())
	})
}

// BenchmarkThousand takes 1000 messages of 20 KB out of 100 mailboxes, on 16
// connections at once: by the sidecar's loop with a daemon that writes each copy
// durably to a file, and by clients that do nothing but search INBOX, fetch, store,
// expunge and search; with a login for each mailbox, and for each message.
func BenchmarkThousand(b *testing.B) {
	s := start(b)
	for name, run := range map[string]func(tb testing.TB) error{
		"bare-by-mailbox": func(tb testing.TB) error {
			eachMailbox(tb, func(i int) error { return bareMailbox(s, i, false) })
			return nil
		},
		"bare-by-message": func(tb testing.TB) error {
			eachMailbox(tb, func(i int) error { return bareMailbox(s, i, true) })
			return nil
		},
		"pull":          func(tb testing.TB) error { return sidecarThousand(tb, s, false) },
		"pull-together": func(tb testing.TB) error { return sidecarThousand(tb, s, true) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var server time.Duration
			for b.Loop() {
				b.StopTimer()
				fill(b, s)
				before := s.serverTime(b)
				b.StartTimer()
				if err := run(b); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				server += s.serverTime(b) - before
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)*benchMailboxes*benchEach/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(server.Seconds()*1e3/float64(b.N*benchMailboxes*benchEach), "server-ms/message")
		})
	}
}

func bareMailbox(s *site, i int, each bool) error {
	login := func() (*mailboxtest.User, error) {
		c, err := mailboxtest.Login(s.IMAPAddr(), user(i)+"*"+master, secret)
		if err == nil {
			_, err = c.Do("SELECT INBOX")
		}
		return c, err
	}
	c, err := login()
	if err != nil {
		return err
	}
	defer func() { c.Close() }()
	for n := range benchEach {
		if each && n > 0 {
			c.Close()
			if c, err = login(); err != nil {
				return err
			}
		}
		id, _ := benchLetter(i, n)
		search := fmt.Sprintf("UID SEARCH HEADER Message-ID %q", id)
		found, err := c.Do("%s", search)
		if err != nil {
			return err
		}
		uid := found[0].Words()[2]
		for _, command := range []string{
			"UID FETCH " + uid + " (BODY.PEEK[])", "UID STORE " + uid + ` +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE " + uid, search,
		} {
			if _, err := c.Do("%s", command); err != nil {
				return err
			}
		}
	}
	return nil
}

// durable has a daemon write every copy to a file of its own, as a quarantine does.
func durable(tb testing.TB, d *pulltest.Daemon) {
	dir := tb.TempDir()
	var n atomic.Int64
	d.Fault = func(operation string, done bool) error {
		if operation != "keep" || !done {
			return nil
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(n.Add(1))))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if _, err := f.WriteString(benchText); err != nil {
			return err
		}
		return f.Sync()
	}
}

func sidecarThousand(tb testing.TB, s *site, together bool) error {
	d := pulltest.NewDaemon()
	durable(tb, d)
	d.Together = together
	for n := range benchEach {
		for i := range benchMailboxes {
			id, raw := benchLetter(i, n)
			m := message.Parse(raw, message.Options{})
			d.Add(job.Job{ID: id, Kind: job.Pull, Mailbox: user(i), Target: job.Target{MessageID: id, Body: m.Body, Size: int64(len(raw)), Around: time.Now()}})
		}
	}
	p, err := pull.New(pull.Options{Daemons: []pull.Daemon{{Name: "mx1", Jobs: d}}, Stores: []pull.Store{{Name: "imap1", Backend: s.imap(tb, nil), Connections: benchConns}}})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	defer func() { stop(); <-done }()
	for n := range benchEach {
		for i := range benchMailboxes {
			id, _ := benchLetter(i, n)
			r, err := d.Result(ctx, id)
			if err != nil || r.Outcome != job.Pulled {
				return fmt.Errorf("%s: %s %s, %w", id, r.Outcome, r.Detail, err)
			}
		}
	}
	return nil
}

// BenchmarkBigMailbox takes one message out of a mailbox with 5000 others in 10
// folders, from the lease to the report.
func BenchmarkBigMailbox(b *testing.B) {
	s := start(b)
	login := s.newUser()
	c, err := mailboxtest.Login(s.IMAPAddr(), login, lab.Password)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for f := range 10 {
		folder := "INBOX"
		if f > 0 {
			folder = fmt.Sprintf("Folder%d", f)
			if _, err := c.Do("CREATE %s", folder); err != nil {
				b.Fatal(err)
			}
		}
		for n := range 5 {
			var raws [][]byte
			for m := range 100 {
				raws = append(raws, fmt.Appendf(nil, "Message-ID: <other-%d-%d-%d@example.org>\r\nSubject: x\r\n\r\n%s", f, n, m, benchText[:2000]))
			}
			if err := c.AppendAll(folder, raws, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	}
	d := pulltest.NewDaemon()
	durable(b, d)
	p, err := pull.New(pull.Options{Daemons: []pull.Daemon{{Name: "mx1", Jobs: d}}, Stores: []pull.Store{{Name: "imap1", Backend: s.imap(b, nil)}}, Linger: -1})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	defer func() { stop(); <-done }()
	id, raw := benchLetter(0, 0)
	m := message.Parse(raw, message.Options{})
	var took []time.Duration
	for b.Loop() {
		b.StopTimer()
		if err := c.Append("INBOX", raw, time.Now()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		began := time.Now()
		d.Add(job.Job{ID: id, Kind: job.Pull, Mailbox: login, Target: job.Target{MessageID: id, Body: m.Body, Size: int64(len(raw)), Around: time.Now()}})
		if r, err := d.Result(ctx, id); err != nil || r.Outcome != job.Pulled {
			b.Fatal(pulltest.Was(r), r.Detail, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*95/100])/1e6, "p95-ms")
}
