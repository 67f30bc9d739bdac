package incident

import (
	"fmt"
	"testing"
	"time"
)

func TestTheStatusTellsWhatIsLeftLyingAndWhoAsksForWork(t *testing.T) {
	s := newSite(t, nil)
	recent := func(now Status) bool { return s.clock().Sub(now.Heard()) < time.Second }
	if now := s.Status(); now.Incidents != 0 || !now.Oldest.IsZero() || !now.Heard().IsZero() {
		t.Errorf("%+v of nothing", now)
	}
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org", "b@example.org"))...)
	byHand := s.opened(byHand())
	s.extended(byHand, "unix:1", sure(s.entry("c@example.org"))...)
	began := s.clock()
	s.pass(time.Hour)
	if now := s.Status(); now.Incidents != 2 || now.Ready != 2 || now.Waiting != 1 || now.Oldest.After(began) || len(now.Sidecars) != 0 {
		t.Errorf("nobody has asked: %+v", now)
	}

	leases := s.lease(1)
	now := s.Status()
	if now.Ready != 1 || now.Leased != 1 || len(now.Sidecars) != 1 || now.Sidecars[0].Actor != puller || now.Sidecars[0].Leases != 1 || !recent(now) {
		t.Errorf("one is leased: %+v", now)
	}
	s.pass(time.Minute)
	if now := s.Status(); recent(now) {
		t.Errorf("%+v: it has said nothing for a minute", now)
	}
	if _, err := s.Renew(t.Context(), puller, []string{leases[0].ID}); err != nil {
		t.Fatal(err)
	}
	if now := s.Status(); !recent(now) {
		t.Errorf("a renewal is not heard: %+v", now)
	}
	s.pull(leases[0])
	s.pullAll()
	if now := s.Status(); now.Incidents != 1 || now.Ready+now.Leased != 0 || now.Waiting != 1 || !now.Oldest.IsZero() {
		t.Errorf("all is done but what waits: %+v", now)
	}
}

// Sidecars come and go under names of their own: hosts are replaced, and so are the
// certificates that name them.
func TestASidecarIsKnownHoweverManyThereWereBefore(t *testing.T) {
	s := newSite(t, nil)
	left := s.hear("cert:waiting") // longer than any other
	for n := range 2 * maxSidecars {
		s.hear(fmt.Sprint("cert:mail-", n))()
		s.pass(time.Hour)
	}
	s.hear("cert:the-last")()
	now := s.Status()
	known := map[string]bool{}
	for _, c := range now.Sidecars {
		known[c.Actor] = true
	}
	if len(known) != maxSidecars || !known["cert:the-last"] || !known["cert:waiting"] || known["cert:mail-0"] {
		t.Errorf("%d are known; the last: %v, who waits: %v, the first: %v", len(known), known["cert:the-last"], known["cert:waiting"], known["cert:mail-0"])
	}
	left()
	s.pass(time.Hour)
	if now := s.Status(); s.clock().Sub(now.Heard()) < time.Hour || s.clock().Sub(now.Heard()) > time.Hour+time.Second {
		t.Errorf("heard of last %s ago", s.clock().Sub(now.Heard()))
	}
}
