package links

import (
	stdhtml "html"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/weirmail/weir/intel"
)

// collect gives all links of an extraction.
func collect(extract func([]byte, Options, func(Found) bool), text string) []Found {
	var all []Found
	extract([]byte(text), Options{}, func(f Found) bool {
		all = append(all, f)
		return true
	})
	return all
}

// checkFound checks what holds for every link, whatever the text was.
func checkFound(t *testing.T, text string, all []Found) {
	t.Helper()
	for _, f := range all {
		again, err := intel.URL(f.Value.String())
		switch {
		case f.Value.Kind() != intel.KindURL, err != nil, again != f.Value:
			t.Fatalf("%q: %+v: no canonical URL, %v", text, f, err)
		case f.Where == "", strings.ContainsFunc(f.Where, func(r rune) bool { return r <= ' ' || r > '~' }), len(f.Where) > 64:
			t.Fatalf("%q: %+v: odd place", text, f)
		case len(f.Raw) > intel.MaxURL, len(f.Text) > maxText, utf8.ValidString(text) && !utf8.ValidString(f.Text):
			t.Fatalf("%q: %+v: out of bounds", text, f)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{
		"see http://a.example/x, <https://b.example/y\r\nz> (www.example.com/(a)) bob@example.com. example.org", "hxxp[://]evil[.]example[.]com/a[dot]b user[at]x[.]com", "访问example.com请点击 http://example.com请",
		"http://a.example/?u=https%3A%2F%2Fb.example%2F&v=aHR0cDovL2MuZXhhbXBsZS8", "a.b@c.d/e..f:80 [.]x(.)y{.}z", "1.2.3.4:80/x http://[::1]:80/]", "https://urldefense.com/v3/__http://x.example/**Aa*__;w60j!!x$",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all := collect(Text, text)
		checkFound(t, text, all)
		// A link with a scheme between spaces is found, whatever else is.
		for _, word := range strings.Fields(text) {
			if !plainLink(word) {
				continue
			}
			v, err := intel.URL(word)
			if err == nil && !contains(all, v) {
				t.Fatalf("%q: %q not found in %+v", text, word, all)
			}
		}
	})
}

// plainLink reports that nobody could take word for anything but one link.
func plainLink(word string) bool {
	rest, ok := strings.CutPrefix(word, "http://")
	if !ok {
		rest, ok = strings.CutPrefix(word, "https://")
	}
	for i := range len(rest) {
		if c := rest[i]; !isAlnum(c) && strings.IndexByte("/=%-", c) < 0 && (c != '.' && c != '?' || i+1 == len(rest)) {
			return false
		}
	}
	return ok && rest != ""
}

func contains(all []Found, v intel.Value) bool {
	for _, f := range all {
		if f.Value == v {
			return true
		}
	}
	return false
}

func FuzzHTML(f *testing.F) {
	for _, text := range []string{
		`<p>Hi <a href="http://a.example/?a=1&amp;b=2">there</a> <img src=//b.example/x.gif>`, `<a/href=http://a.example/x><a HREF = 'java&#115;cript:"http://b.example"'>`, `<base href=http://a.example/b/><a href=c><form action="?q">`,
		`<!--[if mso]><v:rect href="http://a.example/"><![endif]--><!-- <a href="http://b.example/"> --!> <![if !mso]>`, `<style>@import "http://a.example";a{b:\75rl(http://b.example)}</style><b style="background:url('//c.example')">`,
		`<script>"http://a.example"<!--<script></script>--></script><a href=http://b.example>`, `<title><a href="</title><a href="http://a.example/">`, `<a href="http://a.example/x>y</a><b c='>`, `<a href="data:text/html;base64,PGEgaHJlZj1odHRwOi8vYQ==">`,
		`<textarea></textarea x><noscript><plaintext><xmp></xmp><iframe srcdoc="<a href=http://a.example>">`, `<img srcset="http://a.example 1x, http://b.example 2x" alt="<"><meta content="0;url='http://c.example'">`, "<a href=\"ht\ntp&colon;//a\x00.example&#x2f\">&notit;&amp",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkHTML(t, text) })
}

// FuzzHTMLPieces puts documents together from what is hard about HTML, so that
// the quotes, comments and raw texts of a few bytes of input nest in all ways.
func FuzzHTMLPieces(f *testing.F) {
	pieces := []string{
		`<a href="http://0.example/">`, `<a href='http://1.example/'`, `<a href=http://2.example/>`, `<b x="`, `<b x='`, `"`, `'`, `>`, `<`, `/`, `=`, " ", "<!--", "-->", "--!>", "<!-->", "<![if x]>", "<![endif]-->", "<!--[if mso]>",
		"<script>", "</script>", "<style>", "</style>", "<title>", "</title>", "<textarea>", "</textarea>", "<xmp>", "</xmp>", "<noscript>", "</noscript>", "<iframe>", "</iframe>", "<plaintext>", "<noframes>", "</noframes>", "<noembed>", "</noembed>",
		"</a>", "<br/>", "<?x", "<!DOCTYPE x>", "<![CDATA[", "]]>", "&quot;", "&#39;", "&lt;", "text", "<base href=http://3.example/>", "<p>", "</", "</a x='", "`", "\x00", "\n",
	}
	f.Add([]byte{3, 0, 20, 5, 0})
	f.Add([]byte{19, 12, 19, 20, 3, 13, 20, 0})
	f.Add([]byte{23, 3, 24, 0, 12, 0, 25, 4, 26, 1, 7})
	f.Fuzz(func(t *testing.T, choice []byte) {
		var text strings.Builder
		for _, c := range choice[:min(len(choice), 64)] {
			text.WriteString(pieces[int(c)%len(pieces)])
		}
		checkHTML(t, text.String())
	})
}

// checkHTML checks that of the links that another tokenizer finds none is missing.
func checkHTML(t *testing.T, text string) {
	all := collect(HTML, text)
	checkFound(t, text, all)
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		for _, a := range z.Token().Attr {
			if a.Key != "href" {
				continue
			}
			link := a.Val
			if strings.Contains(text, "\x00") && strings.Contains(link, "\ufffd") {
				continue // it was a NUL, which we drop
			}
			if scheme, _, ok := strings.Cut(strings.TrimLeft(strings.ToLower(link), " \r\n\t"), ":"); !ok || scheme != "http" && scheme != "https" {
				continue
			}
			if v, err := intel.URL(link); err == nil && !contains(all, v) {
				t.Fatalf("%q: href %q, %v, not found in %+v", text, a.Val, v, all)
			}
		}
	}
}

func FuzzEntities(f *testing.F) {
	for _, text := range []string{"&amp;&lt&#x41;&#65&#0;&#x110000;&#128;", "&notit;&copy=2&copyx&semi;&;&#;&#x;&", "&ampamp;&CounterClockwiseContourIntegral;&zwnj;&zwnj&nbsp"} {
		f.Add(text)
	}
	odd := regexp.MustCompile(`&#([xX]([^0-9a-fA-F]|$)|[0-9]([^0-9;]|$)|[xX]?[0-9a-fA-F]{8})`)
	f.Fuzz(func(t *testing.T, text string) {
		got := appendDecoded(nil, []byte(text), false)
		if odd.MatchString(text) {
			return // where the libraries miss the standard: no hex digits are none, one digit is enough, more bits than 32 are too large
		}
		if want := stdhtml.UnescapeString(text); string(got) != want {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
		if strings.ContainsAny(text, "\"\r\x00") {
			return // these end an attribute or change in it
		}
		z := html.NewTokenizer(strings.NewReader(`<a b="` + text + `">`))
		z.Next()
		_, want, _ := z.TagAttr()
		if got := appendDecoded(nil, []byte(text), true); string(got) != string(want) {
			t.Fatalf("attribute %q: got %q, want %q", text, got, want)
		}
	})
}
