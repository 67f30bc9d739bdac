package message

import (
	"slices"
	"strings"
	"testing"
)

// defectNames gives the names of a message's defects, each once, sorted.
func defectNames(m *Message) string {
	var names []string
	for _, d := range m.Defects {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// bodyOf gives the encoded content of the part with this path.
func bodyOf(m *Message, path string) string {
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Path == path {
			return string(m.Raw[p.start:p.end])
		}
	}
	return "no part " + path
}

func TestHeadersEndAndGoOnAsMailClientsHaveIt(t *testing.T) {
	tests := []struct {
		name, in string
		fields   string // "Name=value|Name=value"
		body     string
		defects  string
	}{
		{"as it should be", "From: a@b\r\nSubject: hi\r\n\r\nbody", "From=a@b|Subject=hi", "body", ""},
		{"LF alone", "From: a@b\nSubject: hi\n\nbody\n", "From=a@b|Subject=hi", "body\n", ""},
		{"CR alone", "From: a@b\rSubject: hi\r\rbody", "From=a@b|Subject=hi", "body", "bare-cr"},
		{"doubled CR", "From: a@b\r\r\nSubject: hi\r\r\n\r\r\nbody", "From=a@b|Subject=hi", "body", "bare-cr"},
		{"empty", "", "", "", ""},
		{"no header", "\r\nbody", "", "body", ""},
		{"no body", "From: a@b\r\n\r\n", "From=a@b", "", ""},
		{"no empty line", "From: a@b\r\n", "From=a@b", "", "header-unended"},
		{"no line end at all", "From: a@b", "From=a@b", "", "header-unended"},
		{"folds", "Subject: one\r\n two\r\n\tthree\r\nTo: x@y\r\n\r\nb", "Subject=one two three|To=x@y", "b", ""},
		{"a value on the next line", "Subject:\r\n one\r\n\r\nb", "Subject=one", "b", ""},
		{"an empty value", "Subject:\r\nTo: x@y\r\n\r\nb", "Subject=|To=x@y", "b", ""},
		{"a fold of spaces inside a field", "Subject: one\r\n \r\n two\r\nTo: x@y\r\n\r\nb", "Subject=one  two|To=x@y", "b", "header-blank-line"},
		{"a fold of spaces before a field", "Subject: one\r\n \r\nTo: x@y\r\n\r\nb", "Subject=one|To=x@y", "b", "header-blank-line"},
		{"a line of spaces instead of the empty one", "Subject: one\r\n \r\nbody here\r\nmore", "Subject=one", " \r\nbody here\r\nmore", "header-blank-line header-unended"},
		{"a bad line among fields", "Subject: one\r\nwhat is this\r\nTo: x@y\r\n\r\nb", "Subject=one|To=x@y", "b", "header-line"},
		{"a bad line and its fold", "Subject: one\r\nwhat is this\r\n more of it\r\nTo: x@y\r\n\r\nb", "Subject=one|To=x@y", "b", "header-line"},
		{"a bad line at the end", "Subject: one\r\nwhat is this\r\n\r\nb", "Subject=one", "b", "header-line"},
		{"a body without the empty line", "Subject: one\r\nHello, this is\r\nthe text", "Subject=one", "Hello, this is\r\nthe text", "header-unended"},
		{"a body that begins with a link", "Subject: one\r\nhttp://a.example/\r\nis it", "Subject=one", "http://a.example/\r\nis it", "header-unended"},
		{"a leading fold", " lost\r\nSubject: one\r\n\r\nb", "Subject=one", "b", "leading-fold"},
		{"a mailbox line", "From a@b Sat Jan  1 00:00:00 2022\r\nSubject: one\r\n\r\nb", "Subject=one", "b", "mbox-line"},
		{"a quoted mailbox line", ">From a@b Sat Jan  1 00:00:00 2022\nSubject: one\n\nb", "Subject=one", "b", "mbox-line"},
		{"a mailbox line further down", "Subject: one\nFrom a@b Sat Jan  1 00:00:00 2022\nTo: x@y\n\nb", "Subject=one|To=x@y", "b", "header-line"},
		{"space before the colon", "Subject : one\r\nTo\t: x@y\r\n\r\nb", "Subject=one|To=x@y", "b", "header-space"},
		{"no name", ": one\r\nTo: x@y\r\n\r\nb", "To=x@y", "b", "header-line"},
		{"a name beyond ASCII", "S\xc3\xbcbject: one\r\nTo: x@y\r\n\r\nb", "Sübject=one|To=x@y", "b", "header-name"},
		{"a name with spaces", "My Subject: one\r\nTo: x@y\r\n\r\nb", "To=x@y", "b", "header-line"},
		{"a lone CR hides a field", "Subject: one\rTo: x@y\r\n\r\nb", "Subject=one|To=x@y", "b", "bare-cr"},
		{"a lone CR inside a value", "Subject: one\rtwo\r\nTo: x@y\r\n\r\nb", "Subject=one two|To=x@y", "b", "bare-cr"},
		{"NUL in a value", "Subject: o\x00ne\r\n\r\nb", "Subject=one", "b", "header-control nul"},
		{"dashes", "Subject: one\r\n--x\r\nTo: x@y\r\n\r\nb", "Subject=one|To=x@y", "b", "header-line"},
		{"a field that comes twice", "Subject: one\r\nSubject: two\r\n\r\nb", "Subject=one|Subject=two", "b", "duplicate-field"},
		{"mixed line ends", "Subject: one\nTo: x@y\r\n\r\nb", "Subject=one|To=x@y", "b", "bare-lf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Parse([]byte(tt.in), Options{})
			var fields []string
			for f := range m.Header.All("") {
				fields = append(fields, f.Name+"="+f.Value())
			}
			if got := strings.Join(fields, "|"); got != tt.fields {
				t.Errorf("fields %q\nwant   %q", got, tt.fields)
			}
			if got := bodyOf(m, "1"); got != tt.body {
				t.Errorf("body %q, want %q", got, tt.body)
			}
			if got := defectNames(m); got != tt.defects {
				t.Errorf("defects %q, want %q", got, tt.defects)
			}
		})
	}
}

func TestABadLineAtTheEndOfAHeaderIsReadBothWays(t *testing.T) {
	m := Parse([]byte("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\nc2VjcmV0IA==\r\n\r\naGVsbG8=\r\n"), Options{})
	if m.Parts[0].Size != int64(len("hello")) {
		t.Errorf("the body has %d bytes", m.Parts[0].Size)
	}
	if len(m.Parts) < 2 || !m.Parts[1].Alternate || m.Parts[1].Path != "1~2" || m.Parts[1].Size != int64(len("secret hello")) {
		t.Errorf("no other reading: %+v", m.Parts)
	}
}

func TestHeaderFieldsAreFoundInAnyCase(t *testing.T) {
	m := Parse([]byte("received: 1\nSUBJECT: =?utf-8?q?caf=C3=A9?=\nReceived: 2\nX: y \n\n"), Options{})
	h := m.Header
	if h.Get("Subject") != "café" || h.Get("nothing") != "" || h.Count("RECEIVED") != 2 || h.Len() != 4 {
		t.Errorf("Get %q, Count %d, Len %d", h.Get("Subject"), h.Count("RECEIVED"), h.Len())
	}
	var values []string
	for f := range h.All("Received") {
		values = append(values, f.Value())
	}
	if !slices.Equal(values, []string{"1", "2"}) {
		t.Errorf("All gives %q", values)
	}
	if f := h.At(1); f.Name != "SUBJECT" || f.Raw() != "SUBJECT: =?utf-8?q?caf=C3=A9?=\n" || f.Unfolded() != "=?utf-8?q?caf=C3=A9?=" {
		t.Errorf("field %q %q %q", f.Name, f.Raw(), f.Unfolded())
	}
}

func TestTheFieldsThatMatterAreKeptBeyondTheLimits(t *testing.T) {
	junk := strings.Repeat("X-Junk: "+strings.Repeat("j", 92)+"\r\n", 1000)
	limits := Limits{HeaderBytes: 10000, HeaderFields: 50}
	raw := junk + "X-Link: see http://evil.example/x\r\nSubject: at the end\r\nContent-Type: text/html\r\n folded\r\n\r\n<b>hi</b>"
	m := Parse([]byte(raw), Options{Limits: limits})
	if m.Subject() != "at the end" || m.Parts[0].Type != "text/html" || m.Header.Len() != 52 {
		t.Errorf("subject %q, type %s, %d fields", m.Subject(), m.Parts[0].Type, m.Header.Len())
	}
	if defectNames(m) != "header-limit parameters" {
		t.Errorf("defects %q", defectNames(m))
	}
	if len(m.URLs) != 1 || m.URLs[0].Place != "raw" {
		t.Errorf("links %+v", m.URLs)
	}
}

func TestAGiantFieldIsCut(t *testing.T) {
	for name, field := range map[string]string{
		"in one line": "Subject: " + strings.Repeat("s", 10<<20) + "\r\n",
		"in folds":    "Subject: " + strings.Repeat("s\r\n ", 3<<20) + "s\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := Parse([]byte(field+"To: b@c\r\n\r\nbody"), Options{})
			if n := len(m.Header.text); n > 2<<20 {
				t.Errorf("%d bytes are kept", n)
			}
			if m.Header.Count("Subject") != 1 || m.Header.Get("To") != "b@c" || bodyOf(m, "1") != "body" {
				t.Errorf("%d subjects, to %q, body %q", m.Header.Count("Subject"), m.Header.Get("To"), bodyOf(m, "1"))
			}
			if !strings.Contains(defectNames(m), DefectHeaderLimit) {
				t.Errorf("defects %q", defectNames(m))
			}
		})
	}
}

func TestHeadersOfManyPartsAreBounded(t *testing.T) {
	part := "--b\r\nContent-Type: text/html\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n<a href=http://evil.example/>\r\n"
	raw := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat(part, 100) + "--b--\r\n"
	m := Parse([]byte(raw), Options{Limits: Limits{HeaderBytes: 10000}})
	kept := 0
	for i := range m.Parts {
		kept += len(m.Parts[i].Header.text)
	}
	if kept > 4*10000 || len(m.Parts) != 101 || m.Parts[100].Type != "text/html" {
		t.Errorf("%d bytes kept, %d parts, the last is %s", kept, len(m.Parts), m.Parts[100].Type)
	}
}

func TestIdentifiersAndDateAreRead(t *testing.T) {
	m := Parse([]byte("Message-ID: <a@b>\nIn-Reply-To: <c@d> (comment)\nReferences: <e@f>\n\t<g@h> <i@j\nDate: Tue, 18 Nov 2025 10:00:00 +0100 (CET)\n\n"), Options{})
	if m.MessageID() != "a@b" || !slices.Equal(m.InReplyTo(), []string{"c@d"}) || !slices.Equal(m.References(), []string{"e@f", "g@h", "i@j"}) {
		t.Errorf("%q, %q, %q", m.MessageID(), m.InReplyTo(), m.References())
	}
	if d, ok := m.Date(); !ok || d.Unix() != 1763456400 {
		t.Errorf("date %v, %v", d, ok)
	}
	m = Parse([]byte("Message-ID: no-brackets@x and more\nDate: yesterday\n\n"), Options{})
	if _, ok := m.Date(); ok || m.MessageID() != "no-brackets@x" {
		t.Errorf("%v, %q", ok, m.MessageID())
	}
	if m := Parse(nil, Options{}); m.MessageID() != "" || m.References() != nil || m.Subject() != "" {
		t.Error("an empty message says something")
	}
}
