package milter

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"
	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
)

func TestAHeaderFieldIsPutTogetherAsItWasSent(t *testing.T) {
	for _, test := range []struct{ value, spaced, unspaced string }{
		// What the MTA passes on when it keeps leading space, the line; and the line
		// when it has taken one space away.
		{" v", "N: v\r\n", "N:  v\r\n"},
		{"v", "N:v\r\n", "N: v\r\n"},
		{"", "N:\r\n", "N:\r\n"},
		{" ", "N: \r\n", "N:  \r\n"},
		{"\tv", "N:\tv\r\n", "N:\tv\r\n"},
		{"\n v", "N:\r\n v\r\n", "N:\r\n v\r\n"},
		{" a\n b\n\tc", "N: a\r\n b\r\n\tc\r\n", "N:  a\r\n b\r\n\tc\r\n"},
		{" a\r\n b", "N: a\r\r\n b\r\n", "N:  a\r\r\n b\r\n"},
		{" a\n", "N: a\r\n\r\n", "N:  a\r\n\r\n"},
		{" a\rb", "N: a\rb\r\n", "N:  a\rb\r\n"},
		{" caf\xe9", "N: caf\xe9\r\n", "N:  caf\xe9\r\n"},
	} {
		if got := string(appendField(nil, []byte("N"), []byte(test.value), true)); got != test.spaced {
			t.Errorf("%q with its space: %q, want %q", test.value, got, test.spaced)
		}
		if got := string(appendField(nil, []byte("N"), []byte(test.value), false)); got != test.unspaced {
			t.Errorf("%q without its space: %q, want %q", test.value, got, test.unspaced)
		}
	}
}

func TestAnEnvelopeAddressKeepsItsSpellingAndArguments(t *testing.T) {
	for _, test := range []struct {
		data, raw string
		args      []string
	}{
		{"<a@b>\x00", "<a@b>", nil},
		{"<a@b>", "<a@b>", nil},
		{"<>\x00", "<>", nil},
		{"\x00", "", nil},
		{"", "", nil},
		{"a@b\x00", "a@b", nil},
		{"<<a>@b>>\x00", "<<a>@b>>", nil},
		{"<a@b>\x00SIZE=1\x00BODY=8BITMIME\x00", "<a@b>", []string{"SIZE=1", "BODY=8BITMIME"}},
		{"<a@b>\x00SIZE=1\x00\x00\x00X", "<a@b>", []string{"SIZE=1", "X"}},
	} {
		p := parsePath([]byte(test.data))
		if p.Raw != test.raw || !slices.Equal(p.Args, test.args) {
			t.Errorf("%q: %+v", test.data, p)
		}
	}
}

func TestAConnectionIsReadInEveryFamily(t *testing.T) {
	for _, test := range []struct {
		data string
		want message.Client
		// whether it is local, by what {daemon_port} says
		localWithout, localZero, local25 bool
	}{
		{"mail.example\x004\x10\x92192.0.2.1\x00", message.Client{Name: "mail.example", Addr: netip.MustParseAddr("192.0.2.1"), Port: 4242}, false, false, false},
		{"[192.0.2.1]\x004\x10\x92192.0.2.1", message.Client{Name: "[192.0.2.1]", Addr: netip.MustParseAddr("192.0.2.1"), Port: 4242}, false, false, false},
		{"h\x006\x10\x922001:db8::1\x00", message.Client{Name: "h", Addr: netip.MustParseAddr("2001:db8::1"), Port: 4242}, false, false, false},
		{"h\x006\x10\x92IPv6:2001:db8::1\x00", message.Client{Name: "h", Addr: netip.MustParseAddr("2001:db8::1"), Port: 4242}, false, false, false},
		{"h\x006\x10\x92IPV6:::ffff:192.0.2.1\x00", message.Client{Name: "h", Addr: netip.MustParseAddr("192.0.2.1"), Port: 4242}, false, false, false},
		{"h\x006\x10\x92fe80::1%eth0\x00", message.Client{Name: "h", Addr: netip.MustParseAddr("fe80::1"), Port: 4242}, false, false, false},
		{"unknown\x004\x10\x92unknown\x00", message.Client{Name: "unknown", Port: 4242}, false, false, false},
		{"localhost\x004\x00\x00127.0.0.1\x00", message.Client{Name: "localhost", Addr: netip.MustParseAddr("127.0.0.1")}, true, true, false},
		{"localhost\x00U", message.Client{Name: "localhost"}, true, true, false},
		{"localhost\x00L\x00\x00/tmp/s\x00", message.Client{Name: "localhost"}, true, true, false},
	} {
		p, err := parseConnect([]byte(test.data))
		if err != nil || p.client != test.want {
			t.Errorf("%q: %+v, %v", test.data, p, err)
		}
		if p.local("") != test.localWithout || p.local("0") != test.localZero || p.local("25") != test.local25 {
			t.Errorf("%q: local %v, %v, %v", test.data, p.local(""), p.local("0"), p.local("25"))
		}
	}
	for _, data := range []string{"", "h", "h\x00", "h\x004", "h\x004\x00", "\x00"} {
		if p, err := parseConnect([]byte(data)); err == nil {
			t.Errorf("%q: %+v", data, p)
		}
	}
}

func TestMacrosAreKeptByStage(t *testing.T) {
	var m macros
	m.set([]byte("C{daemon_name}\x00mx\x00{daemon_port}\x0025\x00j\x00ignored\x00"))
	m.set([]byte("H{tls_version}\x00TLSv1.3\x00"))
	m.set([]byte("M{auth_authen}\x00sam\x00i\x00first\x00"))
	m.set([]byte("R{i}\x00second\x00"))
	m.set([]byte("R"))
	m.set([]byte("L{i}\x00second\x00"))
	m.set([]byte("Ei\x00third")) // without its NUL
	m.set([]byte("Xi\x00unknown stage\x00"))
	m.set(nil)
	want := map[macro]string{macroDaemon: "mx", macroDaemonPort: "25", macroTLS: "TLSv1.3", macroAuthUser: "sam", macroAuthMech: "", macroQueueID: "third"}
	for k, v := range want {
		if got := m.get(k); got != v {
			t.Errorf("macro %d = %q, want %q", k, got, v)
		}
	}
	// A stage's packet replaces all that the stage had, and nothing else.
	m.set([]byte("M{auth_type}\x00PLAIN\x00"))
	if m.get(macroAuthUser) != "" || m.get(macroAuthMech) != "PLAIN" || m.get(macroQueueID) != "third" {
		t.Errorf("%q", m)
	}
	m.forget(stageMail)
	if m.get(macroAuthMech) != "" || m.get(macroQueueID) != "" || m.get(macroTLS) != "TLSv1.3" {
		t.Errorf("%q", m)
	}
	m.forget(stageConnect)
	if m != (macros{}) {
		t.Errorf("%q", m)
	}
}

func TestAReplyIsOneLineOfItsClass(t *testing.T) {
	for _, test := range []struct {
		class int
		reply verdict.Reply
		want  string
	}{
		{5, verdict.Reply{}, "550 5.7.1 Message refused"},
		{4, verdict.Reply{}, "451 4.7.1 Service unavailable, try again later"},
		{5, verdict.Reply{Code: 554, Enhanced: "5.6.0", Text: "no"}, "554 5.6.0 no"},
		{5, verdict.Reply{Code: 451, Enhanced: "4.7.1", Text: "no"}, "550 5.7.1 no"},
		{4, verdict.Reply{Code: 550, Enhanced: "5.7.1", Text: "no"}, "451 4.7.1 no"},
		{4, verdict.Reply{Code: 421, Enhanced: "4.3.2", Text: "no"}, "451 4.3.2 no"},
		{4, verdict.Reply{Code: 250, Text: "no"}, "451 4.7.1 no"},
		{5, verdict.Reply{Code: 5500, Text: "no"}, "550 5.7.1 no"},
		{5, verdict.Reply{Code: -550, Text: "no"}, "550 5.7.1 no"},
		{5, verdict.Reply{Code: 550, Enhanced: "5.7", Text: "no"}, "550 5.7.1 no"},
		{5, verdict.Reply{Code: 550, Enhanced: "5.7.1234", Text: "no"}, "550 5.7.1 no"},
		{5, verdict.Reply{Code: 550, Enhanced: "5.7.1 x", Text: "no"}, "550 5.7.1 no"},
		{5, verdict.Reply{Code: 550, Enhanced: "5.7.1.2", Text: "no"}, "550 5.7.1 no"},
		{5, verdict.Reply{Code: 550, Enhanced: "5..1", Text: "no"}, "550 5.7.1 no"},
		{5, verdict.Reply{Code: 550, Enhanced: "5.70.100", Text: "no"}, "550 5.70.100 no"},
		{5, verdict.Reply{Text: "100% %s"}, "550 5.7.1 100%% %%s"},
		{5, verdict.Reply{Text: "  a\r\n250 ok\tb\x00\x7f  "}, "550 5.7.1 a  250 ok b??"},
		{5, verdict.Reply{Text: "süß\xff"}, "550 5.7.1 s???"},
		{5, verdict.Reply{Text: "\r\n"}, "550 5.7.1 Message refused"},
		{5, verdict.Reply{Text: strings.Repeat("x", 5000)}, "550 5.7.1 " + strings.Repeat("x", maxReplyText)},
		{5, verdict.Reply{Text: strings.Repeat("%", 5000)}, "550 5.7.1 " + strings.Repeat("%%", maxReplyText)},
	} {
		if got := replyLine(test.class, test.reply); got != test.want {
			t.Errorf("class %d, %+v: %q, want %q", test.class, test.reply, got, test.want)
		}
	}
}

func TestRemovalsAreAllOrNothing(t *testing.T) {
	to := func(raws ...string) (paths []message.Path) {
		for _, raw := range raws {
			paths = append(paths, message.Path{Raw: raw})
		}
		return paths
	}
	for _, test := range []struct {
		to      []message.Path
		indexes []int
		want    []string
		wrong   string
	}{
		{to("<a@b>", "<c@d>"), nil, nil, ""},
		{to("<a@b>", "<c@d>"), []int{1}, []string{"<c@d>"}, ""},
		{to("<a@b>", "c@d"), []int{1, 0}, []string{"c@d", "<a@b>"}, ""},
		{to("<a@b>", "<a@b>", "<c@d>"), []int{0, 1}, []string{"<a@b>"}, ""},
		{to("<a@b>", "<A@B>", "a@b"), []int{0, 1, 2}, []string{"<a@b>", "<A@B>", "a@b"}, ""},
		{to("<a@b>", "<c@d>"), []int{0, 0}, []string{"<a@b>"}, ""},
		{to("<a@b>", "<a@b>"), []int{0}, nil, "only one of two"},
		{to("<a@b>", "A@b"), []int{1}, nil, "only one of two"},
		{to("<a@b>"), []int{1}, nil, "recipient 1 of 1"},
		{to("<a@b>"), []int{-1}, nil, "recipient -1 of 1"},
	} {
		got, err := removals(test.to, test.indexes)
		if !slices.Equal(got, test.want) || (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%v of %v: %q, %v", test.indexes, test.to, got, err)
		}
	}
}

func TestAnEditCannotBreakTheHeader(t *testing.T) {
	all := terms{actions: wantActions}
	spaced := terms{actions: wantActions, protocol: gomilter.OptHeaderLeadingSpace}
	for _, test := range []struct {
		terms terms
		edit  verdict.Edit
		code  byte
		want  string
	}{
		{all, verdict.Edit{Op: verdict.EditInsert, Name: "X-A", Value: "v"}, 'i', "\x00\x00\x00\x00X-A\x00v\x00"},
		{spaced, verdict.Edit{Op: verdict.EditInsert, Name: "X-A", Value: "v"}, 'i', "\x00\x00\x00\x00X-A\x00 v\x00"},
		{spaced, verdict.Edit{Op: verdict.EditInsert, Name: "X-A", Value: "v", Index: 7}, 'i', "\x00\x00\x00\x00X-A\x00 v\x00"},
		{spaced, verdict.Edit{Op: verdict.EditChange, Name: "X-A", Value: "v", Index: 258}, 'm', "\x00\x00\x01\x02X-A\x00 v\x00"},
		{spaced, verdict.Edit{Op: verdict.EditRemove, Name: "X-A", Value: "v", Index: 1}, 'm', "\x00\x00\x00\x01X-A\x00\x00"},
		{all, verdict.Edit{Op: verdict.EditInsert, Name: "X-A", Value: "a\r\n b\n\tc"}, 'i', "\x00\x00\x00\x00X-A\x00a\n b\n\tc\x00"},
		{all, verdict.Edit{Op: verdict.EditInsert, Name: "X-A", Value: "a\r\nEvil: b\n\nbody\x00\r\n"}, 'i', "\x00\x00\x00\x00X-A\x00a Evil: b  body \x00"},
		{all, verdict.Edit{Op: verdict.EditInsert, Name: "X-A", Value: "\xff\xe9"}, 'i', "\x00\x00\x00\x00X-A\x00\xff\xe9\x00"},
	} {
		c, err := test.terms.edit(test.edit)
		if err != nil || c.code != test.code || string(c.data) != test.want {
			t.Errorf("%+v: %q %q, %v; want %q", test.edit, c.code, c.data, err, test.want)
		}
	}
	for _, e := range []verdict.Edit{
		{Op: verdict.EditInsert, Name: ""},
		{Op: verdict.EditInsert, Name: "X A"},
		{Op: verdict.EditInsert, Name: "X:"},
		{Op: verdict.EditInsert, Name: "X\r\nEvil"},
		{Op: verdict.EditInsert, Name: "X\x00"},
		{Op: verdict.EditInsert, Name: "caf\xe9"},
		{Op: verdict.EditChange, Name: "X"},
		{Op: verdict.EditRemove, Name: "X", Index: -1},
		{Op: 0, Name: "X"},
		{Op: 9, Name: "X"},
	} {
		if c, err := all.edit(e); err == nil {
			t.Errorf("%+v: %+v", e, c)
		}
	}
}

func TestAPanicBetweenMessagesSpoilsTheNextOne(t *testing.T) {
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &session{server: &Server{metrics: m}, log: zap.NewNop()}
	s.spoil(panicked("a bug"))
	if s.begin(nil); s.mail.failed == nil {
		t.Error("a message can be judged although its session lost facts")
	}
	if s.begin(nil); s.mail.failed != nil {
		t.Error("the message after that cannot be judged either")
	}
}
