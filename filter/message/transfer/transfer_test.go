package transfer

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// decode runs a Decoder with blocks of the given size.
func decode(enc Encoding, src string, block int, stop bool) (string, Flaw) {
	d := Decoder{StopAtPadding: stop}
	d.Reset(enc, []byte(src))
	buf := make([]byte, block)
	var out []byte
	for b := d.Next(buf); b != nil; b = d.Next(buf) {
		out = append(out, b...)
	}
	return string(out), d.Flaws()
}

func TestBrokenContentIsReadAsMailClientsReadIt(t *testing.T) {
	tests := []struct {
		name  string
		enc   Encoding
		in    string
		want  string
		flaws Flaw
	}{
		{"nothing is nothing", Base64, "", "", 0},
		{"base64 in one line", Base64, "aGVsbG8gd29ybGQ=", "hello world", 0},
		{"base64 over lines", Base64, "aGVs\r\nbG8g\r\nd29y\r\nbGQ=\r\n", "hello world", 0},
		{"base64 broken inside a group", Base64, "aG\r\nVsb\nG8", "hello", FlawUnpadded},
		{"base64 with white space everywhere", Base64, " a G\tVsbG8= ", "hello", 0},
		{"base64 without its padding", Base64, "aGVsbG8", "hello", FlawUnpadded},
		{"base64 with too little padding", Base64, "aGVsbA=", "hell", 0},
		{"base64 with too much padding", Base64, "aGVsbG8====", "hello", 0},
		{"base64 that ends inside a byte", Base64, "aGVsbG8gA", "hello ", FlawTruncated},
		{"base64 with foreign characters", Base64, "aG!Vs*bG8=", "hello", FlawAlphabet},
		{"base64 padded in the middle", Base64, "aGVsbG8=IHdvcmxk", "hello world", FlawConcatenated},
		{"base64 padded in the middle, on a new line", Base64, "aGVsbG8=\r\nIHdvcmxk\r\n", "hello world", FlawConcatenated},
		{"padding alone", Base64, "====", "", FlawAlphabet},
		{"padding before all", Base64, "=aGVsbG8=", "hello", FlawAlphabet},
		{"padding behind the first character of a group", Base64, "a=GVsbG8=", "hello", FlawAlphabet},
		{"NUL in base64", Base64, "aGVs\x00bG8=", "hello", FlawAlphabet},

		{"quoted-printable", QuotedPrintable, "caf=C3=A9 =3D\r\n", "café =\r\n", 0},
		{"lower-case escapes", QuotedPrintable, "caf=c3=a9", "café", 0},
		{"soft line break", QuotedPrintable, "one=\r\ntwo=\nthree", "onetwothree", 0},
		{"soft line break followed by spaces", QuotedPrintable, "one= \t\r\ntwo", "onetwo", 0},
		{"soft line break with a doubled CR", QuotedPrintable, "one=\r\r\ntwo", "onetwo", 0},
		{"soft line break by CR alone", QuotedPrintable, "one=\rtwo", "onetwo", 0},
		{"soft line break at the end", QuotedPrintable, "one=", "one", 0},
		{"spaces that end a line are dropped", QuotedPrintable, "one \t\r\ntwo  ", "one\r\ntwo", 0},
		{"an encoded space that ends a line stays", QuotedPrintable, "one=20\r\n", "one \r\n", 0},
		{"an equals sign that begins no escape", QuotedPrintable, "a=b=3 c=", "a=b=3 c", FlawEscape},
		{"half an escape at the end of a line", QuotedPrintable, "a=4\r\nb", "a=4\r\nb", FlawEscape},
		{"bytes that should have been escaped", QuotedPrintable, "caf\xe9\x00", "caf\xe9\x00", 0},
		{"empty lines", QuotedPrintable, "\r\n\n\r\n", "\r\n\n\r\n", 0},

		{"uuencode", UUEncode, "begin 644 a.txt\n+:&5L;&\\@=V]R;&0\n`\nend\n", "hello world", 0},
		{"uuencode behind prose", UUEncode, "see below\r\n\r\nbegin 0644 a b.txt\r\n+:&5L;&\\@=V]R;&0\r\n`\r\nend\r\n", "hello world", 0},
		{"uuencode without its end", UUEncode, "begin 644 a.txt\n+:&5L;&\\@=V]R;&0\n", "hello world", FlawTruncated},
		{"uuencode without its beginning", UUEncode, "+:&5L;&\\@=V]R;&0\n`\nend\n", "hello world", FlawNoBegin},
		{"uuencode with a foreign line", UUEncode, "begin 644 a.txt\nhello there, this is a line of prose\n+:&5L;&\\@=V]R;&0\n`\nend\n", "hello world", FlawLine},
		{"uuencode whose trailing spaces were cut", UUEncode, "begin 644 a.txt\n#86\nend\n", "a`\x00", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, block := range []int{MinBlock, MinBlock + 1, 1024} {
				got, flaws := decode(tt.enc, tt.in, block, false)
				if got != tt.want || flaws != tt.flaws {
					t.Fatalf("with blocks of %d: %q, flaws %b, want %q, flaws %b", block, got, flaws, tt.want, tt.flaws)
				}
			}
			got, flaws := Append([]byte("x"), tt.enc, []byte(tt.in))
			if string(got) != "x"+tt.want || flaws != tt.flaws {
				t.Errorf("Append gave %q, flaws %b", got, flaws)
			}
		})
	}
}

func TestBase64CanStopAtItsPadding(t *testing.T) {
	if got, _ := decode(Base64, "aGVsbG8=IHdvcmxk", 64, true); got != "hello" {
		t.Errorf("%q", got)
	}
}

func TestIdentityCopiesNothing(t *testing.T) {
	src := []byte("hello")
	var d Decoder
	d.Reset(Identity, src)
	if b := d.Next(make([]byte, 64)); &b[0] != &src[0] {
		t.Error("the block is not a piece of the source")
	}
}

func TestWhatGoIsAbleToReadIsReadAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		plain := make([]byte, n*7)
		for i := range plain {
			plain[i] = byte(r.Uint32())
		}
		var wrapped strings.Builder
		for text := base64.StdEncoding.EncodeToString(plain); text != ""; {
			m := min(len(text), 1+n%80)
			wrapped.WriteString(text[:m] + "\r\n")
			text = text[m:]
		}
		if got, flaws := decode(Base64, wrapped.String(), MinBlock+n, false); got != string(plain) || flaws != 0 {
			t.Fatalf("base64 of %d bytes in lines of %d: wrong, flaws %b", len(plain), 1+n%80, flaws)
		}
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, flaws := decode(QuotedPrintable, qp.String(), MinBlock+n, false); got != string(plain) || flaws != 0 {
			t.Fatalf("quoted-printable of %d bytes: wrong, flaws %b", len(plain), flaws)
		}
	}
}

func TestUUBlocksAreFoundInProse(t *testing.T) {
	const data = "+:&5L;&\\@=V]R;&0\n`\nend\n"
	tests := []struct {
		name, in string
		want     []string
	}{
		{"none", "let us begin 644 times\nbegin again\nbegin 1\n", nil},
		{"a begin line without data", "begin 644 mankind with hope\nThis is how stories start, isn't it? they say\n", nil},
		{"one", "hello\nbegin 644 a.txt\n" + data + "bye\n", []string{"a.txt"}},
		{"two", "begin 644 a.txt\n" + data + "and\r\nbegin 755 b c.exe\r\n" + data, []string{"a.txt", "b c.exe"}},
		{"unfinished", "begin 644 a.txt\n+:&5L;&\\@=V]R;&0\n", []string{"a.txt"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for from := 0; ; {
				b, ok := FindUU([]byte(tt.in), from)
				if !ok {
					break
				}
				got = append(got, b.Name)
				if text, _ := decode(UUEncode, tt.in[b.Start:b.End], 64, false); text != "hello world" {
					t.Errorf("block %q holds %q", b.Name, text)
				}
				from = b.End
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNamesAreKnownInAnyCase(t *testing.T) {
	for name, want := range map[string]Encoding{"BASE64": Base64, "Quoted-Printable": QuotedPrintable, "8BIT": Identity, "x-UUE": UUEncode} {
		if got, ok := Lookup(name); !ok || got != want {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	if _, ok := Lookup("base-64"); ok {
		t.Error("base-64 is known")
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(uint8(1), "aGVsbG8=IHdv\r\ncmxk")
	f.Add(uint8(2), "a=\r\n=C3=A9 \t\r\n==")
	f.Add(uint8(3), "begin 000 0\n")
	f.Add(uint8(3), "begin 644 a\n+:&5L;&\\@=V]R;&0\n`\nend\n")
	f.Fuzz(func(t *testing.T, enc uint8, src string) {
		e := Encoding(enc % 4)
		small, flaws := decode(e, src, MinBlock, false)
		if large, again := decode(e, src, 4096, false); small != large || flaws != again {
			t.Fatalf("the block size changes the outcome: %q and %q", small, large)
		}
		if len(small) > len(src)+MinBlock && e != UUEncode {
			t.Fatalf("%d bytes became %d", len(src), len(small))
		}
		switch e {
		case Base64:
			if want, err := base64.StdEncoding.DecodeString(src); err == nil && small != string(want) {
				t.Fatalf("%q, encoding/base64 says %q", small, want)
			}
		case QuotedPrintable:
			want, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(src)))
			if err == nil && flaws == 0 && comparableQP(src) && small != string(want) {
				t.Fatalf("%q, mime/quotedprintable says %q", small, want)
			}
		}
		for from, n := 0, 0; ; n++ {
			b, ok := FindUU([]byte(src), from)
			if !ok {
				break
			}
			if b.Start < from || b.End <= b.Start || b.End > len(src) || n > len(src) {
				t.Fatalf("block %+v behind %d", b, from)
			}
			from = b.End
		}
	})
}

// comparableQP leaves out what the standard library reads in its own way:
// CR outside of a line end, and an equals sign at the very end.
func comparableQP(s string) bool {
	return !strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\r") && !strings.HasSuffix(strings.TrimRight(s, " \t\r\n"), "=")
}

func BenchmarkBase64(b *testing.B) {
	line := strings.Repeat("QUJD", 19) + "\r\n"
	src := []byte(strings.Repeat(line, 1<<20/len(line)))
	buf := make([]byte, 32<<10)
	out := make([]byte, len(src))
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(src)))
		var d Decoder
		for b.Loop() {
			d.Reset(Base64, src)
			for d.Next(buf) != nil {
			}
		}
	})
	b.Run("encoding/base64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			if _, err := base64.StdEncoding.Decode(out, src); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkQuotedPrintable(b *testing.B) {
	line := "Ein Satz mit =C3=9Cberl=C3=A4nge, wie er in einer Nachricht steht, und ein wei=\r\n"
	src := []byte(strings.Repeat(line, 100))
	buf := make([]byte, 32<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	var d Decoder
	for b.Loop() {
		d.Reset(QuotedPrintable, src)
		for d.Next(buf) != nil {
		}
	}
}
