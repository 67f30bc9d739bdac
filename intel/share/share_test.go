package share

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
	"github.com/weirmail/weir/intel/feed/format"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/ledger/viewtest"
)

func TestWhatIsConfirmedIsPublishedAndTakenBack(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil), block(t, bad))
	s.hears(Testimony{Case: "1", Patterns: []string{evil}})
	s.settled()
	s.shows() // found is not confirmed
	s.hears(Testimony{Case: "1", Says: Confirms})
	s.settled()
	s.shows(evilSTIX)
	s.hears(Testimony{Case: "2", Patterns: []string{bad, evil}, Says: Confirms})
	s.settled()
	s.shows(evilSTIX, badSTIX)
	s.reopen()
	s.settled()
	s.shows(evilSTIX, badSTIX)
	// One case is nothing bad; the other still speaks for one of its indicators.
	s.hears(Testimony{Case: "2", Says: Doubts})
	s.settled()
	s.shows(evilSTIX, badSTIX+" revoked")
	s.hears(Testimony{Case: "2", Says: Confirms}) // policy does not overrule a person
	s.settled()
	s.shows(evilSTIX, badSTIX+" revoked")
	revoked, err := s.Page(Query{Limit: 10})
	s.must(err)
	// A person confirms it again: what was revoked stays so, and it is another object.
	s.hears(Testimony{Case: "2", Says: ConfirmsForSure})
	s.settled()
	s.shows(evilSTIX, badSTIX+" revoked", badSTIX)
	again, err := s.Page(Query{Limit: 10})
	s.must(err)
	if again.Objects[2].ID == revoked.Objects[1].ID {
		t.Error("an object came back that was revoked")
	}
	if st := s.Status(); st.Published != 1 || st.Revoked != 1 { // as of before the last pass
		s.settled()
		if st := s.Status(); st.Published != 2 || st.Revoked != 1 {
			t.Errorf("%+v", st)
		}
	}
	// All of it has a record, with the reason.
	var said []string
	for e, err := range s.ledger.Events(ledger.Cursor{}) {
		s.must(err)
		if strings.HasPrefix(e.Entity, entityPrefix) {
			said = append(said, e.Type+" "+e.Actor+" "+e.Reason)
		}
	}
	want := []string{"published weir:share confirmed by incident 1", "published weir:share confirmed by incident 2", "revoked weir:share incident 2 was nothing bad", "published weir:share confirmed by incident 2"}
	if !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
}

func TestWhatTheListsSayOfItDecides(t *testing.T) {
	for name, c := range map[string]struct {
		lists   []intel.Indicator
		set     func(*Settings)
		why     string // it is not published
		says    string // TLP, confidence and end
		person  bool
		pattern string
	}{
		"plain":                                {lists: []intel.Indicator{block(t, evil)}, says: "green 0 2026-07-30"},
		"not listed":                           {why: whyUnlisted},
		"named by a person, who needs no list": {person: true, says: "green 0 2026-07-30"},
		"allowed":                              {lists: []intel.Indicator{block(t, evil), block(t, evil, func(i *intel.Indicator) { i.Disposition = intel.Allow })}, why: whyAllowed},
		"allowed, and named by a person": {person: true, why: whyAllowed,
			lists: []intel.Indicator{block(t, "below|domain|evil.example", func(i *intel.Indicator) { i.Disposition = intel.Allow })}},
		"only a feed has it":            {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.Source = "feed:x" })}, why: whyUnlisted},
		"a wider entry is another":      {lists: []intel.Indicator{block(t, "below|domain|evil.example")}, why: whyUnlisted},
		"expired":                       {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.Until = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) })}, why: whyUnlisted},
		"it ends":                       {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.Until = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) })}, says: "green 0 2026-06-01"},
		"the latest end counts":         {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.Until = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }), block(t, evil)}, says: "green 0 2026-07-30"},
		"clear":                         {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.TLP, i.Confidence = intel.TLPClear, 70 })}, says: "clear 70 2026-07-30"},
		"marked too strictly":           {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.TLP = intel.TLPAmber })}, why: whyMarked},
		"as strict as it may":           {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.TLP = intel.TLPAmberStrict })}, set: func(s *Settings) { s.MaxTLP = intel.TLPAmberStrict }, says: "amber+strict 0 2026-07-30"},
		"a feed marked it":              {lists: []intel.Indicator{block(t, evil), block(t, evil, func(i *intel.Indicator) { i.Source, i.TLP = "feed:x", intel.TLPRed })}, why: whyMarked},
		"not sure enough":               {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.Confidence = 49 })}, set: func(s *Settings) { s.MinConfidence = 50 }, why: whyUnsure},
		"nobody says how sure":          {lists: []intel.Indicator{block(t, evil)}, set: func(s *Settings) { s.MinConfidence = 50 }, says: "green 0 2026-07-30"},
		"another mark":                  {lists: []intel.Indicator{block(t, evil)}, set: func(s *Settings) { s.Mark, s.Expiry = intel.TLPClear, 24*time.Hour }, says: "clear 0 2026-05-02"},
		"unmarked, the mark too strict": {lists: []intel.Indicator{block(t, evil)}, set: func(s *Settings) { s.Mark = intel.TLPAmber }, why: whyMarked},
		"one role":                      {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.Roles = []intel.Role{intel.RoleRcpt} })}, why: whyPartial},
		"one direction":                 {lists: []intel.Indicator{block(t, evil, func(i *intel.Indicator) { i.Direction = intel.Outbound })}, why: whyPartial},
		"ours":                          {pattern: "exact|domain|mail.corp.example", lists: []intel.Indicator{block(t, "exact|domain|mail.corp.example")}, why: whyOurs},
		"no form in STIX":               {pattern: "prefix|url|https://evil.example/a_b", lists: []intel.Indicator{block(t, "prefix|url|https://evil.example/a_b")}, why: whyUnsaid},
		"a range":                       {pattern: "range|ip|198.51.100.0/24", lists: []intel.Indicator{block(t, "range|ip|198.51.100.0/24")}, says: "green 0 2026-07-30"},
		"a prefix":                      {pattern: "prefix|url|https://evil.example/a", lists: []intel.Indicator{block(t, "prefix|url|https://evil.example/a")}, says: "green 0 2026-07-30"},
		"all below":                     {pattern: "below|domain|evil.example", lists: []intel.Indicator{block(t, "below|domain|evil.example")}, says: "green 0 2026-07-30"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.knows(c.lists...)
			if c.pattern == "" {
				c.pattern = evil
			}
			if c.set != nil {
				settings := s.plain()
				c.set(&settings)
				s.must(s.SetSettings(settings))
			}
			s.hears(Testimony{Case: "1", Patterns: []string{c.pattern}, Says: Confirms, ByPerson: c.person})
			s.settled()
			w, err := s.weigh(s.clock())
			s.must(err)
			if why := strings.Join(slices.Collect(maps.Keys(w.withheld)), ", "); why != c.why {
				t.Errorf("it is withheld: %q, want %q", why, c.why)
			}
			got := ""
			if d := w.wanted[c.pattern]; d != nil {
				got = fmt.Sprint(d.TLP, " ", d.Confidence, " ", d.Until.Format(time.DateOnly))
			}
			if got != c.says {
				t.Errorf("it says %q, want %q", got, c.says)
			}
			page, err := s.Page(Query{Limit: 10})
			s.must(err)
			if (len(page.Objects) == 1) != (c.says != "") {
				t.Errorf("%d objects", len(page.Objects))
			}
		})
	}
}

func TestWhatChangesIsANewVersion(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil))
	s.hears(Testimony{Case: "1", Patterns: []string{evil}, Says: Confirms})
	s.settled()
	first, err := s.Page(Query{Limit: 10})
	s.must(err)
	// More of the same on the same day is no news.
	s.hears(Testimony{Case: "1", Says: Confirms})
	s.settled()
	s.knows(block(t, evil, func(i *intel.Indicator) { i.Confidence = 80 }))
	s.settled()
	second, err := s.Page(Query{Limit: 10, After: first.Objects[0].added})
	s.must(err)
	a, b := first.Objects[0], second.Objects[0]
	if a.ID != b.ID || a.Created != b.Created || a.Modified >= b.Modified || b.Confidence != 80 || b.Revoked {
		t.Errorf("%+v, then %+v", a, b)
	}
	// It is taken from the list, and listed again.
	s.knows()
	s.settled()
	s.shows(evilSTIX + " revoked")
	s.knows(block(t, evil))
	s.settled()
	s.shows(evilSTIX+" revoked", evilSTIX)
}

func TestWhatEndsIsNotRevokedAndIsForgotten(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil), block(t, bad))
	s.hears(Testimony{Case: "1", Patterns: []string{evil}, Says: Confirms})
	s.hears(Testimony{Case: "2", Patterns: []string{bad}, Says: Confirms})
	s.settled()
	s.hears(Testimony{Case: "2", Says: Doubts})
	s.passes(DefaultExpiry - 24*time.Hour)
	s.settled()
	s.shows(evilSTIX, badSTIX+" revoked")
	s.passes(48 * time.Hour)
	s.settled()
	s.shows(evilSTIX, badSTIX+" revoked") // its end is said in it
	if st := s.Status(); st.Published != 0 || st.Revoked != 1 {
		t.Errorf("%+v", st)
	}
	s.passes(keepEnded + 24*time.Hour)
	s.settled()
	s.shows()
	// A new case makes a newer version of it.
	s.hears(Testimony{Case: "3", Patterns: []string{evil}, Says: Confirms})
	s.settled()
	s.shows(evilSTIX)
}

func TestEntriesOfListsAreSharedIfTheyAreMarked(t *testing.T) {
	s := newSite(t)
	green := block(t, evil, func(i *intel.Indicator) { i.TLP = intel.TLPGreen })
	red, unmarked := block(t, bad, func(i *intel.Indicator) { i.TLP = intel.TLPRed }), block(t, "exact|domain|plain.example")
	local := block(t, "exact|address|bob@corp.example", func(i *intel.Indicator) { i.TLP = intel.TLPClear })
	stale := block(t, "exact|domain|stale.example", func(i *intel.Indicator) { i.TLP = intel.TLPClear })
	s.listed = []intel.Indicator{green, red, unmarked, local, stale}
	s.knows(green, red, unmarked, local) // stale is in the file, and not in force
	s.settled()
	s.shows(evilSTIX)
	s.listed = s.listed[1:]
	s.settled()
	s.shows(evilSTIX + " revoked")
}

func TestNothingIsRevokedForWantOfAListThatCannotBeRead(t *testing.T) {
	s := newSite(t)
	green := func(i *intel.Indicator) { i.TLP = intel.TLPGreen }
	one := block(t, evil, green)
	other := block(t, bad, green, func(i *intel.Indicator) { i.Source = "list:block/other.txt" })
	s.knows(one, other)
	s.listed = []intel.Indicator{one, other}
	s.settled()
	s.shows(evilSTIX, badSTIX)
	s.knows()
	s.listed, s.unread = nil, []string{one.Source}
	s.reopen()
	s.settled()
	s.shows(evilSTIX, badSTIX+" revoked")
	s.unread = nil
	s.settled()
	s.shows(badSTIX+" revoked", evilSTIX+" revoked")
}

// The settings say what is ours now; what was published when it was nobody's is not
// read any more, not even as revoked.
func TestWhatHasBecomeOursIsNotShownAnyMore(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil))
	s.hears(Testimony{Case: "1", Patterns: []string{evil}, Says: Confirms})
	s.settled()
	settings := s.plain()
	settings.Guard = NewGuard(GuardOptions{Domains: []string{"evil.example"}})
	s.must(s.SetSettings(settings))
	s.shows()
	page, err := s.Page(Query{Limit: 10})
	s.must(err)
	named, err := s.Page(Query{Limit: 10, IDs: []string{objectIDOf(t, evil)}})
	s.must(err)
	if len(page.Objects)+len(named.Objects) > 0 {
		t.Error(page, named)
	}
	s.settled()
	s.shows()
}

func objectIDOf(t *testing.T, name string) string {
	t.Helper()
	id, err := objectID(patternOf(t, name), 0)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestNothingButTheIndicatorIsTold(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil, func(i *intel.Indicator) { i.TLP = intel.TLPGreen }))
	s.hears(Testimony{Case: "SECRET-CASE", Patterns: []string{evil}, Says: Confirms})
	s.settled()
	page, err := s.Page(Query{Limit: 10})
	s.must(err)
	raw, err := json.Marshal(page.Objects[0])
	s.must(err)
	if text := strings.ToLower(string(raw)); strings.Contains(text, "secret") || strings.Contains(text, "local.txt") {
		t.Errorf("%s", raw)
	}
	var members map[string]any
	s.must(json.Unmarshal(raw, &members))
	want := []string{"confidence", "created", "id", "indicator_types", "modified", "object_marking_refs", "pattern", "pattern_type", "spec_version", "type", "valid_from", "valid_until"}
	got := slices.Sorted(maps.Keys(members))
	if !slices.Equal(slices.DeleteFunc(want, func(m string) bool { return m == "confidence" }), got) {
		t.Errorf("it has %q", got)
	}
	if members["object_marking_refs"].([]any)[0] != export.NewMarking(intel.TLPGreen).ID {
		t.Errorf("it is marked %v", members["object_marking_refs"])
	}
}

// What is published is what a peer lists.
func TestAPeerReadsWhatIsPublished(t *testing.T) {
	s := newSite(t)
	names := []string{evil, bad, "below|domain|all.example", "prefix|url|https://evil.example/pay/", "exact|address|x@evil.example", "exact|ip|198.51.100.7",
		"range|ip|2001:db8:7::/48", "exact|md5|44d88612fea8a8f36de82e1278abb02f", "exact|url|https://evil.example/o'neil"}
	var entries []intel.Indicator
	for _, n := range names {
		entries = append(entries, block(t, n))
	}
	s.knows(entries...)
	s.hears(Testimony{Case: "1", Patterns: names, Says: Confirms})
	s.settled()
	page, err := s.Page(Query{Limit: 100})
	s.must(err)
	raw, err := json.Marshal(envelope{Objects: page.Objects})
	s.must(err)
	// The peer's clock is a minute behind.
	peer, err := format.New(format.Options{Format: format.STIX, Source: "feed:a", Disposition: intel.Block, Now: s.clock().Add(-time.Minute),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }})
	s.must(err)
	var got []string
	for in, err := range peer.Entries {
		s.must(err)
		got = append(got, in.Pattern.Name())
		if in.TLP != intel.TLPGreen || in.Note != "" {
			t.Errorf("%+v", in)
		}
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("the peer reads\n%q\nof\n%q\n%s", got, names, raw)
	}
}

func TestPagesAreStableWhileMoreIsPublished(t *testing.T) {
	s := newSite(t)
	var names []string
	var all []intel.Indicator
	more := func(n int) {
		for range n {
			names = append(names, fmt.Sprintf("exact|domain|h%d.example", len(names)))
			all = append(all, block(t, names[len(names)-1]))
		}
		s.knows(all...)
		s.hears(Testimony{Case: "1", Patterns: names, Says: Confirms})
		s.settled()
	}
	more(7)
	seen := map[string]int{}
	at := int64(0)
	for round := 0; ; round++ {
		page, err := s.Page(Query{After: at, Limit: 3})
		s.must(err)
		for _, o := range page.Objects {
			seen[o.Pattern]++
			at = o.added
		}
		if round == 0 {
			more(5)
		}
		if page.More != (len(seen) < len(names)) {
			t.Errorf("after %d of %d: more %v", len(seen), len(names), page.More)
		}
		if !page.More {
			break
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d of 12 were seen: %v", len(seen), seen)
	}
	for p, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", p, n)
		}
	}
}

func TestRunPublishesByItself(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	until := func(what string, is func(Page) bool) {
		t.Helper()
		for range 1000 {
			page, err := s.Page(Query{Limit: 10})
			s.must(err)
			if is(page) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("it never came to be: " + what)
	}
	s.hears(Testimony{Case: "1", Patterns: []string{evil}, Says: Confirms})
	until("published", func(p Page) bool { return len(p.Objects) == 1 })
	s.knows() // taken from the list
	until("revoked", func(p Page) bool { return len(p.Objects) == 1 && p.Objects[0].Revoked })
}

func TestTheViewIsOne(t *testing.T) {
	var all []viewtest.Commit
	add := func(entity, kind string, data any) {
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, viewtest.Commit{Entity: entity, Events: []ledger.Event{{Type: kind, Schema: 1, Data: raw}}})
	}
	for n := range 5 {
		name := fmt.Sprintf("exact|domain|h%d.example", n)
		add(fmt.Sprint("case/", n%2), "testimony", Testimony{Case: fmt.Sprint(n % 2), Patterns: []string{name, "no pattern"}, Says: Says(n % 4)})
		d := publishedData{Object: fmt.Sprint("indicator--", n), Pattern: name, TLP: "green", Grounds: []string{"incident 1"}}
		add(entityOf(name), typePublished, d)
		d.Confidence = 5
		add(entityOf(name), typePublished, d)
		if n%2 == 0 {
			add(entityOf(name), typeRevoked, revokedData{d.Object, name})
			d.Object += "-2"
			add(entityOf(name), typePublished, d)
		}
		add(entityOf(name), "another", struct{}{})
	}
	viewtest.Test(t, all, func(t *testing.T) viewtest.Fixture {
		db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return viewtest.Fixture{
			Open: func() (ledger.View, error) { return NewView(db, testify), nil },
			Dump: func(v ledger.View) (string, error) {
				s, err := db.Snapshot()
				if err != nil {
					return "", err
				}
				defer s.Release()
				var b strings.Builder
				for e, err := range s.Range([]byte(viewPrefix), nil) {
					if err != nil {
						return "", err
					}
					fmt.Fprintf(&b, "%q=%q\n", e.Key, e.Value)
				}
				return b.String(), nil
			},
		}
	})
}

// BenchmarkPass is what a change costs when much is published.
func BenchmarkPass(b *testing.B) {
	s := newSite(b)
	t := Testimony{Case: "1", Says: Confirms, ByPerson: true}
	const n = 2000
	for i := range n {
		t.Patterns = append(t.Patterns, fmt.Sprintf("exact|url|https://h%d.example/a/b/c?d=%d", i, i))
	}
	s.hears(t)
	s.settled()
	for b.Loop() {
		if err := s.pass(b.Context(), s.clock()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/indicator")
}

func TestWhatIsPublishedIsListedWithItsGrounds(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil), block(t, bad))
	s.hears(Testimony{Case: "1", Patterns: []string{evil}, Says: Confirms})
	s.settled()
	s.hears(Testimony{Case: "2", Patterns: []string{bad, evil}, Says: Confirms})
	s.settled()
	first, more, err := s.List(0, 1, false)
	s.must(err)
	if len(first) != 1 || !more || first[0].Pattern.Name() != bad || fmt.Sprint(first[0].Grounds) != "[incident 2]" {
		t.Errorf("%+v, %v", first, more)
	}
	second, more, err := s.List(first[0].Place(), 5, false)
	s.must(err)
	if len(second) != 1 || more || second[0].Pattern.Name() != evil || fmt.Sprint(second[0].Grounds) != "[incident 1]" {
		t.Errorf("%+v, %v", second, more)
	}
	s.hears(Testimony{Case: "2", Says: Doubts})
	s.settled()
	now, _, err := s.List(0, 5, false)
	s.must(err)
	all, _, err := s.List(0, 5, true)
	s.must(err)
	if len(now) != 1 || len(all) != 2 || !all[0].Revoked {
		t.Errorf("%+v, %+v", now, all)
	}
}

func TestAClockThatWasAheadHidesNothingThatComesAfterIt(t *testing.T) {
	s := newSite(t)
	s.knows(block(t, evil), block(t, bad))
	const ahead = 20 * 365 * 24 * time.Hour
	s.passes(ahead)
	s.hears(Testimony{Case: "1", Patterns: []string{evil}, Says: Confirms})
	s.settled()
	s.passes(-ahead)
	s.hears(Testimony{Case: "2", Patterns: []string{bad}, Says: Confirms})
	s.settled()
	s.shows(evilSTIX, badSTIX)
	page, err := s.Page(Query{Limit: 10})
	s.must(err)
	if o := page.Objects[len(page.Objects)-1]; o.ValidFrom > s.clock().Format(stixTime) {
		t.Errorf("it is valid from %s on", o.ValidFrom)
	}
}

func TestManyConfirmedPatternsAtOnceDoNotStopTheView(t *testing.T) {
	s := newSite(t)
	for i := range 60 { // one group
		var patterns []string
		for n := range 250 {
			patterns = append(patterns, fmt.Sprintf("exact|domain|n%d.c%d.example", n, i))
		}
		s.hears(Testimony{Case: fmt.Sprint(i), Patterns: patterns, Says: Confirms})
	}
	last, err := s.ledger.Last()
	s.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	s.must(s.ledger.Wait(ctx, last))
}
