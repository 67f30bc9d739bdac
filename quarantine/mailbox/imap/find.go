package imap

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// describeBatch is how many messages are described by one command.
	describeBatch = 100
	// namesBytes is how much of a message's fields that name it is read.
	namesBytes = 8 << 10
	// maxHits bounds what is taken of one SEARCH.
	maxHits = 50_000
)

// Find looks for messages; see mailbox.Account.
func (a *Account) Find(ctx context.Context, targets []mailbox.Target) iter.Seq2[mailbox.Found, error] {
	return func(yield func(mailbox.Found, error) bool) {
		folders, err := a.folders(ctx)
		if err != nil {
			yield(mailbox.Found{}, err)
			return
		}
		defer a.leave(ctx)
		f := &finder{Account: a, targets: mailbox.NewTargets(targets), folders: folders, yield: yield, given: map[given]bool{}}
		if terms := f.terms(); len(terms) > 0 {
			f.byName(ctx, terms)
		}
		if contents := f.targets.Unnamed(); !f.stopped && !contents.None() {
			f.byContent(ctx, contents)
		}
	}
}

// given is a copy that was given for a target.
type given struct {
	folder, id string
	target     int
}

// finder is one search.
type finder struct {
	*Account
	targets *mailbox.Targets
	folders []folder
	yield   func(mailbox.Found, error) bool
	given   map[given]bool
	stopped bool // the caller has enough
}

// terms gives what the names of the targets are searched by.
func (f *finder) terms() []term {
	var all []term
	for _, field := range []string{"Message-ID", mailbox.WeirIDField} {
		for _, needle := range f.targets.Needles(field) {
			all = append(all, term{field, needle})
		}
	}
	return all
}

// give hands a copy to the caller, once for each target. It reports whether to go
// on.
func (f *finder) give(c mailbox.Found) bool {
	what := given{c.Copy.Folder, c.Copy.ID, c.Target}
	if f.given[what] {
		return true
	}
	f.given[what] = true
	f.stopped = !f.yield(c, nil)
	return !f.stopped
}

// fail tells the caller of a folder that cannot be searched. It reports whether
// to go on with the next one.
func (f *finder) fail(err error) bool {
	f.stopped = !f.yield(mailbox.Found{}, err) || f.broken != nil
	return !f.stopped
}

// byName searches the folders for what bears a name of the targets. Where nothing
// can have come in since they were searched for it, folders are not opened.
func (f *finder) byName(ctx context.Context, terms []term) {
	f.looks.begin(terms)
	queries := queries(terms)
	var folders []folder
	for _, folder := range f.folders {
		if old := f.looks.at[folder.name]; !folder.state.empty() && !old.unchanged(folder.state) {
			folders = append(folders, folder)
		}
	}
	// INBOX, where most mail is, comes last: then it is open when what was found in it
	// is described.
	slices.Reverse(folders)
	for some := range slices.Chunk(folders, max(1, maxCommands/(1+len(queries)))) {
		visits, err := f.visit(ctx, some, queries)
		if err != nil {
			f.fail(err)
			return
		}
		for _, v := range slices.Backward(visits) {
			if !f.named(ctx, &v) {
				return
			}
		}
	}
}

// named gives the copies in a folder that bear a target's name. It reports whether
// to go on.
func (f *finder) named(ctx context.Context, v *visit) bool {
	if v.err != nil {
		return f.fail(v.err)
	}
	gone := map[imap.UID]bool{}
	for _, uid := range v.uids {
		gone[uid] = true
	}
	for c, err := range f.describe(ctx, at{folder: v.folder.name}, v.validity, v.uids) {
		if err != nil {
			return f.fail(err)
		}
		_, uid, _ := parseID(c.ID)
		delete(gone, uid)
		c.Role = v.folder.role
		for _, found := range f.targets.Match(c) {
			if !f.give(found) {
				return false
			}
		}
	}
	f.looks.forget(v.folder.name, v.validity, gone)
	return true
}

// Named gives those of some messages, UIDs by folder, that bear a name of the
// targets, as Find would: for who knows by another way where they stand. Folders
// that Find leaves out are left out; one that the server doesn't list is an error
// that satisfies mailbox.ErrFolderGone, with the rest still to follow. The caller
// may use the Account within the loop.
func (a *Account) Named(ctx context.Context, targets *mailbox.Targets, places map[string][]uint32) iter.Seq2[mailbox.Found, error] {
	return func(yield func(mailbox.Found, error) bool) {
		listed, err := a.listed(ctx, false)
		if err != nil {
			yield(mailbox.Found{}, err)
			return
		}
		defer a.leave(ctx)
		f := &finder{Account: a, targets: targets, yield: yield, given: map[given]bool{}}
		for _, name := range slices.Sorted(maps.Keys(places)) {
			i := slices.IndexFunc(listed, func(f folder) bool { return f.name == name })
			v := visit{folder: folder{name: name}}
			switch {
			case i < 0:
				v.err = fmt.Errorf("%w: the server doesn't list folder %.80q, in which there is mail", mailbox.ErrFolderGone, name)
			case listed[i].leftOut:
				continue
			default:
				v.folder = listed[i]
			}
			for _, uid := range places[name] {
				v.uids = append(v.uids, imap.UID(uid))
			}
			if !f.named(ctx, &v) {
				return
			}
		}
	}
}

// search runs UID SEARCH in the folder that is open.
func (a *Account) search(ctx context.Context, what *imap.SearchCriteria) (uids []imap.UID, err error) {
	err = a.do(ctx, 0, func() error {
		uids, err = takeSearch(a.sendSearch(what))
		return err
	})
	return uids, err
}

func (a *Account) sendSearch(what *imap.SearchCriteria) *imapclient.SearchCommand {
	var o *imap.SearchOptions
	if a.caps.Has(imap.CapESearch) {
		o = &imap.SearchOptions{ReturnAll: true} // ranges: shorter
	}
	return a.client.UIDSearch(what, o)
}

func takeSearch(search *imapclient.SearchCommand) ([]imap.UID, error) {
	data, err := search.Wait()
	if err != nil {
		return nil, err
	}
	var uids []imap.UID
	set, _ := data.All.(imap.UIDSet)
	for _, r := range set {
		if r.Start == 0 || r.Stop < r.Start || uint64(r.Stop-r.Start) >= uint64(maxHits-len(uids)) {
			return nil, fmt.Errorf("SEARCH gave more than %d messages", maxHits)
		}
		for uid := r.Start; ; uid++ {
			uids = append(uids, uid)
			if uid == r.Stop {
				break
			}
		}
	}
	return uids, nil
}

// describe reads all that a Copy tells but role and by, of the messages with these
// UIDs in a folder. What is not there is left out. With another UIDVALIDITY than
// this one, if it is not 0, they are not the messages that are meant: ErrStale. The
// caller may use the Account within the loop.
func (a *Account) describe(ctx context.Context, at at, validity uint32, uids []imap.UID) iter.Seq2[mailbox.Copy, error] {
	return func(yield func(mailbox.Copy, error) bool) {
		defer func() { a.ahead = ahead{} }()
		for batch := range slices.Chunk(uids, describeBatch) {
			copies, err := a.describeBatch(ctx, at, batch)
			if err == nil && validity != 0 && a.validity != validity {
				err = fmt.Errorf("%w: UIDVALIDITY of folder %.80q was %d and is %d", mailbox.ErrStale, at.folder, validity, a.validity)
			}
			if err != nil {
				yield(mailbox.Copy{}, err)
				return
			}
			at.anew = false
			for i, c := range copies {
				a.ahead.coming = copies[i+1:]
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// describeBatch describes some messages by one command.
func (a *Account) describeBatch(ctx context.Context, at at, uids []imap.UID) ([]mailbox.Copy, error) {
	items := &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{{
			Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Message-ID", mailbox.WeirIDField},
			Peek: true, Partial: &imap.SectionPartial{Size: namesBytes},
		}},
	}
	var buffers []*imapclient.FetchMessageBuffer
	err := a.in(ctx, at, int64(len(uids))*namesBytes, func() func() error {
		fetch := a.client.Fetch(imap.UIDSetNum(uids...), items)
		return func() (err error) {
			if buffers, err = fetch.Collect(); err != nil {
				err = fmt.Errorf("read folder %.80q: %w", at.folder, err)
			}
			return err
		}
	})
	if err != nil {
		return nil, err
	}
	var copies []mailbox.Copy
	for _, b := range buffers {
		if !slices.Contains(uids, b.UID) {
			continue // news of another message
		}
		if len(b.BodySection) != 1 || b.InternalDate.IsZero() {
			return nil, fmt.Errorf("%w: the server tells only part of what it was asked of message %d", mailbox.ErrUnreachable, b.UID)
		}
		c := mailbox.Copy{Folder: a.selected, ID: makeID(a.validity, b.UID), Size: b.RFC822Size, Date: b.InternalDate}
		c.Mark(flagNames(b.Flags))
		c.Name(a.parser, b.BodySection[0].Bytes)
		copies = append(copies, c)
	}
	return copies, nil
}

func flagNames(flags []imap.Flag) []string {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = string(f)
	}
	return names
}
