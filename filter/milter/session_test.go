package milter_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// offers are what MTAs may offer: all, nothing, and some odd mixtures.
func offers() []miltertest.Terms {
	all := []miltertest.Terms{
		miltertest.Postfix(), miltertest.Version2(),
		{Version: 2}, {Version: 6}, {Version: 3, Actions: 0x7f, Protocol: 0x3ff}, {Version: 4, Actions: 0x1f, Protocol: 0x7ff},
	}
	for bit := 7; bit <= 20; bit++ {
		t := miltertest.Postfix()
		t.Protocol &^= 1 << bit
		all = append(all, t)
	}
	return all
}

func TestAMessageArrivesAsItWasSentWhateverWasOffered(t *testing.T) {
	s := serve(t, func(o *milter.Options) { o.Now = func() time.Time { return time.Unix(1e9, 0) } })
	for _, offer := range offers() {
		for _, size := range []int{0, 1, 7} {
			c := connect(t, s, miltertest.Options{Offer: offer, WriteBytes: size})
			for range 2 {
				m := sample()
				if r := send(t, c, m); r.Action != intel.ActionAccept || r.Reply != "" || len(r.Edits)+len(r.Removed)+r.Progress != 0 {
					t.Errorf("%+v: answer %+v", offer, r)
				}
				calls := s.take()
				raw := string(m.Raw)
				if offer.Protocol>>20&1 == 0 {
					raw = strings.Replace(raw, "Subject:no", "Subject: no", 1) // cannot be known
				}
				if len(calls) != 1 || calls[0].raw != raw {
					t.Fatalf("%+v: %+v", offer, calls)
				}
				if calls[0].size != int64(len(raw)) || calls[0].tooLarge || calls[0].err != nil {
					t.Errorf("%+v: %+v", offer, calls[0])
				}
				want := message.Envelope{
					QueueID: "4b1234", Helo: "helo.example", AuthUser: "sam", AuthMech: "PLAIN", TLS: "TLSv1.3", Daemon: "mx",
					Client: message.Client{Addr: netip.MustParseAddr("192.0.2.7"), Port: 4711, Name: "mail.example"},
					From:   message.Path{Raw: "<s@sender.example>", Args: []string{"SIZE=100", "BODY=8BITMIME"}},
					To:     []message.Path{{Raw: "<a@example.org>"}, {Raw: "<b@example.org>", Args: []string{"NOTIFY=NEVER"}}},
					Time:   time.Unix(1e9, 0),
				}
				if !reflect.DeepEqual(calls[0].envelope, want) {
					t.Errorf("%+v: envelope\n%+v, want\n%+v", offer, calls[0].envelope, want)
				}
			}
		}
	}
}

func TestOnlyWhatWasOfferedIsAskedFor(t *testing.T) {
	s := serve(t, nil)
	for _, offer := range append(offers(), miltertest.Terms{Version: 7, Actions: 0xffffffff, Protocol: 0xffffffff}) {
		// New fails when more is asked for.
		agreed, macros := dial(t, s, miltertest.Options{Offer: offer}).Agreed()
		if want := min(offer.Version, 6); agreed.Version != want {
			t.Errorf("%+v: version %d, want %d", offer, agreed.Version, want)
		}
		if agreed.Actions&^0x119 != 0 {
			t.Errorf("%+v: asked for actions %#x that are never used", offer, agreed.Actions)
		}
		if agreed.Protocol&0x7f != 0 {
			t.Errorf("%+v: asked not to be told of something: %#x", offer, agreed.Protocol)
		}
		if agreed.Protocol&(1<<11) != 0 {
			t.Errorf("%+v: asked for recipients that were refused", offer)
		}
		stages := 0
		for rest := macros; rest != ""; stages++ {
			var ok bool
			if _, rest, ok = strings.Cut(rest[4:], "\x00"); !ok {
				t.Fatalf("%+v: macros %q", offer, macros)
			}
		}
		if want := 7 * int(offer.Actions>>8&1); stages != want {
			t.Errorf("%+v: macros of %d stages were asked for, want %d: %q", offer, stages, want, macros)
		}
	}
}

func TestTheLibrarysOwnClientNegotiates(t *testing.T) {
	s := serve(t, nil)
	client := gomilter.NewClientWithOptions(s.network, s.address, gomilter.ClientOptions{
		ActionMask:   gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptRemoveRcpt | gomilter.OptSetSymList,
		ProtocolMask: gomilter.OptHeaderLeadingSpace | gomilter.OptNoHeaderReply | gomilter.OptSkip,
	})
	c, err := client.Session()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mail("s@sender.example", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Rcpt("a@example.org", nil); err != nil {
		t.Error(err)
	}
	if _, err := c.HeaderField("Subject", " x"); err != nil {
		t.Error(err)
	}
	if _, err := c.HeaderEnd(); err != nil {
		t.Error(err)
	}
	edits, action, err := c.BodyReadFrom(strings.NewReader("body\r\n"))
	if err != nil || len(edits) != 0 || action.Code != gomilter.ActAccept {
		t.Errorf("%+v, %+v, %v", edits, action, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if calls := s.take(); len(calls) != 1 || calls[0].raw != "Subject: x\r\n\r\nbody\r\n" {
		t.Errorf("%+v", calls)
	}
}

func TestNothingOfAMessageIsLeftForTheNext(t *testing.T) {
	s := serve(t, nil)
	first, second := sample(), &miltertest.Message{From: "<>", To: []miltertest.Recipient{{Address: "<c@example.org>"}}, Raw: []byte("\r\n")}
	for name, between := range map[string]func(*miltertest.Session) error{
		"message": func(c *miltertest.Session) error {
			_, err := c.Send(first)
			s.take()
			return err
		},
		"message, then ABORT twice": func(c *miltertest.Session) error {
			_, err := c.Send(first)
			s.take()
			return errors.Join(err, c.Abort(), c.Abort())
		},
		"ABORT after the envelope": func(c *miltertest.Session) error { return errors.Join(c.Envelope(first), c.Abort()) },
		"ABORT after the content": func(c *miltertest.Session) error {
			return errors.Join(c.Envelope(first), c.Content(first), c.Abort())
		},
		"nothing, as from Sendmail after RSET":             func(c *miltertest.Session) error { return c.Envelope(first) },
		"nothing after the content":                        func(c *miltertest.Session) error { return errors.Join(c.Envelope(first), c.Content(first)) },
		"macros of a MAIL that never came, and then ABORT": func(c *miltertest.Session) error { c.Macros('M', "i", "stale"); return c.Abort() },
		"HELO": func(c *miltertest.Session) error {
			c.Put('H', []byte("helo.example\x00"))
			return c.Flush()
		},
	} {
		c := connect(t, s, miltertest.Options{})
		if err := between(c); err != nil {
			t.Fatal(err)
		}
		if r := send(t, c, second); r.Action != intel.ActionAccept {
			t.Errorf("after %s: answer %+v", name, r)
		}
		calls := s.take()
		if len(calls) != 1 {
			t.Fatalf("after %s: %+v", name, calls)
		}
		e := calls[0].envelope
		if e.From.Raw != "<>" || e.From.Args != nil || len(e.To) != 1 || e.To[0].Raw != "<c@example.org>" || e.QueueID != "" || e.AuthUser != "" || e.AuthMech != "" || calls[0].raw != "\r\n" {
			t.Errorf("after %s: %+v", name, calls[0])
		}
		if e.Helo != "helo.example" || e.Client.Name != "mail.example" || e.Daemon != "mx" || e.TLS != "TLSv1.3" {
			t.Errorf("after %s the session is forgotten: %+v", name, e)
		}
	}
}

func TestMacrosBelongToTheMessageThatTheyCameWith(t *testing.T) {
	s := serve(t, nil)
	for _, test := range []struct {
		name   string
		before func(*miltertest.Session) error
		macros []string // for MAIL; nil: no packet with macros
		auth   string
		id     string
	}{
		{"after a message that was dropped without a word", func(c *miltertest.Session) error { return c.Envelope(sample()) }, nil, "", ""},
		{"after such a message, with macros", func(c *miltertest.Session) error { return c.Envelope(sample()) }, []string{"i", "new", "{auth_authen}", "ann"}, "ann", "new"},
		{"after a message, with macros", func(c *miltertest.Session) error { _, err := c.Send(sample()); s.take(); return err }, []string{"i", "new"}, "", "new"},
		{"after macros, and then ABORT", func(c *miltertest.Session) error { c.Macros('M', "i", "stale"); return c.Abort() }, nil, "", ""},
	} {
		c := connect(t, s, miltertest.Options{})
		if err := test.before(c); err != nil {
			t.Fatal(err)
		}
		if test.macros != nil {
			c.Macros('M', test.macros...)
		}
		c.Put('M', []byte("<x@sender.example>\x00"))
		c.Put('R', []byte("<c@example.org>\x00"))
		if r, err := c.End(); err != nil || r.Action != intel.ActionAccept {
			t.Fatalf("%s: %+v, %v", test.name, r, err)
		}
		if e := s.take()[0].envelope; e.AuthUser != test.auth || e.QueueID != test.id || len(e.To) != 1 {
			t.Errorf("%s: %+v", test.name, e)
		}
	}
}

func TestQuitForANewConnectionForgetsTheOld(t *testing.T) {
	s := serve(t, nil)
	c := connect(t, s, miltertest.Options{})
	send(t, c, sample())
	c.Put('K', nil)
	c.Put('C', []byte("localhost\x00U")) // without macros
	c.Put('H', []byte("x\x00"))
	m := sample()
	m.AuthUser, m.AuthMech, m.QueueID = "", "", ""
	send(t, c, m)
	e := s.take()[1].envelope
	if e.Client != (message.Client{Name: "localhost"}) || e.Helo != "x" || e.TLS != "" || e.Daemon != "" || e.AuthUser != "" || !e.Local {
		t.Errorf("%+v", e)
	}
}

func TestContentIsTakenInEveryOrderThatAnMTAMaySendIt(t *testing.T) {
	s := serve(t, nil)
	for _, test := range []struct {
		name    string
		packets []string // code and data
		want    string
	}{
		{"nothing", nil, "\r\n"},
		{"end of header only", []string{"N"}, "\r\n"},
		{"header only", []string{"LA\x00 b\x00"}, "A: b\r\n\r\n"},
		{"body only", []string{"Bx\r\n"}, "\r\nx\r\n"},
		{"body in chunks", []string{"LA\x00 b\x00", "N", "Bx", "By\r", "B\n"}, "A: b\r\n\r\nxy\r\n"},
		{"empty chunks", []string{"N", "B", "Bx", "B"}, "\r\nx"},
		{"the last chunk with the end", []string{"LA\x00 b\x00", "N", "Bx", "Ey"}, "A: b\r\n\r\nxy"},
		{"all of the body with the end", []string{"LA\x00 b\x00", "Ey"}, "A: b\r\n\r\ny"},
		{"a field without name", []string{"L\x00 b\x00"}, ": b\r\n\r\n"},
		{"a value without NUL", []string{"LA\x00 b"}, "A: b\r\n\r\n"},
		{"unknown commands and DATA", []string{"UXFOO\x00", "T", "LA\x00 b\x00", "UXFOO\x00"}, "A: b\r\n\r\n"},
		{"a megabyte in one packet", []string{"N", "B" + strings.Repeat("x", 1<<20-1)}, "\r\n" + strings.Repeat("x", 1<<20-1)},
		{"a header of nearly a megabyte", []string{"LA\x00" + strings.Repeat("x", 1<<20-4) + "\x00"}, "A:" + strings.Repeat("x", 1<<20-4) + "\r\n\r\n"},
	} {
		for _, size := range []int{0, 3, 70_000} {
			if size == 3 && len(test.want) > 1000 {
				continue
			}
			c := connect(t, s, miltertest.Options{WriteBytes: size})
			for range 2 { // the second time with the buffers that the first one used
				if err := c.Envelope(sample()); err != nil {
					t.Fatal(err)
				}
				end := ""
				for _, p := range test.packets {
					if p[0] == 'E' {
						end = p[1:]
						continue
					}
					c.Put(p[0], []byte(p[1:]))
				}
				c.Put('E', []byte(end))
				code, _, err := c.Read()
				if err != nil || code != 'a' {
					t.Fatalf("%s: %q, %v", test.name, code, err)
				}
				if calls := s.take(); len(calls) != 1 || calls[0].raw != test.want {
					t.Errorf("%s: %.200q, want %.200q", test.name, calls[0].raw, test.want)
				}
			}
		}
	}
}

func TestAnAnswerIsToldWholeOrNotAtAll(t *testing.T) {
	s := serve(t, nil)
	full := verdict.Answer{Action: intel.ActionAccept, Remove: []int{1}, Edits: []verdict.Edit{
		{Op: verdict.EditRemove, Name: "Old", Index: 2},
		{Op: verdict.EditChange, Name: "Subject", Index: 1, Value: "new"},
		{Op: verdict.EditInsert, Name: "X-A", Value: "1"},
		{Op: verdict.EditInsert, Name: "X-B", Value: "2"},
	}}
	for _, test := range []struct {
		name    string
		actions uint32 // that the MTA offers
		answer  verdict.Answer
		want    intel.Action
	}{
		{"all of it", 0x1ff, full, intel.ActionAccept},
		{"all that it needs is offered", 0x19, full, intel.ActionAccept},
		{"no recipients can be removed", 0x1ff &^ 8, full, intel.ActionTempfail},
		{"no fields can be added", 0x1ff &^ 1, full, intel.ActionTempfail},
		{"no fields can be changed", 0x1ff &^ 16, full, intel.ActionTempfail},
		{"nothing can be changed", 0, full, intel.ActionTempfail},
		{"nothing can be changed, and nothing has to be", 0, verdict.Answer{Action: intel.ActionAccept}, intel.ActionAccept},
		{"a reject needs nothing", 0, verdict.Answer{Action: intel.ActionReject, Edits: full.Edits, Remove: full.Remove}, intel.ActionReject},
		{"a discard needs nothing", 0, verdict.Answer{Action: intel.ActionDiscard, Edits: full.Edits, Remove: full.Remove}, intel.ActionDiscard},
		{"an unknown recipient", 0x1ff, verdict.Answer{Action: intel.ActionAccept, Remove: []int{0, 2}, Edits: full.Edits}, intel.ActionTempfail},
		{"an impossible last edit", 0x1ff, verdict.Answer{Action: intel.ActionAccept, Remove: []int{0}, Edits: append(slices.Clone(full.Edits), verdict.Edit{Op: 7, Name: "X"})}, intel.ActionTempfail},
		{"no action", 0x1ff, verdict.Answer{}, intel.ActionTempfail},
		{"hold is not for the MTA", 0x1ff, verdict.Answer{Action: intel.ActionHold}, intel.ActionTempfail},
	} {
		s.set(func(context.Context, *milter.Mail) verdict.Answer { return test.answer })
		offer := miltertest.Postfix()
		offer.Actions = test.actions
		c := connect(t, s, miltertest.Options{Offer: offer})
		r := send(t, c, sample())
		if r.Action != test.want {
			t.Errorf("%s: %+v", test.name, r)
		}
		if r.Action != intel.ActionAccept || len(test.answer.Edits) == 0 {
			if len(r.Edits)+len(r.Removed) != 0 {
				t.Errorf("%s: half of it was told: %+v", test.name, r)
			}
			continue
		}
		if !slices.Equal(r.Removed, []string{"<b@example.org>"}) || !slices.Equal(r.Inserted, []int{0, 0}) {
			t.Errorf("%s: %+v", test.name, r)
		}
		want := []verdict.Edit{
			{Op: verdict.EditRemove, Name: "Old", Index: 2},
			{Op: verdict.EditChange, Name: "Subject", Index: 1, Value: " new"},
			{Op: verdict.EditInsert, Name: "X-A", Value: " 1"},
			{Op: verdict.EditInsert, Name: "X-B", Value: " 2"},
		}
		if !slices.Equal(r.Edits, want) {
			t.Errorf("%s: edits %+v, want %+v", test.name, r.Edits, want)
		}
	}
}

func TestAnAnswerIsSentBeforeASessionEnds(t *testing.T) {
	s := serve(t, nil)
	c := connect(t, s, miltertest.Options{})
	if err := errors.Join(c.Envelope(sample()), c.Content(sample())); err != nil {
		t.Fatal(err)
	}
	c.Put('E', nil)
	c.Put('Q', nil)
	if code, _, err := c.Read(); err != nil || code != 'a' {
		t.Errorf("%q, %v", code, err)
	}
	if code, _, err := c.Read(); err != io.EOF {
		t.Errorf("after that %q, %v", code, err)
	}
}
