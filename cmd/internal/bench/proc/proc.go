// Package proc tells what other processes have cost: CPU time and memory, as the
// Linux kernel accounts for them. It only looks; it starts and ends nothing.
//
// CPU time is read from the clock of each process (clock_gettime(2) of the clock
// that clock_getcpuclockid(3) names), which the scheduler keeps in nanoseconds
// for all threads, those that have ended included. The time of children that have
// ended and were waited for comes from /proc/PID/stat, in ticks of 1/100 second.
// Work that the kernel does elsewhere on behalf of a process, such as completing
// its writes to a device, is in neither.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Tick is the resolution of the CPU time of children that have ended: USER_HZ,
// which is 100 on all that Go runs on.
const Tick = time.Second / 100

// Group is one process group or several: a server and the processes that it has
// started, or servers that work together.
type Group struct {
	leaders []int // the processes that the process groups are named after
}

// GroupOf gives the process groups that processes belong to, each once.
func GroupOf(pids ...int) (Group, error) {
	var g Group
	for _, pid := range pids {
		leader, err := syscall.Getpgid(pid)
		if err != nil {
			return Group{}, fmt.Errorf("process group of %d: %w", pid, err)
		}
		if !slices.Contains(g.leaders, leader) {
			g.leaders = append(g.leaders, leader)
		}
	}
	return g, nil
}

// With gives this group and another one as one.
func (g Group) With(other Group) Group {
	return Group{slices.Concat(g.leaders, other.leaders)}
}

// PIDs gives the processes that the group has at this moment. None is an error.
func (g Group) PIDs() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if of, err := syscall.Getpgid(pid); err == nil && slices.Contains(g.leaders, of) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("process groups %v: no process is left", g.leaders)
	}
	return pids, nil
}

// CPU gives the CPU time that the group has used since it began, user and system
// together, with that of its children that have ended. Processes that end while
// this looks may be missed for once.
func (g Group) CPU() (time.Duration, error) {
	pids, err := g.PIDs()
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, pid := range pids {
		own, err := clock(pid)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return 0, err
		}
		ended, err := endedChildren(pid)
		if err != nil && !errors.Is(err, errGone) {
			return 0, err
		}
		total += own + ended
	}
	return total, nil
}

// errGone says that a process has ended meanwhile.
var errGone = errors.New("the process is gone")

// clock reads the CPU clock of a process. The clock's number is made as the C
// library makes it: the complement of the process ID and, in the last three bits,
// the kind of clock (CPUCLOCK_SCHED in the kernel's posix-timers_types.h).
func clock(pid int) (time.Duration, error) {
	const scheduled = 2
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|scheduled), &t)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ESRCH) {
		return 0, errGone
	}
	if err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// endedChildren gives the CPU time of children that were waited for: the fields
// cutime and cstime of proc_pid_stat(5).
func endedChildren(pid int) (time.Duration, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, errGone
	}
	if err != nil {
		return 0, err
	}
	return parseStat(line)
}

func parseStat(line []byte) (time.Duration, error) {
	const cutime, cstime = 16, 17 // counted from 1, and the name before may hold anything
	end := bytes.LastIndexByte(line, ')')
	fields := bytes.Fields(line[end+1:])
	if end < 0 || len(fields) <= cstime-3 {
		return 0, fmt.Errorf("not a line of /proc/PID/stat: %q", line)
	}
	var ticks int64
	for _, n := range []int{cutime, cstime} {
		v, err := strconv.ParseInt(string(fields[n-3]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("not a line of /proc/PID/stat: %q", line)
		}
		ticks += v
	}
	return time.Duration(ticks) * Tick, nil
}

// Memory is what a group takes, in bytes.
type Memory struct {
	Resident  int64 // VmRSS; pages that processes share are counted once for each
	Anonymous int64 // of it, what is not in a file: RssAnon
}

// Memory gives what the group's processes take at this moment.
func (g Group) Memory() (Memory, error) {
	pids, err := g.PIDs()
	if err != nil {
		return Memory{}, err
	}
	var total Memory
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return Memory{}, err
		}
		total.Resident += kibibytes(status, "VmRSS:")
		total.Anonymous += kibibytes(status, "RssAnon:")
	}
	return total, nil
}

// kibibytes gives a field of /proc/PID/status in bytes; 0 where it is missing, as
// for a process that has ended and was not waited for yet.
func kibibytes(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			return n << 10
		}
	}
	return 0
}
