package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// PostfixOptions says how a Postfix shall be set up. The zero value takes all
// mail from the lab and throws it away.
type PostfixOptions struct {
	Hostname string // default "mx.lab.test"

	// Domains whose mail goes to DeliverTo. A client that is none of ours (see
	// smtptest.Options.XClient) may send to these only.
	Domains   []string
	DeliverTo string // transport and next hop: "lmtp:inet:127.1.2.3:24", "smtp:[127.1.2.3]:25"; default "discard:"

	// Recipients that exist in Domains; others are refused at RCPT. Empty: all do.
	Recipients []string

	RelayTo    string            // transport and next hop of all other mail; default "discard:"
	Transports map[string]string // of single domains or addresses
	Aliases    map[string]string // virtual aliases, as virtual(5): "team@lab.test": "alice@lab.test, bob@lab.test"
	Canonical  map[string]string // rewritten addresses, as canonical(5)

	Milters      []string // of the first listener: "unix:/path", "inet:127.1.2.3:8891"
	LocalMilters []string // non_smtpd_milters
	SASL         string   // Dovecot's auth listener (Dovecot.Auth), for SMTP AUTH on the first listener

	Listeners []PostfixListener // further smtpd
	Main      map[string]string // further main.cf, and what shall be otherwise
	Master    []string          // further master.cf lines
}

// PostfixListener is one more smtpd.
type PostfixListener struct {
	Name    string            // for Addr; of the socket when it is a unix socket
	Unix    bool              // a socket in public/, which only root and the group postdrop can reach
	Milters []string          // none by default
	Main    map[string]string // further -o options
}

// Postfix is a running Postfix.
type Postfix struct {
	lab     *Lab
	dir     string
	addrs   map[string]string // by listener; "" is the first
	process *process
}

// Postfix starts a Postfix.
func (l *Lab) Postfix(o PostfixOptions) (*Postfix, error) {
	dir, err := l.room("postfix")
	if err != nil {
		return nil, err
	}
	p := &Postfix{lab: l, dir: dir, addrs: map[string]string{}}
	if err := p.setUp(o); err != nil {
		return nil, fmt.Errorf("lab: postfix: %w", err)
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	l.keep(p)
	return p, nil
}

// Start starts a Postfix again that was stopped or killed; its queue and
// addresses are as they were.
func (p *Postfix) Start() error {
	process, err := p.lab.launch(spec{
		name: "postfix",
		args: []string{"/usr/lib/postfix/sbin/master", "-c", p.ConfigDir()},
		dir:  p.dir, output: filepath.Join(p.dir, "output"), log: p.LogPath(),
		network: "tcp", address: p.Addr(""), speaks: true,
	})
	if err != nil {
		return err
	}
	p.process = process
	return nil
}

// Stop ends Postfix and all its processes. It may be called again.
func (p *Postfix) Stop() error { return p.process.stop() }

// Kill ends Postfix and all its processes by SIGKILL.
func (p *Postfix) Kill() error { return p.process.kill() }

// Reload makes Postfix read its configuration again, as postfix reload does.
func (p *Postfix) Reload() error { return p.process.signal(syscall.SIGHUP) }

// Addr gives the address of a listener, "ADDRESS:PORT" or the path of a unix
// socket. The first one has the name "".
func (p *Postfix) Addr(listener string) string { return p.addrs[listener] }

// ConfigDir gives the folder of main.cf and master.cf, for postconf -c and the like.
func (p *Postfix) ConfigDir() string { return filepath.Join(p.dir, "etc") }

// QueueDir gives the queue directory, in which relative socket paths start.
func (p *Postfix) QueueDir() string { return filepath.Join(p.dir, "queue") }

// LogPath gives the log file.
func (p *Postfix) LogPath() string { return filepath.Join(p.dir, "log", "mail.log") }

func (p *Postfix) logs() []string { return []string{filepath.Join(p.dir, "output"), p.LogPath()} }

// WaitLog waits for the first log line that matches and gives its submatches.
func (p *Postfix) WaitLog(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	return waitLog(ctx, p.LogPath(), re)
}

// Submit hands a message to Postfix's sendmail command: local mail, which
// passes the LocalMilters. The arguments are those of sendmail(1).
func (p *Postfix) Submit(ctx context.Context, message []byte, args ...string) error {
	cmd := exec.CommandContext(ctx, "/usr/sbin/sendmail", append([]string{"-C", p.ConfigDir()}, args...)...)
	cmd.Stdin = bytes.NewReader(message)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sendmail %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Command runs one of Postfix's commands (postqueue, postsuper, postconf …) on
// this instance and gives its output. Not for "postfix stop": use Stop.
func (p *Postfix) Command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/sbin/"+name, append([]string{"-c", p.ConfigDir()}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// WaitIdle waits until the queue is empty: every message was delivered or bounced.
func (p *Postfix) WaitIdle(ctx context.Context) error {
	return Poll(ctx, func() (bool, error) {
		for _, queue := range []string{"maildrop", "incoming", "active", "deferred", "hold"} {
			empty := true
			err := filepath.WalkDir(filepath.Join(p.QueueDir(), queue), func(_ string, d os.DirEntry, err error) error {
				if errors.Is(err, os.ErrNotExist) { // delivered while we looked
					return nil
				}
				if err == nil && d.Type().IsRegular() {
					empty = false
				}
				return err
			})
			if err != nil || !empty {
				return false, err
			}
		}
		return true, nil
	})
}

func (p *Postfix) setUp(o PostfixOptions) error {
	if err := p.makeFolders(); err != nil {
		return err
	}
	first, err := p.lab.FreeAddr()
	if err != nil {
		return err
	}
	p.addrs[""] = first
	main, err := p.mainCf(o)
	if err != nil {
		return err
	}
	master, err := p.masterCf(o)
	if err != nil {
		return err
	}
	return errors.Join(
		write(filepath.Join(p.ConfigDir(), "main.cf"), main),
		write(filepath.Join(p.ConfigDir(), "master.cf"), master),
		// Postfix answers before postlogd has made the file.
		write(p.LogPath(), ""),
	)
}

// makeFolders makes what post-install would, with its owners and modes.
func (p *Postfix) makeFolders() error {
	postfix, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	group, err := user.LookupGroup("postdrop")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(postfix.Uid)
	if err != nil {
		return err
	}
	postdrop, err := strconv.Atoi(group.Gid)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o700)
	for _, d := range []struct {
		name     string
		uid, gid int
		mode     os.FileMode
	}{
		{"etc", 0, 0, 0o755}, {"log", 0, 0, 0o755}, {"data", uid, 0, mode}, {"queue", 0, 0, 0o755}, {"queue/pid", 0, 0, 0o755},
		{"queue/active", uid, 0, mode}, {"queue/bounce", uid, 0, mode}, {"queue/corrupt", uid, 0, mode}, {"queue/defer", uid, 0, mode},
		{"queue/deferred", uid, 0, mode}, {"queue/flush", uid, 0, mode}, {"queue/hold", uid, 0, mode}, {"queue/incoming", uid, 0, mode},
		{"queue/private", uid, 0, mode}, {"queue/saved", uid, 0, mode}, {"queue/trace", uid, 0, mode},
		{"queue/maildrop", uid, postdrop, 0o730 | os.ModeSticky}, {"queue/public", uid, postdrop, 0o710 | os.ModeSetgid},
	} {
		path := filepath.Join(p.dir, d.name)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, d.uid, d.gid), os.Chmod(path, d.mode)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Postfix) mainCf(o PostfixOptions) (string, error) {
	main := map[string]string{
		"compatibility_level":   "3.6",
		"queue_directory":       p.QueueDir(),
		"data_directory":        filepath.Join(p.dir, "data"),
		"command_directory":     "/usr/sbin",
		"daemon_directory":      "/usr/lib/postfix/sbin",
		"meta_directory":        "/etc/postfix",
		"shlib_directory":       "/usr/lib/postfix",
		"mail_owner":            "postfix",
		"setgid_group":          "postdrop",
		"maillog_file":          p.LogPath(),
		"maillog_file_prefixes": p.lab.dir,

		"myhostname":                cmp.Or(o.Hostname, "mx.lab.test"),
		"inet_interfaces":           "127.0.0.1", // must be an interface's own; listeners have theirs in master.cf
		"inet_protocols":            "ipv4",
		"mynetworks":                "127.0.0.0/8",
		"mydestination":             "",
		"local_transport":           "error:no local delivery",
		"alias_maps":                "",
		"alias_database":            "",
		"biff":                      "no",
		"recipient_delimiter":       "+",
		"mailbox_size_limit":        "0",
		"message_size_limit":        "157286400",
		"enable_long_queue_ids":     "yes",
		"enable_original_recipient": "yes",

		"smtpd_relay_restrictions":       "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
		"smtpd_authorized_xclient_hosts": "127.0.0.0/8",
		"smtpd_peername_lookup":          "no",
		"smtp_dns_support_level":         "disabled",
		"smtp_tls_security_level":        "none",
		"smtpd_tls_security_level":       "none",

		// Nothing waits longer than a test would like. With a backoff of 1s the queue
		// manager can meet the lock of the attempt before, and then waits a minute.
		"in_flow_delay":          "0",
		"smtpd_error_sleep_time": "0",
		"smtpd_soft_error_limit": "1000",
		"smtpd_hard_error_limit": "1000",
		"queue_run_delay":        "1s",
		"minimal_backoff_time":   "2s",
		"maximal_backoff_time":   "4s",
		"transport_retry_time":   "1s",

		"milter_protocol":       "6",
		"milter_default_action": "tempfail",
		"smtpd_milters":         strings.Join(o.Milters, ", "),
		"non_smtpd_milters":     strings.Join(o.LocalMilters, ", "),

		"virtual_mailbox_domains": strings.Join(o.Domains, ", "),
		"virtual_transport":       cmp.Or(o.DeliverTo, "discard:"),
		"default_transport":       cmp.Or(o.RelayTo, "discard:"),
	}
	var err error
	virtual := "static:x"
	if len(o.Recipients) > 0 {
		known := map[string]string{}
		for _, r := range o.Recipients {
			known[r] = "x"
		}
		if virtual, err = p.table("recipients", known); err != nil {
			return "", err
		}
	}
	main["virtual_mailbox_maps"] = virtual
	for key, table := range map[string]map[string]string{
		"virtual_alias_maps": o.Aliases, "canonical_maps": o.Canonical, "transport_maps": o.Transports,
	} {
		if main[key], err = p.table(key, table); err != nil {
			return "", err
		}
	}
	maps.Copy(main, o.Main)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(main)) {
		fmt.Fprintf(&b, "%s = %s\n", key, main[key])
	}
	return b.String(), nil
}

// table writes a lookup table and gives its name for main.cf.
func (p *Postfix) table(name string, entries map[string]string) (string, error) {
	if len(entries) == 0 {
		return "", nil
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		fmt.Fprintf(&b, "%s %s\n", key, entries[key])
	}
	path := filepath.Join(p.ConfigDir(), name)
	return "texthash:" + path, write(path, b.String())
}

func (p *Postfix) masterCf(o PostfixOptions) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s inet n - n - - smtpd\n", p.Addr(""))
	if o.SASL != "" {
		fmt.Fprintf(&b, "  -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=inet:%s\n", o.SASL)
	}
	for _, ln := range o.Listeners {
		service := ln.Name + " unix"
		p.addrs[ln.Name] = filepath.Join(p.QueueDir(), "public", ln.Name)
		if !ln.Unix {
			addr, err := p.lab.FreeAddr()
			if err != nil {
				return "", err
			}
			service = addr + " inet"
			p.addrs[ln.Name] = addr
		}
		fmt.Fprintf(&b, "%s n - n - - smtpd\n  -o { smtpd_milters = %s }\n", service, strings.Join(ln.Milters, ", "))
		for _, key := range slices.Sorted(maps.Keys(ln.Main)) {
			fmt.Fprintf(&b, "  -o { %s = %s }\n", key, ln.Main[key])
		}
	}
	b.WriteString(masterServices)
	for _, line := range o.Master {
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}

// masterServices is Debian's master.cf without chroot, and without what a lab
// has no use for. The queue manager wakes up each second: it passes over a
// message whose retry time has not come and, after a crash, looks for it in the
// incoming queue no sooner than at its next wakeup.
const masterServices = `pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`
