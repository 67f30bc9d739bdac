package doveadm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Find looks for a message; see mailbox.Account.
func (a *account) Find(ctx context.Context, t mailbox.Target) iter.Seq2[mailbox.Copy, error] {
	return func(yield func(mailbox.Copy, error) bool) {
		f := &finder{account: a, target: t, yield: yield, seen: map[place]bool{}}
		if f.byField(ctx, "Message-ID", t.MessageID) && !f.sure {
			f.byField(ctx, mailbox.WeirIDField, t.WeirID)
		}
		if !f.ended && len(f.seen) == 0 && t.ByContent() {
			f.byIMAP(ctx, mailbox.Target{Body: t.Body, Size: t.Size, Around: t.Around})
		}
	}
}

// place is where a copy stands.
type place struct{ folder, id string }

// finder is one search.
type finder struct {
	*account
	target mailbox.Target
	yield  func(mailbox.Copy, error) bool
	seen   map[place]bool // where the copies that were given stand
	sure   bool           // one bore the X-Weir-ID
	ended  bool           // the caller has enough, or all that can be done is done
}

// byField searches the mailbox for a header field. It reports whether to go on.
func (f *finder) byField(ctx context.Context, field, value string) bool {
	needle, ok := mailbox.Needle(value)
	if !ok {
		return true
	}
	at, err := f.locate(ctx, field, needle)
	switch {
	case errors.Is(err, errFailed):
		f.byIMAP(ctx, f.target)
		f.ended = true
	case err != nil:
		f.fail(fmt.Errorf("search the mailbox of %.80q at %s: %w", f.user, f.b.o.Address, err))
	case len(at) > 0:
		f.named(ctx, at)
	}
	return !f.ended
}

// maxPlaces bounds in how many places a search finds mail. A copied folder has the
// GUID of the other, so one message found may be in more than one.
const maxPlaces = 100_000

// locate gives the UIDs of the messages whose header field has the needle, by
// folder. The error satisfies errFailed where the answer cannot be relied on.
func (f *finder) locate(ctx context.Context, field, needle string) (map[string][]uint32, error) {
	hits, err := f.b.search(ctx, f.user, field, needle)
	if err != nil || len(hits) == 0 {
		return nil, err
	}
	// Names are asked for now: a folder may have got another one since. Two patterns
	// for all of them, since Dovecot takes one that stands alone within one namespace.
	folders, err := f.b.status(ctx, f.user, "*", "*/*")
	if err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for _, folder := range folders {
		names[folder.GUID] = append(names[folder.GUID], folder.Mailbox)
	}
	at := map[string][]uint32{}
	places := 0
	for _, hit := range hits {
		places += len(names[hit.GUID])
		if len(names[hit.GUID]) == 0 || places > maxPlaces {
			return nil, fmt.Errorf("%w: it finds mail in a folder that it does not list, or in more than %d places", errFailed, maxPlaces)
		}
		for _, name := range names[hit.GUID] {
			at[name] = append(at[name], uint32(hit.UID))
		}
	}
	for name, uids := range at {
		slices.Sort(uids)
		at[name] = slices.Compact(uids)
	}
	return at, nil
}

// named gives what bears the target's name of the messages found.
func (f *finder) named(ctx context.Context, at map[string][]uint32) {
	s, err := f.session(ctx)
	if err != nil {
		f.fail(err)
		return
	}
	f.give(s.Named(ctx, f.target, at))
}

// byIMAP searches by IMAP alone.
func (f *finder) byIMAP(ctx context.Context, t mailbox.Target) {
	s, err := f.session(ctx)
	if err != nil {
		f.fail(err)
		return
	}
	f.give(s.Find(ctx, t))
}

// give hands copies and errors to the caller, each copy once.
func (f *finder) give(copies iter.Seq2[mailbox.Copy, error]) {
	for c, err := range copies {
		at := place{c.Folder, c.ID}
		if err == nil && f.seen[at] {
			continue
		}
		if err == nil {
			f.seen[at] = true
			f.sure = f.sure || c.By == mailbox.ByWeirID
		}
		if !f.yield(c, err) {
			f.ended = true
			return
		}
	}
}

// fail tells the caller why the search ends here.
func (f *finder) fail(err error) {
	f.ended = true
	f.yield(mailbox.Copy{}, err)
}

// without gives the terms of a search that leave out folders, each with all below
// it. It spares Dovecot the work; IMAP leaves them out anyway, and knows what
// separates levels. Here it is taken for "/": elsewhere no name can have one.
func without(folders []string) []string {
	var terms []string
	for _, name := range folders {
		if name == "" || strings.ContainsAny(name, "*%") || strings.EqualFold(name, "INBOX") {
			continue
		}
		terms = slices.Concat(terms, []string{"not", "mailbox", name}, []string{"not", "mailbox", name + "/*"})
	}
	return terms
}
