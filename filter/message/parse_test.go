package message

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestLinksAreToldOnceWithTheirPlace(t *testing.T) {
	m := Parse([]byte(crlf(`Subject: see http://one.example/
Content-Type: multipart/alternative; boundary=b

--b

http://one.example/ and http://two.example/x
--b
Content-Type: text/html

<a href="http://two.example/x">http://two.example/x</a>
<a href="http://evil.example/">http://bank.example/</a> <img src="https://cdn.sub.example.co.uk:8443/i.png">
<a href="http://two.example/x">again</a>
--b--
`)), Options{})
	var got []string
	for _, u := range m.URLs {
		got = append(got, fmt.Sprintf("%s at %s as %q host %s domain %s", u.Value, u.Place, u.Text, u.Host, u.Domain))
	}
	want := []string{
		`http://one.example/ at header/Subject as "" host one.example domain one.example`,
		`http://two.example/x at 1/text as "" host two.example domain two.example`,
		`http://evil.example/ at 2/a@href as "http://bank.example/" host evil.example domain evil.example`,
		`http://bank.example/ at 2/text as "" host bank.example domain bank.example`,
		`https://cdn.sub.example.co.uk:8443/i.png at 2/img@src as "" host cdn.sub.example.co.uk domain example.co.uk`,
		`http://two.example/x at 2/a@href as "again" host two.example domain two.example`,
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAFloodOfLinksToOneHostLeavesRoomForOthers(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n")
	for i := range 100 {
		fmt.Fprintf(&b, "http://good.example/%d\n", i)
	}
	for i := range 100 {
		fmt.Fprintf(&b, "http://host%d.example/\nhttp://host%d.example/again\n", i, i)
	}
	m := Parse([]byte(b.String()), Options{Limits: Limits{URLs: 50}})
	if len(m.URLs) != 100 || m.URLs[49].Host != "good.example" || m.URLs[50].Host != "host0.example" || m.URLs[99].Host != "host49.example" {
		t.Errorf("%d links, the last is %v", len(m.URLs), m.URLs[len(m.URLs)-1])
	}
	if defectNames(m) != DefectURLLimit {
		t.Errorf("defects %q", defectNames(m))
	}
	under := Parse([]byte(b.String()), Options{Limits: Limits{URLs: 300}})
	if len(under.URLs) != 300 || defectNames(under) != "" {
		t.Errorf("%d links, defects %q", len(under.URLs), defectNames(under))
	}
}

func TestLimitsCutAndSaySo(t *testing.T) {
	long := "http://evil.example/" + strings.Repeat("a", 3000)
	tests := []struct {
		name, in string
		limits   Limits
		defect   string
	}{
		{"text", "\n" + strings.Repeat("text ", 1000), Limits{TextBytes: 100}, DefectTextLimit},
		{"the length of a link", "\nsee " + long, Limits{URLBytes: 100}, DefectURLLength},
		{"depth", strings.Repeat("Content-Type: message/rfc822\n\n", 5), Limits{Depth: 3}, DefectDepthLimit},
		{"parts", "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 10), Limits{Parts: 5}, DefectPartLimit},
		{"defects", "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: x\n\nx\n", 20), Limits{Defects: 5}, DefectDefectLimit},
		{"digests of messages", strings.Repeat("Content-Type: message/rfc822\n\n", 60) + "Subject: x\n\n" + strings.Repeat("x", 1<<16), Limits{}, DefectDigestLimit},
		{"readings", "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Transfer-Encoding: base64 (x)\n\nAAAA\n", 40), Limits{}, DefectReadingLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Parse([]byte(tt.in), Options{Limits: tt.limits})
			if !slices.ContainsFunc(m.Defects, func(d Defect) bool { return d.Name == tt.defect }) {
				t.Errorf("defects %q", defectNames(m))
			}
			checkMessage(t, m)
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := NewParser(Limits{Depth: -1}); err == nil || !strings.Contains(err.Error(), "Depth is -1") {
		t.Errorf("a negative limit: %v", err)
	}
	p, err := NewParser(Limits{Depth: 3})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultLimits()
	want.Depth = 3
	if p.limits != want {
		t.Errorf("limits %+v", p.limits)
	}
	if m := Parse([]byte("\nx"), Options{Limits: Limits{Parts: -5}}); len(m.Parts) != 1 {
		t.Error("Parse failed on limits that make no sense")
	}
}

func TestOneParserReadsManyMessagesAtOnce(t *testing.T) {
	p, err := NewParser(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	messages := [][]byte{
		usualMessage(), []byte(attached("application/zip", "a.zip", zipped(t, "b.zip", zipped(t, "c.html", "<html>"+evilHTML)))),
		[]byte("\n" + evilText), []byte(inMixed("Content-Type: message/rfc822\n\n" + inMixed("\n"+evilText))),
	}
	type facts struct {
		tree string
		body [32]byte
		urls string
	}
	of := func(m *Message) facts { return facts{tree(m), m.Body, fmt.Sprint(m.URLs)} }
	var want []facts
	for _, raw := range messages {
		want = append(want, of(p.Parse(raw, nil)))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 50 {
				i := (g + n) % len(messages)
				if got := of(p.Parse(messages[i], nil)); got != want[i] {
					t.Errorf("message %d is read as %+v, then as %+v", i, want[i], got)
				}
			}
		})
	}
	wg.Wait()
}

// TestEveryDefectIsExplained compares the constants with the table.
func TestEveryDefectIsExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "defects.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Defect") {
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return true
	})
	kebab := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	var explained []string
	for _, d := range Defects() {
		explained = append(explained, d.Name)
		if !kebab.MatchString(d.Name) || !strings.HasSuffix(d.Meaning, ".") {
			t.Errorf("%q: %q", d.Name, d.Meaning)
		}
	}
	slices.Sort(names)
	slices.Sort(explained)
	if !slices.Equal(names, explained) || len(slices.Compact(names)) != len(explained) {
		t.Errorf("constants %q\ntable %q", names, explained)
	}
}

func TestTypesAreToldByContent(t *testing.T) {
	tests := []struct {
		head string
		text bool
		want string
	}{
		{"", false, ""},
		{"hello", true, "text/plain"},
		{"<html>", true, "text/html"},
		{"\xef\xbb\xbf \n<!DOCTYPE html>", true, "text/html"},
		{"<!-- x --><a href=x>", true, "text/html"},
		{"< 3 is love", true, "text/plain"},
		{"<?xml version=\"1.0\"?><svg xmlns=x>", false, "image/svg+xml"},
		{"<?xml version=\"1.0\"?><!DOCTYPE html><html>", false, "text/html"},
		{"<?xml version=\"1.0\"?><x/>", false, "text/xml"},
		{"<svg onload=x>", false, "image/svg+xml"},
		{"{\\rtf1", false, "text/rtf"},
		{"%PDF-1.7\n%\xe2\xe3\xcf\xd3", false, "application/pdf"},
		{"BEGIN:VCALENDAR\r\n", true, "text/calendar"},
		{"begin:vcard\n", true, "text/vcard"},
		{"Received: from x\n by y\nFrom: a@b\n", false, "message/rfc822"},
		{"From a@b Sat Jan  1 00:00:00 2022\nReturn-Path: <x@y>\nSubject: z\n", false, "message/rfc822"},
		{"Subject: only one\n\nhello", false, "text/plain"},
		{"From: prose\nthat has no second field\n", true, "text/plain"},
		{"MZ\x90\x00\x03\x00\x00\x00", false, "application/vnd.microsoft.portable-executable"},
		{"\x89PNG\r\n\x1a\n", false, "image/png"},
		{"PK\x03\x04\x14\x00", false, "application/zip"},
		{"\x00\x01\x02\x03", true, "application/octet-stream"},
	}
	for _, tt := range tests {
		if got := detect([]byte(tt.head), tt.text); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.head, got, tt.want)
		}
	}
}

func TestAParserWithoutLinksFindsTheSamePartsAndDigests(t *testing.T) {
	p, err := NewParser(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	linkless := p.Linkless()
	texts := [][]byte{
		[]byte("From: a@example.org\r\nSubject: x\r\nX-Mozilla-Cloud-Part: cloudFile; url=https://cloud.example/f\r\nContent-Type: text/html\r\n\r\n<a href=https://evil.example/>x</a>"),
		[]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\nsee http://preamble.example/\r\n--b\r\n\r\nhttp://evil.example/\r\nbegin 644 f.txt\r\n#0V%T\r\n`\r\nend\r\n--b\r\n" +
			"Content-Type: application/octet-stream; name=m.eml\r\n\r\nSubject: inner\r\n\r\nhttp://inner.example/\r\n--b--\r\nhttp://epilogue.example/\r\n"),
	}
	for _, text := range texts {
		whole, outline := p.Parse(text, nil), linkless.Parse(text, nil)
		if len(whole.URLs) == 0 || len(outline.URLs) > 0 {
			t.Errorf("%d links, and %d without", len(whole.URLs), len(outline.URLs))
		}
		if len(whole.Parts) != len(outline.Parts) || whole.Subject() != outline.Subject() || whole.Body != outline.Body {
			t.Errorf("%d parts and %d, subjects %q and %q", len(whole.Parts), len(outline.Parts), whole.Subject(), outline.Subject())
			continue
		}
		for n := range whole.Parts {
			if a, b := &whole.Parts[n], &outline.Parts[n]; a.Path != b.Path || a.Name != b.Name || a.SHA256 != b.SHA256 || a.Fingerprint != b.Fingerprint || b.MD5 != [16]byte{} || b.SHA1 != [20]byte{} || a.Container != b.Container || a.Size != b.Size {
				t.Errorf("part %s is %+v, and %+v", a.Path, *a, *b)
			}
		}
	}
}
