package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/incident"
)

// pageDefault is how many of anything are listed unless it is said.
const pageDefault = 100

// minHash is how many digits of a hash are enough to look for it.
const minHash = 8

func (s *Server) items(ctx context.Context, _ *call, st *Stores, in *api.ItemQuery) (any, error) {
	query := quarantine.Query{
		ID: in.ID, Since: in.Since, Until: in.Until, Sender: in.Sender, Recipient: in.Recipient, Rule: in.Rule, Hash: in.Hash,
		Subject: in.Subject, State: quarantine.State(in.State), Direction: in.Direction,
		Kind: quarantine.Kind(in.Kind), Incident: in.Incident, Mailbox: in.Mailbox, Before: strings.ToUpper(in.Before), Limit: in.Limit,
	}
	if query.Limit == 0 {
		query.Limit = pageDefault
	}
	if query.Hash != "" && (len(query.Hash) < minHash || strings.Trim(strings.ToLower(query.Hash), "0123456789abcdef") != "") {
		return nil, api.Errorf(api.BadRequest, "hash=%.70s is not a SHA-256 in hex, or %d digits or more of its beginning", query.Hash, minHash)
	}
	if _, ok := ident.ParseID(query.Before); query.Before != "" && !ok {
		return nil, api.Errorf(api.BadRequest, "before=%.70s is not the ID of an item", query.Before)
	}
	lagging := !listed(ctx, st)
	found, err := st.Quarantine.List(ctx, query)
	if err != nil {
		return nil, err
	}
	page := api.ItemPage{Items: make([]api.Item, len(found.Items)), Lagging: lagging}
	for i, item := range found.Items {
		page.Items[i] = itemOf(item)
	}
	if found.More {
		page.Next = found.Items[len(found.Items)-1].ID
	}
	return page, nil
}

// listed waits a moment for listings to show what was recorded before.
func listed(ctx context.Context, st *Stores) bool {
	last, err := st.Ledger.Last()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, indexWait)
	defer cancel()
	return st.Ledger.Wait(ctx, last) == nil
}

func (s *Server) item(_ context.Context, _ *call, st *Stores, in *api.ItemID) (any, error) {
	id, err := st.Quarantine.Find(in.ID)
	if err != nil {
		return nil, err
	}
	item, err := st.Quarantine.Get(id)
	if err != nil {
		return nil, err
	}
	return itemOf(item), nil
}

func (s *Server) preview(ctx context.Context, c *call, st *Stores, in *api.ItemID) (any, error) {
	id, err := st.Quarantine.Find(in.ID)
	if err != nil {
		return nil, err
	}
	item, p, err := st.Quarantine.Preview(ctx, id, c.caller.Actor)
	if err != nil {
		return nil, err
	}
	answer := api.Preview{Item: itemOf(item), Text: p.Text, Cut: p.Cut, Header: []api.Field{}, Parts: []api.Part{}, Links: []api.Link{}, Defects: all(p.Defects)}
	for _, f := range p.Header {
		answer.Header = append(answer.Header, api.Field(f))
	}
	for _, part := range p.Parts {
		answer.Parts = append(answer.Parts, api.Part(part))
	}
	for _, l := range p.Links {
		answer.Links = append(answer.Links, api.Link(l))
	}
	return answer, nil
}

// headerDigest carries the SHA-256 of a message that is sent.
const headerDigest = "Weir-SHA256"

func (s *Server) message(ctx context.Context, c *call, st *Stores, in *api.ItemID) (any, error) {
	id, err := st.Quarantine.Find(in.ID)
	if err != nil {
		return nil, err
	}
	item, content, err := st.Quarantine.Message(ctx, id, c.caller.Actor, "export")
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	w := &stream{c: c, header: map[string]string{
		"Content-Length":         strconv.FormatInt(content.Size(), 10),
		"Content-Disposition":    `attachment; filename="` + item.ID + `.eml"`,
		"X-Content-Type-Options": "nosniff",
		headerDigest:             item.Facts.Blob.String(),
	}}
	if content.Size() == 0 {
		_, err = w.Write(nil)
		return nil, err
	}
	_, err = io.Copy(w, content)
	return nil, err
}

func (s *Server) release(ctx context.Context, c *call, st *Stores, in *api.Release) (any, error) {
	id, err := st.Quarantine.Find(in.ID)
	if err != nil {
		return nil, err
	}
	item, err := st.Quarantine.Get(id)
	if err != nil {
		return nil, err
	}
	if item.Kind() == quarantine.KindPulled {
		return s.giveBack(ctx, c, st, item, in)
	}
	item, err = st.Quarantine.Release(ctx, quarantine.Release{
		ID: id, Recipients: in.Recipients, Actor: c.caller.Actor, Reason: in.Reason, Override: in.Override, Again: in.Again,
	})
	var failed *quarantine.ReleaseError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	answer := api.Released{Item: itemOf(item), Failed: []string{}}
	if failed != nil {
		answer.Failed = failed.Failed
	}
	return answer, nil
}

// giveBack has a pulled item put back into its mailbox, which its incident sees to.
func (s *Server) giveBack(ctx context.Context, c *call, st *Stores, item *quarantine.Item, in *api.Release) (any, error) {
	if st.Incidents == nil {
		return nil, api.Errorf(api.Unavailable, "item %s was pulled out of a mailbox, and this daemon keeps no incidents", item.ID)
	}
	for _, to := range in.Recipients {
		if !strings.EqualFold(to, item.Recipients[0].Address) {
			return nil, fmt.Errorf("%w: %s is not among those whose copy is held", quarantine.ErrRecipient, to)
		}
	}
	_, err := st.Incidents.Restore(ctx, incident.Restore{
		Incident: item.Pulled.Incident, Items: []string{item.ID}, Actor: c.caller.Actor, Reason: in.Reason, Override: in.Override,
	})
	if err != nil && !errors.Is(err, incident.ErrNothing) { // asking twice is no mistake
		return nil, err
	}
	now, err := st.Quarantine.Get(item.ID)
	if err != nil {
		return nil, err
	}
	return api.Released{Item: itemOf(now), Failed: []string{}}, nil
}

func (s *Server) delete(ctx context.Context, c *call, st *Stores, in *api.Delete) (any, error) {
	id, err := st.Quarantine.Find(in.ID)
	if err != nil {
		return nil, err
	}
	item, err := st.Quarantine.Delete(ctx, id, c.caller.Actor, in.Reason)
	if err != nil {
		return nil, err
	}
	return itemOf(item), nil
}

func itemOf(i *quarantine.Item) api.Item {
	f := &i.Facts
	item := api.Item{
		ID: i.ID, Kind: string(i.Kind()), State: string(i.State()), Held: i.Held, Received: f.Received, Rule: f.Rule, Direction: f.Direction,
		Sender: f.Sender, HeaderFrom: f.HeaderFrom, Subject: f.Subject, MessageID: f.MessageID, QueueID: f.QueueID,
		Client: f.Client, ClientName: f.ClientName, Helo: f.Helo, AuthUser: f.AuthUser,
		Size: f.Size, SHA256: f.Blob.String(), Recipients: []api.ItemRecipient{}, Reasons: reasonsOf(f.Reasons), Hashes: all(f.Hashes), Files: all(f.Files),
		Ref: f.Ref, Generation: f.Generation, Releases: i.Releases, Erased: i.Erased,
	}
	if p := i.Pulled; p != nil {
		item.Pulled = &api.ItemOrigin{Incident: p.Incident, Delivery: p.Delivery, Mailbox: p.Mailbox, Copy: p.Copy, Reason: p.Reason}
	}
	for n := range i.Recipients {
		r := &i.Recipients[n]
		state := r.State
		if i.Gone != "" && state != quarantine.Released {
			state = i.Gone
		}
		item.Recipients = append(item.Recipients, api.ItemRecipient{Address: r.Address, State: string(state), Rule: r.Rule, Silent: r.Silent, At: r.At, Detail: r.Detail})
	}
	return item
}

func reasonsOf(reasons []verdict.Reason) []api.Reason {
	list := make([]api.Reason, len(reasons))
	for i, r := range reasons {
		list[i] = api.Reason(r)
	}
	return list
}

// all gives a list that JSON writes as one where it is empty.
func all[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
