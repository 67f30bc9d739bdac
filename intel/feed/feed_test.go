package feed

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/store"
)

func TestAFeedIsFetchedAndFollowed(t *testing.T) {
	s := newSite(t, Feed{Name: "bad", URL: "/bad"})
	s.serve("/bad", text("one.example", "? what is this", "two.example"))
	st := s.refreshed("bad")
	if st.Entries != 2 || st.Counted.Unusable != 1 || !st.Checked.Equal(s.now()) || st.Next.Sub(s.now()) != DefaultEvery || st.Error != "" || st.Overdue {
		t.Errorf("%+v", st)
	}
	s.lists("bad", "one.example", "two.example")

	generation := s.store.Generation()
	s.pass(time.Hour)
	if st := s.refreshed("feed:bad"); !st.Checked.Equal(s.now()) || st.Fetched.Equal(s.now()) || st.Entries != 2 {
		t.Errorf("what has not changed: %+v", st)
	}
	if s.store.Generation() != generation {
		t.Error("what has not changed is taken over anew")
	}
	if s.asked[1].Header.Get("If-None-Match") == "" {
		t.Error("the server is not told what we have")
	}
	s.serve("/bad", text("two.example", "three.example"))
	s.refreshed("bad")
	s.lists("bad", "two.example", "three.example")
	files, err := filepath.Glob(filepath.Join(s.dir, "feeds/bad/*"))
	s.must(err)
	if len(files) != 2 {
		t.Errorf("files are left: %q", files)
	}
	if _, err := s.Refresh(t.Context(), "good"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestWhatFailsLeavesTheLastGoodVersion(t *testing.T) {
	good := text("good.example")
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"an error":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "500"},
		"not there": {http.NotFound, "404"},
		"too many": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7200")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "come again in 2h"},
		"a page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>sign in</html>") }, "this is a page"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half.example\n")
		}, "unexpected EOF"},
		"cut off, chunk": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half.example\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "EOF"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x.example\n", 200))
		}, "larger than max_size"},
		"announced": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000") }, "1000000 bytes"},
		"a gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(gzipped(strings.Repeat("a.example\n", 100_000)))
		}, "larger than max_size"},
		"half a gzip": {func(w http.ResponseWriter, _ *http.Request) {
			b := gzipped("a.example\nb.example\n")
			_, _ = w.Write(b[:len(b)-6])
		}, "gzip: unexpected EOF"},
		"a loop":         {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/bad", http.StatusFound) }, "redirections"},
		"silence":        {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "it took longer than"},
		"too many names": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Join(hosts(11), "\n")) }, "more than 10 entries"},
		"a bad name":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok.example\nnot a name\n") }, "not a usable value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Feed{Name: "bad", URL: "/bad", MaxBytes: 1000, MaxEntries: 10}
			if name == "silence" {
				f.Timeout = 200 * time.Millisecond
			}
			s := newSite(t, Feed{Name: "bad", URL: "/bad"})
			s.serve("/bad", good)
			s.refreshed("bad")
			s.must(s.Set(s.complete([]Feed{f})))
			s.serve("/bad", c.answer)
			s.pass(2 * time.Hour)
			began := s.now()
			st, err := s.Refresh(t.Context(), "bad")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(st.Error, c.want) {
				t.Fatalf("%v, and the status says %q; want %q", err, st.Error, c.want)
			}
			if strings.Contains(err.Error(), s.srv.URL) {
				t.Error("the error tells the URL, which may hold a key:", err)
			}
			if wait := st.Next.Sub(began); wait != firstRetry && name != "too many" || name == "too many" && wait != 2*time.Hour {
				t.Errorf("it is tried again after %s", wait)
			}
			s.lists("bad", "good.example")
			files, err := filepath.Glob(filepath.Join(s.dir, "feeds/bad/*"))
			s.must(err)
			if len(files) != 2 {
				t.Errorf("files are left: %q", files)
			}
			if !s.status("bad").Overdue {
				s.pass(time.Hour)
				if !s.status("bad").Overdue {
					t.Error("nobody is told that it is overdue")
				}
			}
			s.serve("/bad", text("good.example", "new.example"))
			if st := s.refreshed("bad"); st.Error != "" || st.Overdue {
				t.Errorf("after all: %+v", st)
			}
			s.lists("bad", "good.example", "new.example")
		})
	}
}

func TestPackedDocumentsAreUnpacked(t *testing.T) {
	pack := func(names ...string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range names {
			w, _ := z.Create(name)
			_, _ = io.WriteString(w, name+".example\n")
		}
		_ = z.Close()
		return b.Bytes()
	}
	s := newSite(t, Feed{Name: "bad", URL: "/bad"})
	body := func(b []byte) { s.serve("/bad", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }) }
	body(gzipped("a.example\n"))
	s.refreshed("bad")
	s.lists("bad", "a.example")
	body(pack("b"))
	s.refreshed("bad")
	s.lists("bad", "b.example")
	body(pack("c", "d"))
	if _, err := s.Refresh(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "2 files") {
		t.Error(err)
	}
	s.lists("bad", "b.example")
}

func TestAFeedThatChangesTooMuchWaitsForAPerson(t *testing.T) {
	s := newSite(t, Feed{Name: "bad", URL: "/bad"})
	s.serve("/bad", text(hosts(2000)...))
	if st := s.refreshed("bad"); st.Held != "" || st.Entries != 2000 {
		t.Fatalf("the first time: %+v", st)
	}
	s.serve("/bad", text(hosts(900)...))
	st := s.refreshed("bad")
	if !strings.Contains(st.Held, "it had 2000 entries, and has 900") || st.Entries != 2000 || st.Error != "" {
		t.Errorf("%+v", st)
	}
	held := st.HeldAt
	s.pass(time.Hour)
	if st := s.refreshed("bad"); !st.HeldAt.Equal(held) {
		t.Errorf("the same thing is held anew: %+v", st)
	}
	if _, err := s.Approve(t.Context(), "bad"); err != nil {
		t.Fatal(err)
	}
	if st := s.status("bad"); st.Entries != 900 || st.Held != "" {
		t.Errorf("approved: %+v", st)
	}
	if _, err := s.Approve(t.Context(), "bad"); !errors.Is(err, ErrNotHeld) {
		t.Error(err)
	}

	// It grows, and is again as it was before anybody came.
	s.serve("/bad", text(hosts(5000)...))
	if st := s.refreshed("bad"); st.Held == "" {
		t.Errorf("%+v", st)
	}
	s.open(Feed{Name: "bad", URL: "/bad"})
	if st := s.status("bad"); st.Held == "" || st.Entries != 900 {
		t.Errorf("after a restart: %+v", st)
	}
	s.serve("/bad", text(hosts(900)...))
	if st := s.refreshed("bad"); st.Held != "" || st.Entries != 900 {
		t.Errorf("%+v", st)
	}
	s.serve("/bad", text("? nothing is left"))
	if st := s.refreshed("bad"); !strings.Contains(st.Held, "has none") || st.Entries != 900 {
		t.Errorf("%+v", st)
	}
}

func TestNoFeedLeadsToAPrivateAddress(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "fe80::1", "fd00::1", "100.64.1.1", "0.0.0.0", "::", "224.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"} {
		if public(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken for public", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "2606:4700::1111", "93.184.216.34"} {
		if !public(netip.MustParseAddr(a)) {
			t.Errorf("%s is taken for private", a)
		}
	}
	s := newSite(t)
	s.serve("/bad", text("a.example"))
	for _, url := range []string{s.srv.URL + "/bad", strings.Replace(s.srv.URL, "127.0.0.1", "localhost", 1) + "/bad"} {
		s.must(s.Set([]Feed{{Name: "bad", URL: url, Reader: lines{}}}))
		if _, err := s.Refresh(t.Context(), "bad"); !errors.Is(err, ErrPrivate) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if len(s.requests()) != 0 {
		t.Error("it was asked all the same")
	}
}

func TestASecretGoesToItsServerAlone(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" || r.Header.Get("Authorization") != "" {
			t.Error("another server was given the secret")
		}
		_, _ = io.WriteString(w, "a.example\n")
	}))
	defer other.Close()
	secret := func() (string, error) { return "s3cret", nil }
	s := newSite(t, Feed{Name: "header", URL: "/header", Header: "X-Key", Secret: secret}, Feed{Name: "basic", URL: "/basic", User: "weir", Secret: secret},
		Feed{Name: "none", URL: "/header", Header: "X-Key", Secret: func() (string, error) { return "", os.ErrPermission }})
	s.serve("/header", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "s3cret" {
			t.Error("the secret is missing")
		}
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	s.serve("/basic", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "weir" || password != "s3cret" {
			t.Error("the secret is missing")
		}
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
	})
	s.refreshed("header")
	s.refreshed("basic")
	if _, err := s.Refresh(t.Context(), "none"); !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}

func TestACertificateNobodyVouchesForEndsARefresh(t *testing.T) {
	secure := httptest.NewTLSServer(text("a.example"))
	defer secure.Close()
	s := newSite(t)
	feed := Feed{Name: "bad", URL: secure.URL, Reader: lines{}, AllowPrivate: true}
	s.must(s.Set([]Feed{feed}))
	if _, err := s.Refresh(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	plain := httptest.NewServer(text("a.example"))
	defer plain.Close()
	down := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer down.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	s.must(os.WriteFile(ca, pemOf(secure), 0o600))
	feed.CAFile = ca
	s.must(s.Set([]Feed{feed}))
	s.refreshed("bad")
	s.lists("bad", "a.example")
	feed.URL = down.URL // the same certificate
	s.must(s.Set([]Feed{feed}))
	if _, err := s.Refresh(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Error(err)
	}
}

func TestTAXIIIsFetchedPageByPage(t *testing.T) {
	s := newSite(t, Feed{Name: "bad", URL: "/api/collections/1", Shape: TAXII})
	s.serve("/api/collections/1/objects/", text("a.example", "more p2"))
	s.serve("/api/collections/1/objects/?next=p2", text("b.example"))
	s.refreshed("bad")
	s.lists("bad", "a.example", "b.example")
	if got := s.asked[0].Header.Get("Accept"); got != mediaTAXII {
		t.Errorf("Accept: %s", got)
	}
	s.serve("/api/collections/1/objects/?next=p2", text("c.example", "more p2"))
	if _, err := s.Refresh(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "page 2") {
		t.Error(err)
	}
	s.lists("bad", "a.example", "b.example")
}

func TestOfAMISPFeedOnlyWhatIsNewIsFetched(t *testing.T) {
	feed := Feed{Name: "bad", URL: "/misp/", Shape: MISP, Manifest: manifest}
	s := newSite(t, feed)
	s.serve("/misp/manifest.json", text("e1 1", "e2 1"))
	s.serve("/misp/e1.json", text("a.example"))
	s.serve("/misp/e2.json", text("b.example"))
	s.refreshed("bad")
	s.lists("bad", "a.example", "b.example")
	s.requests()
	s.serve("/misp/manifest.json", text("e1 1", "e2 2", "e3 1"))
	s.serve("/misp/e2.json", text("b2.example"))
	s.serve("/misp/e3.json", text("c.example"))
	s.refreshed("bad")
	s.lists("bad", "a.example", "b2.example", "c.example")
	if got := fmt.Sprint(s.requests()); got != "[/misp/manifest.json /misp/e2.json /misp/e3.json]" {
		t.Error("asked for", got)
	}
	s.refreshed("bad")
	if got := fmt.Sprint(s.requests()); got != "[/misp/manifest.json]" {
		t.Error("asked for", got)
	}
	s.serve("/misp/manifest.json", text("../../etc/passwd 1"))
	if _, err := s.Refresh(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "no UUID") {
		t.Error(err)
	}
	s.serve("/misp/manifest.json", text("e1 1", "e9 1"))
	if _, err := s.Refresh(t.Context(), "bad"); err == nil || !strings.Contains(err.Error(), "event e9") {
		t.Error(err)
	}
	s.lists("bad", "a.example", "b2.example", "c.example")
}

func TestAFileIsAFeedToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.txt")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.example\n")
	s := newSite(t, Feed{Name: "bad", File: path})
	s.refreshed("bad")
	s.lists("bad", "a.example")
	generation := s.store.Generation()
	s.refreshed("bad")
	if s.store.Generation() != generation {
		t.Error("what has not changed is taken over anew")
	}
	write("a.example\nlonger.example\n")
	s.refreshed("bad")
	s.lists("bad", "a.example", "longer.example")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Refresh(t.Context(), "bad"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	s.lists("bad", "a.example", "longer.example")
}

// ran runs the keeper until a condition holds.
func (s *site) ran(what string, holds func() bool) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	defer func() { stop(); <-done }()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s does not come: %+v", what, s.Status())
		}
	}
}

func TestFeedsAreRefreshedWhenTheyAreDueAndForgottenWhenTheyAreGone(t *testing.T) {
	feeds := []Feed{{Name: "a", URL: "/a"}, {Name: "b", URL: "/b", Every: 4 * time.Hour}}
	s := newSite(t, feeds...)
	s.serve("/a", text("a.example"))
	s.serve("/b", text("b.example"))
	both := func() bool { return s.status("a").Entries == 1 && s.status("b").Entries == 1 }
	s.ran("the first refresh", both)
	s.requests()

	// A restart asks nobody before it is time, and lists what was there.
	s.open(feeds...)
	s.ran("what was there", func() bool { return both() && s.status("a").Next.After(s.now()) })
	if asked := s.requests(); len(asked) != 0 {
		t.Errorf("asked for %v", asked)
	}
	s.pass(2 * time.Hour)
	s.ran("the refresh that is due", func() bool { return s.status("a").Checked.Equal(s.now()) })
	if asked := fmt.Sprint(s.requests()); asked != "[/a]" {
		t.Errorf("asked for %v", asked)
	}
	// A file that is gone is fetched again, though it is not time.
	parts, err := filepath.Glob(filepath.Join(s.dir, "feeds/b/*.part"))
	s.must(err)
	s.must(os.Remove(parts[0]))
	s.open(feeds...)
	s.ran("what is missing", func() bool { return s.status("b").Checked.Equal(s.now()) })

	s.must(s.Set(s.complete(feeds[:1])))
	folder := filepath.Join(s.dir, "feeds", "b")
	s.ran("the end of what is gone", func() bool {
		_, err := os.Stat(folder)
		return len(s.store.Sources()) == 1 && errors.Is(err, os.ErrNotExist)
	})
	s.lists("a", "a.example")
	s.lists("b")
	s.must(s.Set(s.complete(feeds)))
	s.ran("what has come back", both)
	s.lists("b", "b.example")
	s.open(feeds[0]) // it goes while nobody looks
	s.ran("the end of its folder", func() bool {
		_, err := os.Stat(folder)
		return errors.Is(err, os.ErrNotExist)
	})
	s.lists("b")
}

func TestAFeedThatWasNeverFetchedIsOverdueToo(t *testing.T) {
	s := newSite(t, Feed{Name: "bad", URL: "/bad"})
	if s.status("bad").Overdue {
		t.Error("it is overdue at once")
	}
	s.pass(3 * time.Hour)
	if !s.status("bad").Overdue {
		t.Error("nobody is told that nothing was ever fetched")
	}
}

func TestAFeedThatIsNotRefreshedForLongCountsNoMore(t *testing.T) {
	s := newSite(t, Feed{Name: "bad", URL: "/bad", Expiry: 24 * time.Hour})
	s.serve("/bad", text("a.example"))
	s.refreshed("bad")
	s.serve("/bad", http.NotFound)
	s.pass(23 * time.Hour)
	if st, _ := s.Refresh(t.Context(), "bad"); st.Entries != 1 || st.Expired {
		t.Errorf("%+v", st)
	}
	s.pass(2 * time.Hour)
	if st, _ := s.Refresh(t.Context(), "bad"); st.Entries != 0 || !st.Expired {
		t.Errorf("%+v", st)
	}
	s.lists("bad")
	s.open(Feed{Name: "bad", URL: "/bad", Expiry: 24 * time.Hour})
	s.serve("/bad", text("a.example"))
	if st := s.refreshed("bad"); st.Entries != 1 || st.Expired {
		t.Errorf("%+v", st)
	}
	s.lists("bad", "a.example")
}

func TestAFeedThatMakesNoSenseIsRefused(t *testing.T) {
	ok := Feed{Name: "bad", URL: "https://feeds.example/list.txt", Reader: lines{}}
	secret := func() (string, error) { return "", nil }
	for name, change := range map[string]func(*Feed){
		"no name":         func(f *Feed) { f.Name = "" },
		"a path":          func(f *Feed) { f.Name = "../x" },
		"nowhere":         func(f *Feed) { f.URL = "" },
		"two places":      func(f *Feed) { f.File = "/x" },
		"ftp":             func(f *Feed) { f.URL = "ftp://feeds.example/" },
		"a user":          func(f *Feed) { f.URL = "https://a:b@feeds.example/" },
		"no reader":       func(f *Feed) { f.Reader = nil },
		"no manifest":     func(f *Feed) { f.Shape = MISP },
		"a file of MISP":  func(f *Feed) { f.URL, f.File, f.Shape = "", "/x", MISP },
		"no such shape":   func(f *Feed) { f.Shape = "round" },
		"too often":       func(f *Feed) { f.Every = time.Second },
		"a negative time": func(f *Feed) { f.Timeout = -1 },
		"no secret":       func(f *Feed) { f.User = "x" },
		"two secrets":     func(f *Feed) { f.User, f.Header, f.Secret = "x", "X-Key", secret },
		"a secret alone":  func(f *Feed) { f.Secret = secret },
		"in clear":        func(f *Feed) { f.URL, f.User, f.Secret = "http://feeds.example/", "x", secret },
		"a field's value": func(f *Feed) { f.Header, f.Secret = "X-Key: y", secret },
		"no authorities":  func(f *Feed) { f.CAFile = "/nonexistent" },
	} {
		f := ok
		change(&f)
		if _, err := Open(Options{FS: disk.System{}, Dir: t.TempDir(), Store: newSite(t).store, Feeds: []Feed{f}}); !errors.Is(err, ErrFeed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(Options{FS: disk.System{}, Dir: t.TempDir(), Store: newSite(t).store, Feeds: []Feed{ok, ok}}); !errors.Is(err, ErrFeed) {
		t.Error("two of the same name:", err)
	}
}

func TestAClockThatWasAheadDoesNotPutOffARefresh(t *testing.T) {
	feed := Feed{Name: "bad", URL: "/bad", Expiry: 24 * time.Hour}
	for name, answer := range map[string]http.HandlerFunc{"refreshed": text("a.example"), "failed": http.NotFound} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, feed)
			s.serve("/bad", text("a.example"))
			s.refreshed("bad")
			const ahead = 10 * 365 * 24 * time.Hour
			s.pass(ahead)
			s.serve("/bad", answer)
			_, _ = s.Refresh(t.Context(), "bad")
			s.pass(time.Hour - ahead)
			s.open(feed) // after a restart nothing else tells
			s.serve("/bad", text("a.example", "b.example"))
			s.ran("the refresh that is due", func() bool { return s.status("bad").Entries == 2 })
		})
	}
}

func TestADownloadThatFillsTheDiskIsNotLeftThere(t *testing.T) {
	document := strings.Join(hosts(10_000), "\n") + "\n< no list after all\n"
	for name, room := range map[string]int{"and has no room": len(document) / 2, "and leaves none for the state": len(document) + 10} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			d := faulty.New("/state", 1)
			var err error
			s.Keeper, err = Open(Options{FS: d, Dir: "/state/feeds", Store: s.store, Feeds: s.complete([]Feed{{Name: "bad", URL: "/bad"}}), Now: s.now})
			s.must(err)
			s.serve("/bad", text("a.example"))
			s.refreshed("bad")
			free := func() int64 {
				n, err := d.Free("/state")
				s.must(err)
				return n
			}
			d.SetCapacity(1 << 30)
			used := 1<<30 - free()
			d.SetCapacity(used + int64(room))
			s.serve("/bad", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, document) })
			if _, err := s.Refresh(t.Context(), "bad"); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			if left := free(); left < int64(room)/2 {
				t.Errorf("%d bytes are free, of %d before", left, room)
			}
			s.lists("bad", "a.example")
		})
	}
}

func TestAPipeInThePlaceOfAFileHoldsUpNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.txt")
	s := newSite(t, Feed{Name: "bad", File: path})
	s.must(syscall.Mkfifo(path, 0o600))
	if _, err := s.Refresh(t.Context(), "bad"); !errors.Is(err, disk.ErrNotRegular) {
		t.Error(err)
	}
}

func TestAFeedThatComesBackWhileItIsForgottenHasAFolder(t *testing.T) {
	s := newSite(t)
	d := faulty.New("/state", 1)
	feeds := s.complete([]Feed{{Name: "bad", URL: "/bad"}})
	var err error
	s.Keeper, err = Open(Options{FS: d, Dir: "/state/feeds", Store: s.store, Feeds: feeds, Now: s.now})
	s.must(err)
	s.serve("/bad", text("a.example"))
	s.refreshed("bad")
	s.must(s.Set(nil))
	back := sync.OnceFunc(func() { s.must(s.Set(feeds)) })
	d.Inject(func(op faulty.Op) error {
		if op.Kind == faulty.Remove {
			back()
		}
		return nil
	})
	s.forget(t.Context())
	s.refreshed("bad")
	s.lists("bad", "a.example")
}

// slowStore has something done before it forgets a source.
type slowStore struct {
	Store
	before func()
}

func (s slowStore) Refresh(ctx context.Context, sources ...store.Source) ([]store.Refreshed, error) {
	if sources[0].Entries == nil {
		s.before()
	}
	return s.Store.Refresh(ctx, sources...)
}

func TestAFeedThatComesBackWhileItIsForgottenIsListed(t *testing.T) {
	s := newSite(t)
	feeds := s.complete([]Feed{{Name: "bad", URL: "/bad"}})
	slow := slowStore{Store: s.store}
	slow.before = sync.OnceFunc(func() { s.must(s.Set(feeds)) })
	var err error
	s.Keeper, err = Open(Options{FS: disk.System{}, Dir: filepath.Join(s.dir, "slow"), Store: slow, Feeds: feeds, Now: s.now})
	s.must(err)
	s.serve("/bad", text("a.example"))
	s.refreshed("bad")
	s.must(s.Set(nil))
	listed := func() bool { return len(s.store.Sources()) == 1 }
	s.forget(t.Context())
	if listed() {
		t.Fatal("it was not forgotten: the test shows nothing")
	}
	s.ran("what it lists", listed)
	s.lists("bad", "a.example")
}

func TestSettingsThatComeWhileAFeedIsRefreshedHoldAtOnce(t *testing.T) {
	s := newSite(t, Feed{Name: "bad", URL: "/bad"})
	changed := sync.OnceFunc(func() { s.must(s.Set(s.complete([]Feed{{Name: "bad", URL: "/other"}}))) })
	s.serve("/bad", func(w http.ResponseWriter, _ *http.Request) {
		changed()
		_, _ = io.WriteString(w, "a.example\n")
	})
	s.serve("/other", text("b.example", "c.example"))
	s.ran("what the new settings give", func() bool { return s.status("bad").Entries == 2 })
	s.lists("bad", "b.example", "c.example")
}
