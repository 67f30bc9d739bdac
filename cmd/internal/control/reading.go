package control

import (
	"net/netip"
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

// reading is one way to understand what is looked for: under which key the
// journal has it, and how to tell an entry that has it from one that shares the
// key. One of entry and observable is set.
type reading struct {
	as         string
	value      string
	key        journal.Key
	entry      func(*journal.Entry) bool
	observable func(intel.Value) bool
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
	return reading{value: id, key: journal.KeyOfID(id), entry: func(e *journal.Entry) bool { return e.ID == id || e.Parent == id }}, ok
}

// isQueueID reports what can be one: those of Postfix are hexadecimal, or long
// ones in base 52; those of Sendmail letters and digits.
func isQueueID(text string) bool {
	return len(text) >= 5 && len(text) <= 20 && strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}) < 0
}

func readQueueID(text string, forced bool) (reading, bool) {
	return reading{value: text, key: journal.KeyOfQueueID(text), entry: func(e *journal.Entry) bool { return e.QueueID == text }},
		forced || isQueueID(text)
}

func readMessageID(text string, forced bool) (reading, bool) {
	id := strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">")
	return reading{value: id, key: journal.KeyOfMessageID(id), entry: func(e *journal.Entry) bool { return e.MessageID == id }},
		id != "" && (forced || strings.Contains(id, "@") && !strings.ContainsAny(id, " /"))
}

// readRange reads a block of addresses. Blocks that are wider than any that has
// a key cannot be looked up.
func readRange(text string) (reading, bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p != p.Masked() || p.IsSingleIP() {
		return reading{}, false
	}
	key, ok := journal.KeyOfRange(p)
	return reading{value: p.String(), key: key, observable: func(v intel.Value) bool {
		a, ok := addrOf(v)
		return ok && p.Contains(a)
	}}, ok
}

// addrOf gives the address that a value is, or that a URL has for a host.
func addrOf(v intel.Value) (netip.Addr, bool) {
	if a, ok := v.Addr(); ok {
		return a, true
	}
	a, err := netip.ParseAddr(v.Host())
	return a, err == nil
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
	r := reading{as: v.Kind().String(), value: v.String(), key: journal.KeyOf(v)}
	switch v.Kind() {
	case intel.KindDomain:
		name := v.String()
		r.observable = func(o intel.Value) bool {
			host := o.Host()
			return host == name || strings.HasSuffix(host, "."+name)
		}
	case intel.KindIP:
		want, _ := v.Addr()
		r.observable = func(o intel.Value) bool {
			a, ok := addrOf(o)
			return ok && a == want
		}
	default:
		// A link over http is the same over https.
		want := string(v.AppendKey(nil))
		r.observable = func(o intel.Value) bool { return string(o.AppendKey(nil)) == want }
	}
	return r, nil
}
