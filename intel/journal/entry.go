package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/weirmail/weir/intel"
)

// MaxObservables is how many observables of a message its entry keeps, the
// first ones; the writer puts what matters most in front.
const MaxObservables = 4096

// maxObservableBytes bounds the values and places of the observables that an
// entry keeps, so that a message full of long links has an entry too. One that
// is too long for what is left gives way to shorter ones behind it.
const maxObservableBytes = 1 << 20

// MaxEntry is how many bytes an entry may have when it is encoded. The
// observables are cut to fit; the rest is for the writer to bound.
const MaxEntry = 4 << 20

// Entry is one message that was let through: what was seen of it and for whom.
// It is plain data. All text in it is a stranger's.
type Entry struct {
	ID        string // ULID; the first part of the X-Weir-ID that it went out with
	Parent    string // ID of the entry whose X-Weir-ID it came in with: a hint
	Item      string // the quarantine item that it was released from
	Time      time.Time
	QueueID   string
	MessageID string // without angle brackets

	From      string   // envelope sender as the MTA gave it, without angle brackets
	To        []string // envelope recipients whose copies went on, likewise
	Client    netip.Addr
	Helo      string
	AuthUser  string
	Direction intel.Direction

	Subject    string
	HeaderFrom string   // the From field, decoded
	Date       string   // the Date field as written
	References []string // message IDs of References and In-Reply-To
	Files      []string // names of attachments

	Size  int64    // bytes of the whole message
	Body  [32]byte // fingerprint of the content
	Parts []Part   // leaf parts of the MIME tree

	Observables []intel.Observable
	Overflow    int // observables that were left out

	Action     intel.Action
	Rule       string
	Hits       []Hit
	Generation uint64 // of the lists that it was judged under
	Unjudged   bool   // let through without a look: over the size limit
}

// fitted gives e with the observables that an entry keeps: e itself if those are all.
func (e *Entry) fitted() *Entry {
	size := 0
	for i := range e.Observables {
		size += observableBytes(&e.Observables[i])
	}
	if len(e.Observables) <= MaxObservables && size <= maxObservableBytes {
		return e
	}
	kept := make([]intel.Observable, 0, min(len(e.Observables), MaxObservables))
	size = 0
	for i := range e.Observables {
		o := &e.Observables[i]
		if n := observableBytes(o); len(kept) < MaxObservables && size+n <= maxObservableBytes {
			kept = append(kept, *o)
			size += n
		}
	}
	f := *e
	f.Observables, f.Overflow = kept, e.Overflow+len(e.Observables)-len(kept)
	return &f
}

// observableBytes is about what an observable takes in an entry.
func observableBytes(o *intel.Observable) int {
	return len(o.Value.String()) + len(o.Place) + len(o.Role) + 10
}

// Part is a leaf part of the message.
type Part struct {
	Path        string
	Type        string
	Name        string
	Size        int64
	Fingerprint [32]byte
}

// Hit is an indicator that matched when the message was let through.
type Hit struct {
	Source string
	Line   int
	Value  string
	Place  string
}

// record is an Entry as it is written. The numbers of the keys and the order
// of the arrays are the format: append, never reuse.
type record struct {
	head
	Parts       []part       `cbor:"20,keyasint,omitempty"`
	Observables []observable `cbor:"21,keyasint,omitempty"`
	Hits        []hit        `cbor:"25,keyasint,omitempty"`
}

// head is what can be read of a record without its long lists, which take most
// of the time that it takes to read one.
type head struct {
	Version    int      `cbor:"0,keyasint"`
	ID         string   `cbor:"1,keyasint"`
	Parent     string   `cbor:"2,keyasint,omitempty"`
	Item       string   `cbor:"3,keyasint,omitempty"`
	Time       int64    `cbor:"4,keyasint"` // ns since 1970
	QueueID    string   `cbor:"5,keyasint,omitempty"`
	MessageID  []byte   `cbor:"6,keyasint,omitempty"`
	From       []byte   `cbor:"7,keyasint,omitempty"`
	To         [][]byte `cbor:"8,keyasint,omitempty"`
	Client     []byte   `cbor:"9,keyasint,omitempty"`
	Helo       []byte   `cbor:"10,keyasint,omitempty"`
	AuthUser   []byte   `cbor:"11,keyasint,omitempty"`
	Direction  uint8    `cbor:"12,keyasint"`
	Subject    []byte   `cbor:"13,keyasint,omitempty"`
	HeaderFrom []byte   `cbor:"14,keyasint,omitempty"`
	Date       []byte   `cbor:"15,keyasint,omitempty"`
	References [][]byte `cbor:"16,keyasint,omitempty"`
	Files      [][]byte `cbor:"17,keyasint,omitempty"`
	Size       int64    `cbor:"18,keyasint"`
	Body       []byte   `cbor:"19,keyasint"`
	Overflow   int      `cbor:"22,keyasint,omitempty"`
	Action     uint8    `cbor:"23,keyasint"`
	Rule       string   `cbor:"24,keyasint,omitempty"`
	Generation uint64   `cbor:"26,keyasint,omitempty"`
	Unjudged   bool     `cbor:"27,keyasint,omitempty"`
}

// Text that a stranger chose is written as bytes: it need not be UTF-8.
type (
	part struct {
		_           struct{} `cbor:",toarray"`
		Path        string
		Type        []byte
		Name        []byte
		Size        int64
		Fingerprint []byte
	}
	observable struct {
		_     struct{} `cbor:",toarray"`
		Kind  uint8
		Value []byte // a digest's bytes, else the canonical text
		Role  string
		Place []byte
	}
	hit struct {
		_      struct{} `cbor:",toarray"`
		Source string
		Line   int
		Value  []byte
		Place  []byte
	}
)

const version = 1

// ErrEntry says that a record is no entry that this version can read.
var ErrEntry = errors.New("not a journal entry")

// codec decodes entries. It is safe for use by many goroutines.
type codec struct{ dec cbor.DecMode }

func newCodec() (*codec, error) {
	dec, err := cbor.DecOptions{MaxArrayElements: 1 << 20, MaxMapPairs: 64, MaxNestedLevels: 8}.DecMode()
	if err != nil {
		return nil, err
	}
	return &codec{dec}, nil
}

func (c *codec) decode(data []byte) (*Entry, error) {
	var r record
	if err := c.dec.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	e, err := r.entry()
	if err != nil {
		return nil, err
	}
	for i := range r.Parts {
		p := Part{Path: r.Parts[i].Path, Type: string(r.Parts[i].Type), Name: string(r.Parts[i].Name), Size: r.Parts[i].Size}
		copy(p.Fingerprint[:], r.Parts[i].Fingerprint)
		e.Parts = append(e.Parts, p)
	}
	for i := range r.Observables {
		o := &r.Observables[i]
		v, err := valueOf(intel.Kind(o.Kind), o.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEntry, err)
		}
		e.Observables = append(e.Observables, intel.Observable{Value: v, Role: intel.Role(o.Role), Place: string(o.Place)})
	}
	for _, h := range r.Hits {
		e.Hits = append(e.Hits, Hit{Source: h.Source, Line: h.Line, Value: string(h.Value), Place: string(h.Place)})
	}
	return e, nil
}

// decodeHead gives an entry without parts, observables and hits. Those need not
// be ones that decode can read.
func (c *codec) decodeHead(data []byte) (*Entry, error) {
	var h head
	if err := c.dec.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return h.entry()
}

func (h *head) entry() (*Entry, error) {
	if h.Version < 1 || h.Version > version {
		return nil, fmt.Errorf("%w: version %d, this Weir reads up to %d", ErrEntry, h.Version, version)
	}
	e := &Entry{
		ID: h.ID, Parent: h.Parent, Item: h.Item, Time: time.Unix(0, h.Time).UTC(), QueueID: h.QueueID,
		MessageID: string(h.MessageID), From: string(h.From), To: textOf(h.To),
		Helo: string(h.Helo), AuthUser: string(h.AuthUser), Direction: intel.Direction(h.Direction),
		Subject: string(h.Subject), HeaderFrom: string(h.HeaderFrom), Date: string(h.Date),
		References: textOf(h.References), Files: textOf(h.Files),
		Size: h.Size, Overflow: h.Overflow, Action: intel.Action(h.Action), Rule: h.Rule, Generation: h.Generation, Unjudged: h.Unjudged,
	}
	copy(e.Body[:], h.Body)
	if len(h.Client) > 0 {
		addr, ok := netip.AddrFromSlice(h.Client)
		if !ok {
			return nil, fmt.Errorf("%w: a client address of %d bytes", ErrEntry, len(h.Client))
		}
		e.Client = addr
	}
	return e, nil
}

func isDigest(k intel.Kind) bool {
	return k == intel.KindSHA256 || k == intel.KindSHA1 || k == intel.KindMD5
}

func valueOf(k intel.Kind, text []byte) (intel.Value, error) {
	key := append(make([]byte, 0, 2+2*len(text)), byte(intel.FormExact), byte(k))
	if isDigest(k) {
		key = hex.AppendEncode(key, text)
	} else {
		key = append(key, text...)
	}
	p, err := intel.PatternFromKey(key, "")
	return p.Value(), err
}

func textOf(all [][]byte) []string {
	var texts []string
	for _, b := range all {
		texts = append(texts, string(b))
	}
	return texts
}
