package follow

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// JournalOptions says which journal of systemd is followed.
type JournalOptions struct {
	Dir     string // empty: this host's
	Program string // journalctl if empty; for tests
}

// Journal follows what systemd's journal holds under the syslog facility mail.
// It reads through journalctl, which comes with the journal and knows its format.
type Journal struct{ o JournalOptions }

// NewJournal checks the options. journalctl is looked for when Run begins.
func NewJournal(o JournalOptions) (*Journal, error) {
	o.Program = cmp.Or(o.Program, "journalctl")
	return &Journal{o}, nil
}

// Name implements Source.
func (j *Journal) Name() string { return journalPrefix + j.o.Dir }

// Run implements Source. It ends with an error when there is no journalctl, or
// when that ends.
func (j *Journal) Run(ctx context.Context, after []byte, emit Emit) error {
	at, err := readCursor(after)
	if err != nil {
		return err
	}
	read, err := j.follow(ctx, at, false, emit)
	if read == 0 && at.Cursor != "" && ctx.Err() == nil {
		// The entry that the cursor names may be gone; the time is nearly as good,
		// since a line that is read twice changes nothing.
		_, err = j.follow(ctx, at, true, emit)
	}
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// cursor is where reading the journal has come to.
type cursor struct {
	Cursor string    `json:"cursor"`
	Time   time.Time `json:"time"`
}

func readCursor(text []byte) (cursor, error) {
	var c cursor
	if len(text) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("follow: %.200q is no position in a journal", text)
	}
	return c, nil
}

// Bounds on one entry as journalctl writes it, and on what is collected while
// more is there already.
const (
	maxEntry  = 1 << 20
	maxLines  = 1000
	maxCursor = 1 << 10
)

func (j *Journal) follow(ctx context.Context, at cursor, byTime bool, emit Emit) (read int, err error) {
	// Following shows only the time since the last boot, unless journals are merged.
	args := []string{"--follow", "--merge", "--output=json", "--no-pager", "--quiet", "SYSLOG_FACILITY=2"}
	switch {
	case at.Cursor == "":
		args = append(args, "--lines=all", "--since=-1d")
	case byTime:
		args = append(args, "--lines=all", "--since=@"+strconv.FormatInt(at.Time.Unix(), 10))
	default:
		args = append(args, "--lines=all", "--after-cursor="+at.Cursor)
	}
	if j.o.Dir != "" {
		args = append(args, "--directory="+j.o.Dir)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.o.Program, args...)
	var complaint tailWriter
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	read, err = j.take(out, at, emit)
	cancel()
	if ended := cmd.Wait(); err == nil {
		err = fmt.Errorf("%s ended (%w): %s", j.o.Program, cmp.Or(ended, io.EOF), strings.TrimSpace(complaint.String()))
	}
	return read, err
}

// take emits entries until there are none, as many at once as there are.
func (j *Journal) take(out io.Reader, at cursor, emit Emit) (read int, err error) {
	r := bufio.NewReaderSize(out, 64<<10)
	var b Batch
	for {
		line, err := readEntry(r)
		if errors.Is(err, errEntry) {
			b.TooLong++
		} else if err != nil {
			if errors.Is(err, io.EOF) {
				return read, nil
			}
			return read, err
		}
		var e entry
		if json.Unmarshal(line, &e) == nil && e.Cursor != "" && len(e.Cursor) <= maxCursor {
			at = cursor{e.Cursor, e.when()}
			if text := e.text(); len(text) <= MaxLine {
				b.Lines = append(b.Lines, Line{Text: text, Program: []byte(e.Identifier), Time: at.Time})
			} else {
				b.TooLong++
			}
		}
		if len(b.Lines) == 0 || len(b.Lines) < maxLines && bytes.IndexByte(peek(r), '\n') >= 0 {
			continue
		}
		b.AsOf = at.Time
		if b.After, err = json.Marshal(at); err != nil {
			return read, err
		}
		if err := emit(b); err != nil {
			return read, err
		}
		read += len(b.Lines)
		b = Batch{}
	}
}

func peek(r *bufio.Reader) []byte {
	b, _ := r.Peek(r.Buffered()) // what is there is there
	return b
}

var errEntry = errors.New("an entry is too long")

// readEntry reads one line; of a longer one than maxEntry it reads the whole and
// gives nothing.
func readEntry(r *bufio.Reader) ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxEntry {
			line, tooLong = nil, true
		} else if !tooLong {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil && tooLong {
			return nil, errEntry
		}
		return line, err
	}
}

// entry is what of a journal entry matters here.
type entry struct {
	Cursor     string          `json:"__CURSOR"`
	Realtime   string          `json:"__REALTIME_TIMESTAMP"` // µs since 1970
	Identifier string          `json:"SYSLOG_IDENTIFIER"`
	Message    json.RawMessage `json:"MESSAGE"` // text, or an array of bytes where it is not UTF-8
}

func (e *entry) when() time.Time {
	us, err := strconv.ParseInt(e.Realtime, 10, 64)
	if err != nil {
		return time.Now()
	}
	return time.UnixMicro(us)
}

func (e *entry) text() []byte {
	var text string
	if json.Unmarshal(e.Message, &text) == nil {
		return []byte(text)
	}
	var numbers []int
	if json.Unmarshal(e.Message, &numbers) != nil {
		return nil
	}
	b := make([]byte, len(numbers))
	for i, n := range numbers {
		b[i] = byte(n)
	}
	return b
}

// tailWriter keeps the end of what is written to it.
type tailWriter struct{ b []byte }

func (w *tailWriter) Write(p []byte) (int, error) {
	const most = 1 << 10
	w.b = append(w.b, p...)
	w.b = w.b[max(0, len(w.b)-most):]
	return len(p), nil
}

func (w *tailWriter) String() string { return string(w.b) }
