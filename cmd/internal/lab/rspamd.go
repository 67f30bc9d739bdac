package lab

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RspamdOptions says what an Rspamd shall refuse.
type RspamdOptions struct {
	Senders []string // envelope senders
	Domains []string // of envelope senders, without those below
	URLs    []string // hosts in URLs; in plain text rspamd finds those below a known public suffix only
	IPs     []string // of clients, or ranges of them
	SHA256  []string // of attachments, in hex; rspamd counts the line end before a boundary in, so encode them

	// Rules adds the rules that rspamd comes with and that need neither network
	// nor redis: header checks, regular expressions, HTML checks.
	Rules bool

	Config string // further rspamd.conf

	// Within is how long it may take to read its maps before it answers; 20 seconds
	// if 0.
	Within time.Duration
}

// Rspamd is a running rspamd that does for a milter client what Weir does with
// its lists: one process parses, looks four lists up and answers, without DNS,
// redis and statistics.
type Rspamd struct {
	lab     *Lab
	dir     string
	process *process
}

// Rspamd starts an rspamd.
func (l *Lab) Rspamd(o RspamdOptions) (*Rspamd, error) {
	dir, err := l.room("rspamd")
	if err != nil {
		return nil, err
	}
	r := &Rspamd{lab: l, dir: dir}
	if err := r.setUp(o); err != nil {
		return nil, fmt.Errorf("lab: rspamd: %w", err)
	}
	if r.process, err = l.launch(spec{
		name: "rspamd",
		args: []string{"/usr/bin/rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", filepath.Join(dir, "rspamd.conf")},
		dir:  dir, output: filepath.Join(dir, "output"), log: r.LogPath(),
		network: "unix", address: r.Socket(), within: o.Within,
	}); err != nil {
		return nil, err
	}
	l.keep(r)
	return r, nil
}

// Stop ends rspamd and its workers. It may be called again.
func (r *Rspamd) Stop() error { return r.process.stop() }

// Kill ends rspamd and its workers by SIGKILL.
func (r *Rspamd) Kill() error { return r.process.kill() }

// Socket gives the path of the milter's unix socket.
func (r *Rspamd) Socket() string { return filepath.Join(r.dir, "milter.sock") }

// Milter gives the milter as Postfix writes it.
func (r *Rspamd) Milter() string { return "unix:" + r.Socket() }

// LogPath gives the log file.
func (r *Rspamd) LogPath() string { return filepath.Join(r.dir, "rspamd.log") }

func (r *Rspamd) logs() []string { return []string{filepath.Join(r.dir, "output"), r.LogPath()} }

// PIDs gives the process IDs of rspamd's main process and its workers, for who
// wants to know what they cost.
func (r *Rspamd) PIDs() ([]int, error) { return groupMembers(r.process.pid) }

func (r *Rspamd) setUp(o RspamdOptions) error {
	owner, err := user.Lookup("_rspamd")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	for name, entries := range map[string][]string{"senders": o.Senders, "domains": o.Domains, "urls": o.URLs, "ips": o.IPs, "hashes": o.SHA256} {
		if err := write(filepath.Join(r.dir, name+".map"), strings.Join(entries, "\n")+"\n"); err != nil {
			return err
		}
	}
	filters, lua, scores := "", filepath.Join(r.dir, "start.lua"), ""
	if o.Rules {
		filters, lua = "chartable,regexp", "/usr/share/rspamd/rules/rspamd.lua"
		scores = ".include \"/etc/rspamd/groups.conf\"\n.include \"/etc/rspamd/composites.conf\"\n"
	}
	conf := strings.NewReplacer("@DIR@", r.dir, "@FILTERS@", filters, "@LUA@", lua).Replace(rspamdConf) + scores + o.Config
	return errors.Join(
		write(filepath.Join(r.dir, "rspamd.conf"), conf),
		write(filepath.Join(r.dir, "start.lua"), "require \"global_functions\"()\n"),
		os.Chown(r.dir, uid, -1),
	)
}

const rspamdConf = `
options {
  pidfile = "@DIR@/pid";
  filters = "@FILTERS@";
  cache_file = "@DIR@/symbols.cache";
  dynamic_conf = "@DIR@/dynamic";
  control_socket = "@DIR@/control.sock mode=0600";
  tempdir = "@DIR@";
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
  explicit_modules = ["multimap"];
  dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 0; }
}
logging { type = "file"; filename = "@DIR@/rspamd.log"; level = "warning"; }
worker "rspamd_proxy" {
  bind_socket = "@DIR@/milter.sock mode=0666";
  milter = yes;
  timeout = 120s;
  count = 1;
  upstream "local" { default = yes; self_scan = yes; }
}
lua = "@LUA@";
actions { reject = 15; add_header = 6; }
modules { path = "/usr/share/rspamd/plugins/multimap.lua"; }
multimap {
  LIST_SENDER { type = "from"; map = "@DIR@/senders.map"; score = 15.0; }
  LIST_DOMAIN { type = "from"; filter = "email:domain"; map = "@DIR@/domains.map"; score = 15.0; }
  LIST_URL { type = "url"; map = "@DIR@/urls.map"; score = 15.0; }
  LIST_IP { type = "ip"; map = "@DIR@/ips.map"; score = 15.0; }
  LIST_HASH { type = "selector"; selector = "attachments('hex', 'sha256')"; map = "@DIR@/hashes.map"; score = 15.0; }
}
`
