package pulltest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// User is a mail client: it sees a mailbox with other eyes than the sidecar.
type User interface {
	// Put puts a message into a folder, which is made if need be; marks are flags and
	// keywords.
	Put(folder string, raw []byte, date time.Time, marks ...string) error
	// All gives the mail of all folders.
	All() ([]Mail, error)
	// Move moves the messages in a folder that have a text to another one; to "" they
	// are deleted.
	Move(text, from, to string) error
}

// Mail is a message as its user sees it.
type Mail struct {
	Folder string
	Raw    []byte
	Date   time.Time
	Marks  string // flags and keywords, in order
}

// String names a mail by all that a user can see of it.
func (m Mail) String() string {
	return fmt.Sprintf("%s %x %s (%s)", m.Folder, sha256.Sum256(m.Raw), m.Date.UTC().Format(time.DateTime), m.Marks)
}

// Disk is a Maildir, seen by a user who works on its files. It is one user's.
type Disk struct {
	Path string
	next atomic.Int64
}

// NewDisk makes an empty Maildir.
func NewDisk(path string) (*Disk, error) {
	d := &Disk{Path: path}
	return d, d.folder(".")
}

func (d *Disk) folder(dir string) error {
	var errs []error
	for _, sub := range []string{"new", "cur", "tmp"} {
		errs = append(errs, os.MkdirAll(filepath.Join(d.Path, dir, sub), 0o700))
	}
	return errors.Join(errs...)
}

func dirOf(folder string) string {
	if folder == "INBOX" {
		return "."
	}
	return "." + strings.ReplaceAll(folder, "/", ".")
}

// letters are those that Maildir has for flags.
var letters = map[string]string{`\Draft`: "D", `\Flagged`: "F", `\Answered`: "R", `\Seen`: "S", `\Deleted`: "T"}

// Put implements User.
func (d *Disk) Put(folder string, raw []byte, date time.Time, marks ...string) error {
	dir := dirOf(folder)
	if err := d.folder(dir); err != nil {
		return err
	}
	info := ""
	for _, m := range marks {
		l := letters[m]
		if l == "" {
			var err error
			if l, err = d.keyword(dir, m); err != nil {
				return err
			}
		}
		info += l
	}
	sorted := strings.Split(info, "")
	slices.Sort(sorted)
	path := filepath.Join(d.Path, dir, "cur", fmt.Sprintf("%d.M%d.test:2,%s", date.Unix(), d.next.Add(1), strings.Join(sorted, "")))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, date, date)
}

// keyword gives a keyword's letter in a folder.
func (d *Disk) keyword(dir, name string) (string, error) {
	path := filepath.Join(d.Path, dir, "dovecot-keywords")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == fmt.Sprintf("%d %s", n, name) {
			return string(rune('a' + n)), nil
		}
		n++
	}
	return string(rune('a' + n)), os.WriteFile(path, fmt.Appendf(text, "%d %s\n", n, name), 0o600)
}

// All implements User.
func (d *Disk) All() ([]Mail, error) {
	var all []Mail
	err := d.each(func(folder, path string, raw []byte) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		m := Mail{Folder: folder, Raw: raw, Date: info.ModTime().Truncate(time.Second)}
		_, flags, _ := strings.Cut(filepath.Base(path), ":2,")
		var marks []string
		for _, l := range strings.Split(flags, "") {
			name := ""
			for mark, letter := range letters {
				if letter == l {
					name = mark
				}
			}
			if name == "" && l != "" {
				text, _ := os.ReadFile(filepath.Join(d.Path, dirOf(folder), "dovecot-keywords"))
				lines := strings.Split(string(text), "\n")
				_, name, _ = strings.Cut(lines[l[0]-'a'], " ")
			}
			marks = append(marks, name)
		}
		slices.Sort(marks)
		m.Marks = strings.Join(marks, " ")
		all = append(all, m)
		return nil
	})
	return all, err
}

func (d *Disk) each(visit func(folder, path string, raw []byte) error) error {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return err
	}
	folders := []string{"INBOX"}
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), "."); ok && e.IsDir() {
			folders = append(folders, strings.ReplaceAll(name, ".", "/"))
		}
	}
	for _, folder := range folders {
		for _, sub := range []string{"new", "cur"} {
			dir := filepath.Join(d.Path, dirOf(folder), sub)
			files, err := os.ReadDir(dir)
			if err != nil {
				return err
			}
			for _, f := range files {
				path := filepath.Join(dir, f.Name())
				raw, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if err := visit(folder, path, raw); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Move implements User.
func (d *Disk) Move(text, from, to string) error {
	return d.each(func(folder, path string, raw []byte) error {
		switch {
		case folder != from || !bytes.Contains(raw, []byte(text)):
			return nil
		case to == "":
			return os.Remove(path)
		}
		if err := d.folder(dirOf(to)); err != nil {
			return err
		}
		return os.Rename(path, filepath.Join(d.Path, dirOf(to), "cur", filepath.Base(path)))
	})
}
