package imap

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// aheadBytes is how many bytes of messages are fetched by one command, for who
	// wants the first of them.
	aheadBytes = 256 << 10
	// maxAhead is how many messages that are.
	maxAhead = 32
	// maxOneByOne bounds how many users are remembered for whom that went wrong.
	maxOneByOne = 1000
	// oneByOneFor is for how long: connections break off for other reasons, too.
	oneByOneFor = 24 * time.Hour
)

// ahead is what was read before somebody wanted it. Who fetches a copy of those that
// Find gives him wants the next ones too, mostly, and a command costs a server much
// more than the few kilobytes of a message. A message that has a UID stays as it is
// (RFC 9051 section 2.3.1.1): what was read is as good as what would be read now.
type ahead struct {
	coming []mailbox.Copy // what Find gives next, of one folder
	alone  bool           // the server does not take several at once
	folder string         // that what was read stands in
	read   map[string][]byte
}

// take gives what was read of a copy. It reports false if that is not its bytes, or
// nothing was.
func (h *ahead) take(c *mailbox.Copy) ([]byte, bool) {
	if c.Folder != h.folder { // where the same ID is another message's
		return nil, false
	}
	raw, ok := h.read[c.ID]
	delete(h.read, c.ID)
	return raw, ok && int64(len(raw)) == c.Size
}

// next gives the copies that come behind c and are worth reading with it.
func (h *ahead) next(c *mailbox.Copy) (some []mailbox.Copy, size int64) {
	size = c.Size
	for _, o := range h.coming {
		if o.Size < 0 || size+o.Size > aheadBytes || len(some)+1 == maxAhead {
			break
		}
		if o.Folder == c.Folder && o.ID != c.ID {
			some = append(some, o)
			size += o.Size
		}
	}
	return some, size
}

// readAhead reads a copy together with those that come next. It reports false where
// that is not to be done, or gave nothing for this copy: then it is to be read alone.
func (a *Account) readAhead(ctx context.Context, uid imap.UID, c *mailbox.Copy) ([]byte, bool, error) {
	some, size := a.ahead.next(c)
	switch {
	case len(some) == 0 || size > min(aheadBytes, a.o.MaxBytes), a.ahead.alone || a.oneByOne.has(a.user),
		len(a.ahead.read) > 0: // it was asked for with these, and not given
		return nil, false, nil
	}
	uids := []imap.UID{uid}
	for i := range some {
		if validity, other, err := parseID(some[i].ID); err == nil && validity == a.validity {
			uids = append(uids, other)
		}
	}
	read := map[string][]byte{}
	// A message may have more bytes than the server said.
	err := a.do(ctx, size+pieceBytes, func() error {
		fetch := a.client.Fetch(imap.UIDSetNum(uids...), contentFrom(0))
		for m := fetch.Next(); m != nil; m = fetch.Next() {
			of, sections, content, err := readAnswer(m)
			if err != nil {
				_ = fetch.Close()
				return err
			}
			if sections == 1 && content != nil { // NIL: it is gone
				read[makeID(a.validity, of)] = content
			}
		}
		return fetch.Close()
	})
	if a.broken != nil {
		if ctx.Err() == nil {
			a.oneByOne.add(a.user)
		}
		return nil, false, err
	}
	a.ahead.alone = err != nil // whatever it is about: each is asked for by itself
	a.ahead.folder, a.ahead.read = c.Folder, read
	raw, ok := a.ahead.take(c)
	return raw, ok, nil
}

// readAnswer gives what an answer to FETCH tells: whose it is, how many texts it
// has, and the last one; nil: NIL. The library's own Collect lets a buffer grow from
// nothing.
func readAnswer(m *imapclient.FetchMessageData) (uid imap.UID, sections int, content []byte, err error) {
	for item := m.Next(); item != nil; item = m.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = item.UID
		case imapclient.FetchItemDataBodySection:
			sections++
			if content = nil; item.Literal == nil {
				continue
			}
			// How long it is, the server says: it is believed as far as was asked for.
			size := min(max(item.Literal.Size(), 0), pieceBytes)
			b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
			if _, err := b.ReadFrom(item.Literal); err != nil {
				return 0, 0, nil, err
			}
			content = b.Bytes()
		}
	}
	return uid, sections, content, nil
}

// users are those whose connection broke off over several messages: for a while
// they are read one by one, so that it shows over which it does.
type users struct {
	mu  sync.Mutex
	all map[string]time.Time // when that was
}

func (u *users) add(user string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[string]time.Time{}
	}
	if !u.tooMany() {
		u.all[user] = time.Now()
	}
}

// has reports whether a user is one of them; everybody is while there are too many.
func (u *users) has(user string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, known := u.all[user]
	return known && time.Since(at) < oneByOneFor || u.tooMany()
}

// tooMany reports whether there are, but for those of whom it was long ago. It is
// called with the lock held.
func (u *users) tooMany() bool {
	if len(u.all) < maxOneByOne {
		return false
	}
	maps.DeleteFunc(u.all, func(_ string, at time.Time) bool { return time.Since(at) >= oneByOneFor })
	return len(u.all) >= maxOneByOne
}
