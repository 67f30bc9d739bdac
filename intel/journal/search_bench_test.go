package journal

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

var searchEntries = flag.Int("search.entries", 20_000, "entries that BenchmarkSearch searches; a million take a minute to write")

// dayMail is the n-th of so many messages over thirty days: from one of 5000
// senders in 500 domains to one of 1000 recipients of one domain, with links to
// hosts of which some are common and one is its own.
func dayMail(n, of int) *Entry {
	must := func(v intel.Value, err error) intel.Value {
		if err != nil {
			panic(err)
		}
		return v
	}
	mix := func(k uint64) int { // of the number, the same in every run
		x := (uint64(n) + k<<32) * 0x9e3779b97f4a7c15
		return int((x ^ x>>29) * 0xbf58476d1ce4e5b9 >> 33)
	}
	from := fmt.Sprintf("s%d@d%d.example", mix(1)%5000, mix(1)%500)
	to := fmt.Sprintf("u%d@example.org", mix(2)%1000)
	e := &Entry{
		ID: fmt.Sprintf("%026d", n), Time: start.Add(time.Duration(n) * (30 * 24 * time.Hour / time.Duration(of))), QueueID: fmt.Sprintf("4X%08d", n),
		MessageID: fmt.Sprintf("m%d@d.example", n), From: from, To: []string{to}, Helo: "mail.d.example", Direction: intel.Inbound,
		Subject: fmt.Sprintf("Your order %d has been shipped", mix(3)%100_000), HeaderFrom: "Some Shop <" + from + ">", Action: intel.ActionAccept, Rule: "default",
		Observables: []intel.Observable{
			{Value: must(intel.Address(from)), Role: intel.RoleEnvelopeFrom, Place: "envelope"},
			{Value: must(intel.Address(from)), Role: intel.RoleHeaderFrom, Place: "header/From"},
			{Value: must(intel.Address(to)), Role: intel.RoleRcpt, Place: "envelope"},
		},
	}
	if mix(4)%20 == 0 {
		e.Subject = "Die RECHNUNG für Straße " + fmt.Sprint(n)
	}
	for p := range 4 {
		var sum [32]byte
		copy(sum[:], fmt.Sprint(n, p))
		var md [16]byte
		copy(md[:], sum[:])
		e.Observables = append(e.Observables, intel.Observable{Value: intel.SHA256(sum), Role: intel.RoleBody, Place: "1"}, intel.Observable{Value: intel.MD5(md), Role: intel.RoleBody, Place: "1"})
	}
	for u := range 18 {
		e.Observables = append(e.Observables, intel.Observable{Value: must(intel.URL(fmt.Sprintf("https://h%d.links%d.example/%d", mix(5)%50, u, n))), Role: intel.RoleURL, Place: "2/a@href"})
	}
	return e
}

func BenchmarkSearch(b *testing.B) {
	n := *searchEntries
	j := open(b, Options{Dir: filepath.Join(b.TempDir(), "journal"), GroupDelay: time.Second})
	var next atomic.Int64
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if _, err := j.Append(b.Context(), dayMail(i, n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if err := j.Wait(b.Context(), j.Last()); err != nil {
		b.Fatal(err)
	}
	sender, rcpt := fmt.Sprintf("s%d@d%d.example", 17, 17), "u17@example.org"
	day := start.Add(9 * 24 * time.Hour)
	word := func(e *Entry) bool { return strings.Contains(strings.ToLower(e.Subject), "rechnung") }
	for _, c := range []struct {
		name  string
		q     Query
		whole bool // all pages, not the first one
	}{
		{"one message", Query{Keys: [][]Key{{KeyOfMessageID(fmt.Sprintf("m%d@d.example", n/3))}}}, true},
		{"nothing", Query{Keys: [][]Key{{KeyOfMessageID("never@d.example")}}}, true},
		{"sender and domain", Query{Keys: [][]Key{{KeyOf(address(b, sender))}, {KeyOf(domain(b, "example.org"))}}}, true},
		{"sender's domain and recipient", Query{Keys: [][]Key{{KeyOf(domain(b, "d17.example"))}, {KeyOf(address(b, rcpt))}}}, true},
		{"common host and common domain", Query{Keys: [][]Key{{KeyOf(domain(b, "h7.links3.example"))}, {KeyOf(domain(b, "example.org"))}}}, false},
		{"all of a recipient on a day", Query{Keys: [][]Key{{KeyOf(address(b, rcpt))}}, Since: day, Until: day.Add(24 * time.Hour)}, true},
		{"subject word on a day", Query{Glance: word, Since: day, Until: day.Add(24 * time.Hour)}, true},
		{"subject word, newest", Query{Glance: word}, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			found, pages := 0, 0
			for b.Loop() {
				q := c.q
				q.Limit = 100
				for found, pages = 0, 0; ; {
					page, err := j.Search(b.Context(), q)
					if err != nil {
						b.Fatal(err)
					}
					found, pages = found+len(page.Records), pages+1
					if q.Before = page.Next; q.Before == 0 || !c.whole {
						break
					}
				}
			}
			b.ReportMetric(float64(found), "found")
			b.ReportMetric(float64(pages), "pages")
		})
	}
}
