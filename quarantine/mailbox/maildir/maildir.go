// Package maildir reaches mailboxes on the local disk that are kept as Maildir
// with folders as Maildir++, as a mailbox.Backend. Dovecot may use them at the same
// time, and so may others that keep to the rules of Maildir.
//
// It owns the files' names and what they mean: flags, the letters of Dovecot's
// keywords, folders in modified UTF-7. It never changes a file: mail is taken out
// by unlinking, put back by writing a new file in tmp and renaming it, so that a
// file with several hard links (one delivery to several mailboxes) stays as it is
// in the others. Of Dovecot's own files it writes dovecot-keywords alone, where a
// keyword has no letter yet; dovecot-uidlist and the indexes are Dovecot's, which
// sees what was added and removed when it next looks at the folder, and gives what
// was put back a new UID.
//
// A mailbox and all in it is reached through an os.Root: no name, and no symbolic
// link that a user has put there, leads out of it. Users' names become parts of
// paths only after they were checked; folders are looked up among those that there
// are.
//
// What it can't do: mail that Dovecot compresses or encrypts is not readable here,
// which Find reports; folders that are symbolic links are left out; LAYOUT=fs is
// not known; a quota is neither asked nor counted,
// only a full disk is ErrOverQuota.
package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Options says where mailboxes are. Root and Layout are needed.
type Options struct {
	Root string // folder that holds all mailboxes
	// Layout is the path of a user's Maildir below Root, with %u for the whole name,
	// %n for the part before the @ and %d for the part after it: "%d/%n/Maildir".
	Layout string
	// MaxBytes is the size of the largest message taken; default 128 MiB.
	MaxBytes int64
}

// DefaultMaxBytes is the default of Options.MaxBytes.
const DefaultMaxBytes = 128 << 20

// Backend reaches the mailboxes below one folder.
type Backend struct {
	o      Options
	parser *message.Parser
}

// New gives a Backend. It does not look at the disk.
func New(o Options) (*Backend, error) {
	switch {
	case o.Root == "":
		return nil, errors.New("maildir: no Root: the folder that holds all mailboxes is needed")
	case !strings.Contains(o.Layout, "%u") && !strings.Contains(o.Layout, "%n"):
		return nil, fmt.Errorf("maildir: layout %q names no user: write it as %%d/%%n/Maildir or %%u/Maildir", o.Layout)
	case strings.HasPrefix(o.Layout, "/"):
		return nil, fmt.Errorf("maildir: layout %q begins with a slash: it is below Root", o.Layout)
	case o.MaxBytes < 0:
		return nil, fmt.Errorf("maildir: MaxBytes is %d", o.MaxBytes)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	return &Backend{o: o, parser: mailbox.NewParser()}, nil
}

// maxUser bounds a user's name, in bytes.
const maxUser = 255

// path gives where a user's Maildir is.
func (o *Options) path(user string) (string, error) {
	bad := user == "" || len(user) > maxUser || strings.Contains(user, "/") ||
		strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r == 0x7f })
	name, domain, _ := strings.Cut(user, "@")
	fill := strings.NewReplacer("%u", user, "%n", name, "%d", domain)
	elements := strings.Split(o.Layout, "/")
	for i, e := range elements {
		elements[i] = fill.Replace(e)
		bad = bad || elements[i] == "" || elements[i] == "." || elements[i] == ".."
	}
	if bad {
		return "", fmt.Errorf("%w: %.80q is no name of a user", mailbox.ErrNoMailbox, user)
	}
	return strings.Join(elements, "/"), nil
}

// Open opens the mailbox of a user; see mailbox.Backend.
func (b *Backend) Open(ctx context.Context, user string) (mailbox.Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := b.o.path(user)
	if err != nil {
		return nil, err
	}
	all, err := os.OpenRoot(b.o.Root)
	if err != nil {
		// Not one mailbox is missing but all: a disk that is not mounted, say.
		return nil, fmt.Errorf("%w: %w", mailbox.ErrUnreachable, err)
	}
	defer func() { _ = all.Close() }()
	root, err := all.OpenRoot(path)
	if err == nil {
		if _, err = root.Stat("cur"); err == nil {
			return &account{o: &b.o, parser: b.parser, root: root}, nil
		}
		_ = root.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", mailbox.ErrNoMailbox, err)
	}
	return nil, fmt.Errorf("open the mailbox of %.80q: %w", user, meaning(err))
}

// meaning says what an error of the file system means to a caller.
func meaning(err error) error {
	for _, m := range []struct{ cause, meaning error }{
		{fs.ErrPermission, mailbox.ErrRefused}, {syscall.EROFS, mailbox.ErrRefused}, {syscall.ELOOP, mailbox.ErrRefused},
		{syscall.ENOTDIR, mailbox.ErrRefused},
		{syscall.ENOSPC, mailbox.ErrOverQuota}, {syscall.EDQUOT, mailbox.ErrOverQuota},
		{syscall.EIO, mailbox.ErrUnreachable}, {syscall.ESTALE, mailbox.ErrUnreachable}, {syscall.EMFILE, mailbox.ErrUnreachable},
		{syscall.ENFILE, mailbox.ErrUnreachable},
	} {
		if errors.Is(err, m.cause) {
			return fmt.Errorf("%w: %w", m.meaning, err)
		}
	}
	return err
}

// account is one mailbox.
type account struct {
	o      *Options
	parser *message.Parser
	root   *os.Root
}

// Close lets go of the mailbox; see mailbox.Account.
func (a *account) Close() error { return a.root.Close() }
