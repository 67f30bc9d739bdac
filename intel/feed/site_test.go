package feed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
)

// lines is a reader of documents with a domain in each line, or "ID is DOMAIN", "ID
// is revoked", "more NAME", or "? anything" that is passed over; "<" is a page where a list should be.
type lines struct{}

var errPage = errors.New("this is a page")

// Read implements Reader.
func (lines) Read(open Opener, fetched time.Time, c *Counted) iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		r, err := open()
		if fetched.IsZero() {
			err = errors.New("nobody says when it was fetched")
		}
		if err != nil {
			yield(intel.Indicator{}, err)
			return
		}
		defer func() { _ = r.Close() }()
		in := bufio.NewScanner(r)
		for in.Scan() {
			line := in.Text()
			if next, ok := strings.CutPrefix(line, "more "); ok {
				c.Next = next
				continue
			}
			if strings.HasPrefix(line, "?") {
				c.Unusable++
				continue
			}
			id := ""
			if object, value, ok := strings.Cut(line, " is "); ok {
				if id, line = object, value; c.Object != nil {
					c.Object(id)
				}
				if value == "revoked" {
					c.Revoked++
					continue
				}
			}
			v, err := intel.Domain(line)
			if strings.HasPrefix(line, "<") {
				err = errPage
			}
			if !yield(intel.Indicator{Pattern: intel.Exact(v), Disposition: intel.Block, ID: id}, err) || err != nil {
				return
			}
		}
		if in.Err() != nil {
			yield(intel.Indicator{}, in.Err())
		}
	}
}

// manifest reads "UUID STAMP" in each line.
func manifest(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for in := bufio.NewScanner(r); in.Scan(); {
			id, stamp, _ := strings.Cut(in.Text(), " ")
			if !yield(Event{id, stamp}, nil) {
				return
			}
		}
	}
}

// site is a keeper with a store and a server of its own.
type site struct {
	*Keeper
	t     *testing.T
	dir   string
	store *store.Store
	match *match.Matcher
	srv   *httptest.Server

	mu    sync.Mutex
	clock time.Time
	docs  map[string]http.HandlerFunc
	asked []*http.Request
}

func (s *site) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

func newSite(t *testing.T, feeds ...Feed) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), match: match.NewMatcher(), clock: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), docs: map[string]http.HandlerFunc{}}
	s.srv = httptest.NewServer(s)
	t.Cleanup(s.srv.Close)
	db, err := kv.Open(kv.Options{Name: "intel", Schema: store.Schema, InMemory: true})
	s.must(err)
	t.Cleanup(func() { s.must(db.Close()) })
	s.store, err = store.Open(store.Options{DB: db, Matcher: s.match, Rest: -1, Now: s.now})
	s.must(err)
	t.Cleanup(s.store.Close)
	s.open(feeds...)
	return s
}

// open opens a keeper over what the one before has left.
func (s *site) open(feeds ...Feed) {
	s.t.Helper()
	var err error
	s.Keeper, err = Open(Options{FS: disk.System{}, Dir: filepath.Join(s.dir, "feeds"), Store: s.store, Feeds: s.complete(feeds), Now: s.now})
	s.must(err)
}

// complete gives feeds that come from the site's server.
func (s *site) complete(feeds []Feed) []Feed {
	all := slices.Clone(feeds)
	for i := range all {
		f := &all[i]
		if f.Reader == nil {
			f.Reader = lines{}
		}
		if f.File == "" && !strings.HasPrefix(f.URL, "http") {
			f.URL, f.AllowPrivate = s.srv.URL+f.URL, true
		}
	}
	return all
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Clone(context.Background()))
	doc := s.docs[r.URL.RequestURI()]
	s.mu.Unlock()
	if doc == nil {
		http.NotFound(w, r)
		return
	}
	doc(w, r)
}

// serve puts something on the server.
func (s *site) serve(path string, doc http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.docs[path] = doc
}

// text gives a document with an ETag of its own.
func text(lines ...string) http.HandlerFunc {
	body := strings.Join(lines, "\n") + "\n"
	tag := fmt.Sprintf("%q", fmt.Sprintf("%x", len(body))+strings.Join(lines, "-")[:min(40, len(strings.Join(lines, "-")))])
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, body)
	}
}

// requests gives the paths that were asked for since the last call.
func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.asked {
		all = append(all, r.URL.RequestURI())
	}
	s.asked = nil
	return all
}

// refreshed refreshes a feed, which has to work.
func (s *site) refreshed(name string) Status {
	s.t.Helper()
	st, err := s.Refresh(s.t.Context(), name)
	s.must(err)
	return st
}

// lists checks what the store lists for a feed.
func (s *site) lists(name string, want ...string) {
	s.t.Helper()
	var got []string
	for a, err := range s.store.All() {
		s.must(err)
		if a.Indicator.Source == "feed:"+name {
			got = append(got, a.Indicator.Pattern.String())
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("feed %s lists %q, want %q", name, got, want)
	}
}

func (s *site) status(name string) Status {
	s.t.Helper()
	for _, st := range s.Status() {
		if st.Name == name {
			return st
		}
	}
	s.t.Fatalf("there is no feed %s", name)
	return Status{}
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.Bytes()
}

func hosts(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("h%d.example", i))
	}
	return all
}

// pemOf gives the certificate of a server.
func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
