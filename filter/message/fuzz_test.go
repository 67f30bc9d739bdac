package message

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // lets the library decode what is not UTF-8
	"github.com/jhillyerd/enmime/v2"
	"golang.org/x/net/html"
)

// FuzzParse checks that nothing breaks the parser, and that no link stays unseen
// which another parser shows.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "Subject: x\n\nhello " + evil,
		inMixed("Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + b64(evilHTML)),
		inMixed("Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n" + b64(utf16le(evilText))),
		inMixed("Content-Type: text/html; charset=utf-7\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.ReplaceAll(evilHTML, "=", "=3D")),
		inMixed("Content-Type: message/rfc822\n\nSubject: =?utf-8?Q?x?=\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\n" + evilText + "\n--c\nContent-Type: text/html\n\n" + evilHTML + "\n--c--\n"),
		inMixed("Content-Type: application/octet-stream; name=x.eml\nContent-Transfer-Encoding: base64\n\n" + b64("Content-Type: text/html\n\n"+evilHTML)),
		inMixed("Content-Type: text/html\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n" + uuencode(evilHTML) + "`\nend\n"),
		attached("application/zip", "a.zip", zipped(f, "a.html", "<html>"+evilHTML, "b.zip", zipped(f, "c", "d"))),
		"Content-Type: multipart/mixed; boundary=\"b\nContent-Type: text/html\n x\n\n--b x\n\n" + evilText + "--b--\n" + evilText,
		crlf(inMixed("Content-Type: text/plain; name*0*=utf-8''a; name*1=b\nContent-Disposition: attachment; filename=\"=?utf-8?Q?x?=\"\n\n" + evilText)),
	} {
		f.Add([]byte(seed))
	}
	p, err := NewParser(Limits{Parts: 50, Depth: 10, ArchiveBytes: 1 << 20, Defects: 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		m := p.Parse(raw, nil)
		if !bytes.Equal(raw, before) {
			t.Fatal("the message was written to")
		}
		checkMessage(t, m)
		if len(m.Parts) > 50 || len(m.Defects) > 20+len(Defects()) {
			t.Fatalf("%d parts, %d defects", len(m.Parts), len(m.Defects))
		}
		if m.Incomplete != nil {
			t.Fatal(m.Incomplete)
		}
		again := p.Parse(raw, nil)
		if again.Body != m.Body || tree(again) != tree(m) || len(again.URLs) != len(m.URLs) {
			t.Fatal("the same message is read in another way the second time")
		}
		if len(raw) > 1<<14 || found(m) {
			return
		}
		for name, text := range map[string]string{"enmime": enmimeText(raw), "go-message": goMessageText(raw)} {
			if shows(text) {
				t.Errorf("%s shows the link in %q; our tree is %s, links %v", name, text, tree(m), m.URLs)
			}
		}
	})
}

// found reports whether some link to the hostile host was found.
func found(m *Message) bool {
	for _, u := range m.URLs {
		if strings.Contains(u.Value.String(), "evil.example") {
			return true
		}
	}
	return false
}

// shows reports whether the hostile link stands in a text so that a reader
// could follow it.
func shows(text string) bool {
	const before, behind = " \t\r\n\"'<>=", " \t\r\n\"'<>"
	for {
		i := strings.Index(text, evil)
		if i < 0 {
			return false
		}
		end := i + len(evil)
		if (i == 0 || strings.IndexByte(before, text[i-1]) >= 0) && (end == len(text) || strings.IndexByte(behind, text[end]) >= 0) {
			return true
		}
		text = text[end:]
	}
}

// enmimeText gives what enmime would show.
func enmimeText(raw []byte) string {
	env, err := enmime.ReadEnvelope(bytes.NewReader(raw))
	if err != nil {
		return ""
	}
	return env.Text + "\n" + visible(env.HTML)
}

// visible gives what a reader of a page can see or click.
func visible(page string) string {
	var out strings.Builder
	hidden := ""
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return out.String()
		}
		token := z.Token()
		switch {
		case kind == html.TextToken && hidden == "":
			out.WriteString(token.Data + "\n")
		case kind == html.StartTagToken && (token.Data == "style" || token.Data == "script"):
			hidden = token.Data
		case kind == html.EndTagToken && token.Data == hidden:
			hidden = ""
		}
		for _, a := range token.Attr {
			if a.Key == "href" || a.Key == "src" {
				out.WriteString(a.Val + "\n")
			}
		}
	}
}

// goMessageText gives the texts that go-message finds.
func goMessageText(raw []byte) string {
	e, err := gomessage.Read(bytes.NewReader(raw))
	if e == nil || err != nil && !gomessage.IsUnknownCharset(err) {
		return ""
	}
	var all strings.Builder
	_ = e.Walk(func(_ []int, e *gomessage.Entity, err error) error {
		if err != nil && !gomessage.IsUnknownCharset(err) {
			return err
		}
		if t, _, _ := e.Header.ContentType(); strings.HasPrefix(t, "text/") {
			text, _ := io.ReadAll(e.Body)
			if t == "text/html" {
				text = []byte(visible(string(text)))
			}
			all.Write(text)
			all.WriteByte('\n')
		}
		return nil
	})
	return all.String()
}

// TestOtherParsersShowNoLinkThatIsNotFound runs the fuzzer's check over real
// messages into which the link is put.
func TestOtherParsersShowNoLinkThatIsNotFound(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	dir := samples(t, "mime")
	shown, total := 0, 0
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || ext != ".msg" && ext != ".eml" && ext != ".raw" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines := bytes.SplitAfter(raw, []byte("\n"))
		step := max(1, len(lines)/10)
		for at := 0; at < len(lines); at += step {
			with := slicesJoin(lines[:at], []byte(evilText), lines[at:])
			total++
			other := ""
			if len(with) < 1<<17 {
				other = enmimeText(with) + "\n" + goMessageText(with)
			}
			if !shows(other) {
				continue
			}
			shown++
			if m := Parse(with, Options{}); !found(m) {
				t.Errorf("%s: a link put before line %d was not found; tree %s", path, at+1, tree(m))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages with a link, in %d of which another parser shows it", total, shown)
}

func slicesJoin(before [][]byte, middle []byte, behind [][]byte) []byte {
	out := bytes.Join(before, nil)
	out = append(out, middle...)
	return append(out, bytes.Join(behind, nil)...)
}

// patches are the pieces that break parsers.
func patches() []string {
	return []string{
		"\n", "\n\n", "\r\n", "\r", " ", "\t", "--b\n", "--b\r\n", "--b--\n", "--c\n", "--c--\n", "--b junk\n", "--\n", "-- \n",
		"Content-Type: multipart/mixed; boundary=b\n", "Content-Type: multipart/alternative; boundary=\"c\"\n",
		"Content-Type: multipart/mixed; boundary=b; boundary=c\n", "Content-Type: multipart/mixed\n", "Content-Type: multipart/digest; boundary=b\n",
		"Content-Type: message/rfc822\n", "Content-Type: text/html; charset=utf-8\n", "Content-Type: text/plain\n", "Content-Type: text/plain; charset=utf-16\n",
		"Content-Type: html\n", "Content-Type: \n", "Content-Type: application/octet-stream; name=a.html\n", "Content-Type text/html\n",
		"Content-Transfer-Encoding: base64\n", "Content-Transfer-Encoding: quoted-printable\n", "Content-Transfer-Encoding: 7bit\n",
		"Content-Transfer-Encoding: x-foo\n", "Content-Transfer-Encoding: base64 (x)\n", "Content-Transfer-Encoding: x-uuencode\n",
		"Content-Disposition: attachment; filename=\"a.txt\"\n", "Subject: =?utf-8?Q?x?=\n", "From a@b Sat Jan  1 00:00:00 2022\n",
		"junk\n", "X-\xe9: y\n", " folded\n", "hello\n", "\x00", "\xff\xfe", "=\n", "=3D", "AAAA", "AAA=", "!",
	}
}

// patched puts a message together at random.
func patched(r *rand.Rand, pieces []string) []byte {
	var b strings.Builder
	for range 2 + r.IntN(14) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return []byte(b.String())
}

func TestOtherParsersShowNoLinkOfAPatchedMessage(t *testing.T) {
	pieces := append(patches(),
		evilText, evilHTML, evilHTML+"\n", b64(evilHTML)+"\n", b64(evilText)+"\n", b64(utf16le(evilText))+"\n",
		b64("Content-Type: text/html\n\n"+evilHTML)+"\n", strings.ReplaceAll(evilHTML, "=", "=3D")+"\n", "begin 644 a\n"+uuencode(evilHTML)+"`\nend\n",
	)
	const tries = 5000
	r := rand.New(rand.NewPCG(12, 2))
	shown := 0
	for range tries {
		raw := patched(r, pieces)
		other := enmimeText(raw) + "\n" + goMessageText(raw)
		if !shows(other) {
			continue
		}
		shown++
		if m := Parse(raw, Options{}); !found(m) {
			t.Errorf("not found in %q\nwhere others see %q\ntree %s, links %v", raw, other, tree(m), m.URLs)
		}
	}
	t.Logf("of %d messages, another parser shows a link in %d", tries, shown)
}

func TestOtherParsersSaveNoFileOfAPatchedMessageThatIsNotDigested(t *testing.T) {
	const payload = "MZ\x90\x00 evil program \xff\xfe that does something \x01\x02\x03"
	pieces := append(patches(), b64(payload)+"\n", b64(payload)+"\n", b64(payload[:10])+"\n"+b64(payload[10:])+"\n",
		b64(payload)[:20]+"\n"+b64(payload)[20:]+"\n", "begin 644 a.exe\n"+uuencode(payload)+"`\nend\n",
		"Content-Type: application/octet-stream; name=a.exe\nContent-Transfer-Encoding: base64\n\n", "Content-Transfer-Encoding: base64\n\n")
	want := sha256.Sum256([]byte(payload))
	const tries = 5000
	r := rand.New(rand.NewPCG(12, 2))
	saved := 0
	for range tries {
		raw := patched(r, pieces)
		if !slices.Contains(savedByOthers(raw), payload) {
			continue
		}
		saved++
		m := Parse(raw, Options{})
		if !slices.ContainsFunc(m.Parts, func(p Part) bool { return p.SHA256 == want }) {
			t.Errorf("not found in %q\ntree %s", raw, tree(m))
		}
	}
	t.Logf("of %d messages, another parser saves the file of %d", tries, saved)
}

// savedByOthers gives the contents that enmime and go-message find.
func savedByOthers(raw []byte) []string {
	var all []string
	if env, err := enmime.ReadEnvelope(bytes.NewReader(raw)); err == nil {
		for _, parts := range [][]*enmime.Part{env.Attachments, env.Inlines, env.OtherParts} {
			for _, p := range parts {
				all = append(all, string(p.Content))
			}
		}
	}
	e, err := gomessage.Read(bytes.NewReader(raw))
	if e == nil || err != nil && !gomessage.IsUnknownCharset(err) {
		return all
	}
	_ = e.Walk(func(_ []int, e *gomessage.Entity, err error) error {
		if err != nil && !gomessage.IsUnknownCharset(err) {
			return err
		}
		if t, _, _ := e.Header.ContentType(); !strings.HasPrefix(t, "multipart/") {
			content, _ := io.ReadAll(e.Body)
			all = append(all, string(content))
		}
		return nil
	})
	return all
}
