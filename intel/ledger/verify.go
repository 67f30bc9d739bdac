package ledger

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/wal"
)

// Head names the last record of a ledger in a form to be logged and kept
// elsewhere: only a holder of the key can make it. The zero Head is that of an
// empty ledger.
type Head struct {
	Sequence uint64 // of the record, counted from 1
	Seal     []byte // the first 16 bytes of its seal
}

const headSeal = 16

// String gives h as text, "0" for an empty ledger.
func (h Head) String() string {
	if h.Sequence == 0 {
		return "0"
	}
	return fmt.Sprintf("%d:%x", h.Sequence, h.Seal)
}

// ParseHead reads what String gave. The error satisfies ErrInvalid.
func ParseHead(text string) (Head, error) {
	if text == "0" {
		return Head{}, nil
	}
	number, sealText, _ := strings.Cut(text, ":")
	sequence, errN := strconv.ParseUint(number, 10, 64)
	s, errS := hex.DecodeString(sealText)
	h := Head{sequence, s}
	if errN != nil || errS != nil || sequence == 0 || len(s) != headSeal || h.String() != text {
		return Head{}, fmt.Errorf("%w: a head is SEQUENCE:SEAL as weir logs it, not %.80q", ErrInvalid, text)
	}
	return h, nil
}

func (k link) head() Head {
	if k.sequence == 0 {
		return Head{}
	}
	return Head{k.sequence, bytes.Clone(k.seal[:headSeal])}
}

// Head names the last durable record.
func (l *Ledger) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.head()
}

// Reader reads a ledger that this process does not keep: one that a daemon has
// open, or a backup. It changes nothing, and needs neither lock nor index.
type Reader struct {
	log    *wal.Reader
	codec  codec
	upcast func(*Event) error
	dir    string
}

// OpenReader finds what the ledger in a folder holds now. upcast is as
// Options.Upcast. Errors are those of wal.OpenReader, and fs.ErrNotExist when
// there is no ledger.
func OpenReader(fsys disk.FS, dir string, upcast func(*Event) error) (*Reader, error) {
	log, err := wal.OpenReader(fsys, dir)
	if err != nil {
		return nil, err
	}
	if len(log.Segments()) == 0 {
		return nil, fmt.Errorf("ledger: %w: no log in %s", fs.ErrNotExist, dir)
	}
	c, err := newCodec()
	return &Reader{log, c, upcast, dir}, err
}

// Events gives all events in order. Errors are those of Ledger.Follow.
func (r *Reader) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		follow(r.log.Read(0), r.codec, r.upcast, Cursor{}, yield)
	}
}

// Offence says what is wrong with a ledger, and where.
type Offence struct {
	Position uint64 // in the log, of the record that does not fit
	Sequence uint64 // that a record should have there
	Why      string
}

// Error implements error.
func (o *Offence) Error() string {
	return fmt.Sprintf("ledger record %d at position %x: %s", o.Sequence, o.Position, o.Why)
}

// Report is what Verify found.
type Report struct {
	Records uint64
	Events  uint64
	Wiped   uint64 // records whose body was wiped, as an event says
	First   time.Time
	Last    time.Time
	Head    Head // of the last record that was checked
}

// Verify reads the whole ledger and checks every link of its chain. With a key it
// checks the seals too, without which whoever can write the log can make up a
// chain of his own. With a head, which may be an earlier one, it checks that this
// record is there. An offence is an *Offence; damage to the log satisfies
// wal.ErrDamaged. What Verify does not see is that records after the given head,
// or after the start without one, were cut off at the end.
//
// The records of one ledger are sealed with one key: after the identity file was
// replaced, those before cannot be checked by the new one.
func (r *Reader) Verify(key []byte, head *Head) (Report, error) {
	v := verifier{key: key, head: head, wiped: map[string]wipedUpTo{}}
	for raw, err := range r.log.Read(0) {
		if err != nil {
			return v.report, fmt.Errorf("verify ledger: %w", err)
		}
		rec, err := r.codec.decode(raw.Payload, raw.Position)
		if err == nil {
			err = v.check(rec)
		}
		var offence *Offence
		switch {
		case errors.As(err, &offence):
			return v.report, err
		case err != nil:
			return v.report, v.offence(uint64(raw.Position), "%v", err)
		}
	}
	return v.report, v.finish()
}

type verifier struct {
	key    []byte
	head   *Head
	last   link
	at     uint64 // position of the last record
	report Report
	wiped  map[string]wipedUpTo // entities whose bodies were wiped, and no event said so yet
}

type wipedUpTo struct {
	version  uint64
	position uint64
	sequence uint64
}

func (v *verifier) offence(at uint64, format string, args ...any) error {
	return &Offence{at, v.last.sequence + 1, fmt.Sprintf(format, args...)}
}

func (v *verifier) check(r *record) error {
	at := uint64(r.at)
	switch {
	case r.Sequence > v.last.sequence+1:
		return v.offence(at, "record %d stands here: those between are missing, or the order was changed", r.Sequence)
	case r.Sequence < v.last.sequence+1:
		return v.offence(at, "record %d stands here: it was moved or put in twice", r.Sequence)
	case r.Previous != v.last.chain:
		return v.offence(at, "it does not follow from the record before: one of the two was edited or replaced")
	case v.key != nil && !hmac.Equal(r.seal[:], sealOf(v.key, r.chain)):
		return v.offence(at, "its seal is not that of this node's key: it was edited, or another key was in use")
	case !r.wiped && !r.intact:
		return v.offence(at, "its reason or data was edited")
	case v.head != nil && v.head.Sequence == r.Sequence && !bytes.Equal(v.head.Seal, r.seal[:headSeal]):
		return v.offence(at, "the head %s was logged when another record stood here", v.head)
	}
	v.last = link{r.Sequence, r.chain, r.seal}
	v.at = at

	v.report.Records++
	v.report.Events += uint64(len(r.Kinds))
	v.report.Last = time.UnixMicro(r.Time).UTC()
	if v.report.Records == 1 {
		v.report.First = v.report.Last
	}
	v.report.Head = v.last.head()

	if r.wiped {
		v.report.Wiped++
		v.wiped[r.Entity] = wipedUpTo{r.last(), at, r.Sequence}
	}
	// An event that says that the entity was erased excuses all before it.
	if r.Kinds[0].Type == TypeErased {
		delete(v.wiped, r.Entity)
		if r.wiped { // itself wiped by a later one
			v.wiped[r.Entity] = wipedUpTo{r.last(), at, r.Sequence}
		}
	}

	return nil
}

func (v *verifier) finish() error {
	if h := v.head; h != nil && h.Sequence > v.last.sequence {
		return v.offence(v.at, "the ledger ends before the head %s: its end was cut off", h)
	}
	var first *Offence
	for entity, w := range v.wiped {
		if first == nil || w.position < first.Position {
			first = &Offence{w.position, w.sequence, fmt.Sprintf("its reason and data were wiped, and no event says that %s was erased", entity)}
		}
	}
	if first == nil {
		return nil
	}
	return first
}

func sealOf(key []byte, chain hash) []byte {
	s := seal(key, chain)
	return s[:]
}
