package app

import (
	"fmt"
	"slices"
	"testing"
)

func TestTheHeldIndexForgetsTheOldest(t *testing.T) {
	x := newHeldIndex()
	for i := range maxHeld + 2 {
		x.add(fmt.Sprint("Q", i), []string{"a@lab.test"})
	}
	x.add("Q5", []string{"b@lab.test"}) // held again: the list of this time counts
	x.add("", []string{"c@lab.test"})
	x.add("none", nil)
	if len(x.to) != maxHeld || x.of("Q0") != nil || x.of("Q1") != nil || x.of("none") != nil || x.of("") != nil {
		t.Errorf("%d are known", len(x.to))
	}
	if got := x.of("Q5"); !slices.Equal(got, []string{"b@lab.test"}) {
		t.Errorf("%q", got)
	}
}
