package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/proc"
	operator "github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/lab"
)

// masterConf lets a master user into all mailboxes, and keeps Dovecot's processes
// for further logins, as the page on mailboxes says.
const masterConf = `
auth_master_user_separator = *
passdb {
  driver = passwd-file
  args = %s
  master = yes
  result_success = continue
}
service imap-login {
  service_count = 0
  process_min_avail = 2
}
service imap {
  service_count = 256
  process_min_avail = 4
}
`

const (
	masterUser   = "weir-pull"
	masterSecret = "the sidecar's password"
)

// mailSite is a mail host but for its MTA, which the bench plays: the daemon with
// journal, ledger and quarantine, a Dovecot with Maildir, and the sidecar with its
// default settings, which gets into the mailboxes by IMAP as a master user.
type mailSite struct {
	boxes   *lab.Dovecot
	home    string // of the daemon
	socket  string
	control *operator.Client
	users   []string
	next    atomic.Uint64 // number of the next letter

	daemon, sidecar, store proc.Group
}

// startMailSite starts a site with so many mailboxes. Policy may pull any number
// of messages without asking.
func (b *bench) startMailSite(ctx context.Context, mailboxes int) (*mailSite, error) {
	s := &mailSite{home: filepath.Join(b.lab.Dir(), "site")}
	for i := range mailboxes {
		s.users = append(s.users, fmt.Sprintf("user%d@%s", i, domain))
	}
	if err := s.startStore(b.lab); err != nil {
		return nil, err
	}
	uid, gid, err := nobody()
	if err != nil {
		return nil, err
	}
	if err := makeHome(s.home, uid, gid, b.known); err != nil {
		return nil, err
	}
	conf, err := os.OpenFile(filepath.Join(s.home, "weir.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = conf.WriteString("[incident]\nmax_deliveries = 100000\nmax_hourly = 1000000\n")
	if err := errors.Join(err, conf.Close()); err != nil {
		return nil, err
	}
	weir, err := runWeir(ctx, b.lab, b.program, "weir", s.home)
	if err != nil {
		return nil, err
	}
	s.socket, s.daemon = weir.socket, weir.group
	s.control = operator.New(filepath.Join(s.home, "control.sock"))
	return s, s.startSidecar(ctx, b, uid, gid)
}

func (s *mailSite) startStore(l *lab.Lab) (err error) {
	masters := filepath.Join(l.Dir(), "master-users")
	if err := os.WriteFile(masters, []byte(masterUser+":{PLAIN}"+masterSecret+"\n"), 0o644); err != nil {
		return err
	}
	if s.boxes, err = l.Dovecot(lab.DovecotOptions{Users: s.users, Config: fmt.Sprintf(masterConf, masters)}); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(s.boxes.ConfigPath()), "run", "master.pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("the PID file of Dovecot: %w", err)
	}
	s.store, err = proc.GroupOf(pid)
	return err
}

func (s *mailSite) startSidecar(ctx context.Context, b *bench, uid, gid int) error {
	secret, metrics := filepath.Join(s.home, "pull.secret"), filepath.Join(s.home, "pull-metrics.sock")
	config := filepath.Join(s.home, "pull.toml")
	err := errors.Join(
		os.WriteFile(secret, []byte(masterSecret+"\n"), 0o600), os.Chown(secret, uid, gid),
		os.WriteFile(config, fmt.Appendf(nil, `[[daemon]]
address = %q
[[store]]
address = %q
security = "plaintext"
auth = "master"
master = %q
secret_file = %q
probe = %q
[metrics]
listen = %q
`, "unix:"+filepath.Join(s.home, "control.sock"), s.boxes.IMAPAddr(), masterUser, secret, s.users[0], "unix:"+metrics), 0o644))
	if err != nil {
		return err
	}
	p, err := b.lab.Program(lab.ProgramOptions{
		Name: "weir-pull", Args: []string{b.program, "pull", "--config", config},
		User: uint32(uid), Group: uint32(gid), Ready: "unix:" + metrics,
	})
	if err != nil {
		return err
	}
	if s.sidecar, err = proc.GroupOf(p.PID()); err != nil {
		return err
	}
	web := unixClient(metrics)
	return lab.Poll(ctx, func() (bool, error) { return answersOK(web, "http://weir/healthz"), nil })
}

// pieces are all processes of the site.
func (s *mailSite) pieces() pieces {
	return pieces{{"daemon", s.daemon}, {"sidecar", s.sidecar}, {"Dovecot", s.store}}
}

// rest waits until daemon, sidecar and mail store have nothing left to do.
func (s *mailSite) rest(ctx context.Context, quiet time.Duration) error {
	_, err := settle(ctx, s.pieces().group(), quiet)
	return err
}

// list saves a list file, as an editor does.
func (s *mailSite) list(name, text string) error {
	path := filepath.Join(s.home, "lists", "block", name)
	if err := os.WriteFile(path+"~", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+"~", path)
}

// connections is how many mailboxes are worked on at once: as the sidecar does it
// by default.
const connections = 16

// atOnce does something for the numbers below n, some at once. The first error ends
// it.
func atOnce(ctx context.Context, n int, do func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, min(n, connections))
	var all sync.WaitGroup
	for w := range errs {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !failed.Load(); i = int(next.Add(1)) - 1 {
				if errs[w] = ctx.Err(); errs[w] == nil {
					errs[w] = do(i)
				}
				if errs[w] != nil {
					failed.Store(true)
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
