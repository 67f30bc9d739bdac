package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// mailServer plays the mail server: it asks Weir's milter about each message, puts
// what may pass into Maildirs, or sends it on, and logs that as Postfix does.
type mailServer struct {
	milter string // its socket
	boxes  *mailboxes
	log    string // its file

	aliases map[string][]string            // where mail for an address goes instead
	down    map[string]bool                // addresses that nothing can be delivered to now
	rewrite map[string]func([]byte) []byte // what a list server makes of mail to an address
	queue   []queued
	sent    int
}

// queued is a copy that could not be delivered yet.
type queued struct {
	id, to, orig, from string
	raw                []byte
}

// letter is a message that comes in.
type letter struct {
	from string
	to   []string
	raw  []byte
}

// receive takes messages from a client and gives what Weir answered to each.
func (s *mailServer) receive(all ...letter) (answers []miltertest.Result, err error) {
	session, err := miltertest.Dial("unix", s.milter, miltertest.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w (does the daemon run? make run starts one)", err)
	}
	defer func() { _ = session.Close() }()
	client := miltertest.Client{Name: "mail.elsewhere.example", Addr: netip.MustParseAddrPort("192.0.2.10:40000"), Helo: "mail.elsewhere.example"}
	if err := session.Connect(client); err != nil {
		return nil, err
	}
	for _, l := range all {
		s.sent++
		m := miltertest.Message{QueueID: fmt.Sprintf("D%d%03d", time.Now().UnixMilli(), s.sent%1000), From: "<" + l.from + ">", Raw: crlf(l.raw)}
		for _, to := range l.to {
			m.To = append(m.To, miltertest.Recipient{Address: "<" + to + ">"})
		}
		r, err := session.Send(&m)
		if err == nil && r.Action == intel.ActionAccept {
			err = s.deliver(&m, &r)
		}
		if err != nil {
			return answers, err
		}
		answers = append(answers, r)
	}
	return answers, nil
}

func crlf(b []byte) []byte {
	return []byte(strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n"))
}

// deliver delivers a message to those for whom Weir let it pass.
func (s *mailServer) deliver(m *miltertest.Message, r *miltertest.Result) error {
	raw := edited(m.Raw, r.Edits)
	id, _, _ := strings.Cut(field(raw, "Message-ID"), ">")
	lines := []string{
		fmt.Sprintf("cleanup[11]: %s: message-id=%s>", m.QueueID, id),
		fmt.Sprintf("qmgr[12]: %s: from=%s, size=%d, nrcpt=%d (queue active)", m.QueueID, m.From, len(raw), len(m.To)),
	}
	done := true
	for _, to := range m.To {
		if slices.Contains(r.Removed, to.Address) { // Weir holds his copy
			continue
		}
		address := strings.Trim(to.Address, "<>")
		finals, alias := s.aliases[address]
		orig := ", orig_to=" + to.Address
		if !alias {
			finals, orig = []string{address}, ""
		}
		for _, final := range finals {
			agent, status, err := s.hand(final, m.From, m.QueueID, raw)
			if err != nil {
				return err
			}
			if s.down[final] {
				done = false
				s.queue = append(s.queue, queued{m.QueueID, final, orig, m.From, raw})
			}
			lines = append(lines, told(agent, m.QueueID, final, orig, status))
		}
	}
	if done {
		lines = append(lines, fmt.Sprintf("qmgr[12]: %s: removed", m.QueueID))
	}
	return s.tell(lines)
}

func told(agent, queueID, to, orig, status string) string {
	return fmt.Sprintf("%s[13]: %s: to=<%s>%s, %s", agent, queueID, to, orig, status)
}

// flush delivers what had to wait. It takes one such copy a message at most.
func (s *mailServer) flush() error {
	all := s.queue
	s.queue, s.down = nil, nil
	var lines []string
	for _, q := range all {
		agent, status, err := s.hand(q.to, q.from, q.id, q.raw)
		if err != nil {
			return err
		}
		lines = append(lines, told(agent, q.id, q.to, q.orig, status), fmt.Sprintf("qmgr[12]: %s: removed", q.id))
	}
	return s.tell(lines)
}

// hand hands a copy to where an address leads, and gives what Postfix's log says
// of it.
func (s *mailServer) hand(to, from, queueID string, raw []byte) (agent, status string, err error) {
	const times = "delay=0.1, delays=0.1/0/0/0"
	switch {
	case s.down[to]:
		return "virtual", "relay=virtual, " + times + ", dsn=4.2.2, status=deferred (mailbox is busy)", nil
	case !strings.HasSuffix(to, domain):
		return "smtp", "relay=mx.outside.example[203.0.113.9]:25, " + times + ", dsn=2.0.0, status=sent (250 2.0.0 Ok: queued)", nil
	}
	if change := s.rewrite[to]; change != nil {
		raw = change(raw)
	}
	trace := fmt.Sprintf("Return-Path: %s\r\nDelivered-To: %s\r\nReceived: by mx.weir.example (Postfix) id %s; %s\r\n",
		from, to, queueID, time.Now().Format(time.RFC1123Z))
	return "virtual", "relay=virtual, " + times + ", dsn=2.0.0, status=sent (delivered to maildir)", s.boxes.deliver(to, append([]byte(trace), raw...))
}

// domain is that of the addresses that have a mailbox.
const domain = "@weir.example"

// tell writes lines into the log.
func (s *mailServer) tell(lines []string) error {
	f, err := os.OpenFile(s.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	now := time.Now().Format("2006-01-02T15:04:05.000000-07:00")
	for _, line := range lines {
		if _, err = fmt.Fprintf(f, "%s mx postfix/%s\n", now, line); err != nil {
			break
		}
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// edited does to a message what a milter asked for: what it inserts comes first.
func edited(raw []byte, edits []verdict.Edit) []byte {
	header, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	fields := fieldsOf(header)
	var first []string
	for _, e := range edits {
		line := e.Name + ": " + strings.ReplaceAll(strings.TrimSpace(e.Value), "\n", "\r\n")
		if e.Op == verdict.EditInsert {
			first = append(first, line)
			continue
		}
		n := 0
		for i, f := range fields {
			if name, _, _ := strings.Cut(f, ":"); !strings.EqualFold(name, e.Name) {
				continue
			}
			if n++; n != e.Index {
				continue
			}
			if e.Op == verdict.EditChange {
				fields[i] = line
			} else {
				fields = slices.Delete(fields, i, i+1)
			}
			break
		}
	}
	return slices.Concat([]byte(strings.Join(slices.Concat(first, fields), "\r\n")), []byte("\r\n\r\n"), body)
}

// fieldsOf gives the fields of a header, folded as they are.
func fieldsOf(header []byte) (fields []string) {
	for line := range strings.SplitSeq(string(header), "\r\n") {
		if n := len(fields); n > 0 && strings.HasPrefix(line, " ") || n > 0 && strings.HasPrefix(line, "\t") {
			fields[n-1] += "\r\n" + line
			continue
		}
		fields = append(fields, line)
	}
	return fields
}

// field gives the value of a message's first field with this name.
func field(raw []byte, name string) string {
	header, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	for _, f := range fieldsOf(header) {
		if is, value, _ := strings.Cut(f, ":"); strings.EqualFold(is, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
