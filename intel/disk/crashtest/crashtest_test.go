package crashtest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// writer appends to a file, byte by byte, and syncs as well as it is told to.
type writer struct {
	root                string
	acknowledged        int
	syncFile, syncNames bool
}

func (w *writer) Root() string { return w.root }

func (w *writer) Run(d *faulty.Disk) error {
	f, err := d.OpenFile(w.root+"/file", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if w.syncNames {
		if err := d.SyncDir(w.root, "names"); err != nil {
			return err
		}
	}
	for range 3 {
		if _, err := f.WriteAt([]byte("x"), int64(w.acknowledged)); err != nil {
			return err
		}
		if w.syncFile {
			if err := f.Sync("file"); err != nil {
				return err
			}
		}
		w.acknowledged++
	}
	return f.Close()
}

func (w *writer) Check(d *faulty.Disk) error {
	if w.acknowledged == 0 {
		return nil
	}
	b, err := disk.ReadFile(d, w.root+"/file", 1<<20)
	if err != nil {
		return err
	}
	if strings.Count(string(b), "x") < w.acknowledged {
		return errors.New("bytes are gone")
	}
	return nil
}

func TestTheSuiteTellsGoodFromCareless(t *testing.T) {
	for _, c := range []struct {
		file, names bool
		lost        bool
	}{{true, true, false}, {true, false, true}, {false, true, true}, {false, false, true}} {
		s := Suite{New: func() Workload { return &writer{root: "/some/where", syncFile: c.file, syncNames: c.names} }}
		seen, err := s.Loss("")
		if (err != nil) != c.lost {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil && !strings.Contains(err.Error(), "seed") {
			t.Errorf("%+v: the loss does not say how to see it again: %v", c, err)
		}
		if (seen["file"] > 0) != c.file || (seen["names"] > 0) != c.names {
			t.Errorf("%+v: sites %v", c, seen)
		}
	}
	s := Suite{New: func() Workload { return &writer{root: "/some/where", syncFile: true, syncNames: true} }}
	for _, site := range []disk.Site{"file", "names"} {
		if _, err := s.Loss(site); err == nil {
			t.Errorf("leaving out %s is not noticed", site)
		}
	}
}

// stumbler fails although the power is on.
type stumbler struct{}

func (stumbler) Run(*faulty.Disk) error   { return errors.New("out of order") }
func (stumbler) Check(*faulty.Disk) error { return nil }

func TestAWorkloadThatFailsWithThePowerOnFailsTheSuite(t *testing.T) {
	if _, err := (Suite{New: func() Workload { return stumbler{} }}).Loss(""); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("%v", err)
	}
}

func TestDeclaredSitesAreThoseInTheSource(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.go":      "package a\nimport \"x/disk\"\nconst (\n\tone disk.Site = \"a.one\"\n\ttwo disk.Site = \"a.two\"\n\tno = \"a.no\"\n)\n",
		"b.go":      "package a\nimport \"x/disk\"\nconst three disk.Site = \"a.three\"\n",
		"a_test.go": "package a\nimport \"x/disk\"\nconst four disk.Site = \"a.four\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := DeclaredSites(dir)
	if err != nil || !slices.Equal(got, []disk.Site{"a.one", "a.three", "a.two"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := DeclaredSites(t.TempDir()); err == nil {
		t.Error("a folder without Go files has no sites, and that is no error")
	}
}
