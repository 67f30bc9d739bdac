// Package crashtest finds out what a power cut would take away. It runs a
// workload over a faulty.Disk, cuts the power or kills the process at every
// step, goes on with what the disk could have kept, and asks the workload what
// is missing of all that was acknowledged to it.
//
// It also proves that it would notice: Suite.Test leaves out the syncs of one
// disk.Site after the other, and fails for every site whose absence loses
// nothing. Such a sync is either not needed or not tested.
//
// Any level can use it: a log, a store, or a whole path from message to answer.
// What cannot live on the faulty disk, such as a database's own files, goes to a
// real folder (see Rooted); a database that is told the disk's BootID knows by it
// that the power was cut.
package crashtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// Workload is something that works on a disk and remembers what it was promised.
// One workload lives through several runs.
type Workload interface {
	// Run opens what is on the disk, works, and closes. When the power goes
	// (faulty.ErrPower, or an error that follows from it) it returns soon, with
	// an error or without, and leaves nothing running. Any error while the power
	// is on counts as a failure.
	Run(d *faulty.Disk) error
	// Check opens what is on the disk and gives an error that says what was
	// acknowledged and is not there, or what cannot be opened.
	Check(d *faulty.Disk) error
}

// Rooted is a Workload that needs a folder of its own on the disk, say because
// part of what it does has to go to the real one.
type Rooted interface {
	Workload
	// Root names the folder that exists on the empty disk.
	Root() string
}

// Suite says what to try. The zero value of every field but New has a meaning.
type Suite struct {
	// New makes a workload that nothing was promised to yet. It finds the folder
	// /state on an empty disk, or that which Rooted says.
	New func() Workload
	// Every is the distance between the steps at which the power is cut; 1 if 0.
	Every int
	// Tears is the number of random survivals tried for each step; 8 if 0.
	Tears int
	// Trials is the number of random stories of several runs, each with its own
	// cuts and deaths; 300 if 0.
	Trials int
	// Source is the folder of the package whose sites have to be tried, "." if
	// empty. Every constant of type disk.Site declared there must be reached by
	// the workload, and its absence be noticed.
	Source string
	// Elsewhere lists sites declared in Source that another suite tries.
	Elsewhere []disk.Site
}

// Test fails t if anything acknowledged is lost, and for every sync that could
// be left out unnoticed. With -short no sync is left out.
func (s Suite) Test(t *testing.T) {
	t.Helper()
	seen, err := s.Loss("")
	if err != nil {
		t.Fatalf("something was lost with every sync in place: %v", err)
	}
	if testing.Short() {
		return
	}
	declared, err := DeclaredSites(s.Source)
	if err != nil {
		t.Fatal(err)
	}
	for _, site := range declared {
		if slices.Contains(s.Elsewhere, site) {
			continue
		}
		t.Run(fmt.Sprintf("leaving out %s is noticed", site), func(t *testing.T) {
			t.Parallel()
			if seen[site] == 0 {
				t.Fatalf("the workload never came to the sync %q", site)
			}
			_, err := s.Loss(site)
			if err == nil {
				t.Fatalf("leaving out the sync %q lost nothing", site)
			}
			t.Logf("noticed: %v", err)
		})
	}
}

// Loss runs the suite with the syncs of one site left out, or all in place
// when omit is empty, of which -short tries an eighth. It gives the first loss, nil
// if there is none, and how often each site was reached.
func (s Suite) Loss(omit disk.Site) (map[disk.Site]int, error) {
	every, tears, trials := max(1, s.Every), cmp.Or(s.Tears, 8), cmp.Or(s.Trials, 300)
	if testing.Short() && omit == "" {
		every, trials = 8*every, trials/8
	}
	seen := map[disk.Site]int{}
	try := func(seed uint64, tell func(*story) error) error {
		story := s.begin(omit, seed)
		err := tell(story)
		story.addSites(seen)
		return err
	}
	survivals := append([]faulty.Survival{faulty.Nothing, faulty.All}, slices.Repeat([]faulty.Survival{faulty.Some}, tears)...)
	steps := 0
	if err := try(0, func(s *story) (err error) { steps, err = s.measure(); return err }); err != nil {
		return seen, fmt.Errorf("without any cut: %w", err)
	}
	for step := 1; step <= steps; step += every {
		for i, survival := range survivals {
			if err := try(uint64(step)<<8|uint64(i), func(s *story) error { return s.oneCut(step, survival) }); err != nil {
				return seen, err
			}
		}
		for i := range tears {
			if err := try(uint64(step)<<16|uint64(i), func(s *story) error { return s.deathThenCut(step, steps) }); err != nil {
				return seen, err
			}
		}
	}
	for trial := range trials {
		if err := try(uint64(trial)<<32, func(s *story) error { return s.several(steps) }); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// story is one workload on one disk, through several runs.
type story struct {
	w    Workload
	d    *faulty.Disk
	rng  *rand.Rand
	told []string // what happened so far
}

func (s Suite) begin(omit disk.Site, seed uint64) *story {
	w, root := s.New(), "/state"
	if r, ok := w.(Rooted); ok {
		root = r.Root()
	}
	d := faulty.New(root, seed)
	if omit != "" {
		d.Omit(omit)
	}
	return &story{w: w, d: d, rng: rand.New(rand.NewPCG(seed, 1)), told: []string{fmt.Sprintf("seed %d", seed)}}
}

func (s *story) addSites(seen map[disk.Site]int) {
	for site, n := range s.d.Sites() {
		seen[site] += n
	}
}

func (s *story) fail(what string, err error) error {
	return fmt.Errorf("%s; %s: %w", strings.Join(s.told, ", "), what, err)
}

func (s *story) tell(format string, args ...any) {
	s.told = append(s.told, fmt.Sprintf(format, args...))
}

// run runs the workload with the power cut at the given step, 0 for never.
func (s *story) run(cut int) error {
	s.d.CutAt(cut)
	if err := s.w.Run(s.d); err != nil && !s.d.Dead() {
		return s.fail("run failed with the power on", err)
	}
	return nil
}

func (s *story) check() error {
	s.d.CutAt(0)
	if err := s.w.Check(s.d); err != nil {
		return s.fail("check", err)
	}
	return nil
}

// measure counts the steps of an undisturbed run.
func (s *story) measure() (int, error) {
	if err := s.run(0); err != nil {
		return 0, err
	}
	steps := s.d.Steps()
	s.d = s.d.Restart()
	return steps, s.check()
}

func (s *story) oneCut(step int, survival faulty.Survival) error {
	s.d.WriteBack(survival == faulty.Some)
	if err := s.run(step); err != nil {
		return err
	}
	s.tell("power cut at step %d, %v of the rest kept", step, survival)
	s.d = s.d.Reboot(survival)
	return s.check()
}

// deathThenCut lets the process die, and soon after its successor has started
// the power goes: the successor must not rely on what it only found.
func (s *story) deathThenCut(step, steps int) error {
	if err := s.run(step); err != nil {
		return err
	}
	s.d = s.d.Restart()
	cut := 1 + s.rng.IntN(steps)/2
	s.tell("process died at step %d, power cut at step %d of the next run, nothing of the rest kept", step, cut)
	if err := s.run(cut); err != nil {
		return err
	}
	s.d = s.d.Reboot(faulty.Nothing)
	return s.check()
}

// several goes through up to four runs, each ended by a cut, by the death of
// the process, or in good order and cut after that.
func (s *story) several(steps int) error {
	for range 1 + s.rng.IntN(4) {
		cut := s.rng.IntN(steps + 2)
		s.d.WriteBack(s.rng.IntN(2) == 0)
		if err := s.run(cut); err != nil {
			return err
		}
		if s.rng.IntN(3) == 0 {
			s.tell("process died at step %d", cut)
			s.d = s.d.Restart()
			continue // no look in between: it would sync
		}
		survival := faulty.Survival(s.rng.IntN(3))
		s.tell("power cut at step %d, %v of the rest kept", cut, survival)
		s.d = s.d.Reboot(survival)
		if s.rng.IntN(2) == 0 {
			if err := s.check(); err != nil {
				return err
			}
		}
	}
	s.tell("last power cut")
	s.d = s.d.Reboot(faulty.Nothing)
	return s.check()
}

// DeclaredSites reads the Go files of a folder, tests left out, and lists the
// constants of type disk.Site in the order of their text. It is how a suite
// knows that none was forgotten.
func DeclaredSites(folder string) ([]disk.Site, error) {
	if folder == "" {
		folder = "."
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "look for Go files", Path: folder, Err: os.ErrNotExist}
	}
	sites := map[disk.Site]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !isSite(spec.Type) {
				return true
			}
			for _, value := range spec.Values {
				if lit, ok := value.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						sites[disk.Site(text)] = true
					}
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(sites)), nil
}

func isSite(e ast.Expr) bool {
	sel, ok := e.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Site"
}
