package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// A guardian is a process beside this one that ends the lab's servers when this
// one dies, however it dies: it reads a pipe, and at its end, which the kernel
// brings about, kills the process groups that were named and not withdrawn.
// prctl(PR_SET_PDEATHSIG) would not do: the kernel forgets it when a process
// changes its user for a moment, as Postfix, Sendmail and OpenDKIM do.
type guardian struct {
	cmd  *exec.Cmd
	pipe *os.File // "PID" and "-PID" lines
}

// guardScript keeps the groups as " 12 34 ". $1 is the folder to remove.
const guardScript = `
groups=" "
while read -r line; do
	case "$line" in
	-*)
		g=${line#-}
		case "$groups" in *" $g "*) groups="${groups%% $g *} ${groups#* $g }" ;; esac
		;;
	*) groups="$groups$line " ;;
	esac
done
for g in $groups; do kill -s KILL -- "-$g"; done 2>/dev/null
[ -z "$1" ] || rm -rf -- "$1"
`

// newGuardian starts a guardian. It also removes the folder dir at its end,
// when dir is not empty.
func newGuardian(dir string) (*guardian, error) {
	if err := becomeSubreaper(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "sh", dir)
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt from the keyboard is not for it
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &guardian{cmd: cmd, pipe: w}, nil
}

// forget withdraws a process group that has ended.
func (g *guardian) forget(group int) error {
	_, err := fmt.Fprintf(g.pipe, "-%d\n", group)
	return err
}

// close ends the guardian, and with it what it still guards and the folder.
func (g *guardian) close() error {
	return errors.Join(g.pipe.Close(), g.cmd.Wait())
}

// becomeSubreaper makes orphans of our descendants our children (prctl(2)), so
// that we can reap them: not every host's first process does.
func becomeSubreaper() error {
	const prSetChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("prctl(PR_SET_CHILD_SUBREAPER): %w", errno)
	}
	return nil
}
