package postconf

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// expansions are values that name others, and what Postfix makes of them.
const expansions = `compatibility_level = 3.6
a = one
empty =
loop = $loop
b = $a ${a} $(a) $$a
c = ${a?yes} ${a:no} ${empty?yes} ${empty:no} ${missing:none}
d = ${a?{$b}:{no}} ${empty?{yes}:{no $a}}
e = ${{$a} == {one} ? {same} : {other}} ${{$a} != {one} ? {same} : {other}}
f = ${{10} < {9} ? {text} : {number}} ${{a10} < {a9} ? {text} : {number}}
g = ${{$compatibility_level} <level {3.10} ? {older} : {newer}}
h = { $a, x=${empty:{ 1 }} } $a-$a
i = ${stress?{10}:{300}}s
smtpd_timeout = $i
j = [${{ one } == {one} ? { x } : {y}}] [${a?{ x }:{ y }}] [${a? x }] [${empty: x }] [${empty:{ x }}] [${ a ? {x} : {y} }] [${a:{ x }}] [${{$a} == {two} ? { x } : { y }}] [${{$a} == {two} ? { x }}]
mynetworks = $b $c $d $e $f $g $h $j
`

// folder makes a configuration folder.
func folder(t *testing.T, main, master string) string {
	t.Helper()
	if _, err := exec.LookPath("postconf"); err != nil {
		t.Skip("needs postfix: run go run ./cmd/internal/lab/install")
	}
	dir := t.TempDir()
	old := time.Now().Add(-time.Minute) // Postfix waits before it reads what has just changed
	for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestValuesAreExpandedAsPostfixDoes(t *testing.T) {
	dir := folder(t, expansions, "smtp inet n - n - - smtpd\n")
	c, err := Read(t.Context(), Command{ConfigDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mynetworks", "smtpd_timeout", "smtpd_relay_restrictions", "mime_header_checks", "queue_directory"} {
		cmd := exec.CommandContext(t.Context(), "postconf", "-c", dir, "-xh", name)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		// postconf folds white space at the end.
		if got, want := strings.Join(strings.Fields(c.Value(name)), " "), strings.Join(strings.Fields(string(want)), " "); got != want {
			t.Errorf("%s is %q, and Postfix says %q", name, got, want)
		}
	}
	if got := c.Value("loop"); got != "$loop" {
		t.Errorf("a value that names itself became %.80q", got)
	}
}

func TestTheBuiltInDefaultsAreThoseOfPostfix(t *testing.T) {
	dir := folder(t, "", "")
	read, err := Read(t.Context(), Command{ConfigDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"queue_directory", "mail_owner", "setgid_group", "inet_interfaces", "default_process_limit", "cleanup_service_name", "message_size_limit",
		"header_size_limit", "milter_protocol", "milter_connect_timeout", "milter_content_timeout", "mime_header_checks", "local_header_rewrite_clients",
		"smtpd_timeout", "smtpd_recipient_limit", "smtpd_relay_restrictions", "enable_original_recipient", "enable_long_queue_ids", "smtpd_tls_wrappermode",
	} {
		ours := builtin(name)
		if theirs := read.Raw(nil, name); ours != theirs {
			t.Errorf("%s is %q by default, and Postfix says %q", name, ours, theirs)
		}
	}
	if !read.Version().Known() || read.Set("mail_owner") {
		t.Errorf("version %s, mail_owner set: %v", read.Version(), read.Set("mail_owner"))
	}
}

func TestOverridesOfServicesAreRead(t *testing.T) {
	const master = `# a comment
smtp      inet  n       -       y       -       -       smtpd
  -o smtpd_milters=unix:a,unix:b
  -o { content_filter = smtp:[127.0.0.1]:1 } -o smtpd_timeout=5s
   # another
  -v -o name=$service_name -o content_filter=
filter    unix  -       n       n       -       10      pipe
  flags=Rq user=filter argv=/bin/filter -o not=one
pickup    unix  n       -       -       60      1       pickup
`
	texts := []string{master}
	if _, err := exec.LookPath("postconf"); err == nil {
		out, err := exec.CommandContext(t.Context(), "postconf", "-c", folder(t, "compatibility_level=3.6\n", master), "-M").Output()
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(out))
	}
	for _, text := range texts {
		c, err := Parse("compatibility_level = 3.6\n", text)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Service("smtp", "inet")
		for name, want := range map[string]string{"smtpd_milters": "unix:a,unix:b", "content_filter": "", "smtpd_timeout": "5s", "name": "smtp"} {
			if got := c.In(s, name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if !c.Chrooted(s) || c.Chrooted(c.Service("pickup", "unix")) || c.Chrooted(c.Service("filter", "unix")) {
			t.Error("chroot misread")
		}
		if f := c.Service("filter", "unix"); f.MaxProc != 10 || !f.Private || len(f.Options) != 0 || s.MaxProc != -1 || s.Private {
			t.Errorf("%+v", f)
		}
	}
}

func TestWhatIsNoConfigurationIsRefusedWithItsLine(t *testing.T) {
	for name, texts := range map[string][3]string{
		"no parameter":       {"a = b\nhello there\n", "", "main.cf, line 2"},
		"a name of spaces":   {"a b = c\n", "", "main.cf, line 1"},
		"a first line bent":  {" a = b\n", "", "continues nothing"},
		"too few columns":    {"", "smtp inet n\n", "3 of 8 columns"},
		"a process limit":    {"", "smtp inet n - n - many smtpd\n", `"many"`},
		"a line too long":    {"a = " + strings.Repeat("x", lineMax), "", "longer than"},
		"a text too long":    {strings.Repeat("#\n", textMax/2+1), "", "more than"},
		"NUL in a parameter": {"a\x00 = b\n", "", "main.cf, line 1"},
	} {
		if _, err := Parse(texts[0], texts[1]); err == nil || !strings.Contains(err.Error(), texts[2]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMiltersAreReadAsPostfixReadsThem(t *testing.T) {
	for text, want := range map[string]Milter{
		"unix:weir/weir.sock":  {Network: "unix", Path: "weir/weir.sock"},
		"local:/a":             {Network: "unix", Path: "/a"},
		"inet:8891":            {Network: "tcp", Host: "localhost", Port: "8891"},
		"inet:[::1]:8891":      {Network: "tcp", Host: "::1", Port: "8891"},
		"inet:localhost:8891":  {Network: "tcp", Host: "localhost", Port: "8891"},
		"{unix:a, protocol=6}": {Network: "unix", Path: "a", Settings: []Option{{"protocol", "6"}}},
		"{ inet:h:1 { default_action = accept } connect_timeout=3s }": {Network: "tcp", Host: "h", Port: "1", Settings: []Option{{"default_action", "accept"}, {"connect_timeout", "3s"}}},
	} {
		m, err := ParseMilter(text)
		m.Address = ""
		if err != nil || m.Network != want.Network || m.Path != want.Path || m.Host != want.Host || m.Port != want.Port || !slices.Equal(m.Settings, want.Settings) {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
	for _, text := range []string{"", "{}", "unix:", "weir", "inet:", "inet:8891@localhost", "inet:::1:8891", "inet:host:", "{ unix:a, protocol = 6 }", "{ unix:a, protocol }"} {
		if m, err := ParseMilter(text); err == nil {
			t.Errorf("%q is taken for %+v", text, m)
		}
	}
}

func TestPostconfThatFailsHangsOrTalksWithoutEndIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"exit status 3": "echo 'no such folder' >&2; exit 3",
		"no answer":     "exec sleep 60",
		"broken pipe":   "exec cat /dev/zero",
		"line 1":        "echo hello",
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if name == "no answer" {
			ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		}
		_, err := Read(ctx, Command{Path: path})
		cancel()
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(t.Context(), Command{Path: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "cannot be started") {
		t.Error(err)
	}
}

// FuzzParse looks for texts that crash, hang or grow without bound.
func FuzzParse(f *testing.F) {
	f.Add(expansions, "smtp inet n - y - - smtpd\n  -o { a = $b } -o smtpd_milters={unix:a,protocol=6},inet:1\n")
	f.Add("a = ${a?{$a$a}:{$a}}$a${{$a} == {$a} ? {$a} : {}}", "a b - - - - 1 d -o a")
	f.Fuzz(func(t *testing.T, main, master string) {
		c, err := Parse(main, master)
		if err != nil {
			return
		}
		for name := range c.params {
			if n := len(c.Value(name)); n > 2*expandedMax+len(main) {
				t.Fatalf("%s has %d bytes", name, n)
			}
		}
		for _, s := range c.Services() {
			for _, o := range s.Options {
				_, _ = Milters(c.In(s, o.Name))
			}
			_ = c.Chrooted(s)
		}
	})
}
