package quarantine

import "testing"

func TestNoProgramMakesALinkOfAPreview(t *testing.T) {
	for text, want := range map[string]string{
		"see https://evil.example/x now":   "see hxxps://evil.example/x now",
		"Http://evil.example HTTPS://E":    "Hxxp://evil.example HxxPS://E",
		"ftp://evil.example and FTPS://x":  "fxp://evil.example and FxPS://x",
		"go to www.evil.example":           "go to www[.]evil.example",
		"(http://a.example)http://b.test":  "(hxxp://a.example)hxxp://b.test",
		"nothing: awww. that is it, https": "nothing: awww. that is it, https",
	} {
		if got := defangText(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
