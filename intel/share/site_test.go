package share

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/match"
)

// site is a Share on a ledger in memory. Cases are events of the test's own.
type site struct {
	*Share
	t      testing.TB
	disk   *faulty.Disk
	db     *kv.DB
	ident  *ident.Identity
	ledger *ledger.Ledger
	lists  *match.Matcher
	listed []intel.Indicator // that are shared although no case rests on them
	unread []string          // lists that are shared and cannot be read
	n      int

	mu  sync.Mutex
	now time.Time
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(time.Microsecond)
	return s.now
}

func (s *site) passes(d time.Duration) {
	s.mu.Lock()
	s.now = s.now.Add(d)
	s.mu.Unlock()
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, disk: faulty.New("/state", 1), lists: match.NewMatcher(), now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}
	var err error
	s.db, err = kv.Open(kv.Options{Name: "views", InMemory: true})
	s.must(err)
	t.Cleanup(func() { _ = s.db.Close() })
	s.open()
	t.Cleanup(func() { _ = s.ledger.Close() })
	return s
}

// open starts over what is there, as the daemon does.
func (s *site) open() {
	s.t.Helper()
	var err error
	s.ident, err = ident.Open(ident.Options{FS: s.disk, Dir: "/state", Clock: s.clock})
	s.must(err)
	view := NewView(s.db, testify)
	s.ledger, err = ledger.Open(ledger.Options{FS: s.disk, Dir: "/state/ledger", Index: s.db, Node: "test", Key: s.ident.Key("ledger"),
		NewID: s.ident.NewID, Clock: s.clock, Views: []ledger.View{view}})
	s.must(err)
	s.Share, err = New(Options{Ledger: s.ledger, View: view, Lists: s.lists, Identity: s.ident, Node: "node01", Settings: s.plain()})
	s.must(err)
}

func (s *site) reopen() {
	s.t.Helper()
	s.must(s.ledger.Close())
	s.open()
}

// plain gives settings like those of the default configuration.
func (s *site) plain() Settings {
	return Settings{Guard: ours(), Listed: func() iter.Seq2[intel.Indicator, error] {
		return func(yield func(intel.Indicator, error) bool) {
			for _, source := range s.unread {
				if !yield(intel.Indicator{}, &UnreadError{source, io.ErrUnexpectedEOF}) {
					return
				}
			}
			for _, in := range s.listed {
				if !yield(in, nil) {
					return
				}
			}
		}
	}}
}

// testify reads the test's own events.
func testify(e *ledger.Event) (t Testimony, ok bool, err error) {
	if e.Type != "testimony" || e.Erased {
		return t, false, nil
	}
	err = json.Unmarshal(e.Data, &t)
	t.Time = e.Time
	return t, true, err
}

// hears records what is said of a case.
func (s *site) hears(t Testimony) {
	s.t.Helper()
	data, err := json.Marshal(t)
	s.must(err)
	s.n++
	_, err = s.ledger.Commit(s.t.Context(), ledger.Command{ID: fmt.Sprint("hears", s.n, s.clock().UnixNano()), Entity: "case/" + t.Case, Actor: "unix:1"},
		func(ledger.State) ([]ledger.Event, error) {
			return []ledger.Event{{Type: "testimony", Schema: 1, Data: data}}, nil
		})
	s.must(err)
}

// knows makes these the lists.
func (s *site) knows(all ...intel.Indicator) {
	s.t.Helper()
	m := match.NewMemory()
	for i := range all {
		m.Add(&all[i])
	}
	snapshot, err := m.Snapshot(uint64(s.clock().UnixNano()))
	s.must(err)
	s.lists.Swap(snapshot)
}

// block is an entry of a list of ours.
func block(t testing.TB, name string, with ...func(*intel.Indicator)) intel.Indicator {
	in := intel.Indicator{Pattern: patternOf(t, name), Disposition: intel.Block, Source: "list:block/local.txt", Note: "a secret note", Campaign: "secret campaign", ID: "SECRET-1"}
	for _, f := range with {
		f(&in)
	}
	return in
}

// settled makes a pass, twice, since what a pass has done must need no other.
func (s *site) settled() {
	s.t.Helper()
	last, err := s.ledger.Last()
	s.must(err)
	s.must(s.ledger.Wait(context.Background(), last))
	s.must(s.pass(s.t.Context(), s.clock()))
	before, err := s.ledger.Last()
	s.must(err)
	s.must(s.pass(s.t.Context(), s.clock()))
	if after, err := s.ledger.Last(); err != nil || after != before {
		s.t.Error("a second pass has something to do, too")
	}
}

// shows checks what peers read, in its order: patterns, with what is said of them.
func (s *site) shows(want ...string) {
	s.t.Helper()
	page, err := s.Page(Query{Limit: 1000})
	s.must(err)
	var got []string
	for _, o := range page.Objects {
		line := strings.TrimSuffix(strings.TrimPrefix(o.Pattern, "["), "]")
		if o.Revoked {
			line += " revoked"
		}
		got = append(got, line)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("peers read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const (
	evil     = "exact|domain|evil.example"
	evilSTIX = "domain-name:value = 'evil.example'"
	bad      = "exact|url|https://bad.example/x"
	badSTIX  = "url:value = 'https://bad.example/x'"
)
