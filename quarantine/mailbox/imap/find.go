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
	describeBatch = 25
	// namesBytes is how much of a message's fields that name it is read: those of a
	// batch stay within slack.
	namesBytes = 8 << 10
	// listBatch is how many messages are listed by one command.
	listBatch = 2000
	// maxHits bounds what is taken of one SEARCH.
	maxHits = 50_000
)

// Find looks for a message; see mailbox.Account.
func (a *Account) Find(ctx context.Context, t mailbox.Target) iter.Seq2[mailbox.Copy, error] {
	return func(yield func(mailbox.Copy, error) bool) {
		criteria, names := named(t)
		if a.looks == nil || a.names != names {
			a.names, a.looks = names, map[string]look{}
		}
		folders, err := a.folders(ctx)
		if err != nil {
			yield(mailbox.Copy{}, err)
			return
		}
		f := &finder{Account: a, target: t, folders: folders, yield: yield, seen: map[place]bool{}}
		if criteria != nil {
			f.byName(ctx, criteria)
		}
		if !f.stopped && f.found == 0 && t.ByContent() {
			f.byContent(ctx)
		}
	}
}

// look is what a search of a folder for names has shown. What came in since has a
// UID of at least next (RFC 9051 section 2.3.1.1), and what was there then has the
// names that it had: it is not searched again.
type look struct {
	validity uint32
	next     imap.UID   // 0: the server did not tell
	uids     []imap.UID // that bear the names, as far as the server knows
}

// maxAgain bounds how many messages a search names that it is about.
const maxAgain = 200

// since gives the messages of the folder that is open which have to be searched
// after a look at it: nil for all, an empty set for none.
func (l *look) since(now *look) imap.UIDSet {
	if l.next == 0 || l.validity != now.validity || l.next > now.next || len(l.uids) > maxAgain {
		return nil
	}
	set := append(imap.UIDSet{}, imap.UIDSetNum(l.uids...)...)
	if l.next < now.next {
		set.AddRange(l.next, 0)
	}
	return set
}

// named gives what a message that bears the target's Message-ID or X-Weir-ID is
// searched by, nil if it has neither, and a text that tells targets apart.
func named(t mailbox.Target) (criteria *imap.SearchCriteria, names string) {
	for _, field := range [][2]string{{"Message-ID", t.MessageID}, {mailbox.WeirIDField, t.WeirID}} {
		needle, ok := mailbox.Needle(field[1])
		if !ok {
			continue
		}
		names += field[0] + ":" + needle + "\n"
		one := imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: field[0], Value: needle}}}
		if criteria == nil {
			criteria = &one
		} else {
			criteria = &imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{*criteria, one}}}
		}
	}
	return criteria, names
}

// place is where a copy stands.
type place struct{ folder, id string }

// finder is one search.
type finder struct {
	*Account
	target  mailbox.Target
	folders []folder
	yield   func(mailbox.Copy, error) bool
	seen    map[place]bool
	found   int
	stopped bool // the caller has enough
}

// give hands a copy to the caller, once. It reports whether to go on.
func (f *finder) give(c mailbox.Copy) bool {
	at := place{c.Folder, c.ID}
	if f.seen[at] {
		return true
	}
	f.seen[at] = true
	f.found++
	f.stopped = !f.yield(c, nil)
	return !f.stopped
}

// fail tells the caller of a folder that cannot be searched. It reports whether
// to go on with the next one.
func (f *finder) fail(err error) bool {
	f.stopped = !f.yield(mailbox.Copy{}, err) || f.broken != nil
	return !f.stopped
}

// byName searches all folders for what bears a name of the target.
func (f *finder) byName(ctx context.Context, criteria *imap.SearchCriteria) {
	for _, folder := range f.folders {
		copies, err := f.named(ctx, folder, *criteria)
		if err != nil {
			if !f.fail(err) {
				return
			}
			continue
		}
		for _, c := range copies {
			if !f.give(c) {
				return
			}
		}
	}
}

// named gives the copies in a folder that bear the target's name.
func (f *finder) named(ctx context.Context, folder folder, criteria imap.SearchCriteria) ([]mailbox.Copy, error) {
	n, err := f.open(ctx, folder.name, false)
	if err != nil {
		return nil, err
	}
	old, now := f.looks[folder.name], look{validity: f.validity, next: f.next}
	set := old.since(&now)
	if set != nil {
		criteria.UID = []imap.UIDSet{set}
	}
	if n > 0 && (set == nil || len(set) > 0) {
		if now.uids, err = f.search(ctx, &criteria); err != nil {
			return nil, fmt.Errorf("search folder %.80q: %w", folder.name, err)
		}
	}
	f.looks[folder.name] = now
	return f.matching(ctx, folder, f.target, now.uids)
}

// matching gives those of some messages in the folder that is open which bear a
// target's name.
func (a *Account) matching(ctx context.Context, folder folder, t mailbox.Target, uids []imap.UID) ([]mailbox.Copy, error) {
	var copies []mailbox.Copy
	for c, err := range a.describe(ctx, uids) {
		if err != nil {
			return nil, err
		}
		if by, ok := t.Match(&c); ok {
			c.Role, c.By = folder.role, by
			copies = append(copies, c)
		}
	}
	return copies, nil
}

// Named gives those of some messages, UIDs by folder, that bear a name of the
// target, as Find would: for who knows by another way where they stand. Folders
// that Find leaves out are left out; one that the server doesn't list is an error
// that satisfies mailbox.ErrFolderGone, with the rest still to follow. The caller
// may use the Account within the loop.
func (a *Account) Named(ctx context.Context, t mailbox.Target, at map[string][]uint32) iter.Seq2[mailbox.Copy, error] {
	return func(yield func(mailbox.Copy, error) bool) {
		listed, err := a.listed(ctx)
		if err != nil {
			yield(mailbox.Copy{}, err)
			return
		}
		defer a.leave(ctx)
		for _, name := range slices.Sorted(maps.Keys(at)) {
			i := slices.IndexFunc(listed, func(f folder) bool { return f.name == name })
			if i < 0 {
				if !yield(mailbox.Copy{}, fmt.Errorf("%w: the server doesn't list folder %.80q, in which there is mail", mailbox.ErrFolderGone, name)) {
					return
				}
				continue
			}
			if listed[i].leftOut {
				continue
			}
			copies, err := a.namedAt(ctx, listed[i], t, at[name])
			if err != nil && (!yield(mailbox.Copy{}, err) || a.broken != nil) {
				return
			}
			for _, c := range copies {
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

func (a *Account) namedAt(ctx context.Context, folder folder, t mailbox.Target, at []uint32) ([]mailbox.Copy, error) {
	uids := make([]imap.UID, len(at))
	for i, uid := range at {
		uids[i] = imap.UID(uid)
	}
	if _, err := a.open(ctx, folder.name, false); err != nil {
		return nil, err
	}
	return a.matching(ctx, folder, t, uids)
}

// search runs UID SEARCH in the folder that is open.
func (a *Account) search(ctx context.Context, what *imap.SearchCriteria) ([]imap.UID, error) {
	var o *imap.SearchOptions
	if a.caps.Has(imap.CapESearch) {
		o = &imap.SearchOptions{ReturnAll: true} // ranges: shorter
	}
	var uids []imap.UID
	err := a.do(ctx, 0, func() error {
		data, err := a.client.UIDSearch(what, o).Wait()
		if err != nil {
			return err
		}
		set, _ := data.All.(imap.UIDSet)
		for _, r := range set {
			if r.Start == 0 || r.Stop < r.Start || uint64(r.Stop-r.Start) >= uint64(maxHits-len(uids)) {
				return fmt.Errorf("SEARCH gave more than %d messages", maxHits)
			}
			for uid := r.Start; ; uid++ {
				uids = append(uids, uid)
				if uid == r.Stop {
					break
				}
			}
		}
		return nil
	})
	return uids, err
}

// describe reads all that a Copy tells but role and by, of the messages
// with these UIDs in the folder that is open. What is not there is left out.
func (a *Account) describe(ctx context.Context, uids []imap.UID) iter.Seq2[mailbox.Copy, error] {
	items := &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{{
			Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Message-ID", mailbox.WeirIDField},
			Peek: true, Partial: &imap.SectionPartial{Size: namesBytes},
		}},
	}
	return func(yield func(mailbox.Copy, error) bool) {
		for batch := range slices.Chunk(uids, describeBatch) {
			var buffers []*imapclient.FetchMessageBuffer
			err := a.do(ctx, 0, func() (err error) {
				buffers, err = a.client.Fetch(imap.UIDSetNum(batch...), items).Collect()
				return err
			})
			if err != nil {
				yield(mailbox.Copy{}, fmt.Errorf("read of folder %.80q: %w", a.selected, err))
				return
			}
			for _, b := range buffers {
				if !slices.Contains(batch, b.UID) {
					continue // news of another message
				}
				if len(b.BodySection) != 1 || b.InternalDate.IsZero() {
					yield(mailbox.Copy{}, fmt.Errorf("%w: the server tells only part of what it was asked of message %d", mailbox.ErrUnreachable, b.UID))
					return
				}
				c := mailbox.Copy{Folder: a.selected, ID: makeID(a.validity, b.UID), Size: b.RFC822Size, Date: b.InternalDate}
				c.Mark(flagNames(b.Flags))
				c.Name(b.BodySection[0].Bytes)
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

func flagNames(flags []imap.Flag) []string {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = string(f)
	}
	return names
}

// candidate is a message that may have the content looked for.
type candidate struct {
	folder   int
	validity uint32
	uid      imap.UID
	size     int64
	distance int64
}

// byContent reads the messages of all folders whose size allows it, those first
// that came when the target did.
func (f *finder) byContent(ctx context.Context) {
	var all []candidate
	for i, folder := range f.folders {
		found, err := f.candidates(ctx, i, folder)
		if err != nil && !f.fail(err) {
			return
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, func(x, y candidate) int {
		switch {
		case x.distance < y.distance:
			return -1
		case x.distance > y.distance:
			return 1
		}
		return 0
	})
	for _, at := range all {
		c, ok, err := f.holds(ctx, at)
		switch {
		case err != nil:
			if !f.fail(err) {
				return
			}
		case ok:
			if !f.give(c) {
				return
			}
		}
	}
}

// candidates lists the messages of a folder that can have the target's content.
func (f *finder) candidates(ctx context.Context, i int, folder folder) ([]candidate, error) {
	n, err := f.open(ctx, folder.name, false)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for first := uint32(1); first <= n; first += listBatch {
		var set imap.SeqSet
		set.AddRange(first, min(n, first+listBatch-1))
		err := f.do(ctx, 0, func() error {
			list, err := f.client.Fetch(set, &imap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true}).Collect()
			for _, b := range list {
				if b.UID != 0 && b.RFC822Size <= f.o.MaxBytes && f.target.Plausible(b.RFC822Size) {
					all = append(all, candidate{i, f.validity, b.UID, b.RFC822Size, int64(f.target.Distance(b.InternalDate))})
				}
			}
			return err
		})
		if err != nil {
			return all, fmt.Errorf("list folder %.80q: %w", folder.name, err)
		}
	}
	return all, nil
}

// holds reports whether a candidate has the target's content, and describes it.
// One that is gone meanwhile has not.
func (f *finder) holds(ctx context.Context, at candidate) (mailbox.Copy, bool, error) {
	folder := f.folders[at.folder]
	c := mailbox.Copy{Folder: folder.name, ID: makeID(at.validity, at.uid), Size: at.size}
	raw, err := f.read(ctx, c)
	if err != nil || !f.target.Holds(raw) {
		return c, false, ignoreGone(err)
	}
	for c, err := range f.describe(ctx, []imap.UID{at.uid}) {
		if err != nil {
			return c, false, err
		}
		c.Role, c.By = folder.role, mailbox.ByContent
		return c, true, nil
	}
	return c, false, nil
}
