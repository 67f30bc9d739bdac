package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weirmail/weir/intel/wal"
)

// Bounds on one commit.
const (
	MaxEvents = 500
	MaxBytes  = 1 << 20 // of reason and data together
	MaxWord   = 256     // of an ID, entity, actor or event type, in bytes
	MaxReason = 4 << 10 // in bytes
)

// Errors of this package, besides those of wal and disk.ErrNoSpace.
var (
	// ErrInvalid says that a command or an event cannot be recorded as it is.
	ErrInvalid = errors.New("cannot be recorded")
	// ErrTooLarge says that a commit is beyond a bound.
	ErrTooLarge = errors.New("too large for one commit")
	// ErrCursor says that a cursor is not of this ledger, or of a part of it that
	// a restore took away: begin anew.
	ErrCursor = errors.New("not a cursor of this ledger")
	// ErrClosed says that the ledger is closed.
	ErrClosed = errors.New("ledger closed")
	// ErrBehind says that the index database could not be written for so long that
	// no more can be kept in memory. It comes with the cause.
	ErrBehind = errors.New("the ledger's index is behind")
	// ErrNotFound says that an entity has no events.
	ErrNotFound = errors.New("no such entity")
)

// Command asks for a change.
type Command struct {
	// ID makes the command the same one when it is tried again.
	ID string
	// Entity is what changes.
	Entity string
	// Actor is who asks, as scheme:id (unix:1000, rule:…, list:…).
	Actor string
	// Reason is why, for people. It is erased with the data.
	Reason string
}

// Event is one change. Who decides sets Type, Schema and Data; Commit sets the
// rest.
type Event struct {
	Type   string          // what happened, such as "held"; "ledger." begins the ledger's own
	Schema int             // version of Data's form, from 1
	Data   json.RawMessage // one JSON value, or nothing

	ID      string    // of this event; no other has it
	Entity  string    //
	Version uint64    // of the entity, counted from 1
	Time    time.Time // UTC; to show, not to order by
	Actor   string    //
	Reason  string    //
	Command string    // ID of the command
	Node    string    // which node recorded it
	Erased  bool      // reason and data were wiped
	Cursor  Cursor    // of a followed event: follow from here on to get what comes after it
}

// State is an entity as its events made it.
type State struct {
	Entity  string
	Version uint64  // of the last event; 0 when there is none
	Events  []Event // all of them, in order
}

// Receipt says what a commit did.
type Receipt struct {
	Entity   string
	Version  uint64 // of the entity after the commit
	Cursor   Cursor // of its last event
	Replayed bool   // the command had been committed before, and this is that receipt
}

// Cursor is a place in the ledger, between two events. The zero Cursor is before
// all of them.
type Cursor struct {
	at    wal.Position
	check uint64 // first eight bytes of the record's chain value
}

const cursorSize = 16

// IsZero reports whether c is before all events.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// String gives c as text, "" for the zero Cursor.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	return fmt.Sprintf("%x-%016x", uint64(c.at), c.check)
}

// ParseCursor reads what String gave. Whether the cursor belongs to a ledger
// shows when it is used. The error satisfies ErrCursor.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	at, check, _ := strings.Cut(text, "-")
	p, errP := strconv.ParseUint(at, 16, 64)
	s, errS := strconv.ParseUint(check, 16, 64)
	c := Cursor{wal.Position(p), s}
	if errP != nil || errS != nil || c.String() != text {
		return Cursor{}, fmt.Errorf("%w: %.60q", ErrCursor, text)
	}
	return c, nil
}

// MarshalText implements encoding.TextMarshaler.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Cursor) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCursor(string(text))
	return err
}

// Bytes gives c in 16 bytes, for a database.
func (c Cursor) Bytes() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), uint64(c.at))
	return binary.BigEndian.AppendUint64(b, c.check)
}

// CursorFromBytes reads what Bytes gave; nothing is the zero Cursor. The error
// satisfies ErrCursor.
func CursorFromBytes(b []byte) (Cursor, error) {
	switch len(b) {
	case 0:
		return Cursor{}, nil
	case cursorSize:
		return Cursor{wal.Position(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])}, nil
	}
	return Cursor{}, fmt.Errorf("%w: %d bytes", ErrCursor, len(b))
}

func (c *Command) validate() error {
	for _, w := range []struct{ what, text string }{{"command ID", c.ID}, {"entity", c.Entity}, {"actor", c.Actor}} {
		if err := checkWord(w.what, w.text); err != nil {
			return err
		}
	}
	if scheme, id, ok := strings.Cut(c.Actor, ":"); !ok || scheme == "" || id == "" {
		return fmt.Errorf("%w: actor %q is not of the form scheme:id", ErrInvalid, c.Actor)
	}
	if len(c.Reason) > MaxReason {
		return fmt.Errorf("%w: a reason of %d bytes, of at most %d", ErrTooLarge, len(c.Reason), MaxReason)
	}
	if !utf8.ValidString(c.Reason) {
		return fmt.Errorf("%w: the reason is not UTF-8", ErrInvalid)
	}
	return nil
}

// ownTypes begins the types of events that only this package makes.
const ownTypes = "ledger."

// checkEvents makes sure that what decide returned can be recorded.
func checkEvents(events []Event, reason string, own bool) error {
	if len(events) > MaxEvents {
		return fmt.Errorf("%w: %d events, of at most %d", ErrTooLarge, len(events), MaxEvents)
	}
	size := len(reason)
	for i := range events {
		e := &events[i]
		if err := checkWord("event type", e.Type); err != nil {
			return err
		}
		if strings.HasPrefix(e.Type, ownTypes) != own {
			return fmt.Errorf("%w: only the ledger makes events whose type begins with %q, and %q is one", ErrInvalid, ownTypes, e.Type)
		}
		if e.Schema < 1 {
			return fmt.Errorf("%w: event %s has schema version %d: they begin at 1", ErrInvalid, e.Type, e.Schema)
		}
		if len(e.Data) > 0 && !json.Valid(e.Data) {
			return fmt.Errorf("%w: the data of event %s is not JSON", ErrInvalid, e.Type)
		}
		size += len(e.Data)
	}
	if size > MaxBytes {
		return fmt.Errorf("%w: %d bytes, of at most %d", ErrTooLarge, size, MaxBytes)
	}
	return nil
}

func checkWord(what, text string) error {
	if text == "" {
		return fmt.Errorf("%w: the %s is missing", ErrInvalid, what)
	}
	if len(text) > MaxWord {
		return fmt.Errorf("%w: %s %.40q… has %d bytes, of at most %d", ErrTooLarge, what, text, len(text), MaxWord)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%w: %s %q has control characters or is not UTF-8", ErrInvalid, what, text)
	}
	return nil
}
