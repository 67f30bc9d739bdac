package message

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFileNamesAreDecodedAsMailClientsDo(t *testing.T) {
	tests := []struct {
		name, disposition, contentType string
		want                           string // names, joined by "|"
		flaw                           nameFlaw
	}{
		{"none", "attachment", "text/plain", "", 0},
		{"quoted", `attachment; filename="a b.pdf"`, "", "a b.pdf", 0},
		{"bare", "attachment; filename=a.pdf", "", "a.pdf", 0},
		{"bare with spaces", "attachment; filename=a b c.pdf", "", "a b c.pdf|a", nameConflict},
		{"from the type", "attachment", `application/pdf; name="a.pdf"`, "a.pdf", 0},
		{"the same in both", `attachment; filename=a.pdf`, `application/pdf; name="a.pdf"`, "a.pdf", 0},
		{"another one in the type", `attachment; filename=a.pdf`, `application/pdf; name="a.exe"`, "a.pdf|a.exe", nameConflict},
		{"RFC 2231", `attachment; filename*=utf-8''caf%C3%A9.pdf`, "", "café.pdf", 0},
		{"RFC 2231 in Latin 1, with a language", `attachment; filename*=iso-8859-1'fr'caf%E9.pdf`, "", "café.pdf", 0},
		{"RFC 2231 in quotes", `attachment; filename*="utf-8''caf%C3%A9.pdf"`, "", "café.pdf", 0},
		{"RFC 2231 without a charset", `attachment; filename*=caf%C3%A9.pdf`, "", "café.pdf", 0},
		{"RFC 2231 in sections", `attachment; filename*0="one "; filename*1="two"; filename*2=.pdf`, "", "one two.pdf", 0},
		{"sections out of order", `attachment; filename*1=two.pdf; filename*0=one`, "", "onetwo.pdf", 0},
		{"more than ten sections", "attachment; filename*10=k; filename*2=c; filename*0=a; filename*1=b; filename*3=d; filename*4=e; filename*5=f; filename*6=g; filename*7=h; filename*8=i; filename*9=j", "", "abcdefghijk", 0},
		{"encoded sections", `attachment; filename*0*=utf-8''caf%C3; filename*1*=%A9; filename*2=".pdf"`, "", "café.pdf", 0},
		{"a section twice", `attachment; filename*0=a; filename*0=b; filename*1=.pdf`, "", "a.pdf", 0},
		{"RFC 2231 beside a plain one", `attachment; filename="a.pdf"; filename*=utf-8''b.exe`, "", "b.exe|a.pdf", nameConflict},
		{"encoded words", `attachment; filename="=?utf-8?B?Y2Fmw6kucGRm?="`, "", "café.pdf", 0},
		{"encoded words that are folded", "attachment; filename=\"=?utf-8?Q?caf=C3?=\r\n =?utf-8?Q?=A9.pdf?=\"", "", "café.pdf", 0},
		{"bare encoded words", `attachment; filename==?utf-8?Q?caf=C3=A9.pdf?=`, "", "café.pdf", 0},
		{"encoded words in RFC 2231", `attachment; filename*0="=?utf-8?Q?caf=C3=A9"; filename*1=".pdf?="`, "", "café.pdf", 0},
		{"raw UTF-8", `attachment; filename="café.pdf"`, "", "café.pdf", 0},
		{"raw Latin 1", "attachment; filename=\"caf\xe9.pdf\"", "", "café.pdf", 0},
		{"twice", `attachment; filename=a.pdf; filename=b.exe`, "", "a.pdf|b.exe", nameConflict},
		{"escapes", `attachment; filename="a\"b.pdf"`, "", `a"b.pdf|a\"b.pdf`, nameConflict},
		{"a DOS path", `attachment; filename="C:\temp\a.exe"`, "", `C:tempa.exe|C:\temp\a.exe`, nameConflict | namePath},
		{"a path up", `attachment; filename="../../a.sh"`, "", "../../a.sh", namePath},
		{"a path from the root", `attachment; filename=/etc/passwd`, "", "/etc/passwd", namePath},
		{"a folder", `attachment; filename="docs/a.pdf"`, "", "docs/a.pdf", 0},
		{"NUL", "attachment; filename*=''a.exe%00.pdf", "", "a.exe.pdf|a.exe", nameControl | nameConflict},
		{"raw NUL", "attachment; filename=\"a.exe\x00.pdf\"", "", "a.exe.pdf|a.exe", nameControl | nameConflict},
		{"control characters", "attachment; filename*=''a%0D%0A%1B.exe", "", "a.exe", nameControl},
		{"right to left", "attachment; filename*=utf-8''invoice%E2%80%AEfdp.exe", "", "invoice\u202efdp.exe", nameBidi},
		{"an unclosed quote", `attachment; filename="a.pdf`, "", "a.pdf", 0},
		{"an unclosed quote before another parameter", `attachment; filename="a.pdf; size=3`, "", "a.pdf|a.pdf; size=3", nameConflict},
		{"no semicolon", `attachment filename=a.pdf`, "", "a.pdf", 0},
		{"no semicolon between", `attachment; size=3 filename=a.pdf`, "", "a.pdf", 0},
		{"spaces around the equals sign", `attachment; filename = "a.pdf"`, "", "a.pdf", 0},
		{"text behind the quotes", `attachment; filename="a".pdf`, "", "a|a.pdf", nameConflict},
		{"a comment", `attachment (x); filename=a.pdf (y)`, "", "a.pdf|a.pdf (y)", nameConflict},
		{"in capitals", `ATTACHMENT; FILENAME="a.pdf"`, "", "a.pdf", 0},
		{"empty", `attachment; filename=""`, "", "", 0},
		{"percent signs that are none", `attachment; filename="100%.pdf"; x*=%zz`, "", "100%.pdf", 0},
		{"too long", `attachment; filename="` + strings.Repeat("a", 2000) + `.exe"`, "", strings.Repeat("a", maxName-4) + ".exe", nameLong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, disposition, _ := cutParams(unfold(tt.disposition))
			_, contentType, _ := cutParams(unfold(tt.contentType))
			names, flaw := fileNames(disposition, contentType)
			if got := strings.Join(names, "|"); got != tt.want || flaw != tt.flaw {
				t.Errorf("%q, flaws %b, want %q, flaws %b", got, flaw, tt.want, tt.flaw)
			}
		})
	}
}

func TestParametersAreReadWhateverSurroundsThem(t *testing.T) {
	tests := []struct {
		in, value, boundary string
		malformed           bool
	}{
		{`multipart/mixed; boundary=b`, "multipart/mixed", "b", false},
		{`Multipart/Mixed; Boundary="b"`, "multipart/mixed", "b", false},
		{`multipart/mixed ; boundary = b ; `, "multipart/mixed", "b", false},
		{`multipart/mixed (mixed; really); (x) boundary=b (y)`, "multipart/mixed", "b|b (y)", false},
		{`multipart/mixed;;; boundary=b`, "multipart/mixed", "b", false},
		{`multipart/mixed boundary=b`, "multipart/mixed", "b", true},
		{`multipart/mixed, boundary=b`, "multipart/mixed", "b", true},
		{`multipart/mixed; charset=x boundary=b`, "multipart/mixed", "b", true},
		{`multipart/mixed; what is this; boundary=b`, "multipart/mixed", "b", true},
		{`multipart/mixed; =x; boundary=b`, "multipart/mixed", "b", true},
		{`multipart/mixed; boundary="b`, "multipart/mixed", "b", true},
		{`multipart/mixed; boundary="b; x=y`, "multipart/mixed", "b|b; x=y", true},
		{`multipart/mixed; boundary=b"`, "multipart/mixed", `b"`, false},
		{`multipart/mixed; boundary=a b`, "multipart/mixed", "a b|a", true},
		{`multipart/mixed; boundary="a b"`, "multipart/mixed", "a b", false},
		{`multipart/mixed; boundary=a; boundary=b`, "multipart/mixed", "a|b", false},
		{`multipart/mixed; boundary*0=a; boundary*1=b`, "multipart/mixed", "ab", false},
		{`multipart/mixed; boundary*=us-ascii''a%62; boundary=c`, "multipart/mixed", "ab|c", false},
		{`multipart/mixed; boundary="=?utf-8?Q?b?="`, "multipart/mixed", "b", false},
		{`multipart/mixed; (unclosed boundary=b`, "multipart/mixed", "b", true},
		{`"multipart/mixed"; boundary=b`, "multipart/mixed", "b", false},
		{``, "", "", false},
		{`;`, "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			value, ps, malformed := cutParams(tt.in)
			boundary := strings.Join(ps.get("boundary"), "|")
			if value != tt.value || boundary != tt.boundary || malformed != tt.malformed {
				t.Errorf("%q, boundary %q, malformed %v", value, boundary, malformed)
			}
		})
	}
}

func TestExtensionsAreThoseThatSystemsGoBy(t *testing.T) {
	for name, want := range map[string]string{
		"a.pdf": "pdf", "a.PDF": "pdf", "a.tar.gz": "gz", "a.exe. .": "exe", "noextension": "", ".": "", "a.": "",
		"a.averyveryverylongextension": "",
	} {
		if got := extension(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

var anyCase = regexp.MustCompile("(?i)filename")

func FuzzFileNames(f *testing.F) {
	f.Add(`attachment; filename*0*=utf-8''caf%C3; filename*1*=%A9; filename="a.pdf"`, `application/pdf; name="=?utf-8?Q?=41?="`)
	f.Add(`attachment; filename="a\"b`, `x/y (((; name=a b c=d`)
	f.Fuzz(func(t *testing.T, disposition, contentType string) {
		_, ds, _ := cutParams(disposition)
		_, cs, _ := cutParams(contentType)
		if len(ds) > maxParams {
			t.Fatalf("%d parameters", len(ds))
		}
		names, flaws := fileNames(ds, cs)
		for _, name := range names {
			if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\r\n") {
				t.Fatalf("name %q", name)
			}
		}
		if len(names) > 1 != (flaws&nameConflict != 0) {
			t.Fatalf("%q, flaws %b", names, flaws)
		}
		// What is written as it should be is found, whatever stands before it.
		_, after, _ := cutParams(`attachment; filename="good.pdf"; ` + anyCase.ReplaceAllString(disposition, "x"))
		if got := after.get("filename"); len(got) != 1 || got[0] != "good.pdf" {
			t.Fatalf("%q", got)
		}
	})
}
