package imap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// errNoUIDPlus says why nothing is removed.
var errNoUIDPlus = fmt.Errorf("%w to remove one message alone: it has no UIDPLUS (RFC 4315), and EXPUNGE would take all that is marked as deleted", mailbox.ErrRefused)

// removeBatch is how many messages are removed by one command.
const removeBatch = 200

// Remove removes copies, folder by folder; see mailbox.Account.
func (a *Account) Remove(ctx context.Context, copies []mailbox.Copy) []mailbox.Removal {
	removals := make([]mailbox.Removal, len(copies))
	byFolder := map[string][]*removing{}
	var folders []string
	for i := range copies {
		r := &removing{Copy: &copies[i], result: &removals[i]}
		r.validity, r.uid, r.result.Err = parseID(r.ID)
		if r.result.Err == nil && !a.caps.Has(imap.CapUIDPlus) {
			r.result.Err = errNoUIDPlus
		}
		if r.result.Err != nil {
			continue
		}
		if byFolder[r.Folder] == nil {
			folders = append(folders, r.Folder)
		}
		byFolder[r.Folder] = append(byFolder[r.Folder], r)
	}
	for _, name := range folders {
		for some := range slices.Chunk(byFolder[name], removeBatch) {
			a.removeFrom(ctx, name, some)
		}
	}
	for i, c := range copies {
		if err := removals[i].Err; err != nil {
			removals[i] = mailbox.Removal{Err: fmt.Errorf("remove %s from folder %.80q: %w", c.ID, c.Folder, err)}
		}
	}
	return removals
}

// removing is a copy that is to be removed.
type removing struct {
	*mailbox.Copy
	validity uint32
	uid      imap.UID
	marked   bool // it was marked as deleted before
	result   *mailbox.Removal
}

// removeFrom removes copies from one folder. Each is compared with what stands there
// right before.
func (a *Account) removeFrom(ctx context.Context, folder string, all []*removing) {
	uids := make([]imap.UID, len(all))
	for i, r := range all {
		uids[i] = r.uid
	}
	slices.Sort(uids)
	standing := map[string]mailbox.Copy{}
	for c, err := range a.describe(ctx, at{folder: folder, write: true, anew: true}, 0, slices.Compact(uids)) {
		if err != nil {
			for _, r := range all {
				r.result.Err = err
			}
			return
		}
		standing[c.ID] = c
	}
	gone := map[imap.UID]bool{}
	var meant []*removing
	for _, r := range all {
		now, there := standing[makeID(r.validity, r.uid)]
		switch {
		case r.validity != a.validity:
			r.result.Err = fmt.Errorf("%w: UIDVALIDITY of folder %.80q was %d and is %d", mailbox.ErrStale, folder, r.validity, a.validity)
		case !there:
			gone[r.uid] = true
		case !r.Same(&now):
			r.result.Err = fmt.Errorf("%w: another message stands there", mailbox.ErrStale)
		default:
			r.marked = now.Has(mailbox.FlagDeleted)
			meant = append(meant, r)
		}
	}
	if len(meant) > 0 {
		a.expunge(ctx, meant)
	}
	for _, r := range meant {
		gone[r.uid] = r.result.Taken
	}
	a.looks.forget(folder, a.validity, gone)
}

// expunge takes messages out of the folder that is open for writing, and looks
// whether they are gone. One that is still there is left marked as deleted only if
// it was before.
func (a *Account) expunge(ctx context.Context, all []*removing) {
	// Who gives up now would leave a mark, and the user's next EXPUNGE would take
	// the message.
	ctx = context.WithoutCancel(ctx)
	var uids []imap.UID
	for _, r := range all {
		uids = append(uids, r.uid)
	}
	refused := a.markAndExpunge(ctx, imap.UIDSetNum(uids...))
	still, err := a.there(ctx, uids)
	if err != nil {
		for _, r := range all {
			r.result.Err = err
		}
		return
	}
	if refused == nil {
		refused = fmt.Errorf("%w: it is still there", mailbox.ErrRefused)
	}
	var unmark imap.UIDSet
	for _, r := range all {
		r.result.Taken = !still[r.uid]
		if still[r.uid] {
			r.result.Err = refused
			if !r.marked {
				unmark.AddNum(r.uid)
			}
		}
	}
	if len(unmark) == 0 {
		return
	}
	if err := a.do(ctx, 0, func() error { return a.client.Store(unmark, deleted(imap.StoreFlagsDel), nil).Close() }); err != nil {
		for _, r := range all {
			if unmark.Contains(r.uid) {
				r.result.Err = errors.Join(refused, err)
			}
		}
	}
}

func deleted(op imap.StoreFlagsOp) *imap.StoreFlags {
	return &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
}

// markAndExpunge marks messages as deleted and expunges them, in one piece: what
// could not be marked, since its user has just moved it, must not hold up the rest.
// Whether they are gone is not for the same piece to ask: Dovecot shows expunged
// messages to a command that it reads before it answers UID EXPUNGE.
func (a *Account) markAndExpunge(ctx context.Context, set imap.UIDSet) error {
	return a.doSome(ctx, 2, 0, func() error {
		a.conn.hold()
		marking := a.client.Store(set, deleted(imap.StoreFlagsAdd), nil)
		expunging := a.client.UIDExpunge(set)
		a.conn.release()
		// Both come in streams, in which news of other messages may be: neither waits
		// for the other.
		marked := make(chan error, 1)
		go func() { marked <- marking.Close() }()
		expunged := expunging.Close()
		if err := <-marked; err != nil && (expunged == nil || answered(expunged)) {
			return err
		}
		return expunged
	})
}

// there gives those of some messages that are in the folder that is open.
func (a *Account) there(ctx context.Context, uids []imap.UID) (map[imap.UID]bool, error) {
	there := map[imap.UID]bool{}
	err := a.do(ctx, 0, func() error {
		list, err := a.client.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true}).Collect()
		for _, b := range list {
			there[b.UID] = true
		}
		return err
	})
	return there, err
}
