package list

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// folder writes files, by their path under it, and gives the lists folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// lint gives the problems of the folder, with the paths under it.
func lint(t *testing.T, files map[string]string, o LintOptions) []string {
	t.Helper()
	dir := folder(t, files)
	found, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	o.Now = now
	report := Lint(found, o)
	var lines []string
	errors, warnings := 0, 0
	for _, p := range report.Problems {
		lines = append(lines, strings.ReplaceAll(p.String(), dir+"/", ""))
		if p.Severity == Error {
			errors++
		} else {
			warnings++
		}
	}
	if report.Errors() != errors || report.Warnings() < warnings {
		t.Errorf("%d errors and %d warnings are counted, %d and %d shown", report.Errors(), report.Warnings(), errors, warnings)
	}
	return lines
}

func TestLintWarnsOfEntriesThatLookWrong(t *testing.T) {
	for _, c := range []struct {
		name, file, text string
		want             string // of the only problem; empty for none
	}{
		{"fine", "block/a", "evil.example\n.evil2.example\nhttps://evil3.example/x\n198.51.100.0/24\n/urgent payment/i in=subject", ""},
		{"expired", "block/a", "evil.example until=2026-02-27", `block/a:1:1: warning: "evil.example" expired at 2026-02-28T00:00:00Z; remove it`},
		{"expires soon", "block/a", "evil.example until=2026-03-03", `block/a:1:1: warning: "evil.example" expires at 2026-03-04T00:00:00Z; give it another`},
		{"expires later", "block/a", "evil.example until=2026-03-30", ""},
		{"own domain", "block/a", "ours.example", `block/a:1:1: warning: "ours.example" blocks mail to ours.example, which is yours; write in=`},
		{"all below it", "block/a", ".ours.example in=rcpt", `blocks mail to mail.ours.example, which is yours`},
		{"own domain as a sender", "block/a", "ours.example in=envelope-from,header-from", ""},
		{"own domain allowed", "allow/a", "ours.example", ""},
		{"public suffix", "allow/a", " .co.uk", `allow/a:1:2: warning: ".co.uk" covers every domain that anybody registers under co.uk`},
		{"public suffix of its own", "block/a", "github.io", `block/a:1:1: warning: "github.io" is a public suffix, and matches nothing registered under it`},
		{"front page", "block/a", "https://evil.example", `block/a:1:1: warning: "https://evil.example" matches the front page only; write evil.example for the whole host`},
		{"front page, address", "block/a", "http://198.51.100.7/", `matches the front page only; write 198.51.100.7 for`},
		{"fragment", "block/a", "https://evil.example/#/login", `has a # in it`},
		{"address in a url", "block/a", "http://198.51.100.7/x", `matches links alone, and only this way; write 198.51.100.7 for`},
		{"address in a url prefix", "block/a", "http://[2001:db8::1]/x/*", `matches links alone, and only this way; write 2001:db8::1 for`},
		{"huge range", "watch/a", "64.0.0.0/7", `covers more than any one network has: /7`},
		{"huge IPv6 range", "watch/a", "2000::/12", `covers more than any one network has: /12`},
		{"everything blocked", "block/a", "8.0.0.0/7", `covers more than any one`},
		{"own network", "block/a", "192.168.1.0/24", `reaches into 192.168.0.0/16, which are addresses of your own networks`},
		{"own address", "block/a", "127.0.0.1", `reaches into 127.0.0.0/8`},
		{"own network allowed", "allow/a", "192.168.1.0/24", ""},
		{"matches everything", "block/a", "/x*/ in=subject", `"/x*/" matches every text, the empty one included`},
		{"matches nearly everything", "block/a", "/[a-z0-9]/ in=subject", `"/[a-z0-9]/" matches nearly every text`},
		{"very short", "block/a", "/ab/i in=subject", `"/ab/i" is so short that it matches many texts`},
		{"digest in another role", "block/a", "44d88612fea8a8f36de82e1278abb02f in=helo", `can never match in=helo; no md5 plays that role`},
		{"url in another role", "block/a", "https://evil.example/x in=header-from", `can never match in=header-from; no url plays`},
		{"domain as attachment", "block/a", "evil.example in=attachment,url", `can never match in=attachment`},
		{"address as helo", "block/a", "ceo@evil.example in=helo", `can never match in=helo; no address plays`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := lint(t, map[string]string{c.file: c.text}, LintOptions{Soon: 7 * 24 * time.Hour, Own: []string{"mail.ours.example", "ours.example"}})
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLintWarnsOfEntriesThatOthersMakeSuperfluous(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"repeated", map[string]string{"block/a": "evil.example\nx.example\nEVIL[.]example\n"},
			[]string{`block/a:3:1: warning: "EVIL[.]example" is there already at block/a:1; remove one of the two`}},
		{"repeated in another file", map[string]string{"block/a": "evil.example", "block/b": "evil.example"},
			[]string{`block/b:1:1: warning: "evil.example" is there already at block/a:1`}},
		{"another action", map[string]string{"block/a": "evil.example\nevil.example action=reject"}, nil},
		{"other roles", map[string]string{"block/a": "evil.example in=helo\nevil.example in=url"}, nil},
		{"some of the roles", map[string]string{"block/a": "evil.example in=url\nevil.example in=url,helo"},
			[]string{`block/a:1:1: warning: "evil.example" is there already at block/a:2`}},
		{"other direction", map[string]string{"block/a": "evil.example dir=inbound\nevil.example dir=outbound"}, nil},
		{"until later", map[string]string{"block/a": "evil.example until=2027-01-01\nevil.example"},
			[]string{`block/a:1:1: warning: "evil.example" is there already at block/a:2`}},
		{"expired ones cover nothing", map[string]string{"block/a": "evil.example\nevil.example until=2026-01-01"},
			[]string{`block/a:2:1: warning: "evil.example" expired`}},
		{"allowed as well", map[string]string{"block/a": "evil.example", "allow/a": "evil.example"},
			[]string{`block/a:1:1: warning: "evil.example" is allowed at allow/a:1, and an allow beats a block that is as specific`}},
		{"allowed in one role", map[string]string{"block/a": "evil.example", "allow/a": "evil.example in=helo"}, nil},
		{"watched as well", map[string]string{"block/a": "evil.example", "watch/a": "evil.example"}, nil},
		{"below another", map[string]string{"block/a": "www.evil.example\n.evil.example"},
			[]string{`block/a:1:1: warning: "www.evil.example" is covered at block/a:2`}},
		{"below an allow", map[string]string{"block/a": "www.evil.example", "allow/a": ".evil.example"}, nil},
		{"below both", map[string]string{"block/a": "x.www.evil.example\n.evil.example", "allow/a": ".www.evil.example"}, nil},
		{"a watch is covered whatever is between", map[string]string{"watch/a": "x.www.evil.example\n.evil.example", "allow/a": ".www.evil.example"},
			[]string{`watch/a:1:1: warning: "x.www.evil.example" is covered at watch/a:2`}},
		{"address and domain", map[string]string{"block/a": "evil.example\nceo@evil.example"},
			[]string{`block/a:2:1: warning: "ceo@evil.example" is covered at block/a:1`}},
		{"url and prefix", map[string]string{"block/a": "https://evil.example/a/b\nhttp://evil.example/a*"},
			[]string{`block/a:1:1: warning: "https://evil.example/a/b" is covered at block/a:2`}},
		{"prefix and host", map[string]string{"block/a": "evil.example\nhttp://evil.example/a*"},
			[]string{`block/a:2:1: warning: "http://evil.example/a*" is covered at block/a:1`}},
		{"address and range", map[string]string{"block/a": "198.51.100.7\n198.51.0.0/16"},
			[]string{`block/a:1:1: warning: "198.51.100.7" is covered at block/a:2`}},
		{"regular expressions", map[string]string{"block/a": "/abc/ in=subject\n/abc/ in=file-name\n/abc/ in=SUBJECT,subject\n/ABC/i in=subject"},
			[]string{`block/a:3:1: warning: "/abc/" is there already at block/a:1`}},
		{"a file with errors covers nothing", map[string]string{"block/a": "evil.example\nevil..example", "block/b": "evil.example"},
			[]string{`block/a:2:1: "evil..example" has an empty label; an entry is`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := lint(t, c.files, LintOptions{})
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestWarningsOfAFileAreBoundedAndCounted(t *testing.T) {
	dir := folder(t, map[string]string{"block/a": strings.Repeat("evil.example\n", 10), "block/b": "https://evil2.example/"})
	files, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	report := Lint(files, LintOptions{Options: Options{MaxProblems: 3}, Now: now})
	if len(report.Problems) != 5 || report.Warnings() != 10 || !strings.Contains(report.Problems[3].String(), "only 3 warnings of a file are shown") {
		t.Errorf("%d warnings: %v", report.Warnings(), report.Problems)
	}
	if f := report.Files[0]; f.Entries != 10 || f.Warnings != 9 || f.Errors != 0 {
		t.Errorf("got %+v", f)
	}
}

func TestListsAreFoundInTheirFolders(t *testing.T) {
	dir := folder(t, map[string]string{
		"block/local.txt": "", "block/b.list": "", "block/noextension": "", "block/feed.csv": "",
		"allow/partners.txt": "", "watch/x": "", "other/x.txt": "", "top.txt": "",
		"block/.hidden": "", "block/local.txt~": "", "block/#local.txt#": "", "block/local.txt.bak": "", "block/local.txt.swp": "",
		"block/local.txt.tmp": "", "block/local.txt.orig": "", "block/local.txt.rej": "", "block/local.txt.rpmsave": "", "block/local.txt.RPMNEW": "",
		"block/local.txt.dpkg-old": "", "block/local.txt.ucf-dist": "", "block/README": "", "block/readme.txt": "", "block/notes.md": "",
		"elsewhere/linked": "evil.example\n",
	})
	if err := os.Symlink("../elsewhere/linked", filepath.Join(dir, "block/linked")); err != nil {
		t.Fatal(err)
	}
	files, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Source+" "+f.Disposition.String())
		if !strings.HasPrefix(f.Name, dir+"/") {
			t.Errorf("name %s", f.Name)
		}
	}
	want := "list:block/b.list block, list:block/feed.csv block, list:block/linked block, list:block/local.txt block, list:block/noextension block, list:allow/partners.txt allow, list:watch/x watch"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s", strings.Join(got, ", "))
	}
	if n, problems := files[2].Check(Options{}); n != 1 || len(problems) > 0 {
		t.Errorf("the linked list: %d entries, %v", n, problems)
	}
}

func TestWhatIsMeantAsAListAndIsNoneIsAProblem(t *testing.T) {
	dir := folder(t, map[string]string{"block/folder/x.txt": "", "block/secret": "", "block/good": "evil.example"})
	if err := os.Symlink("nowhere", filepath.Join(dir, "block/dangling")); err != nil {
		t.Fatal(err)
	}
	if err := mkfifo(filepath.Join(dir, "block/pipe")); err != nil {
		t.Fatal(err)
	}
	files, err := Files(dir)
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	var got []string
	for _, f := range files {
		_, problems := f.Check(Options{})
		for _, p := range problems {
			got = append(got, strings.TrimPrefix(p.String(), dir+"/block/"))
		}
	}
	want := []string{
		"dangling: cannot be read: no such file or directory; it was removed just now, or is a symbolic link to nothing",
		"folder: is a folder; lists lie directly in block",
		"pipe: is no regular file; remove it",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if _, problems := (File{Name: filepath.Join(dir, "block/gone"), Disposition: intel.Block}).Check(Options{}); len(problems) != 1 {
		t.Errorf("got %v", problems)
	}
}

func TestFolderWithoutAnyListsFolderIsAnError(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/nonexistent"} {
		if _, err := Files(dir); err == nil || !strings.Contains(err.Error(), "holds none of the folders block, allow and watch") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	dir := folder(t, map[string]string{"block": "a file"})
	if _, err := Files(dir); err == nil {
		t.Error("a file in the folder's place is no error")
	}
}

func TestFileElsewhereGetsItsDispositionFromItsFolder(t *testing.T) {
	for _, c := range []struct {
		path   string
		given  intel.Disposition
		want   intel.Disposition
		source string
	}{
		{"/x/block/new.txt", 0, intel.Block, "list:block/new.txt"},
		{"allow/new.txt", 0, intel.Allow, "list:allow/new.txt"},
		{"/x/block/new.txt", intel.Watch, intel.Watch, "list:watch/new.txt"},
		{"/x/new.txt", 0, 0, ""},
	} {
		f, err := FileAt(c.path, c.given)
		if (err == nil) != (c.want != 0) || f.Disposition != c.want || f.Source != c.source || err == nil && f.Name != c.path {
			t.Errorf("%s: got %+v, %v", c.path, f, err)
		}
	}
}

func TestRealListsAreRead(t *testing.T) {
	dir := samples(t, "feeds/lists")
	for name, want := range map[string]int{
		"ipsum_l3.txt":                    14217,
		"disposable_email_blocklist.conf": 8335,
	} {
		f, err := FileAt(filepath.Join(dir, name), intel.Block)
		if err != nil {
			t.Fatal(err)
		}
		if n, problems := f.Check(Options{}); n != want || len(problems) > 0 {
			t.Errorf("%s: %d entries, want %d; %v", name, n, want, problems)
		}
	}
	// A list in a syntax of its own: what is an entry here as well is read, the
	// rest gets a problem with a cure.
	f, err := FileAt(filepath.Join(dir, "maltrail_elf_mirai.txt"), intel.Block)
	if err != nil {
		t.Fatal(err)
	}
	n, problems := f.Check(Options{MaxProblems: 1_000_000})
	for _, p := range problems {
		if p.Line == 0 || p.Column == 0 || p.Reason == "" || p.Cure == "" {
			t.Fatalf("%+v", p)
		}
	}
	if n < 6000 || len(problems) == 0 {
		t.Errorf("%d entries, %d problems", n, len(problems))
	}
}

// samples gives a folder of real material that lies beside the repository.
func samples(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.mod above this package: the samples cannot be found")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "samples", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real lists are not there: %v", err)
	}
	return path
}
