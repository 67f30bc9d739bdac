package message

import (
	"net/mail"
	"strings"
	"time"

	"github.com/weirmail/weir/filter/message/charset"
	"github.com/weirmail/weir/filter/message/transfer"
)

// Subject gives the decoded subject; of several fields, the first.
func (m *Message) Subject() string { return m.Header.Get("Subject") }

// MessageID gives the message's identifier without angle brackets; empty where
// it has none.
func (m *Message) MessageID() string {
	ids := m.ids("Message-ID")
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// InReplyTo gives the identifiers of the messages that this one answers,
// without angle brackets.
func (m *Message) InReplyTo() []string { return m.ids("In-Reply-To") }

// References gives the identifiers of the thread, the oldest first, without
// angle brackets.
func (m *Message) References() []string { return m.ids("References") }

// maxIDs bounds the identifiers taken from one message's field.
const maxIDs = 1000

// ids reads the identifiers in all fields that have this name (RFC 5322
// section 3.6.4); a word without brackets counts as one if there are none with.
func (m *Message) ids(name string) []string {
	var ids []string
	for f := range m.Header.All(name) {
		text := f.Unfolded()
		rest := text
		for len(ids) < maxIDs {
			_, after, ok := strings.Cut(rest, "<")
			if !ok {
				break
			}
			id, behind, ok := strings.Cut(after, ">")
			if id = strings.TrimSpace(id); id != "" {
				ids = append(ids, id)
			}
			if rest = behind; !ok {
				break
			}
		}
		if rest == text {
			if words := strings.Fields(text); len(words) > 0 && len(ids) < maxIDs {
				ids = append(ids, words[0])
			}
		}
	}
	return ids
}

// Date gives the time in the Date field, and whether that can be read.
func (m *Message) Date() (time.Time, bool) {
	t, err := mail.ParseDate(m.Header.Get("Date"))
	return t, err == nil
}

// From gives the addresses in all From fields, at most Limits.AddressFields.
func (m *Message) From() []Address { return m.originators.from }

// Sender gives the addresses in all Sender fields, at most Limits.AddressFields.
func (m *Message) Sender() []Address { return m.originators.sender }

// ReplyTo gives the addresses in all Reply-To fields, at most Limits.AddressFields.
func (m *Message) ReplyTo() []Address { return m.originators.replyTo }

// To gives the addresses in all To fields.
func (m *Message) To() []Address { return m.Header.Addresses("To", 0) }

// Cc gives the addresses in all Cc fields.
func (m *Message) Cc() []Address { return m.Header.Addresses("Cc", 0) }

// Text gives the text of part i as UTF-8, decoded from at most limit bytes of
// Raw. It is false for parts that are no text, parts inside of encoded ones,
// and once the message is closed.
func (m *Message) Text(i, limit int) (string, bool) {
	p := &m.Parts[i]
	if !p.Text || p.end == 0 || p.end > len(m.Raw) {
		return "", false
	}
	raw := m.Raw[p.start:min(p.end, p.start+max(limit, 0))]
	plain, _ := transfer.Append(nil, p.encoding, raw)
	text, _ := charset.ToUTF8(p.Charset, plain)
	return string(text), true
}
