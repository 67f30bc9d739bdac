package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// File is a message as a file holds it, made what the MTA would hand over.
type File struct {
	Name   string
	Raw    []byte // header, blank line and body; lines end in CRLF
	Sender string // of the mbox line, where there is one
	More   bool   // the file is a mailbox that holds more messages
	Cut    bool   // the message is larger than the limit, and Raw is its beginning
}

// ErrEmpty says that there is no message.
var ErrEmpty = errors.New("is empty")

// Read reads a message of at most limit bytes. A mailbox's From line is taken
// off, and in a file whose lines end in LF alone they get the CRLF that they have
// on their way: files of either kind are what mail clients and servers write.
func Read(name string, r io.Reader, limit int64) (*File, error) {
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := &File{Name: name, Raw: raw, Cut: int64(len(raw)) > limit}
	if f.Cut {
		f.Raw = f.Raw[:limit]
	}
	f.unwrap()
	if len(bytes.TrimSpace(f.Raw)) == 0 {
		return nil, fmt.Errorf("%s: %w", name, ErrEmpty)
	}
	f.Raw = wireLines(f.Raw)
	return f, nil
}

// wireLines gives lines that end in LF alone the CRLF of the wire, if the first
// line is one. In a message that has CRLF there, an LF alone is what its sender
// wrote, and stays.
func wireLines(raw []byte) []byte {
	if i := bytes.IndexByte(raw, '\n'); i < 0 || i > 0 && raw[i-1] == '\r' {
		return raw
	}
	wire := make([]byte, 0, len(raw)+bytes.Count(raw, []byte("\n")))
	for i, c := range raw {
		if c == '\n' && (i == 0 || raw[i-1] != '\r') {
			wire = append(wire, '\r')
		}
		wire = append(wire, c)
	}
	return wire
}

// unwrap takes off the From line of a mailbox (RFC 4155), and what follows its
// first message.
func (f *File) unwrap() {
	line, rest, ok := bytes.Cut(f.Raw, []byte("\n"))
	if !ok || !isMailboxLine(line) {
		return
	}
	f.Sender = strings.Fields(string(line))[1]
	f.Raw = rest
	for at := 0; ; {
		i := bytes.Index(f.Raw[at:], []byte("\nFrom "))
		if i < 0 {
			return
		}
		at += i + 1
		next, _, _ := bytes.Cut(f.Raw[at:], []byte("\n"))
		if !isMailboxLine(next) {
			continue
		}
		// An empty line stands before it, and is not the message's.
		f.Raw = bytes.TrimSuffix(bytes.TrimSuffix(f.Raw[:at], []byte("\n")), []byte("\r"))
		f.More = true
		return
	}
}

// isMailboxLine reports a line "From SENDER DATE": the date ends with a year,
// or with a year and a zone.
func isMailboxLine(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("From ")) || len(line) > 998 {
		return false
	}
	words := strings.Fields(string(line))
	if len(words) < 6 {
		return false
	}
	for _, w := range words[len(words)-3:] {
		if len(w) == 4 && w >= "1970" && w <= "2999" && strings.Trim(w, "0123456789") == "" {
			return true
		}
	}
	return false
}
