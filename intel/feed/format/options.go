package format

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
)

// Format names how a feed is written; the package comment says what each takes.
type Format string

// The formats.
const (
	Plain       Format = "plain"
	Hosts       Format = "hosts"
	CSV         Format = "csv"
	URLhaus     Format = "urlhaus"
	ThreatFox   Format = "threatfox"
	STIX        Format = "stix"
	MISP        Format = "misp"
	Warninglist Format = "misp-warninglist"
)

// Formats lists every format.
func Formats() []Format {
	return []Format{Plain, Hosts, CSV, URLhaus, ThreatFox, STIX, MISP, Warninglist}
}

// Bounds on what an indicator takes over from a feed, in bytes.
const (
	maxID       = 128
	maxCampaign = 128
	maxNote     = 256
)

// Options says how a feed is read. Zero limits take the defaults named with
// them.
type Options struct {
	Format Format
	// Open gives the feed's bytes, from the beginning each time: a reading opens
	// it once or twice.
	Open        func() (io.ReadCloser, error)
	Source      string            // the Source of the indicators, and the name that errors carry
	Disposition intel.Disposition // what the entries do
	Now         time.Time         // tells what has expired

	Kind       intel.Kind   // of the values, for plain and csv; 0: by their form
	Kinds      []intel.Kind // entries of other kinds are passed over; none: all are taken
	Subdomains bool         // a domain stands for all below it too, unless it is a public suffix
	Internal   bool         // loopback, private and such addresses are taken
	Wide       bool         // what stands for strangers is taken, such as co.uk with all below it
	Offline    bool         // what the feed calls offline is taken

	// Confidence, 0 to 100, is that of entries of which the feed does not say how sure
	// it is; 0: unknown.
	Confidence int
	// MinConfidence, 0 to 100, passes over what the feed is less sure of. What says
	// nothing about it is taken.
	MinConfidence int
	// MaxAge ends an entry so long after the feed last saw it, where it says when.
	// 0: the feed's own end alone counts.
	MaxAge time.Duration

	// Object, where not nil, is told the ID of each object of STIX, whatever it is:
	// revoked ones too, and those that are passed over.
	Object func(id string)

	CSV CSVOptions

	MaxEntries   int     // that are given; 10 000 000
	MaxLine      int     // bytes of a line, or of a record of csv; 64 KiB
	MaxObject    int     // bytes of one JSON object that is looked at; 1 MiB
	MaxDepth     int     // of nested JSON, and of brackets in a pattern; 64
	MaxMalformed float64 // share of what is read that may be malformed; 0.25
}

// CSVOptions says how the format csv is read; other formats have their own.
type CSVOptions struct {
	Comma   byte    // between fields; ','
	Comment byte    // begins a comment; '#'
	Header  bool    // the first record names the columns; of use where they are told by number
	Columns Columns // by name or, from 1, by number
}

// Columns says which column holds what. A column is told by its number from 1,
// or by its name, in upper or lower case, as the first record has it or the last
// comment before the data. Empty: there is none.
type Columns struct {
	Value      string   // needed
	Kind       string   // what the value is: a kind's name, or as ThreatFox and MISP say it
	Status     string   // "offline" and "inactive" are passed over
	ID         string   //
	Note       []string // joined with commas
	Tags       string   // joins the note; one of them can be a TLP marking
	Campaign   string   //
	Confidence string   // 0 to 100
	Seen       string   // a time, for MaxAge
	LastSeen   string   // the same; counts before Seen
	Until      string   // a time
}

func (o Options) withDefaults() (Options, error) {
	bad := func(why string, args ...any) (Options, error) {
		return o, fmt.Errorf("feed format: "+why, args...)
	}
	switch {
	case !slices.Contains(Formats(), o.Format):
		return bad("%q is none of %v", o.Format, Formats())
	case o.Open == nil:
		return bad("Options.Open is missing")
	case o.Now.IsZero():
		return bad("Options.Now is missing")
	case o.Kind != 0 && !slices.Contains(intel.Kinds(), o.Kind):
		return bad("%s is no kind", o.Kind)
	case o.Confidence < 0 || o.Confidence > 100:
		return bad("a confidence of %d; it is 0 to 100", o.Confidence)
	case o.MinConfidence < 0 || o.MinConfidence > 100:
		return bad("a confidence of %d; it is 0 to 100", o.MinConfidence)
	case o.MaxAge < 0 || o.MaxEntries < 0 || o.MaxLine < 0 || o.MaxObject < 0 || o.MaxDepth < 0:
		return bad("a negative limit")
	case !(o.MaxMalformed >= 0 && o.MaxMalformed <= 1):
		return bad("a share of %g malformed entries; it is 0 to 1", o.MaxMalformed)
	case o.Format == CSV && o.CSV.Columns.Value == "":
		return bad("no column is named that holds the values")
	}
	if _, ok := intel.ParseDisposition(o.Disposition.String()); !ok {
		return bad("%s is no disposition", o.Disposition)
	}
	for _, k := range o.Kinds {
		if !slices.Contains(intel.Kinds(), k) {
			return bad("%s is no kind", k)
		}
	}
	if c := o.CSV.Comma; c == '"' || c == '\n' || c == '\r' || c >= 0x80 || c != 0 && c == o.CSV.Comment {
		return o, errors.New("feed format: the comma of csv has to be one ASCII character that is no quote, line end or comment")
	}
	o.MaxEntries = cmp.Or(o.MaxEntries, 10_000_000)
	o.MaxLine = cmp.Or(o.MaxLine, 64<<10)
	o.MaxObject = cmp.Or(o.MaxObject, 1<<20)
	o.MaxDepth = cmp.Or(o.MaxDepth, 64)
	o.MaxMalformed = cmp.Or(o.MaxMalformed, 0.25)
	o.CSV.Comma = cmp.Or(o.CSV.Comma, ',')
	o.CSV.Comment = cmp.Or(o.CSV.Comment, '#')
	return o, nil
}
