package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

// killEntries is the number of entries that each round of the killed process
// writes, in many batches.
const killEntries = 300

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_TEST_STORE_DIR"); dir != "" {
		refreshForEver(dir, os.Getenv("WEIR_TEST_STORE_ROUND"))
	}
	os.Exit(m.Run())
}

// refreshForEver refreshes a source round by round and says when each is done.
func refreshForEver(dir, round string) {
	t := &fatal{}
	s, _ := openStoreIn(t, diskDB(t, dir), dir+"-index")
	s.batch = 20
	n, err := strconv.Atoi(round)
	if err != nil {
		panic(err)
	}
	for n++; ; n++ {
		if _, err := s.Refresh(context.Background(), Source{Name: "a", Entries: killRound(n)}); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// fatal is as much of a testing.TB as a process without tests needs.
type fatal struct{ testing.TB }

func (*fatal) Helper()           {}
func (*fatal) Cleanup(func())    {}
func (*fatal) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func killRound(round int) func(yield func(intel.Indicator, error) bool) {
	return func(yield func(intel.Indicator, error) bool) {
		for i := range killEntries {
			v, err := intel.Domain(fmt.Sprintf("d%d.example", i))
			ind := intel.Indicator{Pattern: intel.Exact(v), Disposition: intel.Block, Line: i + 1, ID: strconv.Itoa(round)}
			if !yield(ind, err) {
				return
			}
		}
	}
}

func TestKilledRefreshLeavesOneWholeGeneration(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	dir := t.TempDir() + "/intel"
	acknowledged := 0
	for range 8 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "WEIR_TEST_STORE_DIR="+dir, "WEIR_TEST_STORE_ROUND="+strconv.Itoa(acknowledged+1))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		rounds := bufio.NewScanner(out)
		for range 1 + rand.IntN(3) { // at least one, so that there is progress
			if !rounds.Scan() {
				t.Fatal("the process ended by itself")
			}
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // anywhere in the next round
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		last := rounds.Text()
		for rounds.Scan() {
			last = rounds.Text()
		}
		_ = child.Wait() // it was killed
		if acknowledged, err = strconv.Atoi(strings.TrimSpace(last)); err != nil {
			t.Fatal(err)
		}

		db := diskDB(t, dir)
		s, m := openStoreIn(t, db, dir+"-index")
		snap := m.Acquire()
		ids := map[string]int{}
		for i := range killEntries {
			v, _ := intel.Domain(fmt.Sprintf("d%d.example", i))
			hits, err := snap.Match(nil, []intel.Observable{{Value: v}}, 0, now)
			if err != nil || len(hits) != 1 || hits[0].Indicator.Line != i+1 {
				t.Fatalf("d%d.example: %v, %v", i, hits, err)
			}
			ids[hits[0].Indicator.ID]++
		}
		snap.Release()
		next := strconv.Itoa(acknowledged + 1)
		if ids[last] != killEntries && ids[next] != killEntries {
			t.Fatalf("acknowledged round %d, found %v", acknowledged, ids)
		}
		checkNothingIsLeft(t, s, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
