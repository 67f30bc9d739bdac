package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// document walks a JSON text of any size and holds no more of it than a value
// that it is asked for. What it passes over it scans for its end only; what it
// gives has to be read by encoding/json, which checks it: there the last of two
// members of one name counts, and case does not.
type document struct {
	r         io.Reader
	buf       []byte // what was read, from pos to end
	pos, end  int
	offset    int64 // of buf in the text
	max       int   // bytes of a value that is given
	depth     int   // of nesting, at most
	kept      []byte
	exhausted error
}

// document reads a feed that is one JSON document.
func (r *run) document(read func(d *document) error) error {
	in, err := r.open(4 << 10) // large reads go past it
	if err != nil {
		return err
	}
	defer in.close()
	d := &document{r: in, buf: make([]byte, 32<<10), max: r.opts.MaxObject, depth: r.opts.MaxDepth}
	if err := read(d); err != nil {
		return err
	}
	if _, err := d.peek(); err == nil {
		return d.wrong("follows the end of the document", "the download may be damaged")
	} else if err != io.EOF {
		return &Error{Place: d.at(), Reason: "reading it failed", Err: err}
	}
	return nil
}

func (d *document) at() Place { return Place{Offset: d.offset + int64(d.pos)} }

// fill reads on when everything was looked at.
func (d *document) fill() error {
	for d.pos == d.end {
		if d.exhausted != nil {
			return d.exhausted
		}
		d.offset += int64(d.end)
		d.pos = 0
		d.end, d.exhausted = d.r.Read(d.buf)
	}
	return nil
}

// peek gives the next byte that is no white space.
func (d *document) peek() (byte, error) {
	for {
		if err := d.fill(); err != nil {
			return 0, err
		}
		switch c := d.buf[d.pos]; c {
		case ' ', '\t', '\r', '\n':
			d.pos++
		default:
			return c, nil
		}
	}
}

// must is peek where the document cannot end.
func (d *document) must() (byte, error) {
	c, err := d.peek()
	if err != nil {
		return 0, d.broken(err)
	}
	return c, nil
}

// broken is the error of a document that cannot be read on.
func (d *document) broken(err error) error {
	e := &Error{Place: d.at(), Reason: "reading it failed", Err: err}
	if err == io.EOF {
		e.Reason, e.Err, e.Cure = "the document ends in the middle", io.ErrUnexpectedEOF, "the download was probably cut off"
	}
	return e
}

// wrong is the error of a document of another shape; it shows what stands here.
func (d *document) wrong(reason, cure string) error {
	return &Error{Place: d.at(), Value: legible(string(d.buf[d.pos:min(d.end, d.pos+40)]), maxText), Reason: reason, Cure: cure}
}

// is reports which of these bytes begins the next value.
func (d *document) is(begin byte) (bool, error) {
	c, err := d.must()
	return c == begin, err
}

// take passes over a byte that has to stand here.
func (d *document) take(want byte) error {
	c, err := d.must()
	if err != nil {
		return err
	}
	if c != want {
		return d.wrong(fmt.Sprintf("stands where JSON has a %q", want), "see whether the format is right and the address gives the feed")
	}
	d.pos++
	return nil
}

// object gives the name of each member of an object; member has to pass over
// its value.
func (d *document) object(member func(name string) error) error {
	return d.members('{', '}', func() error {
		name, err := d.string(maxName)
		if err != nil {
			return err
		}
		if err := d.take(':'); err != nil {
			return err
		}
		return member(name)
	})
}

// maxName bounds the name of a member of an object; one that is longer is no
// name that anybody looks for.
const maxName = 4 << 10

// array calls element for each element of an array, which it has to pass over.
func (d *document) array(element func() error) error { return d.members('[', ']', element) }

func (d *document) members(begin, end byte, member func() error) error {
	if err := d.take(begin); err != nil {
		return err
	}
	if done, err := d.is(end); err != nil || done {
		d.pos++
		return err
	}
	for {
		if err := member(); err != nil {
			return err
		}
		if done, err := d.is(end); err != nil || done {
			d.pos++
			return err
		}
		if err := d.take(','); err != nil {
			return err
		}
	}
}

// string takes a string. One that is too long or no UTF-8 is an error.
func (d *document) string(most int) (string, error) {
	if ok, err := d.is('"'); err != nil || !ok {
		if err == nil {
			err = d.wrong("stands where JSON has a string", "see whether the format is right and the address gives the feed")
		}
		return "", err
	}
	at := d.at()
	raw, err := d.scan(most)
	if err != nil {
		return "", err
	}
	if raw == nil {
		return "", &Error{Place: at, Reason: fmt.Sprintf("is a string of more than %d bytes", most), Cure: "this is not the feed's format, or the feed is broken"}
	}
	text, err := unquote(raw)
	if err != nil {
		return "", &Error{Place: at, Value: legible(string(raw), maxText), Reason: "is no string", Err: err}
	}
	return text, nil
}

// unquote reads a JSON string, mostly one without escapes.
func unquote(raw []byte) (string, error) {
	if !utf8.Valid(raw) {
		return "", errNotUTF8
	}
	if body := raw[1 : len(raw)-1]; bytes.IndexByte(body, '\\') < 0 && bytes.IndexFunc(body, func(r rune) bool { return r < ' ' }) < 0 {
		return string(body), nil
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}

// skip passes over a value.
func (d *document) skip() error {
	_, err := d.scan(0)
	return err
}

// value gives the next value, valid until the next call; nil if it is too large.
func (d *document) value() ([]byte, error) { return d.scan(d.max) }

// scan passes over a value and gives it if it has no more than so many bytes.
func (d *document) scan(keep int) ([]byte, error) {
	if c, err := d.must(); err != nil {
		return nil, err
	} else if strings.IndexByte(`,:]}`, c) >= 0 {
		return nil, d.wrong("stands where JSON has a value", "the feed is broken")
	}
	d.kept = d.kept[:0]
	long := false
	s := scanner{max: d.depth}
	for {
		if err := d.fill(); err != nil {
			if err == io.EOF && s.literal && s.depth == 0 {
				break // a number at the very end
			}
			return nil, d.broken(err)
		}
		window := d.buf[d.pos:d.end]
		n := s.scan(window)
		if !long && len(d.kept)+n <= keep {
			d.kept = append(d.kept, window[:n]...)
		} else {
			long = true
		}
		d.pos += n
		if s.tooDeep {
			return nil, d.wrong(fmt.Sprintf("is nested deeper than %d levels", d.depth), "no feed has to be")
		}
		if s.done {
			break
		}
	}
	if long {
		return nil, nil
	}
	return d.kept, nil
}

// scanner finds the end of a JSON value that may come in pieces.
type scanner struct {
	depth, max int
	inString   bool
	escaped    bool
	literal    bool // a number or a word, outside of everything
	done       bool
	tooDeep    bool
}

// scan gives how many bytes of the piece belong to the value.
func (s *scanner) scan(piece []byte) int {
	for i, c := range piece {
		if s.inString {
			switch {
			case s.escaped:
				s.escaped = false
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.inString = false
				if s.depth == 0 {
					s.done = true
					return i + 1
				}
			}
			continue
		}
		switch c {
		case '"':
			s.inString = true
		case '{', '[':
			if s.depth++; s.depth > s.max {
				s.tooDeep = true
				return i
			}
		case '}', ']':
			if s.depth == 0 {
				s.done = true
				return i
			}
			if s.depth--; s.depth == 0 {
				s.done = true
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if s.depth == 0 {
				s.done = true
				return i
			}
		default:
			s.literal = true
		}
	}
	return len(piece)
}

// errNotUTF8 is what encoding/json would let pass, with other characters in the
// place of what is wrong.
var errNotUTF8 = errors.New("is not UTF-8")

var errNoScalar = errors.New("a list or an object stands for a text")

// maxNumber bounds the digits of a number.
const maxNumber = 32

// decode reads a value that d gave.
func decode(raw []byte, into any) *refusal {
	if raw == nil {
		return malformed("is a larger object than is looked at")
	}
	if !utf8.Valid(raw) {
		return malformed(errNotUTF8.Error())
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return malformed("is no such JSON: " + err.Error())
	}
	return nil
}

// loose is a text that some write as a number or as a truth value, and null.
type loose string

// UnmarshalJSON takes any scalar.
func (l *loose) UnmarshalJSON(raw []byte) error {
	switch {
	case string(raw) == "null":
	case raw[0] == '"':
		text, err := unquote(raw)
		*l = loose(text)
		return err
	case raw[0] == '{', raw[0] == '[', len(raw) > maxNumber:
		return errNoScalar
	default:
		*l = loose(raw)
	}
	return nil
}

// truth reads a truth value as MISP has it in its versions.
func (l loose) truth() bool { return l == "true" || l == "1" }

// parseTime reads a time as feeds write it: RFC 3339, with a space for the T, with
// UTC behind it or no zone, which means the same; a day; or seconds since 1970.
// The zero time is no time.
func parseTime(text string) time.Time {
	text = strings.TrimSpace(text)
	if isNumber(text) && (len(text) == 9 || len(text) == 10) { // 1973 to 2286; eight digits are a day
		seconds, _ := strconv.ParseInt(text, 10, 64)
		return time.Unix(seconds, 0).UTC()
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, " UTC"), "Z")
	layout := time.DateOnly
	switch {
	case len(text) < len(time.DateOnly) || len(text) > 40:
		return time.Time{}
	case len(text) > len("2006-01-02T15:04:05") && strings.ContainsAny(text[len("2006-01-02T15:04:05"):], "+-"):
		layout = "2006-01-02T15:04:05Z07:00"
	case len(text) > len(time.DateOnly):
		layout = "2006-01-02T15:04:05"
	}
	if len(text) > len(time.DateOnly) && text[len(time.DateOnly)] == ' ' {
		text = text[:len(time.DateOnly)] + "T" + text[len(time.DateOnly)+1:]
	}
	at, err := time.Parse(layout, text)
	if err != nil || at.Year() < 1970 {
		return time.Time{}
	}
	return at.UTC()
}
