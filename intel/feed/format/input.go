package format

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// input is an opened feed as UTF-8 without a byte order mark.
type input struct {
	*bufio.Reader
	closer io.Closer
}

func (in *input) close() { _ = in.closer.Close() }

// newInput looks at how the bytes begin. It buffers so many of them.
func newInput(rc io.ReadCloser, size int) (*input, error) {
	in := &input{Reader: bufio.NewReaderSize(rc, size), closer: rc}
	begin, err := in.Peek(512)
	if err != nil && err != io.EOF {
		return nil, &Error{Reason: "reading it failed", Err: err}
	}
	switch {
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")):
		plain := transform.NewReader(in.Reader, unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder())
		in.Reader = bufio.NewReaderSize(plain, size)
		if begin, err = in.Peek(256); err != nil && err != io.EOF {
			return nil, &Error{Reason: "reading it failed", Err: err}
		}
	case bytes.HasPrefix(begin, []byte("\ufeff")):
		_, _ = in.Discard(len("\ufeff"))
		begin = begin[len("\ufeff"):]
	}
	if e := foreign(begin); e != nil {
		return nil, e
	}
	return in, nil
}

// foreign recognises what no feed begins with.
func foreign(begin []byte) *Error {
	for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "PK\x03\x04", "\xfd7zXZ", "BZh"} {
		if bytes.HasPrefix(begin, []byte(magic)) {
			return &Error{Reason: "is a compressed file", Cure: "say in the feed's options how it is packed"}
		}
	}
	begin = bytes.ToLower(bytes.TrimLeft(begin, " \t\r\n"))
	for _, tag := range []string{"<!doctype", "<html", "<head", "<body", "<?xml", "<!--"} {
		if bytes.HasPrefix(begin, []byte(tag)) {
			return &Error{Value: legible(string(begin[:min(len(begin), 40)]), maxText), Reason: "begins like a web page or XML", Cure: "open its address in a browser: it may want a login or have moved"}
		}
	}
	return nil
}

// openText opens a feed of lines.
func (r *run) openText() (*input, error) { return r.open(max(r.opts.MaxLine+len("\r\n"), 32<<10)) }

// lines gives each line of the feed to read.
func (r *run) lines(read func(text []byte, at Place) error) error {
	in, err := r.openText()
	if err != nil {
		return err
	}
	defer in.close()
	l := lineReader{r: in.Reader, max: r.opts.MaxLine}
	for {
		text, at, err := l.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return &Error{Place: at, Reason: "reading it failed", Err: err}
		case text == nil:
			r.pass(Malformed, l.tooLong(), at, "")
		default:
			if err := read(text, at); err != nil {
				return err
			}
		}
	}
}

// lineReader gives the lines of a text without their ends.
type lineReader struct {
	r      *bufio.Reader
	max    int
	number int
	offset int64
}

func (l *lineReader) tooLong() string { return fmt.Sprintf("is a line of more than %d bytes", l.max) }

// next gives the next line, valid until it is called again and nil if it is too
// long; the error is io.EOF at the end, else the reader's.
func (l *lineReader) next() ([]byte, Place, error) {
	l.number++
	at := Place{l.number, l.offset}
	text, err := l.r.ReadSlice('\n')
	l.offset += int64(len(text))
	long := err == bufio.ErrBufferFull
	for err == bufio.ErrBufferFull {
		var more []byte
		more, err = l.r.ReadSlice('\n')
		l.offset += int64(len(more))
	}
	switch {
	case err != nil && err != io.EOF:
		return nil, at, err
	case err == io.EOF && len(text) == 0:
		return nil, at, io.EOF
	case long:
		return nil, at, nil
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) > l.max {
		return nil, at, nil
	}
	return text, at, nil
}
