package match

import (
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
)

// Bounds on what regular expressions look at. RE2 is linear, but slow enough
// (some 20 to 50 ns a byte) that a megabyte of header would make a list of
// expressions costly.
const (
	MaxTextBytes  = 32 << 10  // of one text, from its beginning
	MaxTextsBytes = 512 << 10 // of all texts of one call, in their order

	// maxFieldName bounds a header field's name. RFC 5322 section 2.1.1 gives a
	// whole line 998.
	maxFieldName = 998
)

// Text is a text of a message that regular expressions may look at.
type Text struct {
	Field intel.Field // FieldSubject, FieldFileName or FieldHeader; of a header field Name says which
	Name  string      // of the header field
	Value string      // decoded
	Place string      // where it stands
}

// texts are the regular expressions of a snapshot by the field that they look at.
type texts struct {
	subject  []*intel.Indicator
	fileName []*intel.Indicator
	header   []*intel.Indicator            // on "Name: value" of each field
	named    map[string][]*intel.Indicator // on the value of this field, lower case
}

func (t *texts) add(ind *intel.Indicator) {
	for _, field := range ind.Pattern.Fields() {
		switch field {
		case intel.FieldSubject:
			t.subject = append(t.subject, ind)
		case intel.FieldFileName:
			t.fileName = append(t.fileName, ind)
		case intel.FieldHeader:
			t.header = append(t.header, ind)
		default:
			if t.named == nil {
				t.named = map[string][]*intel.Indicator{}
			}
			name := strings.TrimPrefix(string(field), "header:")
			t.named[name] = append(t.named[name], ind)
		}
	}
}

// WantsTexts reports whether any entry looks at this field, so that a caller
// need not gather texts that nobody reads. For FieldHeader the answer is for
// any header field.
func (s *Snapshot) WantsTexts(field intel.Field) bool {
	switch field {
	case intel.FieldSubject:
		return len(s.texts.subject) > 0
	case intel.FieldFileName:
		return len(s.texts.fileName) > 0
	case intel.FieldHeader:
		return len(s.texts.header) > 0 || len(s.texts.named) > 0
	}
	return false
}

// MatchTexts appends the hits of regular expressions on these texts and
// returns the extended slice. For each text the allow entries win over the
// block entries; watch entries are there always. unseen is the number of bytes
// that MaxTextBytes and MaxTextsBytes kept from being looked at; the caller
// makes it known.
func (s *Snapshot) MatchTexts(dst []intel.Hit, texts []Text, d intel.Direction, now time.Time) (hits []intel.Hit, unseen int) {
	left := MaxTextsBytes
	for i := range texts {
		t := &texts[i]
		if !s.texts.wants(t) {
			continue
		}
		seen := t.bounded(left)
		left -= len(seen.Value)
		unseen += len(t.Value) - len(seen.Value) + len(t.Name) - len(seen.Name)

		found := s.texts.match(&seen)
		winner := strongest(found, "", d, now)
		for _, ind := range found {
			if (ind.Disposition == intel.Watch || ind.Disposition == winner) && ind.InForce("", d, now) {
				dst = append(dst, intel.Hit{
					Observable: intel.Observable{Place: t.Place},
					Text:       around(seen.Value, ind),
					Indicator:  ind,
				})
			}
		}
	}
	return dst, unseen
}

// bounded gives what is looked at of t, where so many bytes are left.
func (t Text) bounded(left int) Text {
	t.Value = t.Value[:min(len(t.Value), MaxTextBytes, left)]
	t.Name = t.Name[:min(len(t.Name), maxFieldName)]
	return t
}

// wants reports whether any expression looks at t.
func (ts *texts) wants(t *Text) bool {
	switch t.Field {
	case intel.FieldSubject:
		return len(ts.subject) > 0
	case intel.FieldFileName:
		return len(ts.fileName) > 0
	case intel.FieldHeader:
		return len(ts.header) > 0 || len(ts.forName(t.Name)) > 0
	}
	return false
}

// match gives the entries whose expression matches t, in force or not.
func (ts *texts) match(t *Text) (found []*intel.Indicator) {
	add := func(entries []*intel.Indicator, text string) {
		for _, ind := range entries {
			if !slices.Contains(found, ind) && ind.Pattern.Regexp().MatchString(text) {
				found = append(found, ind)
			}
		}
	}
	switch t.Field {
	case intel.FieldSubject:
		add(ts.subject, t.Value)
	case intel.FieldFileName:
		add(ts.fileName, t.Value)
	case intel.FieldHeader:
		if len(ts.header) > 0 {
			add(ts.header, t.Name+": "+t.Value)
		}
		add(ts.forName(t.Name), t.Value)
	}
	return found
}

// forName gives the entries for the value of one header field, whose name is
// of any case.
func (ts *texts) forName(name string) []*intel.Indicator {
	var room [128]byte
	if len(ts.named) == 0 || len(name) > maxFieldName {
		return nil
	}
	lower := append(room[:0], name...)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return ts.named[string(lower)]
}

// around gives text as a person would want to read it: whole where it is
// short, else the part that ind's expression matched with a little before it.
func around(text string, ind *intel.Indicator) string {
	const before = 40
	if len(text) > maxHitText {
		if at := ind.Pattern.Regexp().FindStringIndex(text); at != nil && at[0] > before {
			text = text[at[0]-before:]
		}
	}
	return shorten(strings.ToValidUTF8(text, "\uFFFD"))
}
