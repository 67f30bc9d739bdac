package format

import (
	"fmt"

	"github.com/weirmail/weir/intel"
)

// warninglist reads a list of MISP: first its type, which stands behind the
// entries as often as before them, then these.
func (r *run) warninglist() error {
	kind, listed := "", false
	err := r.document(func(d *document) error {
		start := d.at()
		err := d.object(func(name string) (err error) {
			switch name {
			case "type":
				kind, err = d.string(maxName)
				return err
			case "list":
				listed = true
			}
			return d.skip()
		})
		if err != nil {
			return err
		}
		switch kind {
		case "hostname", "string", "cidr", "substring", "regex":
			if listed {
				return nil
			}
		}
		return &Error{Place: start, Value: legible(kind, maxText), Reason: `is no warninglist of MISP: that has a "list", and a "type" of hostname, string, cidr, substring or regex`, Cure: "see whether the address gives a list.json"}
	})
	if err != nil {
		return err
	}
	return r.document(func(d *document) error {
		return d.object(func(name string) error {
			if name != "list" {
				return d.skip()
			}
			return d.array(func() error { return r.warning(d, kind) })
		})
	})
}

// warning reads one entry of a list of this type.
func (r *run) warning(d *document, kind string) error {
	if _, err := d.must(); err != nil { // white space before it is not its place
		return err
	}
	e := entry{at: d.at(), confidence: -1}
	raw, err := d.value()
	if err != nil {
		return err
	}
	var text loose
	if refused := decode(raw, &text); refused != nil {
		r.pass(refused.reason, refused.detail, e.at, string(raw[:min(len(raw), maxText)]))
		return nil
	}
	e.text = string(text)
	switch kind {
	case "substring", "regex":
		r.pass(Unsupported, fmt.Sprintf("a list of type %s", kind), e.at, e.text)
		return nil
	case "cidr":
		e.kind = intel.KindIP
	case "hostname": // some begin with a dot, which MISP takes off
		if e.text == "" {
			break
		}
		p, refused := r.values.hostname(e.text)
		if refused != nil {
			r.pass(refused.reason, refused.detail, e.at, e.text)
			return nil
		}
		return r.givePattern(p, &e)
	}
	return r.give(&e)
}
