package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
)

// site is a folder with a configuration, lists, mailboxes and a mail log, and the
// programs that work in it.
type site struct {
	dir   string
	weir  string // the program
	boxes *mailboxes
	mta   *mailServer
}

// prepare makes the folder of a site from the sample. One that is there stays as
// it is.
func prepare(dir, samples string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "weir.toml")
	if _, err := os.Stat(config); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "mail"), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(samples, "site"))); err != nil {
		return err
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	log := filepath.Join(dir, "mail.log")
	for old, its := range map[string]string{
		"#pullers = [\"user:weir-pull\"]":      fmt.Sprintf("pullers = [\"user:%d\"]", os.Geteuid()),
		"#logs = [\"file:/var/log/mail.log\"]": fmt.Sprintf("logs = [%q]", "file:"+log),
	} {
		if strings.Count(string(text), old) != 1 {
			return fmt.Errorf("%s has no line %s", config, old)
		}
		text = []byte(strings.Replace(string(text), old, its, 1))
	}
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		return err
	}
	return os.WriteFile(config, text, 0o644)
}

// open gives a site that was prepared.
func open(dir, weir string) *site {
	boxes := &mailboxes{root: filepath.Join(dir, "mail")}
	return &site{
		dir: dir, weir: weir, boxes: boxes,
		mta: &mailServer{milter: filepath.Join(dir, "milter.sock"), boxes: boxes, log: filepath.Join(dir, "mail.log")},
	}
}

func (s *site) config() string { return filepath.Join(s.dir, "weir.toml") }

// weirCmd runs a weir command and gives what it prints.
func (s *site) weirCmd(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, s.weir, append(args, "--config", s.config())...).Output()
	if err != nil {
		err = fmt.Errorf("weir %s: %w", strings.Join(args, " "), err)
	}
	return out, err
}

// started is how long the daemon may take to be there.
const started = 30 * time.Second

// serve starts the daemon and waits until it works.
func (s *site) serve(ctx context.Context) (*process, error) {
	p, err := s.start("weir.log", "serve", "--config", s.config())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, started)
	defer cancel()
	err = lab.Poll(ctx, func() (bool, error) {
		if p.over() {
			return false, errors.New("the daemon ended")
		}
		_, err := s.weirCmd(ctx, "status", "--check")
		return err == nil, nil
	})
	if err != nil {
		text, _ := os.ReadFile(p.log.Name())
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, text), p.stop())
	}
	return p, nil
}

// pull starts the sidecar, which waits for daemon and mail by itself.
func (s *site) pull() (*process, error) {
	return s.start("pull.log", "pull", "--config", filepath.Join(s.dir, "pull.toml"))
}

// process is a program that was started.
type process struct {
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{}
	err   error // once it has ended
}

func (s *site) start(log string, args ...string) (*process, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(s.weir, args...), log: f, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop ends the program in order.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	<-p.ended
	return errors.Join(p.err, p.log.Close())
}
