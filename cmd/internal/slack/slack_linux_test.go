package slack

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wanted has this program widen its slack and tell of every thread what it has.
const wanted = "WEIR_TEST_SLACK"

func TestMain(m *testing.M) {
	if os.Getenv(wanted) == "" {
		os.Exit(m.Run())
	}
	fmt.Println("begun", os.Getpid())
	Widen()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	fmt.Println("slack", time.Duration(slack), err, "args", strings.Join(os.Args[1:], " "))
	for _, thread := range threads {
		// Not under /proc/self/task, where the file is missing.
		text, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Println("thread", strings.TrimSpace(string(text)))
	}
}

func widened(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "one", "and two")
	c.Env = append(os.Environ(), wanted+"=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestTheProgramIsExecutedOnceMoreAndIsTheSame(t *testing.T) {
	set(t, usual)
	lines := widened(t)
	if len(lines) < 4 || lines[0] != lines[1] || !strings.HasPrefix(lines[0], "begun ") {
		t.Fatalf("not executed once more in the same process: %q", lines)
	}
	if want := "slack 500µs <nil> args one and two"; lines[2] != want {
		t.Errorf("%q, want %q", lines[2], want)
	}
	if os.Geteuid() != 0 {
		t.Log("who is not root may not look at other threads")
		return
	}
	for _, line := range lines[3:] {
		if line != "thread 500000" {
			t.Errorf("%q: not all threads have it: %q", line, lines)
		}
	}
}

func TestAChosenSlackStays(t *testing.T) {
	set(t, 80*time.Microsecond)
	lines := widened(t)
	if len(lines) < 2 || lines[1] != "slack 80µs <nil> args one and two" {
		t.Errorf("%q", lines)
	}
}

// set gives this thread a slack, which what it starts takes over.
func set(t *testing.T, slack time.Duration) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0: what it began with
		runtime.UnlockOSThread()
	})
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}
