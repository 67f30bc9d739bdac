package message

import (
	"strings"
	"unicode/utf8"

	"github.com/weirmail/weir/filter/message/charset"
	"github.com/weirmail/weir/filter/message/transfer"
)

// wordFlaw says what was wrong with the text of a field; a set of bits.
type wordFlaw uint8

const (
	wordBroken  wordFlaw = 1 << iota // begins like an encoded word and is none
	wordCharset                      // its charset is unknown or has no such bytes
	wordRaw                          // bytes beyond ASCII that are not UTF-8
	wordControl                      // control characters, NUL included
)

// maxWordCharset bounds the charset of an encoded word, language included, in bytes.
const maxWordCharset = 100

// decodeWords decodes the encoded words in text (RFC 2047) as mail clients do:
// anywhere in the text, longer than 75 bytes, with spaces inside, and joined
// with a neighbour in the same charset before the charset is undone, since many
// programs cut words inside a character. Raw bytes that are not UTF-8 are
// read as windows-1252. CR, LF and TAB become spaces, other control characters
// are left out.
func decodeWords(text string) (string, wordFlaw) {
	if isPlain(text) {
		return text, 0
	}
	d := decodeAll(text)
	d.dropControls()
	return string(d.out), d.flaw
}

// decodeWordsOnly is decodeWords, but control characters stay.
func decodeWordsOnly(text string) string {
	if isPlain(text) {
		return text
	}
	return string(decodeAll(text).out)
}

func decodeAll(text string) *wordDecoder {
	d := new(wordDecoder)
	for text != "" {
		i := strings.Index(text, "=?")
		if i < 0 {
			break
		}
		word, ok := d.cutWord(text[i:])
		if !ok {
			d.flaw |= wordBroken
			d.raw(text[:i+2])
			text = text[i+2:]
			continue
		}
		if i > 0 && (!d.afterWord || strings.Trim(text[:i], " \t\r\n") != "") {
			d.raw(text[:i])
		}
		d.word(word)
		text = text[i+word.length:]
	}
	d.raw(text)
	d.flush()
	return d
}

// isPlain reports whether text is printable ASCII without encoded words.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '=' && i+1 < len(text) && text[i+1] == '?' {
			return false
		}
	}
	return true
}

type encodedWord struct {
	charset string
	base64  bool
	text    string
	length  int
}

type wordDecoder struct {
	out       []byte
	bytes     []byte // of encoded words whose charset is not undone yet
	charset   string
	afterWord bool
	noEnd     bool // no "?=" is left in the text
	flaw      wordFlaw
}

// cutWord reads the encoded word that text begins with.
func (d *wordDecoder) cutWord(text string) (encodedWord, bool) {
	if d.noEnd {
		return encodedWord{}, false
	}
	i := strings.IndexByte(text[2:min(len(text), 2+maxWordCharset)], '?')
	if i < 0 {
		return encodedWord{}, false
	}
	w := encodedWord{charset: text[2 : 2+i]}
	rest := text[2+i+1:]
	if len(rest) < 2 || rest[1] != '?' || strings.ContainsAny(w.charset, " \t") {
		return encodedWord{}, false
	}
	switch rest[0] {
	case 'B', 'b':
		w.base64 = true
	case 'Q', 'q':
	default:
		return encodedWord{}, false
	}
	rest = rest[2:]
	end := strings.Index(rest, "?=")
	if end < 0 {
		d.noEnd = true
		return encodedWord{}, false
	}
	w.text = rest[:end]
	w.length = len(text) - len(rest) + end + 2
	return w, true
}

// word takes an encoded word.
func (d *wordDecoder) word(w encodedWord) {
	if !d.afterWord || !strings.EqualFold(w.charset, d.charset) {
		d.flush()
		d.charset = w.charset
	}
	d.afterWord = true
	if w.base64 {
		d.bytes, _ = transfer.Append(d.bytes, transfer.Base64, []byte(w.text))
		return
	}
	for i := 0; i < len(w.text); i++ {
		switch c := w.text[i]; c {
		case '_':
			d.bytes = append(d.bytes, ' ')
		case '=':
			if i+2 < len(w.text) {
				hi, lo := hexDigit(w.text[i+1]), hexDigit(w.text[i+2])
				if hi|lo < 16 {
					d.bytes = append(d.bytes, hi<<4|lo)
					i += 2
					continue
				}
			}
			d.flaw |= wordBroken
			d.bytes = append(d.bytes, c)
		default:
			d.bytes = append(d.bytes, c)
		}
	}
}

// flush undoes the charset of the words taken so far.
func (d *wordDecoder) flush() {
	if len(d.bytes) == 0 {
		return
	}
	text, flaw := charset.ToUTF8(d.charset, d.bytes)
	if flaw != 0 {
		d.flaw |= wordCharset
	}
	d.out = append(d.out, text...)
	d.bytes = d.bytes[:0]
}

// raw takes text outside of encoded words.
func (d *wordDecoder) raw(text string) {
	d.flush()
	d.afterWord = false
	if utf8.ValidString(text) {
		d.out = append(d.out, text...)
		return
	}
	d.flaw |= wordRaw
	fixed, _ := charset.ToUTF8("", []byte(text))
	d.out = append(d.out, fixed...)
}

func (d *wordDecoder) dropControls() {
	kept := d.out[:0]
	for _, c := range d.out {
		switch {
		case c == '\r' || c == '\n' || c == '\t':
			kept = append(kept, ' ')
		case c < ' ' || c == 0x7f:
			d.flaw |= wordControl
		default:
			kept = append(kept, c)
		}
	}
	d.out = kept
}

// hexDigit gives the value of a hexadecimal digit of either case, or 0xFF.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xFF
}
