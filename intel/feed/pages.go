package feed

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// mediaTAXII is what a TAXII 2.1 server is asked for (TAXII 2.1 section 1.6.8).
const mediaTAXII = "application/taxii+json;version=2.1"

// manifestEvent marks the part that is a MISP feed's manifest.
const manifestEvent = "manifest"

// maxPages bounds the pages of one collection.
const maxPages = 10_000

// pages fetches the objects of a TAXII collection, page by page (TAXII 2.1
// section 3.4). All of them each time: what a server has revoked or removed is in no
// page that tells what was added.
func (x *fetching) pages(ctx context.Context) ([]part, error) {
	base, err := url.Parse(x.f.URL)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(base.Path, "/objects/") {
		base.Path = strings.TrimSuffix(base.Path, "/") + "/objects/"
	}
	var parts []part
	for next := ""; len(parts) < maxPages; {
		at := *base
		q := at.Query()
		if next != "" {
			q.Set("next", next)
		}
		at.RawQuery = q.Encode()
		p, err := x.get(ctx, at.String(), part{}, mediaTAXII)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", len(parts)+1, err)
		}
		parts = append(parts, p)
		was := next
		if next, err = x.next(ctx, &p); err != nil {
			return nil, fmt.Errorf("page %d: %w", len(parts), err)
		}
		if next == "" {
			return parts, nil
		}
		if next == was {
			return nil, fmt.Errorf("page %d: the server names it as its own next one", len(parts))
		}
	}
	return nil, fmt.Errorf("the collection has more than %d pages", maxPages)
}

// next reads a page for the name of the one behind it.
func (x *fetching) next(ctx context.Context, p *part) (string, error) {
	var c Counted
	for _, err := range x.f.Reader.Read(x.room.opener(p, x.f.MaxBytes), x.state.Checked, &c) {
		if err != nil {
			return "", err
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	return c.Next, nil
}

// events fetches a MISP feed: its manifest, and those events that are new or have
// changed since.
func (x *fetching) events(ctx context.Context) ([]part, error) {
	base := strings.TrimSuffix(x.f.URL, "/") + "/"
	before := x.before(0)
	manifest, err := x.get(ctx, base+"manifest.json", before, "")
	if err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	manifest.Event = manifestEvent
	had := map[string]part{}
	if g := x.good(); g != nil {
		for _, p := range g.Parts[1:] {
			had[p.Event+" "+p.Stamp] = p
		}
	}
	events, err := x.listed(&manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	parts := []part{manifest}
	for _, e := range events {
		if p, ok := had[e.UUID+" "+e.Stamp]; ok && x.there(&p) {
			parts = append(parts, p)
			continue
		}
		p, err := x.get(ctx, base+e.UUID+".json", part{}, "")
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", e.UUID, err)
		}
		p.Event, p.Stamp = e.UUID, e.Stamp
		parts = append(parts, p)
	}
	return parts, nil
}

// listed reads the manifest.
func (x *fetching) listed(p *part) ([]Event, error) {
	in, err := x.room.open(p, x.f.MaxBytes)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	var all []Event
	seen := map[string]bool{}
	for e, err := range x.f.Manifest(in) {
		switch {
		case err != nil:
			return nil, err
		case len(all) >= maxParts:
			return nil, fmt.Errorf("it names more than %d events", maxParts)
		case !nameForm.MatchString(e.UUID):
			return nil, fmt.Errorf("%.80q is no UUID", e.UUID)
		case !seen[e.UUID]:
			seen[e.UUID] = true
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("it names no event")
	}
	return all, nil
}
