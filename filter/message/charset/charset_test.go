package charset

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextIsReadAsClientsShowIt(t *testing.T) {
	tests := []struct {
		name, label, in, want string
		flaw                  Flaw
	}{
		{"no label, ASCII", "", "http://a.example", "http://a.example", 0},
		{"no label, UTF-8", "", "café", "café", 0},
		{"no label, eight bits", "", "caf\xe9 \x80", "café €", 0},
		{"ASCII that isn't", "us-ascii", "caf\xe9", "café", 0},
		{"UTF-8 in quotes", `"UTF-8"`, "café", "café", 0},
		{"UTF-8 with a language", "utf-8*fr", "café", "café", 0},
		{"UTF-8 that isn't", "utf-8", "caf\xe9!", "caf\uFFFD!", FlawInvalid},
		{"Latin 1 means windows-1252", "ISO-8859-1", "caf\xe9 \x80", "café €", 0},
		{"Latin 2", "iso-8859-2", "\xb1", "ą", 0},
		{"Cyrillic", "koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет", 0},
		{"Japanese with escapes", "iso-2022-jp", "\x1b$B$3\x1b(B", "こ", 0},
		{"Shift JIS by Microsoft's name", "cp932", "\x82\xb1", "こ", 0},
		{"Chinese", "gb2312", "\xc4\xe3", "你", 0},
		{"HZ", "hz-gb-2312", "~{Dc~}", "你", 0},
		{"Korean", "ks_c_5601-1987", "\xc7\xd1", "한", 0},
		{"Big5", "big5", "\xa7\x41", "你", 0},
		{"EBCDIC", "ibm037", "\x88\xa3\xa3\x97", "http", 0},
		{"an unknown label", "x-nothing", "caf\xe9", "café", FlawUnknown},
		{"a very long label", strings.Repeat("x", 10000), "café", "café", FlawUnknown},
		{"UTF-16 by its mark", "utf-8", "\xff\xfeh\x00i\x00", "hi", 0},
		{"big-endian UTF-16 by its mark", "", "\xfe\xff\x00h\x00i", "hi", 0},
		{"UTF-16 without a mark", "utf-16", "h\x00i\x00", "hi", 0},
		{"UTF-16 with half a surrogate", "utf-16le", "h\x00\x00\xd8", "h\uFFFD", FlawInvalid},
		{"UTF-32 by its mark", "", "\xff\xfe\x00\x00h\x00\x00\x00", "h", 0},
		{"UTF-8 with a mark", "iso-8859-1", "\xef\xbb\xbfcafé", "café", 0},
		{"UTF-7", "utf-7", "Hi Mom +Jjo-!", "Hi Mom ☺!", 0},
		{"UTF-7 hiding a link", "UTF-7", "+AGgAdAB0AHA-://x.example", "http://x.example", 0},
		{"UTF-7 beyond the first plane", "utf-7", "+2D3eAA-", "😀", 0},
		{"UTF-7 with a plus sign", "utf-7", "1 +- 1", "1 + 1", 0},
		{"UTF-7 broken", "utf-7", "a+ b\xff+2D0-", "a+ b\uFFFD\uFFFD", FlawInvalid},
		{"nothing", "utf-16", "", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, flaw := ToUTF8(tt.label, []byte(tt.in))
			if string(got) != tt.want || flaw != tt.flaw {
				t.Errorf("%q, flaws %b, want %q, flaws %b", got, flaw, tt.want, tt.flaw)
			}
		})
	}
}

func TestCharsetsThatCanHideALinkAreKnown(t *testing.T) {
	for label, want := range map[string]bool{
		"": false, "utf-8": false, "iso-8859-15": false, "windows-1251": false, "koi8-r": false,
		"big5": false, "gb18030": false, "macintosh": false, "x-nothing": false, "ibm866": false,
		"utf-16": true, "utf-16le": true, "utf-32": true, "UTF-7": true, "iso-2022-jp": true, "hz-gb-2312": true, "ibm037": true,
	} {
		if got := Opaque(label); got != want {
			t.Errorf("%s: %v", label, got)
		}
	}
}

func TestASCIIInAPlainCharsetIsNotCopied(t *testing.T) {
	text := []byte("plain text, and long enough")
	for _, label := range []string{"", "utf-8", "us-ascii", "iso-8859-1", "koi8-r", "x-nothing"} {
		if out, _ := ToUTF8(label, text); &out[0] != &text[0] {
			t.Errorf("%s: copied", label)
		}
	}
}

func FuzzToUTF8(f *testing.F) {
	f.Add("utf-7", []byte("a+Jjo-b+"))
	f.Add("iso-2022-jp", []byte("\x1b$B$3"))
	f.Add("utf-16", []byte("\x00\xd8\x00"))
	f.Add("gb18030", []byte("\x81\x30"))
	f.Add("ibm037", []byte("\x88"))
	f.Fuzz(func(t *testing.T, label string, text []byte) {
		before := bytes.Clone(text)
		out, _ := ToUTF8(label, text)
		if !utf8.Valid(out) {
			t.Fatalf("%q is not UTF-8", out)
		}
		if len(out) > 4*len(text)+8 {
			t.Fatalf("%d bytes became %d", len(text), len(out))
		}
		if !bytes.Equal(before, text) {
			t.Fatal("the source was written to")
		}
		Opaque(label)
	})
}

func BenchmarkToUTF8(b *testing.B) {
	ascii := []byte(strings.Repeat("plain text of a message, ", 200))
	for _, bb := range []struct {
		name, label string
		text        []byte
	}{
		{"ascii as utf-8", "utf-8", ascii},
		{"ascii as iso-8859-1", "iso-8859-1", ascii},
		{"iso-8859-1", "iso-8859-1", []byte(strings.Repeat("h\xf6re, h\xf6re und sieh ", 200))},
		{"utf-8", "utf-8", []byte(strings.Repeat("höre, höre und sieh ", 200))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.text)))
			for b.Loop() {
				ToUTF8(bb.label, bb.text)
			}
		})
	}
}
