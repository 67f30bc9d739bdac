package delivery

import (
	"encoding/binary"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// The index. Each key ends in the position of the event's record in the log and
// its number there, so events stand in the order in which they were read, and
// what a record has in the index follows from the record. Numbers are big-endian.
//
//	0x01 | queue ID | 0 | position, number → event
//	0x02 | session | 0 | position, number → event of Dovecot's
//	0x03 | xxhash64 of the Message-ID | position, number → queue ID
//	0x04 | xxhash64 of the Message-ID | position, number → event of Dovecot's
//	0x05 | source → the place behind what was recorded of it
//	0x06 | queue ID of a notification | 0 | position, number → queue ID that it is about
//	0x07 | login | 0 | position, number → event that says that mail was taken by POP3
const (
	keyQueueID          = 0x01
	keySession          = 0x02
	keyMessageID        = 0x03
	keyDovecotMessageID = 0x04
	keyPlace            = 0x05
	keyNotice           = 0x06
	keyTaken            = 0x07
)

// maxName bounds queue IDs, sessions and logins in keys, in bytes; real ones are
// shorter.
const maxName = 256

// entries gives what a record has in the index. The slices are valid until set
// returns.
func (s *store) entries(r *record, at wal.Position, set func(key, value []byte) error) error {
	var key []byte
	put := func(prefix []byte, n int, value []byte) error {
		key = binary.BigEndian.AppendUint64(append(key[:0], prefix...), uint64(at))
		return set(binary.BigEndian.AppendUint32(key, uint32(n)), value)
	}
	for n := range r.Events {
		e := &r.Events[n]
		value, err := s.codec.enc.Marshal(e)
		if err != nil {
			return err
		}
		if e.QueueID != "" {
			if err := put(nameKey(keyQueueID, e.QueueID), n, value); err != nil {
				return err
			}
			if e.MessageID != "" {
				if err := put(idKey(keyMessageID, e.MessageID), n, []byte(e.QueueID)); err != nil {
					return err
				}
			}
			if e.Kind == logline.Notice {
				if err := put(nameKey(keyNotice, e.NextID), n, []byte(e.QueueID)); err != nil {
					return err
				}
			}
			continue
		}
		if e.Kind == logline.Taken {
			if isName(e.User) {
				if err := put(nameKey(keyTaken, fold(e.User)), n, value); err != nil {
					return err
				}
			}
			continue
		}
		if isName(e.Session) {
			if err := put(nameKey(keySession, e.Session), n, value); err != nil {
				return err
			}
		}
		if e.MessageID != "" {
			if err := put(idKey(keyDovecotMessageID, e.MessageID), n, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// isName reports whether a text can stand in a key.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.IndexByte(s, 0) < 0
}

func nameKey(kind byte, name string) []byte {
	return append(append(append(make([]byte, 0, len(name)+16), kind), name...), 0)
}

func idKey(kind byte, messageID string) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, xxhash.Sum64String(plainID(messageID)))
}

// plainID takes out of a Message-ID what each program cleans in its own way:
// white space, control characters, what is not ASCII, and the "?" that Postfix
// writes instead.
func plainID(id string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == '?' || r == '<' || r == '>' {
			return -1
		}
		return r
	}, id)
}

// view is the index at one moment.
type view struct {
	snapshot *kv.Snapshot
	codec    *codec
}

func (s *store) view() (*view, error) {
	snapshot, err := s.db.Snapshot()
	if err != nil {
		return nil, err
	}
	return &view{snapshot, s.codec}, nil
}

func (v *view) release() { v.snapshot.Release() }

// Bounds on what is read under one key: a stranger may send one Message-ID as
// often as he likes.
const (
	maxEvents = 20_000
	maxNames  = 1000
)

func (v *view) events(prefix []byte) (events []logline.Event, err error) {
	for entry, err := range v.snapshot.Range(prefix, nil) {
		if err != nil {
			return nil, err
		}
		var e logline.Event
		if v.codec.dec.Unmarshal(entry.Value, &e) != nil {
			continue // of a later version
		}
		e.Time = e.Time.UTC()
		if events = append(events, e); len(events) < maxEvents {
			continue
		}
		if events = withoutTries(events); len(events) > maxEvents/2 {
			break
		}
	}
	return events, nil
}

func (v *view) names(prefix []byte) (names []string, err error) {
	seen, n := map[string]bool{}, 0
	for entry, err := range v.snapshot.Range(prefix, nil) {
		if err != nil {
			return nil, err
		}
		if name := string(entry.Value); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
		if n++; n == maxEvents || len(names) == maxNames {
			break
		}
	}
	return names, nil
}

func (v *view) ofQueueID(id string) ([]logline.Event, error) {
	return v.events(nameKey(keyQueueID, id))
}

func (v *view) ofSession(id string) ([]logline.Event, error) {
	return v.events(nameKey(keySession, id))
}

// queueIDs gives the queue IDs under which messages with a Message-ID went.
func (v *view) queueIDs(messageID string) ([]string, error) {
	return v.names(idKey(keyMessageID, messageID))
}

func (v *view) storedAs(messageID string) ([]logline.Event, error) {
	return v.events(idKey(keyDovecotMessageID, messageID))
}

// taken gives the sessions in which a user took mail by POP3.
func (v *view) taken(login string) ([]logline.Event, error) {
	return v.events(nameKey(keyTaken, fold(login)))
}

// isNotice reports whether a queue ID is a notification of the MTA's own.
func (v *view) isNotice(queueID string) (bool, error) {
	about, err := v.names(nameKey(keyNotice, queueID))
	return len(about) > 0, err
}
