package list

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
)

// Bounds on what options hold, in bytes.
const (
	maxID       = 128
	maxCampaign = 128
	maxNote     = 1024
)

// optionNames lists the options in the order in which Format writes them.
func optionNames() []string {
	return []string{"in", "action", "until", "dir", "id", "campaign", "confidence", "tlp", "note"}
}

// optionReader reads the options of one line into an indicator.
type optionReader struct {
	line   *line
	ind    *intel.Indicator
	fields []intel.Field // of a regular expression, whose in= names no roles
	faults []fault
}

func (r *optionReader) fault(t token, reason, cure string) {
	r.faults = append(r.faults, fault{column: t.column, value: t.text, reason: reason, cure: cure})
}

// read reads all options; what is wrong with them is in faults.
func (r *optionReader) read() {
	for i, o := range r.line.options {
		if slices.ContainsFunc(r.line.options[:i], func(before option) bool { return before.name.text == o.name.text }) {
			r.fault(o.name, "stands there twice", "leave one of the two out")
			continue
		}
		if o.value.text == "" {
			r.fault(o.name, "has no value", "write it right behind the =, or leave the option out")
			continue
		}
		switch o.name.text {
		case "in":
			r.in(o.value)
		case "action":
			r.action(o.value)
		case "until":
			r.until(o.value)
		case "dir":
			r.direction(o.value)
		case "id":
			r.ind.ID = r.text(o, maxID)
		case "campaign":
			r.ind.Campaign = r.text(o, maxCampaign)
		case "confidence":
			r.confidence(o.value)
		case "tlp":
			r.tlp(o.value)
		case "note":
			r.ind.Note = r.text(o, maxNote)
		default:
			cure := "options are " + strings.Join(optionNames(), ", ")
			if near := nearest(o.name.text, optionNames()); near != "" {
				cure = "did you mean " + near + "=?"
			}
			r.fault(o.name, "is no option", cure)
		}
	}
}

// in reads roles, or the fields of a regular expression.
func (r *optionReader) in(value token) {
	column := value.column
	for name := range strings.SplitSeq(value.text, ",") {
		t := token{name, column}
		column += len(name) + 1
		if name == "" {
			r.fault(value, "has an empty name in it", "write names with a comma between them and no spaces")
			continue
		}
		if r.line.regexp {
			r.field(t)
		} else {
			r.role(t)
		}
	}
	slices.Sort(r.ind.Roles)
	r.ind.Roles = slices.Compact(r.ind.Roles)
}

func (r *optionReader) role(t token) {
	role := intel.Role(strings.ToLower(t.text))
	switch {
	case slices.Contains(intel.Roles(), role):
		r.ind.Roles = append(r.ind.Roles, role)
	case isField(string(role)):
		r.fault(t, "is a field, which only a regular expression looks at", "name roles: "+roleNames())
	default:
		r.fault(t, "is no role", didYouMean(t.text, strings.Split(roleNames(), ", "), "roles are "))
	}
}

func (r *optionReader) field(t token) {
	field := strings.ToLower(t.text)
	switch {
	case isField(field):
		r.fields = append(r.fields, intel.Field(field))
	case slices.Contains(intel.Roles(), intel.Role(field)):
		r.fault(t, "is a role, and a regular expression looks at fields", "name fields: subject, file-name, header, header:NAME; header:From is the whole From field")
	default:
		r.fault(t, "is no field", didYouMean(t.text, []string{"subject", "file-name", "header", "header:NAME"}, "fields are "))
	}
}

// isField reports the form of a field; whether its NAME can be one package
// intel says.
func isField(lower string) bool {
	switch intel.Field(lower) {
	case intel.FieldSubject, intel.FieldFileName, intel.FieldHeader:
		return true
	}
	return strings.HasPrefix(lower, "header:")
}

func (r *optionReader) action(value token) {
	const known = "tag, hold, discard, reject, tempfail"
	action, ok := intel.ParseAction(strings.ToLower(value.text))
	if !ok {
		r.fault(value, "is no action", didYouMean(value.text, append(strings.Split(known, ", "), "accept"), "actions are "))
		return
	}
	switch d := r.ind.Disposition; {
	case d == intel.Allow && action != intel.ActionAccept:
		r.fault(value, "contradicts an entry that allows", "leave action= out, or move the entry to a list under block")
	case d == intel.Block && action == intel.ActionAccept:
		r.fault(value, "contradicts an entry that blocks", "move the entry to a list under allow; "+known+" are for blocks")
	case d == intel.Watch:
		r.fault(value, "asks for an action where entries are only noted", "leave action= out, or move the entry to a list under block")
	}
	r.ind.Action = action
}

func (r *optionReader) until(value token) {
	const first = 2000 // years before are slips, and the zero time would be for ever
	if day, err := time.Parse(time.DateOnly, value.text); err == nil && day.Year() >= first {
		r.ind.Until = day.AddDate(0, 0, 1)
		return
	}
	at, err := time.Parse(time.RFC3339, strings.ToUpper(value.text))
	if err != nil || at.Year() < first {
		r.fault(value, "is no date", "write 2026-12-31, which is valid through that day in UTC, or a time such as 2026-12-31T18:00:00Z")
		return
	}
	r.ind.Until = at.UTC().Truncate(time.Second)
}

func (r *optionReader) direction(value token) {
	d, ok := intel.ParseDirection(strings.ToLower(value.text))
	if !ok {
		r.fault(value, "is no direction", didYouMean(value.text, []string{"inbound", "outbound", "internal"}, "directions are "))
	}
	r.ind.Direction = d
}

func (r *optionReader) confidence(value token) {
	n, err := strconv.ParseUint(value.text, 10, 8)
	if err != nil || n < 1 || n > 100 {
		r.fault(value, "is no confidence", "write a number from 1, hardly sure, to 100, or leave the option out")
	}
	r.ind.Confidence = int(n)
}

func (r *optionReader) tlp(value token) {
	var names []string
	for _, t := range intel.TLPs() {
		names = append(names, t.String())
	}
	marking, ok := intel.ParseTLP(value.text)
	if !ok {
		r.fault(value, "is no marking of TLP 2.0", didYouMean(value.text, names, "markings are "))
	}
	r.ind.TLP = marking
}

func (r *optionReader) text(o option, most int) string {
	if len(o.value.text) > most {
		r.fault(o.value, fmt.Sprintf("is longer than the %d bytes of %s=", most, o.name.text), "shorten it")
	}
	return strings.Clone(o.value.text) // the line itself need not be kept
}

func roleNames() string {
	var names []string
	for _, r := range intel.Roles() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// didYouMean suggests the nearest of names, or all of them.
func didYouMean(word string, names []string, all string) string {
	if near := nearest(strings.ToLower(word), names); near != "" {
		return "did you mean " + near + "?"
	}
	return all + strings.Join(names, ", ")
}

// nearest gives the name that word most likely is a slip of: one that differs
// in a third of its letters at most, or the only one that word is a part of;
// else nothing.
func nearest(word string, names []string) string {
	if len(word) > 32 {
		return ""
	}
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, name := range names {
		if d := distance(word, name); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, name := range names {
		if strings.Contains(name, word) {
			if best != "" {
				return ""
			}
			best = name
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
