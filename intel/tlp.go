package intel

import (
	"fmt"
	"strings"
)

// TLP says how far something may be passed on, under the Traffic Light Protocol
// 2.0 of FIRST. A greater one is stricter.
type TLP uint8

// The markings. Their numbers are written to disk.
const (
	TLPNone        TLP = 0 // nobody said
	TLPClear       TLP = 1 // to anyone; WHITE in TLP 1.0
	TLPGreen       TLP = 2 // within the community
	TLPAmber       TLP = 3 // within the organisation and to its clients
	TLPAmberStrict TLP = 4 // within the organisation
	TLPRed         TLP = 5 // to those who got it
)

// String gives the word that lists, the CLI and the API use; "" for TLPNone.
func (t TLP) String() string {
	switch t {
	case TLPNone:
		return ""
	case TLPClear:
		return "clear"
	case TLPGreen:
		return "green"
	case TLPAmber:
		return "amber"
	case TLPAmberStrict:
		return "amber+strict"
	case TLPRed:
		return "red"
	}
	return fmt.Sprintf("tlp(%d)", uint8(t))
}

// TLPs lists every marking, from the least to the most strict.
func TLPs() []TLP { return []TLP{TLPClear, TLPGreen, TLPAmber, TLPAmberStrict, TLPRed} }

// ParseTLP reads a marking in lower or upper case, with "tlp:" before it or not.
// It knows "white", and does not know "": a marking that is not there is left out.
func ParseTLP(s string) (TLP, bool) {
	s = strings.TrimPrefix(strings.ToLower(s), "tlp:")
	if s == "white" {
		return TLPClear, true
	}
	for _, t := range TLPs() {
		if t.String() == s {
			return t, true
		}
	}
	return TLPNone, false
}
