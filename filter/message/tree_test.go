package message

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// crlf writes a message with the line ends of mail.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

// tree describes the parts of a message: "path type size", with marks for
// containers (+), files in archives (@) and other readings (~).
func tree(m *Message) string {
	var out []string
	for i := range m.Parts {
		p := &m.Parts[i]
		s := p.Path + " " + p.Type
		if p.Container {
			s += "+"
		} else {
			s += fmt.Sprintf(" %d", p.Size)
		}
		if p.Name != "" {
			s += " " + p.Name
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestTheTreeIsReadHoweverItIsBroken(t *testing.T) {
	tests := []struct{ name, in, tree, defects string }{
		{"no parts", "\nhello", "1 text/plain 5", ""},
		{"a multipart", `Content-Type: multipart/mixed; boundary=b

--b

one
--b
Content-Type: text/html

two
--b--
`, "TEXT multipart/mixed+; 1 text/plain 3; 2 text/html 3", ""},
		{"nested multiparts", `Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/alternative; boundary=b

--b

one
--b

two
--b--

--a

three
--a--
`, "TEXT multipart/mixed+; 1 multipart/alternative+; 1.1 text/plain 3; 1.2 text/plain 3; 2 text/plain 5", ""},
		{"an attached message", `Content-Type: multipart/mixed; boundary=a

--a
Content-Type: message/rfc822

Subject: inner

text
--a--
`, "TEXT multipart/mixed+; 1 message/rfc822+; 1.1 text/plain 4", ""},
		{"an attached multipart", `Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=a

--a

one
--a
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=b

--b

two
--b--
--a--
`, "1 message/rfc822+; 1.TEXT multipart/mixed+; 1.1 text/plain 3; 1.2 message/rfc822+; 1.2.TEXT multipart/mixed+; 1.2.1 text/plain 3", ""},
		{"a digest", `Content-Type: multipart/digest; boundary=a

--a

Subject: one

text
--a
Content-Type: text/plain

two
--a--
`, "TEXT multipart/digest+; 1 message/rfc822+; 1.1 text/plain 4; 2 text/plain 3", ""},
		{"an encoded attached message", `Content-Type: message/rfc822
Content-Transfer-Encoding: base64

` + b64("Subject: x\n\ninner") + `
`, "1 message/rfc822+; 1.1 text/plain 5", "encoding-on-container"},
		{"an attached message that is not encoded, though it says so", `Content-Type: message/rfc822
Content-Transfer-Encoding: base64

Subject: x

inner`, "1 message/rfc822+; 1.1 text/plain 5; 1~2 message/rfc822 9", ""},
		{"an encoded multipart", `Content-Type: multipart/mixed; boundary=a
Content-Transfer-Encoding: base64

` + b64("--a\n\none\n--a--\n") + `
`, "TEXT multipart/mixed+; 1 text/plain 3", "encoding-on-container"},
		{"a multipart that is not encoded, though it says so", `Content-Type: multipart/mixed; boundary=a
Content-Transfer-Encoding: base64

--a

one
--a--
`, "TEXT multipart/mixed+; 1 text/plain 3", ""},
		{"no closing delimiter", `Content-Type: multipart/mixed; boundary=a

--a

one`, "TEXT multipart/mixed+; 1 text/plain 3", "multipart-unclosed"},
		{"an inner multipart that is not closed", `Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=b

--b

one
--a

two
--a--
`, "TEXT multipart/mixed+; 1 multipart/mixed+; 1.1 text/plain 3; 2 text/plain 3", "multipart-unclosed"},
		{"parts behind the closing delimiter", `Content-Type: multipart/mixed; boundary=a

--a

one
--a--
--a

two
`, "TEXT multipart/mixed+; 1 text/plain 3; 2 text/plain 4", "part-after-end"},
		{"the same boundary inside and outside", `Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=a

--a

one
--a--
--a

two
--a--
`, "TEXT multipart/mixed+; 1 multipart/mixed+; 1.1 text/plain 3; 2 text/plain 3", ""},
		{"a boundary that begins like another", `Content-Type: multipart/mixed; boundary=a

--a
Content-Type: multipart/mixed; boundary=aa

--aa

one
--aa--
--a

two
--a--
`, "TEXT multipart/mixed+; 1 multipart/mixed+; 1.1 text/plain 3; 2 text/plain 3", ""},
		{"text behind the boundary", `Content-Type: multipart/mixed; boundary=a

--a

one
--a junk

two
--a--
`, "TEXT multipart/mixed+; 1 text/plain 3; 1~2 text/plain 17; 2 text/plain 3", "boundary-junk"},
		{"space behind the boundary", "Content-Type: multipart/mixed; boundary=a\n\n--a \t\n\none\n--a-- \n", "TEXT multipart/mixed+; 1 text/plain 3", ""},
		{"no boundary parameter", `Content-Type: multipart/mixed

--found
Content-Type: text/html

one
--found--
`, "TEXT multipart/mixed+; 1 text/html 3", "boundary-missing"},
		{"a boundary that does not occur", `Content-Type: multipart/mixed; boundary=wrong

-- 
not this
--found
Content-Type: text/html

one
--found--
`, "TEXT multipart/mixed+; 1 text/html 3", "boundary-unseen"},
		{"no delimiter at all", `Content-Type: multipart/mixed; boundary=a

just text`, "1 multipart/mixed 9", "boundary-unseen"},
		{"an empty boundary", `Content-Type: multipart/mixed; boundary=""

--

one
----
`, "TEXT multipart/mixed+; 1 text/plain 3", "boundary-malformed"},
		{"two boundaries", `Content-Type: multipart/mixed; boundary=a; boundary=b

--a

one
--b

two
--a--
`, "TEXT multipart/mixed+; 1 text/plain 3; 1~2 text/plain 12; 2 text/plain 3", "boundary-conflict"},
		{"two types", `Content-Type: text/plain
Content-Type: multipart/mixed; boundary=a

--a

one
--a--
`, "TEXT multipart/mixed+; 1 text/plain 3; TEXT~2 text/plain 15", "content-type-conflict duplicate-field"},
		{"a type that is none", "Content-Type: html\n\nhello", "1 text/plain 5", "content-type"},
		{"an empty type", "Content-Type:\n\nhello", "1 text/plain 5", "content-type"},
		{"a header that runs into a delimiter", `Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/html
--a

two
--a--
`, "TEXT multipart/mixed+; 1 text/html 0; 2 text/plain 3", "header-unended"},
		{"a part without a header", "Content-Type: multipart/mixed; boundary=a\n\n--a\n--a--\n", "TEXT multipart/mixed+; 1 text/plain 0", ""},
		{"no empty line before the first delimiter", `Content-Type: multipart/mixed; boundary=a
--a

one
--a--
`, "TEXT multipart/mixed+; 1 text/plain 3", "header-unended"},
		{"text before and behind", `Content-Type: multipart/mixed; boundary=a

This is a message in MIME format.
--a

one
--a--
and more
`, "TEXT multipart/mixed+; 1 text/plain 3", "epilogue"},
		{"delimiters behind CR alone", "Content-Type: multipart/mixed; boundary=a\r\r--a\r\rone\r--a--\r", "TEXT multipart/mixed+; 1 text/plain 3", "bare-cr"},
		{"a fragment", "Content-Type: message/partial; id=x; number=1; total=2\n\nhello", "1 message/partial 5", "message-partial"},
		{"a message as a file", `Content-Type: multipart/mixed; boundary=a

--a
Content-Type: application/octet-stream; name="phish_alert.eml"
Content-Transfer-Encoding: base64

` + b64("Subject: x\nContent-Type: text/html\n\n<b>hi</b>") + `
--a--
`, "TEXT multipart/mixed+; 1 application/octet-stream+ phish_alert.eml; 1.1 text/html 9", ""},
		{"a message without the name of one", `Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

` + b64("Received: from x by y\nSubject: x\n\nhi"), "1 application/octet-stream+; 1.1 text/plain 2", ""},
		{"text that looks like a message", "\nSubject: x\nTo: y\n\nhi", "1 text/plain 20", ""},
		{"uuencoded files in text", "\nhello\nbegin 644 a.txt\n+:&5L;&\\@=V]R;&0\n`\nend\nand\nbegin 644 b.txt\n#86%A\n`\nend\n", "1 text/plain 77; 1/1 application/octet-stream 11 a.txt; 1/2 application/octet-stream 3 b.txt", ""},
		{"a uuencoded part", "Content-Type: application/octet-stream\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 a.txt\n+:&5L;&\\@=V]R;&0\n`\nend\n", "1 application/octet-stream 11; 1~2 application/octet-stream 39", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Parse([]byte(tt.in), Options{})
			if got := tree(m); got != tt.tree {
				t.Errorf("tree %s\nwant %s", got, tt.tree)
			}
			if got := defectNames(m); got != tt.defects {
				t.Errorf("defects %q, want %q", got, tt.defects)
			}
			checkMessage(t, m)
		})
	}
}

// checkMessage checks what holds for every message.
func checkMessage(t *testing.T, m *Message) {
	t.Helper()
	paths := map[string]bool{}
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Path == "" || paths[p.Path] {
			t.Errorf("part %d has the path %q of another", i, p.Path)
		}
		paths[p.Path] = true
		if (i == 0) != (p.Parent < 0) && !p.Alternate || p.Parent >= i {
			t.Errorf("part %s has parent %d", p.Path, p.Parent)
		}
		if p.Parent >= 0 && p.Depth != m.Parts[p.Parent].Depth+1 {
			t.Errorf("part %s has depth %d in one of depth %d", p.Path, p.Depth, m.Parts[p.Parent].Depth)
		}
		if p.start < 0 || p.end > len(m.Raw) || p.start > p.end {
			t.Errorf("part %s lies at %d to %d of %d", p.Path, p.start, p.end, len(m.Raw))
		}
		if p.Type == "" || p.Type != strings.ToLower(p.Type) {
			t.Errorf("part %s has type %q", p.Path, p.Type)
		}
		for j := range p.Header.fields {
			if f := p.Header.At(j); !utf8.ValidString(f.Value()) || f.Name == "" || !strings.Contains(f.Raw(), f.Name) {
				t.Errorf("part %s has the field %q: %q", p.Path, f.Name, f.Value())
			}
		}
		for _, text := range append([]string{p.Path, p.Type, p.Name, p.Charset, p.Encoding, p.Disposition, p.ContentID, p.Detected}, p.OtherNames...) {
			if !utf8.ValidString(text) {
				t.Errorf("part %s: %q is no UTF-8", p.Path, text)
			}
		}
	}
	for _, u := range m.URLs {
		if u.Value.IsZero() || !validPlace(u.Place, paths) || !utf8.ValidString(u.Raw+u.Text+u.Place+u.Value.String()) {
			t.Errorf("link %q at %q, written %q, shown as %q", u.Value, u.Place, u.Raw, u.Text)
		}
	}
	for _, d := range m.Defects {
		if d.Place != "" && !validPlace(d.Place, paths) || !utf8.ValidString(d.Detail) {
			t.Errorf("defect %s at %q: %q", d.Name, d.Place, d.Detail)
		}
	}
}

// validPlace reports whether a place is one that the package comment describes.
func validPlace(place string, paths map[string]bool) bool {
	if place == placeRaw || place == "header" || strings.HasPrefix(place, "header/") {
		return true
	}
	for p := place; ; {
		if paths[p] {
			return true
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return false
		}
		p = p[:i]
	}
}

func TestDigestsAreThoseOfTheFileThatIsSaved(t *testing.T) {
	const content = "col1,col2\r\n1,2\r\n"
	want := sha256.Sum256([]byte(content))
	for name, part := range map[string]string{
		"base64":           "Content-Transfer-Encoding: base64\r\n\r\n" + b64(content) + "\r\n",
		"quoted-printable": "Content-Transfer-Encoding: quoted-printable\r\n\r\ncol1,=63ol2\r\n1,=\r\n2=0D=0A",
		"7bit":             "Content-Transfer-Encoding: 7bit\r\n\r\n" + content,
		"none":             "\r\n" + content,
	} {
		t.Run(name, func(t *testing.T) {
			m := Parse([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/csv\r\n"+part+"\r\n--b--\r\n"), Options{})
			if p := m.Parts[1]; p.SHA256 != want || p.Size != int64(len(content)) {
				t.Errorf("%d bytes, SHA-256 %x", p.Size, p.SHA256)
			}
		})
	}
}

func TestTheFingerprintSurvivesWhatMailStoresDo(t *testing.T) {
	parts := func(header, boundary, one, two string) string {
		return header + "Content-Type: multipart/mixed; boundary=" + boundary + "\n\npreamble\n--" + boundary + "\n" + one + "\n--" + boundary + "\n" + two + "\n--" + boundary + "--\nepilogue\n"
	}
	base := Parse([]byte(parts("", "a", "\ncafé\nline\x00two", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00"))), Options{})
	same := map[string]string{
		"CRLF for LF":            crlf(parts("", "a", "\ncafé\nline\x00two", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00"))),
		"other boundary, header": parts("Subject: x\n", "zzz", "X: y\n\ncafé\nline\x00two", "Content-Transfer-Encoding: base64\nX: y\n\n"+b64("file\x00")),
		"8bit for base64":        parts("", "a", "Content-Transfer-Encoding: 8bit\n\ncafé\nline\x00two", "Content-Transfer-Encoding: binary\n\nfile\x00"),
		"quoted-printable":       parts("", "a", "Content-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9\nli=\nne=00two", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00")),
		"NUL as 0x80":            parts("", "a", "\ncafé\nline\x80two", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00")),
	}
	for name, raw := range same {
		if m := Parse([]byte(raw), Options{}); m.Body != base.Body {
			t.Errorf("%s: another fingerprint", name)
		}
	}
	others := map[string]string{
		"another text":  parts("", "a", "\ncafe\nline\x00two", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00")),
		"a footer":      parts("", "a", "\ncafé\nline\x00two\nfooter", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00")),
		"another file":  parts("", "a", "\ncafé\nline\x00two", "Content-Transfer-Encoding: base64\n\n"+b64("file\x01")),
		"a third part":  parts("", "a", "\ncafé\nline\x00two\n--a\n\n", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00")),
		"another order": parts("", "a", "Content-Transfer-Encoding: base64\n\n"+b64("file\x00"), "\ncafé\nline\x00two"),
	}
	for name, raw := range others {
		if m := Parse([]byte(raw), Options{}); m.Body == base.Body {
			t.Errorf("%s: the same fingerprint", name)
		}
	}
}

func TestTheFingerprintSeesCROnBothSidesOfABlock(t *testing.T) {
	for _, at := range []int{blockBytes - 2, blockBytes - 1, blockBytes, 2*blockBytes - 1} {
		text := strings.Repeat("x", at) + "\r\n" + strings.Repeat("y", 3*blockBytes-at)
		one := Parse([]byte("\r\n"+text), Options{})
		two := Parse([]byte("\r\n"+strings.ReplaceAll(text, "\r\n", "\n")), Options{})
		if one.Body != two.Body {
			t.Errorf("CR LF at %d is not LF", at)
		}
		alone := Parse([]byte("\r\n"+strings.ReplaceAll(text, "\r\n", "\r")), Options{})
		if one.Body == alone.Body {
			t.Errorf("CR at %d is LF", at)
		}
	}
	if Parse([]byte("\nx\r"), Options{}).Body == Parse([]byte("\nx"), Options{}).Body {
		t.Error("a CR at the end is nothing")
	}
}

func TestAPartKnowsItsFields(t *testing.T) {
	m := Parse([]byte(crlf(`Content-Type: multipart/related; boundary=b

--b
Content-Type: image/PNG; name="=?utf-8?Q?caf=C3=A9.png?="; charset="X-Y"
Content-Transfer-Encoding: BASE64
Content-Disposition: INLINE; filename*=utf-8''caf%C3%A9.png
Content-ID: <part1@x>

iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ
--b--
`)), Options{})
	p := m.Parts[1]
	if p.Type != "image/png" || p.Detected != "image/png" || p.Name != "café.png" || p.Charset != "x-y" || p.Encoding != "base64" ||
		p.Disposition != "inline" || p.ContentID != "part1@x" || len(p.OtherNames) != 0 || p.Header.Get("content-id") != "<part1@x>" {
		t.Errorf("%+v", p)
	}
	if !p.Attachment() || m.Parts[0].Attachment() {
		t.Error("the image is the only attachment")
	}
}

func TestAttachmentsAreWhatAReaderCouldSave(t *testing.T) {
	tests := []struct {
		part Part
		want bool
	}{
		{Part{Type: "multipart/mixed", Container: true}, false},
		{Part{Type: "text/plain", Text: true}, false},
		{Part{Type: "text/plain", Text: true, Name: "a.txt"}, true},
		{Part{Type: "text/plain", Text: true, Disposition: "attachment"}, true},
		{Part{Type: "image/png"}, true},
		{Part{Type: "message/rfc822", Container: true}, true},
		{Part{Type: "application/zip", Container: true}, true},
	}
	for _, tt := range tests {
		if got := tt.part.Attachment(); got != tt.want {
			t.Errorf("%+v: %v", tt.part, got)
		}
	}
}

func TestTextIsReadAgainFromRaw(t *testing.T) {
	m := Parse([]byte("Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ncaf=E9 au lait"), Options{})
	if text, ok := m.Text(0, 1000); !ok || text != "café au lait" {
		t.Errorf("%q, %v", text, ok)
	}
	if text, ok := m.Text(0, 6); !ok || text != "café" {
		t.Errorf("%q, %v", text, ok)
	}
	m.Close()
	if _, ok := m.Text(0, 1000); ok {
		t.Error("a closed message gives text")
	}
}
