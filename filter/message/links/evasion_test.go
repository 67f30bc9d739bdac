package links

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// TestALinkThatSomeReaderFollowsIsFound writes one link in ways in which a
// browser or a mail client still finds it.
func TestALinkThatSomeReaderFollowsIsFound(t *testing.T) {
	const evil = "http://evil.com/pay"
	coded := base64.StdEncoding.EncodeToString([]byte(evil))
	for name, tt := range map[string]struct{ html, where string }{
		"slashes the other way, as browsers read them": {`<img src="\\evil.com\pay">`, "img@src"},

		// XML and SVG.
		"a prefix of its own for XLink":     {`<svg xmlns:y="http://www.w3.org/1999/xlink"><a y:href="http:&#x2f;/evil.com/pay">x</a>`, "a@xlink:href"},
		"a long prefix for XLink":           {`<svg><a much-longer-than-needed:HREF="http:&#x2f;/evil.com/pay">x</a>`, "a@xlink:href"},
		"a style sheet of an XML document":  {`<?xml-stylesheet type="text/xsl" href="http://evil.com/pay"?>`, "comment"},
		"an entity of a document type":      {`<!DOCTYPE svg [<!ENTITY u "http://evil.com/pay">]><svg><a href="&u;">`, "comment"},
		"an animation's values":             {`<svg><a><animate attributeName=href values="#;http:&#x2f;/evil.com/pay;#"/>x</a>`, "animate@values"},
		"what an animation sets":            {`<svg><a><set attributeName=href to="http:&#x2f;/evil.com/pay"/>x</a>`, "set@to"},
		"what an animation goes from":       {`<svg><a><animate attributeName=href from="//evil.com/pay"/>x</a>`, "animate@from"},
		"a mask":                            {`<svg><rect mask="url(http:&#x2f;/evil.com/pay)"/>`, "css"},
		"references in a style within SVG":  {`<svg><style>@import &quot;http:&#x2f;/evil.com/pay&quot;;</style></svg>`, "css"},
		"references in a script within SVG": {`<svg><script>location="http:&#x2f;/evil.com/pay"</script></svg>`, "script"},

		// Office.
		"an Office document's relationship":                {`<Relationship Id="1" TargetMode = "External" Target = 'http:&#x2f;/evil.com/pay'/>`, "relationship@target"},
		"an Office document's relationship, with a prefix": {`<r:Relationship Target="mhtml:http://evil.com/pay"/>`, "relationship@target"},

		// Plug-ins.
		"an object's parameter": {`<object><param name=movie value="http:&#x2f;/evil.com/pay"></object>`, "param@value"},
		"an object's code base": {`<object codebase="http:&#x2f;/evil.com/pay">`, "object@codebase"},

		// Style sheets.
		"behind an escaped quote":               {`<style>a{content:"\22";background:url(http://evil.com/pay)}</style>`, "css"},
		"behind an apostrophe in a comment":     {`<style>/* don't */ a{background:url(http://evil.com/pay)}</style>`, "css"},
		"behind a quote that nothing closes":    {`<p style="font:'x;background:url(http://evil.com/pay)">`, "css"},
		"an escape that ends with CR LF":        {"<style>a{background:u\\72\r\nl(http://evil.com/pay)}</style>", "css"},
		"an escaped CR LF":                      {"<style>@import \"http://evil.\\\r\ncom/pay\";</style>", "css"},
		"a string behind one that is no link":   {`<p style="background:image-set('x.png' 1x, 'http://evil.com/pay' 2x)">`, "css"},
		"a string behind an apostrophe":         {`<style>/* it's */@import "http:\2f/evil.com/pay";</style>`, "css"},
		"an import behind a string of no sense": {`<style>a{b:"'"}@import '//evil.com/pay';</style>`, "css"},

		// Schemes.
		"the host of an application's link":    {`<a href="feed://evil.com/pay">x</a>`, "a@href"},
		"an Android intent":                    {`<a href="intent://evil.com/pay#Intent;scheme=http;end">x</a>`, "a@href"},
		"coded in an application's link":       {`<a href="firefox://open-url?url=http%3A%2F%2Fevil.com%2Fpay">x</a>`, "a@href"},
		"an event with a long name":            {`<p onwebkitanimationiteration="location='http://evil.com/pay'">`, "script"},
		"an event of any name":                 {`<p ongotpointercapture="location='http:&#x2f;/evil.com/pay'">`, "script"},
		"a data: link in UTF-16":               {`<iframe src="data:text/html;charset=utf-16le;base64,` + base64.StdEncoding.EncodeToString([]byte(wide(`<a href="`+evil+`">`))) + `">`, "iframe@src/data"},
		"a tag whose name ends otherwise":      {"<a\vhref=\"http:&#x2f;/evil.com/pay\">x", "tag"},
		"a tag in a tag, with references":      {`<p title="><a href='http:&#x2f;/evil.com/pay'>">`, "tag"},
		"hexadecimal escapes in a script":      {`<script>location="\x68\x74\x74\x70\x3A\x2f\x2fevil.com/pay"</script>`, "script"},
		"Unicode escapes in a script":          {`<script>location="\u0068\u{74}tp\u003a//evil.com/pay"</script>`, "script"},
		"percent escapes in a script":          {`<script>document.write(unescape("%3Ca href%3Dhttp%3A//evil%u002ecom/pay%3E"))</script>`, "script"},
		"base64 in a script":                   {`<script>location=atob("` + coded + `")</script>`, "script"},
		"base64 in an event":                   {`<p onload="location=atob('` + coded + `')">`, "script"},
		"escapes in a javascript: link":        {`<a href="javascript:location='\x68ttp://evil.com/pay'">x</a>`, "script"},
		"a redirect to a host":                 {`<a href="https://r.example/?next=//evil.com/pay&amp;x=y">x</a>`, "a@href/wrapped"},
		"a redirect to a host, coded":          {`<a href="https://r.example/?next=%2f%2Fevil.com%2Fpay">x</a>`, "a@href/wrapped"},
		"a redirect with a coded slash":        {`<a href="https://r.example/?q=http:%2F/evil.com/pay">x</a>`, "a@href/wrapped"},
		"a redirect with a coded letter":       {`<a href="https://r.example/?q=%68ttp://evil.com/pay">x</a>`, "a@href/wrapped"},
		"a redirect with all of it coded":      {`<a href="https://r.example/?q=%25%36%38%2574%74p%253A%252f%252fevil.com/pay">x</a>`, "a@href/wrapped"},
		"a path with a coded letter":           {`<a href="https://r.example/r/h%74tp://evil.com/pay">x</a>`, "a@href/wrapped"},
		"a search engine's viewer of a page":   {`<a href="https://www.google.example/amp/s/evil.com/pay">x</a>`, "a@href/wrapped"},
		"a redirect in a redirect to a viewer": {`<a href="https://r.example/?u=https%3A%2F%2Fwww.google.example%2Famp%2Fs%2Fevil.com%2Fpay">x</a>`, "a@href/wrapped"},
	} {
		all := collect(HTML, tt.html)
		if !slices.ContainsFunc(all, func(f Found) bool {
			return f.Where == tt.where && strings.Replace(f.Value.String(), "https:", "http:", 1) == evil
		}) {
			t.Errorf("%s: %s: got %q", name, tt.html, places(all))
		}
	}
}

// wide gives ASCII as UTF-16.
func wide(text string) string {
	var out []byte
	for i := range len(text) {
		out = append(out, text[i], 0)
	}
	return string(out)
}

func TestWhatOnlyLooksLikeAHiddenLinkIsNone(t *testing.T) {
	for _, text := range []string{
		`<?xml version="1.0"?><?xml:namespace prefix=o ns="http://a.example/"?><!DOCTYPE html PUBLIC "x" "http://a.example/x.dtd">`,
		`<animate from="0" to="100" values="0;1;2" by="3"><param value="example.com"><input value="http://a.example/">`,
		`<script>x = 50 % 3; y = "\d+\x\u\u{}%zz"; atob("aHR0cAAAAA")</script>`,
		`<Relationship Target="media/image1.png"/><a target="http://a.example">`,
		`<a href="slack://open"><a href="tg://resolve?domain=x"><a href="x-y:\z">`,
	} {
		if all := collect(HTML, text); len(all) > 0 {
			t.Errorf("%s: got %q", text, places(all))
		}
	}
}
