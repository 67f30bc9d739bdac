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
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// folder is one that the server lists.
type folder struct {
	name    string
	role    mailbox.Role
	leftOut bool   // it is not the user's own, or shows what lies in others
	state   *state // nil: not told
}

// folders lists the folders of the user's own that hold mail, INBOX first, with
// their state where the server tells it.
func (a *Account) folders(ctx context.Context) ([]folder, error) {
	all, err := a.listed(ctx, true)
	return slices.DeleteFunc(all, func(f folder) bool { return f.leftOut }), err
}

// listed lists all folders, INBOX first.
func (a *Account) listed(ctx context.Context, states bool) ([]folder, error) {
	list, err := a.survey(ctx, "*", states)
	if err != nil {
		return nil, err
	}
	for _, p := range a.spaces {
		if p.personal && p.prefix != "" {
			more, err := a.survey(ctx, p.prefix+"*", states)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
		}
	}
	var all []folder
	known := map[string]bool{}
	own, others := 0, 0
	a.costly = false
	for _, l := range list {
		if known[l.Mailbox] {
			continue
		}
		known[l.Mailbox] = true
		costly := showsOthers(l.Attrs) || a.skipped(l)
		a.costly = a.costly || costly
		f := folder{name: l.Mailbox, role: role(l), leftOut: costly || absent(l.Attrs) || !personal(a.spaces, l.Mailbox)}
		if l.Mailbox != a.selected {
			f.state = stateOf(l.Status)
		}
		if !f.leftOut {
			own++
		} else if !absent(l.Attrs) {
			others++
		}
		all = append(all, f)
	}
	a.costly = a.costly || others > own
	slices.SortStableFunc(all, func(x, y folder) int {
		switch {
		case x.name == inbox:
			return -1
		case y.name == inbox:
			return 1
		}
		return strings.Compare(x.name, y.name)
	})
	return all, nil
}

// survey lists the folders that a pattern fits, with their state if it is wanted
// and to be had; the namespaces, if they are not known yet, are asked for on the
// way.
//
// The state of a folder that is open is not asked for: what a server tells of it
// may be as old as the last look into it (RFC 9051 section 6.3.11; Dovecot does
// so). Where there are folders that show what lies in others, or more of others than
// of the user's own, that of no folder is: to tell it, a server opens more than we do.
func (a *Account) survey(ctx context.Context, pattern string, states bool) (list []*imap.ListData, err error) {
	states = states && !a.costly && a.caps.Has(imap.CapListExtended) && a.caps.Has(imap.CapListStatus)
	if states {
		list, err = a.ask(ctx, pattern, &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true})
	}
	if !states || errors.Is(err, mailbox.ErrRefused) {
		list, err = a.ask(ctx, pattern, nil)
	}
	return list, err
}

func (a *Account) ask(ctx context.Context, pattern string, states *imap.StatusOptions) (list []*imap.ListData, err error) {
	leave := states != nil && a.selected != "" && a.caps.Has(imap.CapUnselect)
	inform := a.spaces == nil && a.caps.Has(imap.CapNamespace)
	var left, informed error
	err = a.doSome(ctx, 4, 0, func() (err error) { // a list with states has two lines for each folder
		var leaving *imapclient.Command
		var spaces *imapclient.NamespaceCommand
		a.conn.hold()
		if leave {
			leaving = a.client.Unselect()
		}
		if inform {
			spaces = a.client.Namespace()
		}
		listing := a.client.List("", pattern, a.listOptions(states))
		a.conn.release()
		list, err = listing.Collect() // first: it comes in a stream, which has to be drained
		if leave {
			left = leaving.Wait()
		}
		if inform {
			var data *imap.NamespaceData
			if data, informed = spaces.Wait(); informed == nil {
				a.spaces = namespaces(data)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("list folders: %w", err)
	case informed != nil:
		return nil, fmt.Errorf("ask for namespaces: %w", meant(informed))
	case leave && left == nil:
		a.selected = ""
	}
	return list, nil
}

// listOptions has folders' roles told where the server can (RFC 6154), and their
// states if they are wanted (RFC 5819).
func (a *Account) listOptions(states *imap.StatusOptions) *imap.ListOptions {
	if !a.caps.Has(imap.CapListExtended) {
		return nil
	}
	return &imap.ListOptions{ReturnSpecialUse: a.caps.Has(imap.CapSpecialUse), ReturnStatus: states}
}

// namespace is where folders of one owner begin (RFC 2342).
type namespace struct {
	prefix   string
	personal bool
}

func namespaces(data *imap.NamespaceData) []namespace {
	all := []namespace{}
	for _, n := range data.Personal {
		all = append(all, namespace{n.Prefix, true})
	}
	for _, n := range slices.Concat(data.Other, data.Shared) {
		all = append(all, namespace{n.Prefix, false})
	}
	return all
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
	return own || name == inbox
}

// absent reports whether a folder holds no mail.
func absent(attrs []imap.MailboxAttr) bool {
	return slices.Contains(attrs, imap.MailboxAttrNoSelect) || slices.Contains(attrs, imap.MailboxAttrNonExistent)
}

// showsOthers reports whether a folder shows what lies in others (RFC 6154, RFC
// 8457).
func showsOthers(attrs []imap.MailboxAttr) bool {
	return slices.ContainsFunc(attrs, func(attr imap.MailboxAttr) bool {
		return attr == imap.MailboxAttrAll || attr == imap.MailboxAttrFlagged || attr == imap.MailboxAttrImportant
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

// nameable refuses texts that can be no folder's name in a command.
func nameable(name string) error {
	if name == "" || len(name) > maxFolder || strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		return fmt.Errorf("%w: %.80q is no name of a folder", mailbox.ErrFolderGone, name)
	}
	return nil
}

// open opens a folder anew, to look (EXAMINE) or to write (SELECT).
func (a *Account) open(ctx context.Context, name string, write bool) error {
	return a.in(ctx, at{folder: name, write: write, anew: true}, 0, nil)
}

// at says in which folder something is done.
type at struct {
	folder string
	write  bool
	anew   bool // what it holds is read anew, if it is open
}

// here is the folder that is open.
func (a *Account) here() at { return at{folder: a.selected, write: a.writable} }

// in does something in a folder. If that has to be opened, it is in one breath:
// send sends commands, and take takes the answers. Content is as for do.
func (a *Account) in(ctx context.Context, at at, content int64, send func() (take func() error)) error {
	if err := nameable(at.folder); err != nil {
		return err
	}
	if !at.anew && a.selected == at.folder && (a.writable || !at.write) {
		return a.do(ctx, content, func() error { return send()() })
	}
	a.selected = ""
	var opened error
	err := a.doSome(ctx, 2, content, func() error {
		take := func() error { return nil }
		a.conn.hold()
		opening := a.client.Select(at.folder, &imap.SelectOptions{ReadOnly: !at.write})
		if send != nil {
			take = send()
		}
		a.conn.release()
		err := take() // first: what comes in a stream has to be drained
		if opened = a.opened(at.folder, at.write, opening); opened != nil {
			return opened
		}
		return err
	})
	if opened != nil && a.broken == nil {
		return a.whyClosed(ctx, at.folder, meant(opened))
	}
	return err
}

// opened takes the answer to the opening of a folder.
func (a *Account) opened(name string, write bool, opening *imapclient.SelectCommand) error {
	data, err := opening.Wait()
	if err != nil {
		a.selected = ""
		return err
	}
	a.selected, a.writable = name, write
	a.validity, a.next, a.messages = data.UIDValidity, data.UIDNext, data.NumMessages
	return nil
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

// whyClosed gives the error of a folder that could not be opened. Where the server
// refuses it, it asks whether it is there: not every server says so by itself.
func (a *Account) whyClosed(ctx context.Context, name string, err error) error {
	if errors.Is(err, mailbox.ErrRefused) && !strings.ContainsAny(name, "*%") {
		list, listErr := a.ask(ctx, name, nil)
		there := slices.ContainsFunc(list, func(l *imap.ListData) bool {
			return l.Mailbox == name && !slices.Contains(l.Attrs, imap.MailboxAttrNonExistent)
		})
		switch {
		case listErr != nil:
			err = listErr
		case !there:
			err = fmt.Errorf("%w: %w", mailbox.ErrFolderGone, err)
		}
	}
	return fmt.Errorf("open folder %.80q: %w", name, err)
}

// reach opens the folder of a copy and checks that its ID still holds. With
// fresh, what the folder holds is read anew; else an open folder will do.
func (a *Account) reach(ctx context.Context, c *mailbox.Copy, write, fresh bool) (imap.UID, error) {
	validity, uid, err := parseID(c.ID)
	if err != nil {
		return 0, err
	}
	if fresh || a.selected != c.Folder || write && !a.writable {
		if err := a.open(ctx, c.Folder, write); err != nil {
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
