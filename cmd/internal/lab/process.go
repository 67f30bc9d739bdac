package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// readyWithin bounds the start of one server.
const readyWithin = 20 * time.Second

// stopGrace is how long a server may take to end before it is killed, where
// nothing else is said.
const stopGrace = 3 * time.Second

// A process is a server that runs in the foreground and leads a process group.
type process struct {
	spec
	pid  int
	exit chan struct{} // closed when nothing is left of the group
	err  error         // how the leader ended; valid after exit
	left error         // why something is left all the same; valid after exit
}

// spec says how a process is started and what it is like.
type spec struct {
	name   string
	args   []string // the program's path first
	dir    string
	env    []string
	output string // file for its standard output and error
	log    string // file with its own log, where it has one

	credential *syscall.Credential // nil: as this process
	grace      time.Duration       // between SIGTERM and SIGKILL; 0 is stopGrace
	within     time.Duration       // it has to be ready; 0 is readyWithin

	// groupStop asks the whole group to end instead of its leader, where the
	// leader is a wrapper that does not hand the signal on.
	groupStop bool

	// It is ready when it takes connections at address, and where it speaks first,
	// when it has: before that, some have their sockets but don't know a signal
	// yet. An empty address is ready at once.
	network, address string
	speaks           bool
}

// launch starts a process and waits until it is ready. One that is not has
// ended when launch returns.
func (l *Lab) launch(sp spec) (*process, error) {
	p, err := l.guardian.start(sp)
	if err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", sp.name, err)
	}
	if err := p.ready(); err != nil {
		err = fmt.Errorf("lab: %s is not ready: %w\n%s%s", p.name, err, tail(p.output, 20), tail(p.log, 20))
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

// start runs a process and names it to the guardian.
func (g *guardian) start(sp spec) (*process, error) {
	out, err := os.OpenFile(sp.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	// The process tells the guardian its number before it becomes the server, so
	// that there is no moment in which nobody would end it.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `echo "$$" >&3; exec "$@" 3>&-`, "sh"}, sp.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = sp.dir, out, out
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "TZ=UTC"}, sp.env...)
	cmd.ExtraFiles = []*os.File{g.pipe}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: sp.credential}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	sp.grace = cmp.Or(sp.grace, stopGrace)
	p := &process{spec: sp, pid: cmd.Process.Pid, exit: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		p.left = errors.Join(p.reap(), g.forget(p.pid))
		close(p.exit)
	}()
	return p, nil
}

// ready waits until the process is ready, or fails when it has ended.
func (p *process) ready() error {
	if p.address == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(p.within, readyWithin))
	defer cancel()
	return Poll(ctx, func() (bool, error) {
		if !p.running() {
			return false, fmt.Errorf("it ended by itself: %v", p.err)
		}
		return p.answers(ctx), nil
	})
}

func (p *process) answers(ctx context.Context) bool {
	var d net.Dialer
	c, err := d.DialContext(ctx, p.network, p.address)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if !p.speaks {
		return true
	}
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	n, _ := c.Read(make([]byte, 512))
	return n > 0
}

// running reports whether p has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.exit:
		return false
	default:
		return true
	}
}

// signal sends sig to the process alone, not to its group.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return os.ErrProcessDone
	}
	return syscall.Kill(p.pid, sig)
}

// stop ends p and its whole group, and returns when none of them is left. It
// is an error if p had to be killed. It may be called again.
func (p *process) stop() error {
	var late error
	if p.running() {
		to := p.pid
		if p.groupStop {
			to = -p.pid
		}
		_ = syscall.Kill(to, syscall.SIGTERM)
		select {
		case <-p.exit:
		case <-time.After(p.grace):
			late = fmt.Errorf("%s did not end within %s and was killed", p.name, p.grace)
		}
	}
	return errors.Join(late, p.kill())
}

// kill ends p and its whole group at once, as a power cut would. It may be
// called again.
func (p *process) kill() error {
	if p.running() {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		<-p.exit
	}
	return p.left
}

// reap waits until nothing is left of the group of a leader that has ended, and
// kills what is left after a moment. Orphans have become our children, since we
// are a subreaper: when there is none, the group is empty, and as long as there
// is one, its number cannot have been given to another group.
func (p *process) reap() error {
	const patience = 200 * time.Millisecond
	start := time.Now()
	for killed := false; ; time.Sleep(time.Millisecond) {
		pid, err := syscall.Wait4(-p.pid, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return nil
		case pid > 0 || errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("%s: wait for its process group: %w", p.name, err)
		case time.Since(start) > stopGrace:
			return fmt.Errorf("%s: process group %d outlives SIGKILL", p.name, p.pid)
		case !killed && time.Since(start) >= patience:
			_ = syscall.Kill(-p.pid, syscall.SIGKILL)
			killed = true
		}
	}
}

// groupMembers gives the processes of a process group, from /proc.
func groupMembers(group int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var members []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if g, err := syscall.Getpgid(pid); err == nil && g == group {
			members = append(members, pid)
		}
	}
	return members, nil
}
