package intel

import "fmt"

// Kind says what sort of thing a Value is.
type Kind uint8

// The kinds. Their numbers are written to disk: append, never reorder.
const (
	KindSHA256  Kind = 1
	KindSHA1    Kind = 2
	KindMD5     Kind = 3
	KindAddress Kind = 4
	KindDomain  Kind = 5
	KindURL     Kind = 6
	KindIP      Kind = 7
)

// Kinds lists every kind, in the order of their numbers.
func Kinds() []Kind {
	return []Kind{KindSHA256, KindSHA1, KindMD5, KindAddress, KindDomain, KindURL, KindIP}
}

// String gives the word that list files, the CLI and the API use.
func (k Kind) String() string {
	switch k {
	case KindSHA256:
		return "sha256"
	case KindSHA1:
		return "sha1"
	case KindMD5:
		return "md5"
	case KindAddress:
		return "address"
	case KindDomain:
		return "domain"
	case KindURL:
		return "url"
	case KindIP:
		return "ip"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind is the inverse of String.
func ParseKind(s string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.String() == s {
			return k, true
		}
	}
	return 0, false
}

// Role says what part an observable plays in its message.
type Role string

// The roles. A list entry names them in its in= option.
const (
	RoleEnvelopeFrom Role = "envelope-from"
	RoleHeaderFrom   Role = "header-from"
	RoleSender       Role = "sender"
	RoleReplyTo      Role = "reply-to"
	RoleRcpt         Role = "rcpt"
	RoleHelo         Role = "helo"
	RoleClient       Role = "client"
	RoleAuthUser     Role = "auth-user"
	RoleURL          Role = "url"
	RoleAttachment   Role = "attachment"
	RoleBody         Role = "body"
)

// Roles lists every role.
func Roles() []Role {
	return []Role{
		RoleEnvelopeFrom, RoleHeaderFrom, RoleSender, RoleReplyTo, RoleRcpt,
		RoleHelo, RoleClient, RoleAuthUser, RoleURL, RoleAttachment, RoleBody,
	}
}

// Direction says which way a message travels, seen from the mail host.
// As an indicator's option DirectionAny means "whichever way".
type Direction uint8

// The directions. Their numbers are written to disk.
const (
	DirectionAny Direction = 0
	Inbound      Direction = 1
	Outbound     Direction = 2
	Internal     Direction = 3
)

// String gives the word that list files, policies and the API use.
func (d Direction) String() string {
	switch d {
	case DirectionAny:
		return "any"
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	case Internal:
		return "internal"
	}
	return fmt.Sprintf("direction(%d)", uint8(d))
}

// ParseDirection is the inverse of String.
func ParseDirection(s string) (Direction, bool) {
	for d := DirectionAny; d <= Internal; d++ {
		if d.String() == s {
			return d, true
		}
	}
	return 0, false
}

// Disposition is what an indicator says about what it matches.
type Disposition uint8

// The dispositions. Their numbers are written to disk.
const (
	Block Disposition = 1
	Allow Disposition = 2
	Watch Disposition = 3
)

// String gives the word that is also the folder's name under lists/.
func (d Disposition) String() string {
	switch d {
	case Block:
		return "block"
	case Allow:
		return "allow"
	case Watch:
		return "watch"
	}
	return fmt.Sprintf("disposition(%d)", uint8(d))
}

// ParseDisposition is the inverse of String.
func ParseDisposition(s string) (Disposition, bool) {
	for d := Block; d <= Watch; d++ {
		if d.String() == s {
			return d, true
		}
	}
	return 0, false
}

// Action is what shall become of a message or of one recipient's copy, as a
// rule or a list entry asks for it.
type Action uint8

// The actions. ActionNone leaves the choice to the policy. Discard is a hold
// that nobody is told of.
const (
	ActionNone     Action = 0
	ActionAccept   Action = 1
	ActionTag      Action = 2
	ActionHold     Action = 3
	ActionDiscard  Action = 4
	ActionReject   Action = 5
	ActionTempfail Action = 6
)

// String gives the word that lists, policies, headers and the API use.
func (a Action) String() string {
	switch a {
	case ActionNone:
		return "none"
	case ActionAccept:
		return "accept"
	case ActionTag:
		return "tag"
	case ActionHold:
		return "hold"
	case ActionDiscard:
		return "discard"
	case ActionReject:
		return "reject"
	case ActionTempfail:
		return "tempfail"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// ParseAction is the inverse of String. It does not know "none": an action
// that is not wanted is left out.
func ParseAction(s string) (Action, bool) {
	for a := ActionAccept; a <= ActionTempfail; a++ {
		if a.String() == s {
			return a, true
		}
	}
	return 0, false
}
