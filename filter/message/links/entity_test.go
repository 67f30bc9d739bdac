package links

import "testing"

func TestCharacterReferencesAreDecodedAsBrowsersDoIt(t *testing.T) {
	for text, want := range map[string]struct{ shown, attribute string }{
		"":                    {"", ""},
		"a&b & c":             {"a&b & c", "a&b & c"},
		"&amp;&lt;&gt;&quot;": {`&<>"`, `&<>"`},
		"&amp&lt ":            {"&< ", "&< "},
		"&ampx;&amp=":         {"&x;&=", "&ampx;&amp="},
		"?a=1&copy=2&reg;":    {"?a=1©=2®", "?a=1&copy=2®"},
		"&notit;&not;":        {"¬it;¬", "&notit;¬"},
		"&colon;&sol;&period;&semi;&Tab;&NewLine;":                   {":/.;\t\n", ":/.;\t\n"},
		"&fjlig;&NotEqualTilde;":                                     {"fj≂̸", "fj≂̸"},
		"&#104;&#x74;&#X74&#112x":                                    {"httpx", "httpx"},
		"&#0000000000000104;":                                        {"h", "h"},
		"&#;&#x;&#xg;&#":                                             {"&#;&#x;&#xg;&#", "&#;&#x;&#xg;&#"},
		"&#0;&#xd800;&#x110000;&#99999999999999999999;&#x100000068;": {"\ufffd\ufffd\ufffd\ufffd\ufffd", "\ufffd\ufffd\ufffd\ufffd\ufffd"},
		"&#128;&#x93;&#129;":                                         {"€“\u0081", "€“\u0081"},
		"&nosuchthing;&;":                                            {"&nosuchthing;&;", "&nosuchthing;&;"},
		"&CounterClockwiseContourIntegral;":                          {"∳", "∳"},
		"&zwnj;&zwnj&nbsp&nbsp;":                                     {"\u200c&zwnj\u00a0\u00a0", "\u200c&zwnj\u00a0\u00a0"},
		"&frac12&frac12;&frac12x":                                    {"½½½x", "½½&frac12x"},
	} {
		if got := string(appendDecoded(nil, []byte(text), false)); got != want.shown {
			t.Errorf("%q in text: got %q, want %q", text, got, want.shown)
		}
		if got := string(appendDecoded(nil, []byte(text), true)); got != want.attribute {
			t.Errorf("%q in an attribute: got %q, want %q", text, got, want.attribute)
		}
	}
}
