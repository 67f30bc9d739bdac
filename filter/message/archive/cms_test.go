package archive

import (
	"strings"
	"testing"
)

// element makes an element of BER with a length of two bytes.
func element(tag byte, content string) string {
	return string([]byte{tag, 0x82, byte(len(content) >> 8), byte(len(content))}) + content
}

// indefinite makes one that ends with an end mark.
func indefinite(tag byte, content string) string {
	return string([]byte{tag, 0x80}) + content + "\x00\x00"
}

const oidData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"

// signed makes SignedData around an octet string.
func signed(octets string) string {
	content := element(tagSequence, oidData+element(tagExplicit, octets))
	return element(tagSequence, oidSignedData+element(tagExplicit, element(tagSequence, "\x02\x01\x01"+element(0x31, "algorithms")+content+element(0x31, "signers"))))
}

func TestTheContentOfASignatureIsListed(t *testing.T) {
	openEnded := indefinite(tagSequence, oidSignedData+indefinite(tagExplicit, indefinite(tagSequence, "\x02\x01\x01"+
		indefinite(0x31, indefinite(tagSequence, "\x05\x00"))+indefinite(tagSequence, oidData+indefinite(tagExplicit, indefinite(tagOctetPieces, "\x04\x03hel\x04\x00\x04\x02lo")))+element(0x31, "signers"))))
	for name, tt := range map[string]struct{ data, want string }{
		"in one piece":                {signed(element(tagOctets, "hello")), "1 =hello"},
		"in pieces":                   {signed(element(tagOctetPieces, "\x04\x03hel\x04\x02lo")), "1 =hello"},
		"in pieces of pieces":         {signed(indefinite(tagOctetPieces, "\x04\x02he"+indefinite(tagOctetPieces, "\x04\x01l")+element(tagOctetPieces, "\x04\x02lo")) + "\x04\x01!"), "1 =hello"},
		"with end marks":              {openEnded, "1 =hello"},
		"cut short":                   {openEnded[:strings.Index(openEnded, "hel")+2], "1 =he"},
		"of another kind":             {signed(element(tagSequence, "hello")), "1 ="},
		"a signature without content": {element(tagSequence, oidSignedData+element(tagExplicit, element(tagSequence, "\x02\x01\x01"+element(0x31, "")+element(tagSequence, oidData)))), ""},
		"nesting without end":         {element(tagSequence, oidSignedData+element(tagExplicit, element(tagSequence, "\x02\x01\x01"+strings.Repeat("\x31\x80", 10000)))), ""},
		"lengths that are none":       {element(tagSequence, oidSignedData+"\xa0\x89\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if kind := Sniff([]byte(tt.data)); kind != CMS {
				t.Errorf("sniffed as %d", kind)
			}
			if got, _ := list(t, CMS, []byte(tt.data)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
