package imap

import (
	"context"
	"fmt"
	"iter"
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
func (a *account) Find(ctx context.Context, t mailbox.Target) iter.Seq2[mailbox.Copy, error] {
	return func(yield func(mailbox.Copy, error) bool) {
		folders, err := a.folders(ctx)
		if err != nil {
			yield(mailbox.Copy{}, err)
			return
		}
		f := &finder{account: a, target: t, folders: folders, yield: yield, seen: map[place]bool{}}
		if f.byField(ctx, "Message-ID", t.MessageID) && !f.sure {
			f.byField(ctx, mailbox.WeirIDField, t.WeirID)
		}
		if !f.stopped && f.found == 0 && t.ByContent() {
			f.byContent(ctx)
		}
	}
}

// place is where a copy stands.
type place struct{ folder, id string }

// finder is one search.
type finder struct {
	*account
	target  mailbox.Target
	folders []folder
	yield   func(mailbox.Copy, error) bool
	seen    map[place]bool
	found   int
	sure    bool // one bore the X-Weir-ID
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
	f.sure = f.sure || c.By == mailbox.ByWeirID
	f.stopped = !f.yield(c, nil)
	return !f.stopped
}

// fail tells the caller of a folder that cannot be searched. It reports whether
// to go on with the next one.
func (f *finder) fail(err error) bool {
	f.stopped = !f.yield(mailbox.Copy{}, err) || f.broken != nil
	return !f.stopped
}

// byField searches all folders for a header field. It reports whether to go on.
func (f *finder) byField(ctx context.Context, field, value string) bool {
	needle, ok := mailbox.Needle(value)
	if !ok {
		return true
	}
	for _, folder := range f.folders {
		copies, err := f.named(ctx, folder, field, needle)
		if err != nil {
			if !f.fail(err) {
				return false
			}
			continue
		}
		for _, c := range copies {
			if !f.give(c) {
				return false
			}
		}
	}
	return true
}

// named gives the copies in a folder that bear the target's name.
func (f *finder) named(ctx context.Context, folder folder, field, needle string) ([]mailbox.Copy, error) {
	n, err := f.open(ctx, folder.name, false)
	if err != nil || n == 0 {
		return nil, err
	}
	uids, err := f.search(ctx, &imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: field, Value: needle}}})
	if err != nil {
		return nil, fmt.Errorf("search folder %.80q: %w", folder.name, err)
	}
	var copies []mailbox.Copy
	for c, err := range f.describe(ctx, uids) {
		if err != nil {
			return nil, err
		}
		if by, ok := f.target.Match(&c); ok {
			c.Role, c.By = folder.role, by
			copies = append(copies, c)
		}
	}
	return copies, nil
}

// search runs UID SEARCH in the folder that is open.
func (a *account) search(ctx context.Context, what *imap.SearchCriteria) ([]imap.UID, error) {
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
func (a *account) describe(ctx context.Context, uids []imap.UID) iter.Seq2[mailbox.Copy, error] {
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
