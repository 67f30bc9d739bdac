package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/wal"
)

// verify checks a ledger that has to be in order.
func verify(t testing.TB, fsys disk.FS, dir string, head *Head) Report {
	t.Helper()
	r, err := OpenReader(fsys, dir, nil)
	must(t, err)
	report, err := r.Verify(testKey(), head)
	must(t, err)
	return report
}

// forge writes a ledger anew from the payloads that edit makes of its records, as
// somebody with write access and this source code could. The log's own checksums
// are right.
func forge(t *testing.T, dir string, edit func([][]byte) [][]byte) string {
	t.Helper()
	from, err := wal.OpenReader(disk.System{}, dir)
	must(t, err)
	var payloads [][]byte
	for r, err := range from.Read(0) {
		must(t, err)
		payloads = append(payloads, slices.Clone(r.Payload))
	}
	forged := t.TempDir()
	to, err := wal.Open(wal.Options{FS: disk.System{}, Dir: forged, Name: "forged"})
	must(t, err)
	for _, p := range edit(payloads) {
		_, err := to.Append(ctx, p)
		must(t, err)
	}
	must(t, to.Close())
	return forged
}

// resealed changes a record and makes hash, chain and, if he has a key, seal fit.
func resealed(t *testing.T, p []byte, key []byte, change func(*record)) []byte {
	t.Helper()
	c, err := newCodec()
	must(t, err)
	r, err := c.decode(p, 0)
	must(t, err)
	change(r)
	out, err := c.encode(r, key)
	must(t, err)
	return out
}

func TestVerifyFindsWhatWasDoneToALedger(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, testOptions(t, disk.System{}, dir))
	for i := range 10 {
		commit(t, l, fmt.Sprint("c", i), fmt.Sprint("e", i%3), "some text", fmt.Sprint(i))
	}
	logged := l.Head()
	must(t, l.Close())
	report := verify(t, disk.System{}, dir, &logged)
	if report.Records != 10 || report.Events != 20 || report.Wiped != 0 || report.Head.String() != logged.String() || report.Last.IsZero() || report.First.After(report.Last) {
		t.Errorf("%+v", report)
	}

	replace := func(p []byte, old, with string) []byte { return []byte(strings.Replace(string(p), old, with, 1)) }
	const (
		nothing = iota
		key
		head // and the key
	)
	others := []byte("another key of thirty-two bytes!")
	for name, c := range map[string]struct {
		sequence uint64 // where the offence is found
		edit     func([][]byte) [][]byte
		need     int // what has to be known to find it
	}{
		"data edited":       {4, func(p [][]byte) [][]byte { p[3] = replace(p[3], "some", "tame"); return p }, nothing},
		"reason edited":     {4, func(p [][]byte) [][]byte { p[3] = replace(p[3], "because", "Because"); return p }, nothing},
		"actor edited":      {4, func(p [][]byte) [][]byte { p[3] = replace(p[3], "unix:1000", "unix:2000"); return p }, key},
		"last actor edited": {10, func(p [][]byte) [][]byte { p[9] = replace(p[9], "unix:1000", "unix:2000"); return p }, key},
		"sequence edited":   {10, func(p [][]byte) [][]byte { p[9] = reseq(t, p[9], 11); return p }, nothing},
		"one left out":      {4, func(p [][]byte) [][]byte { return slices.Delete(p, 3, 4) }, nothing},
		"first left out":    {1, func(p [][]byte) [][]byte { return p[1:] }, nothing},
		"two exchanged":     {4, func(p [][]byte) [][]byte { p[3], p[4] = p[4], p[3]; return p }, nothing},
		"one twice":         {5, func(p [][]byte) [][]byte { return slices.Insert(p, 4, p[3]) }, nothing},
		"not a record":      {4, func(p [][]byte) [][]byte { p[3] = []byte("junk"); return p }, nothing},
		"another version":   {4, func(p [][]byte) [][]byte { p[3][0] = 9; return p }, nothing},
		"cut short":         {4, func(p [][]byte) [][]byte { p[3] = p[3][:50]; return p }, nothing},
		"body wiped":        {4, func(p [][]byte) [][]byte { p[3] = wipeBody(t, p[3]); return p }, nothing},
		"one made up": {4, func(p [][]byte) [][]byte {
			return slices.Insert(p, 3, resealed(t, p[3], others, func(r *record) { r.body.Reason = "made up" }))
		}, key},
		"all made anew":       {1, func(p [][]byte) [][]byte { return rechain(t, p, others, 0) }, key},
		"end cut off":         {9, func(p [][]byte) [][]byte { return p[:8] }, head},
		"end made anew":       {10, func(p [][]byte) [][]byte { return rechain(t, p, testKey(), 9) }, head},
		"all cut off but one": {2, func(p [][]byte) [][]byte { return p[:1] }, head},
	} {
		t.Run(name, func(t *testing.T) {
			forged := forge(t, dir, c.edit)
			for knows := c.need; knows <= head; knows++ {
				var k []byte
				var h *Head
				if knows >= key {
					k = testKey()
				}
				if knows >= head {
					h = &logged
				}
				r, err := OpenReader(disk.System{}, forged, nil)
				must(t, err)
				_, err = r.Verify(k, h)
				var o *Offence
				if !errors.As(err, &o) || o.Sequence != c.sequence {
					t.Errorf("who knows %d finds %v, not an offence at record %d", knows, err, c.sequence)
				}
			}
		})
	}
}

func TestVerifyWithoutAKeyFindsAnEditedHeaderByTheNextRecord(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, testOptions(t, disk.System{}, dir))
	for i := range 3 {
		commit(t, l, fmt.Sprint(i), "x", "text")
	}
	must(t, l.Close())
	r, err := OpenReader(disk.System{}, forge(t, dir, func(p [][]byte) [][]byte {
		p[1] = []byte(strings.Replace(string(p[1]), "unix:1000", "unix:2000", 1))
		return p
	}), nil)
	must(t, err)
	var o *Offence
	if _, err := r.Verify(nil, nil); !errors.As(err, &o) || o.Sequence != 3 {
		t.Errorf("%v", err)
	}
}

func reseq(t *testing.T, p []byte, n uint64) []byte {
	return resealed(t, p, testKey(), func(r *record) { r.Sequence = n })
}

func wipeBody(t *testing.T, p []byte) []byte {
	t.Helper()
	_, b, _, err := split(p)
	must(t, err)
	clear(b)
	return p
}

// rechain makes a chain of its own from a record on.
func rechain(t *testing.T, payloads [][]byte, key []byte, from int) [][]byte {
	t.Helper()
	c, err := newCodec()
	must(t, err)
	var previous hash
	for i, p := range payloads {
		if i >= from {
			payloads[i] = resealed(t, p, key, func(r *record) { r.Previous, r.body.Reason = previous, "all is well" })
		}
		r, err := c.decode(payloads[i], 0)
		must(t, err)
		previous = r.chain
	}
	return payloads
}

func TestVerifyReportsDamageToTheLog(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, disk.System{}, dir)
	o.SegmentBytes = 1000
	l := mustOpen(t, o)
	for i := range 20 {
		commit(t, l, fmt.Sprint(i), "x", "text")
	}
	must(t, l.Close())
	names, err := filepath.Glob(dir + "/*.wal")
	must(t, err)
	b, err := os.ReadFile(names[1])
	must(t, err)
	b[500] ^= 1
	must(t, os.WriteFile(names[1], b, 0o600))
	r, err := OpenReader(disk.System{}, dir, nil)
	must(t, err)
	var damage *wal.DamageError
	if _, err := r.Verify(testKey(), nil); !errors.As(err, &damage) || damage.Segment != names[1] {
		t.Errorf("%v", err)
	}
	if _, err := OpenReader(disk.System{}, t.TempDir(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no ledger: %v", err)
	}
}

func TestALedgerInUseCanBeReadAndVerified(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, disk.System{}, dir)
	o.SegmentBytes = 20_000
	l := mustOpen(t, o)
	// So much is written while it is read once: a disk that syncs in no time would
	// make a ledger that grows faster than it can be read.
	more := make(chan int, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range more {
			commit(t, l, fmt.Sprint(i), "x"+fmt.Sprint(i), "text")
		}
	}()
	next := 0
	for range 30 {
		for len(more) < cap(more) {
			more <- next
			next++
		}
		head := l.Head()
		r, err := OpenReader(disk.System{}, dir, nil)
		must(t, err)
		report, err := r.Verify(testKey(), &head)
		must(t, err)
		n := uint64(0)
		for _, err := range r.Events() {
			must(t, err)
			n++
		}
		if n != report.Events || report.Records < head.Sequence {
			t.Errorf("%d events, report %+v", n, report)
		}
	}
	close(more)
	<-done
}

func TestErasingWipesReasonAndDataAndTheChainHolds(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, disk.System{}, dir)
	o.SegmentBytes = 2000
	l := mustOpen(t, o)
	for i := range 30 {
		commit(t, l, fmt.Sprint(i), fmt.Sprint("e", i%3), "private text "+fmt.Sprint(i))
	}
	before := l.Head()
	cursors := collect(t, l, Cursor{})

	r, err := l.Erase(ctx, Command{ID: "erase", Entity: "e1", Actor: "unix:0", Reason: "asked to"})
	must(t, err)
	if again, err := l.Erase(ctx, Command{ID: "erase", Entity: "e1", Actor: "unix:0", Reason: "asked to"}); err != nil || !again.Replayed || again.Version != r.Version {
		t.Errorf("again: %+v, %v", again, err)
	}
	if _, err := l.Erase(ctx, Command{ID: "erase nobody", Entity: "nobody", Actor: "unix:0"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	commit(t, l, "after", "e1", "new text")
	n, err := l.Scrub(ctx)
	if err != nil || n != 10 {
		t.Fatalf("wiped %d, %v", n, err)
	}
	if n, err := l.Scrub(ctx); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}

	names, err := filepath.Glob(dir + "/*.wal")
	must(t, err)
	var raw strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		must(t, err)
		raw.Write(b)
	}
	for i := range 30 {
		there := strings.Contains(raw.String(), fmt.Sprintf("private text %d\"", i))
		if there != (i%3 != 1) {
			t.Errorf("text %d is on the disk: %v", i, there)
		}
	}

	head := l.Head()
	report := verify(t, disk.System{}, dir, &head)
	if report.Wiped != 10 || report.Records != 32 {
		t.Errorf("%+v", report)
	}
	verify(t, disk.System{}, dir, &before)

	s, err := l.State("e1")
	must(t, err)
	if s.Version != 12 || said(t, s.Events) != strings.Repeat("- ", 11)+"new text" {
		t.Errorf("version %d: %s", s.Version, said(t, s.Events))
	}
	for i, e := range s.Events {
		if e.Erased != (i < 10) || (e.Reason == "") != (i < 10) || e.Type == "" || e.Actor == "" {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	for _, e := range cursors { // cursors from before are still good
		for _, err := range l.Events(e.Cursor) {
			must(t, err)
			break
		}
	}

	// The log goes on, and an index that is built again forgets nothing.
	commit(t, l, "later", "e1", "more")
	must(t, l.Close())
	o.Index = memoryIndex(t)
	l = mustOpen(t, o)
	if n, err := l.Scrub(ctx); err != nil || n != 0 {
		t.Errorf("after building the index again: %d, %v", n, err)
	}
	if _, err := l.Erase(ctx, Command{ID: "erase 2", Entity: "e1", Actor: "unix:0", Reason: "asked again"}); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Scrub(ctx); err != nil || n != 3 { // the erasing, "new text" and "more"
		t.Errorf("second: %d, %v", n, err)
	}
	verify(t, disk.System{}, dir, &head)
}
