package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const pullGood = `
[[daemon]]
address = "unix:/run/weir/control.sock"
[[daemon]]
address = "https://mx2.example.org:9491"
ca_file = "ca.pem"
cert_file = "pull.pem"
key_file = "pull.key"
[[store]]
match = ["*@example.org", "*@*.example.net"]
address = "imap.example.org:993"
master = "weir-pull"
secret_file = "secret"
probe = "probe@example.org"
[[store]]
type = "maildir"
root = "/var/vmail"
layout = "%d/%n/Maildir"
`

func TestAPullConfigurationIsRead(t *testing.T) {
	p, err := ParsePull("/etc/weir/pull.toml", []byte(pullGood))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Daemons) != 2 || len(p.Stores) != 2 {
		t.Fatalf("%+v", p)
	}
	if d := p.Daemons[1]; d.Name != "https://mx2.example.org:9491" || d.CAFile != "/etc/weir/ca.pem" || d.Leases != 256 || d.Address.Address != "mx2.example.org:9491" {
		t.Errorf("daemon %+v", d)
	}
	if s := p.Stores[0]; s.Name != "imap.example.org:993" || s.SecretFile != "/etc/weir/secret" || s.Connections != 16 || s.Security != SecurityTLS || s.Auth != AuthMaster || s.Separator != "*" {
		t.Errorf("store %+v", s)
	}
	if s := p.Stores[1]; s.Name != "/var/vmail" || !s.Serves("Anybody@else.example") {
		t.Errorf("store %+v", s)
	}
	if w := p.Warnings(); len(w) > 0 {
		t.Errorf("warnings %v", w)
	}
	set := map[string]bool{}
	for _, s := range p.Settings() {
		set[s.Key] = !s.Default
	}
	if !set["store[1].type"] || set["store[0].type"] || !set["daemon[1].key_file"] || set["limits.memory"] {
		t.Errorf("settings %v", set)
	}
}

func TestEveryMistakeInAPullConfigurationIsNamed(t *testing.T) {
	// Each is put in the place of a line of the good one, or behind all.
	for _, c := range []struct{ line, instead, want string }{
		{`address = "unix:/run/weir/control.sock"`, ``, `pull.toml:1:3: daemon[0].address is missing; write "unix:/run/weir/control.sock"`},
		{`address = "unix:/run/weir/control.sock"`, `address = "unix:"`, `daemon[0].address = "unix:" is no address of a daemon; `},
		{`address = "unix:/run/weir/control.sock"`, `address = "http://mx1:9491"`, `is not encrypted, and mail would travel over it; `},
		{`address = "unix:/run/weir/control.sock"`, `address = "https://mx1"`, `is not https://HOST:PORT; `},
		{`address = "unix:/run/weir/control.sock"`, `address = "unix:/` + strings.Repeat("a", 110) + `"`, `a unix socket can have 107; use a shorter path`},
		{`address = "unix:/run/weir/control.sock"`, `address = "https://mx2.example.org:9491"`, `pull.toml:4:11: daemon[1].address = "https://mx2.example.org:9491" is given twice; `},
		{`key_file = "pull.key"`, ``, `pull.toml:3:3: daemon[1].key_file is missing, and a daemon on another host needs it; `},
		{`address = "unix:/run/weir/control.sock"`, "address = \"unix:/x\"\nca_file = \"x\"", `pull.toml:3:11: daemon[0].ca_file = "x" is of no use with a unix socket; `},
		{`address = "unix:/run/weir/control.sock"`, "address = \"unix:/x\"\nleases = 0", `daemon[0].leases = 0 is less than 1; `},
		{`address = "unix:/run/weir/control.sock"`, "address = \"unix:/x\"\nlease = 5", `pull.toml:3:1: daemon.lease is not known; did you mean leases?`},

		{`address = "imap.example.org:993"`, ``, `store[0].address is missing; `},
		{`address = "imap.example.org:993"`, `address = "unix:/x"`, `is not a host with a port; `},
		{`address = "imap.example.org:993"`, "address = \"imap.example.org:143\"\nsecurity = \"plaintext\"", `would send the password in plain text to another host; `},
		{`master = "weir-pull"`, ``, `store[0].master is missing, and auth = "master" needs it; `},
		{`master = "weir-pull"`, "master = \"x\"\nauth = \"xoauth2\"", `store[0].master = "x" is of no use with auth = "xoauth2"; `},
		{`master = "weir-pull"`, "master = \"x\"\nauth = \"mastr\"", `did you mean "master"? It is one of master, plain, xoauth2, login`},
		{`master = "weir-pull"`, "master = \"x\"\nseparator = \"\"", `store[0].separator = "" is no text between two names; `},
		{`secret_file = "secret"`, ``, `store[0].secret_file is missing; `},
		{`secret_file = "secret"`, "secret_file = \"s\"\nskip = [\"\"]", `store[0].skip[0] = "" is empty; `},
		{`secret_file = "secret"`, "secret_file = \"s\"\nroot = \"/x\"", `store[0].root = "/x" is of no use with type = "imap"; take it out`},
		{`secret_file = "secret"`, "secret_file = \"s\"\ndoveadm_key_file = \"x\"", `is of no use without doveadm_address; `},
		{`secret_file = "secret"`, "secret_file = \"s\"\ndoveadm_address = \"imap.example.org:8080\"", `store[0].doveadm_key_file is missing, and doveadm_address needs it; `},
		{`secret_file = "secret"`, "secret_file = \"s\"\ndoveadm_key_file = \"x\"\ndoveadm_security = \"plaintext\"\ndoveadm_address = \"imap.example.org:8080\"", `would send the key in plain text to another host; `},
		{`probe = "probe@example.org"`, ``, `store[0].probe is missing; name a mailbox that is surely there`},
		{`probe = "probe@example.org"`, `probe = "probe@else.example"`, `is no mailbox of this store's match; `},
		{`match = ["*@example.org", "*@*.example.net"]`, `match = []`, `store[0].match = [] is empty: no mailbox is here; `},
		{`match = ["*@example.org", "*@*.example.net"]`, `match = ["@example.org"]`, `store[0].match[0] = "@example.org" fits no login; write "*@example.org"`},
		{`match = ["*@example.org", "*@*.example.net"]`, `match = "*"`, `is not a list; put it in brackets: ["*"]`},
		{`root = "/var/vmail"`, ``, `store[1].root is missing; `},
		{`layout = "%d/%n/Maildir"`, `layout = "Maildir"`, `names no user, and all mailboxes would be one; `},
		{`layout = "%d/%n/Maildir"`, `layout = "../%n"`, `has an element that is no name; `},
		{`layout = "%d/%n/Maildir"`, `layout = "/%n"`, `begins with a slash, and is below root; `},
		{`layout = "%d/%n/Maildir"`, "layout = \"%u\"\nsecurity = \"tls\"", `store[1].security = "tls" is of no use with type = "maildir"; take it out`},
		{`type = "maildir"`, `type = "maildirs"`, `did you mean "maildir"?`},

		{``, "[limits]\nmemory = \"1KiB\"", `limits.memory = "1KiB" is less than 1MiB; `},
		{``, "[limits]\nmemry = 1", `limits.memry is not known; did you mean memory?`},
		{``, "[metrics]\nlisten = \"0.0.0.0:9492\"", `can be reached by other hosts, and metrics have no authentication; write "127.0.0.1:PORT"`},
		{``, "[metrics]\nlisten = \"systemd:x\"", `is a socket of systemd's, which the sidecar does not take; `},
		{``, "[stroe]\nx = 1", `stroe is not known; did you mean store?`},
	} {
		doc := pullGood
		if c.line == "" {
			doc += c.instead
		} else {
			doc = strings.Replace(doc, c.line, c.instead, 1)
		}
		_, err := ParsePull("pull.toml", []byte(strings.TrimPrefix(doc, "\n")))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n got %v\nwant %s", c.instead, err, c.want)
		}
	}
}

func TestSectionsThatMayStandSeveralTimesAreWrittenSo(t *testing.T) {
	for doc, want := range map[string]string{
		"[store]\ntype = \"imap\"":            `pull.toml:1:2: store can stand several times; write [[store]]`,
		"[[limits]]":                          `pull.toml:1:3: limits stands once, not as a list of sections; write [limits]`,
		"store = []":                          `pull.toml:1:1: store stands outside of its section; write it under [[store]]`,
		"store.type = \"imap\"":               `pull.toml:1:1: store.type stands outside of its section; write it under [[store]]`,
		"store = { type = \"imap\" }":         `store stands outside of its section; `,
		"":                                    `pull.toml: has no section [[daemon]]: there is nobody to work for; `,
		"type = \"imap\"":                     `type is not known; the key of this name stands in [store]`,
		"[[store]]\n[[store.type]]\nx = 1":    `store.type is a key, not a section; `,
		"[[store]]\nstore.type = \"maildir\"": `store.store is not known`,
	} {
		_, err := ParsePull("pull.toml", []byte(doc))
		var errs Errors
		if !errors.As(err, &errs) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", doc, err, want)
		}
	}
}

func TestALoginPatternFitsWhatItSays(t *testing.T) {
	for _, c := range []struct {
		pattern string
		fits    []string
		not     []string
	}{
		{"*", []string{"", "a", "a@b"}, nil},
		{"*@Example.org", []string{"a@example.org", "@example.org"}, []string{"a@example.org.x", "a@example.net", "example.org"}},
		{"alice", []string{"alice"}, []string{"alice2", "al"}},
		{"a*c*e", []string{"abcde", "ace", "acece"}, []string{"ac", "ae", "abcd"}},
		{"ab*ba", []string{"abba", "abxba"}, []string{"aba"}},
		{"a*b*b", []string{"abb", "axbxb"}, []string{"ab"}},
	} {
		var p LoginPattern
		if err := p.UnmarshalText([]byte(c.pattern)); err != nil {
			t.Fatal(err)
		}
		for _, l := range c.fits {
			if !p.fits(l) {
				t.Errorf("%q does not fit %q", c.pattern, l)
			}
		}
		for _, l := range c.not {
			if p.fits(l) {
				t.Errorf("%q fits %q", c.pattern, l)
			}
		}
	}
}

// What the sample shows for a store is a store, but for the keys of the other type.
func TestThePullSampleIsAWorkingFileOnceUncommented(t *testing.T) {
	if _, err := ParsePull("pull.toml", []byte(PullSample())); err == nil || !strings.Contains(err.Error(), "has no section [[daemon]]") {
		t.Errorf("the sample as it is: %v", err)
	}
	var b strings.Builder
	for line := range strings.Lines(PullSample()) {
		if key, ok := strings.CutPrefix(line, "#"); ok && key[0] != ' ' && key[0] != '\n' && !strings.HasPrefix(key, "root") && !strings.HasPrefix(key, "layout") {
			line = key
		}
		b.WriteString(line)
	}
	p, err := ParsePull("/etc/weir/pull.toml", []byte(b.String()))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, b.String())
	}
	if len(p.Daemons) != 1 || len(p.Stores) != 1 || p.Limits != DefaultPull().Limits || p.Log != DefaultPull().Log {
		t.Errorf("%+v", p)
	}
	var missing []string
	for _, f := range p.document().fields {
		if !strings.Contains(PullReference(), "\n### "+f.key+"\n") {
			missing = append(missing, f.key)
		}
	}
	if len(missing) > 0 {
		t.Errorf("%v are not described", missing)
	}
}

func TestEveryTagOfPullIsUsable(t *testing.T) {
	withSections(t).document().each(func(name string, f field, v reflect.Value) {
		if _, ranged := f.tag.Lookup("range"); ranged {
			if low, high, ok := bounds(f, v.Type()); !ok || low > high {
				t.Errorf("%s: range %q cannot be read", name, f.tag.Get("range"))
			}
			if problem, _ := checkTags(f, v); problem != "" {
				t.Errorf("%s: the default %s", name, problem)
			}
		}
		switch v.Interface().(type) {
		case int, Bytes, Duration, Mode:
			if f.tag.Get("range") == "" {
				t.Errorf("%s has no range", name)
			}
		}
	})
}

// withSections gives the defaults with one section of each kind.
func withSections(t *testing.T) *Pull {
	t.Helper()
	p := DefaultPull()
	p.Daemons = []PullDaemon{freshPull("daemon").Interface().(PullDaemon)}
	p.Stores = []PullStore{freshPull("store").Interface().(PullStore)}
	return p
}

func TestWarningsTellWhatIsRarelyMeant(t *testing.T) {
	doc := strings.Replace(pullGood, `match = ["*@example.org", "*@*.example.net"]`, ``, 1)
	doc = strings.Replace(doc, `master = "weir-pull"`, `auth = "login"`, 1)
	p, err := ParsePull("pull.toml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, w := range p.Warnings() {
		keys = append(keys, w.Key)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"store[0].auth", "store[1].match"}) {
		t.Errorf("warnings about %v", keys)
	}
}

func FuzzParsePull(f *testing.F) {
	f.Add([]byte(pullGood))
	f.Add([]byte("[[store]]\n[[store]]\ntype = \"x\"\n[store.x]\n"))
	f.Add([]byte("store = [{type=\"imap\"}]\n[[daemon]]\ndaemon.address=1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePull("pull.toml", data)
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			for _, e := range errs {
				if e.Problem == "" || e.Line < 0 {
					t.Errorf("%+v", e)
				}
			}
			return
		}
		p.Settings()
		p.Warnings()
	})
}
