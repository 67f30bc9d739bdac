package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// open opens a message's file, which has to be a regular one: a user can put
// pipes and links there too.
func (a *account) open(f file) (*os.File, fs.FileInfo, error) {
	before, err := a.root.Lstat(f.path())
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, errNoMessage
	}
	opened, err := a.root.OpenFile(f.path(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := opened.Stat()
	if err == nil && !os.SameFile(before, info) {
		err = fs.ErrNotExist // it was renamed, and another put there
	}
	if err != nil {
		_ = opened.Close()
		return nil, nil, err
	}
	return opened, info, nil
}

var (
	errRestless   = fmt.Errorf("%w: names change faster than they can be read", mailbox.ErrUnreachable)
	errNoMessage  = errors.New("not a regular file")
	errUnreadable = fmt.Errorf("%w: mail is compressed or encrypted here: reach it through IMAP", mailbox.ErrRefused)
)

// passable reports whether an error says that a file holds no message any more,
// or never did.
func passable(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoMessage) }

// header gives the beginning of a message up to the end of its header, in room
// that is used again.
func header(f *os.File, room *[]byte) ([]byte, error) {
	const step = 4 << 10
	b := (*room)[:0]
	for len(b) < mailbox.MaxHeaderBytes {
		if cap(b)-len(b) < step {
			b = append(make([]byte, 0, 2*cap(b)+step), b...)
		}
		n, err := f.ReadAt(b[len(b):cap(b)], int64(len(b)))
		from := max(0, len(b)-3)
		b = b[:len(b)+n]
		*room = b
		if end := headerEnd(b, from); end >= 0 {
			b = b[:end]
			break
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if sealed(b) {
		return nil, errUnreadable
	}
	return b, nil
}

// headerEnd gives where a header ends that goes on at from; -1: further on.
func headerEnd(b []byte, from int) int {
	for i := from; ; i++ {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n
		if rest := b[i+1:]; bytes.HasPrefix(rest, []byte("\n")) || bytes.HasPrefix(rest, []byte("\r\n")) {
			return i + 1
		}
	}
}

// sealed knows by their beginnings the forms in which Dovecot's zlib and
// mail_crypt plugins keep mail.
func sealed(b []byte) bool {
	for _, magic := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd", "Dovecot-LZ4\r", "CRYPTED\x03\x07"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	return false
}

// describe makes the Copy of an open file.
func (a *account) describe(f file, info fs.FileInfo, header []byte, k keywords) mailbox.Copy {
	c := mailbox.Copy{
		Folder: f.folder.name, Role: f.folder.role(), ID: f.id(),
		Size: info.Size(), Date: info.ModTime().Truncate(1e9).UTC(),
	}
	c.Mark(k.names(f.letters()))
	c.Name(a.parser, header)
	return c
}

// look describes the message in a file.
func (a *account) look(f file, k keywords) (mailbox.Copy, error) {
	opened, info, err := a.open(f)
	if err != nil {
		return mailbox.Copy{}, err
	}
	defer func() { _ = opened.Close() }()
	var room []byte
	h, err := header(opened, &room)
	return a.describe(f, info, h, k), err
}

// Fetch writes a copy's bytes; see mailbox.Account.
func (a *account) Fetch(ctx context.Context, c mailbox.Copy, w io.Writer) error {
	if err := a.fetch(ctx, &c, w); err != nil {
		return fmt.Errorf("fetch %.80q of folder %.80q: %w", c.ID, c.Folder, err)
	}
	return nil
}

func (a *account) fetch(ctx context.Context, c *mailbox.Copy, w io.Writer) error {
	in, err := a.folder(c.Folder)
	if err != nil {
		return err
	}
	for range maxLooks {
		files, err := a.with(in, c.ID)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return mailbox.ErrGone
		}
		for _, f := range files {
			opened, info, err := a.open(f)
			if passable(err) {
				continue
			}
			if err != nil {
				return meaning(err)
			}
			err = a.copy(ctx, w, opened, info, c)
			_ = opened.Close()
			return err
		}
	}
	return errRestless
}

// copy writes a file that has to be as large as the copy.
func (a *account) copy(ctx context.Context, w io.Writer, f *os.File, info fs.FileInfo, c *mailbox.Copy) error {
	switch {
	case info.Size() > a.o.MaxBytes:
		return fmt.Errorf("%w: %d bytes, more than %d", mailbox.ErrTooLarge, info.Size(), a.o.MaxBytes)
	case info.Size() != c.Size:
		return fmt.Errorf("%w: it had %d bytes and has %d", mailbox.ErrStale, c.Size, info.Size())
	}
	n, err := io.Copy(w, io.LimitReader(&patient{ctx, f}, c.Size+1))
	switch {
	case err != nil:
		return meaning(err)
	case n != c.Size:
		return fmt.Errorf("%w: it has %d bytes and gives %d", mailbox.ErrAltered, c.Size, n)
	}
	return nil
}

// patient reads until its context ends.
type patient struct {
	ctx context.Context
	io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.Reader.Read(b)
}

// read gives the bytes of a message; none if they are more than limit.
func (a *account) read(f file, limit int64) ([]byte, fs.FileInfo, error) {
	opened, info, err := a.open(f)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = opened.Close() }()
	if info.Size() > limit {
		return nil, info, mailbox.ErrTooLarge
	}
	raw := make([]byte, info.Size())
	_, err = io.ReadFull(opened, raw)
	return raw, info, err
}

// keywords are those that have a letter in a folder: Dovecot's file
// dovecot-keywords, with a number and a keyword a line.
type keywords struct {
	by      [26]string // by letter
	taken   [26]bool   // letters that stand for something, be it no keyword to us
	text    string     // of the file
	dovecot bool       // Dovecot keeps this folder
}

const (
	keywordsFile = "dovecot-keywords"
	uidFile      = "dovecot-uidlist" // every folder that Dovecot has opened has one
	maxKeywords  = 64 << 10          // bytes of dovecot-keywords
)

func (a *account) keywords(in folder) (keywords, error) {
	var k keywords
	f, err := a.root.OpenFile(in.dir+"/"+keywordsFile, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := a.root.Stat(in.dir + "/" + uidFile)
		k.dovecot = err == nil
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("read the keywords of folder %.80q: %w", in.name, meaning(err))
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxKeywords+1))
	if err == nil && len(text) > maxKeywords {
		err = fmt.Errorf("%w: %s has more than %d bytes", mailbox.ErrRefused, keywordsFile, maxKeywords)
	}
	if err != nil {
		return k, fmt.Errorf("read the keywords of folder %.80q: %w", in.name, meaning(err))
	}
	k.text, k.dovecot = string(text), true
	for line := range strings.Lines(k.text) {
		number, name, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n >= uint64(len(k.by)) {
			continue
		}
		k.taken[n] = true
		if mailbox.ValidKeyword(name) {
			k.by[n] = name
		}
	}
	return k, nil
}

// systemLetters are the letters of Maildir's own flags, in the order of the
// alphabet, as they stand in a name.
const systemLetters = "DFRST"

func systemFlags() [len(systemLetters)]mailbox.Flag {
	return [...]mailbox.Flag{mailbox.FlagDraft, mailbox.FlagFlagged, mailbox.FlagAnswered, mailbox.FlagSeen, mailbox.FlagDeleted}
}

// names gives the flags and keywords that letters stand for. P is "passed", which
// means forwarded.
func (k *keywords) names(letters string) []string {
	var all []string
	for i := range len(letters) {
		c := letters[i]
		switch n := strings.IndexByte(systemLetters, c); {
		case n >= 0:
			all = append(all, string(systemFlags()[n]))
		case c == 'P':
			all = append(all, mailbox.KeywordForwarded)
		case c >= 'a' && c <= 'z' && k.by[c-'a'] != "":
			all = append(all, k.by[c-'a'])
		}
	}
	return all
}

// letters gives the letters of a copy's flags and keywords, in order, and the
// keywords that still have to get one. Where Dovecot is not, there are no letters
// of keywords.
func (k *keywords) letters(c *mailbox.Copy) (letters string, missing []string) {
	var b strings.Builder
	for i, f := range systemFlags() {
		if c.Has(f) {
			b.WriteByte(systemLetters[i])
		}
	}
	if !k.dovecot {
		if c.Forwarded() {
			b.WriteByte('P')
		}
		return inOrder(b.String()), nil
	}
	for _, name := range c.Keywords {
		if i := k.index(name); i >= 0 {
			b.WriteByte(byte('a' + i))
		} else if mailbox.ValidKeyword(name) {
			missing = append(missing, name)
		}
	}
	return inOrder(b.String()), missing
}

func (k *keywords) index(name string) int {
	for i, known := range k.by {
		if known != "" && strings.EqualFold(known, name) {
			return i
		}
	}
	return -1
}

// inOrder sorts letters, each once.
func inOrder(letters string) string {
	var b strings.Builder
	for c := byte('A'); c <= 'z'; c++ {
		if strings.IndexByte(letters, c) >= 0 {
			b.WriteByte(c)
		}
	}
	return b.String()
}
