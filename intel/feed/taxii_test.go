package feed

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// collection is a TAXII server's, of lines.
type collection struct {
	added   []time.Time
	objects []string // "ID is VALUE"
	deaf    bool     // it does not know added_after
	mute    bool     // it does not say when objects were added
	coarse  bool     // it says so to the second
}

// add puts a version of an object into it.
func (c *collection) add(at time.Time, object string) {
	id, _, _ := strings.Cut(object, " is ")
	i := slices.IndexFunc(c.objects, func(o string) bool { return strings.HasPrefix(o, id+" is ") })
	if i >= 0 {
		c.objects, c.added = slices.Delete(c.objects, i, i+1), slices.Delete(c.added, i, i+1)
	}
	c.objects, c.added = append(c.objects, object), append(c.added, at)
}

// ServeHTTP gives the objects in pages of two.
func (c *collection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, _ := time.Parse(time.RFC3339Nano, cmp.Or(r.FormValue("next"), r.FormValue("added_after")))
	if c.deaf && r.FormValue("next") == "" {
		after = time.Time{}
	}
	page, last := "", ""
	for i, o := range c.objects {
		stamp := c.added[i].Format(time.RFC3339Nano)
		if c.coarse {
			stamp = c.added[i].Format(time.RFC3339)
		}
		switch {
		case !c.added[i].After(after):
			continue
		case strings.Count(page, "\n") == 2:
			page += "more " + last + "\n"
		case page == "" && !c.mute:
			w.Header().Set(headerFirst, stamp)
		}
		if strings.Contains(page, "more ") {
			break
		}
		last = c.added[i].Format(time.RFC3339Nano)
		if page += o + "\n"; !c.mute {
			w.Header().Set(headerLast, stamp)
		}
	}
	_, _ = io.WriteString(w, page)
}

// taxiiSite is a site whose feed peer is a collection.
func taxiiSite(t *testing.T) (*site, *collection) {
	t.Helper()
	s := newSite(t, Feed{Name: "peer", URL: "/c", Shape: TAXII, Every: 2 * time.Second})
	c := &collection{}
	s.docs = nil
	s.srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Clone(t.Context()))
		s.mu.Unlock()
		c.ServeHTTP(w, r)
	})
	return s, c
}

// polled does what is due after a while.
func (s *site) polled(after time.Duration) Status {
	s.t.Helper()
	s.pass(after)
	s.turn(s.t.Context(), s.feeds["peer"])
	if st := s.status("peer"); st.Error != "" {
		s.t.Fatal(st.Error)
	}
	return s.status("peer")
}

func TestOfACollectionOnlyWhatWasAddedIsFetched(t *testing.T) {
	s, c := taxiiSite(t)
	day := s.now().Add(-24 * time.Hour)
	for i := range 3 {
		c.add(day.Add(time.Duration(i)*time.Second), fmt.Sprintf("i%d is h%d.example", i, i))
	}
	s.polled(0)
	s.lists("peer", "h0.example", "h1.example", "h2.example")
	if n := len(s.requests()); n != 2 {
		t.Errorf("all of it took %d requests", n)
	}
	// Nothing new: one request, and nothing is written down.
	before := stateOfFolder(t, s)
	s.polled(2 * time.Second)
	if asked := s.requests(); len(asked) != 1 || !strings.Contains(asked[0], "added_after=") {
		t.Error(asked)
	}
	if now := stateOfFolder(t, s); now != before {
		t.Errorf("a poll that brought nothing left %s, before %s", now, before)
	}
	c.add(s.now(), "i3 is h3.example")
	s.polled(2 * time.Second)
	s.lists("peer", "h0.example", "h1.example", "h2.example", "h3.example")
	if n := len(s.requests()); n != 1 {
		t.Errorf("what was added took %d requests", n)
	}
	// A newer version takes the place of an older one, also of one that was added,
	// and what is revoked is listed no more.
	c.add(s.now(), "i0 is other.example")
	s.polled(2 * time.Second)
	c.add(s.now(), "i1 is revoked")
	c.add(s.now().Add(time.Millisecond), "i3 is revoked")
	s.polled(2 * time.Second)
	s.lists("peer", "h2.example", "other.example")
	c.add(s.now(), "i3 is back.example")
	s.polled(2 * time.Second)
	s.lists("peer", "h2.example", "other.example", "back.example")
	// All of that holds after a restart.
	s.open(Feed{Name: "peer", URL: "/c", Shape: TAXII, Every: 2 * time.Second})
	s.requests()
	c.add(s.now(), "i4 is h4.example")
	s.polled(2 * time.Second)
	s.lists("peer", "h2.example", "other.example", "back.example", "h4.example")
	if asked := s.requests(); len(asked) != 1 {
		t.Error("after a restart it asked for", asked)
	}
}

// stateOfFolder tells what is in the folder of the feed peer.
func stateOfFolder(t *testing.T, s *site) string {
	t.Helper()
	var all []string
	files, err := os.ReadDir(filepath.Join(s.dir, "feeds", "peer"))
	s.must(err)
	for _, f := range files {
		info, err := f.Info()
		s.must(err)
		all = append(all, fmt.Sprintf("%s %d %d", f.Name(), info.Size(), info.ModTime().UnixNano()))
	}
	return strings.Join(all, ", ")
}

func TestACollectionIsReadWholeNowAndThen(t *testing.T) {
	s, c := taxiiSite(t)
	c.add(s.now().Add(-time.Hour), "i0 is gone.example")
	c.add(s.now().Add(-time.Minute), "i1 is stays.example")
	s.polled(0)
	c.objects, c.added = c.objects[1:], c.added[1:] // removed, and nothing says so
	s.polled(30 * time.Minute)
	s.lists("peer", "gone.example", "stays.example")
	s.polled(31 * time.Minute)
	s.lists("peer", "stays.example")
	// A person who asks for a refresh wants all of it.
	c.objects = []string{"i1 is elsewhere.example"}
	s.refreshed("peer")
	s.lists("peer", "elsewhere.example")
}

func TestAPeerThatTakesAllBackIsNoSlip(t *testing.T) {
	s, c := taxiiSite(t)
	c.add(s.now(), "i0 is a.example")
	s.polled(0)
	c.add(s.now().Add(time.Second), "i0 is revoked")
	if st := s.polled(2 * time.Second); st.Held != "" {
		t.Error("held:", st.Held)
	}
	s.lists("peer")
	if st := s.polled(2 * time.Hour); st.Held != "" {
		t.Error("when all was read again it is held:", st.Held)
	}
	// An empty collection that says nothing is one.
	c.add(s.now(), "i1 is b.example")
	s.polled(2 * time.Second)
	c.objects, c.added = nil, nil
	if st := s.polled(2 * time.Hour); st.Held == "" {
		t.Error("a collection that became empty is not held")
	}
	s.lists("peer", "b.example")
}

func TestAServerThatCannotTellWhatIsNewIsReadWhole(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*collection)
	}{
		{"it does not know added_after", func(c *collection) { c.deaf = true }},
		{"it says no times", func(c *collection) { c.mute = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, server := taxiiSite(t)
			c.set(server)
			server.add(s.now(), "i0 is a.example")
			server.add(s.now().Add(time.Second), "i1 is b.example")
			s.polled(0)
			server.add(s.now().Add(2*time.Second), "i2 is c.example")
			s.polled(2 * time.Second)
			s.lists("peer", "a.example", "b.example", "c.example")
			server.objects, server.added = slices.Delete(server.objects, 1, 2), slices.Delete(server.added, 1, 2)
			s.polled(2 * time.Second)
			s.lists("peer", "a.example", "c.example")
		})
	}
}

func TestManyAdditionsLeadToAReadingOfAll(t *testing.T) {
	s, c := taxiiSite(t)
	c.add(s.now(), "i0 is h0.example")
	s.polled(0)
	for i := 1; i <= 2*maxNewParts; i++ {
		c.add(s.now().Add(time.Second), fmt.Sprintf("i%d is h%d.example", i, i))
		s.polled(2 * time.Second)
	}
	s.lists("peer", hosts(2*maxNewParts+1)...)
	if n := len(s.feeds["peer"].state.Good.Parts); n > 2*maxNewParts {
		t.Errorf("it has %d parts", n)
	}
	left, err := os.ReadDir(filepath.Join(s.dir, "feeds", "peer"))
	s.must(err)
	if n := len(s.feeds["peer"].state.Good.Parts); len(left) != n+1 {
		t.Errorf("%d parts and %d files", n, len(left))
	}
}

func TestAPeerThatIsDownIsAskedLessAndLessOften(t *testing.T) {
	s, c := taxiiSite(t)
	c.add(s.now(), "i0 is a.example")
	s.polled(0)
	s.srv.Config.Handler = http.NotFoundHandler()
	var waits []time.Duration
	for range 8 {
		due := s.turn(t.Context(), s.feeds["peer"])
		waits = append(waits, due.Sub(s.now()))
		s.pass(due.Sub(s.now()))
	}
	if got := fmt.Sprint(waits[1:]); got != "[2s 4s 8s 16s 32s 1m0s 1m0s]" {
		t.Error("it waits", got)
	}
}

func TestAServerThatTellsTimesCoarselyIsNotReadAnewEachTime(t *testing.T) {
	s, c := taxiiSite(t)
	c.coarse = true
	c.add(s.now().Add(300*time.Millisecond), "i0 is a.example")
	c.add(s.now().Add(1500*time.Millisecond), "i1 is b.example")
	s.polled(0)
	s.requests()
	before := stateOfFolder(t, s)
	s.polled(2 * time.Second)
	if asked := s.requests(); len(asked) != 1 || stateOfFolder(t, s) != before {
		t.Errorf("it asked for %v, and left %s", asked, stateOfFolder(t, s))
	}
	c.add(s.now().Add(time.Second), "i0 is revoked")
	s.polled(2 * time.Second)
	s.lists("peer", "b.example")
}
