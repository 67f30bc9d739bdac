package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func asErrors(err error) Errors {
	var errs Errors
	errors.As(err, &errs)
	return errs
}

func TestAnEmptyFileGivesTheDefaults(t *testing.T) {
	c, err := Parse("/etc/weir/weir.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Lists.Dir = "/etc/weir/lists"
	c.source, want.source = source{}, source{}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if err := want.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestTheDefaultsWarnOnlyOfMissingLocalDomains(t *testing.T) {
	w := Default().Warnings()
	if len(w) != 1 || w[0].Key != "mail.local_domains" {
		t.Errorf("got %v", w)
	}
}

func TestAFileSetsWhatItNames(t *testing.T) {
	c, err := Parse("/srv/weir/weir.toml", []byte(`
[state]
dir = "state"
min_free = 4_294_967_296
[milter]
listen = [
  "unix:run/m.sock", # a comment
  "[::1]:8891",
  "systemd:milter",
]
socket_mode = "640"
oversize = "accept"
read_timeout = "1m30s"
[mail]
local_domains = ["Example.ORG", ".bücher.example"]
trusted_relays = ["192.0.2.1", "::ffff:192.0.2.2", "2001:db8::/32"]
[control]
listen = "unix:run/c.sock"
admins = ["user:alice", "group:0"]
[limits]
text_bytes = "10MB"
[metrics]
listen = "unix:run/metrics.sock"
[reinject.inbound]
address = "unix:run/in"
[reinject.outbound]
address = "mx.example.org:25"
`))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"state.dir":                 `"/srv/weir/state"`,
		"state.min_free":            `"4GiB"`,
		"milter.spool_dir":          `"/srv/weir/state/spool"`,
		"milter.listen":             `["unix:/srv/weir/run/m.sock", "[::1]:8891", "systemd:milter"]`,
		"milter.socket_mode":        `"0640"`,
		"milter.oversize":           `"accept"`,
		"milter.read_timeout":       `"1m30s"`,
		"mail.local_domains":        `["example.org", ".xn--bcher-kva.example"]`,
		"mail.trusted_relays":       `["192.0.2.1", "192.0.2.2", "2001:db8::/32"]`,
		"control.listen":            `"unix:/srv/weir/run/c.sock"`,
		"metrics.listen":            `"unix:/srv/weir/run/metrics.sock"`,
		"reinject.inbound.address":  `"unix:/srv/weir/run/in"`,
		"control.admins":            `["user:alice", "group:0"]`,
		"limits.text_bytes":         `"10MB"`,
		"reinject.outbound.address": `"mx.example.org:25"`,
		"lists.dir":                 `"/srv/weir/lists"`,
	} {
		i := slices.IndexFunc(c.Settings(), func(s Setting) bool { return s.Key == key })
		if got := c.Settings()[i]; got.Value != want {
			t.Errorf("%s = %s, want %s", key, got.Value, want)
		}
	}
	if c.Milter.ReadTimeout != Duration(90*time.Second) || c.Milter.SocketMode != 0o640 {
		t.Errorf("got %d, %o", c.Milter.ReadTimeout, c.Milter.SocketMode)
	}
}

func TestDottedKeysAndInlineTablesMeanTheSame(t *testing.T) {
	forms := []string{
		"[reinject.inbound]\naddress = \"mx:25\"\ntls = \"starttls\"\n",
		"[reinject]\ninbound.address = \"mx:25\"\ninbound.tls = \"starttls\"\n",
		"reinject.inbound.address = \"mx:25\"\n\"reinject\".'inbound'.tls = 'starttls'\n",
		"reinject = { inbound = { address = \"mx:25\", tls = \"starttls\" } }\n",
		"[reinject]\ninbound = { address = \"mx:25\", tls = \"\"\"starttls\"\"\" }\n",
		"\xef\xbb\xbf[reinject.inbound]\r\naddress = \"mx:25\"\r\ntls = \"starttls\"\r\n",
	}
	for _, form := range forms {
		c, err := Parse("weir.toml", []byte(form))
		if err != nil {
			t.Errorf("%q: %v", form, err)
			continue
		}
		if c.Reinject.Inbound.Address.Address != "mx:25" || c.Reinject.Inbound.TLS != TLSStartTLS {
			t.Errorf("%q: got %+v", form, c.Reinject.Inbound)
		}
	}
}

func TestShowReadsBackAsTheSameConfiguration(t *testing.T) {
	docs := []string{"", `
log.level = "debug"
milter.listen = ["unix:a b\"\\\u0007ö.sock"]
mail.recipient_delimiter = "+-"
mail.internal_networks = []
quarantine.max_size = 0
milter.drain_timeout = "0s"
`}
	for _, doc := range docs {
		first, err := Parse("/srv/one/weir.toml", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		second, err := Parse("/elsewhere/weir.toml", []byte(first.Show()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, first.Show())
		}
		if live, restart := Changed(first, second); len(live)+len(restart) > 0 {
			t.Errorf("%q changed %v %v", doc, live, restart)
		}
	}
}

func TestShowMarksWhatIsDefault(t *testing.T) {
	c, err := Parse("/etc/weir/weir.toml", []byte("log.level = \"debug\""))
	if err != nil {
		t.Fatal(err)
	}
	show := c.Show()
	for _, line := range []string{
		"level = \"debug\"\n", "format = \"console\" # default\n", "dir = \"/etc/weir/lists\" # default\n", "[reinject.inbound]\n",
	} {
		if !strings.Contains(show, "\n"+line) {
			t.Errorf("no line %q in\n%s", line, show)
		}
	}
}

func TestChangedTellsLiveKeysFromThoseThatNeedARestart(t *testing.T) {
	parse := func(doc string) *Config {
		c, err := Parse("weir.toml", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse("policy.mode = \"observe\"\nmilter.max_sessions = 10\njournal.retention = \"60d\"")
	changed := parse("log.level = \"warn\"\nmilter.max_sessions = 20\nstate.dir = \"/srv/weir\"")
	live, restart := Changed(old, changed)
	if want := []string{"log.level", "policy.mode"}; !slices.Equal(live, want) {
		t.Errorf("live: got %v, want %v", live, want)
	}
	if want := []string{"state.dir", "milter.max_sessions", "milter.spool_dir"}; !slices.Equal(restart, want) {
		t.Errorf("restart: got %v, want %v", restart, want)
	}
	if live, restart := Changed(old, old); len(live)+len(restart) > 0 {
		t.Errorf("nothing changed, yet %v %v", live, restart)
	}
}

func TestLoadReadsTheFileOfLocalDomains(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := write("weir.toml", "[mail]\nlocal_domains = [\"a.example\"]\nlocal_domains_file = \"domains\"\n")
	write("domains", "# ours\nB.example OK\n\n  .c.example\t# and below\n")
	old, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Domain{"a.example", "b.example", ".c.example"}; !slices.Equal(old.LocalDomains(), want) {
		t.Errorf("got %v", old.LocalDomains())
	}

	write("domains", "b.example\n")
	changed, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if live, _ := Changed(old, changed); !slices.Equal(live, []string{"mail.local_domains_file"}) {
		t.Errorf("a changed file of domains is reported as %v", live)
	}

	write("domains", "b.example\n\n bad domain.example\nx@y\n")
	_, err = Load(path)
	if errs := asErrors(err); len(errs) != 1 || errs[0].Line != 4 || errs[0].File != filepath.Join(dir, "domains") {
		t.Errorf("got %v", err)
	}
	write("domains", "ok.example\n  *.example\n")
	_, err = Load(path)
	if got := fmt.Sprint(err); !strings.HasSuffix(got, `domains:2:3: mail.local_domains_file = *.example is not a domain; write ".example" for the domain and all below it`) {
		t.Errorf("got %v", got)
	}

	if err := os.Remove(filepath.Join(dir, "domains")); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path)
	if errs := asErrors(err); len(errs) != 1 || errs[0].Line != 3 || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestAnEmptyFileIsNoWishForTheDefaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.toml")
	for _, text := range []string{"", "\n \n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "weir.toml:1:1: is empty; write") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLoadOfAMissingOrHugeFileSaysSo(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	huge := filepath.Join(dir, "huge.toml")
	if err := os.WriteFile(huge, []byte(strings.Repeat("#\n", FileMax)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(huge); err == nil || !strings.Contains(err.Error(), "larger than 256KiB") {
		t.Errorf("got %v", err)
	}
	if _, err := Parse("x", []byte(strings.Repeat("#\n", FileMax))); err == nil {
		t.Error("Parse took it")
	}
}

func TestProblemPointsToWhereTheFileSetsTheKey(t *testing.T) {
	c, err := Parse("weir.toml", []byte("[milter]\nlisten = [\"unix:/a\",\n  \"unix:/b\"]\nsocket_group = \"nobody-knows\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for want, e := range map[string]*Error{
		`weir.toml:4:16: milter.socket_group = "nobody-knows" is no group here; make it`: c.Problem("milter.socket_group", "is no group here", "make it"),
		`weir.toml:3:3: milter.listen[1] = "unix:/b" is in use`:                          c.Problem("milter.listen[1]", "is in use", ""),
		`weir.toml:2:1: milter.listen[7] = ["unix:/a", "unix:/b"] is odd`:                c.Problem("milter.listen[7]", "is odd", ""),
		`weir.toml: control.socket_mode = "0660" (default) is odd`:                       c.Problem("control.socket_mode", "is odd", ""),
	} {
		if e.Error() != want {
			t.Errorf("got  %s\nwant %s", e, want)
		}
	}
}

func TestWarningsNameWhatIsRarelyMeant(t *testing.T) {
	c, err := Parse("weir.toml", []byte(`
milter.listen = ["0.0.0.0:8891", "127.0.0.1:8892"]
milter.socket_mode = "0666"
milter.answer_timeout = "5m"
mail.internal_networks = ["10.0.0.0/8", "0.0.0.0/0"]
mail.trusted_relays = ["::/0"]
reinject.inbound.address = "127.0.0.1:10026"
reinject.outbound.address = "127.0.0.1:10027"
reinject.outbound.username = "weir"
reinject.outbound.password_file = "p"
`))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, w := range c.Warnings() {
		keys = append(keys, w.Key)
		if w.Cure == "" {
			t.Errorf("no cure: %v", w)
		}
	}
	want := []string{
		"mail.local_domains", "mail.internal_networks[1]", "mail.trusted_relays[0]", "milter.listen[0]",
		"milter.socket_mode", "milter.answer_timeout", "reinject.inbound.address",
	}
	if !slices.Equal(keys, want) {
		t.Errorf("got %v\nwant %v", keys, want)
	}
}

func TestTheControlSocketForOtherHostsNeedsCertificatesOnBothSides(t *testing.T) {
	const files = "remote_cert_file = \"c.pem\"\nremote_key_file = \"c.key\"\nremote_ca_file = \"ca.pem\"\n"
	for doc, want := range map[string]string{
		"remote_listen = \"192.0.2.10:9491\"\n" + files:                                "",
		"remote_listen = \"systemd:pull\"\npullers = [\"cert:imap1\"]\n" + files:       "",
		"remote_listen = \"192.0.2.10:9491\"":                                          "remote_ca_file",
		"remote_listen = \"unix:/run/x\"\n" + files:                                    "is a unix socket",
		"remote_listen = \"127.0.0.1:9490\"\n" + files:                                 "is the socket of control.remote_listen too",
		"admins = [\"cert:imap1\"]":                                                    "control.admins[0]",
		"pullers = [\"user:weir-pull\", \"group:pull\", \"cert:imap1\", \"cert:x y\"]": "has no proper name",
	} {
		_, err := Parse("/etc/weir/weir.toml", []byte("[control]\n"+doc))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", doc, err, want)
		}
	}
}
