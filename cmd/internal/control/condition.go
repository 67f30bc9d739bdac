package control

import (
	"net/netip"
	"strings"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

// condition is something that entries have to meet. Of head and observable at
// least one is set; to meet either is enough.
type condition struct {
	// keys are those of which each entry has one that meets the condition. Without
	// any, the index is of no help.
	keys       []journal.Key
	head       func(*journal.Entry) bool // looks at no parts, observables and hits
	observable func(*intel.Observable) bool
}

// met reports whether an entry meets the condition.
func (c *condition) met(e *journal.Entry) bool {
	if c.head != nil && c.head(e) {
		return true
	}
	if c.observable != nil {
		for i := range e.Observables {
			if c.observable(&e.Observables[i]) {
				return true
			}
		}
	}
	return false
}

// anyOf is met by what meets one of the readings.
func anyOf(readings []reading) condition {
	var c condition
	indexed := true
	var heads []func(*journal.Entry) bool
	var observables []func(*intel.Observable) bool
	for _, r := range readings {
		c.keys = append(c.keys, r.keys...)
		indexed = indexed && len(r.keys) > 0
		if r.head != nil {
			heads = append(heads, r.head)
		}
		if r.observable != nil {
			observables = append(observables, r.observable)
		}
	}
	if !indexed {
		c.keys = nil
	}
	if heads != nil {
		c.head = either(heads)
	}
	if observables != nil {
		c.observable = either(observables)
	}
	return c
}

func either[T any](all []func(T) bool) func(T) bool {
	return func(t T) bool {
		for _, f := range all {
			if f(t) {
				return true
			}
		}
		return false
	}
}

// conditions is all that a query asks for.
type conditions struct {
	all      []condition
	readings []reading // of its value
}

// query gives what the journal is asked for.
func (cs *conditions) query(q journal.Query) journal.Query {
	for i := range cs.all {
		q.Keys = append(q.Keys, cs.all[i].keys)
	}
	q.Glance = func(e *journal.Entry) bool {
		for i := range cs.all {
			if c := &cs.all[i]; c.observable == nil && !c.head(e) {
				return false
			}
		}
		return true
	}
	q.Match = func(e *journal.Entry) bool {
		for i := range cs.all {
			if c := &cs.all[i]; c.observable != nil && !c.met(e) {
				return false
			}
		}
		return true
	}
	return q
}

// matched gives the observables of an entry that answer the query, the first ones.
func (cs *conditions) matched(e *journal.Entry) (matched []api.Observable) {
	for i := range e.Observables {
		o := &e.Observables[i]
		for k := range cs.all {
			if len(matched) < maxMatched && cs.all[k].observable != nil && cs.all[k].observable(o) {
				matched = append(matched, observableOf(o))
				break
			}
		}
	}
	return matched
}

// conditionsOf reads a query. The error is an *api.Error. What names one message
// stands first: the index is asked for it before all else.
func conditionsOf(in *api.JournalQuery) (*conditions, error) {
	cs := &conditions{}
	f := newFolder()
	for _, read := range []struct {
		name, text string
		condition  func(text string) (condition, error)
	}{
		{"message_id", in.MessageID, func(text string) (condition, error) { return hasMessageID(bareMessageID(text)), nil }},
		{"queue_id", in.QueueID, func(text string) (condition, error) { return hasQueueID(text), nil }},
		{"value", in.Value, func(text string) (c condition, err error) {
			cs.readings, err = readingsOf(text, in.As)
			return anyOf(cs.readings), err
		}},
		{"hash", in.Hash, hasDigest},
		{"url", in.URL, hasLink},
		{"sender", in.Sender, func(text string) (condition, error) { return f.hasSender(text), nil }},
		{"recipient", in.Recipient, func(text string) (condition, error) { return f.hasRecipient(text), nil }},
		{"login", in.Login, func(text string) (condition, error) { return hasLogin(text), nil }},
		{"client", in.Client, hasClient},
		{"host", in.Host, hasHost},
		{"domain", in.Domain, hasDomain},
		{"subject", in.Subject, f.hasSubject},
		{"file", in.File, func(text string) (condition, error) { return f.hasFile(text), nil }},
		{"direction", in.Direction, func(text string) (condition, error) {
			return condition{head: func(e *journal.Entry) bool { return e.Direction.String() == text }}, nil
		}},
		{"verdict", in.Verdict, func(text string) (condition, error) {
			return condition{head: func(e *journal.Entry) bool { return e.Action.String() == text }}, nil
		}},
		{"rule", in.Rule, func(text string) (condition, error) {
			return condition{head: func(e *journal.Entry) bool { return e.Rule == text }}, nil
		}},
	} {
		if read.text == "" {
			continue
		}
		text := strings.TrimSpace(read.text)
		if f.fold(text) == "" {
			return nil, api.Errorf(api.BadRequest, "%s= has nothing in it to look for", read.name)
		}
		c, err := read.condition(text)
		if err != nil {
			return nil, err
		}
		cs.all = append(cs.all, c)
	}
	if in.As != "" && in.Value == "" {
		return nil, api.Errorf(api.BadRequest, "as= says how to read value=, which is missing")
	}
	return cs, nil
}

func hasMessageID(id string) condition {
	return condition{keys: []journal.Key{journal.KeyOfMessageID(id)}, head: func(e *journal.Entry) bool { return e.MessageID == id }}
}

func hasQueueID(id string) condition {
	return condition{keys: []journal.Key{journal.KeyOfQueueID(id)}, head: func(e *journal.Entry) bool { return e.QueueID == id }}
}

func hasLogin(login string) condition {
	login = strings.ToLower(login)
	return condition{keys: []journal.Key{journal.KeyOfLogin(login)}, head: func(e *journal.Entry) bool { return strings.ToLower(e.AuthUser) == login }}
}

func hasDigest(text string) (condition, error) {
	v, err := intel.Digest(text)
	if err != nil {
		return condition{}, unfit("hash", text, "is no SHA-256, SHA-1 or MD5 in hex: 64, 40 or 32 digits")
	}
	return shows(v), nil
}

func hasLink(text string) (condition, error) {
	if r, ok := readURLPrefix(text); ok {
		return r.condition, nil
	}
	v, err := intel.URL(intel.Refang(text))
	if err != nil || strings.HasSuffix(text, "*") {
		return condition{}, unfit("url", text, "is no URL, nor the beginning of one and a *: it has a scheme and a host, and before a * a path, as in https://evil.example/pay/*")
	}
	return shows(v), nil
}

// hasHost is met by a link to a host.
func hasHost(text string) (condition, error) {
	text = intel.Refang(text)
	var c condition
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		v, err := intel.IP(a)
		if err != nil {
			return condition{}, unfit("host", text, "is no host of a link")
		}
		c = shows(v)
	} else if c, err = hasDomain(text); err != nil {
		return condition{}, unfit("host", text, "is neither a domain nor an IP address")
	}
	in := c.observable
	c.head = nil
	c.observable = func(o *intel.Observable) bool { return o.Value.Kind() == intel.KindURL && in(o) }
	return c, nil
}

func hasDomain(text string) (condition, error) {
	v, err := intel.Domain(strings.TrimPrefix(intel.Refang(text), "."))
	if err != nil {
		return condition{}, unfit("domain", text, "is no domain")
	}
	return shows(v), nil
}

// hasClient is met by what a client handed over; that a link goes there, or a
// relay before it was there, is something else.
func hasClient(text string) (condition, error) {
	text = intel.Refang(text)
	p, err := netip.ParsePrefix(text)
	if a, errAddr := netip.ParseAddr(text); errAddr == nil {
		p, err = netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
	}
	if err != nil {
		return condition{}, unfit("client", text, "is neither an IP address nor a range as 198.51.100.0/24")
	}
	if p = unmapped(p); p != p.Masked() {
		return condition{}, unfit("client", text, "has host bits set; the range is "+p.Masked().String())
	}
	return condition{keys: rangeKeys(p), head: cameFrom(p)}, nil
}

// unmapped gives a range of IPv4 addresses that were mapped into IPv6 as one of
// IPv4 addresses.
func unmapped(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p
}

// cameFrom tells what a client in a range handed over.
func cameFrom(p netip.Prefix) func(*journal.Entry) bool {
	return func(e *journal.Entry) bool { return e.Client.IsValid() && p.Contains(e.Client.Unmap().WithZone("")) }
}

// rangeKeys gives the keys of addresses in a range, none for one that is wider
// than any that has a key.
func rangeKeys(p netip.Prefix) []journal.Key {
	if p.IsSingleIP() {
		if v, err := intel.IP(p.Addr()); err == nil {
			return []journal.Key{journal.KeyOf(v)}
		}
	}
	if key, ok := journal.KeyOfRange(p); ok {
		return []journal.Key{key}
	}
	return nil
}

// hostKeys gives the keys of links to a host.
func hostKeys(host string) []journal.Key {
	if a, err := netip.ParseAddr(host); err == nil {
		return rangeKeys(netip.PrefixFrom(a, a.BitLen()))
	}
	if v, err := intel.Domain(host); err == nil {
		return []journal.Key{journal.KeyOf(v)}
	}
	return nil
}

func unfit(name, text, why string) error {
	const most = 100
	if len(text) > most {
		text = text[:most] + "…"
	}
	return api.Errorf(api.BadRequest, "%s=%s %s", name, strings.ToValidUTF8(text, "\uFFFD"), why)
}
