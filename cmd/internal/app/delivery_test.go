package app

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheHeldIndexForgetsTheOldest(t *testing.T) {
	x := newHeldIndex()
	for i := range maxHeld + 2 {
		x.add(fmt.Sprint("Q", i), []string{"a@lab.test"}, time.Now())
	}
	x.add("Q5", []string{"b@lab.test"}, time.Now()) // held again: the list of this time counts, and one more is forgotten
	x.add("", []string{"c@lab.test"}, time.Now())
	x.add("none", nil, time.Now())
	if len(x.to) != maxHeld-1 || x.of("Q0") != nil || x.of("Q1") != nil || x.of("none") != nil || x.of("") != nil {
		t.Errorf("%d are known", len(x.to))
	}
	if got := x.of("Q5"); !slices.Equal(got, []string{"b@lab.test"}) {
		t.Errorf("%q", got)
	}
}

// Short queue IDs are given again, and what is another message by then is not held.
func TestTheHeldIndexForgetsWhatTheMTAHasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newHeldIndex()
		x.add("4D2B1C0A5", []string{"a@lab.test"}, time.Now())
		time.Sleep(5 * 24 * time.Hour)
		x.add("4D2B1C0A6", []string{"b@lab.test"}, time.Now())
		if x.of("4D2B1C0A5") == nil {
			t.Error("the MTA may still deliver it")
		}
		time.Sleep(25 * time.Hour)
		if got := x.of("4D2B1C0A5"); got != nil {
			t.Errorf("%q are held for good", got)
		}
		x.add("4D2B1C0A7", []string{"c@lab.test"}, time.Now())
		if len(x.to) != 2 || x.of("4D2B1C0A6") == nil {
			t.Errorf("%d are known", len(x.to))
		}
	})
}

func TestTheHeldIndexIsBoundedByRecipients(t *testing.T) {
	x := newHeldIndex()
	to := slices.Repeat([]string{"somebody@lab.test"}, 10_000)
	for i := range 1000 {
		x.add(fmt.Sprint("Q", i), to, time.Now())
		x.add("again", to, time.Now())
	}
	n := 0
	for _, h := range x.to {
		n += len(h.to)
	}
	if n > 1_000_000 || n < 900_000 || x.of("Q999") == nil || x.of("again") == nil {
		t.Errorf("%d recipients of %d queue IDs", n, len(x.to))
	}
}
