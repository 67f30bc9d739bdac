package mailboxtest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// User is a mail client as bare as can be: it sees a mailbox with other eyes than
// the backend under test.
type User struct {
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

// patience bounds every wait of a User and a delivery. It is longer than the two
// minutes for which Dovecot leaves the lock of a Maildir's list alone that was left
// by somebody who was killed (MAILDIR_UIDLIST_LOCK_STALE_TIMEOUT).
const patience = 3 * time.Minute

// Login connects a user to an IMAP server.
func Login(addr, user, password string) (*User, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	u := &User{conn: conn, r: bufio.NewReaderSize(conn, 1<<20)}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := u.r.ReadString('\n'); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if _, err := u.Do("LOGIN %q %q", user, password); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return u, nil
}

// Close ends the connection.
func (u *User) Close() { _ = u.conn.Close() }

// Response is one untagged response: its text without literals, and these.
type Response struct {
	text     string
	literals [][]byte
}

// Words gives the words of the text, "*" first.
func (r Response) Words() []string { return strings.Fields(r.text) }

// Do sends a command and gives what was answered, or the refusal as an error.
func (u *User) Do(format string, args ...any) ([]Response, error) {
	return u.send(fmt.Sprintf(format, args...))
}

func (u *User) send(command string) ([]Response, error) {
	_ = u.conn.SetDeadline(time.Now().Add(patience))
	u.tag++
	tag := fmt.Sprintf("u%d", u.tag)
	if _, err := io.WriteString(u.conn, tag+" "+command+"\r\n"); err != nil {
		return nil, err
	}
	return u.answer(tag)
}

func (u *User) answer(tag string) ([]Response, error) {
	var all []Response
	for {
		r, err := u.response()
		if err != nil {
			return all, err
		}
		status, tagged := strings.CutPrefix(r.text, tag+" ")
		switch {
		case !tagged:
			all = append(all, r)
		case strings.HasPrefix(status, "OK"):
			return all, nil
		default:
			return all, fmt.Errorf("the server answers %s", status)
		}
	}
}

var literal = regexp.MustCompile(`\{([0-9]+)\}\r\n$`)

func (u *User) response() (Response, error) {
	var r Response
	for {
		line, err := u.r.ReadString('\n')
		if err != nil {
			return r, err
		}
		size := literal.FindStringSubmatch(line)
		if size == nil {
			r.text += strings.TrimSuffix(line, "\r\n")
			return r, nil
		}
		r.text += line[:len(line)-len(size[0])]
		n, _ := strconv.Atoi(size[1])
		content := make([]byte, n)
		if _, err := io.ReadFull(u.r, content); err != nil {
			return r, err
		}
		r.literals = append(r.literals, content)
	}
}

// Append puts a message into a folder; marks are flags and keywords.
func (u *User) Append(folder string, raw []byte, date time.Time, marks ...string) error {
	return u.AppendAll(folder, [][]byte{raw}, date, marks...)
}

// AppendAll puts messages into a folder, in one command (RFC 3502), each with a
// date a second after the one before.
func (u *User) AppendAll(folder string, raws [][]byte, date time.Time, marks ...string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "APPEND %s", quote(folder))
	for i, raw := range raws {
		at := date.Add(time.Duration(i) * time.Second)
		fmt.Fprintf(&b, " (%s) \"%s\" {%d+}\r\n", strings.Join(marks, " "), at.Format("_2-Jan-2006 15:04:05 -0700"), len(raw))
		b.Write(raw)
	}
	_, err := u.send(b.String())
	return err
}

// quote gives a folder's name as IMAP has it; names are given in modified UTF-7.
func quote(folder string) string { return `"` + folder + `"` }

// Mail is a message as the user's client shows it.
type Mail struct {
	Folder string // in modified UTF-7
	UID    string
	Marks  string // flags and keywords, in order; without \Recent
	Date   time.Time
	Raw    []byte
}

// String names a mail by all that a user can see of it but its UID.
func (m Mail) String() string {
	return fmt.Sprintf("%s %x %d bytes %s (%s)", m.Folder, sha256.Sum256(m.Raw), len(m.Raw), m.Date.UTC().Format(time.DateTime), m.Marks)
}

var (
	uidItem   = regexp.MustCompile(`\bUID ([0-9]+)`)
	flagsItem = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	dateItem  = regexp.MustCompile(`\bINTERNALDATE "([^"]*)"`)
	listItem  = regexp.MustCompile(`^\* LIST \(([^)]*)\) (?:"[^"]*"|NIL) (?:"([^"]*)"|(\S+))$`)
)

// Folders lists the folders that can be opened.
func (u *User) Folders() ([]string, error) {
	list, err := u.Do(`LIST "" "*"`)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range list {
		if m := listItem.FindStringSubmatch(r.text); m != nil && !strings.Contains(strings.ToLower(m[1]), `\noselect`) {
			names = append(names, m[2]+m[3])
		}
	}
	slices.Sort(names)
	return names, nil
}

// In gives the mail of one folder.
func (u *User) In(folder string) ([]Mail, error) {
	if _, err := u.Do("EXAMINE %s", quote(folder)); err != nil {
		return nil, err
	}
	list, err := u.Do("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])")
	if err != nil {
		return nil, err
	}
	var mails []Mail
	for _, r := range list {
		if !strings.Contains(r.text, " FETCH ") || len(r.literals) != 1 {
			continue
		}
		m := Mail{Folder: folder, UID: uidItem.FindStringSubmatch(r.text)[1], Raw: r.literals[0]}
		marks := strings.Fields(flagsItem.FindStringSubmatch(r.text)[1])
		marks = slices.DeleteFunc(marks, func(s string) bool { return s == `\Recent` })
		slices.Sort(marks)
		m.Marks = strings.Join(marks, " ")
		if m.Date, err = time.Parse("_2-Jan-2006 15:04:05 -0700", dateItem.FindStringSubmatch(r.text)[1]); err != nil {
			return nil, err
		}
		mails = append(mails, m)
	}
	return mails, nil
}

// All gives the mail of all folders.
func (u *User) All() ([]Mail, error) {
	folders, err := u.Folders()
	if err != nil {
		return nil, err
	}
	var all []Mail
	for _, f := range folders {
		mails, err := u.In(f)
		if err != nil {
			return nil, fmt.Errorf("folder %s: %w", f, err)
		}
		all = append(all, mails...)
	}
	return all, nil
}

// Deliver hands a message to an LMTP server (RFC 2033), in one transaction.
func Deliver(addr string, raw []byte, to ...string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	reply := func() error {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if len(line) < 4 || line[0] > '3' {
				return fmt.Errorf("LMTP server answers %q", line)
			}
			if line[3] == ' ' {
				return nil
			}
		}
	}
	if err := reply(); err != nil {
		return err
	}
	commands := []string{"LHLO suite.lab.test", "MAIL FROM:<sender@example.org>"}
	for _, t := range to {
		commands = append(commands, "RCPT TO:<"+t+">")
	}
	for _, c := range append(commands, "DATA") {
		if _, err := io.WriteString(conn, c+"\r\n"); err != nil {
			return err
		}
		if err := reply(); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	stuffed := bytes.ReplaceAll(raw, []byte("\r\n."), []byte("\r\n.."))
	if _, err := conn.Write(append(stuffed, ".\r\n"...)); err != nil {
		return err
	}
	for range to {
		if err := reply(); err != nil {
			return err
		}
	}
	return nil
}
