package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
)

// storeUID owns the mailboxes of a lab's Dovecot.
const storeUID = 5000

// fill gives every user messages that nobody looks for: perFolder in each of the
// folders, all different from each other, and the same for every user, since they
// are hard links. Then each mailbox is searched once, as a user's client or an
// earlier incident would have: Dovecot has its index.
func (s *mailSite) fill(ctx context.Context, dir string, folders []string, perFolder int) error {
	pen := newPen()
	var files, names []string
	for n := range len(folders) * perFolder {
		raw := pen.write(s.next.Add(1), wish{}).Raw
		files = append(files, filepath.Join(dir, fmt.Sprint(n)))
		names = append(names, fmt.Sprintf("%d.M%dP1.lab,S=%d,W=%d:2,S", time.Now().Unix()-int64(n)*60, n, len(raw), len(raw)))
		if err := os.WriteFile(files[n], raw, 0o644); err != nil {
			return err
		}
	}
	err := atOnce(ctx, len(s.users), func(i int) error {
		for f, folder := range folders {
			in := s.folder(s.users[i], folder)
			if err := makeFolder(in); err != nil {
				return err
			}
			for n := f * perFolder; n < (f+1)*perFolder; n++ {
				if err := os.Link(files[n], filepath.Join(in, "cur", names[n])); err != nil {
					return err
				}
			}
		}
		return own(filepath.Dir(s.folder(s.users[i], inbox)), storeUID)
	})
	if err != nil {
		return err
	}
	return atOnce(ctx, len(s.users), func(i int) error {
		return s.as(s.users[i], func(u *mailboxtest.User) error {
			for _, folder := range folders {
				if _, err := u.Do("EXAMINE %q", folder); err != nil {
					return err
				}
				if _, err := u.Do("UID SEARCH OR HEADER Message-ID nobody HEADER X-Weir-ID nobody"); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

const inbox = "INBOX"

// folder gives the directory of a folder, as Maildir++ has it.
func (s *mailSite) folder(user, name string) string {
	dir := filepath.Join(filepath.Dir(s.boxes.ConfigPath()), "mail", user, "Maildir")
	if name != inbox {
		dir = filepath.Join(dir, "."+name)
	}
	return dir
}

func makeFolder(dir string) error {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(filepath.Base(dir), ".") {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "maildirfolder"), nil, 0o600)
}

// own gives a folder to a user, with the folders in it and all that is not a link
// to another file.
func own(dir string, uid int) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() && d.Name() != "maildirfolder" {
			return err
		}
		return os.Chown(path, uid, uid)
	})
}

// as does something as a user's mail client.
func (s *mailSite) as(user string, do func(*mailboxtest.User) error) error {
	u, err := mailboxtest.Login(s.boxes.IMAPAddr(), user, lab.Password)
	if err != nil {
		return err
	}
	defer u.Close()
	return do(u)
}

// delivered is a message in a mailbox.
type delivered struct {
	user      string
	messageID string
}

// deliver delivers so many messages to each user, with a link of this beginning:
// the milter takes them, and then the mail store, with the header fields that the
// milter wants. No Postfix has a part in it, so that its log tells of nothing. One
// message in four has some 10 KB, the others some 20.
func (s *mailSite) deliver(ctx context.Context, link string, perUser int) ([]delivered, error) {
	all := make([]delivered, len(s.users)*perUser)
	const atOnceUsers = 8
	groups := min(atOnceUsers, len(s.users))
	err := atOnce(ctx, groups, func(g int) (err error) {
		c, err := s.connect(ctx, g)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		for i := g; i < len(all); i += groups {
			all[i].user = s.users[i%len(s.users)]
			if all[i].messageID, err = c.send(s.next.Add(1), all[i].user, fmt.Sprintf("%s%d", link, i)); err != nil {
				return fmt.Errorf("delivery to %s: %w", all[i].user, err)
			}
		}
		return nil
	})
	return all, err
}

// carrier takes messages past the milter into mailboxes.
type carrier struct {
	milter *miltertest.Session
	store  *smtptest.Client
	pen    *pen
}

func (s *mailSite) connect(ctx context.Context, n int) (*carrier, error) {
	m, err := miltertest.Dial("unix", s.socket, miltertest.Options{})
	if err != nil {
		return nil, err
	}
	name, addr := client(n)
	err = m.Connect(miltertest.Client{Name: name, Addr: netip.AddrPortFrom(addr, 40001), Helo: name})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	store, err := smtptest.Dial(ctx, s.boxes.LMTPAddr(), smtptest.Options{LMTP: true, Helo: "mx." + domain})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &carrier{m, store, newPen()}, nil
}

func (c *carrier) close() error { return errors.Join(c.milter.Close(), c.store.Quit()) }

// send delivers the n-th letter and gives its Message-ID.
func (c *carrier) send(n uint64, to, link string) (string, error) {
	w := wish{link: link}
	if n%4 != 0 {
		w.attachment = bytes.Repeat(fmt.Appendf(nil, "the content of file %d\n", n), 7_500/28)
	}
	m := c.pen.write(n, w)
	m.To = append(m.To[:0], miltertest.Recipient{Address: "<" + to + ">"})
	_, after, _ := bytes.Cut(m.Raw, []byte("\nMessage-ID: <"))
	id, _, found := bytes.Cut(after, []byte(">"))
	if !found {
		return "", errors.New("the letter has no Message-ID")
	}
	r, err := c.milter.Send(m)
	if err != nil {
		return "", err
	}
	if r.Action != intel.ActionAccept || r.Others > 0 {
		return "", fmt.Errorf("the milter answered %s %s", r.Action, r.Reply)
	}
	var head []byte
	for _, e := range r.Edits {
		if e.Op != verdict.EditInsert {
			return "", fmt.Errorf("the milter changes %s, which nothing has", e.Name)
		}
		head = append(fmt.Appendf(nil, "%s: %s\r\n", e.Name, strings.ReplaceAll(e.Value, "\n", "\r\n")), head...)
	}
	took, err := c.store.Send(smtptest.Mail{From: strings.Trim(m.From, "<>"), To: []string{to}, Data: append(head, m.Raw...), Pipeline: true})
	if err != nil {
		return "", err
	}
	if !took.Accepted() {
		return "", fmt.Errorf("the mail store refused it: %+v", took)
	}
	return string(id), nil
}

// count gives how many messages a folder has.
func (s *mailSite) count(user, folder string) (int, error) {
	n := 0
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(s.folder(user, folder), sub))
		if err != nil {
			return 0, err
		}
		n += len(entries)
	}
	return n, nil
}

// holds fails unless every INBOX has so many messages.
func (s *mailSite) holds(want int) error {
	for _, user := range s.users {
		n, err := s.count(user, inbox)
		if err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("the INBOX of %s has %d messages, want %d", user, n, want)
		}
	}
	return nil
}
