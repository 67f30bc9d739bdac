package term

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTextFromMailDoesNothingToATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"Your invoice":           "Your invoice",
		"Überweisung 日本 🙂":       "Überweisung 日本 🙂",
		"a\x1b[2Jb":              `a\x1b[2Jb`,
		"\x1b]0;title\x07":       `\x1b]0;title\x07`,
		"\u009b31m":              `\u009b31m`, // CSI in one character
		"a\r\nX: y":              `a\r\nX: y`,
		"tab\tnul\x00del\x7f":    `tab\tnul\x00del\x7f`,
		"exe\u202efdp.txt":       `exe\u202efdp.txt`,
		"a\u2066b\u2069":         `a\u2066b\u2069`,
		"zero\u200bwidth\ufeff":  `zero\u200bwidth\ufeff`,
		"line\u2028sep\u2029":    `line\u2028sep\u2029`,
		"\xff\xc3(":              `\xff\xc3(`,
		"tag\U000e0041":          `tag\U000e0041`,
		"filler\u3164":           `filler\u3164`,
		"e\u0301":                "e\u0301",
		"e" + marks(6):           "e" + marks(4) + `\u0301\u0301`,
		`C:\new`:                 `C:\\new`, // not a line feed
		`C:\dir`:                 `C:\dir`,
		`\\host`:                 `\\\host`,
		"\u00a0\u3000":           "\u00a0\u3000",
		"\U0010ffff\ue000\u0378": `\U0010ffff\ue000\u0378`,
	} {
		if got := Line(in); got != want {
			t.Errorf("%q is printed as %q, want %q", in, got, want)
		}
	}
	if got := Text("a\r\nb\tc\rd\x1b"); got != "a\nb\tc\\rd\\x1b" {
		t.Errorf("%q", got)
	}
}

func marks(n int) string { return strings.Repeat("\u0301", n) }

func FuzzLine(f *testing.F) {
	for _, s := range []string{"a\x1b[2J", "\xff\u202e", `\x1b\`, "e\u0301\u0301\u0301\u0301\u0301\u0301", "\ufffd\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := Line(s)
		if !utf8.ValidString(line) {
			t.Fatalf("%q is not UTF-8", line)
		}
		for _, r := range line {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) || r == '\n' {
				t.Fatalf("%q has %U", line, r)
			}
		}
		for _, r := range strings.NewReplacer("\n", "", "\t", "").Replace(Text(s)) {
			if unicode.In(r, unicode.Cc, unicode.Cf) {
				t.Fatalf("the text has %U", r)
			}
		}
		// Nothing is lost: who unescapes has what was there.
		if back, err := strconv.Unquote(`"` + escapeRest(line) + `"`); err == nil && back != s {
			t.Fatalf("%q came back as %q", s, back)
		}
		if cut := Cut(line, 10); Width(cut) > 10 {
			t.Fatalf("%q takes %d cells", cut, Width(cut))
		}
	})
}

// escapeRest makes what Line gave a Go string: it leaves backslashes that begin
// nothing as they are.
func escapeRest(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '"':
			b.WriteString(`\"`)
		case line[i] != '\\':
			b.WriteByte(line[i])
		case i+1 < len(line) && strings.IndexByte(`nrtxuU\`, line[i+1]) >= 0:
			b.WriteString(line[i : i+2])
			i++
		default:
			b.WriteString(`\\`)
		}
	}
	return b.String()
}

func TestColumnsStandUnderEachOther(t *testing.T) {
	table := NewTable(1, "ID", "SUBJECT", "RULE")
	table.Row("01", "short", "a")
	table.Row("0123", "日本語 subject", "b")
	table.Row("02", "e\u0301vil\x1b[2J", "")
	var b bytes.Buffer
	if err := table.Write(&b, Screen{}, nil); err != nil {
		t.Fatal(err)
	}
	want := "ID    SUBJECT         RULE\n01    short           a\n0123  日本語 subject  b\n02    e\u0301vil\\x1b[2J\n"
	if b.String() != want {
		t.Errorf("\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	narrow := NewTable(1, "ID", "SUBJECT", "RULE")
	narrow.Row("01", strings.Repeat("日", 20), "rule")
	if err := narrow.Write(&b, Screen{Columns: 30}, nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if Width(strings.TrimSpace(line)) > 30 {
			t.Errorf("%q is too wide", line)
		}
	}
	if !strings.Contains(b.String(), "…") || !strings.Contains(b.String(), "rule") {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	wide := NewTable(1, "ID", "SUBJECT", "RECIPIENT", "RULE")
	wide.Row("01", "subject", strings.Repeat("x", 998), "rule")
	if err := wide.Write(&b, Screen{Columns: 80}, nil); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if Width(strings.TrimSpace(line)) > 80 || !strings.Contains(b.String(), "rule") {
			t.Errorf("%q is too wide", line)
		}
	}
}

func TestOnlyTerminalsGetColours(t *testing.T) {
	none := func(string) string { return "" }
	if s := Look(&bytes.Buffer{}, none); s.Terminal || s.Bad("x") != "x" {
		t.Error("a buffer is a terminal")
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if s := Look(f, none); s.Terminal {
		t.Error("/dev/null is a terminal")
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer func() { _ = master.Close() }()
	s := Look(master, none)
	if !s.Terminal || s.Bad("x") != "\x1b[31mx\x1b[0m" || s.Good("") != "" {
		t.Errorf("%+v", s)
	}
	for name, value := range map[string]string{"NO_COLOR": "1", "TERM": "dumb"} {
		s := Look(master, func(n string) string {
			if n == name {
				return value
			}
			return ""
		})
		if !s.Terminal || s.Bad("x") != "x" {
			t.Errorf("with %s=%s: %+v", name, value, s)
		}
	}
}
