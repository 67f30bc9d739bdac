package list

import (
	"bytes"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/weirmail/weir/intel"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

func TestFormatHasOneWayToWriteAList(t *testing.T) {
	in := "\ufeff\r\n  # heading  \r\n\r\n\r\n" +
		"hxxp://Evil[.]example/x\t note=\"two words\" id=\"T-1\"   in=url  #why\r\n" +
		"  evil.example\n" +
		"/a b\\/c/i   in=subject\n" +
		"x.example note=\"a \\\"quote\\\" \\\\ \"\n" +
		"y.example note=\"#1\"\n" +
		"\n\n"
	want := "# heading\n\n" +
		"hxxp://Evil[.]example/x in=url id=T-1 note=\"two words\"  #why\n" +
		"evil.example\n" +
		"/a b\\/c/i in=subject\n" +
		"x.example note=\"a \\\"quote\\\" \\\\ \"\n" +
		"y.example note=#1\n"
	got, err := Format(strings.NewReader(in), block)
	if err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestListWithProblemsIsNotFormatted(t *testing.T) {
	got, err := Format(strings.NewReader("evil..example\nx.example y\n"), block)
	if got != nil || err == nil || strings.Count(err.Error(), "block/local.txt:") != 2 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLineAtItsLimitIsLeftAlone(t *testing.T) {
	in := "evil.example #" + strings.Repeat("x", MaxLine-14) + "\n"
	got, err := Format(strings.NewReader(in), block)
	if err != nil || string(got) != in {
		t.Errorf("%v, %d bytes", err, len(got))
	}
}

// sameEntries compares what two files say, lines and places aside.
func sameEntries(a, b []Entry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		x.Line, x.Column, y.Line, y.Column = 0, 0, 0, 0
		if !bytes.Equal(x.Pattern.AppendKey(nil), y.Pattern.AppendKey(nil)) {
			return false
		}
		x.Pattern, y.Pattern = intel.Pattern{}, intel.Pattern{}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

func FuzzListFilesAreReadAndFormatted(f *testing.F) {
	f.Add([]byte("\ufeff# c\r\nevil[.]example in=url note=\"a \\\" b\" # x\n/a\\/b/i in=subject\nhttps://evil.example/a*\n"))
	f.Add([]byte("198.51.100.0/24 until=2026-12-31\n<>\n.x.example action=hold\n\n\n44d88612fea8a8f36de82e1278abb02f\n"))
	f.Add([]byte("domain:localhost dir=inbound id=\"\\\\\"\nurl:x.example/y campaign=z\n||ads^\nhost:1.2.3.4 x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o := Options{File: "f", Disposition: intel.Block, Source: "list:f", MaxProblems: 10}
		entries, problems := readAll(string(data), o)
		if len(problems) > 11 {
			t.Fatalf("%d problems", len(problems))
		}
		for _, e := range entries {
			if e.Line == 0 || e.Column == 0 || e.Source != "list:f" || e.Text == "" {
				t.Fatalf("incomplete: %+v", e)
			}
			checkPattern(t, e.Pattern)
		}
		formatted, err := Format(bytes.NewReader(data), o)
		if (err == nil) != (len(problems) == 0) {
			t.Fatalf("problems %q, Format says %v", problems, err)
		}
		if err != nil {
			return
		}
		again, problems := readAll(string(formatted), o)
		if len(problems) > 0 || !sameEntries(entries, again) {
			t.Fatalf("formatting changed the list: %q\nfrom %q\nto   %q", problems, data, formatted)
		}
		twice, err := Format(bytes.NewReader(formatted), o)
		if err != nil || !bytes.Equal(twice, formatted) {
			t.Fatalf("formatting is not idempotent: %v\n%q\n%q", err, formatted, twice)
		}
	})
}

// checkPattern checks that a pattern survives its key, and that its own text
// names it.
func checkPattern(t *testing.T, p intel.Pattern) {
	t.Helper()
	key := p.AppendKey(nil)
	scheme := strings.TrimSuffix(p.Text(), p.MatchText())
	back, err := intel.PatternFromKey(key, scheme)
	if err != nil || back.String() != p.String() || !bytes.Equal(back.AppendKey(nil), key) {
		t.Fatalf("%s comes back from its key as %s, %v", p, back, err)
	}
	text := p.String()
	if p.Kind() != intel.KindURL && intel.Refang(text) != text {
		return // it can only be written defanged
	}
	if p.Form() == intel.FormRegexp {
		text += " in="
		for i, field := range p.Fields() {
			if i > 0 {
				text += ","
			}
			text += string(field)
		}
	} else {
		text = p.Kind().String() + ":" + text
	}
	again, problems := readAll(text, block)
	if len(problems) > 0 || len(again) != 1 || !bytes.Equal(again[0].Pattern.AppendKey(nil), key) {
		t.Fatalf("%q is not read as itself: %q", text, problems)
	}
}
