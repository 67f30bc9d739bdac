package logline

import (
	"strings"
	"time"
)

// parsePostfix reads "QUEUEID: …" of a Postfix daemon.
func parsePostfix(dst []Event, at time.Time, agent string, text []byte) []Event {
	// Most lines of smtpd tell of connections; they are not worth a copy.
	if agent == "smtpd" && !mayNameQueueID(text) {
		return dst
	}
	id, rest, ok := queueID(string(text))
	if !ok {
		return dst
	}
	e := Event{Time: at, QueueID: id}
	switch agent {
	case "smtpd":
		switch {
		case strings.HasPrefix(rest, "client="):
			e.Kind = Started
		case strings.HasPrefix(rest, "reject: END-OF-MESSAGE"), strings.HasPrefix(rest, "milter-reject: END-OF-MESSAGE"):
			e.Kind, e.Reply = Refused, cutReply(rest)
		}
	case "pickup":
		if strings.HasPrefix(rest, "uid=") {
			e.Kind = Started
		}
	case "cleanup":
		parseCleanup(&e, rest)
	case "qmgr", "postsuper":
		parseQmgr(&e, rest)
		if e.Kind == Ended {
			e.Agent = agent
		}
	case "bounce":
		// "sender non-delivery notification: ID", "sender delay notification: ID" …
		if before, next, ok := strings.Cut(rest, " notification: "); ok && len(before) < 40 && isQueueID(next) {
			e.Kind, e.NextID = Notice, next
		}
	default:
		parseCopy(&e, agent, rest)
	}
	if e.Kind == 0 {
		return dst
	}
	return append(dst, e)
}

// mayNameQueueID tells "4jX9xc2YzNz1Vkhj: client=…" from "connect from …".
func mayNameQueueID(text []byte) bool {
	for i, c := range text {
		if c == ':' {
			return i > 0
		}
		if c == ' ' || i > 40 {
			break
		}
	}
	return false
}

func parseCleanup(e *Event, rest string) {
	if id, ok := strings.CutPrefix(rest, "message-id="); ok {
		e.Kind, e.MessageID = Named, trimID(id)
		return
	}
	for _, verdict := range []string{"milter-reject: END-OF-MESSAGE", "milter-discard: END-OF-MESSAGE", "reject: ", "discard: "} {
		if strings.HasPrefix(rest, verdict) {
			e.Kind, e.Reply = Refused, cutReply(rest)
			return
		}
	}
}

func parseQmgr(e *Event, rest string) {
	if rest == "removed" {
		e.Kind = Ended
		return
	}
	after, ok := strings.CutPrefix(rest, "from=")
	if !ok {
		return
	}
	_, after, ok = bracketed(after)
	if ok && (after == ", status=expired, returned to sender" || after == ", status=force-expired, returned to sender") {
		e.Kind = Expired
	}
}

// parseCopy reads the line that delivery agents write of each copy. The order of
// the fields is Postfix's (log_adhoc.c):
//
//	to=<a>, [orig_to=<b>, ]relay=h, [conn_use=n, ]delay=…, delays=…, [tls=…, ]dsn=…, status=sent (reply)
//
// A relay's name holds neither space nor comma, and behind "status=" comes what
// the other side said.
func parseCopy(e *Event, agent, s string) {
	s, ok := strings.CutPrefix(s, "to=")
	if !ok {
		return
	}
	if e.Address, s, ok = bracketed(s); !ok {
		return
	}
	if after, found := strings.CutPrefix(s, ", orig_to="); found {
		if e.Through, s, ok = bracketed(after); !ok {
			return
		}
	}
	if s, ok = strings.CutPrefix(s, ", "); !ok {
		return
	}
	if e.Relay, s, ok = field(s, "relay"); !ok {
		return
	}
	_, s, _ = field(s, "conn_use")
	if _, s, ok = field(s, "delay"); !ok {
		return
	}
	_, s, _ = field(s, "delays")
	_, s, _ = field(s, "tls") // since 3.11
	if e.DSN, s, ok = field(s, "dsn"); !ok {
		return
	}
	if s, ok = strings.CutPrefix(s, "status="); !ok {
		return
	}
	status, reply, _ := strings.Cut(s, " (")
	reply = strings.TrimSuffix(reply, ")")
	switch status {
	case "sent":
		e.Outcome = Sent
		if agent == "discard" {
			e.Outcome = Discarded
		}
	case "deferred", "SOFTBOUNCE":
		e.Outcome = Deferred
	case "bounced":
		e.Outcome = Bounced
	default: // probes of address verification
		return
	}
	e.Kind, e.Agent, e.Reply = Copy, agent, cutReply(reply)
	if e.Outcome == Sent {
		e.NextID = nextID(reply)
		if agent == "lmtp" {
			e.Session = sessionOf(reply)
		}
	}
}

// sessionOf finds Dovecot's session in its answer to a copy: "250 2.0.0 <a> ID Saved".
func sessionOf(reply string) string {
	before, ok := strings.CutSuffix(reply, " Saved")
	if !ok || !strings.HasPrefix(before, "250 2.0.0 <") {
		return ""
	}
	space := strings.LastIndexByte(before, ' ')
	if before[space-1] != '>' {
		return ""
	}
	return before[space+1:]
}
