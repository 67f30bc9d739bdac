package intel

import (
	"regexp"
	"strings"
	"testing"
)

func TestDefangedTextIsReadAsItWasMeant(t *testing.T) {
	for text, want := range map[string]string{
		"hxxp://evil.example/":             "http://evil.example/",
		"hXXps://evil[.]example/pay":       "https://evil.example/pay",
		"HXXP://evil.example":              "http://evil.example",
		"h**p://evil.example":              "http://evil.example",
		"h__ps://evil.example":             "https://evil.example",
		"htxp://evil.example":              "http://evil.example",
		"xxxxs://evil.example":             "https://evil.example",
		"fxp://evil.example":               "ftp://evil.example",
		"hxxp[:]//evil.example":            "http://evil.example",
		"hxxps[://]evil{.}example":         "https://evil.example",
		"http(:)//evil(.)example":          "http://evil.example",
		"hxxp:[//]evil[.]example[/]pay":    "http://evil.example/pay",
		"www[.]evil[.]example":             "www.evil.example",
		"evil(dot)example":                 "evil.example",
		"evil[DOT]example{dot}com/x[Dot]y": "evil.example.com/x.y",
		"fraud[at]evil[.]example":          "fraud@evil.example",
		"fraud(@)evil(dot)example":         "fraud@evil.example",
		"192[.]0[.]2[.]5":                  "192.0.2.5",
		"192[.]0[.]2[.]5[:]8080":           "192.0.2.5:8080",
	} {
		if got := Refang(text); got != want {
			t.Errorf("Refang(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestTextThatIsNotDefangedStaysAsItIs(t *testing.T) {
	for _, text := range []string{
		"", "evil.example", "http://evil.example/a(b)[c]{d}", "http://[2001:db8::1]:8080/", "[::1]", "44d88612fea8a8f36de82e1278abb02f", "10.0.0.0/8", "ceo@evil.example",
		"hxxp", "hxxp.example", "hxxp.example/x", "evil dot example", "evil[.example", "evil.]example", `evil\.example`, "[dotted]", "(at least)", "[.)x", "[", "[]", "[.", "x[do]y", "f(dots)", "xxxxx://evil.example", "hxp://evil.example", "mhxxp://x", "fxps://x", "(:x",
	} {
		if got := Refang(text); got != text {
			t.Errorf("Refang(%q) = %q", text, got)
		}
	}
}

func TestNothingIsALinkInDefangedText(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"https://evil.example/a.php?x=1.5":  "https[:]//evil[.]example/a[.]php?x=1[.]5",
		".evil.example":                     ".evil[.]example",
		"boss@evil.example":                 "boss@evil[.]example",
		"198.51.100.0/24":                   "198[.]51[.]100[.]0/24",
		"http://[2001:db8::1]:8080/":        "http[:]//[2001:db8::1]:8080/",
		"évil\u3002example bäd.exämple":     "évil[.]example bäd[.]exämple",
		"It is. No, it is not... see ./x .": "It is. No, it is not... see ./x .",
		"44d88612fea8a8f36de82e1278abb02f":  "44d88612fea8a8f36de82e1278abb02f",
		"smb://a file:///b a\xff.b":         "smb[:]//a file[:]///b a\xff[.]b",
	} {
		got := Defang(text)
		if got != want {
			t.Errorf("Defang(%q) = %q, want %q", text, got, want)
		}
		if again := Defang(got); again != got {
			t.Errorf("%q again is %q", got, again)
		}
	}
	for _, word := range []string{"https://evil.example/a.php?x=1.5", ".evil.example", "boss@evil.example", "ftp://a.b.example", "198.51.100.0/24", "url:evil.example/pay"} {
		if got := Refang(Defang(word)); got != word {
			t.Errorf("%q comes back as %q", word, got)
		}
	}
}

// leftDefanged says by how it is written what others undo and we don't, and why.
var leftDefanged = map[string]*regexp.Regexp{
	"words, and marks, between spaces are prose":                                     regexp.MustCompile(`(?i) (dot|at|@|[\[(](at|et)[\])])  ?| @  ?\w`),
	"letters within a word could be anything":                                        regexp.MustCompile(`DOTcom|fooAT`),
	"words of other languages were not seen in lists":                                regexp.MustCompile(`(?i)arroba|punkt|[\[(]et[\])]`),
	"a bracket on one side is how code and people abbreviate":                        regexp.MustCompile(`\w\[\.|\.\[\w|\]\.|\.\]\w`),
	"a backslash is a regular expression or a slash":                                 regexp.MustCompile(`\\[./]`),
	"somebody made it up once":                                                       regexp.MustCompile(`\^|\[-\]|[\[(](www|https?)[\])]|(?i)xxxxx:|https?[!@&]:|http[A]:`),
	"a link that lacks a slash or has a space is for the link finder, or for nobody": regexp.MustCompile(`https? ?:?/// ?|https?:?// |https?//|https? :`),
	"brackets around a link belong to the sentence":                                  regexp.MustCompile(`[(\[](https?:|www\.example)`),
}

func TestDefangedVectors(t *testing.T) {
	type pair struct{ Input, Expect string }
	undone, left := 0, 0
	for _, vec := range sampleLines[pair](t, "url", "ioc_fanger_fang.jsonl") {
		// A vector is a text; we read a word at a time.
		words := strings.Fields(vec.Input)
		for i, word := range words {
			words[i] = Refang(word)
		}
		got, want := strings.Join(words, " "), strings.Join(strings.Fields(vec.Expect), " ")
		if got == want {
			undone++
			continue
		}
		left++
		explained := false
		for _, written := range leftDefanged {
			explained = explained || written.MatchString(vec.Input)
		}
		if !explained {
			t.Errorf("%q: got %q, want %q", vec.Input, got, want)
		}
	}
	if undone < 19 {
		t.Errorf("%d vectors come out as they should, %d are left alone", undone, left)
	}
}

func FuzzRefang(f *testing.F) {
	for _, text := range []string{"hxxps[://]evil[.]example", "a[dot]b(at)c{.}d", "[[.]]", "h**p:", "[.][.][.]", "(dot", "{:}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Refang(text)
		if len(got) > len(text) {
			t.Fatalf("%q grows to %q", text, got)
		}
		if !strings.ContainsAny(text, "[({:") && got != text {
			t.Fatalf("%q becomes %q", text, got)
		}
		mark, n := DefangMark(text)
		mark2, n2 := DefangMark([]byte(text))
		if mark != mark2 || n != n2 || n > len(text) || (n == 0) != (mark == "") {
			t.Fatalf("%q: mark %q, %d; %q, %d", text, mark, n, mark2, n2)
		}
	})
}
