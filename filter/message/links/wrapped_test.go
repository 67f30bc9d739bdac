package links

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestLinksWithinLinks(t *testing.T) {
	inner := "https://evil.example/pay?a=1&b=2"
	coded := url.QueryEscape(inner)
	based := base64.URLEncoding.EncodeToString([]byte(inner))
	const want = "https://evil.example/pay?a=1&b=2"
	for name, tt := range map[string]struct {
		link string
		want []string
	}{
		"a parameter":                  {"https://r.example/?x=1&url=" + coded + "&y=2", []string{want}},
		"a parameter, twice coded":     {"https://r.example/?url=" + url.QueryEscape(coded), []string{want}},
		"a parameter, thrice coded":    {"https://r.example/?url=" + url.QueryEscape(url.QueryEscape(coded)), []string{want}},
		"a parameter, four times":      {"https://r.example/?url=" + url.QueryEscape(url.QueryEscape(url.QueryEscape(coded))), nil},
		"a parameter as it is":         {"https://r.example/?url=" + inner, []string{"https://evil.example/pay?a=1"}},
		"a parameter in capitals":      {"https://r.example/?url=HTTPS%3A%2F%2FEVIL.example", []string{"https://evil.example/"}},
		"two parameters":               {"https://r.example/?u=http%3A%2F%2Fa.example&v=http://b.example", []string{"http://a.example/", "http://b.example/"}},
		"base64":                       {"https://r.example/?u=" + based, []string{want}},
		"base64 of a search engine":    {"https://r.example/ck/a?u=a1" + strings.TrimRight(based, "="), []string{want}},
		"base64 in the path":           {"https://r.example/c/" + based, []string{want}},
		"base64 of what is none":       {"https://r.example/c/aHR0cAAAAA", nil},
		"the path":                     {"https://r.example/1x/" + coded, []string{want}},
		"the path as it is":            {"https://r.example/web/2020/" + inner, []string{want}},
		"the path, one slash lost":     {"https://r.example/web/https:/evil.example/x", []string{"https://evil.example/x"}},
		"the path of no use, a query":  {"https://r.example/http://%00/?u=" + coded, []string{want}},
		"URL Defense, version 1":       {"https://urldefense.proofpoint.com/v1/url?u=http://evil.example/x&k=y", []string{"http://evil.example/x"}},
		"URL Defense, version 2":       {"https://urldefense.proofpoint.com/v2/url?u=https-3A__evil.example_pay-3Fa-3D1-26b-3D2&d=D", []string{want}},
		"URL Defense, version 3":       {"https://urldefense.com/v3/__https://evil.example/pay?a=1*b=2__;Jg!!x!y$", []string{want}},
		"URL Defense, version 3, bad":  {"https://urldefense.com/v3/__https://evil.example/*x__;*!x", nil},
		"URL Defense, version 3, runs": {"https://urldefense.com/v3/__https://evil.example/**A*x**__;YWJj!!x", []string{"https://evil.example/abcx"}},
		"two deep":                     {"https://r.example/?u=" + url.QueryEscape("https://s.example/?v="+coded), []string{"https://s.example/?v=" + want, want}},
		"no link":                      {"https://r.example/?u=httpd&v=http&w=https%3A&x=http%3Ax/http/https:/http%20docs/", nil},
		"no host":                      {"https://r.example/?u=http://&v=https%3A%2F%2F%3F", nil},
		"nothing":                      {"https://r.example", nil},
	} {
		t.Run(name, func(t *testing.T) {
			all := collect(HTML, `<a href="`+strings.ReplaceAll(tt.link, "&", "&amp;")+`">x</a>`)
			if len(all) == 0 || all[0].Where != "a@href" || all[0].Text != "x" {
				t.Fatalf("the link itself: %+v", all)
			}
			if got := values(all[1:]); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %q, want %q", tt.link, got, tt.want)
			}
			for _, f := range all[1:] {
				if f.Where != "a@href/wrapped" || f.Text != "" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestALinkIsUnwrappedOnlySoOften(t *testing.T) {
	link := "https://0.example/x"
	for range 10 {
		link = "https://r.example/" + link
	}
	if all := collect(Text, link); len(all) != 1+maxWrapped {
		t.Errorf("got %q", values(all))
	}
}
