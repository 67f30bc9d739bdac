package logline

import (
	"strings"
	"time"
)

// parseSendmail reads "QUEUEID: …" of Sendmail.
func parseSendmail(dst []Event, at time.Time, text []byte) []Event {
	id, s, ok := queueID(string(text))
	if !ok {
		return dst
	}
	e := Event{Time: at, QueueID: id}
	switch {
	case strings.HasPrefix(s, "from="):
		if msgid, ok := sendmailID(s); ok {
			e.Kind, e.MessageID = Started, msgid
			return append(dst, e)
		}
	case strings.HasPrefix(s, "to="):
		return sendmailCopies(dst, e, s)
	case strings.HasPrefix(s, "done; "):
		e.Kind = Ended
		return append(dst, e)
	case strings.HasPrefix(s, "milter="):
		if refusedByMilter(s) {
			e.Kind, e.Reply = Refused, cutReply(s)
			return append(dst, e)
		}
	default:
		// "ID: DSN: User unknown", "ID: sender notify: …", "ID: return to sender: …"
		next, what, ok := queueID(s)
		if ok && (strings.HasPrefix(what, "DSN: ") || strings.Contains(what, "notify: ") || strings.HasPrefix(what, "return to sender: ")) {
			e.Kind, e.NextID = Notice, next
			return append(dst, e)
		}
	}
	return dst
}

// sendmailID reads the Message-ID of
//
//	from=<a>, size=1, class=0, [pri=1, ]nrcpts=1, msgid=<id>, [bodytype=8BITMIME, ]proto=ESMTP, daemon=MTA, relay=…
//
// What follows the Message-ID is Sendmail's own, so its end is looked for from
// the end of the line.
func sendmailID(s string) (string, bool) {
	_, s, ok := sendmailAddress(s[len("from="):])
	if !ok {
		return "", false
	}
	if s, ok = strings.CutPrefix(s, ", "); !ok {
		return "", false
	}
	for _, name := range []string{"size", "class", "pri"} {
		_, s, _ = field(s, name)
	}
	if _, s, ok = field(s, "nrcpts"); !ok {
		return "", strings.HasPrefix(s, "nrcpts=")
	}
	s, ok = strings.CutPrefix(s, "msgid=")
	if !ok {
		return "", true
	}
	for _, next := range []string{", proto=", ", relay="} {
		if id, _, ok := cutLast(s, next); ok {
			id = strings.TrimSuffix(strings.TrimSuffix(id, ", bodytype=8BITMIME"), ", bodytype=7BIT")
			return trimID(id), true
		}
	}
	return trimID(s), true
}

// sendmailCopies reads
//
//	to=<a>,b, [ctladdr=<c> (8/0), ]delay=…, xdelay=…, mailer=…, pri=…, relay=…, dsn=…, [reply=…, ]stat=…
//
// The reply is the other side's: how it ended is read from the code before it.
func sendmailCopies(dst []Event, e Event, s string) []Event {
	list := s[len("to="):]
	s, ok := skipAddresses(list)
	if !ok {
		return dst
	}
	ctladdr, s, ok := field(s, "ctladdr")
	if ok {
		e.Through, _, _ = sendmailAddress(ctladdr)
	}
	_, s, _ = field(s, "delay")
	_, s, _ = field(s, "xdelay")
	mailer, s, _ := field(s, "mailer")
	_, s, _ = field(s, "pri")
	e.Relay, s, _ = field(s, "relay")
	e.DSN, s, _ = field(s, "dsn")
	stat := ""
	if reply, found := strings.CutPrefix(s, "reply="); found {
		e.Reply = reply
	} else if stat, ok = strings.CutPrefix(s, "stat="); !ok {
		return dst
	}
	e.Kind, e.Agent = Copy, SendmailAgent+mailer
	if e.Outcome = outcomeOf(e.DSN); e.Outcome == 0 || stat == "discarded" || strings.HasPrefix(stat, "queued") {
		if e.Outcome = outcomeOfStat(stat); e.Outcome == 0 {
			return dst
		}
	}
	if e.Reply == "" {
		e.Reply = stat
	}
	if e.Outcome == Sent {
		_, said, _ := strings.Cut(e.Reply, "(")
		e.NextID = nextID(strings.TrimSuffix(said, ")"))
	}
	e.Reply = cutReply(e.Reply)
	for {
		to, rest, ok := sendmailAddress(list)
		if !ok {
			return dst
		}
		e.Address = to
		dst = append(dst, e)
		if !strings.HasPrefix(rest, ",") || strings.HasPrefix(rest, ", ") {
			return dst
		}
		list = rest[1:]
	}
}

func outcomeOfStat(stat string) Outcome {
	switch {
	case strings.HasPrefix(stat, "Sent"):
		return Sent
	case stat == "discarded":
		return Discarded
	case strings.HasPrefix(stat, "queued"), strings.HasPrefix(stat, "Deferred"):
		return Deferred
	}
	return 0
}

// sendmailAddress cuts an address from the front, with angle brackets as it came
// in or without as an alias gave it.
func sendmailAddress(s string) (address, rest string, ok bool) {
	if strings.HasPrefix(s, "<") {
		return bracketed(s)
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			n, ok := quoted(s[i:])
			if !ok {
				return "", "", false
			}
			i += n - 1
		case ',':
			return s[:i], s[i:], i > 0
		}
	}
	return s, "", s != ""
}

// skipAddresses cuts a list of them and the ", " behind it.
func skipAddresses(s string) (string, bool) {
	for {
		_, rest, ok := sendmailAddress(s)
		if !ok || !strings.HasPrefix(rest, ",") {
			return "", false
		}
		if after, end := strings.CutPrefix(rest, ", "); end {
			return after, true
		}
		s = rest[1:]
	}
}

// refusedByMilter reads "milter=NAME, [action=eom, ]discard" and "…reject=…". What
// is refused at an earlier action is a recipient or a session.
func refusedByMilter(s string) bool {
	_, s, ok := field(s, "milter")
	if !ok {
		return false
	}
	action, s, named := field(s, "action")
	if named && action != "eom" && action != "body" && action != "eoh" && action != "header" && action != "data" {
		return false
	}
	return s == "discard" || strings.HasPrefix(s, "reject=")
}
