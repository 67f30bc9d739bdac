package message

import (
	"net/netip"
	"strings"
	"time"
)

// Path is an envelope address as the MTA gave it.
type Path struct {
	Raw  string   // verbatim, angle brackets included where the MTA sent them
	Args []string // ESMTP arguments: SIZE=…, BODY=8BITMIME, SMTPUTF8, NOTIFY=…
}

// Address gives the path without its angle brackets; "" is the null sender.
func (p Path) Address() string {
	s := strings.TrimPrefix(p.Raw, "<")
	return strings.TrimSuffix(s, ">")
}

// Client is the SMTP client that handed the message over.
type Client struct {
	Addr netip.Addr // invalid when the message did not come by TCP
	Port uint16
	Name string // verified reverse name, or the address in brackets
}

// Envelope is all that a message's transaction says about it.
type Envelope struct {
	QueueID  string // the MTA's; empty when it never said it
	Client   Client
	Helo     string
	AuthUser string // SASL login, empty without authentication
	AuthMech string
	TLS      string // protocol version, empty without TLS
	Daemon   string // the MTA's name for the listener
	Local    bool   // not by SMTP: sendmail command or a queue's re-injection (Postfix non_smtpd_milters)
	From     Path
	To       []Path // accepted by the MTA so far, in order, duplicates included
	Time     time.Time
}
