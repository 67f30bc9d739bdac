package format

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirmail/weir/intel"
)

// Feed is a downloaded feed. It is not safe for concurrent use.
type Feed struct {
	opts   Options
	values values
	csv    *csvPlan // of the formats that are csv
	report Report
}

// New checks the options. It opens nothing yet.
func New(o Options) (*Feed, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Feed{opts: o, values: newValues(o)}
	switch o.Format {
	case CSV:
		f.csv = &csvPlan{CSVOptions: o.CSV, kind: o.Kind}
	case URLhaus:
		f.csv = urlhausPlan(o.CSV)
	case ThreatFox:
		f.csv = threatfoxPlan(o.CSV)
	}
	return f, nil
}

// Entries gives the feed's indicators in its order; it is an iter.Seq2 and can be
// ranged over any number of times, each of which reads the feed anew and gives
// the same. An error ends it, and is an *Error: what was given before may only
// be used if none came.
//
// The Line of an indicator is that in a text; in JSON there is none.
func (f *Feed) Entries(yield func(intel.Indicator, error) bool) {
	r := &run{opts: &f.opts, values: &f.values, yield: yield}
	err := f.read(r)
	if err == nil {
		err = r.verdict()
	}
	f.report = r.report
	f.report.Passed = r.passed.sorted()
	if err != nil && !errors.Is(err, errEnough) {
		yield(intel.Indicator{}, r.named(err))
	}
}

// Report says what became of the entries when they were last ranged over, up to
// where that ended.
func (f *Feed) Report() Report { return f.report }

func (f *Feed) read(r *run) error {
	switch f.opts.Format {
	case Plain:
		return r.lines(r.plain)
	case Hosts:
		return r.lines(r.hosts)
	case STIX:
		return r.document(r.stix)
	case MISP:
		return r.misp()
	case Warninglist:
		return r.warninglist()
	}
	return r.csv(f.csv)
}

// errEnough ends a reading that nobody ranges over any more.
var errEnough = errors.New("enough")

// run is one reading of a feed.
type run struct {
	opts   *Options
	values *values
	yield  func(intel.Indicator, error) bool
	report Report
	passed tallies
}

// entry is what a feed says of one value.
type entry struct {
	at         Place
	text       string // as it stands there, for examples
	kind       intel.Kind
	until      time.Time
	seen       time.Time // last, as far as the feed says
	confidence int       // -1: the feed does not say
	tlp        intel.TLP
	note       string
	id         string
	campaign   string
	roles      []intel.Role
	direction  intel.Direction
}

// pass counts an entry that is not given.
func (r *run) pass(reason Reason, detail string, at Place, text string) {
	r.passed.add(reason, detail, at, text, 1)
}

// give reads an entry's value and gives it, or counts why not. An error ends the
// reading.
func (r *run) give(e *entry) error {
	p, refused := r.values.pattern(e.kind, e.text)
	if refused != nil {
		r.pass(refused.reason, refused.detail, e.at, e.text)
		return nil
	}
	return r.givePattern(p, e)
}

func (r *run) givePattern(p intel.Pattern, e *entry) error {
	if !r.values.wants(p.Kind()) {
		r.pass(OtherKind, p.Kind().String(), e.at, e.text)
		return nil
	}
	if e.confidence >= 0 && e.confidence < r.opts.MinConfidence {
		r.pass(LowConfidence, "", e.at, e.text)
		return nil
	}
	until := r.until(e)
	if !until.IsZero() && !r.opts.Now.Before(until) {
		r.pass(Expired, "", e.at, e.text)
		return nil
	}
	if r.report.Entries == r.opts.MaxEntries {
		return &Error{Place: e.at, Value: legible(e.text, maxText), Reason: fmt.Sprintf("is more than the %d entries that a feed may have", r.opts.MaxEntries), Cure: "raise the limit if that is right"}
	}
	r.report.Entries++
	sure := e.confidence
	if sure < 0 {
		sure = r.opts.Confidence
	}
	ind := intel.Indicator{
		Pattern: p, Disposition: r.opts.Disposition, Source: r.opts.Source, Line: e.at.Line,
		Until: until, Roles: e.roles, Direction: e.direction,
		Confidence: sure, TLP: e.tlp,
		Note: legible(e.note, maxNote), ID: legible(e.id, maxID), Campaign: legible(e.campaign, maxCampaign),
	}
	if !r.yield(ind, nil) {
		return errEnough
	}
	return nil
}

// until gives the moment from which an entry no longer counts. A feed that saw
// something in the future does not keep it for longer.
func (r *run) until(e *entry) time.Time {
	until := e.until
	if r.opts.MaxAge > 0 && !e.seen.IsZero() {
		seen := e.seen
		if seen.After(r.opts.Now) {
			seen = r.opts.Now
		}
		if aged := seen.Add(r.opts.MaxAge); until.IsZero() || aged.Before(until) {
			until = aged
		}
	}
	return until.UTC().Truncate(time.Second)
}

// fewMalformed is how many malformed entries no share speaks against.
const fewMalformed = 5

// verdict looks back on a reading that came to its end. A text can be anything
// up to here; JSON has shown its shape, and is often one document of many.
func (r *run) verdict() error {
	bad, all := r.passed.malformed, r.passed.total+r.report.Entries
	many := bad > fewMalformed && float64(bad) > r.opts.MaxMalformed*float64(all)
	switch r.opts.Format {
	case MISP: // one event that its author got wrong is not the feed
		many = false
	case STIX, Warninglist:
	default:
		many = many || bad > 0 && bad == all
	}
	if !many {
		return nil
	}
	first, why := r.passed.first()
	return &Error{Place: first.Place, Value: first.Text, Reason: fmt.Sprintf("%s, and so on: %d of %d entries cannot be read as %s", why, bad, all, r.opts.Format),
		Cure: "see whether the address gives the feed or a page for people, and whether the format is right"}
}

// named gives an error the name of the feed.
func (r *run) named(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Reason: "reading it failed", Err: err}
	}
	e.Source = r.opts.Source
	return e
}

// open opens the feed, with a buffer of so many bytes.
func (r *run) open(buffer int) (*input, error) {
	rc, err := r.opts.Open()
	if err != nil {
		return nil, &Error{Reason: "opening it failed", Err: err}
	}
	in, err := newInput(rc, buffer)
	if err != nil {
		_ = rc.Close()
		return nil, err
	}
	return in, nil
}
