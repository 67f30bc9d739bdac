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
	if err := a.give(ctx, &c, w); err != nil {
		return fmt.Errorf("fetch %s of folder %.80q: %w", c.ID, c.Folder, err)
	}
	return nil
}

func (a *Account) give(ctx context.Context, c *mailbox.Copy, w io.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	raw, ok := a.ahead.take(c)
	if !ok {
		uid, err := a.reach(ctx, c, false, false)
		if err == nil {
			raw, ok, err = a.readAhead(ctx, uid, c)
		}
		if err != nil {
			return err
		}
		if !ok {
			return a.fetch(ctx, uid, c.Size, w)
		}
	}
	_, err := w.Write(raw)
	return err
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
	told, there := false, false
	err = a.do(ctx, pieceBytes, func() error {
		fetch := a.client.Fetch(imap.UIDSetNum(uid), contentFrom(offset))
		answers := 0
		for m := fetch.Next(); m != nil; m = fetch.Next() {
			answers++
			of, sections, content, err := readAnswer(m)
			if err != nil {
				_ = fetch.Close()
				return err
			}
			if of == uid && sections == 1 {
				told = true
				piece, there = content, content != nil // nil is NIL: gone
			}
		}
		err := fetch.Close()
		if err == nil && !told && answers > 0 {
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

// contentFrom asks for the bytes of messages from an offset on, a piece of each.
func contentFrom(offset int64) *imap.FetchOptions {
	return &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{
		Peek: true, Partial: &imap.SectionPartial{Offset: offset, Size: pieceBytes},
	}}}
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

// look describes a message of the folder that is open, and reports whether it is
// there.
func (a *Account) look(ctx context.Context, uid imap.UID) (mailbox.Copy, bool, error) {
	for c, err := range a.describe(ctx, a.here(), 0, []imap.UID{uid}) {
		return c, err == nil, err
	}
	return mailbox.Copy{}, false, nil
}

// Gone looks for a copy; see mailbox.Account.
func (a *Account) Gone(ctx context.Context, c mailbox.Copy) (bool, error) {
	uid, err := a.reach(ctx, &c, false, true)
	there := false
	if err == nil {
		var still map[imap.UID]bool
		still, err = a.there(ctx, []imap.UID{uid})
		there = still[uid]
	}
	if err != nil {
		return false, fmt.Errorf("look for %s in folder %.80q: %w", c.ID, c.Folder, err)
	}
	return !there, nil
}
