package control

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

// maxWords bounds the words of a subject that are looked for.
const maxWords = 32

// folder makes text of one meaning one text: what differs in case, in how Unicode
// writes it (a letter and its accent, full width, bold mathematics) or in
// characters that nobody sees, as people and phishers vary it. It is for one
// goroutine.
type folder struct{ caser cases.Caser }

func newFolder() *folder { return &folder{cases.Fold()} }

// fold gives the text with each run of white space as one space.
func (f *folder) fold(text string) string {
	if isLower, isASCII := look(text); !isASCII {
		text = strings.Map(visible, text)
		text = norm.NFKC.String(f.caser.String(norm.NFKC.String(text)))
	} else if !isLower {
		text = strings.ToLower(text)
	}
	return strings.Join(strings.Fields(text), " ")
}

func look(text string) (lower, ascii bool) {
	lower = true
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false, false
		}
		lower = lower && (text[i] < 'A' || text[i] > 'Z')
	}
	return lower, true
}

// visible drops format characters: soft hyphens, joiners, marks of direction.
func visible(r rune) rune {
	if unicode.Is(unicode.Cf, r) {
		return -1
	}
	return r
}

// hasSubject is met where all words stand in the subject. What stands in double
// quotes is one word.
func (f *folder) hasSubject(text string) (condition, error) {
	var words []string
	quoted := false
	for i, piece := range strings.Split(text, `"`) {
		if quoted = i%2 == 1; quoted {
			if phrase := f.fold(piece); phrase != "" {
				words = append(words, phrase)
			}
			continue
		}
		words = append(words, strings.Fields(f.fold(piece))...)
	}
	switch {
	case quoted:
		return condition{}, unfit("subject", text, "has a quote that does not end")
	case len(words) == 0:
		return condition{}, unfit("subject", text, "has no word")
	case len(words) > maxWords:
		return condition{}, api.Errorf(api.BadRequest, "subject= has %d words; %d are the most", len(words), maxWords)
	}
	return condition{head: func(e *journal.Entry) bool {
		subject := f.fold(e.Subject)
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(subject, w) })
	}}, nil
}

func (f *folder) hasFile(text string) condition {
	part := f.fold(text)
	return condition{head: func(e *journal.Entry) bool {
		return slices.ContainsFunc(e.Files, func(name string) bool { return strings.Contains(f.fold(name), part) })
	}}
}

// who is somebody who writes or gets mail.
type who struct {
	keys    []journal.Key
	address func(intel.Value) bool // nil where part is what is known
	part    string                 // folded
}

// who reads an address, a domain with all below it, or @domain for that one
// alone. Anything else is a part of an address or a name.
func (f *folder) who(text string) who {
	plain := intel.Refang(text)
	if v, err := intel.Address(plain); err == nil {
		return who{keys: []journal.Key{journal.KeyOf(v)}, address: func(a intel.Value) bool { return a == v }}
	}
	name, exactly := strings.CutPrefix(plain, "@")
	if v, err := intel.Domain(strings.TrimPrefix(name, ".")); err == nil && (exactly || strings.Contains(v.String(), ".")) {
		host := v.String()
		return who{keys: []journal.Key{journal.KeyOf(v)}, address: func(a intel.Value) bool {
			return exactly && a.Host() == host || !exactly && isBelow(a.Host(), host)
		}}
	}
	return who{part: f.fold(text)}
}

// is reports whether an address of the envelope is his.
func (f *folder) is(w who, text string) bool {
	if w.address == nil {
		return strings.Contains(f.fold(text), w.part)
	}
	v, ok := journal.AddressOf(text)
	return ok && w.address(v)
}

// hasSender is met by who sent the message, as the envelope says or as the reader
// sees it.
func (f *folder) hasSender(text string) condition {
	w := f.who(text)
	if w.address == nil {
		return condition{head: func(e *journal.Entry) bool { return f.is(w, e.From) || f.is(w, e.HeaderFrom) }}
	}
	return condition{keys: w.keys, head: func(e *journal.Entry) bool { return f.is(w, e.From) }, observable: func(o *intel.Observable) bool {
		return (o.Role == intel.RoleEnvelopeFrom || o.Role == intel.RoleHeaderFrom || o.Role == intel.RoleSender) && w.address(o.Value)
	}}
}

// hasRecipient is met by those whose copies went on.
func (f *folder) hasRecipient(text string) condition {
	w := f.who(text)
	return condition{keys: w.keys, head: func(e *journal.Entry) bool {
		return slices.ContainsFunc(e.To, func(to string) bool { return f.is(w, to) })
	}}
}
