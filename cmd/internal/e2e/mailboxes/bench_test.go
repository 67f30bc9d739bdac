package mailboxes

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
	"github.com/weirmail/weir/quarantine/mailbox/maildir"
)

// BenchmarkPull takes one message of 20 KB out of the mailbox of a user who has
// some more, in INBOX and Junk, login included: through the backends, and by a
// client that does nothing but search INBOX, fetch, store, expunge and search.
func BenchmarkPull(b *testing.B) {
	s := start(b)
	user := s.newUser(nil)
	client, err := mailboxtest.Login(s.IMAPAddr(), user, lab.Password)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	text := strings.Repeat("some text of a letter that is neither long nor short\r\n", 380)
	letter := func(id string) []byte { return []byte("Message-ID: <" + id + ">\r\nSubject: x\r\n\r\n" + text) }
	const id = "the-target@example.org"
	for i := range 100 {
		if err := client.Append("INBOX", letter(fmt.Sprintf("other-%d@example.org", i)), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	local, err := maildir.New(maildir.Options{Root: filepath.Join(filepath.Dir(s.ConfigPath()), "mail"), Layout: "%u/Maildir"})
	if err != nil {
		b.Fatal(err)
	}
	for name, pull := range map[string]func() error{
		"bare":    func() error { return bare(s, user, id) },
		"imap":    func() error { return pull(b, s.imap(b, nil), user, id) },
		"maildir": func() error { return pull(b, local, user, id) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if err := client.Append("INBOX", letter(id), time.Now()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := pull(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func pull(b *testing.B, backend mailbox.Backend, user, id string) error {
	a, err := backend.Open(b.Context(), user)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	removed := 0
	for c, err := range a.Find(b.Context(), mailbox.Target{MessageID: id}) {
		if err == nil {
			err = a.Fetch(b.Context(), c, io.Discard)
		}
		if err == nil {
			_, err = a.Remove(b.Context(), c)
		}
		if err != nil {
			return err
		}
		removed++
	}
	for c, err := range a.Find(b.Context(), mailbox.Target{MessageID: id}) {
		return fmt.Errorf("still there: %+v, %w", c, err)
	}
	if removed != 1 {
		return fmt.Errorf("%d removed", removed)
	}
	return nil
}

func bare(s *site, user, id string) error {
	c, err := mailboxtest.Login(s.IMAPAddr(), user, lab.Password)
	if err != nil {
		return err
	}
	defer c.Close()
	search := fmt.Sprintf("UID SEARCH HEADER Message-ID %q", id)
	if _, err := c.Do("SELECT INBOX"); err != nil {
		return err
	}
	found, err := c.Do("%s", search)
	if err != nil {
		return err
	}
	uid := found[0].Words()[2]
	for _, command := range []string{
		"UID FETCH " + uid + " (BODY.PEEK[])", "UID STORE " + uid + ` +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE " + uid, search, "LOGOUT",
	} {
		if _, err := c.Do("%s", command); err != nil {
			return err
		}
	}
	return nil
}
