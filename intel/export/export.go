package export

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
)

// Format names how indicators are written; the package comment says what each
// can say.
type Format string

// The formats.
const (
	STIX           Format = "stix"
	MISP           Format = "misp"
	CSV            Format = "csv"
	Plain          Format = "plain"
	Domains        Format = "domains"
	URLs           Format = "urls"
	IPs            Format = "ips"
	RPZ            Format = "rpz"
	PostfixSenders Format = "postfix-senders"
	PostfixClients Format = "postfix-clients"
)

// Formats lists every format.
func Formats() []Format {
	return []Format{STIX, MISP, CSV, Plain, Domains, URLs, IPs, RPZ, PostfixSenders, PostfixClients}
}

// MediaType gives what HTTP calls a document of this format.
func (f Format) MediaType() string {
	switch f {
	case STIX:
		return "application/stix+json;version=2.1"
	case MISP:
		return "application/json"
	case CSV:
		return "text/csv; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}

// Options says what is written and how.
type Options struct {
	Format      Format
	Now         time.Time         // when this is written
	Disposition intel.Disposition // what the document says; Block unless it is said
	MaxTLP      intel.TLP         // what is marked more strictly is left out; TLPNone: nothing is

	// Allowed reports that an allow excuses all that a block says. Nil: none does.
	Allowed func(*intel.Indicator) bool

	// Added gives when an entry was listed first, zero where nobody knows. Nil: nobody
	// does.
	Added func(*intel.Indicator) time.Time

	Producer string // who says so, for stix and misp; nobody if it is empty
	Title    string // of an event, and in the comment at the head of a text
	Bare     bool   // without notes, IDs and campaigns, which may name people and cases here
}

// defaultTitle is what a document is called unless it is said.
const defaultTitle = "Indicators of Weir"

func (o Options) withDefaults() (Options, error) {
	if !slices.Contains(Formats(), o.Format) {
		return o, fmt.Errorf("export: %q is none of %v", o.Format, Formats())
	}
	if o.Now.IsZero() {
		return o, errors.New("export: Options.Now is missing")
	}
	if o.Disposition == 0 {
		o.Disposition = intel.Block
	}
	if _, ok := intel.ParseDisposition(o.Disposition.String()); !ok {
		return o, fmt.Errorf("export: %s is no disposition", o.Disposition)
	}
	if o.Allowed == nil {
		o.Allowed = func(*intel.Indicator) bool { return false }
	}
	if o.Added == nil {
		o.Added = func(*intel.Indicator) time.Time { return time.Time{} }
	}
	if o.Title == "" {
		o.Title = defaultTitle
	}
	o.Title = onOneLine(o.Title)
	o.Now = o.Now.UTC()
	return o, nil
}

// Write writes a document. An error of the entries or of w ends it, and what was
// written up to there is of no use; the report says what became of the entries.
func Write(w io.Writer, entries iter.Seq2[intel.Indicator, error], o Options) (Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Report{}, err
	}
	d := &document{Options: o, w: bufio.NewWriterSize(w, 64<<10)}
	form := d.form()
	form.begin()
	var last intel.Indicator
	pending := false
	write := func() {
		if !pending {
			return
		}
		if why := form.add(&last); why != "" {
			d.leave(why, &last)
			return
		}
		d.report.Written++
	}
	for ind, err := range entries {
		if err != nil {
			return d.report, fmt.Errorf("export: %w", err)
		}
		if why := d.excluded(&ind); why != "" {
			d.leave(why, &ind)
			continue
		}
		if pending && sameTarget(&last, &ind) {
			merge(&last, &ind)
			d.added = earlier(d.added, d.Added(&ind))
			continue
		}
		write()
		last, pending, d.added = ind, true, d.Added(&ind)
		if d.Bare {
			last.Note, last.ID, last.Campaign = "", "", ""
		}
	}
	write()
	form.end()
	if err := d.w.Flush(); err != nil {
		return d.report, fmt.Errorf("export: %w", err)
	}
	return d.report, nil
}

// form is how a format writes a document. Errors of writing show when it is flushed.
type form struct {
	begin func()
	// add writes an entry, or says why the format cannot say it.
	add func(*intel.Indicator) (why string)
	end func()
}

// document is one document that is being written.
type document struct {
	Options
	w      *bufio.Writer
	added  time.Time // of the entry that is written next
	report Report
}

func (d *document) form() form {
	switch d.Format {
	case STIX:
		return d.stix()
	case MISP:
		return d.misp()
	case CSV:
		return d.csv()
	case RPZ:
		return d.rpz()
	case PostfixSenders:
		return d.postfixSenders()
	case PostfixClients:
		return d.postfixClients()
	}
	return d.plain()
}

// excluded says why an entry is left out whatever the format.
func (d *document) excluded(ind *intel.Indicator) string {
	switch {
	case ind.Disposition != d.Disposition:
		return "says " + ind.Disposition.String()
	case !ind.Until.IsZero() && !d.Now.Before(ind.Until):
		return "has expired"
	case d.MaxTLP != intel.TLPNone && ind.TLP > d.MaxTLP:
		return "is TLP:" + ind.TLP.String()
	case ind.Disposition == intel.Block && d.Allowed(ind):
		return "is allowed"
	}
	return ""
}

// sameTarget reports that two entries are about the same.
func sameTarget(a, b *intel.Indicator) bool {
	return a.Pattern.Form() == b.Pattern.Form() && a.Pattern.Kind() == b.Pattern.Kind() && a.Pattern.Text() == b.Pattern.Text() &&
		slices.Equal(a.Pattern.Fields(), b.Pattern.Fields()) && slices.Equal(a.Roles, b.Roles) && a.Direction == b.Direction
}

// earlier gives the earlier of two times of which zero is longer ago than anybody
// remembers.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// merge adds what another source says of the same.
func merge(into, other *intel.Indicator) {
	into.Confidence = max(into.Confidence, other.Confidence)
	into.TLP = max(into.TLP, other.TLP)
	if into.Until.IsZero() || other.Until.IsZero() {
		into.Until = time.Time{}
	} else if other.Until.After(into.Until) {
		into.Until = other.Until
	}
}

// restricted says that an entry holds only for a part of a message, where the
// format says it of everything but the role that it is about; "" if it does not.
func restricted(ind *intel.Indicator, about ...intel.Role) string {
	if ind.Direction != intel.DirectionAny {
		return "holds for one direction of mail"
	}
	if len(ind.Roles) == 0 || slices.ContainsFunc(ind.Roles, func(r intel.Role) bool { return slices.Contains(about, r) }) {
		return ""
	}
	return "holds for a part of the message"
}

// unsaid says that a format has nothing for this pattern.
func unsaid(p intel.Pattern) string {
	switch p.Form() {
	case intel.FormRegexp:
		return "is a regular expression"
	case intel.FormPrefix:
		return "is the beginning of a URL"
	case intel.FormRange:
		return "is an address range"
	case intel.FormBelow:
		return "is a domain with all below it"
	}
	return "is of kind " + p.Kind().String()
}

const (
	nullSender = "is the null sender"
	unreadable = "would be read as something else"
)

func isNullSender(p intel.Pattern) bool {
	return p.Form() == intel.FormExact && p.Value() == intel.NullSender()
}

// loseEnd counts what texts do not say of an entry although it matters to who
// takes it.
func (d *document) loseEnd(ind *intel.Indicator) {
	if !ind.Until.IsZero() {
		d.lose("its end", ind)
	}
	if ind.TLP != intel.TLPNone {
		d.lose("its marking", ind)
	}
}

func (d *document) print(text ...string) {
	for _, t := range text {
		_, _ = d.w.WriteString(t) // Flush gives the error
	}
}
