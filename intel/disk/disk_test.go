package disk_test

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// eachFS runs a test on the real file system and on the faulty one: they have to
// agree on everything but what a power cut leaves.
func eachFS(t *testing.T, test func(t *testing.T, fsys disk.FS, dir string)) {
	t.Run("system", func(t *testing.T) { test(t, disk.System{}, t.TempDir()) })
	t.Run("faulty", func(t *testing.T) { test(t, faulty.New("/state", 1), "/state") })
}

func write(t *testing.T, fsys disk.FS, name, text string) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, fsys disk.FS, name string) string {
	t.Helper()
	b, err := disk.ReadFile(fsys, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFileOperations(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys disk.FS, dir string) {
		name := filepath.Join(dir, "a")
		f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("hello"), 3); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(6); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(10); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync("x"), f.Datasync("y"), fsys.SyncDir(dir, "z")); err != nil {
			t.Fatal(err)
		}
		if size, err := f.Size(); size != 10 || err != nil {
			t.Fatal(size, err)
		}
		if got := read(t, fsys, name); got != "\x00\x00\x00hel\x00\x00\x00\x00" {
			t.Fatalf("%q", got)
		}
		var buf [4]byte
		if n, err := f.ReadAt(buf[:], 8); n != 2 || !errors.Is(err, io.EOF) {
			t.Fatal(n, err)
		}
		if n, err := f.ReadAt(buf[:], 80); n != 0 || !errors.Is(err, io.EOF) {
			t.Fatal(n, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(nil, 0); !errors.Is(err, fs.ErrClosed) {
			if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
				t.Fatal(err)
			}
		}
		readOnly, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readOnly.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("wrote to a file that is open to read")
		}
		_ = readOnly.Close()
		when := time.Unix(1e9, 0)
		if err := fsys.Chtimes(name, when); err != nil {
			t.Fatal(err)
		}
		info, err := fsys.Stat(name)
		if err != nil || info.Size() != 10 || !info.ModTime().Equal(when) || info.Mode() != 0o640 || info.IsDir() || info.Name() != "a" {
			t.Fatal(info, err)
		}
		if free, err := fsys.Free(dir); err != nil || free <= 0 {
			t.Fatal(free, err)
		}
	})
}

func TestNames(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys disk.FS, dir string) {
		at := func(name string) string { return filepath.Join(dir, name) }
		if err := errors.Join(fsys.Mkdir(at("sub"), 0o700), fsys.Mkdir(at("other"), 0o700)); err != nil {
			t.Fatal(err)
		}
		write(t, fsys, at("b"), "b")
		write(t, fsys, at("a"), "a")
		if err := fsys.Rename(at("a"), at("sub/c")); err != nil {
			t.Fatal(err)
		}
		if err := fsys.Rename(at("b"), at("sub/c")); err != nil {
			t.Fatal(err)
		}
		if got := read(t, fsys, at("sub/c")); got != "b" {
			t.Fatal(got)
		}
		write(t, fsys, at("sub/b"), "")
		list, err := fsys.ReadDir(at("sub"))
		if err != nil || len(list) != 2 || list[0].Name() != "b" || list[1].Name() != "c" {
			t.Fatal(list, err)
		}
		for what, err := range map[string]error{
			"mkdir of what is there":        fsys.Mkdir(at("sub"), 0o700),
			"exclusive open of what exists": openErr(fsys, at("sub/c"), os.O_RDWR|os.O_CREATE|os.O_EXCL),
		} {
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for what, err := range map[string]error{
			"open":              openErr(fsys, at("none"), os.O_RDONLY),
			"open below none":   openErr(fsys, at("none/x"), os.O_RDWR|os.O_CREATE),
			"remove":            fsys.Remove(at("none")),
			"rename":            fsys.Rename(at("none"), at("x")),
			"mkdir below none":  fsys.Mkdir(at("none/x"), 0o700),
			"sync":              fsys.SyncDir(at("none"), "x"),
			"chtimes":           fsys.Chtimes(at("none"), time.Now()),
			"stat":              errOf(fsys.Stat(at("none"))),
			"read dir":          errOf(fsys.ReadDir(at("none"))),
			"free":              errOf(fsys.Free(at("none"))),
			"rename below none": fsys.Rename(at("sub/c"), at("none/x")),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := fsys.Remove(at("sub")); err == nil {
			t.Error("removed a folder that is not empty")
		}
		if err := errors.Join(fsys.Remove(at("other")), fsys.Remove(at("sub/b")), fsys.Remove(at("sub/c")), fsys.Remove(at("sub"))); err != nil {
			t.Error(err)
		}
	})
}

func openErr(fsys disk.FS, name string, flag int) error {
	f, err := fsys.OpenFile(name, flag, 0o600)
	if err == nil {
		_ = f.Close()
	}
	return err
}

func errOf[T any](_ T, err error) error { return err }

func TestMakeFolderWantsAParentAndNoFile(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys disk.FS, dir string) {
		sub := filepath.Join(dir, "sub")
		for range 2 {
			if err := disk.MakeFolder(fsys, sub, 0o700, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := fsys.Stat(sub); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
			t.Fatal(info, err)
		}
		if err := disk.MakeFolder(fsys, filepath.Join(sub, "a/b"), 0o700, "x"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "sub/a first") {
			t.Errorf("without a parent: %v", err)
		}
		write(t, fsys, filepath.Join(dir, "file"), "")
		if err := disk.MakeFolder(fsys, filepath.Join(dir, "file"), 0o700, "x"); err == nil {
			t.Error("took a file for a folder")
		}
	})
}

// keeper replaces one file again and again, in a folder of its own.
type keeper struct{ acknowledged, tried byte }

func (k *keeper) Run(d *faulty.Disk) error {
	for _, name := range []string{"/state/a", "/state/a/b"} {
		if err := disk.MakeFolder(d, name, 0o700, "folder"); err != nil {
			return err
		}
	}
	for range 3 {
		k.tried++
		content := strings.Repeat(string('a'+rune(k.tried)), 1500)
		if err := disk.Replace(d, "/state/a/b/file", []byte(content), 0o600, "content", "names"); err != nil {
			return err
		}
		k.acknowledged = k.tried
	}
	return nil
}

func (k *keeper) Check(d *faulty.Disk) error {
	got, err := disk.ReadFile(d, "/state/a/b/file", 1<<20)
	if errors.Is(err, fs.ErrNotExist) && k.acknowledged == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	for n := k.acknowledged; n <= k.tried; n++ {
		if n > 0 && string(got) == strings.Repeat(string('a'+rune(n)), 1500) {
			k.acknowledged = n
			return nil
		}
	}
	return errors.New("the file holds neither the acknowledged content nor a later one: " + string(got))
}

func TestReplaceIsDurableAndWhole(t *testing.T) {
	s := crashtest.Suite{New: func() crashtest.Workload { return &keeper{} }}
	seen, err := s.Loss("")
	if err != nil {
		t.Fatal(err)
	}
	for site := range seen {
		if _, err := s.Loss(site); err == nil {
			t.Errorf("leaving out the sync %q lost nothing", site)
		}
	}
	if len(seen) != 3 {
		t.Errorf("sites: %v", seen)
	}
}

func TestReplaceLeavesTheOldContentWhenItFails(t *testing.T) {
	for _, kind := range []faulty.Kind{faulty.Create, faulty.Write, faulty.Sync, faulty.Rename} {
		d := faulty.New("/state", 1)
		if err := disk.Replace(d, "/state/file", []byte("old"), 0o600, "a", "b"); err != nil {
			t.Fatal(err)
		}
		d.Inject(func(op faulty.Op) error {
			if op.Kind == kind {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := disk.Replace(d, "/state/file", []byte("new"), 0o600, "a", "b"); !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("%s: %v", kind, err)
		}
		d.Inject(nil)
		if got := read(t, d, "/state/file"); got != "old" {
			t.Errorf("%s: the file holds %q", kind, got)
		}
		if list, err := d.ReadDir("/state"); err != nil || len(list) != 1 {
			t.Errorf("%s: left behind: %v, %v", kind, list, err)
		}
	}
}

func TestReadFileRefusesALargeFile(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys disk.FS, dir string) {
		name := filepath.Join(dir, "f")
		write(t, fsys, name, "12345")
		if _, err := disk.ReadFile(fsys, name, 4); err == nil {
			t.Error("read more than the limit")
		}
		if got, err := disk.ReadFile(fsys, name, 5); err != nil || string(got) != "12345" {
			t.Error(string(got), err)
		}
	})
}

func TestTheGuardRefusesWhatWouldLeaveTooLittle(t *testing.T) {
	d := faulty.New("/state", 1)
	d.SetCapacity(1000)
	g := disk.Guard{FS: d, Path: "/state", MinFree: 600}
	if err := g.Check(400); err != nil {
		t.Error(err)
	}
	if err := g.Check(401); !errors.Is(err, disk.ErrNoSpace) || !strings.Contains(err.Error(), "/state") {
		t.Error(err)
	}
	if err := (disk.Guard{}).Check(1 << 60); err != nil {
		t.Error("a guard without a bound:", err)
	}
}

func TestAFullDiskIsErrNoSpace(t *testing.T) {
	dir := crashtest.SmallDisk(t, 100_000)
	f, err := disk.System{}.OpenFile(filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt(make([]byte, 200_000), 0); !errors.Is(err, disk.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write gave %v", err)
	}
	if free, err := (disk.System{}).Free(dir); free != 0 || err != nil {
		t.Errorf("%d bytes free, %v", free, err)
	}
}

const lockEnv = "WEIR_TEST_LOCK"

func TestASecondProcessIsToldWhoHoldsTheLock(t *testing.T) {
	if path := os.Getenv(lockEnv); path != "" {
		if _, err := disk.AcquireLock(path); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is done with us
		return
	}
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), lockEnv+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatal(line, err)
	}

	_, err = disk.AcquireLock(path)
	var locked *disk.LockedError
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid || locked.Path != path {
		t.Errorf("a second process got %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	_ = cmd.Wait()

	l, err := disk.AcquireLock(path)
	if err != nil {
		t.Fatalf("the lock outlived its holder: %v", err)
	}
	if _, err := disk.AcquireLock(path); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("the same process again got %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = disk.AcquireLock(path); err != nil {
		t.Fatalf("a released lock: %v", err)
	}
	_ = l.Release()
}
