package hunt

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/intel/wal"
)

func TestAMessageThatWasJudgedByTheListsOfBeforeAndJournaledLaterIsFound(t *testing.T) {
	s := newSite(t)
	old := s.list("list:block/a", "other.example")
	s.work()
	s.list("list:block/a", "other.example", "evil.example", "/hello/ in=subject campaign=c")
	s.work()
	s.wantNothing()
	s.mail(link("https://evil.example/"), subject("x"))              // judged by the new lists
	s.mail(link("https://innocent.example/"), subject("x"))          // likewise
	s.mail(link("https://other.example/"), subject("x"), under(old)) // known before
	a := s.mail(link("https://evil.example/"), subject("x"), under(old))
	b := s.mail(under(old))
	s.work()
	s.want(map[string][]string{"domain|evil.example": {a}, "campaign|c": {b}})
	if r := s.hunt.Status(); !r.Last.Late || !r.Following {
		t.Errorf("status %+v", r)
	}
}

func TestFollowingEndsWhenNoneCanComeAnyMore(t *testing.T) {
	s := newSite(t)
	s.options.LateWindow = time.Minute
	old := s.list("list:block/a", "other.example")
	s.work()
	s.list("list:block/a", "evil.example")
	s.work()
	s.later(time.Minute)
	last := s.mail(link("https://evil.example/"), under(old)) // in the last moment
	s.work()
	s.want(map[string][]string{"domain|evil.example": {last}})
	if s.hunt.Status().Following {
		t.Error("the window is still open")
	}
	s.mail(link("https://evil.example/"), under(old)) // nobody is that late
	s.work()
	s.want(map[string][]string{"domain|evil.example": {last}})
}

func TestAWindowThatIsOpenStaysAtItsPlaceWhenTheListsChangeAgain(t *testing.T) {
	s := newSite(t)
	first := s.list("list:block/a", "other.example")
	s.work()
	second := s.list("list:block/a", "evil.example")
	s.work()
	a := s.mail(link("https://evil.example/"), under(first))
	s.list("list:block/b", "worse.example")
	b := s.mail(link("https://worse.example/"), under(second))
	s.mail(link("https://evil.example/"), under(second))
	c := s.mail(link("https://evil.example/x"), link("https://worse.example/x"), under(first))
	s.work()
	s.want(map[string][]string{"domain|evil.example": {a, c}, "domain|worse.example": {b, c}})
}

func TestLateEntriesAreFoundAfterARestart(t *testing.T) {
	s := newSite(t)
	old := s.list("list:block/a", "other.example")
	s.work()
	s.list("list:block/a", "evil.example")
	s.work()
	id := s.mail(link("https://evil.example/"), under(old))
	s.later(time.Hour) // the window is over while the daemon was down
	s.open()
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
	if s.hunt.Status().Following {
		t.Error("the window is still open")
	}
}

func TestLateEntriesAreFoundAlsoWhereTheListsHaveForgottenWhatTheyAdded(t *testing.T) {
	s := newSite(t)
	old := s.list("list:block/a", "other.example")
	s.work()
	s.list("list:block/a", "evil.example")
	s.work()
	id := s.mail(link("https://evil.example/"), under(old))
	s.mail(link("https://evil.example/"), under(old), func(e *journal.Entry) {
		e.Hits = []journal.Hit{{Source: "list:block/a", Value: "https://evil.example/", Place: "1/text"}} // it was known
	})
	s.hunt.o.Lists = forgetful{s.store}
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
}

// forgetful are lists that do not know what was added.
type forgetful struct{ Lists }

func (forgetful) Added(uint64) iter.Seq2[store.Addition, error] {
	return func(yield func(store.Addition, error) bool) { yield(store.Addition{}, store.ErrForgotten) }
}

func TestWhatIsLateIsFollowedToo(t *testing.T) {
	s := newSite(t)
	old := s.list("list:block/a", "other.example")
	s.work()
	s.list("list:block/a", "evil.example")
	s.work()
	file := "application/pdf " + text("offer")
	id := s.mail(link("https://evil.example/"), content("text/plain hi", file), under(old), to("alice@here.example"))
	next := s.mail(from("alice@here.example"), to("bob@here.example"), subject("Fwd: hello"), content("text/plain see below", file))
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id, next}})
	s.later(time.Hour)
	s.work()
	if s.hunt.Status().Following {
		t.Error("the window is still open")
	}
}

func TestAJournalThatDroppedThePlaceIsReadFromItsBeginning(t *testing.T) {
	s := newSite(t)
	old := s.list("list:block/a", "other.example")
	s.work()
	s.list("list:block/a", "evil.example")
	s.work()
	id := s.mail(link("https://evil.example/"), under(old))
	s.seen = dropping{s.journal}
	s.open()
	s.hunt.place.Position = 1
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
}

type dropping struct{ Journal }

func (d dropping) ReadJudgedBefore(after wal.Position, generation uint64) iter.Seq2[journal.Record, error] {
	if after != 1 {
		return d.Journal.ReadJudgedBefore(after, generation)
	}
	return func(yield func(journal.Record, error) bool) { yield(journal.Record{}, wal.ErrDropped) }
}

func TestAnotherJournalIsHuntedFromTheBeginning(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "evil.example")
	id := s.mail(link("https://evil.example/"), under(1))
	s.open()
	s.hunt.place = place{Hunted: s.store.Generation(), Position: 3, Until: start.Add(time.Hour)} // of no entry here
	s.hunt.looked = s.hunt.place.Hunted
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
}

func TestAnEntryThatCannotBeReadIsPassedOver(t *testing.T) {
	s := newSite(t)
	old := s.list("list:block/a", "other.example")
	s.work()
	s.list("list:block/a", "evil.example")
	s.work()
	s.mail(under(old))
	bad := s.journal.Last()
	id := s.mail(link("https://evil.example/"), under(old))
	s.seen = unreadable{s.journal, bad}
	s.open()
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
}

type unreadable struct {
	Journal
	bad wal.Position
}

func (u unreadable) ReadJudgedBefore(after wal.Position, generation uint64) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		for r, err := range u.Journal.ReadJudgedBefore(after, generation) {
			if r.Position == u.bad {
				yield(journal.Record{Position: r.Position}, journal.ErrEntry)
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func TestRunHearsOfNewListsAtOnceAndEndsWithItsContext(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "other.example")
	id := s.mail(link("https://evil.example/"))
	s.open()
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan bool)
	go func() { s.hunt.Run(ctx); close(ended) }()
	for s.hunt.Status().Hunted != s.store.Generation() {
		time.Sleep(time.Millisecond)
	}
	s.list("list:block/a", "evil.example")
	s.hunt.Wake()
	for len(s.desk.messages()) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	s.want(map[string][]string{"domain|evil.example": {id}})
}
