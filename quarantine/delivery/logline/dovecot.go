package logline

import (
	"bytes"
	"strings"
	"time"
)

// parseDovecot reads what LMTP and LDA say of a copy, by themselves or through
// Sieve:
//
//	lmtp(USER)<PID><SESSION>: [Info: ]msgid=<…>: saved mail to INBOX
//	lmtp(USER)<PID><SESSION>: [Info: ]sieve: msgid=<…>: fileinto action: stored mail into mailbox 'Junk'
//
// and POP3 at the end of a session, under the pop3_logout_format that it comes with:
//
//	pop3(USER)<PID><SESSION>: [Info: ]Disconnected: Logged out top=0/0, retr=1/4321, del=1/1, size=4321
//
// The Message-ID is the stranger's, and what comes last is the user's own, so the
// words between are looked for from the end.
func parseDovecot(dst []Event, at time.Time, text []byte) []Event {
	pop3 := bytes.HasPrefix(text, []byte("pop3("))
	if !ownLine(text) || !pop3 && !bytes.Contains(text, []byte("msgid=")) {
		return dst
	}
	s := string(text)
	_, s, _ = strings.Cut(s, "(")
	// A login may hold brackets; the process ID cannot.
	user, pid, s := cutLogin(s)
	if pid == "" {
		return dst
	}
	session, s, ok := strings.Cut(s, ">: ")
	if !ok || strings.IndexByte(session, ' ') >= 0 {
		return dst
	}
	s = strings.TrimPrefix(s, "Info: ")
	e := Event{Time: at, User: user, Session: session}
	if pop3 {
		if tookAway(s) {
			e.Kind = Taken
			dst = append(dst, e)
		}
		return dst
	}
	s, sieve := strings.CutPrefix(s, "sieve: ")
	s, ok = strings.CutPrefix(s, "msgid=")
	if !ok {
		return dst
	}
	if sieve {
		parseSieve(&e, s)
	} else if id, folder, ok := cutLast(s, ": saved mail to "); ok {
		e.Kind, e.MessageID, e.Folder = Stored, id, folder
	}
	if e.Kind == 0 {
		return dst
	}
	e.MessageID = trimID(e.MessageID)
	return append(dst, e)
}

// tookAway reports whether a POP3 session deleted mail, which it does when it is
// logged out of.
func tookAway(s string) bool {
	s, ok := strings.CutPrefix(s, "Disconnected: Logged out ")
	if !ok {
		return false
	}
	for field := range strings.SplitSeq(s, ", ") {
		if deleted, ok := strings.CutPrefix(field, "del="); ok {
			return deleted != "" && deleted[0] >= '1' && deleted[0] <= '9'
		}
	}
	return false
}

// cutLogin takes "USER)<PID><" apart.
func cutLogin(s string) (user, pid, rest string) {
	for from := 0; ; {
		i := strings.Index(s[from:], ")<")
		if i < 0 {
			return "", "", ""
		}
		i += from
		n := i + 2
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		if n > i+2 && strings.HasPrefix(s[n:], "><") {
			return s[:i], s[i+2 : n], s[n+2:]
		}
		from = i + 2
	}
}

// parseSieve reads what Pigeonhole did: "<id>: [… action: ]stored mail into mailbox 'X'".
func parseSieve(e *Event, s string) {
	at := -1
	rest := ""
	for _, action := range [...]struct {
		kind  Kind
		words string
	}{
		{Stored, ": stored mail into mailbox '"},
		{Forward, ": forwarded to "},
		{Rejected, ": rejected message from "},
		{Dropped, ": Marked message to be discarded"},
		{Dropped, ": marked message to be discarded"},
	} {
		if i := strings.LastIndex(s, action.words); i > at {
			at, rest, e.Kind = i, s[i+len(action.words):], action.kind
		}
	}
	if at < 0 {
		return
	}
	switch e.Kind {
	case Stored:
		e.Folder = strings.TrimSuffix(rest, "'")
	case Forward:
		var ok bool
		if e.Address, _, ok = bracketed(rest); !ok {
			e.Kind = 0
		}
	}
	e.MessageID = s[:at]
	if id, action, ok := cutLast(s[:at], ": "); ok && strings.HasSuffix(action, " action") {
		e.MessageID = id
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
