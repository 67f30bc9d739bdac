package message

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// evil is the link that every hostile message below tries to hide.
const evil = "http://evil.example/pay"

// hasLink reports whether the link of the hostile messages was found.
func hasLink(m *Message) bool {
	return slices.ContainsFunc(m.URLs, func(u URL) bool { return u.Value.String() == evil })
}

const (
	evilHTML  = `<p>Pay <a href="` + evil + `">here</a></p>`
	codedHTML = `<p>Pay <a href="http:&#x2f;/evil.example/pay">here</a></p>` // a link to who reads it as HTML only
	evilText  = "Pay here: " + evil + "\n"
)

func utf16le(text string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(text)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

// inMixed puts a part into a multipart.
func inMixed(part string) string {
	return "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part + "\n--b--\n"
}

func TestNoBrokenMessageHidesALink(t *testing.T) {
	base64HTML := b64(evilHTML)
	qpHTML := strings.ReplaceAll(evilHTML, "=", "=3D")
	tests := []struct{ name, in, defect string }{
		// Those that other parsers stumble over.
		{"a bad header line", "From: a@b\nthis is no field\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectHeaderLine},
		{"a bad header line before all", "this is no field\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectHeaderLine},
		{"a header name beyond ASCII", "X-\xc3\xa9: y\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectHeaderName},
		{"a header name with spaces", "My Field: y\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectHeaderLine},
		{"an unclosed boundary parameter", "Content-Type: multipart/mixed; boundary=\"b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectParameters},
		{"a boundary parameter with spaces", "Content-Type: multipart/mixed; boundary=a b\n\n--a b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--a b--\n", DefectParameters},
		{"a boundary parameter twice, the first counts", "Content-Type: multipart/mixed; boundary=b; boundary=c\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectBoundaryConflict},
		{"a boundary parameter twice, the second counts", "Content-Type: multipart/mixed; boundary=c; boundary=b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectBoundaryConflict},
		{"no semicolon before the boundary parameter", "Content-Type: multipart/mixed boundary=b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectParameters},
		{"junk in a part's header", inMixed("junk\nContent-Type: text/html\nmore junk\nContent-Transfer-Encoding: base64\n\n" + base64HTML), DefectHeaderLine},
		{"base64 with foreign characters", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n!" + base64HTML[:10] + "*\x00~" + base64HTML[10:]), DefectBase64Alphabet},
		{"base64 with a comment in its name", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: base64 (comment)\n\n" + base64HTML), DefectEncodingMalformed},
		{"base64 in quotes", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: \"base64\"\n\n" + base64HTML), DefectEncodingMalformed},
		{"base64 with a semicolon", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: base64;\n\n" + base64HTML), DefectEncodingMalformed},
		{"joined padded base64", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64("a") + b64(evilHTML)), DefectBase64Joined},
		{"a mailbox line", "From x@y Sat Jan  1 00:00:00 2022\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectMboxLine},
		{"a leading continuation line", " continued\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectLeadingFold},
		{"a leading continuation line in a part", inMixed("\tcontinued\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML), DefectLeadingFold},
		{"no boundary parameter", "Content-Type: multipart/mixed\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectBoundaryMissing},
		{"a boundary parameter without a value", "Content-Type: multipart/mixed; boundary\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectBoundaryMissing},

		// Headers.
		{"no empty line", "Content-Type: text/html\n" + evilHTML, DefectHeaderUnended},
		{"in a bad header line", "Content-Type: text/plain\nsee " + evil + "\nTo: x@y\n\nhello", DefectHeaderLine},
		{"in an encoded bad header line", "Content-Type: text/plain\n" + base64HTML + "\nTo: x@y\n\nhello", DefectHeaderLine},
		{"a line of spaces for the empty one", "Content-Type: text/html\n \n" + evilHTML, DefectHeaderBlank},
		{"space before the colon", inMixed("Content-Type : text/html\nContent-Transfer-Encoding\t: base64\n\n" + base64HTML), DefectHeaderSpace},
		{"a field behind a lone CR", "X: y\rContent-Type: text/html\rContent-Transfer-Encoding: base64\r\n\r\n" + base64HTML, DefectBareCR},
		{"doubled CRs", "Content-Type: text/html\r\r\nContent-Transfer-Encoding: base64\r\r\n\r\r\n" + base64HTML, DefectBareCR},
		{"lone CRs", "Content-Type: multipart/mixed; boundary=b\r\r--b\rContent-Type: text/html\rContent-Transfer-Encoding: base64\r\r" + base64HTML + "\r--b--\r", DefectBareCR},
		{"in the subject", "Subject: =?utf-8?B?" + b64(evilText) + "?=\n\nhello", ""},

		// Types and encodings.
		{"two types, HTML first", "Content-Type: text/html\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectTypeConflict},
		{"two types, HTML second", "Content-Type: application/octet-stream\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64("x"+evilHTML), DefectTypeConflict},
		{"two types, multipart second", "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectTypeConflict},
		{"two encodings, base64 first", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit\n\n" + base64HTML), DefectEncodingConflict},
		{"two encodings, base64 second", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\n" + base64HTML), DefectEncodingConflict},
		{"two encodings in one field", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: 8bit, base64\n\n" + base64HTML), DefectEncodingMalformed},
		{"an unknown encoding of base64", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: x-b64\n\n" + base64HTML), DefectEncodingUnknown},
		{"an unknown encoding of quoted-printable", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: qp\n\n" + qpHTML), DefectEncodingUnknown},
		{"an unknown encoding of nothing", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: plain\n\n" + evilHTML), DefectEncodingUnknown},
		{"broken quoted-printable", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n=ZZ" + qpHTML + "="), DefectQuotedPrintable},
		{"a link over soft line breaks", inMixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nhttp:=\n//evil.ex= \nample/p=\nay"), ""},
		{"uuencoded HTML", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 a.html\n" + uuencode(evilHTML) + "`\nend\n"), ""},
		{"an encoded attached message", inMixed("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + b64("Content-Type: text/html\n\n"+evilHTML)), DefectEncodingContainer},
		{"an encoded multipart", "Content-Type: multipart/mixed; boundary=c\nContent-Transfer-Encoding: quoted-printable\n\n--=63\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + strings.ReplaceAll(base64HTML, "=", "=3D") + "\n--=63--\n", DefectEncodingContainer},
		{"a type that is none", "Content-Type: html\n\n" + evilHTML, DefectTypeMalformed},
		{"half a type", "Content-Type: multipart/; boundary=b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectTypeMalformed},
		{"HTML called plain text", "Content-Type: text/plain\n\n<html><a href=\"http:&#x2f;/evil.example/pay\">x</a>", ""},
		{"HTML called a picture", inMixed("Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n" + b64("<!doctype html>"+evilHTML)), ""},
		{"HTML by its name", inMixed("Content-Type: application/octet-stream; name=a.html\nContent-Transfer-Encoding: base64\n\n" + b64("&nbsp;"+evilHTML)), ""},
		{"a calendar with folded lines", inMixed("Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nURL:http://evil.exa\n mple/pay\nEND:VCALENDAR"), ""},
		{"flowed text", inMixed("Content-Type: text/plain; format=flowed; delsp=yes\n\nsee http://evil. \nexample/pay"), ""},
		{"a message in a report", inMixed("Content-Type: text/rfc822-headers\n\nX: " + evil), ""},

		// Charsets.
		{"UTF-16 in base64", inMixed("Content-Type: text/html; charset=utf-16\nContent-Transfer-Encoding: base64\n\n" + b64("\xff\xfe"+utf16le(evilHTML))), ""},
		{"UTF-16 without a mark or a name", inMixed("Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64(utf16le(evilHTML))), ""},
		{"ASCII called UTF-16", inMixed("Content-Type: text/html; charset=utf-16\n\n" + evilHTML), ""},
		{"UTF-7", inMixed("Content-Type: text/plain; charset=utf-7\n\nhttp://evil.ex+AGEAbQ-ple/p+AGEAeQ-"), ""},
		{"ASCII called UTF-7", inMixed("Content-Type: text/html; charset=utf-7\n\n" + evilHTML), ""},
		{"EBCDIC", inMixed("Content-Type: text/plain; charset=ibm037\nContent-Transfer-Encoding: base64\n\n" + b64("\x88\xa3\xa3\x97\x7aaa\x85\xa5\x89\x93K\x85\xa7\x81\x94\x97\x93\x85a\x97\x81\xa8")), ""},
		{"an unknown charset", inMixed("Content-Type: text/html; charset=x-nothing\n\n\xe9" + evilHTML), DefectCharsetUnknown},
		{"two charsets", inMixed("Content-Type: text/plain; charset=ibm037; charset=us-ascii\n\n" + evilText), ""},
		{"bytes that the charset has not", inMixed("Content-Type: text/html; charset=utf-8\n\nx\xff\xfe\xfd" + evilHTML), DefectCharsetInvalid},
		{"a mark of UTF-16 before ASCII", inMixed("Content-Type: text/html; charset=utf-8\n\n\xff\xfe" + evilHTML), ""},
		{"NUL in the link", inMixed("Content-Type: text/html\n\n" + strings.ReplaceAll(evilHTML, "evil", "e\x00vi\x00l")), DefectNUL},

		// Structure.
		{"before the first part", "Content-Type: multipart/mixed; boundary=b\n\n" + evilText + "--b\n\nhello\n--b--\n", ""},
		{"behind the last part", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b--\n" + evilText, DefectEpilogue},
		{"encoded behind the last part", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b--\n\n" + base64HTML + "\n", DefectEpilogue},
		{"quoted behind the last part", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b--\n\nhttp://evil=2Eexample/pay\n", DefectEpilogue},
		{"a part behind the last one", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b--\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n", DefectPartAfterEnd},
		{"no closing delimiter", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML, DefectUnclosed},
		{"a boundary that does not occur", "Content-Type: multipart/mixed; boundary=c\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectBoundaryUnseen},
		{"a boundary that does not occur, and nothing to guess", "Content-Type: multipart/mixed; boundary=c\n\n" + base64HTML + "\n", DefectBoundaryUnseen},
		{"text behind the boundary", "Content-Type: multipart/mixed; boundary=b\n\n--b x\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectBoundaryJunk},
		{"a false delimiter inside of base64", "Content-Type: multipart/mixed; boundary=\"_\"\n\n--_\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML[:8] + "\n--__\n" + base64HTML[8:] + "\n--_--\n", DefectBoundaryJunk},
		{"an encoded boundary parameter", "Content-Type: multipart/mixed; boundary=\"=?utf-8?Q?b?=\"\n\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--b--\n", DefectBoundaryConflict},
		{"a boundary in sections", "Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\n\n--ab\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--ab--\n", ""},
		{"no header in the part", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + evilText + "\n--b--\n", ""},
		{"inside of a message file", inMixed("Content-Type: application/octet-stream; name=phish_alert_sp2_2.0.0.0.eml\nContent-Transfer-Encoding: base64\n\n" + b64("Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n"+base64HTML)), ""},
		{"a part that stands for another", inMixed("Content-Type: message/external-body; access-type=URL; URL=\"x\"\n\nContent-Type: text/html\n\n" + evilText), ""},
		{"a signed message", "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--c--\n\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n", ""},

		// What other parsers read otherwise than we do.
		{"a type in an encoded word", inMixed("Content-Type: =?us-ascii?Q?text/html?=\n\nx" + codedHTML), DefectTypeMalformed},
		{"a type behind a semicolon", inMixed("Content-Type: ;text/html\n\nx" + codedHTML), DefectTypeMalformed},
		{"HTML that is plain text to who cannot read its type", "Content-Type: text/html x\n\n<p title=\"" + evil + "\">", DefectParameters},
		{"five types", inMixed("Content-Type: a/a\nContent-Type: a/b\nContent-Type: a/c\nContent-Type: a/d\nContent-Type: text/html\n\nx" + codedHTML), DefectTypeConflict},
		{"HTML of AMP", inMixed("Content-Type: text/x-amp-html\n\nx" + codedHTML), ""},
		{"any XML", inMixed("Content-Type: application/atom+xml\n\nx" + codedHTML), ""},
		{"HTML by another of its names", inMixed("Content-Type: application/octet-stream; name=a.html\nContent-Disposition: attachment; filename=a.bin\n\nx" + codedHTML), DefectNameConflict},
		{"a boundary parameter folded with a tab", "Content-Type: multipart/mixed; boundary=\"a\n\tb\"\n\n--a\tb\n\nhello\n--a b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--a b--\n", DefectBoundaryStray},
		{"a boundary parameter with percent signs", "Content-Type: multipart/mixed; boundary=\"a%62\"\n\n--a%62\n\nhello\n--ab\nX: y\n  z\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--ab--\n--a%62--\n", DefectBoundaryStray},
		{"a boundary parameter in other letters", "Content-Type: multipart/mixed; boundary=aB\n\n--aB\n\nhello\n--AB\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--AB--\n", DefectBoundaryStray},
		{"a boundary parameter in single quotes", "Content-Type: multipart/mixed; boundary='a'\n\n--'a'\n\nhello\n--a\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--a--\n--'a'--\n", DefectBoundaryStray},
		{"a boundary parameter whose name is in quotes", "Content-Type: multipart/mixed; \"boundary\"=a; boundary=b\n\n--b\n\nhello\n--a\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--a--\n--b--\n", DefectBoundaryStray},
		{"five boundary parameters", "Content-Type: multipart/mixed; boundary=a; boundary=b; boundary=c; boundary=d; boundary=e\n\n--a\n\nhello\n--e\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64HTML + "\n--e--\n", DefectBoundaryConflict},
		{"five charsets", inMixed("Content-Type: text/plain; charset=a; charset=b; charset=c; charset=d; charset=utf-7\n\nhttp://evil.ex+AGEAbQ-ple/p+AGEAeQ-"), ""},
		{"a charset in the page", inMixed("Content-Type: text/html\n\n<meta http-equiv=content-type content=\"text/html; CHARSET = utf-7\"><a href=\"+AGgAdAB0AHA-://evil.example/pay\">"), ""},
		{"escapes of ISO 2022 without a charset", inMixed("Content-Type: text/html\n\n<a href=\"ht\x1b(Btp://ev\x1b(Bil.example/pay\">x</a>"), ""},
		{"relative to Content-Base", inMixed("Content-Base: http://evil.example/\nContent-Type: text/html\n\n<a href=\"pay\">x</a>"), ""},
		{"relative to Content-Location", inMixed("Content-Location: \"http://evil.example/x\"\nContent-Type: text/html\n\n<a href=\"pay\">x</a>"), ""},
		{"in what a part stands for", inMixed("Content-Type: message/external-body; access-type=URL; URL=\"http://evil.exa\n mple/pay\"\n\nContent-Type: text/html\n\n"), ""},
		{"in what Thunderbird opens for a part", inMixed("Content-Type: application/pdf; name=x.pdf\nX-Mozilla-Cloud-Part: cloudFile; url=http://evil.example/pay;provider=x\n\n"), ""},
		{"in what Thunderbird opens for a detached part", inMixed("Content-Type: application/pdf; name=x.pdf\nx-mozilla-external-attachment-url: http://evil.example/pay\n\n"), ""},
		{"of the button to unsubscribe", "List-Unsubscribe: <mailto:x@y>,\n <http://evil.exa\n mple/pay>\n\nhello", ""},
		{"a calendar that is only named so", inMixed("Content-Type: application/octet-stream; name=invite.ics\n\nBEGIN:VCALENDAR\nURL:http://evil.exa\n mple/pay\nEND:VCALENDAR"), ""},
		{"a calendar with escapes", inMixed("Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nDESCRIPTION:http://evil.example/pay\\nHello\nEND:VCALENDAR"), ""},
		{"a calendar with a page", inMixed("Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nX-ALT-DESC;FMTTYPE=text/html:<a href=\"http:&#x2f\\;/evil.exa\n mple/pay\">x</a>\nEND:VCALENDAR"), ""},
		{"a fragment that is the whole message", inMixed("Content-Type: message/partial; id=x; number=1; total=1\n\nSubject: y\nContent-Type: text/html\n\n" + codedHTML), DefectPartial},
		{"a fragment with base64", inMixed("Content-Type: message/partial; id=x; number=2; total=3\n\n" + base64HTML), DefectPartial},
		{"a page in winmail.dat", attached("application/ms-tnef", "winmail.dat", tnef(tnefAttribute(0x00069003, tnefProperty(0x10130102, codedHTML)))), ""},
		{"a file in winmail.dat", attached("application/octet-stream", "x.bin", tnef(tnefAttribute(0x00069002, "x")+tnefAttribute(0x00018010, "a.html\x00")+tnefAttribute(0x0006800F, "x"+codedHTML))), ""},
		{"a message in winmail.dat", attached("application/ms-tnef", "winmail.dat", tnef(tnefAttribute(0x00069005, tnefProperty(0x3701000D, strings.Repeat("x", 16)+tnef(tnefAttribute(0x0002800C, "")+tnefAttribute(0x00069003, tnefProperty(0x10130102, codedHTML))))))), ""},
		{"inside of a signature", attached("application/pkcs7-mime; smime-type=signed-data", "smime.p7m", signedData("Content-Type: text/html\n\nx"+codedHTML)), ""},
		{"inside of a signature that is only named so", attached("application/octet-stream", "smime.p7m", signedData("Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n"+base64HTML)), ""},
		{"in a signed file", attached("application/octet-stream", "a.html.P7M", signedData("x"+codedHTML)), ""},
		{"an Office document in UTF-16", attached("application/octet-stream", "a.docx", zipped(t, "word/_rels/document.xml.rels", "\xff\xfe"+utf16le(`<Relationship Target = "`+evil+`"/>`))), ""},
		{"more ambiguous parts than are read twice", "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Transfer-Encoding: 8bit, base64\n\nhello\n", 40) + "--b\nContent-Type: text/html\nContent-Transfer-Encoding: 8bit, base64\n\n" + base64HTML + "\n--b--\n", DefectReadingLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []string{tt.in, crlf(strings.ReplaceAll(tt.in, "\r\n", "\n"))} {
				m := Parse([]byte(in), Options{})
				if !hasLink(m) {
					t.Errorf("the link was not found; tree %s; links %v", tree(m), m.URLs)
				}
				if tt.defect != "" && !strings.Contains(" "+defectNames(m)+" ", " "+tt.defect+" ") {
					t.Errorf("defects %q lack %s", defectNames(m), tt.defect)
				}
				checkMessage(t, m)
			}
		})
	}
}

// tnef makes what Outlook calls winmail.dat.
func tnef(attributes string) string { return "\x78\x9f\x3e\x22\x01\x00" + attributes }

func tnefAttribute(id uint32, value string) string {
	head := binary.LittleEndian.AppendUint32([]byte{1}, id)
	return string(binary.LittleEndian.AppendUint32(head, uint32(len(value)))) + value + "\x00\x00"
}

// signedData makes what S/MIME makes of a message that it signs with its content
// inside, in BER without lengths.
func signedData(content string) string {
	return "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80\x24\x80\x04\x82" +
		string([]byte{byte(len(content) >> 8), byte(len(content))}) + content + strings.Repeat("\x00", 12)
}

// tnefProperty makes a list of one property, which has no fixed size.
func tnefProperty(tag uint32, value string) string {
	head := binary.LittleEndian.AppendUint32([]byte{1, 0, 0, 0}, tag)
	head = binary.LittleEndian.AppendUint32(append(head, 1, 0, 0, 0), uint32(len(value)))
	return string(head) + value + strings.Repeat("\x00", -len(value)&3)
}

func uuencode(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		line := text[:min(45, len(text))]
		text = text[len(line):]
		b.WriteByte(byte(' ' + len(line)))
		for len(line) > 0 {
			group := (line + "\x00\x00")[:3]
			line = line[min(3, len(line)):]
			v := uint32(group[0])<<16 | uint32(group[1])<<8 | uint32(group[2])
			for shift := 18; shift >= 0; shift -= 6 {
				c := byte(v >> shift & 63)
				if c == 0 {
					c = '`' - ' '
				}
				b.WriteByte(' ' + c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestNoFloodHidesALink tries messages that are built to take time or memory.
// What they cost is compared with their size by counting, not by the clock.
func TestNoFloodHidesALink(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	tests := []struct {
		name   string
		in     func() string
		defect string
	}{
		{"200 000 parts", func() string {
			return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 200000) + "--b\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64(evilHTML) + "\n--b--\n"
		}, DefectPartLimit},
		{"200 000 empty parts", func() string {
			return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n", 200000) + "\n" + evilText
		}, DefectPartLimit},
		{"nesting 3000 deep", func() string {
			var b strings.Builder
			for i := range 3000 {
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
			}
			return b.String() + "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64(evilHTML) + "\n"
		}, DefectDepthLimit},
		{"nesting 3000 deep with one boundary", func() string {
			return strings.Repeat("Content-Type: multipart/mixed; boundary=b\n\n--b\n", 3000) + "\n" + evilText
		}, DefectDepthLimit},
		{"messages 3000 deep", func() string {
			return strings.Repeat("Content-Type: message/rfc822\n\n", 3000) + "\n" + evilText
		}, DefectDepthLimit},
		{"a header of 10 MB in one field", func() string {
			return "X: " + strings.Repeat("x", 10<<20) + "\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64(evilHTML)
		}, DefectHeaderLimit},
		{"a header of 10 MB in many fields", func() string {
			return strings.Repeat("X: y\n", 2<<20) + "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64(evilHTML)
		}, DefectHeaderLimit},
		{"a header of 10 MB in bad lines", func() string {
			return strings.Repeat("junk\n", 2<<20) + "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64(evilHTML)
		}, DefectHeaderLine},
		{"a link behind a header of 10 MB", func() string {
			return strings.Repeat("X: y\n", 2<<20) + "X: " + evil + "\n\nhello"
		}, DefectHeaderLimit},
		{"100 000 links", func() string {
			var b strings.Builder
			b.WriteString("\n")
			for i := range 100000 {
				fmt.Fprintf(&b, "http://good.example/%d\n", i)
			}
			return b.String() + evilText
		}, DefectURLLimit},
		{"NUL bytes", func() string {
			return "Content-Type: text/html\n\n" + strings.Repeat("\x00", 1<<20) + evilHTML
		}, DefectNUL},
		{"lone CRs", func() string { return "Subject: x\n\n" + strings.Repeat("\r", 1<<20) + evilText }, DefectBareCR},
		{"lone LFs among CR LF", func() string { return "Subject: x\r\n\r\n" + strings.Repeat("\n", 1<<20) + evilText }, DefectBareLF},
		{"an endless line", func() string {
			return "Content-Type: text/html\n\n" + strings.Repeat("x", 10<<20) + evilHTML
		}, DefectLongLine},
		{"dashes", func() string {
			return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("-", 5<<20) + "\n--b\n\n" + evilText + "--b--\n"
		}, ""},
		{"lines of dashes", func() string {
			return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--\n", 1<<20) + "--b\n\n" + evilText + "--b--\n"
		}, ""},
		{"false delimiters", func() string {
			return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b x\n", 1<<17) + "\n" + evilText + "--b--\n"
		}, DefectPartLimit},
		{"false boundaries at every depth", func() string {
			var b strings.Builder
			for i := range 60 {
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=none%d\n\n--found%d\n", i, i)
			}
			return b.String() + "\n" + evilText + strings.Repeat("text\n", 100000)
		}, DefectBoundaryUnseen},
		{"soft line breaks", func() string {
			return "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=\n", 1<<20) + evilText
		}, ""},
		{"base64 of one character a line", func() string {
			return "Content-Transfer-Encoding: base64\n\n" + strings.Join(strings.Split(b64(strings.Repeat("x", 1<<20)+evilText), ""), "\n")
		}, ""},
		{"CRs and no LF", func() string { return strings.Repeat("X: y\r", 1<<20) + "\r" + evilText }, DefectBareCR},
		{"encoded words", func() string {
			return "Subject: " + strings.Repeat("=?utf-8?Q?", 90000) + "\nContent-Type: text/html\n\n" + evilHTML
		}, DefectHeaderWord},
		{"comments in a parameter", func() string {
			return "Content-Type: text/html; " + strings.Repeat("(", 900000) + "\n\n" + evilHTML
		}, DefectParameters},
		{"quotes in an address", func() string {
			return "From: " + strings.Repeat(`"<`, 400000) + "\nContent-Type: text/html\n\n" + evilHTML
		}, DefectAddress},
		{"parameters", func() string {
			return "Content-Type: text/html" + strings.Repeat("; a=\"b", 100000) + "\n\n" + evilHTML
		}, DefectParameters},
		{"base64 that looks like many messages", func() string {
			inner := "Content-Type: text/html\n\n" + evilHTML
			for range 12 {
				inner = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + b64(inner)
			}
			return inner
		}, DefectEncodingContainer},
		{"messages that stay what they are when they are decoded", func() string {
			return strings.Repeat("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n", 60) + "\n" + strings.Repeat("text\n", 1<<20) + evilText
		}, DefectDepthLimit},
		{"message files in message files", func() string {
			return strings.Repeat("Content-Type: application/octet-stream; name=a.eml\n\n", 60) + "\n" + strings.Repeat("text\n", 1<<20) + evilText
		}, DefectDepthLimit},
		{"multiparts that stay what they are when they are decoded", func() string {
			var b strings.Builder
			for i := range 60 {
				fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=none\nContent-Transfer-Encoding: quoted-printable\n\n--b%d\n", i)
			}
			return b.String() + "\n" + strings.Repeat("text\n", 1<<20) + evilText
		}, DefectDepthLimit},
		{"uuencoded files", func() string {
			return "\n" + strings.Repeat("begin 644 x\n#86%A\nend\n", 50000) + evilText
		}, DefectPartLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := []byte(tt.in())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := Parse(raw, Options{})
			runtime.ReadMemStats(&after)
			if !hasLink(m) {
				t.Errorf("the link was not found among %d", len(m.URLs))
			}
			if tt.defect != "" && !strings.Contains(" "+defectNames(m)+" ", " "+tt.defect+" ") {
				t.Errorf("defects %q lack %s", defectNames(m), tt.defect)
			}
			if took, may := after.TotalAlloc-before.TotalAlloc, uint64(12*len(raw)+(32<<20)); took > may {
				t.Errorf("%d bytes took %d bytes of heap", len(raw), took)
			}
			limits := DefaultLimits()
			if len(m.Parts) > limits.Parts || len(m.URLs) > 2*limits.URLs || len(m.Defects) > limits.Defects+len(Defects()) {
				t.Errorf("%d parts, %d links, %d defects", len(m.Parts), len(m.URLs), len(m.Defects))
			}
			checkMessage(t, m)
		})
	}
}

func TestAnyBytesAreAMessage(t *testing.T) {
	for _, in := range []string{"", "\n", "\r", "\r\n", ":", "\x00", "--", "=", "a:", "\n--\n", "Content-Type: multipart/x; boundary=\n\n--\n--", strings.Repeat("\xff", 1000)} {
		m := Parse([]byte(in), Options{})
		if len(m.Parts) == 0 {
			t.Errorf("%q has no part", in)
		}
		checkMessage(t, m)
	}
}

func TestEveryPrefixOfAMessageIsRead(t *testing.T) {
	raw := []byte(inMixed("Content-Type: text/html; charset=\"utf-16\"\nContent-Transfer-Encoding: base64\n\n" + b64(utf16le(evilHTML)) + "\n--b\nContent-Type: message/rfc822\n\nSubject: =?utf-8?Q?x?=\n\nhello"))
	for n := range raw {
		checkMessage(t, Parse(raw[:n], Options{}))
	}
}

func TestTheMessageIsNotChanged(t *testing.T) {
	raw := usualMessage()
	before := bytes.Clone(raw)
	m := Parse(raw, Options{})
	if !bytes.Equal(raw, before) {
		t.Fatal("the bytes were written to")
	}
	subject, parts := m.Subject(), tree(m)
	for i := range raw {
		raw[i] = 'x'
	}
	if m.Subject() != subject || tree(m) != parts || m.Parts[1].Header.Get("Content-Type") == "" {
		t.Error("the message depends on the bytes that it was read from")
	}
}
