package format

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Reason says why an entry of a feed was passed over.
type Reason string

// The reasons. Only Malformed speaks against the feed as a whole.
const (
	Malformed     Reason = "malformed"      // cannot be read
	Unsupported   Reason = "unsupported"    // is read, and mail cannot be searched for it
	OtherKind     Reason = "other kind"     // is not among Options.Kinds
	TooWide       Reason = "too wide"       // stands for strangers: co.uk with all below it, 0.0.0.0/0
	Internal      Reason = "internal"       // an address that only means something on one's own network
	Expired       Reason = "expired"        // by the feed's word or by Options.MaxAge
	NotYetValid   Reason = "not yet valid"  // by the feed's word
	Revoked       Reason = "revoked"        // taken back, deleted
	Offline       Reason = "offline"        // by the feed's word
	Benign        Reason = "benign"         // the feed says so, and the entries are no allows
	NotDetection  Reason = "not to detect"  // context, not meant to be matched: MISP's to_ids is off
	LowConfidence Reason = "low confidence" // below Options.MinConfidence
)

// Place is where something stands in a feed.
type Place struct {
	Line   int   // from 1; 0 in JSON
	Offset int64 // in bytes from the beginning, of UTF-16 after its conversion
}

// String gives the line if there is one, else the offset.
func (p Place) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("byte %d", p.Offset)
}

// Example is one entry that was passed over.
type Example struct {
	Place
	Text string // as it stands there, legible and shortened
}

// String gives both: line 3: "/bins/arm7".
func (e Example) String() string { return fmt.Sprintf("%s: %q", e.Place, e.Text) }

// Tally counts what was passed over for the same reason.
type Tally struct {
	Reason   Reason
	Detail   string // what exactly: "operator MATCHES", "has an empty label"
	Count    int
	Examples []Example // the first of them
}

// Report says what became of the entries of a feed.
type Report struct {
	Entries int     // that were given, each as often as it stands there
	Passed  []Tally // by reason, the most frequent first

	// What an envelope of TAXII 2.1 says of the pages behind it.
	More bool
	Next string
}

// Count is the number of entries that were passed over for this reason.
func (r Report) Count(reason Reason) int {
	n := 0
	for _, t := range r.Passed {
		if t.Reason == reason {
			n += t.Count
		}
	}
	return n
}

// String gives the report on one line: "812 entries; passed over: 3 unsupported
// (operator MATCHES 2, type regkey 1), 12 expired".
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d entries", r.Entries)
	for i, t := range r.Passed {
		switch {
		case i > 0 && r.Passed[i-1].Reason == t.Reason:
			b.WriteString(", ")
		case i > 0:
			b.WriteString(closing(r.Passed[i-1]) + ", ")
		default:
			b.WriteString("; passed over: ")
		}
		if i == 0 || r.Passed[i-1].Reason != t.Reason {
			fmt.Fprintf(&b, "%d %s", r.Count(t.Reason), t.Reason)
			if t.Detail != "" {
				b.WriteString(" (")
			}
		}
		if t.Detail != "" {
			fmt.Fprintf(&b, "%s %d", t.Detail, t.Count)
		}
		if i+1 == len(r.Passed) {
			b.WriteString(closing(t))
		}
	}
	return b.String()
}

func closing(t Tally) string {
	if t.Detail != "" {
		return ")"
	}
	return ""
}

// Error is what ended the reading of a feed.
type Error struct {
	Source string // as Options names it
	Place
	Value  string // what stands there, legible and shortened; may be empty
	Reason string // what is wrong
	Cure   string // what to do; may be empty
	Err    error  // of the reader, if it was that
}

// Error gives it on one line: source: place: "value" reason; cure.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: ", e.Source, e.Place)
	if e.Value != "" {
		fmt.Fprintf(&b, "%q ", e.Value)
	}
	b.WriteString(e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Cure != "" {
		b.WriteString("; " + e.Cure)
	}
	return b.String()
}

// Unwrap gives the reader's error, if there was one.
func (e *Error) Unwrap() error { return e.Err }

// Bounds on a report: strangers choose the details.
const (
	maxExamples = 3  // of one tally
	maxTallies  = 64 // apart; what else there is counts under its reason alone
	maxText     = 120
	maxDetail   = 64
)

// tallies counts what is passed over.
type tallies struct {
	byKey     map[tallyKey]*Tally
	total     int
	malformed int
}

type tallyKey struct {
	reason Reason
	detail string
}

func (t *tallies) add(reason Reason, detail string, at Place, text string, count int) {
	t.total += count
	if reason == Malformed {
		t.malformed += count
	}
	key := tallyKey{reason, legible(detail, maxDetail)}
	tally := t.byKey[key]
	if tally == nil {
		if len(t.byKey) >= maxTallies {
			key.detail = "others"
			tally = t.byKey[key]
		}
		if tally == nil {
			if t.byKey == nil {
				t.byKey = map[tallyKey]*Tally{}
			}
			tally = &Tally{Reason: reason, Detail: strings.Clone(key.detail)}
			key.detail = tally.Detail
			t.byKey[key] = tally
		}
	}
	tally.Count += count
	if len(tally.Examples) < maxExamples {
		tally.Examples = append(tally.Examples, Example{at, strings.Clone(legible(text, maxText))})
	}
}

// first gives the earliest example of what was malformed, and why it is.
func (t *tallies) first() (Example, string) {
	var first Example
	why := ""
	for _, tally := range t.byKey {
		if tally.Reason != Malformed {
			continue
		}
		if e := tally.Examples[0]; why == "" || e.Offset < first.Offset {
			first, why = e, tally.Detail
		}
	}
	return first, why
}

// sorted gives the tallies by reason, then by number.
func (t *tallies) sorted() []Tally {
	var all []Tally
	for _, tally := range t.byKey {
		all = append(all, *tally)
	}
	slices.SortFunc(all, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Detail, b.Detail))
	})
	return all
}

// legible gives text for people: valid UTF-8 of at most so many bytes, without
// what a terminal would obey and no eye would see.
func legible(text string, most int) string {
	clean := len(text) <= most
	for i := 0; clean && i < len(text); i++ {
		clean = text[i] >= ' ' && text[i] < 0x7f
	}
	if clean {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsPrint(r):
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > most-len("…") && (i+n < len(text) || b.Len()+utf8.RuneLen(r) > most) {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}
