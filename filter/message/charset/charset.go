// Package charset gives text in any charset as UTF-8, as mail clients show it:
// by the labels of the WHATWG Encoding Standard first, because that is what
// browsers and most clients go by (iso-8859-1 means windows-1252), then by
// IANA's, and UTF-7 besides, which Outlook and Thunderbird still read.
//
// No text is refused. What the charset has no character for becomes U+FFFD, and
// text without a usable label is UTF-8 if it can be and windows-1252 otherwise.
package charset

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// Flaw says what was wrong with a text and its label; a set of bits.
type Flaw uint8

// The flaws.
const (
	FlawUnknown Flaw = 1 << iota // the label names no charset that is known here
	FlawInvalid                  // some bytes are no text in the charset
)

// maxLabel bounds what is looked up; the longest registered name has 45 bytes.
const maxLabel = 64

// ToUTF8 gives text, which is in the charset with this label, as valid UTF-8. A
// label is read in any case, with quotes or a language (RFC 2231 section 5)
// around it; the empty label is none. A byte order mark overrules it and is
// left out. The result may be text itself.
func ToUTF8(label string, text []byte) ([]byte, Flaw) {
	switch {
	case bytes.HasPrefix(text, []byte("\xEF\xBB\xBF")):
		return validUTF8(text[3:])
	case bytes.HasPrefix(text, []byte("\xFF\xFE\x00\x00")):
		return decode(utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM), text[4:])
	case bytes.HasPrefix(text, []byte("\x00\x00\xFE\xFF")):
		return decode(utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM), text[4:])
	case bytes.HasPrefix(text, []byte("\xFF\xFE")):
		return decode(unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), text[2:])
	case bytes.HasPrefix(text, []byte("\xFE\xFF")):
		return decode(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), text[2:])
	}
	label = cleanLabel(label)
	switch label {
	case "utf-8", "utf8":
		return validUTF8(text)
	case "", "us-ascii", "ascii":
		return unlabelled(text)
	}
	if isUTF7(label) {
		return utf7(text)
	}
	if !opaque(label) && isASCII(text) {
		return text, 0
	}
	enc := lookup(label)
	if enc == nil {
		out, flaw := unlabelled(text)
		return out, flaw | FlawUnknown
	}
	return decode(enc, text)
}

// Marked reports whether text begins with a byte order mark of UTF-16 or
// UTF-32, which overrules its label for some clients and not for others.
func Marked(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\xFF\xFE")) || bytes.HasPrefix(text, []byte("\xFE\xFF")) ||
		bytes.HasPrefix(text, []byte("\x00\x00\xFE\xFF"))
}

// Opaque reports whether ASCII text may mean something else in the charset with
// this label, so that a link can be seen in the bytes, or in the text that
// they stand for, but not in both.
func Opaque(label string) bool { return opaque(cleanLabel(label)) }

func opaque(label string) bool {
	for _, prefix := range []string{"utf-8", "utf8", "iso-8859-", "windows-", "us-ascii", "gb", "big5", "euc-", "shift", "koi8", "ks_c"} {
		if strings.HasPrefix(label, prefix) {
			return false
		}
	}
	if label == "" {
		return false
	}
	if isUTF7(label) {
		return true
	}
	enc := lookup(label)
	if enc == nil {
		return false
	}
	// "~{" and ESC switch the stateful ones, of which the others know nothing.
	const probe = " !\"#$%&'()*+,-./0:;<=>?@AZ[]^_`az{|}~{!!~}"
	out, _ := decode(enc, []byte(probe))
	if string(out) != probe {
		return true
	}
	out, _ = decode(enc, []byte("\x1b$B!!\x1b(B"))
	return string(out) != "\x1b$B!!\x1b(B"
}

func cleanLabel(label string) string {
	label = strings.Trim(label, " \t\r\n\"'")
	if i := strings.IndexByte(label, '*'); i >= 0 {
		label = label[:i]
	}
	return strings.ToLower(label)
}

// lookup gives the encoding that a clean label names, or nil.
func lookup(label string) encoding.Encoding {
	if len(label) > maxLabel {
		return nil
	}
	switch label { // Microsoft's names, which no index has
	case "cp932":
		return japanese.ShiftJIS
	case "cp936", "ms936":
		return simplifiedchinese.GB18030
	case "cp949", "ms949":
		return korean.EUCKR
	case "cp950", "ms950":
		return traditionalchinese.Big5
	case "utf-16", "utf16", "ucs-2", "unicode": // RFC 2781 section 4.3 says big endian, and mail is little
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case "utf-32", "utf32", "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)
	case "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	}
	if enc, err := htmlindex.Get(label); err == nil && enc != encoding.Replacement {
		return enc
	}
	if enc, err := ianaindex.MIME.Encoding(label); err == nil {
		return enc
	}
	return nil
}

// unlabelled reads text that says nothing of its charset.
func unlabelled(text []byte) ([]byte, Flaw) {
	if utf8.Valid(text) {
		return text, 0
	}
	return decode(charmap.Windows1252, text)
}

func validUTF8(text []byte) ([]byte, Flaw) {
	if utf8.Valid(text) {
		return text, 0
	}
	return bytes.ToValidUTF8(text, []byte("\uFFFD")), FlawInvalid
}

// decode gives text in enc as UTF-8.
func decode(enc encoding.Encoding, text []byte) ([]byte, Flaw) {
	// Every charset needs at most three bytes of UTF-8 for one of its own.
	out := make([]byte, 0, len(text)+len(text)/4+16)
	dec := enc.NewDecoder()
	for rest := text; ; {
		n, used, err := dec.Transform(out[len(out):cap(out)], rest, true)
		out, rest = out[:len(out)+n], rest[used:]
		if !errors.Is(err, transform.ErrShortDst) {
			break
		}
		grown := make([]byte, len(out), cap(out)*2)
		copy(grown, out)
		out = grown
	}
	if !utf8.Valid(out) { // surrogates on their own
		return bytes.ToValidUTF8(out, []byte("\uFFFD")), FlawInvalid
	}
	var flaw Flaw
	if bytes.Contains(out, []byte("\uFFFD")) {
		flaw = FlawInvalid
	}
	return out, flaw
}

func isASCII(text []byte) bool {
	for len(text) >= 8 {
		if (text[0]|text[1]|text[2]|text[3]|text[4]|text[5]|text[6]|text[7])&0x80 != 0 {
			return false
		}
		text = text[8:]
	}
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
