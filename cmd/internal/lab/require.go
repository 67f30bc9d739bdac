package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Need is a piece of software that a test needs.
type Need string

// What a lab can run.
const (
	NeedPostfix  Need = "postfix"
	NeedDovecot  Need = "dovecot"
	NeedSendmail Need = "sendmail"
	NeedOpenDKIM Need = "opendkim"
	NeedRspamd   Need = "rspamd"
	NeedBIND     Need = "bind" // its tools alone: no server runs
)

// Package is a Debian package, and a file that is there when it is installed.
type Package struct{ Name, File string }

// Packages gives the Debian packages that a need is met by. Sendmail is no
// package to install, since it conflicts with Postfix: SendmailPackages are
// unpacked into a folder instead.
func Packages(n Need) []Package {
	switch n {
	case NeedPostfix:
		return []Package{{"postfix", "/usr/lib/postfix/sbin/master"}}
	case NeedDovecot:
		return []Package{
			{"dovecot-core", "/usr/sbin/dovecot"},
			{"dovecot-imapd", "/usr/lib/dovecot/imap"},
			{"dovecot-lmtpd", "/usr/lib/dovecot/lmtp"},
			{"dovecot-pop3d", "/usr/lib/dovecot/pop3"},
			{"dovecot-sieve", "/usr/bin/sievec"},
		}
	case NeedSendmail:
		return []Package{{"m4", "/usr/bin/m4"}}
	case NeedOpenDKIM:
		return []Package{{"opendkim", "/usr/sbin/opendkim"}}
	case NeedBIND:
		return []Package{{"bind9-utils", "/usr/bin/named-checkzone"}}
	case NeedRspamd:
		return []Package{{"rspamd", "/usr/bin/rspamd"}}
	}
	return nil
}

// SendmailPackages gives the Debian packages whose files SendmailRoot holds.
func SendmailPackages() []string { return []string{"sendmail-bin", "sendmail-base", "sendmail-cf"} }

// SendmailRoot gives the folder into which Sendmail is unpacked: sendmail in
// WEIR_LAB_CACHE, or in weir-lab in the user's cache folder.
func SendmailRoot() (string, error) {
	cache := os.Getenv("WEIR_LAB_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("lab: no cache folder: %w; set WEIR_LAB_CACHE to one", err)
		}
		cache = filepath.Join(user, "weir-lab")
	}
	return filepath.Abs(filepath.Join(cache, "sendmail"))
}

const sendmailProgram = "usr/libexec/sendmail/sendmail"

// SendmailUnpacked reports whether SendmailRoot holds a Sendmail.
func SendmailUnpacked() bool {
	root, err := SendmailRoot()
	return err == nil && exists(filepath.Join(root, sendmailProgram))
}

// Missing gives the names of the packages that are missing for the given needs.
func Missing(needs ...Need) []string {
	var missing []string
	for _, n := range needs {
		for _, p := range Packages(n) {
			if !exists(p.File) {
				missing = append(missing, p.Name)
			}
		}
		if n == NeedSendmail && !SendmailUnpacked() {
			missing = append(missing, "sendmail (unpacked)")
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// Require skips a test whose needs are missing, or which does not run as root.
// Where WEIR_REQUIRE_E2E is 1 it fails the test instead, with what to do.
func Require(t TB, needs ...Need) {
	t.Helper()
	var why string
	missing := Missing(needs...)
	switch {
	case len(missing) > 0:
		why = "needs " + strings.Join(missing, ", ") + ": run go run ./cmd/internal/lab/install"
		if slices.Contains(needs, NeedRspamd) {
			why += " -rspamd"
		}
	case os.Geteuid() != 0:
		why = "needs root: mail servers run under several users"
	case slices.Contains(needs, NeedSendmail) && exec.Command("/usr/bin/unshare", "--mount", "--uts", "--pid", "--fork", "true").Run() != nil:
		why = "needs the right to make namespaces for Sendmail (CAP_SYS_ADMIN)"
	default:
		return
	}
	if os.Getenv("WEIR_REQUIRE_E2E") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
