package mailboxes

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/doveadm"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
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
		"doveadm": func() error { return pull(b, s.doveadm(b, nil), user, id) },
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

// far gives an address behind which the server at another one is, a round trip
// of so long away.
func far(b *testing.B, address string, trip time.Duration) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	carry := func(to, from net.Conn) {
		defer func() { _ = errors.Join(to.Close(), from.Close()) }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			time.Sleep(trip / 2)
			if _, writeErr := to.Write(buf[:n]); err != nil || writeErr != nil {
				return
			}
		}
	}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			time.Sleep(trip) // the handshake
			server, err := net.Dial("tcp", address)
			if err != nil {
				_ = near.Close()
				continue
			}
			go carry(near, server)
			go carry(server, near)
		}
	}()
	return ln.Addr().String()
}

// BenchmarkFind looks for one message among 5 000 in 10 folders, opening the
// mailbox included. What is cold has no cache of Dovecot's: it reads every message's
// header for what it searches. What is far is warm, and 10 ms away.
func BenchmarkFind(b *testing.B) {
	s := start(b)
	user := s.newUser(nil)
	client := s.put(b, user, "folder7")
	for f := range 10 {
		folder := fmt.Sprintf("folder%d", f)
		if f != 7 {
			if _, err := client.Do("CREATE %s", folder); err != nil {
				b.Fatal(err)
			}
		}
		for batch := range 5 {
			var raws [][]byte
			for i := range 100 {
				raws = append(raws, fmt.Appendf(nil, "Message-ID: <message-%d.%d.%d@example.org>\r\nSubject: x\r\n\r\n%s", f, batch, i, strings.Repeat("text of a letter\r\n", 100)))
			}
			if err := client.AppendAll(folder, raws, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	}
	caches := filepath.Join(filepath.Dir(s.ConfigPath()), "mail", user, "Maildir", ".folder*", "dovecot.index.cache")
	near := map[string]mailbox.Backend{"imap": s.imap(b, nil), "doveadm": s.doveadm(b, nil)}
	imapAddr, api := far(b, s.IMAPAddr(), 10*time.Millisecond), far(b, s.DoveadmAddr(), 10*time.Millisecond)
	away := map[string]mailbox.Backend{
		"imap":    s.imap(b, func(o *imap.Options) { o.Address = imapAddr }),
		"doveadm": s.doveadm(b, func(o *doveadm.Options) { o.Address, o.IMAP.Address = api, imapAddr }),
	}
	for _, c := range []struct {
		name   string
		target mailbox.Target
		found  int
	}{
		{"Message-ID", mailbox.Target{MessageID: theID}, 1},
		{"X-Weir-ID", mailbox.Target{WeirID: theWeirID}, 1},
		{"neither", mailbox.Target{MessageID: "nowhere-to-be-found@example.org", WeirID: "01JNB3V2Q8Z5R4T6Y7W8X9A0BD"}, 0},
	} {
		for _, how := range []string{"cold", "warm", "far"} {
			for _, with := range []string{"imap", "doveadm"} {
				b.Run(fmt.Sprintf("%s/%s/%s", c.name, how, with), func(b *testing.B) {
					b.ReportAllocs()
					backend := near[with]
					if how == "far" {
						backend = away[with]
					}
					once := func() {
						if found, err := find(b, backend, user, c.target); err != nil || len(found) != c.found {
							b.Fatalf("found in %q, %v", found, err)
						}
					}
					once()
					for b.Loop() {
						if how == "cold" {
							b.StopTimer()
							files, err := filepath.Glob(caches)
							for _, file := range files {
								err = errors.Join(err, os.Remove(file))
							}
							if err != nil || len(files) == 0 {
								b.Fatalf("%d caches, %v", len(files), err)
							}
							b.StartTimer()
						}
						once()
					}
				})
			}
		}
	}
}

func pull(b *testing.B, backend mailbox.Backend, user, id string) error {
	a, err := backend.Open(b.Context(), user)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	removed := 0
	target := []mailbox.Target{{MessageID: id}}
	for c, err := range a.Find(b.Context(), target) {
		if err == nil {
			err = a.Fetch(b.Context(), c.Copy, io.Discard)
		}
		if err == nil {
			err = a.Remove(b.Context(), []mailbox.Copy{c.Copy})[0].Err
		}
		if err != nil {
			return err
		}
		removed++
	}
	for c, err := range a.Find(b.Context(), target) {
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
