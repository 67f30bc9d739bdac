package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// mailUID owns all mailboxes. Dovecot needs no user of that number to exist.
const mailUID = 5000

// DovecotOptions says how a Dovecot shall be set up.
type DovecotOptions struct {
	Users  []string          // addresses, which are the logins too; the password is Password
	Sieve  map[string]string // by user
	Config string            // further dovecot.conf
}

// Password is that of every user of a lab's Dovecot.
const Password = "lab-password"

// DoveadmKey is the key of the API of doveadm of a lab's Dovecot.
const DoveadmKey = "lab-api-key"

// Dovecot is a running Dovecot: LMTP, IMAP and POP3 over Maildir, and the API of
// doveadm with the two commands that weir pull is said to need.
type Dovecot struct {
	lab                             *Lab
	dir                             string
	lmtp, imap, pop3, auth, doveadm string
	process                         *process
}

// Dovecot starts a Dovecot.
func (l *Lab) Dovecot(o DovecotOptions) (*Dovecot, error) {
	dir, err := l.room("dovecot")
	if err != nil {
		return nil, err
	}
	d := &Dovecot{lab: l, dir: dir}
	if err := d.setUp(o); err != nil {
		return nil, fmt.Errorf("lab: dovecot: %w", err)
	}
	if err := d.Start(); err != nil {
		return nil, err
	}
	l.keep(d)
	return d, nil
}

// Start starts a Dovecot again that was stopped.
func (d *Dovecot) Start() error {
	process, err := d.lab.launch(spec{
		name: "dovecot",
		args: []string{"/usr/sbin/dovecot", "-F", "-c", d.ConfigPath()},
		dir:  d.dir, output: filepath.Join(d.dir, "output"), log: d.LogPath(),
		network: "tcp", address: d.lmtp, speaks: true,
	})
	if err != nil {
		return err
	}
	d.process = process
	return nil
}

// Stop ends Dovecot and all its processes, which takes it a second. It may be
// called again.
func (d *Dovecot) Stop() error { return d.process.stop() }

// Kill ends Dovecot and all its processes by SIGKILL.
func (d *Dovecot) Kill() error { return d.process.kill() }

// Reload makes Dovecot read its configuration again.
func (d *Dovecot) Reload() error { return d.process.signal(syscall.SIGHUP) }

// LMTP gives the LMTP listener as a Postfix transport and next hop.
func (d *Dovecot) LMTP() string { return "lmtp:inet:" + d.lmtp }

// LMTPAddr gives the LMTP listener as "ADDRESS:PORT".
func (d *Dovecot) LMTPAddr() string { return d.lmtp }

// DoveadmAddr gives the address of doveadm's API, "ADDRESS:PORT".
func (d *Dovecot) DoveadmAddr() string { return d.doveadm }

// IMAPAddr gives the IMAP listener as "ADDRESS:PORT".
func (d *Dovecot) IMAPAddr() string { return d.imap }

// POP3Addr gives the POP3 listener as "ADDRESS:PORT".
func (d *Dovecot) POP3Addr() string { return d.pop3 }

// Auth gives the listener where Postfix asks about logins (PostfixOptions.SASL).
func (d *Dovecot) Auth() string { return d.auth }

// ConfigPath gives dovecot.conf, for doveadm -c.
func (d *Dovecot) ConfigPath() string { return filepath.Join(d.dir, "dovecot.conf") }

// LogPath gives the log file.
func (d *Dovecot) LogPath() string { return filepath.Join(d.dir, "dovecot.log") }

func (d *Dovecot) logs() []string { return []string{filepath.Join(d.dir, "output"), d.LogPath()} }

func (d *Dovecot) setUp(o DovecotOptions) error {
	for _, addr := range []*string{&d.lmtp, &d.imap, &d.pop3, &d.auth, &d.doveadm} {
		var err error
		if *addr, err = d.lab.FreeAddr(); err != nil {
			return err
		}
	}
	var users strings.Builder
	for _, u := range o.Users {
		fmt.Fprintf(&users, "%s:{PLAIN}%s::::::\n", u, Password)
	}
	if err := errors.Join(
		write(filepath.Join(d.dir, "users"), users.String()),
		write(d.ConfigPath(), d.config(o)),
		os.Mkdir(filepath.Join(d.dir, "mail"), 0o755),
		os.Chown(filepath.Join(d.dir, "mail"), mailUID, mailUID),
	); err != nil {
		return err
	}
	for user, script := range o.Sieve {
		home := filepath.Join(d.dir, "mail", user)
		path := filepath.Join(home, "sieve")
		if err := errors.Join(os.MkdirAll(home, 0o755), write(path, script), os.Chown(home, mailUID, mailUID), os.Chown(path, mailUID, mailUID)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dovecot) config(o DovecotOptions) string {
	port := func(addr string) string {
		_, port, _ := net.SplitHostPort(addr)
		return port
	}
	return strings.NewReplacer(
		"@DIR@", d.dir, "@IP@", d.lab.IP(), "@UID@", fmt.Sprint(mailUID),
		"@LMTP@", port(d.lmtp), "@IMAP@", port(d.imap), "@POP3@", port(d.pop3), "@AUTH@", port(d.auth), "@DOVEADM@", port(d.doveadm), "@KEY@", DoveadmKey,
	).Replace(dovecotConf) + o.Config
}

// dovecotConf stores messages with the CRLF that they came with, so that their
// exact bytes can be read from the files.
const dovecotConf = `base_dir = @DIR@/run
state_dir = @DIR@/run
instance_name = @DIR@
protocols = imap lmtp pop3
listen = @IP@
ssl = no
disable_plaintext_auth = no
log_path = @DIR@/dovecot.log
log_timestamp = "%Y-%m-%d %H:%M:%S "
auth_verbose = yes
postmaster_address = postmaster@lab.test
hostname = mail.lab.test
login_trusted_networks = 127.0.0.0/8
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
mail_location = maildir:@DIR@/mail/%u/Maildir
mail_save_crlf = yes
mail_uid = @UID@
mail_gid = @UID@
first_valid_uid = @UID@
first_valid_gid = @UID@
mail_plugins = $mail_plugins notify mail_log

namespace inbox {
  inbox = yes
  separator = /
  mailbox Junk {
    auto = subscribe
    special_use = \Junk
  }
}
passdb {
  driver = passwd-file
  args = username_format=%u @DIR@/users
}
userdb {
  driver = passwd-file
  args = username_format=%u @DIR@/users
  default_fields = uid=@UID@ gid=@UID@ home=@DIR@/mail/%u
}
service imap-login {
  inet_listener imap {
    port = @IMAP@
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  inet_listener pop3 {
    port = @POP3@
  }
  inet_listener pop3s {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    port = @LMTP@
  }
}
service auth {
  inet_listener {
    port = @AUTH@
  }
}
doveadm_api_key = @KEY@
doveadm_allowed_commands = search,mailbox status
service doveadm {
  service_count = 100
  inet_listener http {
    port = @DOVEADM@
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
protocol lmtp {
  mail_plugins = $mail_plugins sieve
}
protocol imap {
  mail_max_userip_connections = 100
}
plugin {
  sieve = file:@DIR@/mail/%u/sieve
  mail_log_events = delete undelete expunge copy save mailbox_create
  mail_log_fields = uid box msgid size from subject
}
`

// StoredMail is a message in a mailbox.
type StoredMail struct {
	Path  string
	Flags string // the Maildir letters: "S" seen, "R" answered, "T" deleted …; empty for a new one
	Raw   []byte // what the delivery left: Dovecot's and the MTA's fields, then the message
}

// Mailbox gives the messages in a folder of a user, in the order of their
// delivery. The folder is "INBOX", or a name with "/" between its levels. What
// does not exist is empty.
func (d *Dovecot) Mailbox(user, folder string) ([]StoredMail, error) {
	dir := filepath.Join(d.dir, "mail", user, "Maildir")
	if folder != "INBOX" {
		dir = filepath.Join(dir, "."+strings.ReplaceAll(folder, "/", "."))
	}
	var mails []StoredMail
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			path := filepath.Join(dir, sub, e.Name())
			raw, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			_, flags, _ := strings.Cut(e.Name(), ":2,")
			mails = append(mails, StoredMail{Path: path, Flags: flags, Raw: raw})
		}
	}
	slices.SortFunc(mails, func(a, b StoredMail) int { return strings.Compare(deliveryOrder(a.Path), deliveryOrder(b.Path)) })
	return mails, nil
}

// deliveryOrder makes a key of a Maildir file's name, "SECONDS.M123P45.host,S=…":
// the microseconds are not padded.
func deliveryOrder(path string) string {
	seconds, rest, _ := strings.Cut(filepath.Base(path), ".M")
	micros, rest, _ := strings.Cut(rest, "P")
	return fmt.Sprintf("%s.%06s.%s", seconds, micros, rest)
}

// Folders gives the names of a user's folders that exist, INBOX first.
func (d *Dovecot) Folders(user string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.dir, "mail", user, "Maildir"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	folders := []string{"INBOX"}
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), "."); ok && e.IsDir() {
			folders = append(folders, strings.ReplaceAll(name, ".", "/"))
		}
	}
	return folders, nil
}

// Wait waits until a folder has at least n messages, and gives them.
func (d *Dovecot) Wait(ctx context.Context, user, folder string, n int) ([]StoredMail, error) {
	var mails []StoredMail
	err := Poll(ctx, func() (bool, error) {
		var err error
		mails, err = d.Mailbox(user, folder)
		return len(mails) >= n, err
	})
	if err != nil {
		return mails, fmt.Errorf("%s of %s has %d of %d messages: %w", folder, user, len(mails), n, err)
	}
	return mails, nil
}
