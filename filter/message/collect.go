package message

import (
	"strings"

	"github.com/weirmail/weir/filter/message/links"
	"github.com/weirmail/weir/intel"
)

// collector gathers the links of a message, each once.
type collector struct {
	list  []URL
	limit int
	lost  bool // some were left out

	place string // where the text stands that is being searched
	exact bool   // that is the whole place

	seen  map[urlKey]struct{} // filled once there are some
	hosts map[string]struct{} // filled once there are as many as the limit allows
}

// urlKey is what makes two links the same.
type urlKey struct {
	value intel.Value
	text  string
}

// fewURLs is up to how many links a list is searched faster than a map.
const fewURLs = 12

// reset forgets the message, but keeps the room for a usual one.
func (c *collector) reset() {
	clear(c.list)
	*c = collector{list: c.list[:0]}
}

// known reports whether a link is there already, and notes it if not.
func (c *collector) known(key urlKey) bool {
	if c.seen == nil {
		for i := range c.list {
			if c.list[i].Value == key.value && c.list[i].Text == key.text {
				return true
			}
		}
		if len(c.list) < fewURLs {
			return false
		}
		c.seen = make(map[urlKey]struct{}, 4*fewURLs)
		for i := range c.list {
			c.seen[urlKey{c.list[i].Value, c.list[i].Text}] = struct{}{}
		}
	}
	_, known := c.seen[key]
	if !known && len(c.list) < 2*c.limit {
		c.seen[key] = struct{}{}
	}
	return known
}

// room reports whether a link to host may be kept. Beyond the limit one for
// each further host is, as many again: a flood of links to one place does not
// hide another.
func (c *collector) room(host string) bool {
	if len(c.list) < c.limit {
		return true
	}
	if c.hosts == nil {
		c.hosts = make(map[string]struct{}, len(c.list))
		for i := range c.list {
			c.hosts[c.list[i].Host] = struct{}{}
		}
	}
	c.lost = true
	if _, known := c.hosts[host]; known || len(c.list) >= 2*c.limit {
		return false
	}
	c.hosts[host] = struct{}{}
	return true
}

// found takes a link. It gives false once no more can be kept.
func (s *state) found(f links.Found) bool {
	c := &s.urls
	text := f.Text
	if text == f.Raw {
		text = ""
	}
	if c.known(urlKey{f.Value, text}) {
		return true
	}
	host := f.Value.Host()
	if !c.room(host) {
		return len(c.list) < 2*c.limit
	}
	place := c.place
	if !c.exact {
		place += "/" + f.Where
	}
	if f.Cut {
		s.defect(DefectURLLength, place, "")
	}
	c.list = append(c.list, URL{
		Value: f.Value, Raw: strings.ToValidUTF8(f.Raw, "\uFFFD"), Host: host, Domain: intel.RegistrableDomain(host),
		Place: place, Text: strings.ToValidUTF8(text, "\uFFFD"),
	})
	return true
}

// within gives as much of text as the budget left allows, and takes it from that.
func (s *state) within(left *int64, text []byte, place string) []byte {
	if int64(len(text)) > *left {
		text = text[:*left]
		s.defect(DefectTextLimit, place, "")
	}
	*left -= int64(len(text))
	return text
}

// linksIn looks for links in text. The place is that of the text; how a link
// stands in it is added, unless the place is exact already.
func (s *state) linksIn(text []byte, isHTML bool, place string, exact bool) {
	if len(text) == 0 || s.linkless {
		return
	}
	s.urls.place, s.urls.exact = place, exact
	opts := links.Options{URLBytes: s.limits.URLBytes}
	if isHTML {
		links.HTML(text, opts, s.emit)
		return
	}
	links.Text(text, opts, s.emit)
}

// pageLinks looks for links in a page, those included that are relative to
// where the part says that the page was.
func (s *state) pageLinks(page []byte, c *content, place string) {
	if len(page) == 0 {
		return
	}
	s.urls.place, s.urls.exact = place, false
	links.HTML(page, links.Options{URLBytes: s.limits.URLBytes, Base: c.base}, s.emit)
}
