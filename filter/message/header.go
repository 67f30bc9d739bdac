package message

import (
	"iter"
	"strings"
	"unicode/utf8"
)

// Header is a header as it stood in the message: an ordered list of fields. It
// holds copies of the bytes that it was read from and stays valid for ever. The
// zero Header is empty.
type Header struct {
	text   string
	fields []fieldSpan
}

// fieldSpan is where a field lies: its first byte, the colon, the byte behind
// its last line end.
type fieldSpan struct{ start, colon, end int }

// Field is one header field.
type Field struct {
	Name string // as written, without white space around it
	raw  string
	body string // behind the colon, line ends included
}

// Len gives the number of fields.
func (h Header) Len() int { return len(h.fields) }

// At gives the i-th field from the top, counted from 0.
func (h Header) At(i int) Field {
	f := h.fields[i]
	end := f.colon
	for end > f.start && (h.text[end-1] == ' ' || h.text[end-1] == '\t') {
		end--
	}
	return Field{
		Name: h.text[f.start:end],
		raw:  h.text[f.start:f.end],
		body: h.text[f.colon+1 : f.end],
	}
}

// All goes through the fields that have this name, in any case, from the top;
// the empty name stands for all.
func (h Header) All(name string) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for i := range h.fields {
			if !h.mayBe(i, name) {
				continue
			}
			if f := h.At(i); (name == "" || strings.EqualFold(f.Name, name)) && !yield(f) {
				return
			}
		}
	}
}

// mayBe reports whether the i-th field can have a name, by a look that most
// others do not pass.
func (h Header) mayBe(i int, name string) bool {
	f := h.fields[i]
	return name == "" || f.colon-f.start >= len(name) && (h.text[f.start]^name[0])&^0x20 == 0 || h.text[f.start] >= utf8.RuneSelf
}

// Count gives the number of fields that have this name, in any case.
func (h Header) Count(name string) int {
	n := 0
	for range h.All(name) {
		n++
	}
	return n
}

// Get gives the decoded value of the first field that has this name, in any
// case; "" where there is none.
func (h Header) Get(name string) string {
	for f := range h.All(name) {
		return f.Value()
	}
	return ""
}

// Addresses reads the addresses in all fields that have this name, at most
// limit of them; 0 stands for the default limit.
func (h Header) Addresses(name string, limit int) []Address {
	if limit <= 0 {
		limit = DefaultLimits().AddressFields
	}
	var all []Address
	for f := range h.All(name) {
		all, _ = appendAddresses(all, f.Unfolded(), limit)
	}
	return all
}

// Raw gives the field as it stood, from its name through its last line end.
func (f Field) Raw() string { return f.raw }

// Unfolded gives the value without its line ends and the white space around
// it, encoded words and all (RFC 5322 section 2.2.3).
func (f Field) Unfolded() string { return unfold(f.body) }

// Value gives the value as a mail client shows it: unfolded, encoded words
// decoded (RFC 2047), control characters left out. It is valid UTF-8.
func (f Field) Value() string {
	text, _ := decodeWords(unfold(f.body))
	return text
}

// unfold takes the line ends out of a field's body. A CR on its own counts as
// white space.
func unfold(body string) string {
	body = strings.Trim(body, " \t\r\n")
	if strings.IndexByte(body, '\n') < 0 && strings.IndexByte(body, '\r') < 0 {
		return body
	}
	var b strings.Builder
	b.Grow(len(body))
	for body != "" {
		i := strings.IndexAny(body, "\r\n")
		if i < 0 {
			b.WriteString(body)
			break
		}
		b.WriteString(body[:i])
		end := i
		for end < len(body) && (body[end] == '\r' || body[end] == '\n') {
			end++
		}
		// Behind a line end stands the white space of the fold.
		if c := body[end]; c != ' ' && c != '\t' {
			b.WriteByte(' ')
		}
		body = body[end:]
	}
	return b.String()
}
