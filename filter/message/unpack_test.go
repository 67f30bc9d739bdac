package message

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/md5"  //nolint:gosec // indicators name files by it
	"crypto/sha1" //nolint:gosec // indicators name files by it
	"crypto/sha256"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"
)

// zipped makes a zip of name, content, name, content …
func zipped(t testing.TB, files ...string) string {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// stored makes a zip whose files are not packed.
func stored(t testing.TB, files ...string) string {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: files[i], Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func gzipped(t testing.TB, name, content string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Name = name
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func tarred(t testing.TB, files ...string) string {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// attached puts a file into a message.
func attached(contentType, name, content string) string {
	var lines strings.Builder
	for text := base64.StdEncoding.EncodeToString([]byte(content)); text != ""; {
		n := min(76, len(text))
		lines.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return inMixed("Content-Type: " + contentType + "\nContent-Disposition: attachment; filename=\"" + name + "\"\nContent-Transfer-Encoding: base64\n\n" + lines.String())
}

func TestArchivesAreOpened(t *testing.T) {
	inner := zipped(t, "evil.exe", "MZ evil", "readme.txt", "hi")
	page := "<html>" + evilHTML
	encrypted := []byte(zipped(t, "secret.exe", "MZ"))
	for _, sig := range []string{"PK\x03\x04", "PK\x01\x02"} {
		encrypted[bytes.Index(encrypted, []byte(sig))+map[string]int{"PK\x03\x04": 6, "PK\x01\x02": 8}[sig]] |= 1
	}
	tests := []struct{ name, contentType, file, content, tree, defects string }{
		{"a zip", "application/zip", "a.zip", inner, "1 application/zip+ a.zip; 1/1 application/octet-stream 7 evil.exe; 1/2 application/octet-stream 2 readme.txt", ""},
		{"a zip called a picture", "image/png", "a.png", inner, "1 image/png+ a.png; 1/1 application/octet-stream 7 evil.exe; 1/2 application/octet-stream 2 readme.txt", ""},
		{"a zip in a zip", "application/zip", "a.zip", zipped(t, "x/b.zip", inner), "1 application/zip+ a.zip; 1/1 application/octet-stream+ x/b.zip; 1/1/1 application/octet-stream 7 evil.exe; 1/1/2 application/octet-stream 2 readme.txt", ""},
		{"a stored zip in a stored zip", "application/zip", "a.zip", stored(t, "b.zip", stored(t, "evil.exe", "MZ evil")), "1 application/zip+ a.zip; 1/1 application/octet-stream+ b.zip; 1/1/1 application/octet-stream 7 evil.exe", ""},
		{"a program that unpacks itself", "application/zip", "a.zip", "MZ stub" + inner, "1 application/zip+ a.zip; 1/1 application/octet-stream 7 evil.exe; 1/2 application/octet-stream 2 readme.txt", "archive-prefix"},
		{"no zip at all", "application/zip", "a.zip", "hello", "1 application/zip 5 a.zip", ""},
		{"a zip without its directory", "application/zip", "a.zip", inner[:strings.Index(inner, "PK\x01\x02")], "1 application/zip+ a.zip; 1/1 application/octet-stream 7 evil.exe; 1/2 application/octet-stream 2 readme.txt", "archive-directory"},
		{"an encrypted zip", "application/zip", "a.zip", string(encrypted), "1 application/zip+ a.zip; 1/1 application/octet-stream 0 secret.exe", "archive-encrypted"},
		{"an empty zip", "application/zip", "a.zip", zipped(t), "1 application/zip 22 a.zip", ""},
		{"a path out of the zip", "application/zip", "a.zip", zipped(t, "../../.ssh/authorized_keys", "x"), "1 application/zip+ a.zip; 1/1 application/octet-stream 1 ../../.ssh/authorized_keys", "name-path"},
		{"a message in a zip", "application/zip", "a.zip", zipped(t, "m.eml", "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b--\n"), "1 application/zip+ a.zip; 1/1 application/octet-stream+ m.eml; 1/1.TEXT multipart/mixed+; 1/1.1 text/plain 2", ""},
		{"a gzip", "application/gzip", "a.txt.gz", gzipped(t, "", "hello"), "1 application/gzip+ a.txt.gz; 1/1 application/octet-stream 5 a.txt", ""},
		{"a gzip with a name", "application/gzip", "a.gz", gzipped(t, "b.exe", "hello"), "1 application/gzip+ a.gz; 1/1 application/octet-stream 5 b.exe", ""},
		{"a tar", "application/x-tar", "a.tar", tarred(t, "a", "1", "b/c", "22"), "1 application/x-tar+ a.tar; 1/1 application/octet-stream 1 a; 1/2 application/octet-stream 2 b/c", ""},
		{"a tar in a gzip", "application/gzip", "a.tgz", gzipped(t, "", tarred(t, "evil.exe", "MZ evil")), "1 application/gzip+ a.tgz; 1/1 application/octet-stream+ a; 1/1/1 application/octet-stream 7 evil.exe", ""},
		{"a page in a zip", "application/zip", "a.zip", zipped(t, "page.html", page, "notes.txt", evilText), "1 application/zip+ a.zip; 1/1 application/octet-stream 59 page.html; 1/2 application/octet-stream 34 notes.txt", ""},
		{"a shortcut in a zip", "application/zip", "a.zip", zipped(t, "a.url", "[InternetShortcut]\r\nURL="+evil+"\r\n"), "1 application/zip+ a.zip; 1/1 application/octet-stream 49 a.url", ""},
		{"a document", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a.docx", zipped(t,
			"[Content_Types].xml", "<Types/>", "_rels/.rels", "<Relationships/>", "word/document.xml", "<w:document/>",
			"word/_rels/document.xml.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="1" Type="http://schemas.openxmlformats.org/x" Target='`+evil+`' TargetMode="External"/><Relationship Target="media/image1.png"/></Relationships>`,
			"word/vbaProject.bin", "\xd0\xcf\x11\xe0 macros"),
			"1 application/vnd.openxmlformats-officedocument.wordprocessingml.document+ a.docx; 1/2 application/octet-stream 16 _rels/.rels; 1/4 application/octet-stream 261 word/_rels/document.xml.rels; 1/5 application/octet-stream 11 word/vbaProject.bin", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Parse([]byte(attached(tt.contentType, tt.file, tt.content)), Options{})
			if got, want := tree(m), "TEXT multipart/mixed+; "+tt.tree; got != want {
				t.Errorf("tree %s\nwant %s", got, want)
			}
			if got := defectNames(m); got != tt.defects {
				t.Errorf("defects %q, want %q", got, tt.defects)
			}
			if wanted := strings.Contains(tt.content, "PK") && (strings.Contains(tt.name, "page") || strings.Contains(tt.name, "shortcut") || strings.Contains(tt.name, "document")); wanted != hasLink(m) {
				t.Errorf("links %v", m.URLs)
			}
			if len(m.URLs) > 1 {
				t.Errorf("more links than one: %v", m.URLs)
			}
			if got, want := m.Parts[1].SHA256, sha256.Sum256([]byte(tt.content)); got != want {
				t.Error("the archive's own digest is wrong")
			}
			checkMessage(t, m)
		})
	}
}

func TestFilesInArchivesHaveTheirDigests(t *testing.T) {
	content := "MZ" + strings.Repeat("evil", 50000)
	m := Parse([]byte(attached("application/zip", "a.zip", zipped(t, "b.zip", zipped(t, "c.exe", content)))), Options{})
	i := slices.IndexFunc(m.Parts, func(p Part) bool { return p.Path == "1/1/1" })
	if i < 0 {
		t.Fatal(tree(m))
	}
	p := m.Parts[i]
	if p.SHA256 != sha256.Sum256([]byte(content)) || p.SHA1 != sha1.Sum([]byte(content)) || p.MD5 != md5.Sum([]byte(content)) || p.Size != int64(len(content)) { //nolint:gosec // as above
		t.Errorf("%+v", p)
	}
	if p.Detected == "" || !p.Archived || !p.Attachment() || p.Fingerprint != [32]byte{} {
		t.Errorf("%+v", p)
	}
}

func TestTheFingerprintCoversArchives(t *testing.T) {
	one := Parse([]byte(attached("application/zip", "a.zip", stored(t, "a", "1"))), Options{})
	two := Parse([]byte(attached("application/zip", "a.zip", stored(t, "a", "2"))), Options{})
	if one.Body == two.Body {
		t.Error("messages with different archives have the same fingerprint")
	}
}

func TestBombsAreDefused(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	zeros := strings.Repeat("\x00", 64<<20)
	bomb := zipped(t, "zeros", zeros)
	var many []string
	for range 8 {
		many = append(many, "b.zip", bomb)
	}
	deep := zipped(t, "evil.exe", "MZ")
	for range 40 {
		deep = zipped(t, "a.zip", deep)
	}
	thousands := make([]string, 0, 6000)
	for range 3000 {
		thousands = append(thousands, "x", "")
	}
	tests := []struct {
		name, content string
		limits        Limits
		defect        string
		most          int64 // bytes unpacked
	}{
		{"one file of zeros", bomb, Limits{}, DefectArchiveRatio, 20 << 20},
		{"the same many times", zipped(t, many...), Limits{}, DefectArchiveRatio, 120 << 20},
		{"more than all may unpack to", zipped(t, many...), Limits{ArchiveRatio: 1 << 20, ArchiveBytes: 10 << 20}, DefectArchiveBytes, 11 << 20},
		{"nested too deep", deep, Limits{Depth: 20}, DefectDepthLimit, 1 << 20},
		{"too many files", zipped(t, thousands...), Limits{}, DefectArchiveFiles, 1},
		{"too many parts", zipped(t, thousands...), Limits{ArchiveFiles: 1 << 20}, DefectPartLimit, 1},
		{"a bomb of gzip", gzipped(t, "", zeros), Limits{}, DefectArchiveRatio, 20 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := Parse([]byte(attached("application/zip", "a.zip", tt.content)), Options{Limits: tt.limits})
			if !strings.Contains(" "+defectNames(m)+" ", " "+tt.defect+" ") {
				t.Errorf("defects %q lack %s", defectNames(m), tt.defect)
			}
			var unpacked int64
			for i := range m.Parts {
				if p := &m.Parts[i]; p.Archived {
					unpacked += p.Size
				}
			}
			if unpacked > tt.most {
				t.Errorf("%d bytes were unpacked", unpacked)
			}
			checkMessage(t, m)
		})
	}
}

func TestAFileBeyondTheLimitsHasNoDigest(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	m := Parse([]byte(attached("application/zip", "a.zip", zipped(t, "zeros", strings.Repeat("\x00", 64<<20), "next", "hello"))), Options{})
	var zero, hello [32]byte
	hello = sha256.Sum256([]byte("hello"))
	if p := m.Parts[2]; p.SHA256 != zero || p.MD5 != [16]byte{} {
		t.Error("half a file has a digest")
	}
	if p := m.Parts[3]; p.SHA256 != hello {
		t.Error("the file behind it has none")
	}
}

// Windows opens a zip by its name and from its end, whatever stands before it.
func TestAZipBehindAnotherArchiveIsOpened(t *testing.T) {
	var zipped, stub bytes.Buffer
	w := zip.NewWriter(&zipped)
	f, err := w.Create("a.html")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte(evilHTML))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	g := gzip.NewWriter(&stub)
	_, _ = g.Write([]byte("nothing"))
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	m := Parse([]byte("Content-Type: application/octet-stream; name=a.zip\nContent-Transfer-Encoding: base64\n\n"+b64(stub.String()+zipped.String())+"\n"), Options{})
	if !hasLink(m) {
		t.Errorf("the link was not found: %s", defectNames(m))
	}
	checkMessage(t, m)
}
