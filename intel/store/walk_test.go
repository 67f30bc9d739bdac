package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
)

func TestAWalkInPagesGivesWhatIsListedOnce(t *testing.T) {
	l := newLists(t)
	s, _ := openStore(t, memoryDB(t))
	var file strings.Builder
	for i := range 500 {
		fmt.Fprintf(&file, "n%d.example\n", i)
	}
	l.write("block/a.txt", file.String())
	l.write("allow/b.txt", "n7.example note=x\n/a/ in=subject\n/b/ in=subject\nhttps://evil.example/"+strings.Repeat("x", 600)+"\n")
	l.load(s)
	var want []string
	for a, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(a.Indicator.Pattern, a.Indicator.Source, a.Indicator.Line, a.Generation))
	}
	for _, size := range []int{1, 7, 1000} {
		var got []string
		var place []byte
		for pages := 0; ; pages++ {
			n, more := 0, false
			err := s.Walk(context.Background(), place, func(all []Addition, at []byte) bool {
				if n == size {
					more = true
					return false
				}
				n++
				place = at
				for _, a := range all {
					got = append(got, fmt.Sprint(a.Indicator.Pattern, a.Indicator.Source, a.Indicator.Line, a.Generation))
				}
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d give %d of %d", size, len(got), len(want))
		}
	}
	if err := s.Walk(context.Background(), []byte("x"), nil); !errors.Is(err, ErrPlace) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Walk(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	p, err := list.ParsePattern("n7.example")
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.OfPattern(p)
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	for _, a := range found {
		if got := fmt.Sprintf("%s %d", a.Indicator.Source, a.Indicator.Line); got != "list:block/a.txt 8" && got != "list:allow/b.txt 1" {
			t.Error(got)
		}
	}
}

func TestItIsKnownWhenAGenerationAddedSomething(t *testing.T) {
	l := newLists(t)
	db := memoryDB(t)
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	s, err := Open(Options{DB: db, Matcher: match.NewMatcher(), Rest: -1, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	l.write("block/a.txt", "one.example\n")
	l.load(s)
	first := s.Generation()
	now = now.Add(time.Hour)
	l.write("block/a.txt", "one.example\ntwo.example\n")
	l.load(s)
	added, before, err := s.Times()
	if err != nil || len(added) != 2 || !added[first].Equal(now.Add(-time.Hour)) || !added[s.Generation()].Equal(now) || before >= first {
		t.Errorf("%v, %d, %v", added, before, err)
	}
}

func TestASourceGivesWhatItListsAndNothingElse(t *testing.T) {
	l := newLists(t)
	s, _ := openStore(t, memoryDB(t))
	var file strings.Builder
	for i := range 500 {
		fmt.Fprintf(&file, "n%d.example\n", i)
	}
	l.write("block/a.txt", file.String()+"gone.example\n")
	l.write("block/b.txt", "n7.example note=x\nn7.example in=rcpt\n/a/ in=subject\nhttps://evil.example/"+strings.Repeat("x", 600)+"\n")
	l.load(s)
	l.write("block/a.txt", file.String()+"added.example tlp=green\n")
	l.load(s)
	for _, source := range []string{"list:block/a.txt", "list:block/b.txt", "list:block/none.txt"} {
		var got, want []string
		for a, err := range s.All() {
			if err != nil {
				t.Fatal(err)
			}
			if a.Indicator.Source == source {
				want = append(want, fmt.Sprintf("%d %+v", a.Generation, *a.Indicator))
			}
		}
		for a, err := range s.OfSource(source) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d %+v", a.Generation, *a.Indicator))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s gives %d of %d", source, len(got), len(want))
		}
	}
}
