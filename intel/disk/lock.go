package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LockedError says that another process holds a lock.
type LockedError struct {
	Path string // of the lock file
	PID  int    // of the holder; 0 when it did not say
}

// Error names the holder and the cure.
func (e *LockedError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("%s is locked by %s", e.Path, holder)
}

// Lock is a lock on a folder, held by one process at a time. The kernel frees
// it when the process ends, however it ends.
type Lock struct{ f *os.File }

// AcquireLock takes the lock that the file called path stands for, making the
// file where it is missing, and writes this process's ID into it. When another
// process, or this one, still has the lock after a second, the error is a
// *LockedError. The file stays when the lock is released.
func AcquireLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, noSpace(err)
	}
	err = flock(f)
	for i := 0; i < lockTries && errors.Is(err, unix.EWOULDBLOCK); i++ {
		time.Sleep(lockPause)
		err = flock(f)
	}
	if err != nil {
		holder := &LockedError{Path: path, PID: readPID(f)}
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, holder
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The process ID only helps people: on a full disk the lock works without it.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{f}, nil
}

// A process that was killed holds its lock until the kernel has taken it down,
// which may be after whoever starts the next one knows that it is dead.
const (
	lockTries = 20
	lockPause = 50 * time.Millisecond
)

// Release gives the lock up.
func (l *Lock) Release() error { return l.f.Close() }

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func readPID(f *os.File) int {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}
