package delivery

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery/follow"
)

// memory is a journal of a few entries.
type memory struct {
	mu      sync.Mutex
	entries []*journal.Entry
}

func (m *memory) add(e *journal.Entry) *journal.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.ID == "" {
		e.ID = fmt.Sprintf("E%d", len(m.entries))
	}
	m.entries = append(m.entries, e)
	return e
}

func (m *memory) Lookup(key journal.Key) iter.Seq2[journal.Record, error] {
	m.mu.Lock()
	entries := slices.Clone(m.entries)
	m.mu.Unlock()
	return func(yield func(journal.Record, error) bool) {
		for _, e := range entries {
			if key == journal.KeyOfQueueID(e.QueueID) || key == journal.KeyOfMessageID(e.MessageID) {
				if !yield(journal.Record{Entry: e}, nil) {
					return
				}
			}
		}
	}
}

func (m *memory) Status() journal.Status {
	return journal.Status{Oldest: at(0, 45, 0)}
}

func at(h, m, s int) time.Time { return time.Date(2026, 11, 22, h, m, s, 0, time.UTC) }

// desk is a tracker in a test.
type desk struct {
	*testing.T
	o       Options
	tracker *Tracker
	journal *memory
	logs    *observer.ObservedLogs
	metrics *prometheus.Registry
}

// quiet is a source that says nothing by itself.
type quiet string

func (q quiet) Name() string                                           { return string(q) }
func (q quiet) Run(ctx context.Context, _ []byte, _ follow.Emit) error { <-ctx.Done(); return nil }

func newDesk(t *testing.T, change func(*Options)) *desk {
	d := &desk{T: t, journal: &memory{}}
	core, logs := observer.New(zap.InfoLevel)
	d.logs = logs
	d.o = Options{FS: disk.System{}, Dir: filepath.Join(t.TempDir(), "delivery"), Journal: d.journal, IndexMinFree: -1, Location: time.UTC,
		Sources: []follow.Source{quiet("file:/mail.log")}, Logger: zap.New(core), settle: -1, Clock: func() time.Time { return at(2, 0, 0) }}
	if change != nil {
		change(&d.o)
	}
	d.open()
	t.Cleanup(func() { _ = d.tracker.Close() })
	return d
}

func (d *desk) open() {
	d.Helper()
	d.metrics = prometheus.NewRegistry()
	d.o.Metrics = d.metrics
	var err error
	if d.tracker, err = Open(d.o); err != nil {
		d.Fatal(err)
	}
	if err := d.tracker.store.catchUp(d.Context()); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) reopen() {
	d.Helper()
	if err := d.tracker.Close(); err != nil {
		d.Fatal(err)
	}
	d.open()
}

// count gives the value of a metric, of the one with this label if it has any.
func (d *desk) count(name, label string) (n float64) {
	d.Helper()
	all, err := d.metrics.Gather()
	if err != nil {
		d.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// read has the tracker read lines, "H:MM:SS program: text" one a row.
func (d *desk) read(lines string) {
	d.Helper()
	b := follow.Batch{AsOf: at(2, 0, 0), After: []byte("here")}
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		clock, rest, _ := strings.Cut(line, " ")
		if strings.HasPrefix(rest, "lmtp(") || strings.HasPrefix(rest, "lda(") || strings.HasPrefix(rest, "pop3(") {
			rest = "dovecot: " + rest
		} else if !strings.HasPrefix(rest, "sendmail") {
			rest = "postfix/" + rest
		}
		b.Lines = append(b.Lines, follow.Line{Text: []byte("Nov 22 " + clock + " mx " + rest)})
	}
	if err := d.tracker.take(d.Context(), d.tracker.sources[0], b); err != nil {
		d.Fatal(err)
	}
}

// want compares deliveries, one a row: recipient > address [through] status
// [mailbox/folder] known.
func (d *desk) want(e *journal.Entry, want ...string) []Delivery {
	d.Helper()
	all, err := d.tracker.Of(d.Context(), e)
	if err != nil {
		d.Fatal(err)
	}
	var got []string
	for _, x := range all {
		row := x.Recipient + " > " + x.Address
		if x.Through != "" {
			row += " through " + x.Through
		}
		row += " " + string(x.Status)
		if x.Mailbox != "" {
			row += " " + x.Mailbox + "/" + x.Folder
		}
		got = append(got, row+" by "+string(x.Known))
	}
	if !slices.Equal(got, want) {
		d.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	return all
}

const sentBy = "delay=0.06, delays=0/0.02/0/0.04, dsn=2.0.0, status=sent"

func TestAnAliasLeadsToEachMailboxAndFolder(t *testing.T) {
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhj", MessageID: "alias@sender.test", Time: at(1, 11, 0), To: []string{"Team@lab.test", "carol@lab.test"}})
	d.want(e, "Team@lab.test > Team@lab.test unconfirmed by envelope", "carol@lab.test > carol@lab.test unconfirmed by envelope")
	// Dovecot's lines come first, as its own process writes them.
	d.read(`
		01:11:00 lmtp(bob@lab.test)<27254><+Miv:R2>: sieve: msgid=<alias@sender.test>: fileinto action: stored mail into mailbox 'Team'
		01:11:00 lmtp(bob@lab.test)<27254><+Miv:R2>: sieve: msgid=<alias@sender.test>: stored mail into mailbox 'INBOX'
		01:11:00 lmtp(alice)<27254><+Miv>: msgid=<alias@sender.test>: saved mail to INBOX
		01:11:00 smtpd[1]: 4jX9xc2YzNz1Vkhj: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[2]: 4jX9xc2YzNz1Vkhj: message-id=<alias@sender.test>
		01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<alice@lab.test>, orig_to=<team@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <alice@lab.test> +Miv Saved)`)
	d.want(e, "team@lab.test > alice@lab.test through team@lab.test mailbox alice/INBOX by session",
		"carol@lab.test > carol@lab.test in-transit by queue-id")
	d.read(`
		01:11:01 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<bob@lab.test>, orig_to=<team@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <bob@lab.test> +Miv:R2 Saved)
		01:11:01 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<carol@lab.test>, relay=a[192.0.2.7]:24, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred (later)`)
	want := []string{
		"team@lab.test > alice@lab.test through team@lab.test mailbox alice/INBOX by session",
		"team@lab.test > bob@lab.test through team@lab.test mailbox bob@lab.test/Team by session",
		"team@lab.test > bob@lab.test through team@lab.test mailbox bob@lab.test/INBOX by session"}
	d.want(e, append(want, "carol@lab.test > carol@lab.test in-transit by queue-id")...)
	d.read(`01:12:00 qmgr[3]: 4jX9xc2YzNz1Vkhj: from=<s@sender.test>, status=expired, returned to sender
		01:12:00 bounce[3]: 4jX9xc2YzNz1Vkhj: sender non-delivery notification: 4jX9xc3QL0z1VkkB
		01:12:00 qmgr[3]: 4jX9xc2YzNz1Vkhj: removed`)
	d.want(e, append(want, "carol@lab.test > carol@lab.test expired by queue-id")...)
	d.reopen()
	d.want(e, append(want, "carol@lab.test > carol@lab.test expired by queue-id")...)
}

func TestEachEndOfACopyIsTold(t *testing.T) {
	d := newDesk(t, nil)
	to := []string{"n@lab.test", "o@outside.test", "x@disc.test", "p@pipe.test", "l@mx.lab.test", "v@virt.test", "bob@lab.test", "dan@lab.test", "eve@lab.test"}
	e := d.journal.add(&journal.Entry{QueueID: "0F5383D", MessageID: "m@s", Time: at(1, 11, 0), To: to})
	d.read(`
		01:11:00 smtpd[1]: 0F5383D: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[2]: 0F5383D: message-id=<m@s>
		01:11:01 lmtp[3]: 0F5383D: to=<n@lab.test>, relay=a[192.0.2.7]:24, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (no such user)
		01:11:01 smtp[3]: 0F5383D: to=<o@outside.test>, relay=mx.outside.test[203.0.113.1]:25, ` + sentBy + ` (250 2.0.0 Ok: queued as 4AAAAA)
		01:11:01 discard[3]: 0F5383D: to=<x@disc.test>, relay=none, ` + sentBy + ` (thrown)
		01:11:01 pipe[3]: 0F5383D: to=<p@pipe.test>, relay=mailman, ` + sentBy + ` (delivered via mailman service)
		01:11:01 local[3]: 0F5383D: to=<l@mx.lab.test>, relay=local, ` + sentBy + ` (delivered to mailbox)
		01:11:01 virtual[3]: 0F5383D: to=<v@virt.test>, relay=virtual, ` + sentBy + ` (delivered to maildir)
		01:11:01 lmtp[3]: 0F5383D: to=<bob@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <bob@lab.test> S1 Saved)
		01:11:01 lmtp[3]: 0F5383D: to=<dan@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <dan@lab.test> S2 Saved)
		01:11:01 lmtp[3]: 0F5383D: to=<eve@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <eve@lab.test> S3 Saved)
		01:11:01 lmtp(bob@lab.test)<1><S1>: sieve: msgid=<m@s>: discard action: Marked message to be discarded if not explicitly delivered (discard action)
		01:11:01 lmtp(dan@lab.test)<1><S2>: sieve: msgid=<m@s>: reject action: rejected message from <s@sender.test> (reject)
		01:11:01 lmtp(eve@lab.test)<1><S3>: sieve: msgid=<m@s>: discard action: Marked message to be discarded if not explicitly delivered (discard action)
		01:11:01 lmtp(eve@lab.test)<1><S3>: sieve: msgid=<m@s>: fileinto action: stored mail into mailbox 'Kept'
		01:11:01 qmgr[3]: 0F5383D: removed`)
	d.want(e,
		"n@lab.test > n@lab.test bounced by queue-id", "o@outside.test > o@outside.test relayed by queue-id", "x@disc.test > x@disc.test discarded by queue-id",
		"p@pipe.test > p@pipe.test relayed by queue-id", "l@mx.lab.test > l@mx.lab.test mailbox by queue-id", "v@virt.test > v@virt.test mailbox by queue-id",
		"bob@lab.test > bob@lab.test discarded by session", "dan@lab.test > dan@lab.test bounced by session", "eve@lab.test > eve@lab.test mailbox eve@lab.test/Kept by session")
}

func TestAMessageThatAnotherFilterRefusedIsNowhere(t *testing.T) {
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "4jX9xc3ZN2z1VkjS", MessageID: "m@s", Time: at(1, 11, 0), To: []string{"a@lab.test"}})
	d.read(`01:11:00 smtpd[1]: 4jX9xc3ZN2z1VkjS: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[1]: 4jX9xc3ZN2z1VkjS: milter-reject: END-OF-MESSAGE from mail.sender.test[203.0.113.9]: 5.7.1 spam; from=<s@sender.test> to=<a@lab.test>`)
	d.want(e, "a@lab.test > a@lab.test refused by queue-id")
	deleted := d.journal.add(&journal.Entry{QueueID: "4jX9xc3ZN2z1VkjT", MessageID: "n@s", Time: at(1, 11, 0), To: []string{"a@lab.test", "b@lab.test"}})
	d.read(`01:11:00 smtpd[1]: 4jX9xc3ZN2z1VkjT: client=mail.sender.test[203.0.113.9]
		01:11:00 lmtp[1]: 4jX9xc3ZN2z1VkjT: to=<a@lab.test>, relay=none, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred (later)
		01:12:00 postsuper[1]: 4jX9xc3ZN2z1VkjT: removed`)
	d.want(deleted, "a@lab.test > a@lab.test removed by queue-id", "b@lab.test > b@lab.test removed by queue-id")
}

func TestAContentFilterIsFollowedByTheNextQueueID(t *testing.T) {
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "7EE668039", MessageID: "m@s", Time: at(1, 11, 0), To: []string{"team@lab.test", "carol@lab.test"}})
	filtered := `relay=127.0.0.1[127.0.0.1]:10024, ` + sentBy + ` (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 153053D)`
	d.read(`
		01:11:00 smtpd[1]: 7EE668039: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[2]: 7EE668039: message-id=<m@s>
		01:11:01 smtpd[1]: 153053D: client=localhost[127.0.0.1]
		01:11:01 cleanup[2]: 153053D: message-id=<m@s>
		01:11:01 smtp[3]: 7EE668039: to=<alice@lab.test>, orig_to=<team@lab.test>, ` + filtered + `
		01:11:01 smtp[3]: 7EE668039: to=<carol@lab.test>, ` + filtered + `
		01:11:01 qmgr[3]: 7EE668039: removed
		01:11:02 lmtp[3]: 153053D: to=<alice@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <alice@lab.test> S1 Saved)
		01:11:02 lmtp(alice@lab.test)<1><S1>: msgid=<m@s>: saved mail to INBOX
		01:11:02 lmtp[3]: 153053D: to=<carol@lab.test>, relay=a[192.0.2.7]:24, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (no)
		01:11:02 qmgr[3]: 153053D: removed`)
	got := d.want(e, "team@lab.test > alice@lab.test through team@lab.test mailbox alice@lab.test/INBOX by queued-as", "carol@lab.test > carol@lab.test bounced by queued-as")
	if got[0].Parent != "7EE668039" || got[0].QueueID != "153053D" {
		t.Errorf("%+v", got[0])
	}
}

// A foreign server may name any queue ID in its answer.
func TestAForgedQueueIDIsNotFollowed(t *testing.T) {
	d := newDesk(t, nil)
	victim := d.journal.add(&journal.Entry{QueueID: "153053D", MessageID: "victim@s", Time: at(1, 11, 0), To: []string{"boss@lab.test"}})
	e := d.journal.add(&journal.Entry{QueueID: "7EE668039", MessageID: "m@s", Time: at(1, 12, 0), To: []string{"x@evil.test"}})
	d.read(`
		01:11:00 smtpd[1]: 153053D: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[2]: 153053D: message-id=<victim@s>
		01:11:00 lmtp[3]: 153053D: to=<boss@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <boss@lab.test> S1 Saved)
		01:11:00 lmtp(boss@lab.test)<1><S1>: msgid=<victim@s>: saved mail to INBOX
		01:12:00 smtpd[1]: 7EE668039: client=mail.sender.test[203.0.113.9]
		01:12:00 cleanup[2]: 7EE668039: message-id=<m@s>
		01:12:00 smtp[3]: 7EE668039: to=<x@evil.test>, relay=mx.evil.test[203.0.113.1]:25, ` + sentBy + ` (250 2.0.0 <boss@lab.test> S1 Saved)
		01:12:00 smtp[3]: 7EE668039: to=<y@evil.test>, relay=mx.evil.test[203.0.113.1]:25, ` + sentBy + ` (250 2.0.0 Ok: queued as 153053D)`)
	d.want(e, "x@evil.test > x@evil.test relayed by queue-id", "y@evil.test > y@evil.test relayed by queue-id")
	d.want(victim, "boss@lab.test > boss@lab.test mailbox boss@lab.test/INBOX by session")
}

func TestASieveRedirectIsFollowedWhereItHasNoEntry(t *testing.T) {
	lines := `
		01:11:00 smtpd[1]: 4jXBCT05TFz1VYGk: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[2]: 4jXBCT05TFz1VYGk: message-id=<m@s>
		01:11:01 smtpd[1]: 4jXBCT0bCHz1VYCY: client=unknown[127.0.0.1]
		01:11:01 cleanup[2]: 4jXBCT0bCHz1VYCY: message-id=<m@s>
		01:11:01 smtp[3]: 4jXBCT0bCHz1VYCY: to=<bob@outside.test>, relay=mx.outside.test[203.0.113.1]:25, ` + sentBy + ` (250 2.0.0 taken)
		01:11:01 qmgr[3]: 4jXBCT0bCHz1VYCY: removed
		01:11:01 lmtp(bob@lab.test)<1><S1>: sieve: msgid=<m@s>: redirect action: forwarded to <bob@outside.test>
		01:11:01 lmtp[3]: 4jXBCT05TFz1VYGk: to=<bob@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <bob@lab.test> S1 Saved)
		01:11:01 qmgr[3]: 4jXBCT05TFz1VYGk: removed`
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "4jXBCT05TFz1VYGk", MessageID: "m@s", Time: at(1, 11, 0), To: []string{"bob@lab.test"}})
	d.read(lines)
	all := d.want(e, "bob@lab.test > bob@outside.test forwarded by session", "bob@outside.test > bob@outside.test relayed by redirect")
	if all[1].Parent != "4jXBCT05TFz1VYGk" {
		t.Errorf("%+v", all[1])
	}
	// The same Message-ID sent twice: the redirect is still told by its address.
	d.journal.add(&journal.Entry{QueueID: "4jXBCT00000z1VYxx", MessageID: "m@s", Time: at(1, 11, 0), To: []string{"bob@lab.test"}})
	d.want(e, "bob@lab.test > bob@outside.test forwarded by session", "bob@outside.test > bob@outside.test relayed by redirect")
	// A third one, without an entry, could be anybody's.
	d.read(`
		01:11:01 cleanup[2]: 4jXBCT0dddz1VYCY: message-id=<m@s>
		01:11:01 smtp[3]: 4jXBCT0dddz1VYCY: to=<other@outside.test>, relay=mx.outside.test[203.0.113.1]:25, ` + sentBy + ` (250 2.0.0 taken)`)
	d.want(e, "bob@lab.test > bob@outside.test forwarded by session", "bob@outside.test > bob@outside.test relayed by redirect")
	// One that went through Weir again is an entry of its own.
	child := d.journal.add(&journal.Entry{QueueID: "4jXBCT0bCHz1VYCY", MessageID: "m@s", Parent: e.ID, Time: at(1, 11, 1), To: []string{"bob@outside.test"}})
	d.want(e, "bob@lab.test > bob@outside.test forwarded by session")
	d.want(child, "bob@outside.test > bob@outside.test relayed by queue-id")
}

func TestAListServersCopiesAreFollowedOnlyWhereNothingElseHasTheMessageID(t *testing.T) {
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "4jXBCT05TFz1VYGk", MessageID: "m@s", Time: at(1, 11, 0), To: []string{"list@lab.test"}})
	d.read(`
		01:11:00 smtpd[1]: 4jXBCT05TFz1VYGk: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[2]: 4jXBCT05TFz1VYGk: message-id=<m@s>
		01:11:01 pipe[3]: 4jXBCT05TFz1VYGk: to=<list@lab.test>, relay=mailman, ` + sentBy + ` (delivered via mailman service)
		01:11:01 qmgr[3]: 4jXBCT05TFz1VYGk: removed
		01:15:01 pickup[1]: 4jXBCT0bCHz1VYCY: uid=38 from=<list>
		01:15:01 cleanup[2]: 4jXBCT0bCHz1VYCY: message-id=<m@s>
		01:15:01 lmtp[3]: 4jXBCT0bCHz1VYCY: to=<bob@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <bob@lab.test> S1 Saved)`)
	want := "list@lab.test > list@lab.test relayed by queue-id"
	d.want(e, want, "bob@lab.test > bob@lab.test mailbox by message-id")
	d.journal.add(&journal.Entry{QueueID: "4jXBCT0ffffz1VYCY", MessageID: "m@s", Time: at(1, 10, 0)})
	d.want(e, want)
}

func TestAShortQueueIDThatIsUsedAgainIsToldByTheTime(t *testing.T) {
	d := newDesk(t, nil)
	first := d.journal.add(&journal.Entry{QueueID: "0F5383D", MessageID: "a@s", Time: at(1, 0, 0), To: []string{"a@lab.test"}})
	second := d.journal.add(&journal.Entry{QueueID: "0F5383D", MessageID: "b@s", Time: at(1, 30, 0), To: []string{"b@lab.test"}})
	d.read(`
		01:00:00 smtpd[1]: 0F5383D: client=mail.sender.test[203.0.113.9]
		01:00:00 lmtp[3]: 0F5383D: to=<a@lab.test>, relay=none, ` + sentBy + ` (ok)
		01:00:01 qmgr[3]: 0F5383D: removed
		01:15:00 pickup[1]: 0F5383D: uid=0 from=<root>
		01:15:00 lmtp[3]: 0F5383D: to=<root@lab.test>, relay=none, ` + sentBy + ` (ok)
		01:15:01 qmgr[3]: 0F5383D: removed
		01:30:00 smtpd[1]: 0F5383D: client=mail.sender.test[203.0.113.9]
		01:30:00 lmtp[3]: 0F5383D: to=<b@lab.test>, relay=none, ` + sentBy + ` (ok)`)
	d.want(first, "a@lab.test > a@lab.test mailbox by queue-id")
	d.want(second, "b@lab.test > b@lab.test mailbox by queue-id")
}

func TestSendmailsCopiesAreJoinedToDovecotByMessageID(t *testing.T) {
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "6AM1B9AH000030", MessageID: "alias@sender.test", Time: at(1, 11, 0), To: []string{"carol+x@lab.test", "team@lab.test", "z@out.test"}})
	copies := `
		01:11:00 lmtp(carol@lab.test)<1><S1>: msgid=<alias@sender.test>: saved mail to INBOX
		01:11:00 lmtp(alice)<1><S1:R2>: sieve: msgid=<alias@sender.test>: stored mail into mailbox 'Team'
		01:11:00 sendmail[27]: 6AM1B9AH000030: from=<s@sender.test>, size=139, class=0, nrcpts=1, msgid=<alias@sender.test>, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]
		01:11:00 sendmail[32]: 6AM1B9AH000030: to=<carol+x@lab.test>, delay=00:00:00, xdelay=00:00:00, mailer=lmtp, pri=90458, relay=[192.0.2.7] [192.0.2.7], dsn=2.0.0, stat=Sent
		01:11:00 sendmail[32]: 6AM1B9AH000030: to=alice@lab.test, ctladdr=<team@lab.test> (8/0), delay=00:00:00, xdelay=00:00:00, mailer=lmtp, pri=90458, relay=[192.0.2.7] [192.0.2.7], dsn=2.0.0, stat=Sent
		01:11:00 sendmail[37]: 6AM1B9AH000030: to=<z@out.test>, delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=30135, relay=mx.out.test. [203.0.113.1], dsn=2.0.0, stat=Sent (ok)
		01:11:00 sendmail[43]: 6AM1B9AH000030: done; delay=00:00:00, ntries=1`
	d.read(copies)
	want := []string{"carol+x@lab.test > carol+x@lab.test mailbox carol@lab.test/INBOX by message-id", "team@lab.test > alice@lab.test through team@lab.test mailbox alice/Team by message-id",
		"z@out.test > z@out.test relayed by queue-id"}
	d.want(e, want...)
	// The same Message-ID in another session, at the same time: which is which?
	d.read(`01:11:02 lmtp(carol@lab.test)<1><S9>: msgid=<alias@sender.test>: saved mail to Spam`)
	want[0] = "carol+x@lab.test > carol+x@lab.test mailbox by queue-id"
	d.want(e, want...)
}

func TestItIsKnownWhoTakesMailByPOP3(t *testing.T) {
	d := newDesk(t, nil)
	d.read(`
		01:11:00 pop3(alice@lab.test)<1><S1>: Disconnected: Logged out top=0/0, retr=1/100, del=1/1, size=100
		01:12:00 pop3(alice@lab.test)<1><S2>: Disconnected: Logged out top=0/0, retr=0/0, del=0/0, size=0
		01:13:00 pop3(Alice@lab.test)<1><S3>: Disconnected: Logged out top=0/0, retr=1/100, del=1/1, size=100
		01:13:00 pop3(alice@lab.test.example)<1><S4>: Disconnected: Logged out top=0/0, retr=1/100, del=1/1, size=100
		01:14:00 pop3(alice)<1><S5>: Disconnected: Logged out top=0/0, retr=1/100, del=1/1, size=100`)
	for range 2 {
		for _, c := range []struct {
			login       string
			since, want time.Time
		}{
			{"alice@lab.test", at(1, 0, 0), at(1, 11, 0)},
			{"alice@lab.test", at(1, 11, 0).Add(time.Second / 2), at(1, 11, 0)},
			{"alice@lab.test", at(1, 11, 1), at(1, 13, 0)},
			{"alice@lab.test", at(1, 13, 1), time.Time{}},
			{"bob@lab.test", at(1, 0, 0), time.Time{}},
			{"", at(1, 0, 0), time.Time{}},
		} {
			if got, err := d.tracker.Taken(c.login, c.since); err != nil || !got.Equal(c.want) {
				t.Errorf("%s since %s: %s, %v, want %s", c.login, c.since, got, err, c.want)
			}
		}
		d.reopen()
	}
	// And it is forgotten with all else.
	if err := d.tracker.store.log.Roll(d.Context()); err != nil {
		t.Fatal(err)
	}
	d.tracker.store.clock = func() time.Time { return at(2, 0, 0).Add(100 * time.Hour) }
	d.read(`01:14:00 lmtp(alice)<1><S6>: msgid=<m@s>: saved mail to INBOX`)
	d.tracker.store.clock = func() time.Time { return at(2, 0, 0).Add(200 * time.Hour) }
	if err := d.tracker.store.prune(d.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if got, err := d.tracker.Taken("alice@lab.test", at(1, 0, 0)); err != nil || !got.IsZero() {
		t.Errorf("%s, %v", got, err)
	}
}

func TestLinesThatAreReadTwiceChangeNothing(t *testing.T) {
	lines := `
		01:11:00 smtpd[1]: 4jX9xc2YzNz1Vkhj: client=mail.sender.test[203.0.113.9]
		01:11:00 cleanup[2]: 4jX9xc2YzNz1Vkhj: message-id=<m@s>
		01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<alice@lab.test>, relay=a[192.0.2.7]:24, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred (later)
		01:11:00 lmtp(alice)<27254><+Miv>: msgid=<m@s>: saved mail to INBOX
		01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<alice@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (250 2.0.0 <alice@lab.test> +Miv Saved)
		01:11:00 qmgr[3]: 4jX9xc2YzNz1Vkhj: removed`
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhj", MessageID: "m@s", Time: at(1, 11, 0), To: []string{"alice@lab.test"}})
	d.read(lines)
	d.read(lines)
	d.want(e, "alice@lab.test > alice@lab.test mailbox alice/INBOX by session")
	d.read(`01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<alice@lab.test>, relay=a[192.0.2.7]:24, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred (later)`)
	d.want(e, "alice@lab.test > alice@lab.test mailbox alice/INBOX by session")
}

func TestAHeldRecipientThatWasDeliveredRaisesTheAlarm(t *testing.T) {
	d := newDesk(t, func(o *Options) {
		o.Held = func(id string) []string {
			if id == "4jX9xc2YzNz1Vkhj" {
				return []string{"Boss@lab.test"}
			}
			return nil
		}
	})
	d.read(`
		01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<alice@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (ok)
		01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhk: to=<boss@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (ok)
		01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<boss@lab.test>, relay=a[192.0.2.7]:24, delay=0, delays=0/0/0/0, dsn=4.4.1, status=deferred (later)`)
	if n := d.count("weir_delivery_held_delivered_total", ""); n != 0 {
		t.Errorf("%v alarms for nothing", n)
	}
	d.read(`01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<real@lab.test>, orig_to=<boss@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (ok)`)
	if n := d.count("weir_delivery_held_delivered_total", ""); n != 1 {
		t.Errorf("%v alarms", n)
	}
	// Without orig_to: one that is in the envelope, and one that is not.
	d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhj", Time: at(1, 11, 0), To: []string{"alice@lab.test"}})
	d.read(`01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<other@lab.test>, relay=a[192.0.2.7]:24, ` + sentBy + ` (ok)`)
	if err := d.tracker.watch.settle(); err != nil {
		t.Fatal(err)
	}
	if yes, perhaps := d.count("weir_delivery_held_delivered_total", "yes"), d.count("weir_delivery_held_delivered_total", "perhaps"); yes != 1 || perhaps != 1 {
		t.Errorf("%v alarms, %v perhaps", yes, perhaps)
	}
	if got := d.logs.FilterMessageSnippet("a held recipient was").FilterField(zap.String("delivered_to", "real@lab.test")).Len(); got != 1 {
		t.Errorf("%d log lines", got)
	}
}

func TestWhatCannotBeJoinedIsCountedAndCanBeAskedFor(t *testing.T) {
	d := newDesk(t, nil)
	d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhj", MessageID: "one@s", Time: at(1, 11, 0)})
	for range 2 {
		d.journal.add(&journal.Entry{QueueID: "4jX0000000z1Vkhj", MessageID: "two@s", Time: at(1, 11, 0)})
	}
	copyOf := func(id, to string) string {
		return "01:11:00 lmtp[3]: " + id + ": to=<" + to + ">, relay=none, " + sentBy + " (ok)\n"
	}
	d.read(copyOf("4jX9xc2YzNz1Vkhj", "a@lab.test") +
		"01:11:00 cleanup[2]: 4jX9xc3AAAz1Vkhj: message-id=<one@s>\n" + copyOf("4jX9xc3AAAz1Vkhj", "b@lab.test") +
		"01:11:00 cleanup[2]: 4jX9xc3BBBz1Vkhj: message-id=<two@s>\n" + copyOf("4jX9xc3BBBz1Vkhj", "c@lab.test") +
		"01:11:00 bounce[3]: 4jX9xc2YzNz1Vkhj: sender non-delivery notification: 4jX9xc3CCCz1Vkhj\n" + copyOf("4jX9xc3CCCz1Vkhj", "s@sender.test") +
		"01:11:00 cleanup[2]: 4jX9xc3DDDz1Vkhj: message-id=<three@s>\n" + copyOf("4jX9xc3DDDz1Vkhj", "d@lab.test") +
		"00:30:00 lmtp[3]: 4jX9xc3EEEz1Vkhj: to=<e@lab.test>, relay=none, " + sentBy + " (ok)\n")
	if err := d.tracker.watch.settle(); err != nil {
		t.Fatal(err)
	}
	s := d.tracker.State()
	if s.Unjoined != 2 || len(s.Latest) != 2 || s.Latest[0].Address != "d@lab.test" || s.Latest[0].Why != "none" || s.Latest[0].MessageID != "three@s" || s.Latest[1].Why != "ambiguous" {
		t.Errorf("%+v", s)
	}
	for how, want := range map[string]float64{"queue-id": 1, "message-id": 1, "ambiguous": 1, "notification": 1, "none": 1, "older": 1} {
		if n := d.count("weir_delivery_copies_total", how); n != want {
			t.Errorf("%s: %v, want %v", how, n, want)
		}
	}
	if len(s.Sources) != 1 || s.Sources[0].Lines != 10 || s.Sources[0].Events != 10 {
		t.Errorf("%+v", s.Sources)
	}
}

func TestAnEntryWithoutLogKeepsItsEnvelope(t *testing.T) {
	d := newDesk(t, func(o *Options) { o.Sources = nil })
	e := d.journal.add(&journal.Entry{QueueID: "", Time: at(1, 11, 0), To: []string{"a@lab.test", "b@lab.test", "A@lab.test"}})
	d.want(e, "a@lab.test > a@lab.test unconfirmed by envelope", "b@lab.test > b@lab.test unconfirmed by envelope")
}

func TestTextThatIsNoUTF8IsKeptAsItIs(t *testing.T) {
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "4jX9xc3FVSz1Vkk2", MessageID: "tab\tand\x01ctl\xff@x", Time: at(1, 11, 0), To: []string{"\xfcber@lab.test"}})
	d.read("01:11:00 cleanup[2]: 4jX9xc3FVSz1Vkk2: message-id=<tab?and?ctl?@x>\n" +
		"01:11:00 lmtp[3]: 4jX9xc3FVSz1Vkk2: to=<\xfcber@lab.test>, relay=a[192.0.2.7]:24, " + sentBy + " (250 2.0.0 <\xfcber@lab.test> S1 Saved)\n" +
		"01:11:00 lmtp(\xfcber@lab.test)<1><S1>: msgid=<tab?and?ctl\xff@x>: saved mail to B\xfccher\n")
	d.want(e, "\xfcber@lab.test > \xfcber@lab.test mailbox \xfcber@lab.test/B\xfccher by session")
}

// A stranger may use one Message-ID for very many messages.
func TestManyMessagesWithOneMessageIDAreToldApartByTheirQueueIDs(t *testing.T) {
	d := newDesk(t, nil)
	var entries []*journal.Entry
	var lines strings.Builder
	for i := range 500 {
		id, to := fmt.Sprintf("4jX9%05dz1Vkhj", i), fmt.Sprintf("u%d@lab.test", i)
		entries = append(entries, d.journal.add(&journal.Entry{QueueID: id, MessageID: "m@s", Time: at(1, 11, 0), To: []string{to}}))
		fmt.Fprintf(&lines, "01:11:00 cleanup[2]: %[1]s: message-id=<m@s>\n01:11:00 lmtp[3]: %[1]s: to=<%[2]s>, relay=none, "+sentBy+" (ok)\n", id, to)
	}
	d.read(lines.String())
	for i, e := range entries {
		if i%100 == 0 {
			d.want(e, e.To[0]+" > "+e.To[0]+" mailbox by queue-id")
		}
	}
}

func TestTheOptionsAreChecked(t *testing.T) {
	good := Options{FS: disk.System{}, Dir: "x", Journal: &memory{}}
	for name, change := range map[string]func(*Options){
		"no file system":     func(o *Options) { o.FS = nil },
		"no folder":          func(o *Options) { o.Dir = "" },
		"no journal":         func(o *Options) { o.Journal = nil },
		"negative retention": func(o *Options) { o.Retention = -1 },
		"a log twice":        func(o *Options) { o.Sources = []follow.Source{quiet("a"), quiet("a")} },
	} {
		o := good
		change(&o)
		if _, err := Open(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Postfix gives short queue IDs, whose join is not remembered: they are used again.
// All that was said of one must not be read again for each of its copies.
func TestWhatJoiningCostsGrowsWithTheCopiesAndNotWithTheirSquare(t *testing.T) {
	cost := func(copies int) (allocations uint64) {
		d := newDesk(t, nil)
		d.journal.add(&journal.Entry{QueueID: "0F5383D", MessageID: "a@s", Time: at(1, 30, 0)})
		var lines strings.Builder
		lines.WriteString("01:30:00 smtpd[1]: 0F5383D: client=mail.sender.test[203.0.113.9]\n")
		for n := range copies {
			fmt.Fprintf(&lines, "01:30:00 lmtp[3]: 0F5383D: to=<u%d@lab.test>, relay=none, %s (ok)\n", n, sentBy)
		}
		d.read(lines.String())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := d.tracker.watch.settle(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := d.count("weir_delivery_copies_total", joinedQueueID); n != float64(copies) {
			t.Errorf("%v of %d copies are joined", n, copies)
		}
		return after.Mallocs - before.Mallocs
	}
	few, many := cost(100), cost(1000)
	if many > 20*few {
		t.Errorf("joining 100 copies makes %d allocations, 1000 copies %d", few, many)
	}
}

// A queue ID's lives are told apart although they are read once.
func TestTheCopiesOfEachLifeAreJoinedByTheirOwnEntry(t *testing.T) {
	d := newDesk(t, nil)
	d.journal.add(&journal.Entry{QueueID: "0F5383D", MessageID: "a@s", Time: at(1, 0, 0)})
	life := func(minute int, to string) string {
		return fmt.Sprintf("01:%02d:00 smtpd[1]: 0F5383D: client=mail.sender.test[203.0.113.9]\n"+
			"01:%02d:00 lmtp[3]: 0F5383D: to=<%s>, relay=none, %s (ok)\n01:%02d:01 qmgr[3]: 0F5383D: removed\n", minute, minute, to, sentBy, minute)
	}
	d.read(life(0, "a@lab.test") + life(20, "b@lab.test") + life(40, "c@lab.test"))
	if err := d.tracker.watch.settle(); err != nil {
		t.Fatal(err)
	}
	s := d.tracker.State()
	if n := d.count("weir_delivery_copies_total", joinedQueueID); n != 1 || len(s.Latest) != 2 || s.Latest[0].Address != "c@lab.test" || s.Latest[1].Address != "b@lab.test" {
		t.Errorf("%v are joined, and not: %+v", n, s.Latest)
	}
}

// A message for many that cannot be delivered for days fills the log with tries. How
// it ended must be seen all the same.
func TestTheEndOfVeryManyTriesIsTold(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	d := newDesk(t, nil)
	const recipients = 250
	var to, want []string
	for n := range recipients {
		to = append(to, fmt.Sprintf("u%d@far.test", n))
		want = append(want, to[n]+" > "+to[n]+" relayed by queue-id")
	}
	want[0] = to[0] + " > " + to[0] + " in-transit by queue-id"
	first := d.journal.add(&journal.Entry{QueueID: "0F5383D", MessageID: "a@s", Time: at(0, 50, 0), To: []string{"u1@far.test"}})
	e := d.journal.add(&journal.Entry{QueueID: "0F5383D", MessageID: "b@s", Time: at(1, 0, 0), To: to})
	line := func(clock, address, status string) string {
		return clock + " smtp[3]: 0F5383D: to=<" + address + ">, relay=mx.far.test[192.0.2.7]:25, delay=0, delays=0/0/0/0, dsn=" + status + "\n"
	}
	d.read("00:50:00 smtpd[1]: 0F5383D: client=mail.sender.test[203.0.113.9]\n" + line("00:50:01", "u1@far.test", "4.4.1, status=deferred (later)") +
		"00:51:00 qmgr[3]: 0F5383D: from=<s@sender.test>, status=expired, returned to sender\n00:51:00 qmgr[3]: 0F5383D: removed\n" +
		"01:00:00 smtpd[1]: 0F5383D: client=mail.sender.test[203.0.113.9]\n")
	for try := range maxEvents/recipients + 10 {
		var lines strings.Builder
		for _, address := range to {
			lines.WriteString(line(fmt.Sprintf("01:%02d:%02d", 1+try/60, try%60), address, "4.4.1, status=deferred (later)"))
		}
		d.read(lines.String())
	}
	var lines strings.Builder
	for _, address := range to[1:] {
		lines.WriteString(line("01:30:00", address, "2.0.0, status=sent (ok)"))
	}
	d.read(lines.String())
	d.want(e, want...)
	d.want(first, "u1@far.test > u1@far.test expired by queue-id")
}
