package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// pieceBytes is how much of a message one command fetches. It bounds what a
// server can make the library hold, and lets a message take its time while a
// command may not.
const pieceBytes = 512 << 10

// Fetch writes a copy's bytes; see mailbox.Account.
func (a *Account) Fetch(ctx context.Context, c mailbox.Copy, w io.Writer) error {
	uid, err := a.reach(ctx, &c, false, false)
	if err == nil {
		err = a.fetch(ctx, uid, c.Size, w)
	}
	if err != nil {
		return fmt.Errorf("fetch %s of folder %.80q: %w", c.ID, c.Folder, err)
	}
	return nil
}

// fetch writes a message of the folder that is open, piece by piece, and checks
// that it has so many bytes.
func (a *Account) fetch(ctx context.Context, uid imap.UID, size int64, w io.Writer) error {
	if size > a.o.MaxBytes {
		return fmt.Errorf("%w: %d bytes, more than %d", mailbox.ErrTooLarge, size, a.o.MaxBytes)
	}
	var done int64
	for {
		piece, err := a.piece(ctx, uid, done)
		if err != nil {
			return err
		}
		if done += int64(len(piece)); done > size {
			return fmt.Errorf("%w: the server said that it has %d bytes, and gives more", mailbox.ErrAltered, size)
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		if len(piece) < pieceBytes {
			break
		}
	}
	if done < size {
		return fmt.Errorf("%w: the server said that it has %d bytes, and gives %d", mailbox.ErrAltered, size, done)
	}
	return nil
}

// piece fetches the bytes of a message from an offset on, fewer than pieceBytes
// at its end.
func (a *Account) piece(ctx context.Context, uid imap.UID, offset int64) (piece []byte, err error) {
	what := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{
		Peek: true, Partial: &imap.SectionPartial{Offset: offset, Size: pieceBytes},
	}}}
	told, there := false, false
	err = a.do(ctx, pieceBytes, func() error {
		list, err := a.client.Fetch(imap.UIDSetNum(uid), what).Collect()
		for _, b := range list {
			if b.UID != uid || len(b.BodySection) != 1 {
				continue
			}
			told = true
			piece, there = b.BodySection[0].Bytes, b.BodySection[0].Bytes != nil // nil is NIL: gone
		}
		if err == nil && !told && len(list) > 0 {
			err = errors.New("the server tells of the message, but not what it was asked")
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !there:
		return nil, mailbox.ErrGone
	case len(piece) > pieceBytes:
		return nil, fmt.Errorf("%w: the server gives more than it was asked for", mailbox.ErrAltered)
	}
	return piece, nil
}

// read gives a copy's bytes.
func (a *Account) read(ctx context.Context, c mailbox.Copy) ([]byte, error) {
	var b bytes.Buffer
	err := a.Fetch(ctx, c, &b)
	return b.Bytes(), err
}

// ignoreGone takes a message that is gone for none.
func ignoreGone(err error) error {
	if errors.Is(err, mailbox.ErrGone) {
		return nil
	}
	return err
}

// errNoUIDPlus says why nothing is removed.
var errNoUIDPlus = fmt.Errorf("%w to remove one message alone: it has no UIDPLUS (RFC 4315), and EXPUNGE would take all that is marked as deleted", mailbox.ErrRefused)

// Remove removes a copy; see mailbox.Account.
func (a *Account) Remove(ctx context.Context, c mailbox.Copy) (mailbox.Removal, error) {
	removal, err := a.remove(ctx, &c)
	if err != nil {
		return mailbox.NotRemoved, fmt.Errorf("remove %s from folder %.80q: %w", c.ID, c.Folder, err)
	}
	return removal, nil
}

func (a *Account) remove(ctx context.Context, c *mailbox.Copy) (mailbox.Removal, error) {
	if !a.caps.Has(imap.CapUIDPlus) {
		return mailbox.NotRemoved, errNoUIDPlus
	}
	uid, err := a.reach(ctx, c, true, true)
	if err != nil {
		return mailbox.NotRemoved, err
	}
	now, there, err := a.look(ctx, uid)
	switch {
	case err != nil:
		return mailbox.NotRemoved, err
	case !there:
		return mailbox.AlreadyGone, nil
	case !c.Same(&now):
		return mailbox.NotRemoved, fmt.Errorf("%w: another message stands there", mailbox.ErrStale)
	}
	if err := a.expunge(ctx, uid, now.Has(mailbox.FlagDeleted)); err != nil {
		return mailbox.NotRemoved, err
	}
	return mailbox.Removed, nil
}

// look describes a message of the folder that is open, and reports whether it is
// there.
func (a *Account) look(ctx context.Context, uid imap.UID) (mailbox.Copy, bool, error) {
	for c, err := range a.describe(ctx, []imap.UID{uid}) {
		return c, err == nil, err
	}
	return mailbox.Copy{}, false, nil
}

// expunge takes one message out of the folder that is open for writing, and looks
// whether it is gone. One that is still there is left marked as deleted only if
// it was before.
func (a *Account) expunge(ctx context.Context, uid imap.UID, marked bool) error {
	// Who gives up now would leave a mark, and the user's next EXPUNGE would take
	// the message.
	ctx = context.WithoutCancel(ctx)
	set := imap.UIDSetNum(uid)
	mark := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	// One after the other. Commands in one breath cost more: the server's second
	// answer waits for our delayed acknowledgement of the first. And Dovecot shows
	// expunged messages to a command that it reads before it answers UID EXPUNGE.
	refused := a.do(ctx, 0, func() error { return a.client.Store(set, mark, nil).Close() })
	if refused == nil {
		refused = a.do(ctx, 0, func() error { return a.client.UIDExpunge(set).Close() })
	}
	if a.broken != nil {
		return refused
	}
	there, err := a.there(ctx, uid)
	if err != nil || !there {
		return err
	}
	err = refused
	if err == nil {
		err = fmt.Errorf("%w: it is still there", mailbox.ErrRefused)
	}
	if marked {
		return err
	}
	mark.Op = imap.StoreFlagsDel
	return errors.Join(err, a.do(ctx, 0, func() error { return a.client.Store(set, mark, nil).Close() }))
}

// there reports whether a message is in the folder that is open.
func (a *Account) there(ctx context.Context, uid imap.UID) (there bool, err error) {
	err = a.do(ctx, 0, func() error {
		list, err := a.client.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true}).Collect()
		for _, b := range list {
			there = there || b.UID == uid
		}
		return err
	})
	return there, err
}

// Gone looks for a copy; see mailbox.Account.
func (a *Account) Gone(ctx context.Context, c mailbox.Copy) (bool, error) {
	uid, err := a.reach(ctx, &c, false, true)
	there := false
	if err == nil {
		there, err = a.there(ctx, uid)
	}
	if err != nil {
		return false, fmt.Errorf("look for %s in folder %.80q: %w", c.ID, c.Folder, err)
	}
	return !there, nil
}
