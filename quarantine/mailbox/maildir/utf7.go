package maildir

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Folders are named on disk as IMAP names them: in modified UTF-7 (RFC 3501
// section 5.1.3).

func utf7Base64() *base64.Encoding {
	return base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
}

// encodeName gives a name in modified UTF-7.
func encodeName(name string) string {
	var b strings.Builder
	var shifted []rune
	flush := func() {
		if len(shifted) == 0 {
			return
		}
		var octets []byte
		for _, u := range utf16.Encode(shifted) {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + utf7Base64().EncodeToString(octets) + "-")
		shifted = shifted[:0]
	}
	for _, r := range name {
		if r < 0x20 || r > 0x7e {
			shifted = append(shifted, r)
			continue
		}
		flush()
		b.WriteRune(r)
		if r == '&' {
			b.WriteByte('-')
		}
	}
	flush()
	return b.String()
}

// decodeName reads modified UTF-7. It reports false for what encodeName would
// not have written: each name has one form.
func decodeName(name string) (string, bool) {
	var b strings.Builder
	for rest := name; rest != ""; {
		plain, after, shift := strings.Cut(rest, "&")
		b.WriteString(plain)
		if !shift {
			break
		}
		code, after, closed := strings.Cut(after, "-")
		if rest = after; !closed {
			return "", false
		}
		if code == "" {
			b.WriteByte('&')
			continue
		}
		octets, err := utf7Base64().DecodeString(code)
		if err != nil || len(octets)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(octets)/2)
		for i := range units {
			units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
		}
		b.WriteString(string(utf16.Decode(units)))
	}
	text := b.String()
	return text, utf8.ValidString(text) && encodeName(text) == name
}
