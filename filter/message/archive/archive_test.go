package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// member is a file for makeZip.
type member struct {
	name, content string
	method        uint16
}

func makeZip(t testing.TB, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(methodZstd, func(out io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(out) })
	for _, m := range members {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.name, Method: m.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// rawZip makes a zip whose local headers know their sizes, as most programs
// write it.
func rawZip(members ...member) []byte {
	var out, dir []byte
	for _, m := range members {
		at := len(out)
		head := binary.LittleEndian.AppendUint16(nil, 20)
		head = append(head, 0, 0)
		head = binary.LittleEndian.AppendUint16(head, m.method)
		head = append(head, 0, 0, 0, 0)
		head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE([]byte(m.content)))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(m.content)))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(m.content)))
		head = binary.LittleEndian.AppendUint16(head, uint16(len(m.name)))
		head = append(head, 0, 0)
		out = append(out, sigLocal...)
		out = append(out, head...)
		out = append(out, m.name+m.content...)
		dir = append(dir, sigCentral+"\x14\x00"...)
		dir = append(dir, head...)
		dir = append(dir, make([]byte, 10)...)
		dir = binary.LittleEndian.AppendUint32(dir, uint32(at))
		dir = append(dir, m.name...)
	}
	end := append([]byte(sigEnd), make([]byte, 4)...)
	end = binary.LittleEndian.AppendUint16(end, uint16(len(members)))
	end = binary.LittleEndian.AppendUint16(end, uint16(len(members)))
	end = binary.LittleEndian.AppendUint32(end, uint32(len(dir)))
	end = binary.LittleEndian.AppendUint32(end, uint32(len(out)))
	return append(append(append(out, dir...), end...), 0, 0)
}

// list walks an archive and gives each file as "index name=content flaws".
func list(t testing.TB, kind Kind, data []byte) (string, Flaw) {
	t.Helper()
	var out []string
	buf := make([]byte, 100)
	flaws := Walk(kind, data, 100, func(f *File) bool {
		var content []byte
		for b := f.Next(buf); b != nil && len(content) < 1<<20; b = f.Next(buf) {
			content = append(content, b...)
		}
		if stored, ok := f.Stored(); ok && !bytes.Equal(stored, content) {
			t.Errorf("%s: stored %q, read %q", f.Name, stored, content)
		}
		line := fmt.Sprintf("%d %s=%s", f.Index, f.Name, content)
		if f.OtherName != "" {
			line += " also " + f.OtherName
		}
		for _, word := range []struct {
			on   bool
			text string
		}{
			{f.Encrypted, "encrypted"}, {f.Local, "local"}, {f.Flaws&FlawHidden != 0, "hidden"},
			{f.Flaws&FlawMismatch != 0, "mismatch"}, {f.Flaws&FlawMethod != 0, "method"}, {f.Flaws&FlawDamaged != 0, "damaged"},
		} {
			if word.on {
				line += " " + word.text
			}
		}
		out = append(out, line)
		return true
	})
	return strings.Join(out, "; "), flaws
}

// patch replaces the n-th occurrence of old (from 0) and what follows it by new.
func patch(t testing.TB, data []byte, n int, old string, offset int, new string) []byte {
	t.Helper()
	at := 0
	for ; ; n-- {
		i := bytes.Index(data[at:], []byte(old))
		if i < 0 {
			t.Fatalf("no %q to patch", old)
		}
		if at += i; n == 0 {
			break
		}
		at++
	}
	out := bytes.Clone(data)
	copy(out[at+offset:], new)
	return out
}

func TestZipIsListedHoweverItLies(t *testing.T) {
	two := makeZip(t, member{"a.txt", "hello", methodDeflate}, member{"d/b.exe", "world", methodStore})
	raw := rawZip(member{"a.txt", "hello", 0}, member{"b.exe", "world", 0})
	inner := string(rawZip(member{"b.exe", "world", 0})[:localLen+len("b.exe"+"world")])
	const both = "1 a.txt=hello; 2 b.exe=world"
	tests := []struct {
		name  string
		data  []byte
		want  string
		flaws Flaw
	}{
		{"sizes behind the data", two, "1 a.txt=hello; 2 d/b.exe=world", 0},
		{"sizes before the data", raw, both, 0},
		{"empty", makeZip(t), "", 0},
		{"not a zip", []byte("PK\x03\x04 and nothing else that makes sense in any way"), "", FlawDirectory},
		{"nothing", nil, "", FlawDirectory},
		{"folders are not files", makeZip(t, member{"d/", "", 0}, member{"d/a", "x", 0}), "1 d/a=x", 0},
		{"zstd", makeZip(t, member{"a", "hello", methodZstd}), "1 a=hello", 0},
		{"with something before it", append([]byte("MZ program that unpacks"), raw...), both, FlawPrefix},
		{"with something behind it", append(bytes.Clone(raw), "and more"...), both, 0},
		{"two in a row", append(rawZip(member{"x", "1", 0}), raw...), both + "; 3 x=1 hidden", 0},
		{"without its directory", raw[:bytes.Index(raw, []byte(sigCentral))], both, FlawDirectory},
		{"cut in the directory", raw[:len(raw)-30], both, FlawDirectory},
		{"streamed and without its directory", two[:bytes.Index(two, []byte(sigCentral))], "1 a.txt=hello; 2 d/b.exe=world", FlawDirectory},
		{"a directory that points nowhere", patch(t, raw, 0, sigEnd, 16, "\xff\xff\xff\x7f"), both, 0},
		{"a directory of impossible size", patch(t, raw, 0, sigEnd, 12, "\xff\xff\xff\x7f"), both, FlawDirectory},
		{"zip64 that isn't there", patch(t, raw, 0, sigEnd, 8, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), both, FlawDirectory},
		{"a file that the directory hides", bytes.Replace(raw, []byte(sigCentral), []byte("junk"), 1), both, FlawDirectory},
		{"a file that points nowhere", patch(t, raw, 0, sigCentral, 42, "\xff\xff\xff\x7f"), "1 a.txt= damaged; 2 b.exe=world; 3 a.txt=hello hidden", 0},
		{"another name before the data", patch(t, raw, 0, "a.txt", 0, "e.exe"), "1 a.txt=hello also e.exe mismatch; 2 b.exe=world", 0},
		{"a wrong checksum", patch(t, raw, 0, sigCentral, 16, "xxxx"), "1 a.txt=hello damaged; 2 b.exe=world", 0},
		{"encrypted", patch(t, patch(t, raw, 0, sigLocal, 6, "\x01"), 0, sigCentral, 8, "\x01"), "1 a.txt= encrypted; 2 b.exe=world", 0},
		{"encrypted says the directory alone", patch(t, raw, 0, sigCentral, 8, "\x01"), "1 a.txt= encrypted mismatch; 1 a.txt=hello local mismatch; 2 b.exe=world", 0},
		{"packed says the directory alone", patch(t, raw, 0, sigCentral, 10, "\x08"), "1 a.txt= mismatch damaged; 1 a.txt=hello local mismatch; 2 b.exe=world", 0},
		{"shorter says the directory", patch(t, raw, 0, sigCentral, 20, "\x02"), "1 a.txt=he mismatch damaged; 1 a.txt=hello local mismatch; 2 b.exe=world", 0},
		{"an unknown method", patch(t, patch(t, raw, 0, sigLocal, 8, "\x61"), 0, sigCentral, 10, "\x61"), "1 a.txt= method; 2 b.exe=world", 0},
		{"files that overlap", patch(t, raw, 1, sigCentral, 42, "\x00\x00\x00\x00"), "1 a.txt=hello; 2 b.exe=hello also a.txt mismatch damaged; 3 b.exe=world hidden", FlawOverlap},
		{"too long and without its directory", patch(t, raw[:bytes.Index(raw, []byte(sigCentral))], 0, sigLocal, 18, "\xff\xff\xff\x7f"), both, FlawDirectory},
		{"a second directory, with a comment that is too long", twoDirectories(7), "1 a.bin=" + inner + "; 2 b.exe=world hidden", FlawOverlap},
		{"a second directory in a comment", twoDirectories(0), "1 b.exe=world; 2 a.bin=" + inner + " hidden", FlawOverlap},
		{"a PC's name", rawZip(member{"\x81bung.txt", "x", 0}), "1 übung.txt=x", 0},
		{"a damaged stream", patch(t, makeZip(t, member{"a", strings.Repeat("hello ", 50), methodDeflate}), 0, sigLocal, 31, "\xff\xff\xff"), "1 a= damaged", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, flaws := list(t, Zip, tt.data)
			if got != tt.want || flaws != tt.flaws {
				t.Errorf("%s, flaws %b\nwant %s, flaws %b", got, flaws, tt.want, tt.flaws)
			}
		})
	}
}

// twoDirectories gives a zip with a.bin in it, in which lies a file b.exe that a
// second directory in the zip's comment lists. That says that its own comment has
// so many bytes, of which there are none.
func twoDirectories(comment uint16) []byte {
	inner := rawZip(member{"b.exe", "world", 0})
	at := bytes.Index(inner, []byte(sigCentral))
	out := rawZip(member{"a.bin", string(inner[:at]), 0})
	second := bytes.Clone(inner[at:])
	binary.LittleEndian.PutUint16(out[len(out)-2:], uint16(len(second)))
	binary.LittleEndian.PutUint32(second[42:], uint32(localLen+len("a.bin")))
	binary.LittleEndian.PutUint32(second[len(second)-6:], uint32(len(out)))
	binary.LittleEndian.PutUint16(second[len(second)-2:], comment)
	return append(out, second...)
}

func TestTheUnicodePathIsASecondName(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	field := binary.LittleEndian.AppendUint16(nil, 0x7075)
	field = binary.LittleEndian.AppendUint16(field, uint16(5+len("evil.exe")))
	field = append(field, 1)
	field = binary.LittleEndian.AppendUint32(field, crc32.ChecksumIEEE([]byte("a.txt")))
	if _, err := w.CreateHeader(&zip.FileHeader{Name: "a.txt", Extra: append(field, "evil.exe"...)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := list(t, Zip, buf.Bytes()); got != "1 a.txt= also evil.exe" {
		t.Error(got)
	}
}

func TestOtherArchivesAreListed(t *testing.T) {
	var tarball bytes.Buffer
	tw := tar.NewWriter(&tarball)
	for _, name := range []string{"a.txt", "d/", "d/b.exe"} {
		h := &tar.Header{Name: name, Mode: 0o644, Size: 5}
		if name == "d/b.exe" {
			h.Typeflag = tar.TypeCont // a file to all programs
		}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(tw, "hello"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	gw := gzip.NewWriter(&zipped)
	gw.Name = "a.txt"
	if _, err := io.WriteString(gw, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := gw.Close(); err != nil {
		t.Fatal(err)
	}
	bz, err := hex.DecodeString("425a68393141592653591931653d00000081000244a000219a68334d07338bb9229c28480c98b29e80")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		data []byte
		kind Kind
		want string
	}{
		{"tar", tarball.Bytes(), Tar, "1 a.txt=hello; 2 d/b.exe=hello"},
		{"tar cut short", tarball.Bytes()[:1024], Tar, "1 a.txt=hello"},
		{"gzip", zipped.Bytes(), Gzip, "1 a.txt=hello"},
		{"gzip cut short", zipped.Bytes()[:zipped.Len()-6], Gzip, "1 a.txt=hello damaged"},
		{"gzip that is none", []byte("\x1f\x8b\x08\xff"), Gzip, "1 = damaged"},
		{"bzip2", bz, Bzip2, "1 =hello"},
		{"bzip2 cut short", bz[:20], Bzip2, "1 = damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if kind := Sniff(tt.data); kind != tt.kind {
				t.Errorf("sniffed as %d", kind)
			}
			if got, _ := list(t, tt.kind, tt.data); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestTheNumberOfFilesIsBounded(t *testing.T) {
	members := make([]member, 200)
	for i := range members {
		members[i] = member{name: fmt.Sprint(i)}
	}
	for _, data := range [][]byte{rawZip(members...), rawZip(members...)[:200*31]} {
		n := 0
		flaws := Walk(Zip, data, 100, func(*File) bool { n++; return true })
		if n != 100 || flaws&FlawLimit == 0 {
			t.Errorf("%d files, flaws %b", n, flaws)
		}
	}
}

func TestAWalkStopsWhenItIsTold(t *testing.T) {
	n := 0
	Walk(Zip, rawZip(member{"a", "x", 0}, member{"b", "x", 0}), 100, func(*File) bool { n++; return false })
	if n != 1 {
		t.Errorf("%d files", n)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(uint8(Zip), makeZip(f, member{"a.txt", "hello", methodDeflate}, member{"b", "world", methodZstd}))
	f.Add(uint8(Zip), rawZip(member{"a.txt", "hello", 0}, member{"b.exe", "world", 0}))
	f.Add(uint8(Tar), append([]byte("a"), make([]byte, 1023)...))
	f.Add(uint8(Gzip), []byte("\x1f\x8b\x08"))
	f.Add(uint8(CMS), []byte(signed("\x24\x80\x04\x02he\x24\x03\x04\x01l\x04\x01o\x00\x00")))
	f.Add(uint8(TNEF), []byte(tnef(attribute(tnefTitle, "a"), attribute(tnefMessage, properties(variable(0x102, propRTF, packRTF(`{\rtf1 x}`)))))))
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		n, last := 0, 0
		buf := make([]byte, 512)
		Walk(Kind(kind%7), data, 50, func(f *File) bool {
			n++
			if f.Index != last+1 && (!f.Local || f.Index != last) {
				t.Fatalf("file %d follows %d", f.Index, last)
			}
			last = f.Index
			total := 0
			for b := f.Next(buf); b != nil && total < 1<<16; b = f.Next(buf) {
				total += len(b)
			}
			if stored, ok := f.Stored(); ok && len(stored) > len(data) {
				t.Fatal("more than there is")
			}
			return true
		})
		if n > 100 {
			t.Fatalf("%d files", n)
		}
		Sniff(data)
	})
}
