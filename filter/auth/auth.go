// Package auth reads what is known of a message's authenticity. For now that
// is what a milter before Weir found out and wrote into Authentication-Results
// fields (RFC 8601) under the name that the configuration trusts.
//
// The field is text that anyone can send. Weir believes the configured
// authserv-id alone, so the milter that writes it has to remove forged fields
// of that name from what comes in (RFC 8601 section 5); OpenDKIM, OpenDMARC
// and Rspamd do.
package auth

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"
)

// Bounds on what is read from one message.
const (
	maxFields     = 32
	maxFieldBytes = 16 << 10
	maxSignatures = 64
)

// Result is one method's outcome, in the words of RFC 8601 section 2.7:
// "none", "pass", "fail", "softfail", "neutral", "policy", "temperror",
// "permerror". Empty: the method was not spoken of.
type Result struct {
	Value  string
	Domain string // whom it speaks of: SPF the sender's domain, DKIM d=, DMARC the From domain
}

// Results is all that the trusted fields say. The zero Results is a message
// without any, which is a fact for the policy and no error.
type Results struct {
	Present bool // there was a field of the configured authserv-id
	SPF     Result
	DMARC   Result
	ARC     Result
	DKIM    []Result // one a signature, in order
}

// FromFields reads the values of a message's Authentication-Results fields,
// topmost first. Fields of any other authserv-id are passed over, as are all
// of them when authservID is empty. Where two fields speak of one method the
// topmost, which is the latest, counts.
func FromFields(values []string, authservID string) Results {
	var r Results
	if authservID == "" {
		return r
	}
	if len(values) > maxFields {
		values = values[:maxFields]
	}
	for _, value := range values {
		if len(value) > maxFieldBytes {
			continue
		}
		// What stands before a fault in the field is read, and counts.
		id, results, _ := authres.Parse(plain(value))
		if !strings.EqualFold(id, authservID) {
			continue
		}
		r.Present = true
		for _, result := range results {
			r.add(result)
		}
	}
	return r
}

func (r *Results) add(result authres.Result) {
	switch x := result.(type) {
	case *authres.SPFResult:
		if r.SPF.Value == "" {
			domain := x.From
			if domain == "" {
				domain = x.Helo
			}
			r.SPF = Result{Value: string(x.Value), Domain: domainOf(domain)}
		}
	case *authres.DMARCResult:
		if r.DMARC.Value == "" {
			r.DMARC = Result{Value: string(x.Value), Domain: domainOf(x.From)}
		}
	case *authres.ARCResult:
		if r.ARC.Value == "" {
			r.ARC = Result{Value: string(x.Value)}
		}
	case *authres.DKIMResult:
		domain := x.Domain
		if domain == "" {
			domain = x.Identifier
		}
		if len(r.DKIM) < maxSignatures {
			r.DKIM = append(r.DKIM, Result{Value: string(x.Value), Domain: domainOf(domain)})
		}
	}
}

func domainOf(s string) string {
	s = strings.Trim(s, `"`)
	return strings.ToLower(s[strings.LastIndexByte(s, '@')+1:])
}

// plain removes comments (RFC 5322 section 3.2.2) and blunts quoted strings:
// the library splits at every semicolon and space, and both may hold text that
// the sender chose, "dmarc=pass" among it.
func plain(s string) string {
	if !strings.ContainsAny(s, `("`) {
		return s
	}
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && (depth > 0 || quoted):
			i++
		case quoted:
			switch c {
			case '"':
				quoted = false
			case ';', ' ', '\t', '\r', '\n', '=':
				c = '?'
			}
			b.WriteByte(c)
		case c == '(':
			depth++
			b.WriteByte(' ')
		case depth > 0:
			if c == ')' {
				depth--
			}
		default:
			quoted = c == '"'
			b.WriteByte(c)
		}
	}
	return b.String()
}
