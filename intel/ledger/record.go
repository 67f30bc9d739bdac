package ledger

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/oklog/ulid/v2"

	"github.com/weirmail/weir/intel/wal"
)

const recordVersion = 1

type hash [sha256.Size]byte

// header is what the chain covers.
type header struct {
	_        struct{} `cbor:",toarray"`
	Sequence uint64   // of the record in the ledger, from 1
	ID       [16]byte // ULID
	Node     string
	Time     int64 // Unix time in microseconds
	Command  string
	Entity   string
	First    uint64       // version of the first event
	Before   wal.Position // of the entity's record before; 0 for none
	Actor    string
	Kinds    []kind
	Body     hash // SHA-256 of the body
	Previous hash // chain value of the record before; zero for none
}

type kind struct {
	_      struct{} `cbor:",toarray"`
	Type   string
	Schema int
}

// body is what can be wiped.
type body struct {
	_      struct{} `cbor:",toarray"`
	Reason string
	Data   [][]byte
}

// record is one commit as the log holds it.
type record struct {
	header
	body   body
	at     wal.Position
	chain  hash
	seal   hash
	wiped  bool
	intact bool // the body is what the header says; false too when wiped
}

func (r *record) cursor() Cursor {
	return Cursor{r.at, binary.BigEndian.Uint64(r.chain[:])}
}

// last is the version of the record's last event.
func (r *record) last() uint64 { return r.First + uint64(len(r.Kinds)) - 1 }

// codec turns records into bytes and back.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec() (codec, error) {
	enc, err := cbor.EncOptions{NilContainers: cbor.NilContainerAsEmpty}.EncMode()
	if err != nil {
		return codec{}, err
	}
	dec, err := cbor.DecOptions{
		MaxArrayElements: MaxEvents + 12,
		MaxNestedLevels:  4,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	return codec{enc, dec}, err
}

// seal is what only a holder of the key can make of a chain value.
func seal(key []byte, chain hash) hash {
	mac := hmac.New(sha256.New, key)
	mac.Write(chain[:])
	return hash(mac.Sum(nil))
}

// encode gives the record's bytes and sets its body hash, chain value and seal.
func (c codec) encode(r *record, key []byte) ([]byte, error) {
	b, err := c.enc.Marshal(&r.body)
	if err != nil {
		return nil, err
	}
	r.Body = sha256.Sum256(b)
	h, err := c.enc.Marshal(&r.header)
	if err != nil {
		return nil, err
	}
	r.chain = sha256.Sum256(h)
	r.seal = seal(key, r.chain)

	out := make([]byte, 0, 1+2*binary.MaxVarintLen32+len(h)+len(b)+len(r.seal))
	out = append(out, recordVersion)
	out = append(binary.AppendUvarint(out, uint64(len(h))), h...)
	out = append(binary.AppendUvarint(out, uint64(len(b))), b...)
	return append(out, r.seal[:]...), nil
}

// errRecord says that bytes are no record.
var errRecord = errors.New("not a record of a ledger")

// split finds the parts of a record's bytes.
func split(p []byte) (head, body, seal []byte, err error) {
	if len(p) == 0 || p[0] != recordVersion {
		return nil, nil, nil, fmt.Errorf("%w: its version is unknown", errRecord)
	}
	head, rest, ok1 := cutBytes(p[1:])
	body, seal, ok2 := cutBytes(rest)
	if !ok1 || !ok2 || len(seal) != sha256.Size {
		return nil, nil, nil, fmt.Errorf("%w: its lengths do not fit", errRecord)
	}
	return head, body, seal, nil
}

func cutBytes(p []byte) (part, rest []byte, ok bool) {
	n, used := binary.Uvarint(p)
	if used <= 0 || n > uint64(len(p)-used) {
		return nil, nil, false
	}
	p = p[used:]
	return p[:n], p[n:], true
}

// decode reads a record. It keeps nothing of p. A body that does not fit its
// hash is not an error here: intact says whether it does.
func (c codec) decode(p []byte, at wal.Position) (*record, error) {
	head, b, s, err := split(p)
	if err != nil {
		return nil, err
	}
	r := &record{at: at, chain: sha256.Sum256(head), seal: hash(s)}
	if err := c.dec.Unmarshal(head, &r.header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", errRecord, err)
	}
	if n := len(r.Kinds); n == 0 || n > MaxEvents || r.First == 0 {
		return nil, fmt.Errorf("%w: it has %d events from version %d on", errRecord, n, r.First)
	}
	if isZero(b) {
		r.wiped = true
		return r, nil
	}
	r.intact = sha256.Sum256(b) == r.Body
	if err := c.dec.Unmarshal(b, &r.body); err != nil {
		return nil, fmt.Errorf("%w: body: %w", errRecord, err)
	}
	if len(r.body.Data) != len(r.Kinds) {
		return nil, fmt.Errorf("%w: it has %d events and data of %d", errRecord, len(r.Kinds), len(r.body.Data))
	}
	return r, nil
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// events gives the record's events, without cursors.
func (r *record) events(upcast func(*Event) error) ([]Event, error) {
	id := ulid.ULID(r.ID).String()
	list := make([]Event, len(r.Kinds))
	for i := range list {
		e := &list[i]
		*e = Event{
			Type: r.Kinds[i].Type, Schema: r.Kinds[i].Schema,
			ID: fmt.Sprintf("%s.%d", id, i), Entity: r.Entity, Version: r.First + uint64(i),
			Time: time.UnixMicro(r.Time).UTC(), Actor: r.Actor, Reason: r.body.Reason,
			Command: r.Command, Node: r.Node, Erased: r.wiped,
		}
		if !r.wiped && len(r.body.Data[i]) > 0 {
			e.Data = json.RawMessage(r.body.Data[i])
		}
		if upcast != nil && !r.wiped {
			if err := upcast(e); err != nil {
				return nil, fmt.Errorf("event %s of type %s, schema %d: %w", e.ID, e.Type, e.Schema, err)
			}
		}
	}
	return list, nil
}
