package milter_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// complete makes a message to which no MTA has a field to add.
func complete(body string) string {
	return "From: s@sender.example\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-Id: <1@sender.example>\r\nSubject: a\r\n\r\n" + body
}

// checkCopy checks that a handler saw, once, what was then delivered but for the
// MTA's own Received field.
func checkCopy(t *testing.T, calls []seen, d delivered) {
	t.Helper()
	if len(calls) != 1 {
		t.Fatalf("the handler was called %d times", len(calls))
	}
	want := withoutReceived(t, d.raw)
	if !strings.Contains(want, "\r\n\r\n") {
		want += "\r\n" // Postfix sends none where no body follows
	}
	if calls[0].raw != want {
		t.Errorf("the handler saw\n%.2000q\nand this was delivered\n%.2000q", calls[0].raw, want)
	}
	if calls[0].size != int64(len(want)) {
		t.Errorf("size %d, want %d", calls[0].size, len(want))
	}
}

// sendRaw sends a message and gives what is delivered of it.
func sendRaw(t *testing.T, m *mta, raw string) delivered {
	t.Helper()
	if !strings.HasSuffix(raw, "\r\n") {
		raw += "\r\n" // SMTP cannot say it otherwise
	}
	c := dialSMTP(t, m.smtp)
	c.do("250", "MAIL FROM:<s@sender.example> BODY=8BITMIME")
	c.do("250", "RCPT TO:<a@example.org>")
	c.data("250", raw)
	return m.sink.next(t)
}

// coreCases are what every MTA has to do with us.
func coreCases(t *testing.T, m *mta) {
	t.Run("several messages on one connection, each with its own envelope", func(t *testing.T) {
		s := serveAt(t, m, nil)
		c := dialSMTP(t, m.smtp)
		for i, want := range []struct {
			from string
			to   []string
		}{
			{"<s@sender.example>", []string{"<a@example.org>", "<B@example.org>", "<a@example.org>"}},
			{"<>", []string{"<team@example.org>"}},
			{"<s@sender.example>", []string{"<c+ext@example.org>"}},
		} {
			c.do("250", "MAIL FROM:%s SIZE=100", want.from)
			c.do("5", "RCPT TO:<bad@example.org>")
			for _, to := range want.to {
				c.do("250", "RCPT TO:%s", to)
				c.do("5", "RCPT TO:<bad@example.org>")
			}
			reply := c.data("250", complete(fmt.Sprintf("message %d\r\n", i)))
			calls := s.take()
			checkCopy(t, calls, m.sink.next(t))
			e := calls[0].envelope
			var to []string
			for _, p := range e.To {
				to = append(to, p.Raw)
			}
			if e.From.Raw != want.from || !slices.Equal(e.From.Args, []string{"SIZE=100"}) || !slices.Equal(to, want.to) {
				t.Errorf("message %d: from %+v to %v, want %+v", i, e.From, to, want)
			}
			if e.QueueID == "" || !strings.Contains(reply, e.QueueID) {
				t.Errorf("message %d: queue ID %q, and the reply was %q", i, e.QueueID, reply)
			}
			if e.Helo != "client.example" || e.Client.Addr != netip.MustParseAddr("127.0.0.1") || e.Client.Port == 0 || e.Client.Name == "" || e.Local || e.Daemon == "" {
				t.Errorf("message %d: envelope %+v", i, e)
			}
			// What is begun and dropped leaves nothing behind.
			c.envelope("<dropped@sender.example>", []string{"<dropped@example.org>"})
			c.do("250", "RSET")
		}
		c.do("221", "QUIT")
		if calls := s.take(); len(calls) != 0 {
			t.Errorf("the handler saw a message that was dropped: %+v", calls)
		}
	})

	t.Run("the bytes are those that are delivered", func(t *testing.T) {
		s := serveAt(t, m, nil)
		head := "From: s@sender.example\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-Id: <1@sender.example>\r\n"
		for _, test := range []struct{ name, raw string }{
			{"folds", head + "Subject: one\r\n  two\r\n\tthree\r\n \r\n four\r\nX-Fold:\r\n five\r\nX-Tab:\tsix\r\n\r\nx\r\n"},
			{"spaces", head + "Subject:none\r\nX-Two:  two\r\nX-Trail: trail  \r\nX-Empty:\r\nX-Space: \r\nX-Before : b\r\n\r\nx\r\n"},
			{"8-bit", head + "Subject: caf\xe9 \xc3\xa9 \x80\xff\r\n\r\n\x80\xff\xe9\r\n"},
			{"NUL", head + "Subject: a\x00b\r\n\r\na\x00b\r\n\x00\r\n"},
			{"control bytes", head + "Subject: a\x01\x1b\x7fb\r\n\r\n\x01\x1b\x7f\x0b\x0c\r\n"},
			{"dots", head + "\r\n.\r\n..\r\n.a\r\n...\r\n"},
			{"no line end", head + "\r\nlast line"},
			{"no body", head + "Subject: x\r\n"},
			{"empty body", head + "Subject: x\r\n\r\n"},
			{"blank lines", head + "\r\n\r\n\r\nx\r\n\r\n\r\n"},
			{"no header", "\r\nx\r\n"},
			{"a body like headers", head + "\r\nSubject: not one\r\n\r\nx\r\n"},
			{"junk in the header", head + "junk line without colon\r\nX-After: x\r\n\r\nx\r\n"},
			{"mbox line", "From s@sender.example Fri Nov 20 10:00:00 2026\r\n" + head + "\r\nx\r\n"},
			{"odd names", head + "X_y.z!#$: 1\r\nx-Lower: 2\r\nX-LOWER: 3\r\n\r\nx\r\n"},
			{"repeated fields", head + strings.Repeat("X-Same: same\r\n", 50) + "\r\nx\r\n"},
			{"a long field", head + "X-Long: " + strings.Repeat("0123456789", 900) + "\r\n\r\nx\r\n"},
			{"a long folded field", head + "X-Long:" + strings.Repeat(" 0123456789\r\n", 2000) + "\r\nx\r\n"},
			{"a long line", head + "\r\n" + strings.Repeat("0123456789", 1500) + "\r\n"},
			{"a chunk's worth", head + "\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 2000) + "\r\n"},
			{"five megabytes", head + "\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 5<<20/72) + "\r\n"},
		} {
			t.Run(test.name, func(t *testing.T) {
				if m.name == "Sendmail" && (test.name == "no header" || test.name == "a long field") {
					// It adds fields and wraps lines after the milter has seen them.
					sendRaw(t, m, test.raw)
					if calls := s.take(); len(calls) != 1 || calls[0].raw != test.raw {
						t.Errorf("the handler saw %+v", calls)
					}
					return
				}
				d := sendRaw(t, m, test.raw)
				checkCopy(t, s.take(), d)
			})
		}
	})

	t.Run("a recipient is removed as it was written, the others get the message", func(t *testing.T) {
		s := serveAt(t, m, nil)
		for _, test := range []struct {
			to     []string
			remove []int
			want   []string
		}{
			{[]string{"<a@example.org>", "<b@example.org>", "<c@example.org>"}, []int{1}, []string{"<a@example.org>", "<c@example.org>"}},
			{[]string{"<Team@example.org>", "<b@example.org>"}, []int{0}, []string{"<b@example.org>"}},
			{[]string{"b@example.org", "<c@example.org>"}, []int{0}, []string{"<c@example.org>"}},
			{[]string{"<a@example.org>", "<B@example.org>", "<A@example.org>", "<a@example.org>"}, []int{0, 2, 3}, []string{"<B@example.org>"}},
			{[]string{`<"q q"@example.org>`, "<c+x@example.org>", "<d@example.org>"}, []int{0, 1}, []string{"<d@example.org>"}},
		} {
			s.set(func(context.Context, *milter.Mail) verdict.Answer {
				return verdict.Answer{Action: intel.ActionAccept, Remove: test.remove}
			})
			c := dialSMTP(t, m.smtp)
			c.message("250", "<s@sender.example>", test.to, complete("x\r\n"))
			got := m.sink.next(t).to
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("%v without %v went to %v, want %v", test.to, test.remove, got, test.want)
			}
		}
		// With all of them gone the client is told that it is accepted.
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			return verdict.Answer{Action: intel.ActionAccept, Remove: []int{1, 0}}
		})
		c := dialSMTP(t, m.smtp)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>", "<b@example.org>"}, complete("none\r\n"))
		s.set(nil)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("one\r\n"))
		if got := m.sink.next(t); !strings.HasSuffix(got.raw, "one\r\n") {
			t.Errorf("delivered %q", got.raw)
		}
	})

	t.Run("half of two recipients with one address cannot be removed", func(t *testing.T) {
		s := serveAt(t, m, nil)
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			return verdict.Answer{Action: intel.ActionAccept, Remove: []int{0}}
		})
		c := dialSMTP(t, m.smtp)
		c.message("451 4.3.0", "<s@sender.example>", []string{"<team@example.org>", "<TEAM@example.org>"}, complete("x\r\n"))
	})

	t.Run("header fields are inserted, changed and removed", func(t *testing.T) {
		s := serveAt(t, m, nil)
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			return verdict.Answer{Action: intel.ActionTag, Edits: []verdict.Edit{
				{Op: verdict.EditRemove, Name: "X-Weir-ID", Index: 3},
				{Op: verdict.EditRemove, Name: "X-Weir-ID", Index: 1},
				{Op: verdict.EditChange, Name: "Subject", Index: 1, Value: "[100% spam] \xc3\xa9\r\n folded"},
				{Op: verdict.EditInsert, Name: "X-Weir-Verdict", Value: "tag; rule=a\n b"},
				{Op: verdict.EditInsert, Name: "X-Weir-ID", Value: "own"},
			}}
		})
		c := dialSMTP(t, m.smtp)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"},
			"X-Weir-ID: one\r\nX-Weir-Id: two\r\nx-weir-id: three\r\nX-Other: o\r\n"+complete("x\r\n"))
		got := m.sink.next(t).raw
		if want := "X-Weir-ID: own\r\nX-Weir-Verdict: tag; rule=a\r\n b\r\nReceived: "; !strings.HasPrefix(got, want) {
			t.Errorf("delivered %.200q, want first %q", got, want)
		}
		got = withoutReceived(t, got)
		want := "X-Weir-ID: own\r\nX-Weir-Verdict: tag; rule=a\r\n b\r\nX-Weir-Id: two\r\nX-Other: o\r\n" +
			strings.Replace(complete("x\r\n"), "Subject: a", "Subject: [100% spam] \xc3\xa9\r\n folded", 1)
		if got != want {
			t.Errorf("delivered\n%q, want\n%q", got, want)
		}
	})

	t.Run("replies reach the client as they are meant, and the next message is served", func(t *testing.T) {
		s := serveAt(t, m, nil)
		c := dialSMTP(t, m.smtp)
		for _, test := range []struct {
			answer verdict.Answer
			want   string
		}{
			{verdict.Answer{Action: intel.ActionReject, Reply: verdict.Reply{Code: 554, Enhanced: "5.7.0", Text: "100% refused %s %d %%"}}, "554 5.7.0 100% refused %s %d %%"},
			{verdict.Answer{Action: intel.ActionReject}, "550 5.7.1 Message refused"},
			{verdict.Answer{Action: intel.ActionTempfail, Reply: verdict.Reply{Code: 450, Enhanced: "4.2.0", Text: "two\r\n250 lines"}}, "450 4.2.0 two  250 lines"},
			{verdict.Answer{Action: intel.ActionTempfail, Reply: verdict.Reply{Code: 421, Enhanced: "4.3.2", Text: "go away"}}, "451 4.3.2 go away"},
			{verdict.Answer{Action: intel.ActionReject, Reply: verdict.Reply{Text: strings.Repeat("long ", 200)}}, "550 5.7.1 " + strings.TrimSpace(strings.Repeat("long ", 80))},
			{verdict.Answer{Action: intel.ActionDiscard}, "250 2"},
			{verdict.Answer{Action: 77}, "451 4.3.0 "},
		} {
			s.set(func(context.Context, *milter.Mail) verdict.Answer { return test.answer })
			c.message(test.want, "<s@sender.example>", []string{"<a@example.org>"}, complete("not delivered\r\n"))
		}
		s.set(func(context.Context, *milter.Mail) verdict.Answer { panic("a bug in the handler") })
		c.message("451 4.3.0", "<s@sender.example>", []string{"<a@example.org>"}, complete("not delivered\r\n"))
		s.set(nil)
		s.take()
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("delivered\r\n"))
		got := m.sink.next(t)
		checkCopy(t, s.take(), got)
		if !strings.HasSuffix(got.raw, "\r\ndelivered\r\n") {
			t.Errorf("delivered %q", got.raw)
		}
	})

	t.Run("the handler is told why content is missing", func(t *testing.T) {
		s := serveAt(t, m, func(o *milter.Options) { o.MaxMessageBytes = 200 })
		c := dialSMTP(t, m.smtp)
		raw := complete(strings.Repeat("0123456789\r\n", 100))
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, raw)
		m.sink.next(t)
		got := s.take()[0]
		if !got.tooLarge || got.size != int64(len(raw)) || got.raw != raw[:200] || got.err != nil {
			t.Errorf("%+v", got)
		}
		s.scratch.fail = errors.New("no space left on device")
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, raw)
		m.sink.next(t)
		if got := s.take()[0]; got.err == nil || got.raw != "" || got.size != int64(len(raw)) {
			t.Errorf("%+v", got)
		}
	})

	t.Run("a restart of the milter in mid-session costs that session an answer, no message", func(t *testing.T) {
		s := serveAt(t, m, nil)
		c := dialSMTP(t, m.smtp)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("1\r\n"))
		checkCopy(t, s.take(), m.sink.next(t))
		c.envelope("<s@sender.example>", []string{"<a@example.org>"})
		// Postfix may have kept MAIL and RCPT to itself until now, so that the
		// session looks idle to us.
		if err := s.stop(t, 50*time.Millisecond); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}
		s = serveAt(t, m, nil)
		c.write("DATA\r\n")
		reply, err := c.reply()
		if err == nil && strings.HasPrefix(reply, "354") {
			c.write(complete("2\r\n") + ".\r\n")
			reply, err = c.reply()
		}
		if err != nil || reply[0] != '4' {
			t.Errorf("reply %q, %v, want 4xx", reply, err)
		}
		c = dialSMTP(t, m.smtp)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("3\r\n"))
		got := m.sink.next(t)
		checkCopy(t, s.take(), got)
		if !strings.HasSuffix(got.raw, "\r\n3\r\n") {
			t.Errorf("delivered %q", got.raw)
		}
	})

	t.Run("sessions beyond the limit are answered with 451", func(t *testing.T) {
		s := serveAt(t, m, func(o *milter.Options) { o.MaxSessions = 1 })
		c := dialSMTP(t, m.smtp)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("1\r\n"))
		m.sink.next(t)
		d := dialSMTP(t, m.smtp)
		d.do("451 4.3.2 Too many sessions", "MAIL FROM:<s@sender.example>")
		d.do("451 4.3.2 Too many sessions", "MAIL FROM:<s@sender.example>")
		c.do("221", "QUIT")
		// The place is free once the MTA has closed its connection.
		deadline := time.Now().Add(10 * time.Second)
		for {
			d.write("MAIL FROM:<s@sender.example>\r\n")
			if reply, err := d.reply(); err != nil || time.Now().After(deadline) {
				t.Fatalf("reply %q, %v", reply, err)
			} else if strings.HasPrefix(reply, "250") {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		s.take()
		d.do("250", "RCPT TO:<a@example.org>")
		d.data("250", complete("2\r\n"))
		checkCopy(t, s.take(), m.sink.next(t))
	})

	t.Run("a hundred recipients and many sessions", func(t *testing.T) {
		s := serveAt(t, m, nil)
		var to []string
		for i := range 100 {
			to = append(to, fmt.Sprintf("<r%d@example.org>", i))
		}
		clients := make([]*smtpClient, 8)
		for i := range clients {
			clients[i] = dialSMTP(t, m.smtp)
			clients[i].envelope(fmt.Sprintf("<s%d@sender.example>", i), to)
		}
		for i, c := range clients {
			c.data("250", complete(fmt.Sprintf("message %d\r\n", i)))
			calls := s.take()
			if len(calls) != 1 || len(calls[0].envelope.To) != 100 || calls[0].envelope.From.Raw != fmt.Sprintf("<s%d@sender.example>", i) ||
				!strings.HasSuffix(calls[0].raw, fmt.Sprintf("message %d\r\n", i)) {
				t.Errorf("session %d: %+v", i, calls)
			}
		}
		for copies := 0; copies < 100*len(clients); {
			copies += len(m.sink.next(t).to)
		}
	})
}

// slowHandler checks that an MTA which waits two seconds for a milter waits for
// a handler that takes longer.
func slowHandler(t *testing.T, m *mta, smtp string) {
	t.Helper()
	s := serveAt(t, m, func(o *milter.Options) { o.ProgressInterval = 300 * time.Millisecond })
	s.set(func(context.Context, *milter.Mail) verdict.Answer {
		time.Sleep(4 * time.Second)
		return verdict.Answer{Action: intel.ActionAccept}
	})
	c := dialSMTP(t, smtp)
	c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("slow\r\n"))
	checkCopy(t, s.take(), m.sink.next(t))
}
