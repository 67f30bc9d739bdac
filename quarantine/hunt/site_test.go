package hunt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/quarantine/incident"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// site is a mail host: real lists, a real journal, and a desk that remembers.
type site struct {
	t       testing.TB
	ctx     context.Context
	dir     string
	time    atomic.Int64 // ns since 1970
	db      *kv.DB
	store   *store.Store
	matcher *match.Matcher
	journal *journal.Journal
	desk    *desk
	lists   Lists   // what the hunt sees; the store unless a test puts something before it
	seen    Journal // likewise
	hunt    *Hunt
	options Options
	count   int
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), matcher: match.NewMatcher(), desk: &desk{incidents: map[string]*held{}}}
	s.time.Store(start.UnixNano())
	s.desk.clock = s.clock
	var cancel context.CancelFunc
	s.ctx, cancel = context.WithCancel(context.Background())
	s.openStore()
	var err error
	s.journal, err = journal.Open(journal.Options{FS: disk.System{}, Dir: filepath.Join(s.dir, "journal"), IndexInMemory: true, GroupDelay: time.Millisecond, Clock: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- s.journal.Run(s.ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = s.journal.Close()
		s.store.Close()
		_ = s.db.Close()
	})
	s.seen, s.lists = s.journal, s.store
	return s
}

func (s *site) clock() time.Time { return time.Unix(0, s.time.Load()).UTC() }

func (s *site) later(d time.Duration) { s.time.Add(int64(d)) }

// openStore opens an empty store of indicators, as the first time or after it
// was lost.
func (s *site) openStore() {
	s.t.Helper()
	if s.store != nil {
		s.store.Close()
		_ = s.db.Close()
	}
	var err error
	if s.db, err = kv.Open(kv.Options{Name: "intel", Schema: store.Schema, InMemory: true}); err != nil {
		s.t.Fatal(err)
	}
	if s.store, err = store.Open(store.Options{DB: s.db, Matcher: s.matcher, Rest: -1, Now: s.clock}); err != nil {
		s.t.Fatal(err)
	}
	s.lists = s.store
}

// list makes a source list these lines. The source's name says what they do.
func (s *site) list(name string, lines ...string) uint64 {
	s.t.Helper()
	return s.source(name, entries(name, strings.Join(lines, "\n")))
}

func (s *site) source(name string, all iter.Seq2[intel.Indicator, error]) uint64 {
	s.t.Helper()
	results, err := s.store.Refresh(s.ctx, store.Source{Name: name, Entries: all})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range results {
		if err := errors.Join(r.Errors...); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.store.Generation()
}

func entries(name, text string) iter.Seq2[intel.Indicator, error] {
	d := intel.Block
	for _, other := range []intel.Disposition{intel.Allow, intel.Watch} {
		if strings.Contains(name, other.String()) {
			d = other
		}
	}
	return func(yield func(intel.Indicator, error) bool) {
		for e, err := range list.Read(strings.NewReader(text), list.Options{File: name, Disposition: d, Source: name}) {
			if !yield(e.Indicator, err) {
				return
			}
		}
	}
}

// mail journals a message, judged by the lists of now unless change says
// otherwise, and gives its ID.
func (s *site) mail(change ...func(*journal.Entry)) string {
	s.t.Helper()
	s.count++
	snapshot := s.matcher.Acquire()
	defer snapshot.Release()
	e := &journal.Entry{
		ID: fmt.Sprintf("01ENTRY%04d", s.count), Time: s.clock(), MessageID: fmt.Sprintf("m%d@mail.example", s.count),
		From: "sender@mail.example", To: []string{"alice@here.example"}, Client: netip.MustParseAddr("192.0.2.1"),
		Direction: intel.Inbound, Subject: "hello", Generation: snapshot.Generation(),
	}
	e.Body = sha256.Sum256([]byte(e.ID))
	for _, c := range change {
		c(e)
	}
	observe(e, intel.RoleClient, "envelope", must(intel.IP(e.Client)))
	observe(e, intel.RoleEnvelopeFrom, "envelope", must(intel.Address(e.From)))
	for _, to := range e.To {
		observe(e, intel.RoleRcpt, "envelope", must(intel.Address(to)))
	}
	if _, err := s.journal.Append(s.ctx, e); err != nil {
		s.t.Fatal(err)
	}
	return e.ID
}

func must(v intel.Value, err error) intel.Value {
	if err != nil {
		panic(err)
	}
	return v
}

func observe(e *journal.Entry, role intel.Role, place string, v intel.Value) {
	e.Observables = append(e.Observables, intel.Observable{Value: v, Role: role, Place: place})
}

// What a message may be.

func link(url string) func(*journal.Entry) {
	return func(e *journal.Entry) { observe(e, intel.RoleURL, "1/text", must(intel.URL(url))) }
}

func from(address string) func(*journal.Entry) { return func(e *journal.Entry) { e.From = address } }

func to(addresses ...string) func(*journal.Entry) {
	return func(e *journal.Entry) { e.To = addresses }
}

func client(ip string) func(*journal.Entry) {
	return func(e *journal.Entry) { e.Client = netip.MustParseAddr(ip) }
}

func subject(text string) func(*journal.Entry) { return func(e *journal.Entry) { e.Subject = text } }

func under(generation uint64) func(*journal.Entry) {
	return func(e *journal.Entry) { e.Generation = generation }
}

func at(t time.Time) func(*journal.Entry) { return func(e *journal.Entry) { e.Time = t } }

func answering(ids ...string) func(*journal.Entry) {
	return func(e *journal.Entry) { e.References = ids }
}

// known notes that an indicator matched when the message was let through.
func known(source, value, place string) func(*journal.Entry) {
	return func(e *journal.Entry) {
		e.Hits = append(e.Hits, journal.Hit{Source: source, Value: value, Place: place})
	}
}

// content gives the parts of a message, "type text" each, and its fingerprints.
func content(parts ...string) func(*journal.Entry) {
	return func(e *journal.Entry) { setContent(e, "", parts) }
}

// attached is a message that consists of a text and another message, attached.
func attached(text string, parts ...string) func(*journal.Entry) {
	return func(e *journal.Entry) {
		setContent(e, "2.", parts)
		inner := e.Parts
		setContent(e, "", []string{text})
		e.Parts = append(e.Parts, inner...)
		setBody(e)
	}
}

func setContent(e *journal.Entry, prefix string, parts []string) {
	e.Parts = nil
	for i, text := range parts {
		kind, text, _ := strings.Cut(text, " ")
		sum := sha256.Sum256([]byte(text))
		path := fmt.Sprintf("%s%d", prefix, i+1)
		e.Parts = append(e.Parts, journal.Part{Path: path, Type: kind, Size: int64(len(text)), Fingerprint: sum})
		role := intel.RoleAttachment
		if strings.HasPrefix(kind, "text/") {
			role = intel.RoleBody
		}
		observe(e, role, path, intel.SHA256(sum))
	}
	setBody(e)
}

func setBody(e *journal.Entry) {
	sum := sha256.New()
	for i := range e.Parts {
		sum.Write(e.Parts[i].Fingerprint[:])
	}
	sum.Sum(e.Body[:0])
}

// open opens the hunt, as after a restart.
func (s *site) open() {
	s.t.Helper()
	if s.hunt != nil {
		s.hunt.abandon()
	}
	h, err := Open(s.filled())
	if err != nil {
		s.t.Fatal(err)
	}
	s.hunt = h
}

// filled gives the options of a hunt here.
func (s *site) filled() Options {
	o := s.options
	if o.FS == nil {
		o.FS = disk.System{}
	}
	o.Dir, o.Lists, o.Matcher, o.Journal, o.Desk, o.Clock = filepath.Join(s.dir, "hunt"), s.lists, s.matcher, s.seen, s.desk, s.clock
	return o
}

// work lets the hunt do what there is to do.
func (s *site) work() {
	s.t.Helper()
	if err := s.try(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) try() error {
	if s.hunt == nil {
		s.open()
	}
	for range 100_000 {
		rest, err := s.hunt.turn(s.ctx)
		if err != nil {
			s.hunt.abandon()
			return err
		}
		if rest == pollEvery && len(s.hunt.passes) == 0 {
			s.hunt.say(nil)
			return nil
		}
	}
	return errors.New("the hunt does not come to an end")
}

// want checks which messages are in which incident.
func (s *site) want(want map[string][]string) {
	s.t.Helper()
	got := s.desk.messages()
	for _, ids := range want {
		slices.Sort(ids)
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		s.t.Fatalf("incidents are\n%v\nwant\n%v", got, want)
	}
}

// wantNothing checks that there is no incident.
func (s *site) wantNothing() { s.t.Helper(); s.want(map[string][]string{}) }

// desk is an incident desk that remembers what it was told.
type desk struct {
	mu        sync.Mutex
	incidents map[string]*held // by key
	left      int              // calls until one fails, if fails
	fails     bool
	done      bool // a failing call does its work all the same
	told      int  // matches, known ones included
	clock     func() time.Time
}

type held struct {
	opening incident.Opening
	actors  map[string]bool
	matches map[string]incident.Match // by entry
	found   map[string]time.Time
}

var errDesk = errors.New("the desk is closed")

func (d *desk) fail() (before, after error) {
	if !d.fails {
		return nil, nil
	}
	if d.left--; d.left >= 0 {
		return nil, nil
	}
	if d.done {
		return nil, errDesk
	}
	return errDesk, nil
}

func (d *desk) Open(_ context.Context, o incident.Opening) (*incident.Incident, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, after := d.fail()
	if before != nil {
		return nil, before
	}
	if d.incidents[o.Key] == nil {
		d.incidents[o.Key] = &held{opening: o, actors: map[string]bool{}, matches: map[string]incident.Match{}, found: map[string]time.Time{}}
	}
	return &incident.Incident{ID: o.Key, Key: o.Key}, after
}

func (d *desk) Extend(_ context.Context, id, actor string, matches []incident.Match) (added int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, after := d.fail()
	if before != nil {
		return 0, before
	}
	h := d.incidents[id]
	h.actors[actor] = true
	for _, m := range matches {
		d.told++
		if len(m.Chain) == 0 {
			return 0, fmt.Errorf("%s has no chain", m.Entry.ID)
		}
		if before, known := h.matches[m.Entry.ID]; !known {
			h.matches[m.Entry.ID], h.found[m.Entry.ID] = m, d.clock()
			added++
		} else if m.Sure() && !before.Sure() {
			h.matches[m.Entry.ID] = m
		}
	}
	return added, after
}

func (d *desk) Matched(context.Context, time.Time) iter.Seq2[incident.Matched, error] {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, _ := d.fail()
	var all []incident.Matched
	for key, h := range d.incidents {
		for _, id := range slices.Sorted(maps.Keys(h.matches)) {
			all = append(all, incident.Matched{Key: key, Ref: id, Chain: h.matches[id].Chain, Found: h.found[id]})
		}
	}
	return func(yield func(incident.Matched, error) bool) {
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
		if before != nil {
			yield(incident.Matched{}, before)
		}
	}
}

// Pulls has the defaults of incident.Settings.
func (d *desk) Pulls(source string, _ int) bool { return !strings.HasPrefix(source, "feed:") }

func (d *desk) messages() map[string][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string][]string{}
	for key, h := range d.incidents {
		all[key] = slices.Sorted(maps.Keys(h.matches))
	}
	return all
}

// chain says how a message came into an incident.
func (d *desk) chain(key, id string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var steps []string
	m := d.incidents[key].matches[id]
	for _, s := range m.Chain {
		step := s.How
		if s.Ref != "" {
			step += "<" + s.Ref
		}
		if !s.Sure {
			step += "?"
		}
		steps = append(steps, step)
	}
	return strings.Join(steps, " ")
}
