// Package scan judges a message that lies in a file, as the daemon would judge
// it, without one: the same parser, lists and rules. What it finds is a Result,
// whose JSON is a contract with whoever reads it; the page scan.md beside the
// command says what stands in it.
package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/match"
)

// Options says by what messages are judged. Rules.Policy and Parser are required.
type Options struct {
	Rules    filter.Rules
	Parser   *message.Parser
	Lists    *match.Snapshot // nil: nothing is known; the Scanner takes it over
	Oversize intel.Action    // the answer to a message that is cut
	Clock    func() time.Time
}

// Transaction is what the message's SMTP session would have said. Zero fields are
// not known.
type Transaction struct {
	From     string // envelope sender; empty: as the file says
	Null     bool   // the sender is the null sender
	To       []string
	Client   netip.Addr
	Name     string // of the client, verified
	Helo     string
	AuthUser string
}

// Scanner judges messages. It is safe for use by many goroutines.
type Scanner struct {
	o     Options
	judge *filter.Judge
}

// New checks the options.
func New(o Options) (*Scanner, error) {
	if o.Parser == nil {
		return nil, errors.New("scan: Options.Parser is missing")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	matcher := match.NewMatcher()
	if o.Lists != nil {
		matcher.Swap(o.Lists)
	}
	judge, err := filter.NewJudge(matcher, o.Rules, o.Clock)
	if err != nil {
		return nil, err
	}
	return &Scanner{o, judge}, nil
}

// Where the envelope sender of a Result comes from.
const (
	fromOption     = "option"
	fromReturnPath = "return-path"
	fromMailbox    = "mailbox"
	fromNowhere    = "unknown"
)

// Scan judges a message. With trace the Result says how each rule was decided.
// The error says that the lists could not be read.
func (s *Scanner) Scan(f *File, tx Transaction, trace bool) (*Result, error) {
	m := s.o.Parser.Parse(f.Raw, nil)
	env, source := s.envelope(f, tx, m)
	e, err := s.judge.Gather(env, m)
	if err != nil {
		return nil, err
	}
	v, steps := s.judge.Policy().Trace(e)
	if f.Cut {
		v = s.oversize(e, v)
	}
	r := resultOf(e, v)
	r.File, r.Truncated, r.Policy = f.Name, f.Cut, s.judge.Policy().Name()
	r.Envelope.FromSource = source
	sum := sha256.Sum256(f.Raw)
	r.SHA256 = hex.EncodeToString(sum[:])
	if trace {
		r.Trace = stepsOf(steps)
	}
	return r, nil
}

// envelope makes the transaction that a message came by. Where the sender is not
// given, the file may know him: the last MTA wrote him into Return-Path (RFC 5321
// section 4.4) or into the mailbox's From line.
func (s *Scanner) envelope(f *File, tx Transaction, m *message.Message) (env *message.Envelope, source string) {
	env = &message.Envelope{Client: message.Client{Addr: tx.Client.Unmap(), Name: tx.Name}, Helo: tx.Helo, AuthUser: tx.AuthUser, Time: s.o.Clock()}
	for _, to := range tx.To {
		env.To = append(env.To, message.Path{Raw: to})
	}
	returned := m.Header.Addresses("Return-Path", 1)
	switch {
	case tx.From != "" || tx.Null:
		env.From.Raw, source = tx.From, fromOption
	case len(returned) > 0 && !returned[0].Value.IsZero():
		env.From.Raw, source = returned[0].Value.String(), fromReturnPath
	case f.Sender != "":
		env.From.Raw, source = f.Sender, fromMailbox
	default:
		source = fromNowhere
	}
	return env, source
}

// oversize is the verdict on a message of which only the beginning is looked at:
// the configured one, but what that shows as bad is not let through.
func (s *Scanner) oversize(e *evidence.Evidence, seen *verdict.Verdict) *verdict.Verdict {
	v := &verdict.Verdict{Action: s.o.Oversize, Rule: policy.OversizeRule}
	if seen.Action != intel.ActionAccept && seen.Action != intel.ActionTag {
		v.Action, v.Reasons = intel.ActionReject, seen.Reasons
	}
	if v.Action == intel.ActionReject && e.Relay {
		v.Action = intel.ActionTempfail
	}
	for i := range e.Recipients {
		v.Recipients = append(v.Recipients, verdict.Recipient{Address: e.Recipients[i].Path.Address(), Action: v.Action, Rule: v.Rule})
	}
	return v
}

// ParseClient reads the address of a client.
func ParseClient(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, fmt.Errorf("%q is not an IP address", text)
	}
	return a.Unmap().WithZone(""), nil
}
