package slack

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	usual = 50 * time.Microsecond // the kernel's, where nobody asked for another
	wide  = 500 * time.Microsecond
)

// Widen gives the whole program a timer slack of half a millisecond. Threads take
// theirs from the one that starts them, and the runtime's thread is there before any
// code of ours: so the program is executed once more, with the same arguments, the
// same process ID and the same open files. To be called first of all, before
// anything is read or written, by a program that goes on for long.
//
// It does nothing where somebody chose a slack already (TimerSlackNSec= of a systemd
// unit). It returns as well where the system does not allow it, which costs speed
// alone.
func Widen() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	was, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(was) != usual {
		return
	}
	program, err := os.Executable()
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(wide), 0, 0, 0) != nil {
		return
	}
	_ = unix.Exec(program, os.Args, os.Environ())
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(usual), 0, 0, 0)
}
