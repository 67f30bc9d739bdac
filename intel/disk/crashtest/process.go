package crashtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// childEnv is set in a process that RunUntilKilled started.
const childEnv = "WEIR_CRASHTEST_CHILD"

// IsChild reports whether this process is one that RunUntilKilled started to
// run the test t. Such a test works until it is killed, and prints a line for
// each thing that was acknowledged to it.
func IsChild(t *testing.T) bool { return os.Getenv(childEnv) == t.Name() }

// RunUntilKilled starts this test binary once more to run only the test t, lets
// it print its first line, kills it with SIGKILL that long after, and gives the
// lines that it printed completely. Extra environment is KEY=value.
func RunUntilKilled(t *testing.T, after time.Duration, env ...string) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(append(os.Environ(), childEnv+"="+t.Name()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var failure bytes.Buffer
	cmd.Stderr = &failure
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // the rest is no complete line
		}
		if lines = append(lines, line[:len(line)-1]); len(lines) == 1 {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended by itself: %v\n%s\n%s", err, lines, failure.String())
	}
	return lines
}

// SmallDisk mounts a tmpfs of so many bytes for the test and gives its folder.
// It skips the test where mounting is not permitted.
func SmallDisk(t testing.TB, size int64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("weir-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}
