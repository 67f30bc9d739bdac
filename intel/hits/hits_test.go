package hits

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func domain(t testing.TB, name string) intel.Pattern {
	t.Helper()
	v, err := intel.Domain(name)
	if err != nil {
		t.Fatal(err)
	}
	return intel.Exact(v)
}

func hit(t testing.TB, source, name string) intel.Hit {
	return intel.Hit{Indicator: &intel.Indicator{Pattern: domain(t, name), Source: source, Disposition: intel.Block}}
}

func open(t testing.TB, o Options) *Counter {
	t.Helper()
	if o.FS == nil {
		o.FS = disk.System{}
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func seen(id string, after time.Duration) Message {
	return Message{Time: noon.Add(after), ID: id, Action: intel.ActionHold}
}

func TestAMessageCountsOnceForEachIndicatorOfEachSource(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir()})
	defer func() { _ = c.Close() }()
	a, b, other := hit(t, "list:block/a.txt", "evil.example"), hit(t, "feed:b", "evil.example"), hit(t, "feed:b", "worse.example")
	c.Count([]intel.Hit{a, b, a, other, a}, seen("m1", 0))
	for i := range 7 {
		c.Count([]intel.Hit{a}, seen(fmt.Sprint("n", i), time.Duration(i+1)*time.Minute))
	}
	c.Count(nil, seen("nothing", time.Hour))
	got, ok := c.Of("list:block/a.txt", domain(t, "evil.example"))
	if !ok || got.Count != 8 || !got.First.Equal(noon) || !got.Last.Equal(noon.Add(7*time.Minute)) || len(got.Recent) != 5 || got.Recent[0].ID != "n6" || got.Recent[4].ID != "n2" {
		t.Errorf("%+v", got)
	}
	if got, ok := c.Of("feed:b", domain(t, "evil.example")); !ok || got.Count != 1 || got.Recent[0].Action != intel.ActionHold {
		t.Errorf("%+v", got)
	}
	if got, ok := c.Of("feed:c", domain(t, "evil.example")); ok {
		t.Errorf("a source that was never hit: %+v", got)
	}
}

func TestCountsSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hits")
	a := hit(t, "list:block/a.txt", "evil.example")
	for i := range 3 {
		c := open(t, Options{Dir: dir, Now: func() time.Time { return noon.Add(time.Duration(i) * time.Hour) }})
		if !c.Since().Equal(noon) {
			t.Errorf("counting began at %s", c.Since())
		}
		c.Count([]intel.Hit{a}, seen(fmt.Sprint(i), time.Duration(i)*time.Hour))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, Options{Dir: dir})
	defer func() { _ = c.Close() }()
	got, ok := c.Of("list:block/a.txt", domain(t, "evil.example"))
	if !ok || got.Count != 3 || !got.First.Equal(noon) || !got.Last.Equal(noon.Add(2*time.Hour)) || len(got.Recent) != 3 || got.Recent[0] != seen("2", 2*time.Hour) {
		t.Errorf("%+v", got)
	}
}

func TestAPowerCutLosesOnlyWhatWasNotWritten(t *testing.T) {
	d := faulty.New("/state", 1)
	o := Options{FS: d, Dir: "/state/hits"}
	c := open(t, o)
	a := hit(t, "feed:a", "evil.example")
	c.Count([]intel.Hit{a}, seen("1", 0))
	if err := c.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := c.log.Last()
	if err := c.Flush(context.Background()); err != nil || c.log.Last() != before {
		t.Errorf("what did not change is written again: %v", err)
	}
	c.Count([]intel.Hit{a}, seen("2", 0))
	o.FS = d.Reboot(faulty.Nothing)
	c = open(t, o)
	defer func() { _ = c.Close() }()
	if got, _ := c.Of("feed:a", domain(t, "evil.example")); got.Count != 1 || len(got.Recent) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWhatCannotBeWrittenIsWrittenLater(t *testing.T) {
	d := faulty.New("/state", 1)
	o := Options{FS: d, Dir: "/state/hits"}
	c := open(t, o)
	a := hit(t, "feed:a", "evil.example")
	c.Count([]intel.Hit{a}, seen("1", 0))
	d.Inject(func(op faulty.Op) error {
		if op.Kind == faulty.Write {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := c.Flush(context.Background()); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatal(err)
	}
	d.Inject(nil)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, o)
	defer func() { _ = c.Close() }()
	if got, _ := c.Of("feed:a", domain(t, "evil.example")); got.Count != 1 {
		t.Errorf("%+v", got)
	}
}

func TestOfTooManyThoseHitLongestAgoAreForgotten(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir(), Keep: 100})
	defer func() { _ = c.Close() }()
	for i := range 150 {
		c.Count([]intel.Hit{hit(t, "feed:a", fmt.Sprintf("n%d.example", i))}, seen(fmt.Sprint(i), time.Duration(i)*time.Second))
	}
	if err := c.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range 150 {
		if _, ok := c.Of("feed:a", domain(t, fmt.Sprintf("n%d.example", i))); ok != (i >= 60) {
			t.Errorf("%d is known: %t", i, ok)
		}
	}
}

func TestTheLogDoesNotGrowForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	const indicators, rounds = 2000, 60
	refusal := seen("refused", 0)
	refusal.Action = intel.ActionReject
	c.Count([]intel.Hit{hit(t, "feed:b", "evil.example")}, refusal)
	hits := make([]intel.Hit, indicators)
	for i := range hits {
		hits[i] = hit(t, "feed:a", fmt.Sprintf("n%d.example", i))
	}
	longest := int64(0)
	for i := range rounds {
		c.Count(hits, seen(fmt.Sprint("message ", i), time.Duration(i)*time.Second))
		if err := c.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, int64(c.log.Last())-int64(c.log.Segments()[0].Base))
	}
	if longest > 5*segmentBytes+maxBloat*200*indicators {
		t.Errorf("the log had %d bytes", longest)
	}
	if c.log.Segments()[0].Base == 0 {
		t.Error("nothing was ever dropped: the test shows nothing")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, Options{Dir: dir, Now: func() time.Time { return noon.Add(time.Hour) }})
	defer func() { _ = c.Close() }()
	for i := range hits {
		if got, _ := c.Of("feed:a", hits[i].Indicator.Pattern); got.Count != rounds {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	if !c.Since().Equal(noon) {
		t.Errorf("since %s", c.Since())
	}
	if _, ok := c.RefusedAs("refused"); !ok || len(c.refused) != 1 {
		t.Errorf("of the refused one there are %+v", c.refused)
	}
}

func TestRunWritesEveryFewSeconds(t *testing.T) {
	d := faulty.New("/state", 1)
	synctest.Test(t, func(t *testing.T) {
		c := open(t, Options{FS: d, Dir: "/state/hits", Every: 5 * time.Second})
		before := c.log.Last()
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { c.Run(ctx) })
		c.Count([]intel.Hit{hit(t, "feed:a", "evil.example")}, seen("1", 0))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if c.log.Last() == before {
			t.Error("nothing was written")
		}
		cancel()
		running.Wait()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	c := open(b, Options{Dir: b.TempDir()})
	defer func() { _ = c.Close() }()
	hits := []intel.Hit{hit(b, "feed:a", "evil.example"), hit(b, "feed:b", "evil.example")}
	m := seen("01JD0000000000000000000000", 0)
	b.ReportAllocs()
	for b.Loop() {
		c.Count(hits, m)
	}
}

func TestWhatBlockedARefusedMessageIsFoundByItsReference(t *testing.T) {
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	blocked := hit(t, "feed:a", "evil.example")
	blocked.Observable.Value = blocked.Indicator.Pattern.Value()
	allowed := hit(t, "list:allow/a.txt", "good.example")
	allowed.Indicator.Disposition = intel.Allow
	for i := range maxRefused + 3000 {
		m := seen(fmt.Sprint("r", i), time.Duration(i)*time.Second)
		m.Action = intel.ActionReject
		c.Count([]intel.Hit{blocked, allowed}, m)
	}
	c.Count([]intel.Hit{blocked}, seen("held", 0))
	check := func() {
		t.Helper()
		r, ok := c.RefusedAs(fmt.Sprint("r", maxRefused+2999))
		if !ok || len(r.Blocks) != 1 || r.Blocks[0] != (Block{"feed:a", "domain", "evil.example"}) {
			t.Errorf("%+v", r)
		}
		if _, ok := c.RefusedAs("r3000"); !ok {
			t.Error("one of the last 20 000 is forgotten")
		}
		for _, id := range []string{"held", "r0", ""} {
			if r, ok := c.RefusedAs(id); ok {
				t.Errorf("%+v", r)
			}
		}
	}
	check()
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = open(t, Options{Dir: dir})
		check()
	}
	if len(c.refused) > maxRefused+maxRefused/10 {
		t.Errorf("%d are kept", len(c.refused))
	}
	_ = c.Close()
}

// Values of messages are strangers' to choose.
func TestRefusedMessagesFullOfLongLinksAreNotTooMuch(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	dir := t.TempDir()
	c := open(t, Options{Dir: dir})
	link, err := intel.URL("https://evil.example/" + strings.Repeat("a", intel.MaxURL-100))
	if err != nil {
		t.Fatal(err)
	}
	blocked := hit(t, "feed:a", "evil.example")
	blocked.Observable.Value = link
	const messages = 1200 // 75 MiB of them
	for i := range messages {
		m := seen(fmt.Sprint("r", i), time.Duration(i)*time.Second)
		m.Action = intel.ActionReject
		c.Count(slices.Repeat([]intel.Hit{blocked}, maxBlocks), m)
	}
	for range 2 {
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = open(t, Options{Dir: dir})
		bytes := 0
		for _, r := range c.refused {
			bytes += r.bytes()
		}
		if bytes != c.refusedBytes || bytes > maxRefusedBytes+maxRefusedBytes/10 || bytes < maxRefusedBytes/2 {
			t.Errorf("%d bytes of refused messages are kept, counted as %d", bytes, c.refusedBytes)
		}
		if r, ok := c.RefusedAs(fmt.Sprint("r", messages-1)); !ok || len(r.Blocks) != maxBlocks {
			t.Error("the last one is forgotten")
		}
	}
	_ = c.Close()
}

func TestLongIndicatorsDoNotHaveTheLogWrittenAnewAtEachFlush(t *testing.T) {
	c := open(t, Options{Dir: t.TempDir()})
	defer func() { _ = c.Close() }()
	for i := range 1500 {
		v, err := intel.URL(fmt.Sprintf("https://evil.example/%d/%s", i, strings.Repeat("a", intel.MaxURL-100)))
		if err != nil {
			t.Fatal(err)
		}
		c.Count([]intel.Hit{{Indicator: &intel.Indicator{Pattern: intel.Exact(v), Source: "feed:a", Disposition: intel.Block}}}, seen(fmt.Sprint(i), 0))
	}
	written := c.log.Last()
	for i := range 4 {
		c.Count([]intel.Hit{hit(t, "feed:a", "evil.example")}, seen(fmt.Sprint("m", i), time.Minute))
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.log.Last() - written; n > 20<<20 { // they are 12 MB
		t.Errorf("%d bytes were written", n)
	}
}

func TestRefusedMessagesThatCouldNotBeWrittenAreWrittenOnce(t *testing.T) {
	d := faulty.New("/state", 1)
	c := open(t, Options{FS: d, Dir: "/state/hits"})
	defer func() { _ = c.Close() }()
	blocked := hit(t, "feed:a", "evil.example")
	blocked.Observable.Value = blocked.Indicator.Pattern.Value()
	for i := range 3 * maxRefused { // while the disk is full
		m := seen(fmt.Sprint("r", i), 0)
		m.Action = intel.ActionReject
		c.Count([]intel.Hit{blocked}, m)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	was := c.log.Last()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := c.log.Last() - was; n > 0 {
		t.Errorf("%d bytes were written again", n)
	}
}
