package format

import (
	"fmt"
	"strings"

	"github.com/weirmail/weir/intel"
)

// mispEvent is what an event says of itself.
type mispEvent struct {
	uuid string
	info string
	tlp  intel.TLP
}

// maxEvents is the number of events that one document may have. They are known
// before their attributes are read, because the order of an event's members is
// anyone's choice.
const maxEvents = 10_000

// misp reads events: first what they say of themselves, then their attributes.
func (r *run) misp() error {
	var events []mispEvent
	err := r.document(func(d *document) error {
		return eachEvent(d, func() error {
			if len(events) == maxEvents {
				return &Error{Place: d.at(), Reason: fmt.Sprintf("is more than the %d events that one file may have", maxEvents), Cure: "take the feed by its manifest, one event a file"}
			}
			ev, err := readEvent(d)
			events = append(events, ev)
			return err
		})
	})
	if err != nil {
		return err
	}
	next := 0
	return r.document(func(d *document) error {
		return eachEvent(d, func() error {
			if next == len(events) {
				return d.wrong("was not there when the feed was read before", "the file changed while it was read")
			}
			next++
			return r.attributesOf(d, &events[next-1])
		})
	})
}

// eachEvent calls event where the object of an event stands: in {"Event": …}, in
// "response" or in a list of such.
func eachEvent(d *document, event func() error) error {
	start, found := d.at(), false
	wrapper := func(name string) error {
		if name == "Event" {
			found = true
			return event()
		}
		return d.skip()
	}
	listOr := func(member func(name string) error) error {
		if list, err := d.is('['); err != nil {
			return err
		} else if !list {
			return d.object(member)
		}
		empty := true
		err := d.array(func() error {
			empty = false
			return d.object(wrapper)
		})
		found = found || empty
		return err
	}
	err := listOr(func(name string) error {
		if name == "response" {
			return listOr(wrapper)
		}
		return wrapper(name)
	})
	if err == nil && !found {
		err = &Error{Place: start, Reason: `is no event of MISP: it has no "Event"`, Cure: "see whether the address gives an event, a manifest or an error"}
	}
	return err
}

type mispTag struct {
	Name string `json:"name"`
}

// strictest gives the strictest marking among tags.
func strictest(tags []mispTag) intel.TLP {
	tlp := intel.TLPNone
	for _, tag := range tags {
		tlp = max(tlp, tlpOfTag(tag.Name))
	}
	return tlp
}

func readEvent(d *document) (ev mispEvent, err error) {
	text := func(into *string, most int) error {
		raw, err := d.value()
		if err != nil {
			return err
		}
		var l loose
		if decode(raw, &l) == nil {
			*into = legible(string(l), most)
		}
		return nil
	}
	err = d.object(func(name string) error {
		switch name {
		case "uuid":
			return text(&ev.uuid, maxID)
		case "info":
			return text(&ev.info, maxCampaign)
		case "Tag":
			raw, err := d.value()
			if err != nil {
				return err
			}
			var tags []mispTag
			if decode(raw, &tags) != nil {
				ev.tlp = intel.TLPRed // what cannot be read may forbid
				return nil
			}
			ev.tlp = max(ev.tlp, strictest(tags))
			return nil
		}
		return d.skip()
	})
	return ev, err
}

// attributesOf gives the attributes of an event and of its objects.
func (r *run) attributesOf(d *document, ev *mispEvent) error {
	return d.object(func(name string) error {
		switch name {
		case "Attribute":
			return d.array(func() error { return r.attribute(d, ev, false) })
		case "Object":
			return d.array(func() error {
				deleted := false
				return d.object(func(name string) error {
					switch name {
					case "deleted": // stands before the attributes, which say it too
						raw, err := d.value()
						var l loose
						deleted = err == nil && decode(raw, &l) == nil && l.truth()
						return err
					case "Attribute":
						return d.array(func() error { return r.attribute(d, ev, deleted) })
					}
					return d.skip()
				})
			})
		}
		return d.skip()
	})
}

type mispAttribute struct {
	Type      string    `json:"type"`
	Value     loose     `json:"value"`
	Comment   loose     `json:"comment"`
	ToIDs     loose     `json:"to_ids"`
	Deleted   loose     `json:"deleted"`
	Timestamp loose     `json:"timestamp"`
	LastSeen  loose     `json:"last_seen"`
	Tag       []mispTag `json:"Tag"`
}

func (r *run) attribute(d *document, ev *mispEvent, deleted bool) error {
	if _, err := d.must(); err != nil { // white space before it is not its place
		return err
	}
	at := d.at()
	raw, err := d.value()
	if err != nil {
		return err
	}
	var a mispAttribute
	if refused := decode(raw, &a); refused != nil {
		r.pass(refused.reason, refused.detail, at, string(raw[:min(len(raw), maxText)]))
		return nil
	}
	value := strings.TrimSpace(string(a.Value))
	switch {
	case a.Type == "":
		r.pass(Malformed, "is an attribute without a type", at, value)
		return nil
	case deleted || a.Deleted.truth():
		r.pass(Revoked, "", at, value)
		return nil
	case !a.ToIDs.truth():
		r.pass(NotDetection, "", at, value)
		return nil
	}
	e := entry{
		at: at, confidence: -1, tlp: max(ev.tlp, strictest(a.Tag)),
		note: string(a.Comment), id: ev.uuid, campaign: ev.info,
		seen: parseTime(string(a.LastSeen)),
	}
	if e.seen.IsZero() {
		e.seen = parseTime(string(a.Timestamp))
	}
	if !e.is(a.Type, value) {
		r.pass(Unsupported, "type "+a.Type, at, value)
		return nil
	}
	return r.give(&e)
}

// is takes the value of an attribute over, by its type; false if it is of one
// that mail cannot be searched for. Of two that | joins one tells what the
// attribute is about: the digest of a file by name, the name and not the address
// where it is hosted, the address and not its port.
func (e *entry) is(kind, value string) bool {
	first, _, _ := strings.Cut(value, "|")
	last := value[strings.LastIndexByte(value, '|')+1:]
	e.text = value
	if hash, ok := strings.CutPrefix(kind, "filename|"); ok {
		kind, e.text = hash, last
	}
	switch kind {
	case "md5":
		e.kind = intel.KindMD5
	case "sha1":
		e.kind = intel.KindSHA1
	case "sha256":
		e.kind = intel.KindSHA256
	case "malware-sample":
		e.kind, e.text = intel.KindMD5, last
	case "url", "link":
		e.kind = intel.KindURL
	case "domain", "hostname":
		e.kind = intel.KindDomain
	case "domain|ip", "hostname|port":
		e.kind, e.text = intel.KindDomain, first
	case "ip-src", "ip-dst":
		e.kind = intel.KindIP
	case "ip-src|port", "ip-dst|port":
		e.kind, e.text = intel.KindIP, first
	case "email", "email-src", "email-reply-to":
		e.kind = intel.KindAddress
	case "email-dst": // where stolen mail goes, or else a victim
		e.kind, e.roles, e.direction = intel.KindAddress, []intel.Role{intel.RoleRcpt}, intel.Outbound
	default:
		return false
	}
	return true
}
