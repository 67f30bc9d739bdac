package imap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// folder is one that the server lists.
type folder struct {
	name    string
	role    mailbox.Role
	leftOut bool // it is not the user's own, or shows what lies in others
}

// folders lists the folders of the user's own that hold mail, INBOX first.
func (a *Account) folders(ctx context.Context) ([]folder, error) {
	all, err := a.listed(ctx)
	return slices.DeleteFunc(all, func(f folder) bool { return f.leftOut }), err
}

// listed lists all folders, INBOX first.
func (a *Account) listed(ctx context.Context) ([]folder, error) {
	prefixes, err := a.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	patterns := []string{"*"}
	for _, p := range prefixes {
		if p.personal && p.prefix != "" {
			patterns = append(patterns, p.prefix+"*")
		}
	}
	var all []folder
	for _, pattern := range patterns {
		list, err := a.list(ctx, pattern)
		if err != nil {
			return nil, fmt.Errorf("list folders: %w", err)
		}
		for _, l := range list {
			if !slices.ContainsFunc(all, func(f folder) bool { return f.name == l.Mailbox }) {
				leftOut := !personal(prefixes, l.Mailbox) || virtual(l.Attrs) || a.skipped(l)
				all = append(all, folder{l.Mailbox, role(l), leftOut})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y folder) int {
		switch {
		case x.name == "INBOX":
			return -1
		case y.name == "INBOX":
			return 1
		}
		return strings.Compare(x.name, y.name)
	})
	return all, nil
}

// list runs LIST, with the folders' roles where the server tells them (RFC 6154).
func (a *Account) list(ctx context.Context, pattern string) (list []*imap.ListData, err error) {
	var o *imap.ListOptions
	if a.caps.Has(imap.CapListExtended) && a.caps.Has(imap.CapSpecialUse) {
		o = &imap.ListOptions{ReturnSpecialUse: true}
	}
	err = a.do(ctx, 0, func() error {
		list, err = a.client.List("", pattern, o).Collect()
		return err
	})
	return list, err
}

// namespace is where folders of one owner begin (RFC 2342).
type namespace struct {
	prefix   string
	personal bool
}

func (a *Account) namespaces(ctx context.Context) ([]namespace, error) {
	if !a.caps.Has(imap.CapNamespace) {
		return nil, nil
	}
	var all []namespace
	err := a.do(ctx, 0, func() error {
		data, err := a.client.Namespace().Wait()
		if err != nil {
			return err
		}
		for _, n := range data.Personal {
			all = append(all, namespace{n.Prefix, true})
		}
		for _, n := range slices.Concat(data.Other, data.Shared) {
			all = append(all, namespace{n.Prefix, false})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask for namespaces: %w", err)
	}
	return all, nil
}

// personal reports whether a folder is the user's own: the longest prefix counts,
// and where there is none nobody else's folders are known.
func personal(all []namespace, name string) bool {
	own, longest := true, -1
	for _, n := range all {
		inside := strings.HasPrefix(name, n.prefix) || name == strings.TrimRight(n.prefix, "/.")
		if inside && len(n.prefix) > longest {
			own, longest = n.personal, len(n.prefix)
		}
	}
	return own || name == "INBOX"
}

// virtual reports whether a folder holds no mail, or shows what lies in others
// (RFC 6154, RFC 8457).
func virtual(attrs []imap.MailboxAttr) bool {
	return slices.ContainsFunc(attrs, func(attr imap.MailboxAttr) bool {
		switch attr {
		case imap.MailboxAttrNoSelect, imap.MailboxAttrNonExistent, imap.MailboxAttrAll, imap.MailboxAttrFlagged, imap.MailboxAttrImportant:
			return true
		}
		return false
	})
}

func (a *Account) skipped(l *imap.ListData) bool {
	return slices.ContainsFunc(a.o.Skip, func(skip string) bool {
		rest, ok := strings.CutPrefix(l.Mailbox, skip)
		return ok && (rest == "" || l.Delim != 0 && strings.HasPrefix(rest, string(l.Delim)))
	})
}

func role(l *imap.ListData) mailbox.Role {
	for _, attr := range l.Attrs {
		switch attr {
		case imap.MailboxAttrArchive:
			return mailbox.RoleArchive
		case imap.MailboxAttrDrafts:
			return mailbox.RoleDrafts
		case imap.MailboxAttrJunk:
			return mailbox.RoleJunk
		case imap.MailboxAttrSent:
			return mailbox.RoleSent
		case imap.MailboxAttrTrash:
			return mailbox.RoleTrash
		}
	}
	return mailbox.RoleOf(l.Mailbox)
}

// open opens a folder anew, to look (EXAMINE) or to write (SELECT). It gives the
// number of messages in it.
func (a *Account) open(ctx context.Context, name string, write bool) (uint32, error) {
	if name == "" || len(name) > maxFolder || strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		return 0, fmt.Errorf("%w: %.80q is no name of a folder", mailbox.ErrFolderGone, name)
	}
	a.selected = ""
	var data *imap.SelectData
	err := a.do(ctx, 0, func() (err error) {
		data, err = a.client.Select(name, &imap.SelectOptions{ReadOnly: !write}).Wait()
		return err
	})
	if errors.Is(err, mailbox.ErrRefused) {
		err = a.whyClosed(ctx, name, err)
	}
	if err != nil {
		return 0, fmt.Errorf("open folder %.80q: %w", name, err)
	}
	a.selected, a.writable, a.validity, a.next = name, write, data.UIDValidity, data.UIDNext
	return data.NumMessages, nil
}

// leave closes the folder that is open, if the server can do so without expunging
// (RFC 3691). Dovecot breaks off a session whose folder its user deletes, and the
// user's too if he makes it anew at once.
func (a *Account) leave(ctx context.Context) {
	if a.selected != "" && a.caps.Has(imap.CapUnselect) {
		a.selected = ""
		_ = a.do(ctx, 0, func() error { return a.client.Unselect().Wait() })
	}
}

// whyClosed asks whether a folder that the server refuses to open is not there:
// not every server says so by itself.
func (a *Account) whyClosed(ctx context.Context, name string, refusal error) error {
	if strings.ContainsAny(name, "*%") {
		return refusal
	}
	list, err := a.list(ctx, name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(l *imap.ListData) bool {
		return l.Mailbox == name && !slices.Contains(l.Attrs, imap.MailboxAttrNonExistent)
	}) {
		return refusal
	}
	return fmt.Errorf("%w: %w", mailbox.ErrFolderGone, refusal)
}

// reach opens the folder of a copy and checks that its ID still holds. With
// fresh, what the folder holds is read anew; else an open folder will do.
func (a *Account) reach(ctx context.Context, c *mailbox.Copy, write, fresh bool) (imap.UID, error) {
	validity, uid, err := parseID(c.ID)
	if err != nil {
		return 0, err
	}
	if fresh || a.selected != c.Folder || write && !a.writable {
		if _, err := a.open(ctx, c.Folder, write); err != nil {
			return 0, err
		}
	}
	if a.validity != validity {
		return 0, fmt.Errorf("%w: UIDVALIDITY of folder %.80q was %d and is %d", mailbox.ErrStale, c.Folder, validity, a.validity)
	}
	return uid, nil
}

func makeID(validity uint32, uid imap.UID) string { return fmt.Sprintf("%d/%d", validity, uid) }

func parseID(id string) (validity uint32, uid imap.UID, err error) {
	v, u, _ := strings.Cut(id, "/")
	validity64, err1 := strconv.ParseUint(v, 10, 32)
	uid64, err2 := strconv.ParseUint(u, 10, 32)
	if err1 != nil || err2 != nil || validity64 == 0 || uid64 == 0 {
		return 0, 0, fmt.Errorf("%w: %.40q is not UIDVALIDITY/UID", mailbox.ErrStale, id)
	}
	return uint32(validity64), imap.UID(uid64), nil
}
