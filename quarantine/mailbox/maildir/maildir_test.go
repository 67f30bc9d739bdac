package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

const raw = "X-Weir-ID: 01ABC.n.m\r\nMessage-ID: <the-target@example.org>\r\nSubject: x\r\n\r\nhello\r\n"

func noon() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) }

// house is a root with alice's mailbox.
type house struct {
	*testing.T
	root string
	mailbox.Account
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, root: t.TempDir()}
	h.makeFolder("alice/Maildir")
	b, err := New(Options{Root: h.root, Layout: "%u/Maildir"})
	if err != nil {
		t.Fatal(err)
	}
	if h.Account, err = b.Open(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func (h *house) makeFolder(path string) {
	h.Helper()
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(h.root, path, sub), 0o755); err != nil {
			h.Fatal(err)
		}
	}
}

// put writes a file below alice's mailbox and gives its path.
func (h *house) put(name, content string) string {
	h.Helper()
	path := filepath.Join(h.root, "alice/Maildir", name)
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chtimes(path, noon(), noon())); err != nil {
		h.Fatal(err)
	}
	return path
}

func (h *house) find(t mailbox.Target) (copies []mailbox.Copy, errs []error) {
	h.Helper()
	for c, err := range h.Find(h.Context(), []mailbox.Target{t}) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		copies = append(copies, c.Copy)
	}
	return copies, errs
}

func (h *house) remove(c mailbox.Copy) mailbox.Removal {
	h.Helper()
	return h.Remove(h.Context(), []mailbox.Copy{c})[0]
}

func (h *house) one() mailbox.Copy {
	h.Helper()
	copies, errs := h.find(mailbox.Target{MessageID: "the-target@example.org"})
	if len(copies) != 1 || len(errs) > 0 {
		h.Fatalf("found %+v, %v", copies, errs)
	}
	return copies[0]
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{}, {Root: "/x"}, {Root: "/x", Layout: "Maildir"}, {Root: "/x", Layout: "%d"}, {Root: "/x", Layout: "/%u"},
		{Root: "/x", Layout: "%u", MaxBytes: -1}, {Layout: "%u"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestUsersNamesBecomePathsOnlyIfTheyAreNames(t *testing.T) {
	for _, c := range []struct{ layout, user, path string }{
		{"%u/Maildir", "alice@example.org", "alice@example.org/Maildir"},
		{"%d/%n/Maildir", "alice@example.org", "example.org/alice/Maildir"},
		{"%d/%n/Maildir", "alice", ""}, {"%d/%n/Maildir", "..@example.org", ""}, {"%d/%n/Maildir", "alice@..", ""},
		{"%d/%n/Maildir", "@example.org", ""}, {"%d/%n/Maildir", "a/b@example.org", ""}, {"%u", "..", ""}, {"%u", ".", ""}, {"%u", "", ""},
		{"%u", "a\x00b", ""}, {"%u", strings.Repeat("x", 256), ""}, {"%u", "%n", "%n"}, {"x-%n", "..", "x-.."},
	} {
		o := Options{Layout: c.layout}
		path, err := o.path(c.user)
		if path != c.path || (err == nil) != (c.path != "") {
			t.Errorf("%s of %.20q: %q, %v", c.layout, c.user, path, err)
		}
	}
}

func TestARootThatIsNotThereIsNoMissingMailbox(t *testing.T) {
	b, err := New(Options{Root: filepath.Join(t.TempDir(), "not-mounted"), Layout: "%u"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(t.Context(), "alice"); !errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, mailbox.ErrNoMailbox) {
		t.Errorf("error %v", err)
	}
}

func TestLinksAndPipesOfUsersLeadNowhere(t *testing.T) {
	h := newHouse(t)
	h.makeFolder("bob/Maildir")
	bobs := filepath.Join(h.root, "bob/Maildir/cur/1.x:2,")
	if err := os.WriteFile(bobs, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	alice := filepath.Join(h.root, "alice/Maildir")
	for _, err := range []error{
		os.Symlink(bobs, filepath.Join(alice, "cur/2.x:2,")),
		os.Symlink("../../../bob/Maildir", filepath.Join(alice, ".Bob")),
		syscall.Mkfifo(filepath.Join(alice, "cur/3.x:2,"), 0o600),
		os.Mkdir(filepath.Join(alice, "cur/4.x:2,"), 0o700),
		os.Symlink("/", filepath.Join(alice, ".Root")),
		os.Symlink("..", filepath.Join(alice, "..bob")),
		os.Symlink(h.root+"/bob", filepath.Join(h.root, "carol")),
		os.Symlink("/", filepath.Join(h.root, "dave")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	own := h.put("cur/5.x:2,", strings.Replace(raw, "the-target", "the-other1", 1))
	if err := os.Symlink(filepath.Base(own), filepath.Join(alice, "cur/6.x:2,")); err != nil {
		t.Fatal(err)
	}
	for id, n := range map[string]int{"the-target@example.org": 0, "the-other1@example.org": 1} {
		if copies, errs := h.find(mailbox.Target{MessageID: id}); len(copies) != n || len(errs) > 0 {
			t.Errorf("%s: found %+v, %v", id, copies, errs)
		}
	}
	if copies, errs := h.find(mailbox.Target{Body: [32]byte{1}}); len(copies) > 0 || len(errs) > 0 {
		t.Errorf("by content: %+v, %v", copies, errs)
	}
	for _, folder := range []string{"INBOX", "Bob", "Root", "../../bob/Maildir", "/bob"} {
		for _, id := range []string{"1.x", "2.x", "3.x", "4.x", "../../../bob/Maildir/cur/1.x"} {
			c := mailbox.Copy{Folder: folder, ID: id, Size: int64(len(raw)), Date: noon()}
			if err := h.Fetch(t.Context(), c, &bytes.Buffer{}); err == nil {
				t.Errorf("%s %s was fetched", folder, id)
			}
			if h.remove(c).Taken {
				t.Errorf("%s %s was removed", folder, id)
			}
		}
	}
	if _, err := os.Stat(bobs); err != nil {
		t.Error(err)
	}
	b, err := New(Options{Root: h.root, Layout: "%u/Maildir"})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := b.Open(t.Context(), "dave"); err == nil {
		_ = a.Close()
		t.Error("a link out of the root was followed")
	}
}

func TestAFileOfSeveralLinksStaysInTheOtherMailboxes(t *testing.T) {
	h := newHouse(t)
	path := h.put("cur/1.x:2,S", raw)
	other := filepath.Join(h.root, "other")
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(other)
	if err != nil {
		t.Fatal(err)
	}
	c := h.one()
	if r := h.remove(c); !r.Taken || r.Err != nil {
		t.Fatal(r)
	}
	if _, err := h.Restore(t.Context(), mailbox.Return{Raw: []byte(raw), Was: c}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(other)
	after, statErr := os.Stat(other)
	if err := errors.Join(err, statErr); err != nil || string(content) != raw || !after.ModTime().Equal(before.ModTime()) || after.Mode() != before.Mode() {
		t.Errorf("%q %v %v %v", content, after, before, err)
	}
}

func TestAnotherMessageOfTheSameNameStays(t *testing.T) {
	for name, change := range map[string]func(h *house, path string){
		"another Message-ID": func(h *house, _ string) { h.put("cur/1.x:2,S", strings.Replace(raw, "the-target", "the-tarGet", 1)) },
		"another size":       func(h *house, _ string) { h.put("cur/1.x:2,S", raw+"x") },
		"another time": func(h *house, path string) {
			if err := os.Chtimes(path, noon(), noon().Add(time.Second)); err != nil {
				h.Fatal(err)
			}
		},
		"another X-Weir-ID": func(h *house, _ string) { h.put("cur/1.x:2,S", strings.Replace(raw, "01ABC", "01ABD", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			path := h.put("cur/1.x:2,S", raw)
			c := h.one()
			change(h, path)
			if r := h.remove(c); r.Taken || !errors.Is(r.Err, mailbox.ErrStale) {
				t.Errorf("%+v", r)
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestACopyIsFoundWhateverItsFlagsBecome(t *testing.T) {
	h := newHouse(t)
	path := h.put("new/1.x", raw)
	c := h.one()
	for _, name := range []string{"cur/1.x:2,", "cur/1.x:2,RS", "cur/1.x:2,Sab"} {
		next := filepath.Join(h.root, "alice/Maildir", name)
		if err := os.Rename(path, next); err != nil {
			t.Fatal(err)
		}
		path = next
		var b bytes.Buffer
		if err := h.Fetch(t.Context(), c, &b); err != nil || b.String() != raw {
			t.Errorf("%s: %v", name, err)
		}
		if gone, err := h.Gone(t.Context(), c); gone || err != nil {
			t.Errorf("%s: gone %v, %v", name, gone, err)
		}
	}
	if r := h.remove(c); !r.Taken || r.Err != nil {
		t.Error(r)
	}
}

// Another program changes flags all the time.
func TestMailWhoseFlagsChangeMeanwhileIsNotMissed(t *testing.T) {
	h := newHouse(t)
	for i := range 200 {
		h.put(fmt.Sprintf("cur/%d.other:2,", i), "Message-ID: <other@example.org>\r\n\r\n")
	}
	path := h.put("cur/1.x:2,", raw)
	// Fewer changes during one search than it looks again, however slow it is.
	changes, stopped := make(chan struct{}, maxLooks/3), make(chan error)
	go func() {
		flags := []string{"", "S", "RS", "FS"}
		i := 0
		for range changes {
			next := strings.SplitAfter(path, ":2,")[0] + flags[i%len(flags)]
			if err := os.Rename(path, next); err != nil {
				stopped <- err
				return
			}
			path = next
			i++
			time.Sleep(300 * time.Microsecond)
		}
		stopped <- nil
	}()
	for range 200 {
		for range cap(changes) - len(changes) {
			changes <- struct{}{}
		}
		h.one()
	}
	close(changes)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

func TestCompressedMailIsToldNotPassedOver(t *testing.T) {
	h := newHouse(t)
	h.put("cur/1.x:2,", "\x1f\x8b\x08\x00 and so on")
	for _, target := range []mailbox.Target{{MessageID: "the-target@example.org"}, {Body: [32]byte{1}}} {
		if _, errs := h.find(target); len(errs) != 1 || !errors.Is(errs[0], mailbox.ErrRefused) {
			t.Errorf("errors %v", errs)
		}
	}
}

func TestFlagsAndKeywordsAreLettersInTheName(t *testing.T) {
	for name, c := range map[string]struct {
		dovecot string // dovecot-keywords; "-": no Dovecot
		marks   []string
		letters string
		after   string // dovecot-keywords then
	}{
		"none":                            {"-", nil, "", "-"},
		"flags":                           {"-", []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`, `\Deleted`}, "DFRST", "-"},
		"forwarded":                       {"-", []string{`\Seen`, "$Forwarded", "work"}, "PS", "-"},
		"known keywords":                  {"0 work\n3 $Forwarded\n", []string{`\Seen`, "$Forwarded", "work"}, "Sad", "0 work\n3 $Forwarded\n"},
		"in another case":                 {"0 Work\n", []string{"work"}, "a", "0 Work\n"},
		"unknown keywords":                {"1 work\n", []string{"home", "work", "zoo"}, "abc", "1 work\n0 home\n2 zoo\n"},
		"lines that are none":             {"x\n99 y\n-1 z\n0\n2 a b\n5 fine\n", []string{"fine"}, "f", "x\n99 y\n-1 z\n0\n2 a b\n5 fine\n"},
		"a line that is no keyword to us": {"0 a b\n40 x", []string{"new"}, "b", "0 a b\n40 x\n1 new\n"},
		"no letters left":                 {full(), []string{"more", "k7"}, "h", full()},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			if c.dovecot != "-" {
				h.put(keywordsFile, c.dovecot)
			}
			was := mailbox.Copy{Folder: "INBOX", Date: noon()}
			was.Mark(c.marks)
			got, err := h.Restore(t.Context(), mailbox.Return{Raw: []byte(raw), Was: was})
			if err != nil {
				t.Fatal(err)
			}
			names, err := filepath.Glob(filepath.Join(h.root, "alice/Maildir/cur/*"))
			if err != nil || len(names) != 1 || !strings.HasSuffix(names[0], ":2,"+c.letters) {
				t.Errorf("files %q, %v; restored %+v", names, err, got)
			}
			text, err := os.ReadFile(filepath.Join(h.root, "alice/Maildir", keywordsFile))
			if err != nil && c.after != "-" || err == nil && string(text) != c.after {
				t.Errorf("keywords %q, %v", text, err)
			}
			if rest, err := filepath.Glob(filepath.Join(h.root, "alice/Maildir/tmp/*")); len(rest) > 0 || err != nil {
				t.Errorf("left in tmp: %q, %v", rest, err)
			}
		})
	}
}

// full gives a file without a free letter.
func full() string {
	var b strings.Builder
	for i := range 26 {
		fmt.Fprintf(&b, "%d k%d\n", i, i)
	}
	return b.String()
}

func TestAFullDiskIsAFullMailbox(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a small file system is mounted")
	}
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	h := &house{T: t, root: root}
	h.makeFolder("alice/Maildir")
	b, err := New(Options{Root: root, Layout: "%u/Maildir"})
	if err != nil {
		t.Fatal(err)
	}
	if h.Account, err = b.Open(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	_, err = h.Restore(t.Context(), mailbox.Return{Raw: bytes.Repeat([]byte(raw), 2000), Was: mailbox.Copy{Folder: "INBOX", Date: noon()}})
	if !errors.Is(err, mailbox.ErrOverQuota) {
		t.Errorf("error %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(root, "alice/Maildir/*/*")); len(left) > 0 || err != nil {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestFolderNamesAreInModifiedUTF7(t *testing.T) {
	for shown, disk := range map[string]string{
		"Archive": "Archive", "Entwürfe": "Entw&APw-rfe", "日本語": "&ZeVnLIqe-", "R&D": "R&-D", "~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "😀": "&2D3eAA-",
	} {
		if got := encodeName(shown); got != disk {
			t.Errorf("%s on disk: %s", shown, got)
		}
		if got, ok := decodeName(disk); got != shown || !ok {
			t.Errorf("%s is shown: %s", disk, got)
		}
	}
	for _, bad := range []string{"&", "&AGE-", "&ZeVnLIqe", "&***-", "a\xff", "ü", "&2D0-", "&ZeU-&ZeU-"} {
		if got, ok := decodeName(bad); ok {
			t.Errorf("%q is shown as %q", bad, got)
		}
	}
	if got := shownName(".a&.b"); got != "a&/b" {
		t.Errorf("shown: %q", got)
	}
}

func FuzzFolderName(f *testing.F) {
	f.Add("Entw&APw-rfe")
	f.Add("日本語&")
	f.Fuzz(func(t *testing.T, name string) {
		if shown, ok := decodeName(name); ok && encodeName(shown) != name {
			t.Errorf("%q is shown as %q, which is %q", name, shown, encodeName(shown))
		}
		valid := strings.ToValidUTF8(name, "?")
		if back, ok := decodeName(encodeName(valid)); !ok || back != valid {
			t.Errorf("%q comes back as %q", valid, back)
		}
	})
}

// FuzzMessage puts any bytes and any names into a mailbox.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(raw), "1.x:2,S", "0 work\n")
	f.Add([]byte("\n\n"), "1.x:2,Pz:2,", "25 z\n")
	f.Fuzz(func(t *testing.T, content []byte, name, words string) {
		h := newHouse(t)
		h.put(keywordsFile, words)
		if name == "" || strings.ContainsAny(name, "/\x00") || name[0] == '.' || len(name) > 200 {
			name = "1.x:2,"
		}
		h.put("cur/"+name, string(content))
		copies, _ := h.find(mailbox.Target{MessageID: "the-target@example.org", WeirID: "01ABC"})
		for _, c := range copies {
			var b bytes.Buffer
			if err := h.Fetch(t.Context(), c, &b); err != nil || !bytes.Equal(b.Bytes(), content) {
				t.Fatalf("fetched %q, %v", b.Bytes(), err)
			}
			if r := h.remove(c); !r.Taken || r.Err != nil {
				t.Fatal(r)
			}
			back, err := h.Restore(t.Context(), mailbox.Return{Raw: content, Was: c})
			if err != nil || !slices.Equal(back.Copy.Flags, c.Flags) || !slices.Equal(back.Copy.Keywords, c.Keywords) {
				t.Fatalf("restored %+v of %+v, %v", back.Copy, c, err)
			}
		}
	})
}

// Who died with the lock of the keywords must not keep mail from coming back for
// good; who has it now is waited for.
func TestALockThatWasLeftBehindIsTakenAway(t *testing.T) {
	h := newHouse(t)
	h.put(keywordsFile, "0 home\n")
	lock := h.put(keywordsFile+".lock", "")
	back := func() error {
		_, err := h.Restore(h.Context(), mailbox.Return{Raw: []byte(raw), Was: mailbox.Copy{Folder: "INBOX", ID: "1", Date: noon(), Keywords: []string{"work"}}})
		return err
	}
	if err := os.Chtimes(lock, time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := back(); !errors.Is(err, mailbox.ErrUnreachable) {
		t.Errorf("with a lock of now: %v", err)
	}
	if err := os.Chtimes(lock, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := back(); err != nil {
		t.Errorf("with one of an hour ago: %v", err)
	}
	if copies, _ := h.find(mailbox.Target{MessageID: "the-target@example.org"}); len(copies) != 1 || !slices.Equal(copies[0].Keywords, []string{"work"}) {
		t.Errorf("%+v", copies)
	}
	if _, err := os.Stat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
