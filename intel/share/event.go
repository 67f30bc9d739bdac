package share

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
	"github.com/weirmail/weir/intel/ledger"
)

// What is published of one pattern is one entity of the ledger.
const (
	entityPrefix = "share/" // digest of the pattern's name

	typePublished = "published" // publishedData; a further one is a newer version
	typeRevoked   = "revoked"   // revokedData

	schema = 1
	actor  = "weir:share"
)

// publishedData is what peers are told, and of whom Weir has it.
type publishedData struct {
	Object     string    `json:"object"`  // ID in STIX
	Pattern    string    `json:"pattern"` // intel.Pattern.Name
	TLP        string    `json:"tlp"`
	Confidence int       `json:"confidence,omitempty"`
	Until      time.Time `json:"until,omitzero"`
	Grounds    []string  `json:"grounds"` // incidents and lists; nobody else is told
}

type revokedData struct {
	Object  string `json:"object"`
	Pattern string `json:"pattern"`
}

// errEvent says that an event's data are not what its type needs.
var errEvent = errors.New("an event of what is published cannot be read")

func unmarshal(e *ledger.Event, data any) error {
	if e.Schema != schema {
		return fmt.Errorf("%w: %s of %s has schema %d, this Weir reads %d", errEvent, e.Type, e.Entity, e.Schema, schema)
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		return fmt.Errorf("%w: %s of %s: %w", errEvent, e.Type, e.Entity, err)
	}
	return nil
}

func event(kind string, data any) ([]ledger.Event, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return []ledger.Event{{Type: kind, Schema: schema, Data: raw}}, nil
}

func entityOf(pattern string) string { return entityPrefix + digestOf(pattern) }

func digestOf(pattern string) string {
	sum := sha256.Sum256([]byte(pattern))
	return hex.EncodeToString(sum[:16])
}

// equal reports whether peers are told the same.
func (d *publishedData) equal(o *publishedData) bool {
	return d.TLP == o.TLP && d.Confidence == o.Confidence && d.Until.Equal(o.Until)
}

// same reports whether an object tells peers what d says.
func (d *publishedData) same(o *object) bool {
	return o != nil && !o.Revoked && d.equal(&publishedData{TLP: o.TLP, Confidence: o.Confidence, Until: o.Until})
}

// past is what the ledger says of one pattern.
type past struct {
	rounds  int            // how often it was revoked
	current *publishedData // nil: it is not published
}

func pastOf(s ledger.State) (p past, err error) {
	for n := range s.Events {
		switch e := &s.Events[n]; e.Type {
		case typePublished:
			p.current = &publishedData{}
			if !e.Erased {
				err = unmarshal(e, p.current)
			}
		case typeRevoked:
			p.rounds, p.current = p.rounds+1, nil
		}
		if err != nil {
			return past{}, err
		}
	}
	return p, nil
}

// objectID gives the ID in STIX of what is published of a pattern. What was revoked
// stays so (STIX 2.1 section 3.2), so each time it gets another one. The error is an
// *export.UnsaidError.
func objectID(p intel.Pattern, round int) (string, error) {
	o, err := export.NewObject(&intel.Indicator{Pattern: p, Disposition: intel.Block}, export.ObjectOptions{})
	if err != nil || round == 0 {
		return o.ID, err
	}
	const sort = "indicator--"
	first, err := uuid.Parse(o.ID[len(sort):])
	return sort + uuid.NewSHA1(first, fmt.Appendf(nil, "round %d", round)).String(), err
}
