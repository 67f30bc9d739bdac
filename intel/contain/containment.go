package contain

import (
	"net/netip"
	"time"

	"github.com/weirmail/weir/intel"
)

// Kind says what is contained.
type Kind string

// The kinds.
const (
	User   Kind = "user" // a person of ours, by login or address
	Client Kind = "ip"   // an address or a range of ours
)

// Scope says whose copies a containment is about.
type Scope string

// The scopes.
const (
	External Scope = "external" // of recipients outside the local domains
	Internal Scope = "internal" // of recipients in the local domains
	All      Scope = "all"
)

// Covers reports whether a recipient's copy is in the scope; local says that the
// recipient is in the local domains.
func (s Scope) Covers(local bool) bool {
	switch s {
	case External:
		return !local
	case Internal:
		return local
	}
	return true
}

// Containment is one that somebody made. It is shared and never written to.
type Containment struct {
	ID     string       `json:"id"`
	Kind   Kind         `json:"kind"`
	Value  string       `json:"value"` // canonical: a login, an address, a range
	Scope  Scope        `json:"scope"`
	Action intel.Action `json:"action"` // hold or reject
	Until  time.Time    `json:"until"`
	Since  time.Time    `json:"since"`
	Actor  string       `json:"actor"`
	Reason string       `json:"reason"`
}

// InForce reports whether it has not ended by now.
func (c *Containment) InForce(now time.Time) bool { return now.Before(c.Until) }

// prefix gives the range of one that contains clients.
func (c *Containment) prefix() netip.Prefix {
	p, _ := parseRange(c.Value)
	return p
}

// entity names what is contained in the ledger.
func (c *Containment) entity() string { return entityPrefix + string(c.Kind) + ":" + c.Value }
