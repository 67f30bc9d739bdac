package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// diskSize is state.min_free and a little more.
const diskSize = 1224 << 20

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-disk")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0777", diskSize)); err != nil {
		t.Fatalf("mount a tmpfs on %s: %v", dir, err)
	}
	t.Cleanup(func() {
		_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		_ = os.RemoveAll(dir)
	})
	return dir
}

// noise gives bytes that do not compress, different for each seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(b)
	return b
}

// fill takes all the room that is left on the disk.
func fill(t *testing.T, dir string) (name string) {
	t.Helper()
	name = filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	// The daemon may write between the question and what follows from its answer.
	for err = error(syscall.ENOSPC); errors.Is(err, syscall.ENOSPC); {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		err = syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestADiskThatWeirFillsRefusesMailForNowAndLosesNone(t *testing.T) {
	disk := smallDisk(t)
	s := newSite(t, options{stateDir: filepath.Join(disk, "state"), lists: map[string]string{"block/local.txt": "/^bad/ in=subject\n"},
		config: "[quarantine]\nmax_size = 0\n"})
	held := 0
	var last smtptest.Result
	for i := range 60 {
		m := attachment(fmt.Sprintf("bad-%d", i), "noise.bin", noise(uint64(i), 15<<20))
		last = s.send(m)
		if !last.Accepted() {
			break
		}
		held++
	}
	if held < 5 || last.Code() != 451 {
		t.Fatalf("%d held, then %+v", held, last)
	}
	if out := s.weirCmd("status"); !bytes.Contains(out, []byte("disk")) {
		t.Errorf("status says nothing of the disk: %s", out)
	}
	// Every message that was accepted is there, and can be had.
	items := s.items()
	if len(items) != held {
		t.Errorf("%d items, %d accepted", len(items), held)
	}
	if got := s.weirCmd("quarantine", "export", items[len(items)-1].ID); len(got) < 15<<20 {
		t.Errorf("exported %d bytes", len(got))
	}
	// A restart finds the same, and mail still gets an answer. Deleting what nobody
	// needs needs no room.
	s.must(s.weir.Stop())
	s.must(s.weir.Start())
	s.ready()
	again := attachment("bad-again", "noise.bin", noise(999, 15<<20))
	if r := s.send(again); r.Code() != 451 {
		t.Errorf("without room: %+v", r)
	}
	s.weirCmd("quarantine", "delete", items[0].ID, items[1].ID, "--reason", "no room")
	if deleted := s.items("--state", "deleted"); len(deleted) != 2 {
		t.Errorf("deleted are %+v", deleted)
	}
}

func TestADiskThatOthersFillIsWaitedOut(t *testing.T) {
	disk := smallDisk(t)
	s := newSite(t, options{stateDir: filepath.Join(disk, "state"), lists: map[string]string{"block/local.txt": "/^bad/ in=subject\n"}})
	if r := s.send(letter("bad-1", "x")); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	filler := fill(t, disk)
	for _, subject := range []string{"bad-2", "clean-2"} {
		if r := s.send(letter(subject, "x")); r.Code() != 451 {
			t.Errorf("%s: %+v", subject, r)
		}
	}
	// A start without room: mail is answered, and the stores open when there is some.
	s.must(s.weir.Kill())
	s.must(s.weir.Start())
	s.eventually("mail is answered", func() (bool, error) { return s.send(letter("clean-3", "x")).Code() == 451, nil })
	s.must(os.Remove(filler))
	s.ready()
	for _, subject := range []string{"bad-4", "clean-4"} {
		if r := s.send(letter(subject, "x")); !r.Accepted() {
			t.Errorf("%s: %+v", subject, r)
		}
	}
	s.mailbox("alice@lab.test", 1)
	if items := s.items(); len(items) != 2 {
		t.Errorf("%+v", items)
	}
	s.weirCmd("audit", "verify")
}

func TestOnErrorAcceptLetsCleanMailThroughAndNeverWhatIsBad(t *testing.T) {
	disk := smallDisk(t)
	s := newSite(t, options{stateDir: filepath.Join(disk, "state"), onError: "accept", lists: map[string]string{"block/local.txt": "/^bad/ in=subject\n"}})
	fill(t, disk)
	if r := s.send(letter("bad", "x")); r.Code() != 451 {
		t.Errorf("bad mail: %+v", r)
	}
	if r := s.send(letter("clean", "x")); !r.Accepted() {
		t.Errorf("clean mail: %+v", r)
	}
	s.mailbox("alice@lab.test", 1)
	if out := s.http("/metrics"); !strings.Contains(out, "weir_accepted_without_journal_total 1") {
		t.Error("not counted")
	}
}

func TestASecondDaemonOnTheSameStateIsRefused(t *testing.T) {
	s := newSite(t, options{})
	second := strings.NewReplacer("milter.sock", "milter2.sock", "control.sock", "control2.sock", "metrics.sock", "metrics2.sock").Replace(string(s.read("weir.toml")))
	_, err := s.tryWith(s.write("second.toml", second), "serve")
	if code(err) != 1 || !strings.Contains(err.Error(), "second.toml:3") || !strings.Contains(err.Error(), fmt.Sprint(s.weir.PID())) {
		t.Errorf("got %v", err)
	}
	if r := s.send(letter("m", "x")); !r.Accepted() {
		t.Errorf("%+v", r)
	}
}

func TestAConfigurationWithMistakesIsRefusedWithItsPlaces(t *testing.T) {
	s := newSite(t, options{noStart: true})
	bad := strings.Replace(string(s.read("weir.toml")), `internal_networks = ["10.0.0.0/8"]`, "internal_networks = [\"10.1.2.3/8\"]\nlocal_domain = [\"x\"]", 1)
	file := s.write("bad.toml", bad)
	for _, command := range [][]string{{"serve"}, {"config", "check"}} {
		_, err := s.tryWith(file, command...)
		if code(err) != 1 || !strings.Contains(err.Error(), "bad.toml:15") || !strings.Contains(err.Error(), "bad.toml:16") || !strings.Contains(err.Error(), "local_domains") {
			t.Errorf("%v: %v", command, err)
		}
	}
}
