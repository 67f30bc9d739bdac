package notify

import (
	"bytes"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/weirmail/weir/intel"
)

// letter is a notice as mail. The same letter is always the same bytes.
type letter struct {
	from    *mail.Address
	to      string // canonical, in a form that needs no quotes
	id      string // what stands before the @ of the Message-ID
	date    time.Time
	subject string // one line
	text    string // lines end with LF
}

// bytes gives the message, lines ending with CRLF: in ASCII but for an address that
// is not, and no line longer than RFC 5322 section 2.1.1 lets it be.
func (l *letter) bytes() []byte {
	var b bytes.Buffer
	field := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	field("Date", l.date.UTC().Format(time.RFC1123Z))
	field("From", folded(l.from.String()))
	field("To", "<"+l.to+">")
	field("Message-ID", "<"+l.id+l.from.Address[strings.LastIndexByte(l.from.Address, '@'):]+">")
	// What looks like an encoded word and is none would be read as one.
	field("Subject", folded(mime.QEncoding.Encode("utf-8", strings.ReplaceAll(l.subject, "=?", "= ?"))))
	field("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(l.text)) // to a buffer
	_ = w.Close()
	return b.Bytes()
}

// folded puts each encoded word (RFC 2047) on a line of its own.
func folded(field string) string { return strings.ReplaceAll(field, "?= =?", "?=\r\n =?") }

// shown gives what somebody wrote as part of a notice: on one line, of so many
// characters at most, with nothing that has no shape of its own, and no link.
func shown(text string, most int) string {
	words := strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")))
	runes := []rune(strings.Join(words, " "))
	if len(runes) > most {
		runes = append(runes[:most], '…')
	}
	return intel.Defang(string(runes))
}
