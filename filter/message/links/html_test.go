package links

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// places gives links as "where value" or, with a text, "where value (text)".
func places(all []Found) []string {
	var list []string
	for _, f := range all {
		line := f.Where + " " + f.Value.String()
		if f.Text != "" {
			line += " (" + f.Text + ")"
		}
		list = append(list, line)
	}
	return list
}

type htmlTest struct {
	name, text string
	want       []string
}

func runHTML(t *testing.T, tests []htmlTest) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := places(collect(HTML, tt.text)); !slices.Equal(got, tt.want) {
				t.Errorf("%s\n got %q\nwant %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestLinksInAttributes(t *testing.T) {
	tests := []htmlTest{
		{"quoted", `<a href="http://a.example/x">y</a>`, []string{"a@href http://a.example/x (y)"}},
		{"quoted once", `<a href='http://a.example/x'>y</a>`, []string{"a@href http://a.example/x (y)"}},
		{"unquoted", `<a href=http://a.example/x>y</a>`, []string{"a@href http://a.example/x (y)"}},
		{"in capitals, with spaces", "<A\n HREF \t=\r\n \"http://a.example/x\" >y</A >", []string{"a@href http://a.example/x (y)"}},
		{"with slashes for spaces", `<a/href=http://a.example/x/ title=y/>z</a>`, []string{"a@href http://a.example/x/ (z)"}},
		{"without a space after a quote", `<a title="y"href="http://a.example/x"class='z'>y</a>`, []string{"a@href http://a.example/x (y)"}},
		{"with a > in it", `<a title=">" href="http://a.example/?x=>">y</a>`, []string{"a@href http://a.example/?x=> (y)"}},
		{"given twice", `<a href="http://a.example/" href="http://b.example/">y</a>`, []string{"a@href http://b.example/", "a@href http://a.example/ (y)"}},
		{"the first of no use", `<a href="#" href="http://b.example/">y</a>`, []string{"a@href http://b.example/ (y)"}},
		{"empty", `<a href><a href=><a href=""><a href="#top"><a href= >`, nil},
		{"with spaces around it", `<a href=" http://a.example/x ">y</a>`, []string{"a@href http://a.example/x (y)"}},
		{"with line ends in it", "<a href=\"ht\ntp\r://a.exa\tmple/x\">y</a>", []string{"a@href http://a.example/x (y)"}},
		{"with NUL in it", "<a href=\"ht\x00tp://a.exa\x00mple/x\">y</a>", []string{"a@href http://a.example/x (y)"}},
		{"with character references", `<a href="&#104;&#x74;t&#0112&colon;&sol;&#x2f;a.example/?a=1&amp;b=2&copy=3&lt=4&amp;lt;">y</a>`, []string{"a@href http://a.example/?a=1&b=2&copy=3&lt=4&lt; (y)"}},
		{"with escapes", `<a href="http://%61.example/%2e%2e/x">y</a>`, []string{"a@href http://a.example/x (y)"}},
		{"without slashes", `<a href="https:a.example/x"><a href="http:/b.example"><a href="http:\\c.example\x">y</a>`, []string{"a@href https://a.example/x", "a@href http://b.example/", "a@href http://c.example/x (y)"}},
		{"without a scheme", `<a href="//a.example/x"><a href="www.example.com/x"><a href="example.com/x"><a href="example.com:8080"><a href="\\a.example\x">y</a>`,
			[]string{"a@href https://a.example/x", "a@href http://www.example.com/x", "a@href http://example.com/x", "a@href http://example.com:8080/", "a@href file://a.example/x (y)", "a@href https://a.example/x (y)"}},
		{"relative without a base", `<a href="x.html"><a href="/x"><a href="../x"><a href="?x"><img src="logo.png"><a href="script.pl?x"><a href="example">y</a>`, []string{"a@href http://script.pl/?x"}},
		{"that are none", `<a href="mailto:bob@example.com"><a href="tel:1"><img src="cid:x@example.com"><a href="about:blank"><a href="http://"><a href="http:///"><a href="{{url}}">y</a>`, nil},
		{"after leftovers", `<a href="{{x}}http://a.example/x"><a href="3D&quot;http://b.example/x&quot;">y</a>`, []string{"a@href http://a.example/x", "a@href http://b.example/x"}},
		{"defanged", `<a href="hxxps://a[.]example/x">y</a>`, []string{"a@href https://a.example/x (y)"}},
		{"of applications", `<a href="ms-word:ofe|u|https://a.example/x.docx"><a href="intent:x">y</a>`, []string{"a@href https://a.example/x.docx"}},
		{"to scripts", `<a href="javascript:location='http://a.example/x'"><a href="JaVa&Tab;Script:open(&quot;http%3A//b.example/x&quot;)">y</a>`, []string{"script http://a.example/x", "script http://b.example/x"}},
		{"of elements", `<area href=http://1.example><link href=http://2.example rel=x><img src=http://3.example><form action=http://4.example><button formaction=http://5.example><body background=http://6.example>` +
			`<video poster=http://7.example><object data=http://8.example><q cite=http://9.example><img longdesc=http://10.example><img lowsrc=http://11.example dynsrc=http://12.example><a ping="http://13.example http://14.example">` +
			`<svg><image xlink:href=http://15.example><v:rect href=http://16.example><v:imagedata src=http://17.example o:href=http://18.example><a originalsrc=http://19.example><td background=http://20.example><table background=http://21.example>`,
			[]string{"area@href http://1.example/", "link@href http://2.example/", "img@src http://3.example/", "form@action http://4.example/", "button@formaction http://5.example/", "body@background http://6.example/",
				"video@poster http://7.example/", "object@data http://8.example/", "q@cite http://9.example/", "img@longdesc http://10.example/", "img@lowsrc http://11.example/", "img@dynsrc http://12.example/", "a@ping http://13.example/", "a@ping http://14.example/",
				"image@xlink:href http://15.example/", "v:rect@href http://16.example/", "v:imagedata@src http://17.example/", "v:imagedata@o:href http://18.example/", "a@originalsrc http://19.example/", "td@background http://20.example/", "table@background http://21.example/"}},
		{"of other names", `<a data-href="http://a.example" xmlns="http://b.example" title="http://c.example" hrefx="http://d.example">y</a>`, nil},
		{"of events", `<a onclick="location='http://a.example/x'">y</a>`, []string{"script http://a.example/x"}},
		{"of odd elements", "<a\x7f\u00e9\"<b href=http://a.example/x>", []string{"a_____b@href http://a.example/x", "tag http://a.example/x"}},
		{"of a long name", `<` + strings.Repeat("x", 100) + ` href=http://a.example>`, []string{strings.Repeat("x", 32) + "@href http://a.example/"}},
		{"in a set", `<img srcset="http://a.example/1 1x, http://b.example/2,3 2x , http://c.example/4,http://d.example"><link imagesrcset="//e.example">`,
			[]string{"img@srcset http://a.example/1", "img@srcset http://b.example/2,3", "img@srcset http://c.example/4,http:/d.example", "link@imagesrcset https://e.example/"}},
		{"in end tags", `</a href="http://a.example/">`, nil},
	}
	runHTML(t, tests)
}

func TestLinksOfARefresh(t *testing.T) {
	for content, want := range map[string]string{
		"0;url=http://a.example/x": "http://a.example/x", " 5 ; URL = 'http://a.example/x' y": "http://a.example/x", `0,url="http://a.example/x`: "http://a.example/x", "0;http://a.example/x": "http://a.example/x", "0 http://a.example/x": "http://a.example/x",
		";url=http://a.example/x": "http://a.example/x", "0.5; url='": "", "0": "", "": "", "text/html; charset=utf-8": "", "width=device-width, initial-scale=1": "", "http://a.example/x": "http://a.example/x", "0;url=//a.example/x": "https://a.example/x",
	} {
		var places []string
		if want != "" {
			places = []string{"meta@content " + want}
		}
		runHTML(t, []htmlTest{{content, `<meta content="` + strings.ReplaceAll(content, `"`, "&quot;") + `" http-equiv=refresh>`, places}})
	}
}

func TestRelativeLinksGoByTheBaseWhereverItStands(t *testing.T) {
	runHTML(t, []htmlTest{
		{"before", `<base href="http://a.example/d/e?f#g"><a href="x">y</a><a href="/x">y</a><a href="?x">y</a><a href="../x">y</a><a href="//b.example">y</a><a href="http://c.example">y</a>`,
			[]string{"base@href http://a.example/d/e?f", "a@href http://a.example/d/x (y)", "a@href http://a.example/x (y)", "a@href http://a.example/d/e?x (y)", "a@href http://a.example/x (y)", "a@href http://b.example/ (y)", "a@href http://c.example/ (y)"}},
		{"after", `<img src="x.png"><base href="//a.example">`, []string{"img@src https://a.example/x.png", "base@href https://a.example/"}},
		{"several", `<base href="http://a.example"><base href="http://b.example/d/"><a href="x">y</a>`, []string{"base@href http://a.example/", "base@href http://b.example/d/", "a@href http://a.example/x (y)", "a@href http://b.example/d/x (y)"}},
		{"in a comment", `<!--<base href="http://a.example">--><a href="x">y</a>`, []string{"comment http://a.example/"}},
		{"in a conditional comment", `<!--[if mso]><base href="http://a.example"><![endif]--><a href="x">y</a>`, []string{"base@href http://a.example/", "a@href http://a.example/x (y)"}},
		{"of no use", `<base href="x/"><base target=_blank><base href="mailto:x@example.com"><a href="x">y</a>`, nil},
		{"of the same scheme", `<base href="https://a.example/d/"><a href="https:x">y</a>`, []string{"base@href https://a.example/d/", "a@href https://x/ (y)", "a@href https://a.example/d/x (y)"}},
		{"that some client does not know", `<base href="https://a.example/d/"><a href="www.example.com/x">y</a>`, []string{"base@href https://a.example/d/", "a@href https://a.example/d/www.example.com/x (y)", "a@href http://www.example.com/x (y)"}},
		{"around a document within", `<base href="http://a.example/d/"><iframe srcdoc="<a href=x>y</a><base href=//b.example>"></iframe>`,
			[]string{"base@href http://a.example/d/", "iframe@srcdoc/data http://a.example/d/x (y)", "iframe@srcdoc/data https://b.example/x (y)", "iframe@srcdoc/data http://b.example/", "iframe@srcdoc/data https://b.example/"}},
		{"and a share", `<base href="https://a.example/d/"><a href="\\b.example\x">y</a>`, []string{"base@href https://a.example/d/", "a@href https://b.example/x (y)", "a@href file://b.example/x (y)"}},
	})
	all := collect(HTML, `<base href=http://1.example><base href=http://1.example/><base href=http://2.example><base href=http://3.example><base href=http://4.example><base href=http://5.example><img src=x>`)
	if n := len(all) - 6; n != maxBases {
		t.Errorf("resolved against %d bases, want %d", n, maxBases)
	}
}

func TestRelativeLinksGoByWhatTheCallerSays(t *testing.T) {
	for base, want := range map[string][]string{
		"http://a.example/d/e": {"a@href http://a.example/d/x (y)"},
		" //a.example":         {"a@href https://a.example/x (y)"},
		"a.example/d/":         nil,
		"cid:x@a.example":      nil,
		"http://a.example/" + strings.Repeat("d/", 2000): {"a@href http://a.example/" + strings.Repeat("d/", (maxBase-len("http://a.example/"))/2) + "x (y)"},
	} {
		var all []Found
		HTML([]byte(`<a href="x">y</a>`), Options{Base: base}, func(f Found) bool {
			all = append(all, f)
			return true
		})
		if got := places(all); !slices.Equal(got, want) {
			t.Errorf("%.40s: got %.200q, want %.200q", base, got, want)
		}
	}
}

func TestTheTextOfALinkIsWhatTheReaderSees(t *testing.T) {
	for text, want := range map[string]string{
		`a <b>b</b>`:                         "a b",
		" \n a\t\n b &nbsp; c \u2003d ":      "a b c d",
		`https://bank.example`:               "https://bank.example",
		`<img alt="Log &amp; in" src="">`:    "Log & in",
		`<img alt="x"> go`:                   "go",
		`<img><img alt=" "><img alt="y z">`:  "y z",
		`&lt;b&gt;`:                          "<b>",
		"ba\u200bnk\u00ad.\u2060example\x07": "bank.example",
		`<!-- x -->a<!-- y -->`:              "a",
		`<script>x</script>a`:                "a",
		`<style>x</style>a`:                  "a",
		`<p>a</p><p>b</p>`:                   "ab",
		``:                                   "",
		`http://a.example/x`:                 "",
		"نامه\u200cای":                       "نامه\u200cای",
		strings.Repeat("é", 200):             strings.Repeat("é", 128),
		strings.Repeat("x", 255) + "é":       strings.Repeat("x", 255),
	} {
		all := collect(HTML, `before <a href="http://a.example/x">`+text+`</a> after`)
		i := slices.IndexFunc(all, func(f Found) bool { return f.Where == "a@href" })
		if i < 0 || all[i].Text != want {
			t.Errorf("%q: got %+v, want text %q", text, all, want)
		}
	}
	runHTML(t, []htmlTest{
		{"ends at the next", `<a href=http://a.example>x<a href=http://b.example>y</a>z`, []string{"a@href http://a.example/ (x)", "a@href http://b.example/ (y)"}},
		{"ends at one that is none", `<a href=http://a.example>x<a name=n>y</a>`, []string{"a@href http://a.example/ (x)"}},
		{"ends with the document", `<a href=http://a.example>x`, []string{"a@href http://a.example/ (x)"}},
		{"goes with each reading", `<base href=http://a.example><base href=http://b.example><a href=x>y</a>`, []string{"base@href http://a.example/", "base@href http://b.example/", "a@href http://a.example/x (y)", "a@href http://b.example/x (y)"}},
		{"is not that of a comment", `<a href=http://a.example>x<!-- <a href=http://b.example>y</a> -->z</a>`, []string{"comment http://b.example/", "a@href http://a.example/ (xz)"}},
	})
}

func TestLinksInTheTextBetweenTags(t *testing.T) {
	runHTML(t, []htmlTest{
		{"plain", `<p>See http://a.example/x, or example.com.</p>`, []string{"text http://a.example/x", "text http://example.com/"}},
		{"without markup", `http://a.example/x`, []string{"text http://a.example/x"}},
		{"with references", `http&colon;//a.example/?a=1&amp;b=2&nbsp;y &lt;http://b.example&gt;`, []string{"text http://a.example/?a=1&b=2", "text http://b.example/"}},
		{"across tags that only look", `http://a.<b>exa<font color=red>mple</font></b>/x<span>y</span><wbr>z evil<i>.com</i>`, []string{"text http://a.example/xyz", "text http://evil.com/"}},
		{"across tags that part", `http://a.example/x<br>y<p>example<td>.com`, []string{"text http://a.example/x"}},
		{"of a link", `<a href="http://a.example/x">http://b.example/y</a>`, []string{"a@href http://a.example/x (http://b.example/y)", "text http://b.example/y"}},
		{"in a title", `<title>http://a.example/x</title>`, []string{"text http://a.example/x"}},
		{"around a lone <", `1 < 2 http://a.example/x <3 http://b.example/ << <`, []string{"text http://a.example/x", "text http://b.example/"}},
		{"of more than is gathered", strings.Repeat("word ", 20_000) + `http://a.example/x ` + strings.Repeat("word ", 20_000) + `<b>http://b.example/x</b>`, []string{"text http://a.example/x", "text http://b.example/x"}},
	})
}

func TestCommentsAndTheLike(t *testing.T) {
	runHTML(t, []htmlTest{
		{"a comment", `<!-- <a href="http://a.example/">x</a> http://b.example/ example.com -->`, []string{"comment http://a.example/", "comment http://b.example/"}},
		{"conditional", `<!--[if mso]><v:roundrect href="http://a.example/">http://b.example/<![endif]--><!-- [if gte mso 9]><a href=http://c.example>x</a><![endif]-->`, []string{"v:roundrect@href http://a.example/", "a@href http://c.example/ (x)", "text http://b.example/"}},
		{"revealed", `<![if !mso]><a href=http://a.example>x</a><![endif]><!--[if !mso]><!--><a href=http://b.example>y</a><!--<![endif]-->`, []string{"a@href http://a.example/ (x)", "a@href http://b.example/ (y)"}},
		{"beside text", `http://a.example/ <!-- <p>x</p> -->y<!-- <a href=http://b.example><p> -->`, []string{"comment http://b.example/", "text http://a.example/"}},
		{"empty", `<!--><a href=http://a.example>x</a><!---><a href=http://b.example>y</a>-->`, []string{"a@href http://a.example/ (x)", "a@href http://b.example/ (y)"}},
		{"with a bang", `<!-- --!><a href=http://a.example>x</a>-->`, []string{"a@href http://a.example/ (x)"}},
		{"in each other", `<!-- <!-- --><a href=http://a.example>x</a> -->`, []string{"a@href http://a.example/ (x)"}},
		{"not closed", `<!-- <a href=http://a.example>x</a>`, []string{"a@href http://a.example/ (x)"}},
		{"swallowing nothing", `<!-- <a x="--><a href="http://a.example/">y</a>`, []string{"a@href http://a.example/ (y)"}},
		{"bogus", `<!x http://a.example/><?x http://b.example/><?xml x="http://e.example/"?></ http://c.example/><!DOCTYPE html "http://d.example/"></><!><?>`, []string{"comment http://a.example/", "comment http://b.example/", "comment http://c.example/"}},
		{"CDATA", `<svg><![CDATA[ http://a.example/ ]]><a href=http://b.example>`, []string{"comment http://a.example/", "a@href http://b.example/"}},
		{"not closed and bogus", `<!x <a href=http://a.example`, []string{"tag http://a.example/", "a@href http://a.example/"}},
	})
}

func TestElementsThatHoldTextOfTheirOwn(t *testing.T) {
	runHTML(t, []htmlTest{
		{"script", `<script src=http://a.example>var x="http://b.example/", y='<a href="c">', z="https:\/\/d.example\/x"</script x><a href=http://e.example>`,
			[]string{"script@src http://a.example/", "script http://b.example/", "script https://d.example/x", "a@href http://e.example/"}},
		{"a script in a script", `<script><!--<script></script> "http://a.example/" <a x='--></script><a href=http://b.example>`, []string{"script http://a.example/", "a@href http://b.example/"}},
		{"a script with half a script", `<script><!-- <scripty> </script><a href=http://b.example>`, []string{"a@href http://b.example/"}},
		{"a script not closed", `<script>"http://a.example/" <a href=http://b.example>`, []string{"script http://a.example/", "script http://b.example/", "a@href http://b.example/", "text http://a.example/"}},
		{"style", `<style>a{background:url(http://a.example/x)} <a href="http://b.example"></style><a href=http://c.example>`, []string{"css http://a.example/x", "css http://b.example/", "text http://a.example/x", "a@href http://b.example/", "a@href http://c.example/"}},
		{"style in SVG", `<svg><style><a href=http://a.example>x</a></style>`, []string{"a@href http://a.example/ (x)"}},
		{"style in a comment in a style", `<style><!-- a{background:url(http://a.example)} --></style>`, []string{"css http://a.example/"}},
		{"style not closed", `<style>a{background:url(http://a.example/x)}`, []string{"css http://a.example/x", "text http://a.example/x"}},
		{"title", `<title><a href="</title><a href="http://a.example/">`, []string{"a@href http://a.example/"}},
		{"title with markup", `<title><a href="http://a.example/">x</a></title>`, []string{"a@href http://a.example/ (x)"}},
		{"textarea", `<textarea><b x='</TEXTAREA ><a href='http://a.example/'>`, []string{"a@href http://a.example/"}},
		{"others", `<xmp><b x='</xmp><a href=http://1.example><noscript><b x='</noscript><a href=http://2.example><iframe><b x='</iframe><a href=http://3.example><noframes><b x='</noframes><a href=http://4.example><noembed><b x='</noembed><a href=http://5.example>`,
			[]string{"a@href http://1.example/", "a@href http://2.example/", "a@href http://3.example/", "a@href http://4.example/", "a@href http://5.example/"}},
		{"not closed", `<title><textarea><xmp><a href=http://a.example>`, []string{"a@href http://a.example/"}},
		{"in each other", `<xmp><title><textarea><noembed><iframe><a href=http://a.example></iframe></noembed></textarea></title></xmp>`, []string{"a@href http://a.example/"}},
		{"a name that only begins so", `<titles><a href="</title><a href="http://a.example/">`, []string{"tag http://a.example/"}},
		{"an end tag that only begins so", `<title></titles><a href="http://a.example/">`, []string{"a@href http://a.example/"}},
	})
}

func TestTagsWhoseQuotesAreBrokenAreReadAsTextToo(t *testing.T) {
	runHTML(t, []htmlTest{
		{"a quote not closed", `<a href="http://a.example/x>y</a> <p>`, []string{"tag http://a.example/x", "a@href http://a.example/x (y)"}},
		{"a value that swallows a tag", `<a x="><a href="http://a.example/x">`, []string{"tag http://a.example/x"}},
		{"a quote in a name", `<a "href=http://a.example/x>`, []string{"tag http://a.example/x"}},
		{"a quote in a value", `<a href=3D"http://a.example/x">`, []string{"a@href http://a.example/x", "tag http://a.example/x"}},
		{"backticks", "<a href=`http://a.example/x`>", []string{"a@href http://a.example/x", "tag http://a.example/x"}},
		{"an end tag", `</a "http://a.example/x">`, []string{"tag http://a.example/x"}},
		{"no end", `<a href=http://a.example/x`, []string{"tag http://a.example/x", "a@href http://a.example/x"}},
	})
}

func TestLinksInStyles(t *testing.T) {
	for text, want := range map[string][]string{
		`background:url(http://a.example/x)`:           {"http://a.example/x"},
		`background:URL( "http://a.example/x" )`:       {"http://a.example/x"},
		`background:url('http://a.example/(x)')`:       {"http://a.example/(x)"},
		`background:url(//a.example/x)`:                {"https://a.example/x"},
		`background:\75\000072\6c(http://a.example/x)`: {"http://a.example/x"},
		`background:u\72 l(http\3a //a.example/\
x)`: {"http://a.example/x"},
		`background:url(http://a.example/x`:                                    {"http://a.example/x"},
		`background:url("http://a.example/x`:                                   {"http://a.example/x"},
		`background:url()`:                                                     nil,
		`background:url(`:                                                      nil,
		`background:url(x.png)`:                                                nil,
		`background:url(data:image/png;base64,AAAA)`:                           nil,
		`@import "http://a.example/x";`:                                        {"http://a.example/x"},
		`@IMPORT '//a.example/x' screen; a{b:"//c.example"}`:                   {"https://a.example/x", "https://c.example/"},
		`@import url(http://a.example/x)`:                                      {"http://a.example/x"},
		`background:image-set("http://a.example/x" 1x, 'http://b.example' 2x)`: {"http://a.example/x", "http://b.example/"},
		`src:src("http://a.example/x")`:                                        {"http://a.example/x"},
		`filter:progid:X.Y(src='http://a.example/x')`:                          {"http://a.example/x"},
		`content:"x";color:red;url:http`:                                       nil,
		`/* http://a.example/x */`:                                             nil,
		"content:'\nbackground:url(http://a.example/x)":                        {"http://a.example/x"},
		`curl(http://a.example/x)`:                                             {"http://a.example/x"},
	} {
		for _, markup := range []string{"<style>%s</style>", `<p style="%s">`} {
			escaped := text
			if strings.HasPrefix(markup, "<p") {
				escaped = strings.ReplaceAll(text, `"`, "&quot;")
			}
			all := collect(HTML, fmt.Sprintf(markup, escaped))
			if got := values(all); !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", fmt.Sprintf(markup, escaped), got, want)
			}
			for _, f := range all {
				if f.Where != "css" {
					t.Errorf("%s: %+v", text, f)
				}
			}
		}
	}
}

func TestLinksInDocumentsWithinLinks(t *testing.T) {
	inner := `<a href="http://a.example/x">y</a>`
	coded := base64.StdEncoding.EncodeToString([]byte(inner))
	twice := base64.StdEncoding.EncodeToString([]byte(`<a href="data:text/html;base64,` + coded + `">`))
	thrice := base64.StdEncoding.EncodeToString([]byte(`<a href="data:text/html;base64,` + twice + `">`))
	escaped := strings.NewReplacer(`"`, "%22", "<", "%3c", ">", "%3E").Replace(inner)
	want := []string{"a@href/data http://a.example/x (y)"}
	runHTML(t, []htmlTest{
		{"base64", `<a href="data:text/html;base64,` + coded + `">z</a>`, want},
		{"base64 with parameters, in capitals", `<a href=" DATA:Text/HTML;charset=utf-8;BASE64,` + coded + `">z</a>`, want},
		{"base64 of URLs, broken up", `<a href="data:text/html;base64,` + strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(coded[:9]+" \n"+coded[9:]) + `">z</a>`, want},
		{"percent-encoded", `<a href="data:text/html,` + escaped + `">z</a>`, want},
		{"SVG in an image", `<img src="data:image/svg+xml,%3Csvg%3E%3Ca%20xlink:href='http://a.example/x'/%3E">`, []string{"img@src/data http://a.example/x"}},
		{"plain text", `<a href="data:,see%20http://a.example/x">z</a>`, []string{"a@href/data http://a.example/x"}},
		{"an image", `<img src="data:image/png;base64,` + coded + `">`, nil},
		{"no payload", `<a href="data:text/html">z</a>`, nil},
		{"srcdoc", `<iframe srcdoc="&lt;a href='http://a.example/x'>y&lt;/a>"></iframe>`, []string{"iframe@srcdoc/data http://a.example/x (y)"}},
		{"two deep", `<a href="data:text/html;base64,` + twice + `">z</a>`, []string{"a@href/data/data http://a.example/x (y)"}},
		{"too deep", `<a href="data:text/html;base64,` + thrice + `">z</a>`, nil},
	})
}
