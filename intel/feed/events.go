package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// manifestEvent marks the part that is a MISP feed's manifest.
const manifestEvent = "manifest"

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
