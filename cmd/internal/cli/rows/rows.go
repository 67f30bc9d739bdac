// Package rows reads which messages are meant from what people have at hand: CSV
// that a mail server, a spreadsheet or another security tool has exported, or lines
// of Message-ID and recipient.
package rows

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on what is read.
const (
	MaxBytes = 32 << 20
	MaxRows  = 50_000
	maxBad   = 1000 // reported
	maxID    = 998  // bytes: RFC 5322 section 2.1.1
	maxShown = 80   // bytes of a value in a message
)

// Row names a message, or one copy of it.
type Row struct {
	Line      int    // in the file, from 1
	MessageID string // without angle brackets
	Recipient string // empty: every copy
}

// Bad is a row that names nothing.
type Bad struct {
	Line   int
	Value  string // what stands there, shortened
	Reason string
	Cure   string
}

// Error gives the row with its line, what is wrong and what to do.
func (b *Bad) Error() string {
	s := fmt.Sprintf("line %d: ", b.Line)
	if b.Value != "" {
		s += fmt.Sprintf("%q ", b.Value)
	}
	return s + b.Reason + "; " + b.Cure
}

// Read reads all rows. Columns are found by their headings: Message-ID in any
// spelling is needed, Recipient, To or the like may be there, and all others are
// left alone. Without headings the first column is the Message-ID and the second
// the recipient. Commas, semicolons or tabs part columns; quotes, a byte order mark
// and any line ends are as spreadsheets write them. Angle brackets are optional, and
// a cell may name several recipients. A row that names nothing is bad, and the others
// are given all the same. The error says why nothing could be read.
func Read(r io.Reader) (rows []Row, bad []Bad, err error) {
	content, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, nil, err
	}
	text, err := textOf(content)
	if err != nil {
		return nil, nil, err
	}
	t := &table{csv: csv.NewReader(bytes.NewReader(text))}
	t.csv.Comma, t.csv.FieldsPerRecord = separator(text), -1
	err = t.read()
	return t.rows, t.bad, err
}

// textOf gives a file as UTF-8 with LF at the end of its lines.
func textOf(content []byte) ([]byte, error) {
	switch {
	case len(content) > MaxBytes:
		return nil, fmt.Errorf("it has more than %d bytes; split it", MaxBytes)
	case bytes.HasPrefix(content, []byte{0xff, 0xfe}), bytes.HasPrefix(content, []byte{0xfe, 0xff}):
		return nil, errors.New("it is UTF-16; save it as CSV in UTF-8")
	case bytes.HasPrefix(content, []byte("PK\x03\x04")):
		return nil, errors.New("it is a workbook, not CSV; save it as CSV in UTF-8")
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(content, 0) >= 0 {
		return nil, errors.New("it has NUL bytes in it, which no CSV has; save it as CSV in UTF-8")
	}
	if bytes.IndexByte(content, '\n') < 0 {
		content = bytes.ReplaceAll(content, []byte{'\r'}, []byte{'\n'})
	}
	return content, nil
}

// separator gives what parts the columns of the first line that says something.
func separator(text []byte) rune {
	for line := range bytes.Lines(text) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		best, most, quoted := ',', 0, false
		counts := map[rune]int{}
		for _, c := range string(line) {
			if c == '"' {
				quoted = !quoted
			}
			if !quoted && (c == ',' || c == ';' || c == '\t') {
				counts[c]++
			}
		}
		for _, c := range []rune{',', ';', '\t'} {
			if counts[c] > most {
				best, most = c, counts[c]
			}
		}
		return best
	}
	return ','
}

// table is a file on its way.
type table struct {
	csv  *csv.Reader
	rows []Row
	bad  []Bad

	begun         bool
	id, recipient int // columns; -1: there is none
}

func (t *table) read() error {
	for {
		cells, err := t.csv.Read()
		var wrong *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return t.ended()
		case errors.As(err, &wrong):
			t.complain(Bad{Line: wrong.StartLine, Reason: "is not CSV: " + wrong.Err.Error(), Cure: `put quotes around the whole cell, and double those in it`})
		case err != nil:
			return err
		default:
			line, _ := t.csv.FieldPos(0)
			if err := t.take(line, cells); err != nil {
				return err
			}
		}
		if len(t.rows) > MaxRows {
			return fmt.Errorf("it has more than %d rows; split it", MaxRows)
		}
	}
}

func (t *table) ended() error {
	if len(t.rows) == 0 && len(t.bad) == 0 {
		return errors.New("it names no message")
	}
	return nil
}

func (t *table) complain(b Bad) {
	if len(t.bad) < maxBad {
		t.bad = append(t.bad, b)
	}
}

func (t *table) take(line int, cells []string) error {
	for i := range cells {
		cells[i] = trim(cells[i])
	}
	if !slices.ContainsFunc(cells, func(c string) bool { return c != "" }) {
		return nil
	}
	if !t.begun {
		t.begun = true
		if isHead, err := t.head(cells); isHead || err != nil {
			return err
		}
	}
	t.row(line, cells)
	return nil
}

// trim takes off what nobody sees, and the apostrophe that keeps a spreadsheet
// from computing.
func trim(cell string) string {
	cell = strings.TrimFunc(cell, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) })
	if len(cell) > 1 && cell[0] == '\'' && strings.ContainsRune("=+-@", rune(cell[1])) {
		return cell[1:]
	}
	return cell
}

// head reads headings. A first row that has none is a row like the others.
func (t *table) head(cells []string) (isHead bool, err error) {
	t.id, t.recipient = -1, -1
	known := false
	for i, c := range cells {
		switch plain(c) {
		case "messageid", "msgid", "internetmessageid", "rfcmessageid", "originalmessageid", "emailmessageid", "smtpmessageid", "messageidheader", "headermessageid":
			if t.id >= 0 {
				return true, fmt.Errorf("two columns are called Message-ID: %q and %q; take one of them out", cells[t.id], c)
			}
			t.id = i
		case "recipient", "recipients", "rcpt", "rcptto", "to", "recipientaddress", "recipientaddresses", "recipientemail", "recipientemailaddress", "envelopeto", "enveloperecipient", "mailto", "touser", "toaddress":
			if t.recipient < 0 {
				t.recipient = i
			}
		case "subject", "sender", "from", "date", "time", "id", "received", "senderaddress", "fromaddress", "timestamp", "status", "mailbox", "user", "reason":
			known = true
		}
	}
	if t.id >= 0 {
		return true, nil
	}
	if t.recipient >= 0 || known {
		return true, fmt.Errorf("no column is called Message-ID: the headings are %s; call it message_id", shorten(strings.Join(cells, ", ")))
	}
	t.id, t.recipient = 0, 1
	return false, nil
}

// plain gives the letters and digits of a heading.
func plain(heading string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func (t *table) row(line int, cells []string) {
	if t.id >= len(cells) || cells[t.id] == "" {
		t.complain(Bad{Line: line, Reason: "has no Message-ID", Cure: "write it, or take the row out"})
		return
	}
	id, reason := messageID(cells[t.id])
	if reason != "" {
		t.complain(Bad{Line: line, Value: shorten(cells[t.id]), Reason: reason, Cure: "write one Message-ID as it stands in the header"})
		return
	}
	var to []string
	if t.recipient >= 0 && t.recipient < len(cells) {
		for _, part := range strings.FieldsFunc(cells[t.recipient], func(r rune) bool { return r == ';' || r == ',' || r == '\n' || r == '|' }) {
			address, ok := addressIn(part)
			switch {
			case strings.TrimSpace(part) == "":
			case !ok:
				t.complain(Bad{Line: line, Value: shorten(part), Reason: "is not an address", Cure: "write it as alice@example.org, or nothing for every copy"})
				return
			default:
				to = append(to, address)
			}
		}
	}
	if to == nil {
		to = []string{""}
	}
	for _, address := range to {
		t.rows = append(t.rows, Row{Line: line, MessageID: id, Recipient: address})
	}
}

// messageID reads a cell. The reason says why it is none.
func messageID(cell string) (id, reason string) {
	id = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(cell, "<"), ">"))
	switch {
	case id == "":
		return "", "is no Message-ID"
	case len(id) > maxID:
		return "", fmt.Sprintf("is longer than the %d bytes that a Message-ID can have", maxID)
	case !utf8.ValidString(id):
		return "", "is not UTF-8"
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "", "has white space in it, which no Message-ID has"
	case strings.ContainsAny(id, "<>"):
		return "", "has angle brackets inside"
	}
	return id, ""
}

// addressIn gives the address of a cell, with or without a name before it.
func addressIn(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if open := strings.LastIndexByte(text, '<'); open >= 0 {
		text = strings.TrimSuffix(text[open+1:], ">")
	}
	at := strings.LastIndexByte(text, '@')
	ok := at > 0 && at < len(text)-1 && len(text) <= maxID && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '<' || r == '>' })
	return text, ok
}

func shorten(text string) string {
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
