package imap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// inbox is the folder that every mailbox has (RFC 9051 section 5.1).
const inbox = "INBOX"

// Restore puts a message back; see mailbox.Account.
func (a *Account) Restore(ctx context.Context, r mailbox.Return) (mailbox.Restored, error) {
	restored, err := a.restore(ctx, &r)
	if err != nil {
		return mailbox.Restored{}, fmt.Errorf("restore a message to folder %.80q: %w", r.Was.Folder, err)
	}
	return restored, nil
}

func (a *Account) restore(ctx context.Context, r *mailbox.Return) (mailbox.Restored, error) {
	if err := a.carries(r.Raw); err != nil {
		return mailbox.Restored{}, err
	}
	err := a.open(ctx, r.Was.Folder, true)
	if errors.Is(err, mailbox.ErrFolderGone) {
		err = a.open(ctx, inbox, true)
	}
	if err != nil {
		return mailbox.Restored{}, err
	}
	c, existed, err := a.standing(ctx, r)
	if err == nil && !existed {
		c, err = a.append(ctx, r)
	}
	if err == nil {
		c, err = a.mark(ctx, c, &r.Was)
	}
	if c.Folder == r.Was.Folder {
		c.Role = r.Was.Role
	}
	return mailbox.Restored{Copy: c, Existed: existed}, err
}

// carries refuses messages that IMAP cannot carry as they are (RFC 9051 section
// 9, RFC 5322 section 2.1).
func (a *Account) carries(raw []byte) error {
	if int64(len(raw)) > a.o.MaxBytes {
		return fmt.Errorf("%w: %d bytes, more than %d", mailbox.ErrTooLarge, len(raw), a.o.MaxBytes)
	}
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		return fmt.Errorf("%w: there is a NUL at byte %d, which IMAP cannot carry", mailbox.ErrAltered, i)
	}
	for i := 0; ; i++ {
		n := bytes.IndexByte(raw[i:], '\n')
		if n < 0 {
			return nil
		}
		if i += n; i == 0 || raw[i-1] != '\r' {
			return fmt.Errorf("%w: there is a LF without CR at byte %d, and IMAP servers make it CRLF", mailbox.ErrAltered, i)
		}
	}
}

// standing looks in the open folder for the very message, which an earlier try
// may have put there: equal in bytes and date, and not one of r.Besides.
func (a *Account) standing(ctx context.Context, r *mailbox.Return) (mailbox.Copy, bool, error) {
	var named mailbox.Copy
	named.Name(a.parser, r.Raw)
	size := int64(len(r.Raw))
	what := &imap.SearchCriteria{Larger: size - 1, Smaller: size + 1}
	for _, f := range []imap.SearchCriteriaHeaderField{
		{Key: "Message-ID", Value: named.MessageID}, {Key: mailbox.WeirIDField, Value: named.WeirID},
	} {
		if needle, ok := mailbox.Needle(f.Value); ok {
			what.Header = []imap.SearchCriteriaHeaderField{{Key: f.Key, Value: needle}}
			break
		}
	}
	uids, err := a.search(ctx, what)
	if err != nil {
		return named, false, err
	}
	for c, err := range a.describe(ctx, a.here(), 0, uids) {
		if err != nil {
			return c, false, err
		}
		if c.Size != size || !sameSecond(c.Date, r.Was.Date) || slices.ContainsFunc(r.Besides, func(o mailbox.Copy) bool { return o.Is(&c) }) {
			continue
		}
		if shown, err := a.read(ctx, c); err != nil {
			if ignoreGone(err) != nil {
				return c, false, err
			}
		} else if bytes.Equal(shown, r.Raw) {
			return c, true, nil
		}
	}
	return named, false, nil
}

func sameSecond(x, y time.Time) bool { return x.Unix() == y.Unix() }

// append adds the message to the open folder and compares what then stands
// there. What the server altered is taken away again.
func (a *Account) append(ctx context.Context, r *mailbox.Return) (mailbox.Copy, error) {
	var at *imap.AppendData
	o := &imap.AppendOptions{Time: r.Was.Date, Flags: flags(&r.Was)}
	err := a.do(ctx, int64(len(r.Raw)), func() error {
		cmd := a.client.Append(a.selected, int64(len(r.Raw)), o)
		// Where the server refuses, only its answer says why.
		_, writeErr := cmd.Write(r.Raw)
		closeErr := cmd.Close()
		var err error
		if at, err = cmd.Wait(); err != nil {
			return err
		}
		return errors.Join(writeErr, closeErr)
	})
	if err != nil {
		return mailbox.Copy{}, err
	}
	if at.UID == 0 || at.UIDValidity != a.validity {
		c, ok, err := a.standing(ctx, r)
		if err == nil && !ok {
			err = fmt.Errorf("%w: it took the message, which is not to be found there", mailbox.ErrAltered)
		}
		return c, err
	}
	c, there, err := a.look(ctx, at.UID)
	switch {
	case err != nil:
		return c, err
	case !there:
		return c, fmt.Errorf("%w: it took the message, which is no longer there", mailbox.ErrRefused)
	}
	shown, err := a.read(ctx, c)
	if err != nil && !errors.Is(err, mailbox.ErrTooLarge) && !errors.Is(err, mailbox.ErrAltered) {
		return c, err
	}
	if err == nil && bytes.Equal(shown, r.Raw) && sameSecond(c.Date, r.Was.Date) {
		return c, nil
	}
	err = fmt.Errorf("%w: what it shows of the message differs from what it was given", mailbox.ErrAltered)
	if !a.caps.Has(imap.CapUIDPlus) {
		return c, fmt.Errorf("%w; it is left in folder %.80q", err, c.Folder)
	}
	taken := removing{uid: at.UID, marked: true, result: &mailbox.Removal{}}
	a.expunge(ctx, []*removing{&taken})
	return c, errors.Join(err, taken.result.Err)
}

// mark adds the flags and keywords that a copy lacks. What the server does not
// take is left out: the answer tells.
func (a *Account) mark(ctx context.Context, c mailbox.Copy, was *mailbox.Copy) (mailbox.Copy, error) {
	var missing []imap.Flag
	have := flags(&c)
	for _, f := range flags(was) {
		if !slices.Contains(have, f) {
			missing = append(missing, f)
		}
	}
	if len(missing) == 0 {
		return c, nil
	}
	_, uid, err := parseID(c.ID)
	if err != nil {
		return c, err
	}
	err = a.do(ctx, 0, func() error {
		add := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: missing}
		return a.client.Store(imap.UIDSetNum(uid), add, nil).Close()
	})
	if err != nil && a.broken != nil {
		return c, err
	}
	now, there, err := a.look(ctx, uid)
	if err == nil && there {
		c = now
	}
	return c, err
}

// flags gives a copy's flags and keywords as IMAP has them.
func flags(c *mailbox.Copy) []imap.Flag {
	var all []imap.Flag
	for _, f := range c.Flags {
		if f, ok := mailbox.KeepFlag(string(f)); ok {
			all = append(all, imap.Flag(f))
		}
	}
	for _, k := range c.Keywords {
		if mailbox.ValidKeyword(k) {
			all = append(all, imap.Flag(k))
		}
	}
	return all
}
