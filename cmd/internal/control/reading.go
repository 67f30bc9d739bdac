package control

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/list"
)

// The ways to read what is looked for, besides the kinds of values.
const (
	asID        = "id"
	asQueueID   = "queue-id"
	asMessageID = "message-id"
)

// reading is one way to understand what is looked for.
type reading struct {
	as    string
	value string
	condition
}

// readingsOf gives every way in which a text can be read, or the one that is
// wanted. The error is an *api.Error.
func readingsOf(text, as string) ([]reading, error) {
	text = strings.TrimSpace(text)
	var found []reading
	try := func(name string, r reading, ok bool) {
		if ok && (as == "" || as == name) {
			r.as = name
			found = append(found, r)
		}
	}
	r, ok := readID(text)
	try(asID, r, ok)
	r, ok = readMessageID(text, as == asMessageID)
	try(asMessageID, r, ok)
	r, ok = readRange(text)
	try(intel.KindIP.String(), r, ok)
	r, ok = readURLPrefix(text)
	try(intel.KindURL.String(), r, ok)
	var problem error
	if r, problem = readValue(text, as); problem == nil {
		try(r.as, r, true)
	}
	// What is a word of letters and digits and nothing better may be a queue ID.
	r, ok = readQueueID(text, as == asQueueID)
	try(asQueueID, r, ok && len(found) == 0)
	if len(found) > 0 {
		return found, nil
	}
	e := &api.Error{Code: api.BadRequest, Text: "the journal cannot be searched for " + strings.ToValidUTF8(text, "\uFFFD"),
		Cure: "give an X-Weir-ID, a queue ID, a Message-ID, an address, a domain, a URL, a digest, an IP address or a range"}
	if as != "" {
		e.Text += " as " + as
		if problem != nil {
			e.Text += ": " + problem.Error()
		}
	}
	return nil, e
}

func isID(text string) bool {
	_, ok := ident.ParseID(text)
	return ok
}

func readID(text string) (reading, bool) {
	id, ok := entryID(text)
	return reading{value: id, condition: condition{keys: []journal.Key{journal.KeyOfID(id)},
		head: func(e *journal.Entry) bool { return e.ID == id || e.Parent == id }}}, ok
}

// isQueueID reports what can be one: those of Postfix are hexadecimal, or long
// ones in base 52; those of Sendmail letters and digits.
func isQueueID(text string) bool {
	return len(text) >= 5 && len(text) <= 20 && strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}) < 0
}

func readQueueID(text string, forced bool) (reading, bool) {
	return reading{value: text, condition: hasQueueID(text)}, forced || isQueueID(text)
}

func readMessageID(text string, forced bool) (reading, bool) {
	id := bareMessageID(text)
	return reading{value: id, condition: hasMessageID(id)}, id != "" && (forced || strings.Contains(id, "@") && !strings.ContainsAny(id, " /"))
}

func bareMessageID(text string) string { return strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">") }

// readRange reads a block of addresses.
func readRange(text string) (reading, bool) {
	p, err := netip.ParsePrefix(text)
	if p = unmapped(p); err != nil || p != p.Masked() || p.IsSingleIP() {
		return reading{}, false
	}
	return reading{value: p.String(), condition: condition{keys: rangeKeys(p), head: cameFrom(p), observable: func(o *intel.Observable) bool {
		a, ok := addrOf(o.Value)
		return ok && p.Contains(a)
	}}}, true
}

// addrOf gives the address that a value is, or that a URL has for a host.
func addrOf(v intel.Value) (netip.Addr, bool) {
	if a, ok := v.Addr(); ok {
		return a, true
	}
	host := v.Host()
	if host == "" || host[0] > '9' && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{}, false // most are names, and an error costs
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// readURLPrefix reads all URLs that begin in one way.
func readURLPrefix(text string) (reading, bool) {
	if !strings.Contains(text, "*") {
		return reading{}, false
	}
	p, err := intel.URLPrefix(intel.Refang(text))
	if err != nil {
		return reading{}, false
	}
	host, err := intel.URL(p.Text())
	if err != nil {
		return reading{}, false
	}
	begin := p.MatchText()
	return reading{value: p.String() + "*", condition: condition{keys: hostKeys(host.Host()), observable: func(o *intel.Observable) bool {
		return o.Value.Kind() == intel.KindURL && strings.HasPrefix(intel.Exact(o.Value).MatchText(), begin)
	}}}, true
}

// readValue reads anything that a message can carry. A domain stands for all
// below it.
func readValue(text, as string) (reading, error) {
	text = strings.TrimPrefix(text, ".")
	if _, ok := intel.ParseKind(as); ok && as != "" {
		text = as + ":" + text
	}
	v, err := list.ParseValue(text)
	if err != nil {
		return reading{}, err
	}
	return reading{as: v.Kind().String(), value: v.String(), condition: shows(v)}, nil
}

// shows is met by what carries a value; a domain stands for all below it. The
// envelope is asked too: of very many observables not all were kept.
func shows(v intel.Value) condition {
	is := func(o intel.Value) bool { return o == v }
	switch v.Kind() {
	case intel.KindDomain:
		is = func(o intel.Value) bool { return isBelow(o.Host(), v.String()) }
	case intel.KindIP:
		want, _ := v.Addr()
		is = func(o intel.Value) bool {
			a, ok := addrOf(o)
			return ok && a == want
		}
	case intel.KindURL:
		// A link over http is the same over https.
		want := intel.Exact(v).MatchText()
		is = func(o intel.Value) bool { return o.Kind() == intel.KindURL && intel.Exact(o).MatchText() == want }
	}
	c := condition{keys: []journal.Key{journal.KeyOf(v)}, observable: func(o *intel.Observable) bool { return is(o.Value) }}
	switch v.Kind() {
	case intel.KindAddress, intel.KindDomain:
		inEnvelope := func(text string) bool {
			a, ok := journal.AddressOf(text)
			return ok && is(a)
		}
		c.head = func(e *journal.Entry) bool { return inEnvelope(e.From) || slices.ContainsFunc(e.To, inEnvelope) }
	case intel.KindIP:
		c.head = func(e *journal.Entry) bool {
			client, err := intel.IP(e.Client)
			return err == nil && client == v
		}
	}
	return c
}

// isBelow reports whether host is the domain, or lies below it.
func isBelow(host, domain string) bool {
	above, ok := strings.CutSuffix(host, domain)
	return ok && (above == "" || above[len(above)-1] == '.')
}
