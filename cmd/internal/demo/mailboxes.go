package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mailboxes are the users' Maildirs: ROOT/USER/Maildir, folders as Maildir++.
type mailboxes struct {
	root string
	ago  time.Duration // how long ago what is delivered came, for a story in which time passes
	n    int
}

func (m *mailboxes) dir(user string) string { return filepath.Join(m.root, user, "Maildir") }

// make makes a folder of a user's mailbox, with "" the mailbox itself.
func (m *mailboxes) make(user, folder string) error {
	dir := m.dir(user)
	if folder != "" {
		dir = filepath.Join(dir, "."+folder)
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// deliver puts a message into a user's inbox, as new mail.
func (m *mailboxes) deliver(user string, raw []byte) error {
	if err := m.make(user, ""); err != nil {
		return err
	}
	m.n++
	now := time.Now()
	name := fmt.Sprintf("%d.M%dP%dQ%d.mx", now.Unix(), now.Nanosecond()/1000, os.Getpid(), m.n)
	tmp := filepath.Join(m.dir(user), "tmp", name)
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	if came := now.Add(-m.ago); m.ago > 0 {
		if err := os.Chtimes(tmp, came, came); err != nil {
			return err
		}
	}
	return os.Rename(tmp, filepath.Join(m.dir(user), "new", name))
}

// stored is a message as it stands in a mailbox.
type stored struct {
	user, folder string
	flags        string // Maildir's letters: S is read, R answered, P forwarded
	date         time.Time
	subject      string
	digest       string // of its bytes
	path         string
}

// String is all that a user can see of it, but for its text.
func (s *stored) String() string {
	state := []string{"not read"}
	if strings.Contains(s.flags, "S") {
		state[0] = "read"
	}
	for _, f := range []struct{ letter, word string }{{"R", "answered"}, {"P", "forwarded"}, {"F", "flagged"}} {
		if strings.Contains(s.flags, f.letter) {
			state = append(state, f.word)
		}
	}
	return fmt.Sprintf("%-20s %-10s %s  %-16s %s", s.user, s.folder, s.date.Format("15:04"), strings.Join(state, ", "), s.subject)
}

// same reports whether two are one message in one place, with the same bytes,
// flags and date.
func (s *stored) same(t *stored) bool {
	return s.user == t.user && s.folder == t.folder && s.flags == t.flags && s.digest == t.digest && s.date.Truncate(time.Second).Equal(t.date.Truncate(time.Second))
}

// all gives what lies in all mailboxes, by user, folder and subject.
func (m *mailboxes) all() (all []stored, err error) {
	err = filepath.WalkDir(m.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if sub := filepath.Base(filepath.Dir(path)); sub != "new" && sub != "cur" {
			return nil
		}
		one, err := m.read(path)
		if err == nil {
			all = append(all, one)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) { // it was moved, or taken out, meanwhile
		return m.all()
	}
	slices.SortStableFunc(all, func(a, b stored) int { return strings.Compare(a.String(), b.String()) })
	return all, err
}

func (m *mailboxes) read(path string) (stored, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return stored{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return stored{}, err
	}
	inside, err := filepath.Rel(m.root, path)
	if err != nil {
		return stored{}, err
	}
	user, rest, _ := strings.Cut(inside, string(filepath.Separator)+"Maildir"+string(filepath.Separator))
	folder := "INBOX"
	if strings.HasPrefix(rest, ".") {
		folder = strings.TrimPrefix(filepath.Dir(filepath.Dir(rest)), ".")
	}
	_, flags, _ := strings.Cut(filepath.Base(path), ":2,")
	sum := sha256.Sum256(raw)
	return stored{user: user, folder: folder, flags: flags, date: info.ModTime(), subject: field(raw, "Subject"), digest: hex.EncodeToString(sum[:]), path: path}, nil
}

// carrying gives those messages that hold a text.
func (m *mailboxes) carrying(text string) ([]stored, error) {
	all, err := m.all()
	if err != nil {
		return nil, err
	}
	var some []stored
	for _, s := range all {
		raw, err := os.ReadFile(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if bytes.Contains(raw, []byte(text)) {
			some = append(some, s)
		}
	}
	return some, nil
}

// mark does what a user does with the message that the way back is about: it gets
// flags, and lies in folder.
func (m *mailboxes) mark(user, folder, flags string) error {
	all, err := m.all()
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.user != user || s.subject != laterSubject {
			continue
		}
		to := m.dir(user)
		if folder != "INBOX" {
			if err := m.make(user, folder); err != nil {
				return err
			}
			to = filepath.Join(to, "."+folder)
		}
		name, _, _ := strings.Cut(filepath.Base(s.path), ":")
		return os.Rename(s.path, filepath.Join(to, "cur", name+":2,"+flags))
	}
	return fmt.Errorf("%s has no mail %q", user, laterSubject)
}
