package hunt

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
)

const benchEntries = 200_000

// fill journals as much mail as an organisation gets in some weeks: eight links,
// two files and seven other observables each.
func fill(b *testing.B, s *site) {
	b.Helper()
	j, err := journal.Open(journal.Options{FS: disk.System{}, Dir: filepath.Join(s.dir, "large"), GroupDelay: time.Millisecond, Clock: s.clock})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		_ = j.Close()
	})
	var writers sync.WaitGroup
	for w := range 64 {
		writers.Go(func() {
			for i := w; i < benchEntries; i += 64 {
				if _, err := j.Append(s.ctx, benchEntry(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if err := j.Wait(s.ctx, j.Last()); err != nil {
		b.Fatal(err)
	}
	s.seen = j
}

func benchEntry(i int) *journal.Entry {
	e := &journal.Entry{
		ID: fmt.Sprintf("01BENCH%019d", i), Time: start.Add(-time.Duration(benchEntries-i) * 12 * time.Second), QueueID: fmt.Sprintf("4Wq%09d", i),
		MessageID: fmt.Sprintf("%d.%d@mail%d.example", i, i*7919, i%900), From: fmt.Sprintf("s%d@d%d.example", i%3000, i%900), To: []string{fmt.Sprintf("u%d@here.example", i%500)},
		Direction: intel.Inbound, Subject: fmt.Sprintf("Minutes of meeting %d and what we agreed on", i), HeaderFrom: "Somebody <somebody@mail.example>", Generation: 1,
		Date: "Sun, 1 Mar 2026 12:00:00 +0000", References: []string{fmt.Sprintf("%d.%d@mail%d.example", i-1000, (i-1000)*7919, (i-1000)%900)},
	}
	client(fmt.Sprintf("203.%d.%d.%d", i%7, i/256%256, i%256))(e)
	for k := range 8 {
		link(fmt.Sprintf("https://site%d.example/p/%d/%d", (i*3+k)%20_000, i, k))(e)
	}
	for k := range 2 {
		sum := sha256.Sum256(fmt.Append(nil, i, k))
		observe(e, intel.RoleAttachment, fmt.Sprint(k+1), intel.SHA256(sum))
		e.Parts = append(e.Parts, journal.Part{Path: fmt.Sprint(k + 1), Type: "text/plain", Size: 5000, Fingerprint: sum})
	}
	observe(e, intel.RoleClient, "envelope", must(intel.IP(e.Client)))
	observe(e, intel.RoleEnvelopeFrom, "envelope", must(intel.Address(e.From)))
	observe(e, intel.RoleHeaderFrom, "header/From", must(intel.Address("somebody@mail.example")))
	observe(e, intel.RoleRcpt, "envelope", must(intel.Address(e.To[0])))
	setBody(e)
	return e
}

// BenchmarkHunt hunts in a journal of 200 000 entries, index on disk: one added
// domain that is in 80 messages, until the desk has them (at once) and to the end
// of the pass; a list of 100 000 entries of which 1 % is in some message; and an
// expression on the subject, which reads every entry.
func BenchmarkHunt(b *testing.B) {
	s := newSite(b)
	fill(b, s)
	s.list("list:block/0", "zero.example")
	s.open()
	s.work()
	next := 0
	b.Run("one domain, at once", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s.work()
			s.desk.incidents = map[string]*held{}
			s.list("list:block/1", fmt.Sprintf("site%d.example", next))
			next++
			b.StartTimer()
			for len(s.desk.incidents) == 0 {
				if _, err := s.hunt.turn(s.ctx); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("one domain, to the end", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s.work()
			s.list("list:block/1", fmt.Sprintf("site%d.example", next))
			next++
			b.StartTimer()
			s.work()
		}
		b.ReportMetric(float64(s.hunt.Status().Last.Matched), "matches")
	})
	b.Run("one domain that is nowhere", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s.list("list:block/1", fmt.Sprintf("nowhere%d.example", next))
			next++
			b.StartTimer()
			s.work()
		}
	})
	b.Run("100000 entries", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s.desk.incidents = map[string]*held{}
			s.source("list:block/2", benchList(100_000, next))
			next++
			b.StartTimer()
			s.work()
		}
		r := s.hunt.Status().Last
		b.ReportMetric(float64(r.Matched), "matches")
		b.ReportMetric(float64(r.Linked), "links")
		if r.Indicators != 100_000 {
			b.Fatalf("hunted for %d", r.Indicators)
		}
	})
	b.Run("an expression", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			s.list("list:block/3", fmt.Sprintf("/meeting 1%d77 and/ in=subject", next))
			next++
			b.StartTimer()
			s.work()
		}
		b.ReportMetric(float64(s.hunt.Status().Last.Matched), "matches")
	})
}

// benchList gives n entries of many kinds, one in a hundred of which is in some
// message. Another seed gives other ones.
func benchList(n, seed int) iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		for i := range n {
			var p intel.Pattern
			var err error
			switch i % 8 {
			case 0, 1, 2:
				p = intel.Exact(must(intel.Domain(fmt.Sprintf("host%d-%d.bad%d.example.net", i, seed, i%1000))))
			case 3:
				p = intel.Exact(must(intel.Address(fmt.Sprintf("user%d-%d@mail%d.example.net", i, seed, i%1000))))
			case 4, 5:
				p = intel.Exact(must(intel.URL(fmt.Sprintf("https://files%d.example.net/login/%d?x=%d", i%5000, i, seed))))
			case 6:
				p = intel.Exact(must(intel.Digest(fmt.Sprintf("%032x%032x", i, seed))))
			default:
				p, err = intel.URLPrefix(fmt.Sprintf("https://files%d.example.net/d/%x/%d*", i%5000, i, seed))
			}
			if i%100 == 0 {
				of := (i/100*197 + seed) % benchEntries
				p = intel.Exact(must(intel.URL(fmt.Sprintf("https://site%d.example/p/%d/0", of*3%20_000, of))))
			}
			if !yield(intel.Indicator{Pattern: p, Disposition: intel.Block, Line: i + 1}, err) {
				return
			}
		}
	}
}

func BenchmarkEmbeds(b *testing.B) {
	e, later := &journal.Entry{}, &journal.Entry{}
	content("text/plain "+text("dear"), "text/html "+text("dear"), "application/pdf "+text("x"))(e)
	attached("text/plain look", "text/plain "+text("dear"), "text/html "+text("dear"), "application/pdf "+text("x"))(later)
	b.ReportAllocs()
	for b.Loop() {
		if _, inside := embeds(later, e); !inside {
			b.Fatal("it is not seen")
		}
	}
}
