package lab

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ProgramOptions says how a program is run.
type ProgramOptions struct {
	Name string   // of its folder and in messages; default the last part of the path
	Args []string // the program's path first
	Env  []string // besides PATH, LC_ALL and TZ

	// User and Group are the numbers of another user, whose the program's folder
	// becomes. Zero is root, as this process is.
	User, Group uint32

	// Ready is where it takes connections when it is ready: "unix:/path" or
	// "ADDRESS:PORT". Empty: it is ready at once.
	Ready string

	Grace time.Duration // for Stop, before the program is killed; default three seconds
}

// Program is a server that is not a mail server of Debian's, such as the one
// under test. It is ended with the lab, as they are.
type Program struct {
	lab     *Lab
	dir     string
	o       ProgramOptions
	process *process
}

// Program starts a program in a folder of its own.
func (l *Lab) Program(o ProgramOptions) (*Program, error) {
	o.Name = cmp.Or(o.Name, filepath.Base(o.Args[0]))
	dir, err := l.room(o.Name)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, int(o.User), int(o.Group)); err != nil {
		return nil, err
	}
	p := &Program{lab: l, dir: dir, o: o}
	if err := p.Start(); err != nil {
		return nil, err
	}
	l.keep(p)
	return p, nil
}

// Start starts a program again that has ended.
func (p *Program) Start() error {
	s := spec{
		name: p.o.Name, args: p.o.Args, env: p.o.Env, grace: p.o.Grace,
		dir: p.dir, output: p.OutputPath(),
		network: "tcp", address: p.o.Ready,
	}
	if path, ok := strings.CutPrefix(p.o.Ready, "unix:"); ok {
		s.network, s.address = "unix", path
	}
	if p.o.User != 0 || p.o.Group != 0 {
		s.credential = &syscall.Credential{Uid: p.o.User, Gid: p.o.Group}
	}
	process, err := p.lab.launch(s)
	if err != nil {
		return err
	}
	p.process = process
	return nil
}

// Stop sends SIGTERM and waits; it is an error if that took longer than Grace,
// after which the program is killed. It may be called again.
func (p *Program) Stop() error { return p.process.stop() }

// Kill ends the program and its children by SIGKILL.
func (p *Program) Kill() error { return p.process.kill() }

// Signal sends a signal to the program.
func (p *Program) Signal(sig syscall.Signal) error { return p.process.signal(sig) }

// Exited is closed when the program has ended and what it left behind was
// killed; Err then says how.
func (p *Program) Exited() <-chan struct{} { return p.process.exit }

// Err gives nil for an exit status of 0, else an *exec.ExitError. It waits for
// the end.
func (p *Program) Err() error {
	<-p.process.exit
	return p.process.err
}

// PID gives the process ID.
func (p *Program) PID() int { return p.process.pid }

// Dir gives the program's folder, in which it is started.
func (p *Program) Dir() string { return p.dir }

// OutputPath gives the file with its standard output and error, of all starts.
func (p *Program) OutputPath() string { return filepath.Join(p.dir, "output") }

func (p *Program) logs() []string { return []string{p.OutputPath()} }
