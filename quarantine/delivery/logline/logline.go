// Package logline reads single lines of mail logs: what Postfix, Sendmail and
// Dovecot (LMTP, LDA, Sieve, POP3) say of the copies of a message. It is pure: bytes
// in, events out; which event belongs to which message is for package delivery.
//
// Much of a line was chosen by strangers: addresses, Message-IDs, names of
// hosts, replies of foreign servers. So a line is read from the places where the
// program writes its own words: from the front as far as the order of fields is
// the program's, from the end where the stranger's text comes first. An address
// ends where RFC 5321 says that it ends, quoted strings included, as Postfix
// writes them since 3.5 (info_log_address_format = external, the default). What
// does not fit is no event; nothing is guessed.
package logline

import (
	"strings"
	"time"
)

// Kind says what an event tells.
type Kind uint8

// What a line can tell.
const (
	Started  Kind = iota + 1 // a queue ID begins: a client, a local user or, of Sendmail, a message was taken
	Named                    // the queue ID's Message-ID
	Copy                     // an attempt to deliver one recipient's copy, and how it ended
	Expired                  // copies that are still in the queue are given up and returned to the sender
	Refused                  // a milter, or a check of the content, refused or discarded the message before it was queued
	Notice                   // NextID is a notification about the queue ID's message
	Ended                    // the queue ID is gone from the queue
	Stored                   // Dovecot stored the copy in a folder
	Forward                  // Sieve sent the copy on to Address
	Rejected                 // Sieve refused the copy and told the sender
	Dropped                  // Sieve discards the copy unless another action keeps it
	Taken                    // the User took mail out of his inbox by POP3
)

// Outcome says how an attempt to deliver ended.
type Outcome uint8

// How an attempt can end.
const (
	Sent Outcome = iota + 1
	Deferred
	Bounced
	Discarded
)

// Event is what a line tells. Fields that the line does not give are empty. All
// text is a stranger's.
type Event struct {
	Kind Kind      `cbor:"1,keyasint"`
	Time time.Time `cbor:"2,keyasint"`

	QueueID   string `cbor:"3,keyasint,omitempty"`
	MessageID string `cbor:"4,keyasint,omitempty"` // without the angle brackets around it; as the program cleaned it

	// Of a Copy.
	Agent   string  `cbor:"5,keyasint,omitempty"` // also of Ended: Postfix's delivery agent (smtp, lmtp, local …); Sendmail's mailer behind SendmailAgent
	Address string  `cbor:"6,keyasint,omitempty"` // final recipient; of a Forward, whom it went to
	Through string  `cbor:"7,keyasint,omitempty"` // the address that it came in for, where that is another one
	Relay   string  `cbor:"8,keyasint,omitempty"` // the host that was spoken to
	DSN     string  `cbor:"9,keyasint,omitempty"` // enhanced status code, RFC 3463
	Outcome Outcome `cbor:"10,keyasint,omitempty"`
	Reply   string  `cbor:"11,keyasint,omitempty"` // what the other side said, or the reason; MaxReply bytes at most

	// NextID is the queue ID under which the other side has the message, or of a
	// Notice.
	NextID string `cbor:"12,keyasint,omitempty"`

	// Session is Dovecot's, suffixes included: they tell the copies of one
	// session apart.
	Session string `cbor:"13,keyasint,omitempty"`
	User    string `cbor:"14,keyasint,omitempty"` // whose mailbox
	Folder  string `cbor:"15,keyasint,omitempty"`
}

// Bounds on what is read.
const (
	MaxLine  = 16 << 10 // bytes of a line; longer ones are no events
	MaxReply = 512
)

// Parser reads lines. It has no state and is safe for use by many goroutines.
type Parser struct {
	// Location is the time zone of timestamps that name none; time.Local if nil.
	Location *time.Location
}

// Parse appends the events of a line, without its end, to dst: none, one, or,
// of Sendmail, one for each recipient. No line is younger than asOf, but for a
// day's grace: the year of a timestamp without one follows from that.
func (p *Parser) Parse(dst []Event, line []byte, asOf time.Time) []Event {
	if len(line) > MaxLine {
		return dst
	}
	h, ok := p.head(line, asOf)
	if !ok {
		return dst
	}
	return ParseMessage(dst, h.time, h.program, h.text)
}

// ParseMessage is Parse for what has been taken apart already, such as an entry
// of journald: program is the name that it logs under, as "postfix/smtp".
func ParseMessage(dst []Event, at time.Time, program, text []byte) []Event {
	if len(text) > MaxLine {
		return dst
	}
	switch agent := agentOf(program); agent {
	case "":
		return dst
	case dovecot:
		return parseDovecot(dst, at, text)
	case sendmail:
		return parseSendmail(dst, at, text)
	default:
		return parsePostfix(dst, at, agent, text)
	}
}

// SendmailAgent begins the Agent of Sendmail's copies; the mailer follows.
const SendmailAgent = "sendmail/"

const (
	dovecot  = "dovecot"
	sendmail = "sendmail"
)

// agentOf gives the Postfix daemon, or one of the names above; "" for a program
// that tells nothing of deliveries.
func agentOf(program []byte) string {
	switch string(program) { // no copy is made
	case "dovecot":
		return dovecot
	case "sendmail", "sm-mta", "sm-msp-queue", "sendmail-in", "sendmail-out":
		return sendmail
	}
	// Of Postfix: "postfix/smtp", "postfix-out/smtp", "postfix/submission/smtpd".
	slash := -1
	for i := len(program) - 1; i >= 0; i-- {
		if program[i] == '/' {
			slash = i
			break
		}
	}
	if slash < 1 {
		return ""
	}
	switch string(program[slash+1:]) {
	case "smtp":
		return "smtp"
	case "lmtp":
		return "lmtp"
	case "local":
		return "local"
	case "virtual":
		return "virtual"
	case "pipe":
		return "pipe"
	case "error":
		return "error"
	case "discard":
		return "discard"
	case "cleanup":
		return "cleanup"
	case "qmgr", "nqmgr", "oqmgr":
		return "qmgr"
	case "bounce":
		return "bounce"
	case "smtpd":
		return "smtpd"
	case "pickup":
		return "pickup"
	case "postsuper":
		return "postsuper"
	}
	return ""
}

// queueID cuts "ID: " from the front. Postfix's short IDs are upper-case hex,
// its long ones and Sendmail's have digits and letters of both cases; a word in
// lower case, such as "warning", is none.
func queueID(s string) (id, rest string, ok bool) {
	const most = 40
	i, named := 0, false
	for i < len(s) && i <= most {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' {
			named = true
		} else if c < 'a' || c > 'z' {
			break
		}
		i++
	}
	if i == 0 || i > most || !named || !strings.HasPrefix(s[i:], ": ") {
		return "", "", false
	}
	return s[:i], s[i+2:], true
}

// isQueueID reports whether all of s could be a queue ID.
func isQueueID(s string) bool {
	if len(s) < 5 {
		return false // shorter than any
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) <= 40
}

// bracketed cuts "<address>" from the front. Only a quoted local part may hold
// what else would end the address or look like another field.
func bracketed(s string) (address, rest string, ok bool) {
	if s == "" || s[0] != '<' {
		return "", "", false
	}
	i := 1
	if i < len(s) && s[i] == '"' {
		n, ok := quoted(s[i:])
		if !ok {
			return "", "", false
		}
		i += n
	}
	for ; i < len(s); i++ {
		switch s[i] {
		case '>':
			return s[1:i], s[i+1:], true
		case ' ', ',', '<', '"', '(', ')', ';':
			return "", "", false
		}
	}
	return "", "", false
}

// quoted gives the length of the quoted string at the front.
func quoted(s string) (int, bool) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return 0, false
}

// field cuts "name=value, " from the front, for values that hold no ", ".
func field(s, name string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, name) || len(s) <= len(name) || s[len(name)] != '=' {
		return "", s, false
	}
	value, rest, ok = strings.Cut(s[len(name)+1:], ", ")
	if !ok {
		return "", s, false
	}
	return value, rest, true
}

// outcomeOf reads the class of an enhanced status code, "2.0.0".
func outcomeOf(dsn string) Outcome {
	if len(dsn) < 5 || dsn[1] != '.' {
		return 0
	}
	switch dsn[0] {
	case '2':
		return Sent
	case '4':
		return Deferred
	case '5':
		return Bounced
	}
	return 0
}

// trimID takes the angle brackets off a Message-ID.
func trimID(id string) string {
	if len(id) >= 2 && id[0] == '<' && id[len(id)-1] == '>' {
		return id[1 : len(id)-1]
	}
	return id
}

func cutReply(s string) string {
	if len(s) > MaxReply {
		return s[:MaxReply]
	}
	return s
}

// nextID finds the queue ID that the next hop says it has the message under.
// Whoever answers may say anything: it is for the caller to know that ID.
func nextID(reply string) string {
	for _, before := range []string{"queued as ", "forwarded as "} {
		if i := strings.LastIndex(reply, before); i >= 0 {
			if id := reply[i+len(before):]; isQueueID(id) {
				return id
			}
		}
	}
	if before, ok := strings.CutSuffix(reply, " Message accepted for delivery"); ok { // Sendmail
		if id := before[strings.LastIndexByte(before, ' ')+1:]; isQueueID(id) {
			return id
		}
	}
	return ""
}
