package postings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// follower indexes a log, of which it remembers all, and goes on after a crash
// where the set ends.
type follower struct {
	log     []record
	written Mark // acknowledged by Write
}

type record struct {
	mark Mark
	key  uint64
}

func (w *follower) open(d *faulty.Disk) (*Set, error) {
	return Open(Options{FS: d, Dir: "/state/set", Join: joinNotes, fanout: 3})
}

func (w *follower) Run(d *faulty.Disk) error {
	s, err := w.open(d)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	state, _ := s.State()
	for range 9 {
		at := Mark{uint64(len(w.log)+1) * 10, 1}
		w.log = append(w.log, record{at, uint64(len(w.log)%5) << 61})
		var group []Posting
		for _, r := range w.log {
			if r.mark.At > state.Through.At {
				group = append(group, Posting{r.key, r.mark.At})
			}
		}
		s.Add(group, state.Through, at, nil)
		state.Through = at
		if err := s.Write(false); err != nil {
			return err
		}
		w.written = at
		if _, err := s.Merge(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

func (w *follower) Check(d *faulty.Disk) error {
	s, err := w.open(d)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	state, _ := s.State()
	if state.Through.At < w.written.At {
		return fmt.Errorf("the set reaches to %d, and %d was written", state.Through.At, w.written.At)
	}
	v, err := s.Look()
	if err != nil {
		return err
	}
	defer v.Release()
	for n := range uint64(5) {
		var want, got []uint64
		for _, r := range w.log {
			if r.key == n<<61 && r.mark.At <= state.Through.At {
				want = append(want, r.mark.At)
			}
		}
		for at, err := range v.All(n << 61) {
			if err != nil {
				return err
			}
			got = append(got, at)
		}
		if !slices.Equal(got, want) {
			return errors.New("positions are missing")
		}
	}
	return nil
}

func TestWhatWasWrittenSurvivesAPowerCut(t *testing.T) {
	crashtest.Suite{Tears: 3, Trials: 60, New: func() crashtest.Workload { return &follower{} }}.Test(t)
}
