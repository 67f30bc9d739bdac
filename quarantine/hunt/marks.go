package hunt

import (
	"crypto/sha256"
	"hash"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/incident"
)

// Bounds on what of one message leads to others.
const (
	maxBodyMarks = 8
	maxFileMarks = 32
	maxURLMarks  = 32
)

// The sorts of marks, and how a step says that it followed one.
const (
	howEmbedded   = "embedded"   // the whole content
	howAttachment = "attachment" // a file
	howURL        = "url"
	howThread     = "thread" // a name: References, Message-ID, X-Weir-ID
)

// mark is something of a message that the index leads to other messages by.
type mark struct {
	how   string
	what  string // for people
	key   journal.Key
	image bool
	rare  bool // in few messages that have nothing else in common with the incident
}

// marksOf gives what a message can be recognised by in others, but for the value
// that the indicator matched: who has that was judged by the lists.
func marksOf(e *journal.Entry, known string) []mark {
	marks := []mark{{how: howThread, what: "X-Weir-ID " + e.ID, key: journal.KeyOfID(e.ID)}}
	if e.MessageID != "" {
		marks = append(marks, mark{how: howThread, what: "Message-ID " + shorten(e.MessageID, maxText), key: journal.KeyOfMessageID(e.MessageID)})
	}
	types := make(map[string]string, len(e.Parts)) // of leaf parts; what an archive holds is none
	for i := range e.Parts {
		types[e.Parts[i].Path] = e.Parts[i].Type
	}
	bodies, files, urls := maxBodyMarks, maxFileMarks, maxURLMarks
	for i := range e.Observables {
		o := &e.Observables[i]
		m := mark{what: shorten(o.Value.String(), maxText), key: journal.KeyOf(o.Value)}
		left := &urls
		switch o.Role {
		case intel.RoleBody:
			m.how, left = howEmbedded, &bodies
		case intel.RoleAttachment:
			kind, leaf := types[o.Place]
			if !leaf || o.Value.Kind() != intel.KindSHA256 {
				continue
			}
			m.how, m.image, left = howAttachment, strings.HasPrefix(kind, "image/"), &files
		case intel.RoleURL:
			m.how = howURL
		default:
			continue
		}
		if *left == 0 || sameText(o.Value.String(), known) || slices.ContainsFunc(marks, func(a mark) bool { return a.key == m.key }) {
			continue
		}
		*left--
		marks = append(marks, m)
	}
	return marks
}

// sameText compares a value with the text of a hit, of which the end may be cut off.
func sameText(value, text string) bool {
	if cut, ok := strings.CutSuffix(text, "…"); ok {
		return strings.HasPrefix(value, cut)
	}
	return value == text
}

// linkOf says how a later message comes from the incident, given what it shares
// with one message of it, and from which of its messages; ok is false where that
// is not to be believed at all.
func linkOf(x *links, n node, e, later *journal.Entry, shared []mark) (step incident.Step, from node, ok bool) {
	parent, answered, passedOn := n, isTied(x, e, later), isForward(later.Subject)
	sender, had := x.gotBySender(later)
	switch referred := x.refersTo(later); {
	case referred != nil:
		parent = *referred
	case had:
		parent = sender
	}
	said := (answered || passedOn) && had
	best := -1
	consider := func(rank int, s incident.Step) {
		if s.Sure {
			rank += 10
		}
		if rank > best {
			best, step, ok = rank, s, true
		}
	}
	for i := range shared {
		m := &shared[i]
		if m.how == howEmbedded || m.how == howAttachment {
			switch whole, inside := embeds(later, e); {
			case inside:
				consider(4, incident.Step{How: howEmbedded, What: "all of its content, attached", Sure: m.rare})
			case whole:
				named := later.Parent == e.ID || e.MessageID != "" && later.MessageID == e.MessageID
				consider(4, incident.Step{How: howEmbedded, What: "all of its content", Sure: m.rare && named})
			}
		}
		switch m.how {
		case howAttachment:
			if m.rare || answered || passedOn {
				consider(3, incident.Step{How: howAttachment, What: m.what, Sure: m.rare && !m.image && said})
			}
		case howURL:
			if answered || passedOn {
				consider(2, incident.Step{How: howURL, What: m.what, Sure: m.rare && said})
			}
		case howThread:
			consider(1, incident.Step{How: howThread, What: m.what})
		}
	}
	return step, parent, ok
}

// isTied reports whether a message claims to belong to the incident: by its
// threading headers, its Message-ID, or the X-Weir-ID that it came in with.
func isTied(x *links, e, later *journal.Entry) bool {
	return x.refersTo(later) != nil || later.Parent == e.ID || e.MessageID != "" && later.MessageID == e.MessageID
}

// gotBySender gives the message of the incident that a later one's sender got.
func (x *links) gotBySender(later *journal.Entry) (n node, ok bool) {
	for i := range later.Observables {
		o := &later.Observables[i]
		if o.Role == intel.RoleEnvelopeFrom || o.Role == intel.RoleHeaderFrom {
			if n, ok = x.got[o.Value]; ok {
				return n, true
			}
		}
	}
	return node{}, false
}

// embeds reports whether a message has the whole content of another: as all that
// it is, or as something attached to it. Parts are told by their numbers: those
// of a message that is attached as part 2 are 2.1, 2.2 and so on, and the
// fingerprint of all of them is what that message's own was (see package message).
func embeds(later, e *journal.Entry) (whole, inside bool) {
	size := int64(0)
	for i := range e.Parts {
		size += e.Parts[i].Size
	}
	if size < minContent {
		return false, false
	}
	if later.Body == e.Body {
		return true, false
	}
	type open struct {
		path string // with the dot behind it
		sum  hash.Hash
	}
	var nest []open
	shut := func(to int) {
		for _, o := range nest[to:] {
			inside = inside || [32]byte(o.sum.Sum(nil)) == e.Body
		}
		nest = nest[:to]
	}
	for i := range later.Parts {
		p := &later.Parts[i]
		if strings.Contains(p.Path, "~") { // another reading of the part before
			continue
		}
		depth := 0
		for depth < len(nest) && strings.HasPrefix(p.Path, nest[depth].path) {
			depth++
		}
		shut(depth)
		from := 0
		if depth > 0 {
			from = len(nest[depth-1].path)
		}
		for dot := strings.IndexByte(p.Path[from:], '.'); dot >= 0 && len(nest) < maxNest; dot = strings.IndexByte(p.Path[from:], '.') {
			from += dot + 1
			nest = append(nest, open{p.Path[:from], sha256.New()})
		}
		for _, o := range nest {
			o.sum.Write(p.Fingerprint[:])
		}
	}
	shut(0)
	return false, inside
}

// maxNest bounds how deep attached messages are looked at.
const maxNest = 64
