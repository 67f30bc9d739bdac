package list

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/weirmail/weir/intel"
)

// MaxLine is the number of bytes that a line of a list may have. A URL has at
// most half of them.
const MaxLine = 2 * intel.MaxURL

// DefaultMaxBytes is how large a list file may be unless it is said.
const DefaultMaxBytes = 256 << 20

// defaultProblems is how many problems of a file are reported unless it is said.
const defaultProblems = 100

// Options says how a list file is read. Zero numbers take the defaults named
// with them.
type Options struct {
	File        string            // the name that problems carry
	Disposition intel.Disposition // what the entries do
	Source      string            // the Source of the indicators

	MaxBytes    int64 // of the file; DefaultMaxBytes
	MaxEntries  int   // 10 000 000
	MaxProblems int   // reported; 100
}

func (o Options) withDefaults() (Options, error) {
	if _, ok := intel.ParseDisposition(o.Disposition.String()); !ok {
		return o, fmt.Errorf("list: %s is no disposition", o.Disposition)
	}
	if o.MaxBytes < 0 || o.MaxEntries < 0 || o.MaxProblems < 0 {
		return o, errors.New("list: a negative limit")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 10_000_000
	}
	if o.MaxProblems == 0 {
		o.MaxProblems = defaultProblems
	}
	return o, nil
}

// Entry is one entry of a list.
type Entry struct {
	intel.Indicator
	Text   string // the entry as written, without options
	Column int    // where it begins in its line, in bytes from 1
}

// Read gives the entries of a list file one by one, in its order, and holds no
// more than a line of it. Instead of an entry that is wrong it gives a *Problem
// and goes on; after Options.MaxProblems of them, or where the file is larger
// than it may be, it ends with one more that says so. Any other error, from the
// reader or of unusable Options, ends it as well.
//
// A file loads only if there was no error at all: whoever reads has to wait for
// the end before using anything.
func Read(r io.Reader, o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		o, err := o.withDefaults()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		rd := reader{opts: o, lines: lineReader{r: bufio.NewReaderSize(r, MaxLine+len("\r\n")), left: o.MaxBytes}}
		rd.read(yield)
	}
}

// reader is the state of reading one file.
type reader struct {
	opts     Options
	lines    lineReader
	entries  int
	problems int
}

func (rd *reader) read(yield func(Entry, error) bool) {
	for {
		text, f, err := rd.lines.next()
		if err == io.EOF {
			return
		}
		if err != nil {
			yield(Entry{}, fmt.Errorf("reading %s: %w", rd.opts.File, err))
			return
		}
		if f != nil {
			if !rd.report(*f, yield) {
				return
			}
			continue
		}
		if isComment(text) {
			continue
		}
		e, faults := parseLine(string(text), rd.opts.Disposition)
		for _, f := range faults {
			if !rd.report(f, yield) {
				return
			}
		}
		if len(faults) > 0 || e.Column == 0 {
			continue
		}
		if rd.entries++; rd.entries > rd.opts.MaxEntries {
			yield(Entry{}, fault{reason: fmt.Sprintf("is more than the %d entries that a list may have", rd.opts.MaxEntries), cure: "split the list"}.at(rd.opts.File, rd.lines.number))
			return
		}
		e.Source, e.Line = rd.opts.Source, rd.lines.number
		if !yield(e, nil) {
			return
		}
	}
}

// report gives a problem and says whether to go on.
func (rd *reader) report(f fault, yield func(Entry, error) bool) bool {
	if rd.problems++; rd.problems > rd.opts.MaxProblems {
		yield(Entry{}, fault{reason: fmt.Sprintf("and more: only %d problems of a file are shown", rd.opts.MaxProblems)}.at(rd.opts.File, rd.lines.number))
		return false
	}
	return yield(Entry{}, f.at(rd.opts.File, rd.lines.number))
}

// isComment spares most lines without an entry the making of a string. What
// else a comment holds is nobody's business, but a lone CR may hide entries.
func isComment(text []byte) bool {
	text = bytes.TrimLeft(text, " \t")
	return len(text) == 0 || text[0] == '#' && bytes.IndexByte(text, '\r') < 0
}

// parseLine reads one line. Its Column is 0 when it holds no entry.
func parseLine(text string, d intel.Disposition) (Entry, []fault) {
	l, f := split(text)
	if f != nil {
		return Entry{}, []fault{*f}
	}
	if l.value.text == "" {
		return Entry{}, nil
	}
	e := Entry{Text: l.value.text, Column: l.value.column}
	e.Disposition = d
	options := optionReader{line: &l, ind: &e.Indicator}
	options.read()
	if l.regexp && options.fields == nil && len(options.faults) > 0 {
		return e, options.faults // in= is among what is wrong
	}
	p, f := parsePattern(&l, options.fields)
	if f != nil {
		return e, append([]fault{*f}, options.faults...)
	}
	e.Pattern = p
	return e, options.faults
}

// lineReader gives the lines of a file without their ends.
type lineReader struct {
	r      *bufio.Reader
	left   int64 // bytes that the file may still have
	number int   // of the present line, from 1
	done   bool
}

// next gives the next line, valid until it is called again, or what is wrong
// with it. The error is io.EOF at the end, else the reader's own.
func (l *lineReader) next() ([]byte, *fault, error) {
	if l.done {
		return nil, nil, io.EOF
	}
	text, err := l.r.ReadSlice('\n')
	l.number++
	length := int64(len(text))
	tooLong := err == bufio.ErrBufferFull
	for err == bufio.ErrBufferFull && length <= l.left {
		var more []byte
		more, err = l.r.ReadSlice('\n')
		length += int64(len(more))
	}
	if l.left -= length; l.left < 0 {
		return l.stop("is larger than a list may be", "split it, or raise the limit")
	}
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	if l.done = err == io.EOF; l.done && length == 0 {
		return nil, nil, io.EOF
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if tooLong || len(text) > MaxLine {
		return nil, &fault{reason: fmt.Sprintf("is a line of more than %d bytes", MaxLine), cure: "one entry a line"}, nil
	}
	if l.number == 1 {
		return l.first(text)
	}
	return text, nil, nil
}

// stop ends reading with a fault of the whole file.
func (l *lineReader) stop(reason, cure string) ([]byte, *fault, error) {
	l.done = true
	return nil, &fault{reason: reason, cure: cure}, nil
}

// first removes a byte order mark, and recognises files that are no text.
func (l *lineReader) first(text []byte) ([]byte, *fault, error) {
	switch begins := func(magic string) bool { return bytes.HasPrefix(text, []byte(magic)) }; {
	case begins("\xff\xfe"), begins("\xfe\xff"):
		return l.stop("is UTF-16", "save the file as UTF-8")
	case begins("\x1f\x8b"), begins("\x28\xb5\x2f\xfd"), begins("PK\x03\x04"), begins("\xfd7zXZ"):
		return l.stop("is a compressed file", "unpack it")
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil, nil
}
