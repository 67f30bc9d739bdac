package milter

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/weirmail/weir/filter/message"
)

// transaction is a message on its way in, from MAIL on.
type transaction struct {
	Mail
	started   time.Time
	buffer    message.Buffer // nil until there is content
	content   bool           // the header has begun
	body      bool           // the header has ended
	rcptBytes int            // of all recipients with their arguments
	failed    error          // why no judgement is possible
}

var errTooManyRecipients = errors.New("the message has too many recipients")

// maxRcptBytes bounds what the recipients of one message take together: a
// hundred bytes for each of the ten thousand that are taken by default. What is
// remembered of a message names all of them in one record.
const maxRcptBytes = 1 << 20

func newTransaction(from message.Path, failed error) *transaction {
	t := &transaction{started: time.Now(), failed: failed}
	t.Envelope = &message.Envelope{From: from}
	return t
}

// recipient adds the recipient in an SMFIC_RCPT packet. When there are too many
// the message fails: it is for all of them or for none.
func (t *transaction) recipient(data []byte, limit int) {
	if t.failed != nil {
		return
	}
	t.rcptBytes += len(data)
	if len(t.Envelope.To) >= limit || t.rcptBytes > maxRcptBytes {
		t.failed = errTooManyRecipients
		return
	}
	t.Envelope.To = append(t.Envelope.To, parsePath(data))
}

// store keeps p, or what the limit leaves of it.
func (t *transaction) store(p []byte, room message.Scratch, limit int64) {
	left := limit - t.Size
	t.Size += int64(len(p))
	if t.TooLarge || t.Err != nil || t.failed != nil {
		return
	}
	if int64(len(p)) > left {
		t.TooLarge = true
		p = p[:left]
	}
	if t.buffer == nil {
		t.buffer = room.Buffer()
	}
	if _, err := t.buffer.Write(p); err != nil {
		t.Err = fmt.Errorf("keeping the message: %w", err)
		t.release()
	}
}

// complete makes the content readable.
func (t *transaction) complete() {
	if t.buffer == nil {
		return
	}
	raw, err := t.buffer.Bytes()
	if err != nil {
		t.Err = fmt.Errorf("reading the message back: %w", err)
		t.release()
		return
	}
	t.Raw = raw
}

// release gives back what the content took. It is lost after that.
func (t *transaction) release() {
	t.Raw = nil
	if t.buffer != nil {
		_ = t.buffer.Close() // nothing in it is needed any more
		t.buffer = nil
	}
}

var crlf = []byte("\r\n")

// appendField writes a header field as the client wrote it: folds come with LF
// alone (SMFIC_HEADER in libmilter's documentation). An MTA that does not keep
// leading white space has taken one space away after the colon, unless a fold or
// a tab stood there, or nothing.
func appendField(line, name, value []byte, spaced bool) []byte {
	line = append(line, name...)
	line = append(line, ':')
	if !spaced && len(value) > 0 && value[0] != '\n' && value[0] != '\t' {
		line = append(line, ' ')
	}
	for {
		i := bytes.IndexByte(value, '\n')
		if i < 0 {
			break
		}
		line = append(line, value[:i]...)
		line = append(line, '\r', '\n')
		value = value[i+1:]
	}
	line = append(line, value...)
	return append(line, '\r', '\n')
}
