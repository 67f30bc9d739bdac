package archive

import (
	"encoding/binary"
	"strings"
	"testing"
)

func le(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }

// tnef makes a TNEF stream of attributes.
func tnef(attributes ...string) string {
	return sigTNEF + "\x01\x00" + strings.Join(attributes, "")
}

func attribute(id uint32, value string) string {
	return "\x01" + le(id) + le(uint32(len(value))) + value + "\x00\x00"
}

// properties makes a list of properties from their types, IDs and values.
func properties(list ...string) string { return le(uint32(len(list))) + strings.Join(list, "") }

func fixed(kind, id uint32, value string) string { return le(kind|id<<16) + value }

func variable(kind, id uint32, value string) string {
	return fixed(kind, id, le(1)+le(uint32(len(value)))+value+strings.Repeat("\x00", -len(value)&3))
}

// packRTF compresses RTF badly: its first bytes by a reference into the
// dictionary, all others as they are.
func packRTF(text string) string {
	rest, ok := strings.CutPrefix(text, `{\rtf1`)
	if !ok {
		panic("no RTF")
	}
	out := "LZFu" + le(0) + "\x01\x00\x04" // at 0, six bytes
	for i := range len(rest) {
		if i%8 == 7 {
			out += "\x00"
		}
		out += rest[i : i+1]
	}
	return le(uint32(len(out)+4)) + le(uint32(len(text))) + out
}

func TestTNEFIsListed(t *testing.T) {
	wideName := "l\x00o\x00n\x00g\x00.\x00h\x00t\x00m\x00l\x00\x00\x00"
	for name, tt := range map[string]struct {
		data string
		want string
	}{
		"attachments": {tnef(attribute(0x00089006, "\x00\x00\x01\x00"), attribute(tnefRendData, "x"), attribute(tnefTitle, "a.txt\x00"), attribute(tnefData, "hello"),
			attribute(tnefRendData, "x"), attribute(tnefTitle, "b.exe\x00"), attribute(tnefData, "world")), "1 a.txt=hello; 2 b.exe=world"},
		"an attachment with a long name": {tnef(attribute(tnefRendData, "x"), attribute(tnefTitle, "LONG~1.HTM\x00"), attribute(tnefData, "hello"),
			attribute(tnefAttachment, properties(fixed(3, 0x3705, le(1)), variable(propUnicode, propLongName, wideName), variable(0x1E, propFileName, "LONG~1.HTM\x00")))), "1 long.html=hello also LONG~1.HTM"},
		"data among the properties": {tnef(attribute(tnefRendData, "x"), attribute(tnefAttachment, properties(variable(0x102, propAttachData, "hello"), variable(0x1E, propFileName, "a.txt\x00")))), "1 a.txt=hello"},
		"a message":                 {tnef(attribute(tnefRendData, "x"), attribute(tnefAttachment, properties(variable(propObject, propAttachData, strings.Repeat("i", 16)+sigTNEF)))), "1 =" + sigTNEF},
		"bodies": {tnef(attribute(tnefBody, "plain"), attribute(tnefMessage, properties(
			fixed(3, 0x8001, strings.Repeat("g", 16)+le(0)+le(7)+le(1)), fixed(0x0B, 0x8002, strings.Repeat("g", 16)+le(1)+le(6)+"n\x00m\x00\x00\x00\x00\x00"+le(1)),
			fixed(0x1003, 0x1234, le(2)+le(1)+le(2)), fixed(0x40, 0x0E06, "01234567"), fixed(0x48, 1, strings.Repeat("c", 16)),
			variable(0x102, propHTML, "<html>"), variable(0x102, propRTF, packRTF(`{\rtf1 hello, hello}`))))), `1 body.txt=plain; 2 body.html=<html>; 3 body.rtf={\rtf1 hello, hello}`},
		"RTF as it is":              {tnef(attribute(tnefMessage, properties(variable(0x102, propRTF, le(0)+le(0)+"MELA"+le(0)+"{rtf}")))), "1 body.rtf={rtf}"},
		"RTF that is none":          {tnef(attribute(tnefMessage, properties(variable(0x102, propRTF, "x"), variable(0x102, propRTF, strings.Repeat("x", 20))))), ""},
		"cut short":                 {tnef(attribute(tnefRendData, "x"), attribute(tnefTitle, "a.txt\x00"), attribute(tnefData, "hello"))[:48], "1 a.txt=hell"},
		"properties that are cut":   {tnef(attribute(tnefMessage, properties(variable(0x102, propHTML, "<html>"))[:20])), ""},
		"more properties than are":  {tnef(attribute(tnefMessage, le(0xFFFFFFFF)+variable(0x102, propHTML, "<html>"))), "1 body.html=<html>"},
		"more values than are":      {tnef(attribute(tnefMessage, properties(fixed(0x1102, propHTML, le(0xFFFFFFFF)+le(1)+"a\x00\x00\x00")))), "1 body.html=a"},
		"an attribute without data": {tnef(attribute(tnefRendData, ""), "\x02"), "1 ="},
		"nothing":                   {sigTNEF, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if kind := Sniff([]byte(tt.data)); kind != TNEF {
				t.Errorf("sniffed as %d", kind)
			}
			if got, _ := list(t, TNEF, []byte(tt.data)); got != tt.want {
				t.Errorf("%q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestTNEFHoldsNoMoreFilesThanTheLimitAllows(t *testing.T) {
	data := tnef(strings.Repeat(attribute(tnefRendData, "x"), 200))
	n := 0
	flaws := Walk(TNEF, []byte(data), 3, func(*File) bool { n++; return true })
	if n != 3 || flaws != FlawLimit {
		t.Errorf("%d files, flaws %b", n, flaws)
	}
}
