package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Daemon, sidecar and mail store are killed again and again while 500 copies are
// pulled, and while they are put back: none is lost, none is there twice.
func TestAPullSurvivesKillsAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("30 kills in the middle of a pull, and 30 of a restore")
	}
	t.Parallel()
	s := newSite(t, forPulls(options{users: readers()[:10], config: "[incident]\nmax_deliveries = 2000\n"}))
	s.startPulls(viaIMAP())
	for i := range 50 {
		r := s.send(letter(fmt.Sprintf("bad-%d", i), "pay at https://evil.test/pay, you "+strings.Repeat("and you ", i), readers()[:10]...))
		if !r.Accepted() {
			t.Fatalf("%+v", r)
		}
	}
	before := map[string][]string{}
	for _, user := range readers()[:10] {
		s.mailbox(user, 50)
		before[user] = s.carrying(user, "")
	}
	random := rand.New(rand.NewPCG(26, 11))

	s.write("lists/block/late.txt", "https://evil.test/pay\n")
	s.killAbout(random)
	id := s.onlyIncident().ID
	i := s.settled(id)
	if i.Counts["pulled"] != 500 {
		t.Errorf("after the pull: %+v", i)
	}
	for user := range before {
		if left := s.carrying(user, ""); len(left) != 0 {
			t.Errorf("%s still has %d", user, len(left))
		}
	}
	items := map[string]bool{}
	for _, d := range s.affected(id) {
		if len(d.Items) != 1 {
			t.Errorf("%s of %s has the items %v", d.Subject, d.Address, d.Items)
		}
		for _, item := range d.Items {
			items[item] = true
		}
	}
	if len(items) != 500 {
		t.Errorf("%d items", len(items))
	}

	s.weirCmd("incident", "restore", id, "--reason", "a false alarm", "--override")
	s.killAbout(random)
	if i = s.settled(id); i.Counts["restored"] != 500 {
		t.Errorf("after the restore: %+v", i)
	}
	for user, want := range before {
		if got := s.carrying(user, ""); !slices.Equal(got, want) {
			t.Errorf("%s had %d and has %d, or others:\n  %s\nand\n  %s", user, len(want), len(got), strings.Join(want, "\n  "), strings.Join(got, "\n  "))
		}
	}
	s.weirCmd("audit", "verify")
}

// killAbout kills daemon, sidecar or Dovecot 30 times, each soon after it was
// started again.
func (s *site) killAbout(random *rand.Rand) {
	s.t.Helper()
	type victim interface {
		Kill() error
		Start() error
	}
	for n := range 30 {
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond) // the moment is what is tried
		var v victim
		switch random.IntN(5) {
		case 0, 1:
			v = s.weir
		case 2, 3:
			v = s.sidecar
		default:
			v = s.boxes
		}
		s.must(v.Kill())
		if err := v.Start(); err != nil {
			s.t.Fatalf("kill %d: %v", n, err)
		}
	}
	s.ready()
}
