package quarantine

import (
	"strings"
	"testing"

	"github.com/weirmail/weir/filter/message"
)

func TestAPreviewShowsTheMessageAndNoLinks(t *testing.T) {
	raw := "From: =?utf-8?q?Bank_=E2=82=AC?= <pay@evil.example>\r\nSubject: Hello\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/html\r\n\r\n<head><title>t</title><style>p{}</style></head><p>Dear <b>you</b>,</p><script>alert(1)</script><div>see <a href=\"https://www.evil.example/pay?x=1\">your bank</a> or http://other.example/</div>\r\n" +
		"--b\r\nContent-Type: application/pdf; name=\"a\u202efdp.exe\"\r\n\r\n%PDF\r\n--b--\r\n"
	p := previewOf(message.Parse([]byte(raw), message.Options{}))
	if want := "Dear you,\n\nsee your bank or hxxp://other.example/"; p.Text != want {
		t.Errorf("text %q", p.Text)
	}
	if p.Header[0] != (Field{"From", "Bank € <pay@evil.example>"}) || p.Header[1].Value != "Hello" {
		t.Errorf("header %+v", p.Header)
	}
	if len(p.Links) != 2 || p.Links[0].Defanged != "hxxps://www[.]evil[.]example/pay?x=1" || p.Links[0].Text != "your bank" {
		t.Errorf("links %+v", p.Links)
	}
	if len(p.Parts) != 3 || p.Parts[2].Type != "application/pdf" {
		t.Errorf("parts %+v", p.Parts)
	}
	if !strings.Contains(strings.Join(p.Defects, " "), "name-bidi") {
		t.Errorf("defects %v", p.Defects)
	}
}
