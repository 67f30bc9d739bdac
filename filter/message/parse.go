package message

import (
	"fmt"
	"reflect"
	"strconv"
	"sync"

	"github.com/weirmail/weir/filter/message/links"
	"github.com/weirmail/weir/filter/message/transfer"
)

// Options says how a message is parsed.
type Options struct {
	Limits  Limits
	Scratch Scratch // nil: decoded content is kept on the heap while it is looked at
}

// Parser parses messages, any number at a time. It keeps the room that it works
// in from one message to the next.
type Parser struct {
	limits Limits
	states *sync.Pool
}

// NewParser gives a parser that keeps to limits. Zero fields take their
// default; a negative one is an error.
func NewParser(limits Limits) (*Parser, error) {
	given, defaults := reflect.ValueOf(&limits).Elem(), reflect.ValueOf(DefaultLimits())
	for i := range given.NumField() {
		switch f := given.Field(i); {
		case f.Int() < 0:
			return nil, fmt.Errorf("limit %s is %d: it has to be positive, or 0 for the default", given.Type().Field(i).Name, f.Int())
		case f.Int() == 0:
			f.Set(defaults.Field(i))
		}
	}
	return newParser(limits, false, false), nil
}

func newParser(limits Limits, lean, linkless bool) *Parser {
	return &Parser{limits, &sync.Pool{New: func() any {
		s := &state{limits: limits, lean: lean, linkless: linkless, digest: newDigester()}
		s.emit = s.found
		return s
	}}}
}

// Lean gives a parser with the same limits that leaves out SHA1 and MD5 of parts
// that are no files: they take a tenth of the time that mail without attachments
// takes.
func (p *Parser) Lean() *Parser { return newParser(p.limits, true, false) }

// Linkless gives a lean parser that looks for no links either: its messages have
// no URLs, no SHA1 and MD5 of any part, and none of the defects that only show in a
// search for links. Envelope, header, parts, their names and SHA256 are the same.
func (p *Parser) Linkless() *Parser { return newParser(p.limits, true, true) }

// Parse reads one message with a parser of its own; limits that make no sense
// are the default ones. See Parser.Parse.
func Parse(raw []byte, opts Options) *Message {
	p, err := NewParser(opts.Limits)
	if err != nil {
		p, _ = NewParser(Limits{})
	}
	return p.Parse(raw, opts.Scratch)
}

// Parse reads a message, in time linear in the bytes that it holds and unpacks
// to, and never fails. Raw must not change while the Message is in use; the
// Message refers to it by Raw alone. Scratch is used until Parse returns.
func (p *Parser) Parse(raw []byte, scratch Scratch) *Message {
	s := p.states.Get().(*state)
	s.begin(raw, scratch)
	r := reader{state: s, b: raw, raw: true}
	s.readLines(raw)
	r.entity(0, nest{parent: -1})
	m := s.message(raw)
	s.end()
	p.states.Put(s)
	return m
}

// state is the work on one message.
type state struct {
	limits   Limits
	lean     bool // see Parser.Lean
	linkless bool // see Parser.Linkless
	scratch  Scratch
	err      error // of the scratch

	parts       []Part
	defects     []Defect
	defectsLost bool
	urls        collector
	originators originators

	// What is left of budgets that keep the work linear.
	headerLeft    int   // bytes of headers that are kept
	readings      int   // further readings of ambiguous parts
	readingLeft   int64 // bytes that they may go over
	containerLeft int64 // bytes of attached messages that are digested beside their parts
	openLeft      int64 // bytes of messages that are decoded or digested before they are opened
	guesses       int   // multiparts whose boundary is guessed
	archiveLeft   int64
	textLeft      int64
	rawLeft       int64

	// Room to work in.
	fields  []fieldSpan
	digest  *digester
	decoder transfer.Decoder
	block   [blockBytes]byte
	spare   [][]byte // buffers for small decoded texts
	emit    func(links.Found) bool
}

// Bounds that need no configuring: they are far above what honest mail needs.
const (
	maxReadingsPerMessage = 32
	maxGuesses            = 16
	headersKept           = 4 // times the limit of one header
	containersDigested    = 4 // times the message's size
	maxSpare              = 8 // buffers kept from one message to the next
	maxSpareBytes         = 64 << 10
)

func (s *state) begin(raw []byte, scratch Scratch) {
	s.scratch = scratch
	s.headerLeft = headersKept * s.limits.HeaderBytes
	s.readings = maxReadingsPerMessage
	s.readingLeft = 2*int64(len(raw)) + blockBytes
	s.containerLeft = containersDigested*int64(len(raw)) + blockBytes
	s.openLeft = 2*int64(len(raw)) + blockBytes
	s.guesses = maxGuesses
	s.archiveLeft = s.limits.ArchiveBytes
	s.textLeft, s.rawLeft = s.limits.TextBytes, s.limits.TextBytes
	s.urls.limit = s.limits.URLs
}

// message gives what was found, in memory of its own.
func (s *state) message(raw []byte) *Message {
	if s.urls.lost {
		s.defect(DefectURLLimit, "", "more than "+strconv.Itoa(s.limits.URLs))
	}
	if s.err != nil {
		s.defect(DefectIncomplete, "", s.err.Error())
	}
	if s.defectsLost {
		s.defect(DefectDefectLimit, "", "more than "+strconv.Itoa(s.limits.Defects))
	}
	m := &Message{
		Raw:        raw,
		Parts:      append([]Part(nil), s.parts...),
		URLs:       append([]URL(nil), s.urls.list...),
		Defects:    append([]Defect(nil), s.defects...),
		Incomplete: s.err,

		originators: s.originators,
	}
	if len(m.Parts) > 0 {
		m.Header = m.Parts[0].Header
	}
	sum := s.digest.print
	sum.Reset()
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Fingerprint != [32]byte{} && !p.Alternate {
			sum.Write(p.Fingerprint[:])
		}
	}
	sum.Sum(m.Body[:0])
	return m
}

// end forgets the message.
func (s *state) end() {
	s.scratch, s.err = nil, nil
	clear(s.parts)
	clear(s.defects)
	s.parts, s.defects, s.defectsLost = s.parts[:0], s.defects[:0], false
	s.urls.reset()
	s.originators = originators{}
	s.decoder.Reset(transfer.Identity, nil)
	if len(s.spare) > maxSpare {
		s.spare = s.spare[:maxSpare]
	}
}
