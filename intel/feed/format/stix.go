package format

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
)

// maxNext bounds what an envelope calls its next page, in bytes.
const maxNext = 4 << 10

// stix reads a bundle (STIX 2.1 section 8) or an envelope (TAXII 2.1 section 3.7).
func (r *run) stix(d *document) error {
	objects, envelope, members := false, false, 0
	start := d.at()
	err := d.object(func(name string) error {
		members++
		switch name {
		case "type":
			kind, err := d.value()
			envelope = envelope || string(kind) == `"bundle"`
			return err
		case "more":
			raw, err := d.value()
			envelope = true
			r.report.More = string(raw) == "true"
			return err
		case "next":
			null, err := d.is('n')
			if err != nil {
				return err
			}
			if null {
				return d.skip()
			}
			r.report.Next, err = d.string(maxNext)
			return err
		case "objects":
			objects = true
			return d.array(func() error { return r.stixObject(d) })
		}
		return d.skip()
	})
	if err == nil && !objects && !envelope && members > 0 {
		err = &Error{Place: start, Reason: `is no bundle of STIX 2 and no envelope of TAXII 2.1: it has no "objects"`, Cure: "see whether the address gives the feed, or an error"}
	}
	return err
}

// campaignLabel begins a label that names the campaign of an indicator: STIX keeps
// campaigns in objects of their own, that relationships of any object behind it
// lead to.
const campaignLabel = "campaign:"

// stixObject is what an object that may be an indicator says of itself.
type stixObject struct {
	Type           string   `json:"type"`
	ID             string   `json:"id"`
	Name           string   `json:"name"`
	Description    string   `json:"description"`
	Pattern        string   `json:"pattern"`
	PatternType    string   `json:"pattern_type"`
	Revoked        loose    `json:"revoked"`
	Modified       string   `json:"modified"`
	ValidFrom      string   `json:"valid_from"`
	ValidUntil     string   `json:"valid_until"`
	Confidence     loose    `json:"confidence"`
	IndicatorTypes []string `json:"indicator_types"`
	Labels         []string `json:"labels"`
	Markings       []string `json:"object_marking_refs"`
}

func (r *run) stixObject(d *document) error {
	if _, err := d.must(); err != nil { // white space before it is not its place
		return err
	}
	at := d.at()
	raw, err := d.value()
	if err != nil {
		return err
	}
	var o stixObject
	refused := decode(raw, &o)
	if r.opts.Object != nil {
		r.opts.Object(legible(o.ID, maxID))
	}
	if refused != nil {
		if o.Type == "" || o.Type == "indicator" {
			r.pass(refused.reason, refused.detail, at, string(raw[:min(len(raw), maxText)]))
		}
		return nil
	}
	if o.Type != "indicator" {
		if o.Type == "" {
			r.pass(Malformed, "is an object without a type", at, string(raw[:min(len(raw), maxText)]))
		}
		return nil
	}
	return r.indicator(&o, at)
}

func (r *run) indicator(o *stixObject, at Place) error {
	e := entry{
		at: at, id: o.ID, note: cmp.Or(o.Name, o.Description), confidence: -1,
		until: parseTime(o.ValidUntil), seen: parseTime(cmp.Or(o.Modified, o.ValidFrom)),
	}
	from := parseTime(o.ValidFrom)
	benign := func(label string) bool { return strings.EqualFold(label, "benign") }
	switch {
	case o.Revoked.truth():
		r.pass(Revoked, "", at, o.Pattern)
		return nil
	case o.ValidUntil != "" && e.until.IsZero(), o.ValidFrom != "" && from.IsZero():
		r.pass(Malformed, "has no time where it begins or ends to be valid", at, o.ValidFrom+" "+o.ValidUntil)
		return nil
	case from.After(r.opts.Now):
		r.pass(NotYetValid, "", at, o.Pattern)
		return nil
	case r.opts.Disposition != intel.Allow && (slices.ContainsFunc(o.IndicatorTypes, benign) || slices.ContainsFunc(o.Labels, benign)):
		r.pass(Benign, "", at, o.Pattern)
		return nil
	case o.PatternType != "" && o.PatternType != "stix": // STIX 2.0 has no other
		r.pass(Unsupported, "pattern type "+o.PatternType, at, o.Pattern)
		return nil
	}
	if o.Confidence != "" {
		if e.confidence = parseConfidence(string(o.Confidence)); e.confidence < 0 {
			r.pass(Malformed, noConfidence, at, string(o.Confidence))
			return nil
		}
	}
	for _, ref := range o.Markings {
		e.tlp = max(e.tlp, tlpOfRef(ref))
	}
	for _, label := range o.Labels {
		e.tlp = max(e.tlp, tlpOfTag(label))
		if campaign, ok := strings.CutPrefix(label, campaignLabel); ok && e.campaign == "" {
			e.campaign = campaign
		}
	}
	values, refused := stixPattern(o.Pattern, r.opts.MaxDepth)
	for _, why := range refused {
		r.pass(why.reason, why.detail, at, o.Pattern)
	}
	for _, value := range values {
		e.kind, e.text = value.kind, value.text
		if value.isSubnet {
			p, refused := r.values.subnet(value.text)
			if refused != nil {
				r.pass(refused.reason, refused.detail, at, value.text)
				continue
			}
			if err := r.givePattern(p, &e); err != nil {
				return err
			}
			continue
		}
		if err := r.give(&e); err != nil {
			return err
		}
	}
	return nil
}
