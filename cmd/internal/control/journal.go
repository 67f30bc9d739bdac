package control

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
)

const (
	maxMatched = 8               // observables that are given for each entry
	indexWait  = 3 * time.Second // for the newest entries to be indexed
)

// searchedData is what the ledger keeps of a search: the conditions, as the query
// has them.
type searchedData struct {
	Value     string    `json:"value,omitempty"`
	As        string    `json:"as,omitempty"`
	Entry     bool      `json:"entry,omitempty"` // one entry was asked for, by its ID
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	Sender    string    `json:"sender,omitempty"`
	Recipient string    `json:"recipient,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	URL       string    `json:"url,omitempty"`
	Host      string    `json:"host,omitempty"`
	Domain    string    `json:"domain,omitempty"`
	Hash      string    `json:"hash,omitempty"`
	File      string    `json:"file,omitempty"`
	Client    string    `json:"client,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	QueueID   string    `json:"queue_id,omitempty"`
	Direction string    `json:"direction,omitempty"`
	Verdict   string    `json:"verdict,omitempty"`
	Rule      string    `json:"rule,omitempty"`
	Login     string    `json:"login,omitempty"`
}

func searchedOf(in *api.JournalQuery) searchedData {
	return searchedData{
		Value: in.Value, As: in.As, Since: in.Since.UTC(), Until: in.Until.UTC(), Sender: in.Sender, Recipient: in.Recipient,
		Subject: in.Subject, URL: in.URL, Host: in.Host, Domain: in.Domain, Hash: in.Hash, File: in.File, Client: in.Client,
		MessageID: in.MessageID, QueueID: in.QueueID, Direction: in.Direction, Verdict: in.Verdict, Rule: in.Rule, Login: in.Login,
	}
}

func (s *Server) journal(ctx context.Context, c *call, st *Stores, in *api.JournalQuery) (any, error) {
	conditions, err := conditionsOf(in)
	if err != nil {
		return nil, err
	}
	at, err := parsePlace(in.Before)
	if err != nil {
		return nil, err
	}
	if in.Before == "" {
		at = place{top: st.Journal.Last(), look: st.Identity.NewID()}
		at.before = at.top + 1
	}
	data := searchedOf(in)
	name, err := at.name(c.caller.Actor, data)
	if err != nil {
		return nil, err
	}
	if err := recordOnce(ctx, st, c, name, typeSearched, data); err != nil {
		return nil, err
	}
	answer := api.JournalPage{Entries: []api.JournalEntry{}, Readings: []api.Reading{}, Lagging: !caughtUp(ctx, st, at.top)}
	for _, r := range conditions.readings {
		answer.Readings = append(answer.Readings, api.Reading{As: r.as, Value: r.value})
	}
	page, err := st.Journal.Search(ctx, conditions.query(journal.Query{
		Since: in.Since, Until: in.Until, Before: at.before, Limit: cmp.Or(in.Limit, pageDefault),
	}))
	if err != nil {
		return nil, err
	}
	for _, r := range page.Records {
		entry := entryOf(r.Entry)
		entry.Matched = conditions.matched(r.Entry)
		answer.Entries = append(answer.Entries, entry)
	}
	if page.Next > 0 {
		at.before = page.Next
		answer.Next, answer.Reached = at.String(), page.Reached
	}
	return answer, nil
}

// caughtUp waits a moment for the index to see what the journal had.
func caughtUp(ctx context.Context, st *Stores, at wal.Position) bool {
	ctx, cancel := context.WithTimeout(ctx, indexWait)
	defer cancel()
	return st.Journal.Wait(ctx, at) == nil
}

// place is where the pages of a search go on.
type place struct {
	before wal.Position // of the entries that were not looked at yet
	top    wal.Position // of the newest entry when the search began
	look   string       // an ID for the search
}

func (p place) String() string { return fmt.Sprintf("%d-%d-%s", p.before, p.top, p.look) }

// parsePlace reads the next of a page.
func parsePlace(text string) (place, error) {
	if text == "" {
		return place{}, nil
	}
	var p place
	before, rest, _ := strings.Cut(text, "-")
	top, look, _ := strings.Cut(rest, "-")
	n, err := strconv.ParseUint(before, 10, 64)
	m, errTop := strconv.ParseUint(top, 10, 64)
	p = place{wal.Position(n), wal.Position(m), look}
	if err != nil || errTop != nil || !isID(look) || n == 0 || p.before > p.top || p.String() != text {
		return p, api.Errorf(api.BadRequest, "before=%.80s is not the next of a page", text)
	}
	return p, nil
}

// name is what the ledger knows the search by. All its pages have one name, so
// that it is recorded once; whoever goes on for somebody else, with other
// conditions or behind another newest entry begins a search of his own.
func (p place) name(actor string, data searchedData) (string, error) {
	conditions, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", p.top, actor, conditions))
	return p.look + "-" + hex.EncodeToString(sum[:8]), nil
}

func (s *Server) journalGet(ctx context.Context, c *call, st *Stores, in *api.JournalID) (any, error) {
	id, ok := entryID(in.ID)
	if !ok {
		return nil, &api.Error{Code: api.BadRequest, Text: strconv.Quote(in.ID) + " is not the ID of a journal entry", Cure: "it is the first 26 characters of an X-Weir-ID"}
	}
	if err := record(ctx, st, c, typeSearched, searchedData{Value: id, Entry: true}); err != nil {
		return nil, err
	}
	caughtUp(ctx, st, st.Journal.Last())
	for r, err := range entriesOf(st.Journal, journal.KeyOfID(id)) {
		if err != nil {
			return nil, err
		}
		if r.Entry.ID != id {
			continue // it came from the one that was asked for
		}
		entry := entryOf(r.Entry)
		for i := range r.Entry.Observables {
			entry.Observables = append(entry.Observables, observableOf(&r.Entry.Observables[i]))
		}
		entry.Deliveries, err = deliveriesOf(ctx, st, r.Entry)
		return entry, err
	}
	return nil, api.Errorf(api.NotFound, "the journal has no entry %s", id)
}

// entriesOf reads the entries under a key, the oldest first.
func entriesOf(j Journal, key journal.Key) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		for at, err := range j.Positions(key) {
			var r journal.Record
			if err == nil {
				r, err = j.Get(at)
			}
			if errors.Is(err, wal.ErrDropped) || errors.Is(err, journal.ErrEntry) {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func entryOf(e *journal.Entry) api.JournalEntry {
	entry := api.JournalEntry{
		ID: e.ID, Parent: e.Parent, Item: e.Item, Time: e.Time, QueueID: e.QueueID, MessageID: e.MessageID,
		Sender: e.From, Recipients: all(e.To), Helo: e.Helo, AuthUser: e.AuthUser, Direction: e.Direction.String(),
		Subject: e.Subject, HeaderFrom: e.HeaderFrom, Date: e.Date, References: e.References, Files: e.Files, Size: e.Size,
		Verdict: e.Action.String(), Rule: e.Rule, Generation: e.Generation, Unjudged: e.Unjudged, Overflow: e.Overflow,
	}
	if e.From == "" {
		entry.Sender = intel.NullSender().String()
	}
	if e.Client.IsValid() {
		entry.Client = e.Client.String()
	}
	for _, h := range e.Hits {
		entry.Hits = append(entry.Hits, api.JournalHit(h))
	}
	return entry
}

func observableOf(o *intel.Observable) api.Observable {
	return api.Observable{Kind: o.Value.Kind().String(), Value: o.Value.String(), Role: string(o.Role), Place: o.Place}
}

// entryID reads an entry's ID, also from the X-Weir-ID that begins with it.
func entryID(text string) (string, bool) {
	id, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(text)), ".")
	return id, isID(id)
}
