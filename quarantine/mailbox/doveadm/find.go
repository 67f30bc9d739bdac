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

// Find looks for messages; see mailbox.Account.
func (a *account) Find(ctx context.Context, targets []mailbox.Target) iter.Seq2[mailbox.Found, error] {
	return func(yield func(mailbox.Found, error) bool) {
		f := &finder{account: a, all: targets, targets: mailbox.NewTargets(targets), yield: yield, given: map[given]bool{}}
		if f.byField(ctx, "Message-ID") && f.byField(ctx, mailbox.WeirIDField) {
			f.byContent(ctx)
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
	*account
	all     []mailbox.Target
	targets *mailbox.Targets
	yield   func(mailbox.Found, error) bool
	given   map[given]bool
	ended   bool // the caller has enough, or all that can be done is done
}

// maxNeedles bounds how many needles one search has.
const maxNeedles = 100

// byField searches the mailbox for what the targets have in a header field. It
// reports whether to go on.
func (f *finder) byField(ctx context.Context, field string) bool {
	for needles := range slices.Chunk(f.targets.Needles(field), maxNeedles) {
		places, err := f.locate(ctx, field, needles)
		switch {
		case errors.Is(err, errFailed):
			f.byIMAP(ctx, f.all)
			f.ended = true
		case err != nil:
			f.fail(fmt.Errorf("search the mailbox of %.80q at %s: %w", f.user, f.b.o.Address, err))
		case len(places) > 0:
			f.named(ctx, places)
		}
		if f.ended {
			return false
		}
	}
	return true
}

// byContent searches for the content of those targets that nothing bore a name of.
func (f *finder) byContent(ctx context.Context) {
	unnamed := f.targets.Unnamed()
	if unnamed.None() {
		return
	}
	contents := make([]mailbox.Target, len(f.all)) // the others look for nothing
	for _, i := range unnamed.Indexes() {
		t := f.all[i]
		contents[i] = mailbox.Target{Body: t.Body, Size: t.Size, Around: t.Around}
	}
	f.byIMAP(ctx, contents)
}

// maxPlaces bounds in how many places a search finds mail. A copied folder has the
// GUID of the other, so one message found may be in more than one.
const maxPlaces = 100_000

// locate gives the UIDs of the messages whose header field has one of the needles,
// by folder. The error satisfies errFailed where the answer cannot be relied on.
func (f *finder) locate(ctx context.Context, field string, needles []string) (map[string][]uint32, error) {
	hits, err := f.b.search(ctx, f.user, field, needles)
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

// named gives what bears a target's name of the messages in some places.
func (f *finder) named(ctx context.Context, places map[string][]uint32) {
	s, err := f.session(ctx)
	if err != nil {
		f.fail(err)
		return
	}
	f.give(s.Named(ctx, f.targets, places))
}

// byIMAP searches by IMAP alone.
func (f *finder) byIMAP(ctx context.Context, targets []mailbox.Target) {
	s, err := f.session(ctx)
	if err != nil {
		f.fail(err)
		return
	}
	f.give(s.Find(ctx, targets))
}

// give hands copies and errors to the caller, each copy once for each target.
func (f *finder) give(copies iter.Seq2[mailbox.Found, error]) {
	for c, err := range copies {
		what := given{c.Copy.Folder, c.Copy.ID, c.Target}
		if err == nil && f.given[what] {
			continue
		}
		f.given[what] = f.given[what] || err == nil
		if !f.yield(c, err) {
			f.ended = true
			return
		}
	}
}

// fail tells the caller why the search ends here.
func (f *finder) fail(err error) {
	f.ended = true
	f.yield(mailbox.Found{}, err)
}

// anyOf gives the terms of a search for messages whose header field has one of some
// needles as a part. A needle stands behind the key that takes it.
func anyOf(field string, needles []string) []string {
	terms := []string{"("}
	for i, needle := range needles {
		if i > 0 {
			terms = append(terms, "or")
		}
		terms = append(terms, "header", field, needle)
	}
	return append(terms, ")")
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
