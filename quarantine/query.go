package quarantine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/ident"
)

// Query says which items to list. Empty fields mean no condition; all that are
// given have to be met. Text is compared without regard to case.
type Query struct {
	ID        string    // its beginning
	Since     time.Time // held then or later
	Until     time.Time // held before
	Sender    string    // an address, or a domain with all below it
	Recipient string    // likewise
	Rule      string    // exactly
	Hash      string    // SHA-256 of a part or of the whole message, or its beginning
	Subject   string    // words that all stand in the subject
	State     State     // State("all") for whatever state; empty: those that are not released, deleted or expired
	Direction string
	Kind      Kind   // empty: whichever
	Incident  string // pulled for the incident whose ID begins so
	Mailbox   string // pulled out of the mailbox with this login

	Before string // only items older than the one with this ID: for the next page
	Limit  int    // at most so many; 0: DefaultLimit
}

// Bounds on a listing.
const (
	DefaultLimit = 100
	MaxLimit     = 10_000
	minHash      = 8
)

// AnyState is the State of a Query that wants items in whatever state.
const AnyState State = "all"

// Page is a part of a listing, the newest item first.
type Page struct {
	Items []*Item
	More  bool // there are older ones
}

// List gives the items that a query asks for.
func (q *Quarantine) List(ctx context.Context, query Query) (Page, error) {
	if query.Limit == 0 {
		query.Limit = DefaultLimit
	}
	if query.Limit < 0 || query.Limit > MaxLimit {
		return Page{}, fmt.Errorf("a page holds 1 to %d items, not %d", MaxLimit, query.Limit)
	}
	if query.Hash != "" && len(query.Hash) < minHash {
		return Page{}, fmt.Errorf("the beginning of a hash has to have at least %d digits", minHash)
	}
	goneTo := q.goneTo()
	var page Page
	for item, err := range q.o.View.items(strings.ToUpper(query.ID), strings.ToUpper(query.Before)) {
		if err != nil {
			return Page{}, err
		}
		if ctx.Err() != nil {
			return Page{}, context.Cause(ctx)
		}
		if cameBefore(item.ID, query.Since) || item.ID <= goneTo && !query.wantsGone() {
			break // so it is with all that follow
		}
		if !query.matches(item) {
			continue
		}
		if len(page.Items) == query.Limit {
			page.More = true
			break
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// idSlack is how much older than its item an ID may be: it is made when a message
// begins to come in.
const idSlack = 24 * time.Hour

// cameBefore reports whether the item with an ID, and with that all whose ID is
// smaller, was surely held before a time.
func cameBefore(id string, t time.Time) bool {
	at, ok := ident.ParseID(id)
	return ok && at.Before(t.Add(-idSlack))
}

func (query *Query) matches(i *Item) bool {
	switch {
	case !query.Since.IsZero() && i.Held.Before(query.Since),
		!query.Until.IsZero() && !i.Held.Before(query.Until),
		query.Rule != "" && i.Facts.Rule != query.Rule,
		query.Direction != "" && i.Facts.Direction != query.Direction,
		query.Kind != "" && i.Kind() != query.Kind,
		query.Incident != "" && (i.Pulled == nil || !strings.HasPrefix(i.Pulled.Incident, strings.ToUpper(query.Incident))),
		query.Mailbox != "" && (i.Pulled == nil || fold(i.Pulled.Mailbox) != fold(query.Mailbox)),
		query.Sender != "" && !isAddress(i.Facts.Sender, query.Sender) && !strings.Contains(fold(i.Facts.HeaderFrom), fold(query.Sender)):
		return false
	}
	return query.matchesState(i.State()) && query.matchesHash(i) && query.matchesSubject(i) && query.matchesRecipient(i)
}

func (query *Query) matchesState(s State) bool {
	switch query.State {
	case AnyState:
		return true
	case "":
		return s != Released && s != Deleted && s != Expired
	}
	return s == query.State
}

// wantsGone reports whether items whose message is gone can be in the listing.
func (query *Query) wantsGone() bool {
	return query.State == AnyState || query.State == Deleted || query.State == Expired
}

func (query *Query) matchesHash(i *Item) bool {
	if query.Hash == "" {
		return true
	}
	wanted := strings.ToLower(query.Hash)
	for _, h := range i.Facts.Hashes {
		if strings.HasPrefix(h, wanted) {
			return true
		}
	}
	return strings.HasPrefix(i.Facts.Blob.String(), wanted)
}

func (query *Query) matchesSubject(i *Item) bool {
	subject := fold(i.Facts.Subject)
	for _, word := range strings.Fields(fold(query.Subject)) {
		if !strings.Contains(subject, word) {
			return false
		}
	}
	return true
}

func (query *Query) matchesRecipient(i *Item) bool {
	if query.Recipient == "" {
		return true
	}
	for n := range i.Recipients {
		if isAddress(i.Recipients[n].Address, query.Recipient) {
			return true
		}
	}
	return false
}

// isAddress reports whether address is the wanted one, or lies in the wanted
// domain or below it.
func isAddress(address, wanted string) bool {
	address, wanted = fold(address), fold(wanted)
	if strings.Contains(wanted, "@") || wanted == "<>" {
		return address == strings.TrimPrefix(wanted, "@") || strings.HasPrefix(wanted, "@") && strings.HasSuffix(address, wanted)
	}
	domain := address[strings.LastIndexByte(address, '@')+1:]
	return domain == wanted || strings.HasSuffix(domain, "."+wanted)
}

func fold(s string) string { return strings.ToLower(s) }
