package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is what the kernel counts for the machine as a whole.
type Machine struct {
	Busy   time.Duration // time in which CPUs worked, all together, in ticks
	Stolen time.Duration // time in which a CPU would have worked if the hypervisor had let it
	Load   float64       // load average of the last minute
}

// ReadMachine reads /proc/stat and /proc/loadavg.
func ReadMachine() (Machine, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, err
	}
	m, err := parseMachine(stat)
	if err != nil {
		return Machine{}, err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return Machine{}, err
	}
	first, _, _ := bytes.Cut(load, []byte(" "))
	m.Load, err = strconv.ParseFloat(string(first), 64)
	return m, err
}

func parseMachine(stat []byte) (m Machine, err error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return m, fmt.Errorf("not a line of /proc/stat: %q", line)
	}
	var ticks [9]int64 // by the numbers of proc_stat(5): user 1, nice, system, idle 4, iowait 5, irq, softirq, steal 8
	for i := 1; i < len(ticks); i++ {
		if ticks[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return m, fmt.Errorf("not a line of /proc/stat: %q", line)
		}
	}
	m.Busy = time.Duration(ticks[1]+ticks[2]+ticks[3]+ticks[6]+ticks[7]) * Tick
	m.Stolen = time.Duration(ticks[8]) * Tick
	return m, nil
}

// Self gives the CPU time that this process has used, as Group.CPU counts it.
func Self() (time.Duration, error) { return clock(os.Getpid()) }

// CPUModel gives the processor's name, empty where the kernel does not say.
func CPUModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(info) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// FileSystem names the kind of file system that a folder lies on, as statfs(2)
// numbers it where the name is not one of the usual.
func FileSystem(dir string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", fmt.Errorf("statfs %s: %w", dir, err)
	}
	switch kind := uint64(s.Type); kind {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", nil
	case unix.XFS_SUPER_MAGIC:
		return "xfs", nil
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", nil
	case unix.TMPFS_MAGIC:
		return "tmpfs", nil
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay", nil
	default:
		return fmt.Sprintf("%#x", kind), nil
	}
}
