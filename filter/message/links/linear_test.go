package links

import (
	"fmt"
	"strings"
	"testing"
)

// hostile holds shapes that make careless scanners look at the same bytes again
// and again. Each is repeated until it fills the text.
var hostile = []string{
	"<", "<a", "<a ", "</", "</a", "<!", "<?", `<a href="`, `<a href='`, `<a href=`, `<a href="x`, `<a href="http://a.example/`, `"<a href='`, `<a x="<`, "<a'", "<!--", "<!-- --", "<!--><!--", "<!-- -->", "--!>", "<!-- --!>", "<!--[if ", "<!--[if x]>",
	"<title>", "<title></title>", "<title><!--", "<!--<title>", "<style>", "<style></style>", "<style>url(", "<script>", "<script></script>", "<script><!--<script>", "<script><!--<script></script>", "<script><!--", "<textarea><title><xmp><iframe><noembed>",
	"</title", "<svg><title><!--[if x]><xmp>", "<a href=x><b>", "<a href=http://a.example>x</a>", "<base href=http://a.example/>", "<base href=http://a.example/><a href=x>", "<img srcset='", "<img srcset='a,b ", "<meta content='0;url=", "<p style='url(",
	`<a href="data:text/html,`, `<iframe srcdoc="`, "&", "&#", "&#x", "&#0", "&amp", "&a", "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "<a x='&", "<a x='&#x",
	"http://", "http:", ":", "://", "http://a", "http://a.example/", "http://a.example,", "<http://a.example/\n", "<http://a.example/\n>", "<http://a\nb", "http://a(", "http://a)", "http://a.example/(", "http://a.example/)", "(", ")", "[", "{[(", "www.", "www.a", ".", "a.", "a.b", "a.b@", "@a.b", "a.b/", "a.com/x_._.", "_.", "-.",
	"[.]", "a[.]", "[.]a", "a(dot)", "a[at]", "a[at]b.com", "[:]//", "hxxp[:]//", "hxxp[://]a", "hxxp", "x:", "访", "访.", "a访.com", "http://a访", "。", "\u200b.", "\xff", "\xe8.",
	"http://a.example/?u=http://", "http://a.example/?u=http://b.example/&", "/http://", "/http%3A%2F%2F", "=https%253A%252F%252F", "=aHR0c", "/aHR0cDovL2EuYi8", "http://a.example/http://%zz/", "/v3/__http://a.example__;", "__;*", "%25", "../", "\\",
	"@import '", "url(", "url('", "'", `\75`, "\\", "\"http://", "javascript:", "data:text/html,", " ", "\n", "\x00",
	"aHR0c", "aHR0c;", "aHR0cDovL2EuYi8;", `\x68`, `\u{`, `\u{68}`, "%u0068", "&#x68;", "=//a.com", "=//a.com&", "=%2f%2f", "/amp/s/a.com", "/%68ttp:", "=%68ttp://a.b/&", "=h%", "=%2568ttp",
	"<animate values='//a;'>", "<a x:href=//a.com>", "<?xml-", "<!DOCTYPE [", "<a href=feed://a.com>", `<a href='x:\\y'>`, "<iframe srcdoc='<a href=x>'>", "<style>&</style>",
}

// workOf gives the bytes that an extraction from n bytes of the shape looks at.
func workOf(shape, prefix string, n int, html bool) int {
	text := []byte(prefix + strings.Repeat(shape, n/len(shape)))
	f := newFinder(Options{}, func(Found) bool { return true })
	if html {
		f.html(text, "")
	} else {
		f.words(text, "text", allLinks)
	}
	return f.work
}

func TestWorkGrowsNoFasterThanTheText(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	const n = 1 << 12
	for _, shape := range hostile {
		for _, prefix := range []string{"", "http://x.example/", `<a href="http://x.example/`, "<style>", `<p style="`, "<!--", `<a href="javascript:`, `<a href="data:text/html,`, `<img srcset="`, "<script>"} {
			for _, html := range []bool{false, true} {
				once, twice := workOf(shape, prefix, n, html), workOf(shape, prefix, 2*n, html)
				// Twice the text may cost twice the work, and a little for what begins only then.
				if twice > 2*once+once/4+1024 || once > 64*n {
					t.Errorf("%q after %q (HTML %v): %d bytes looked at for %d, %d for twice that", shape, prefix, html, once, n, twice)
				}
			}
		}
	}
}

func TestALongBaseDoesNotMakeEachRelativeLinkLong(t *testing.T) {
	var prefix strings.Builder
	for i := range maxBases {
		fmt.Fprintf(&prefix, "<base href=http://%d.example/%s/>", i, strings.Repeat("x/", 4000))
	}
	const n = 1 << 14
	if work := workOf("<img src=x>", prefix.String(), n, true); work > 512*n {
		t.Errorf("%d bytes looked at for %d", work, n+prefix.Len())
	}
}

// What the counter may miss would show here by never ending.
func TestHostileTextComesToAnEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	for _, shape := range hostile {
		for _, html := range []bool{false, true} {
			workOf(shape, "", 1<<18, html)
		}
	}
}
