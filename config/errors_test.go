package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestEveryMistakeIsNamedWithItsPlaceAndCure(t *testing.T) {
	cases := []struct{ doc, want string }{
		{"[milter]\nlisen = []", `weir.toml:2:1: milter.lisen is not known; did you mean listen?`},
		{"[milter]\nanswer-timeout = 1", `weir.toml:2:1: milter.answer-timeout is not known; did you mean answer_timeout?`},
		{"[mitler]\nlisten = []\nx = 1", `weir.toml:1:2: mitler is not known; did you mean milter?`},
		{"[reinject]\ninbound.addres = \"\"", `weir.toml:2:1: reinject.inbound.addres is not known; did you mean address?`},
		{"[policy]\nretention = \"3d\"", `weir.toml:2:1: policy.retention is not known; the key of this name stands in [journal] or [quarantine]`},
		{"listen = []", `weir.toml:1:1: listen is not known; the key of this name stands in [control] or [metrics] or [milter]`},
		{"[directory]\nxyzzy = 1", `weir.toml:2:1: directory.xyzzy is not known; the keys of [directory] are file`},
		{"\"milter.listen\" = 1", `weir.toml:1:1: "milter.listen" is not known; the sections are control,`},
		{"log = { levle = 1, level = \"info\" }", `weir.toml:1:9: log.levle is not known; did you mean level?`},
		{"mode = { x = 1 }", `weir.toml:1:1: mode is not known; the key of this name stands in [policy]`},
		{"[milter.listen]\nx = 1", `weir.toml:1:2: milter.listen is a key, not a section; write listen = … in section [milter]`},
		{"state.dir.x = 1", `weir.toml:1:1: state.dir is a key and has none below it; write state.dir = …`},
		{"state = 1", `weir.toml:1:1: state is a section, not a key; write its keys under [state]`},
		{"[[state]]\ndir = \"/x\"", `weir.toml:1:3: state stands once, not as a list of sections; write [state]`},

		{"[milter]\nlisten = unix:/a # here", `weir.toml:2:10: cannot be read as TOML: unexpected character U+0075 'u' at start of value; put text in double quotes: listen = "unix:/a"`},
		{"[milter]\nsocket_mode = 0660", `weir.toml:2:15: cannot be read as TOML: integers cannot have leading zeroes; put text in double quotes: socket_mode = "0660"`},
		{"[log]\nlevel = \"info\"\nlevel = \"warn\"", `weir.toml:3:1: cannot be read as TOML: key level is already defined; take one of the two out`},
		{"[log]\n\n[log]", `weir.toml:3:2: cannot be read as TOML: table log already exists; take one of the two out`},
		{"[log", `weir.toml:1:4: cannot be read as TOML: `},
		{"\xff", `weir.toml:1:1: cannot be read as TOML: `},

		{"milter.listen = \"unix:/a\"", `milter.listen = "unix:/a" is not a list; put it in brackets: ["unix:/a"]`},
		{"milter.listen = [[\"unix:/a\"]]", `milter.listen[0] = ["unix:/a"] is not a single value; write one value, without brackets around it`},
		{"log.level = [\"info\"]", `log.level = ["info"] is not a single value; `},
		{"log.level = { a = 1 }", `log.level = {…} is not a single value; `},
		{"milter.listen = []", `weir.toml:1:1: milter.listen = [] is empty; `},
		{"milter.listen = [\"\"]", `milter.listen[0] = "" is empty; `},
		{"milter.listen = [\"inet:8891@127.0.0.1\"]", `is the MTA's way to write a socket address; write "127.0.0.1:8891"`},
		{"milter.listen = [\"tcp:127.0.0.1:8891\"]", `is not a socket address; write "127.0.0.1:8891"`},
		{"milter.listen = [\"/run/weir.sock\"]", `is not a socket address; write "unix:/run/weir.sock"`},
		{"milter.listen = [\":8891\"]", `has no address; write "127.0.0.1:8891" for this host only, "0.0.0.0:8891" or "[::]:8891" for all`},
		{"milter.listen = [\"localhost:8891\"]", `has a name where an address must stand; `},
		{"milter.listen = [\"127.0.0.1:0\"]", `has no port from 1 to 65535; `},
		{"milter.listen = [\"127.0.0.1:65536\"]", `has no port from 1 to 65535; `},
		{"milter.listen = [\"::1:8891\"]", `write IPv6 addresses in brackets: "[::1]:8891"`},
		{"milter.listen = [\"[::1:8891\"]", `is not a socket address; `},
		{"milter.listen = [\"[127.0.0.1]:8891\"]", `is not a socket address; `},
		{"milter.listen = [\"systemd:\"]", `names no inherited socket; `},
		{"milter.listen = [\"unix:\"]", `names no path; `},
		{"milter.listen = [\"unix:/" + strings.Repeat("a", 107) + "\"]", `is a path of 108 bytes, and a unix socket can have 107; use a shorter path`},
		{"milter.listen = [\"unix:/a\", \"unix:/a\"]", `weir.toml:1:29: milter.listen[1] = "unix:/a" is the socket of milter.listen[0] too; give each its own`},
		{"control.listen = \"unix:/var/spool/postfix/weir/weir.sock\"", `is the socket of milter.listen[0] too; give each its own`},
		{"control.listen = \"127.0.0.1:1\"", `is not a unix socket, and roles need the credentials of who connects; `},
		{"metrics.listen = \"192.0.2.1:1\"", `can be reached by other hosts, and metrics have no authentication; `},
		{"metrics.listen = \"[::]:1\"", `can be reached by other hosts, and metrics have no authentication; `},

		{"milter.idle_timeout = 30", `milter.idle_timeout = 30 is not a duration; write a number with a unit`},
		{"milter.idle_timeout = \"30\"", `is not a duration; `},
		{"milter.idle_timeout = \"1.5h\"", `is not a duration; `},
		{"milter.idle_timeout = \"-5m\"", `is not a duration; `},
		{"milter.idle_timeout = \"\"", `milter.idle_timeout = "" is empty; write a number with a unit`},
		{"milter.idle_timeout = \"9999999999999999999s\"", `is not a duration; `},
		{"milter.idle_timeout = \"99999999w\"", `is too long a duration; `},
		{"milter.idle_timeout = \"5s\"", `is less than 10s; write a value from 10s to 24h`},
		{"state.min_free = \"64mb\"", `is not a size; write a whole number with a unit`},
		{"state.min_free = \"1.5GiB\"", `is not a size; `},
		{"state.min_free = -5", `is not a size; `},
		{"state.min_free = \"9999999TiB\"", `is too large; `},
		{"state.min_free = 1024", `state.min_free = 1024 is less than 1GiB; write a value from 1GiB to 1TiB`},
		{"milter.socket_mode = \"rw-rw----\"", `is not a file mode; write three or four octal digits in quotes, such as "0660"`},
		{"milter.socket_mode = \"0888\"", `is not a file mode; `},
		{"milter.socket_mode = \"01777\"", `is not a file mode; `},
		{"milter.socket_mode = \"0060\"", `is less than 0600; `},
		{"milter.max_sessions = \"5\"", `is not a whole number; write digits without quotes`},
		{"milter.max_sessions = 99999999999999999999", `line`},
		{"metrics.allow_remote = \"yes\"", `is neither true nor false; write true or false without quotes`},
		{"milter.socket_group = 105", `milter.socket_group = 105 is not text; put it in double quotes`},
		{"lists.dir = 1979-05-27", `lists.dir = 1979-05-27 is not text; put it in double quotes`},
		{"policy.mode = \"Enforce\"", `is not one of the words that this key takes; did you mean "enforce"? It is one of enforce, observe`},
		{"log.format = \"xml\"", `is not one of the words that this key takes; write one of console, json`},
		{"lists.dir = \"\"", `is empty; name a folder, or take the key out for the default`},
		{"lists.dir = \"a\\u0000b\"", `has a NUL in it; take it out`},

		{"mail.local_domains = [\"*.example.org\"]", `write ".example.org" for the domain and all below it`},
		{"mail.local_domains = [\"a@example.org\"]", `is an address, not a domain; `},
		{"mail.local_domains = [\"\"]", `is not a domain; `},
		{"mail.local_domains = [\".\"]", `is not a domain; `},
		{"mail.local_domains = [\"a b.example\"]", `is not a domain; `},
		{"mail.internal_networks = [\"10.1.2.3/8\"]", `has host bits set; write "10.0.0.0/8" for the network or "10.1.2.3" for the host`},
		{"mail.internal_networks = [\"10.0.0.0/33\"]", `is not an address or network; `},
		{"mail.internal_networks = [\"::ffff:10.0.0.0/104\"]", `is an IPv4 network written as IPv6; `},
		{"mail.internal_networks = [\"fe80::1%eth0\"]", `is not an address or network; `},
		{"mail.recipient_delimiter = \"a\"", `has 'a' in it, which parts no mailbox from its extension; `},
		{"mail.recipient_delimiter = \"@\"", `has '@' in it, `},
		{"mail.authserv_id = \"mx.example.org; x\"", `mail.authserv_id = "mx.example.org; x" is not an authserv-id; `},
		{"control.admins = [\"alice\"]", `names neither user nor group; write "user:alice" or "group:alice"`},
		{"control.admins = [\"role:alice\"]", `names neither user nor group; write "user:NAME" or "group:NAME"`},
		{"control.admins = [\"user:a b\"]", `has no proper name; write "user:NAME"`},
		{"milter.socket_group = \"a b\"", `is not the name of a group; `},
		{"reinject.helo = \"my host\"", `is neither a host name nor an address literal; `},

		{"milter.memory_per_message = \"512MiB\"", `is more than milter.memory_total, 256MiB; lower it, or raise milter.memory_total`},
		{"milter.progress_interval = \"5m\"", `is not shorter than milter.answer_timeout, 4m; `},
		{"journal.lookback = \"61d\"", `is longer than journal.retention, 60d; `},
		{"journal.retention = \"29d\"", `weir.toml: journal.lookback = "30d" (default) is longer than journal.retention, 29d; `},
		{"reinject.inbound.tls = \"starttls\"", `needs a name to verify, and a unix socket has none; set reinject.inbound.tls_name, or tls = "off"`},
		{"reinject.inbound.tls_cert_file = \"c\"", `reinject.inbound.tls_cert_file = "c" and reinject.inbound.tls_key_file belong together; set both or none`},
		{"reinject.outbound.username = \"weir\"", `reinject.outbound.username = "weir" and reinject.outbound.password_file belong together; set both or none`},
		{"[reinject.inbound]\naddress = \"192.0.2.1:25\"\nusername = \"u\"\npassword_file = \"p\"", `would be sent with its password in the clear to another host; set reinject.inbound.tls = "starttls"`},
	}
	for _, tc := range cases {
		_, err := Parse("weir.toml", []byte(tc.doc))
		if err == nil {
			t.Errorf("%q is taken", tc.doc)
			continue
		}
		if tc.want == "line" { // what matters is that it is refused with its line
			tc.want = "weir.toml:1:"
		}
		if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q\ngot  %v\nwant %s", tc.doc, err, tc.want)
		}
		for _, e := range asErrors(err) {
			if e.Cure == "" {
				t.Errorf("%q: no cure in %v", tc.doc, e)
			}
		}
	}
}

func TestAllMistakesAreReportedAtOnceInTheOrderOfTheFile(t *testing.T) {
	_, err := Parse("weir.toml", []byte(`[log]
level = "loud"
[milter]
max_sessions = 0
nothing = 1
listen = ["x", "unix:/ok", 5]
idle_timeout = "1x"
[control]
listen = "127.0.0.1:9"
[journal]
retention = "1d"
`))
	var got []string
	for _, e := range asErrors(err) {
		got = append(got, fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Key))
	}
	want := []string{
		"2:9 log.level", "4:16 milter.max_sessions", "5:1 milter.nothing", "6:11 milter.listen[0]", "6:28 milter.listen[2]",
		"7:16 milter.idle_timeout", "9:10 control.listen", "0:0 journal.lookback",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnUnknownSectionIsReportedOnce(t *testing.T) {
	for _, doc := range []string{
		"[mitler]\na = 1\nb = 2\n[mitler.c]\nd = 1\n",
		"mitler.a = 1\nmitler.b = 2\n",
		"mitler = { a = 1, b = 2 }\n",
		"[[mitler]]\na = 1\n[[mitler]]\na = 2\n",
	} {
		_, err := Parse("weir.toml", []byte(doc))
		if errs := asErrors(err); len(errs) != 1 || errs[0].Key != "mitler" {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestAValueThatCannotBeReadCausesNoFurtherErrors(t *testing.T) {
	// With the default of 60d still in place, lookback would be too long.
	_, err := Parse("weir.toml", []byte("[journal]\nlookback = \"90x\"\nretention = \"20d\"\n"))
	if errs := asErrors(err); len(errs) != 1 || errs[0].Key != "journal.lookback" || errs[0].Line != 2 {
		t.Errorf("got %v", err)
	}
}

func TestErrorsAreSafeToPrint(t *testing.T) {
	doc := "log.level = \"\\u001b[31m\"\nstate.min_free = \"" + strings.Repeat("ä", 5000) + "\"\n\"\\u202e\" = 1\n"
	_, err := Parse("weir.toml", []byte(doc))
	text := err.Error()
	if strings.ContainsAny(text, "\x1b\u202e") {
		t.Errorf("control characters come through: %q", text)
	}
	if len(text) > 2000 {
		t.Errorf("%d bytes for three mistakes", len(text))
	}
}

func TestTheNumberOfErrorsIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "k%d = 1\n", i)
	}
	_, err := Parse("weir.toml", []byte(b.String()))
	if n := len(asErrors(err)); n != errorsMax {
		t.Errorf("%d errors", n)
	}
}

func TestDeepNestingIsNoHarm(t *testing.T) {
	for _, shape := range [][2]string{{"[", "]"}, {"{a = ", "}"}} {
		n := FileMax/(len(shape[0])+len(shape[1])) - 100
		doc := "milter.listen = " + strings.Repeat(shape[0], n) + "1" + strings.Repeat(shape[1], n)
		if _, err := Parse("weir.toml", []byte(doc)); err == nil {
			t.Errorf("%d levels are taken", n)
		}
	}
	doc := strings.Repeat("a.", FileMax/2-10) + "a = 1"
	if _, err := Parse("weir.toml", []byte(doc)); err == nil {
		t.Error("a key of 100 000 parts is taken")
	}

	doc = "[" + strings.Repeat("a.", FileMax/16) + "a]\n"
	for i := range FileMax / 80 {
		doc += fmt.Sprintf("k%d=1\n", i)
	}
	if _, err := Parse("weir.toml", []byte(doc)); err == nil {
		t.Error("a section of 16 384 parts is taken")
	}
}
