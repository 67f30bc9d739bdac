package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// SendmailOptions says how a Sendmail shall be set up. The zero value takes
// all mail and can deliver none.
type SendmailOptions struct {
	Hostname string // fully qualified; default "mx2.lab.test"

	Domains  []string // whose mail goes by LMTP to LMTPAddr
	LMTPAddr string   // "ADDRESS:PORT"
	SMTPAddr string   // where all other mail goes, by SMTP

	Aliases map[string]string // of addresses in Domains: "team@lab.test": "alice@lab.test, bob@lab.test"

	// Milters of the first listener, as INPUT_MAIL_FILTER writes them without
	// the name: "S=local:/path, F=T, T=C:10s;S:30s;R:30s;E:5m".
	Milters []string

	Listeners []string // names of further listeners without milters
	Config    string   // further lines of the .mc file, before the mailers
}

// Sendmail is a running Sendmail 8.17, from Debian's package but not installed.
type Sendmail struct {
	lab     *Lab
	dir     string
	host    string
	addrs   map[string]string
	syslog  *net.UnixConn
	process *process
}

// Sendmail starts a Sendmail.
func (l *Lab) Sendmail(o SendmailOptions) (*Sendmail, error) {
	dir, err := l.room("sendmail")
	if err != nil {
		return nil, err
	}
	s := &Sendmail{lab: l, dir: dir, host: cmp.Or(o.Hostname, "mx2.lab.test"), addrs: map[string]string{}}
	if err := s.setUp(o); err != nil {
		return nil, fmt.Errorf("lab: sendmail: %w", err)
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	l.keep(s)
	return s, nil
}

// Start starts a Sendmail again that was stopped; its queue and addresses are
// as they were.
func (s *Sendmail) Start() error {
	root, err := SendmailRoot()
	if err != nil {
		return err
	}
	if err := s.listenSyslog(); err != nil {
		return err
	}
	process, err := s.lab.launch(spec{
		name: "sendmail",
		args: []string{
			"/usr/bin/unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child",
			"/bin/sh", "-e", "-c", sendmailScript,
		},
		dir: s.dir, output: filepath.Join(s.dir, "output"), log: s.LogPath(),
		env:       []string{"LAB=" + s.lab.dir, "DIR=" + s.dir, "HOST=" + s.host, "ROOT=" + root},
		groupStop: true,
		network:   "tcp", address: s.Addr(""), speaks: true,
	})
	if err != nil {
		return errors.Join(err, s.syslog.Close())
	}
	s.process = process
	return nil
}

// sendmailScript runs as the first process of its namespaces. Sendmail trusts
// no file below a folder that all can write to, as /tmp is, waits a minute for a
// host name that is fully qualified, reads the hosts file whatever it is told,
// and logs to /dev/log only; so it gets its own of each. Of the folder that the
// lab lies in it sees the lab alone.
const sendmailScript = `
mount --make-rprivate /
hostname "$HOST"
mount --bind "$ROOT" "$DIR/root"
mount --rbind "$LAB" /mnt
mount -t tmpfs -o mode=755 tmpfs "$(dirname "$LAB")"
mkdir "$LAB"
mount --move /mnt "$LAB"
cd "$DIR"
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero random urandom tty; do
	touch dev/$d
	mount --bind /dev/$d dev/$d
done
ln -s "$DIR/syslog" dev/log
mount --rbind dev /dev
mount --bind hosts /etc/hosts
"$DIR/root/` + sendmailProgram + `" -C "$DIR/sendmail.cf" -bi
exec "$DIR/root/` + sendmailProgram + `" -C "$DIR/sendmail.cf" -bD -q1s
`

// Stop ends Sendmail and, with its PID namespace, everything that it started.
// It may be called again.
func (s *Sendmail) Stop() error {
	err := s.process.stop()
	_ = s.syslog.Close() // closed already when this is not the first time
	return err
}

// Kill ends Sendmail and everything that it started by SIGKILL.
func (s *Sendmail) Kill() error {
	err := s.process.kill()
	_ = s.syslog.Close()
	return err
}

// Addr gives the "ADDRESS:PORT" of a listener; the first one has the name "".
func (s *Sendmail) Addr(listener string) string { return s.addrs[listener] }

// LogPath gives the log file.
func (s *Sendmail) LogPath() string { return filepath.Join(s.dir, "mail.log") }

func (s *Sendmail) logs() []string { return []string{filepath.Join(s.dir, "output"), s.LogPath()} }

// WaitLog waits for the first log line that matches and gives its submatches.
func (s *Sendmail) WaitLog(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	return waitLog(ctx, s.LogPath(), re)
}

// QueueDir gives the queue directory.
func (s *Sendmail) QueueDir() string { return filepath.Join(s.dir, "queue") }

// WaitIdle waits until the queue is empty.
func (s *Sendmail) WaitIdle(ctx context.Context) error {
	return Poll(ctx, func() (bool, error) {
		entries, err := os.ReadDir(s.QueueDir())
		return len(entries) == 0, err
	})
}

// listenSyslog writes what comes to Sendmail's /dev/log into its log file.
func (s *Sendmail) listenSyslog() error {
	path := filepath.Join(s.dir, "syslog")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return errors.Join(err, conn.Close(), log.Close())
	}
	s.syslog = conn
	go copySyslog(log, conn)
	return nil
}

// copySyslog writes each datagram as a line, without its priority and with the
// host name that syslogd would add: "Jan  2 15:04:05 mx2 sendmail[1]: …".
func copySyslog(log io.WriteCloser, conn *net.UnixConn) {
	defer func() { _ = log.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		line := strings.TrimRight(string(buf[:n]), "\n\x00")
		if _, rest, ok := strings.Cut(line, ">"); ok {
			line = rest
		}
		const stamp = len("Jan _2 15:04:05 ")
		if len(line) > stamp {
			line = line[:stamp] + "mx2 " + line[stamp:]
		}
		if _, err := io.WriteString(log, line+"\n"); err != nil {
			return
		}
	}
}

func (s *Sendmail) setUp(o SendmailOptions) error {
	for _, name := range append([]string{""}, o.Listeners...) {
		addr, err := s.lab.FreeAddr()
		if err != nil {
			return err
		}
		s.addrs[name] = addr
	}
	var aliases strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.Aliases)) {
		fmt.Fprintf(&aliases, "%s: %s\n", name, o.Aliases[name])
	}
	if err := errors.Join(
		os.Mkdir(filepath.Join(s.dir, "dev"), 0o755),
		os.Mkdir(filepath.Join(s.dir, "root"), 0o755),
		os.Mkdir(s.QueueDir(), 0o700),
		write(filepath.Join(s.dir, "hosts"), "127.0.0.1 localhost "+s.host+"\n"),
		write(filepath.Join(s.dir, "service.switch"), "hosts files\naliases files\npasswd files\n"),
		write(filepath.Join(s.dir, "local-host-names"), s.host+"\n"),
		write(filepath.Join(s.dir, "statistics"), ""),
		write(filepath.Join(s.dir, "aliases"), aliases.String()),
		write(filepath.Join(s.dir, "lab.mc"), s.mc(o)),
	); err != nil {
		return err
	}
	return s.makeCf()
}

// makeCf runs the .mc file through m4.
func (s *Sendmail) makeCf() error {
	root, err := SendmailRoot()
	if err != nil {
		return err
	}
	cf := filepath.Join(root, "usr/share/sendmail/cf") + "/"
	cmd := exec.Command("m4", "-D_CF_DIR_="+cf, cf+"m4/cf.m4", "lab.mc")
	cmd.Dir = s.dir
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("m4: %w", err)
	}
	return write(filepath.Join(s.dir, "sendmail.cf"), string(out))
}

func (s *Sendmail) mc(o SendmailOptions) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	listen := func(name, addr, options string) {
		host, port, _ := net.SplitHostPort(addr)
		line("DAEMON_OPTIONS(`Family=inet, Name=%s, Addr=%s, Port=%s%s')dnl", name, host, port, options)
	}
	b.WriteString(strings.NewReplacer("@DIR@", s.dir, "@HOST@", s.host).Replace(sendmailMc))
	var filters []string
	for i, m := range o.Milters {
		name := fmt.Sprintf("filter%d", i+1)
		filters = append(filters, name)
		line("MAIL_FILTER(`%s', `%s')dnl", name, m)
	}
	listen("MTA", s.Addr(""), ", InputMailFilters="+strings.Join(filters, ";"))
	for _, name := range o.Listeners {
		listen(name, s.Addr(name), "")
	}
	b.WriteString(o.Config)
	line("MAILER(`local')dnl")
	line("MAILER(`smtp')dnl")
	line("LOCAL_CONFIG")
	line("C{LabDomains}%s", strings.Join(o.Domains, " "))
	b.WriteString(sendmailRules)
	for _, m := range []struct{ name, flags, addr string }{{"lablmtp", "mDFMuXzA", o.LMTPAddr}, {"labsmtp", "mDFMuXa", o.SMTPAddr}} {
		host, port, _ := net.SplitHostPort(cmp.Or(m.addr, "127.0.0.1:1"))
		line("M%s, P=[IPC], F=%s, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=990,", m.name, m.flags)
		line("\tT=DNS/RFC822/SMTP, A=TCP [%s] %s", host, port)
	}
	return b.String()
}

const sendmailMc = "divert(0)dnl\n" +
	"VERSIONID(`lab')dnl\n" +
	"OSTYPE(`linux')dnl\n" +
	"define(`confDOMAIN_NAME', `@HOST@')dnl\n" +
	"define(`QUEUE_DIR', `@DIR@/queue')dnl\n" +
	"define(`STATUS_FILE', `@DIR@/statistics')dnl\n" +
	"define(`confPID_FILE', `@DIR@/pid')dnl\n" +
	"define(`confCW_FILE', `@DIR@/local-host-names')dnl\n" +
	"define(`confCONTROL_SOCKET_NAME', `')dnl\n" +
	"define(`HELP_FILE', `@DIR@/none')dnl\n" +
	"define(`ALIAS_FILE', `@DIR@/aliases')dnl\n" +
	"define(`confSERVICE_SWITCH_FILE', `@DIR@/service.switch')dnl\n" +
	"define(`confHOSTS_FILE', `@DIR@/hosts')dnl\n" +
	"define(`confDONT_PROBE_INTERFACES', `True')dnl\n" +
	"define(`confBIND_OPTS', `-DNSRCH -DEFNAMES')dnl\n" +
	"define(`confTO_IDENT', `0s')dnl\n" +
	"define(`confDELIVERY_MODE', `background')dnl\n" +
	"define(`confREFUSE_LA', `1000')dnl\n" +
	"define(`confQUEUE_LA', `1000')dnl\n" +
	"define(`confDEF_USER_ID', `8:8')dnl\n" +
	"define(`confLOG_LEVEL', `14')dnl\n" +
	"define(`confMILTER_LOG_LEVEL', `14')dnl\n" +
	"define(`confAUTH_MECHANISMS', `')dnl\n" +
	"FEATURE(`no_default_msa')dnl\n" +
	"FEATURE(`nocanonify')dnl\n" +
	"FEATURE(`accept_unresolvable_domains')dnl\n" +
	"FEATURE(`accept_unqualified_senders')dnl\n" +
	"FEATURE(`promiscuous_relay')dnl\n"

// sendmailRules sends local names through the aliases, LabDomains to one mailer
// and all else to the other. Left and right side are parted by a tab.
const sendmailRules = "LOCAL_RULE_0\n" +
	"R$* < @ $=w . > $*\t$@ $1 < @ $2 . > $3\n" +
	"R$* < @ $=w > $*\t$@ $1 < @ $2 > $3\n" +
	"R$* < @ $={LabDomains} . > $*\t$#lablmtp $@ lab $: $1 < @ $2 . > $3\n" +
	"R$* < @ $={LabDomains} > $*\t$#lablmtp $@ lab $: $1 < @ $2 . > $3\n" +
	"R$* < @ $* > $*\t$#labsmtp $@ lab $: $1 < @ $2 > $3\n" +
	"MAILER_DEFINITIONS\n"
