package feed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"
)

const (
	// mediaTAXII is what a TAXII 2.1 server is asked for (TAXII 2.1 section 1.6.8).
	mediaTAXII = "application/taxii+json;version=2.1"
	// headerLast tells when the last object of a page was added (TAXII 2.1 section 3.3).
	headerLast  = "X-TAXII-Date-Added-Last"
	headerFirst = "X-TAXII-Date-Added-First"

	// maxPages bounds the pages of one collection.
	maxPages = 10_000
	// wholeEvery is how often all of a collection is read that is asked more often
	// for what was added: what a server has removed is in no such answer.
	wholeEvery = time.Hour
	// maxNewParts and maxNewObjects bound what was added since all was read. Beyond
	// them all is read again.
	maxNewParts   = 64
	maxNewObjects = 50_000
)

// errStart says that only all of a collection will do.
var errStart = errors.New("all of the collection has to be read")

// collection fetches the objects of a TAXII collection (TAXII 2.1 section 3.4):
// what was added since the last time, else all of it. New versions of objects, such
// as those that revoke them, count as added.
func (x *fetching) collection(ctx context.Context, c *content) error {
	if g := x.good(); g != nil && !x.whole && c.Fetched.Before(g.Whole.Add(wholeEvery)) && !c.Fetched.Before(g.Whole) {
		switch parts, err := x.added(ctx, g); {
		case err == nil:
			c.Parts, c.Whole = parts, g.Whole
			return nil
		case !errors.Is(err, errStart):
			return err
		}
	}
	var err error
	c.Whole = c.Fetched
	c.Parts, err = x.pages(ctx, "")
	return err
}

// added gives the parts of a content, and behind them the pages of what was added
// since. Errors satisfy errUnchanged or errStart, among others.
func (x *fetching) added(ctx context.Context, g *content) ([]part, error) {
	after, parts, objects := "", 0, 0
	for i := range g.Parts {
		p := &g.Parts[i]
		if !x.there(p) {
			return nil, errStart
		}
		if p.New {
			parts, objects = parts+1, objects+p.Objects
		}
		if p.Last != "" {
			after = p.Last
		}
	}
	if after == "" {
		return nil, errStart
	}
	before := x.state.Next
	pages, err := x.pages(ctx, after)
	if err != nil {
		return nil, err
	}
	for i := range pages {
		pages[i].New = true
		parts, objects = parts+1, objects+pages[i].Objects
	}
	switch {
	// Who keeps times more exactly than he tells them gives the last objects again.
	case len(pages) == 1 && (pages[0].Objects == 0 || pages[0].Last != "" && !later(pages[0].Last, after)):
		if err := x.room.fs.Remove(x.room.path(&pages[0])); err != nil {
			return nil, err
		}
		x.state.Next = before
		return nil, errUnchanged
	case parts > maxNewParts || objects > maxNewObjects, pages[len(pages)-1].Last == "":
		return nil, errStart
	}
	return append(append([]part(nil), g.Parts...), pages...), nil
}

// pages fetches the pages of a collection, of what was added after a time or, if
// that is empty, of all.
func (x *fetching) pages(ctx context.Context, after string) ([]part, error) {
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
		if after != "" {
			q.Set("added_after", after)
		}
		if next != "" {
			q.Set("next", next)
		}
		at.RawQuery = q.Encode()
		p, err := x.get(ctx, at.String(), part{}, mediaTAXII)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", len(parts)+1, err)
		}
		was := next
		if next, err = x.page(ctx, &p); err != nil {
			return nil, fmt.Errorf("page %d: %w", len(parts)+1, err)
		}
		if after != "" && p.First != "" && later(after, p.First) {
			return nil, errStart // the server does not know added_after
		}
		parts = append(parts, p)
		if next == "" {
			return parts, nil
		}
		if next == was {
			return nil, fmt.Errorf("page %d: the server names it as its own next one", len(parts))
		}
	}
	return nil, fmt.Errorf("the collection has more than %d pages", maxPages)
}

// page reads a page: how many objects it has, and the name of the one behind it.
func (x *fetching) page(ctx context.Context, p *part) (next string, err error) {
	c := Counted{Object: func(string) { p.Objects++ }}
	for _, err := range x.f.Reader.Read(x.room.opener(p, x.f.MaxBytes), x.now, &c) {
		if err != nil {
			return "", err
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	return c.Next, nil
}

// moment gives a time as a server says it in a header field, empty where it is none.
func moment(text string) string {
	if _, err := time.Parse(time.RFC3339Nano, text); err != nil || len(text) > 64 {
		return ""
	}
	return text
}

// later compares moments.
func later(a, b string) bool {
	ta, _ := time.Parse(time.RFC3339Nano, a)
	tb, _ := time.Parse(time.RFC3339Nano, b)
	return ta.After(tb)
}

// newest tells, by the ID of each object that was added later, in which part its
// newest version is. Versions in parts before it do not count.
func newest(one *kept, s *settings, c *content) (map[string]int, error) {
	in := map[string]int{}
	for i := range c.Parts {
		p := &c.Parts[i]
		if !p.New {
			continue
		}
		counted := Counted{Object: func(id string) { in[id] = i }}
		for _, err := range s.Reader.Read(one.room.opener(p, s.MaxBytes), c.Fetched, &counted) {
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", i+1, err)
			}
		}
	}
	maps.DeleteFunc(in, func(id string, _ int) bool { return id == "" })
	return in, nil
}
