// Package evidence is all that is known of a message when it is judged. It
// gathers nothing itself: package filter fills it, policy reads it, and the
// command line prints it.
package evidence

import (
	"github.com/weirmail/weir/filter/auth"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
	"github.com/weirmail/weir/intel/directory"
)

// Recipient is an envelope recipient and what the directory says of it.
type Recipient struct {
	Path   message.Path
	Value  intel.Value       // zero when the address cannot be read
	Person *directory.Person // nil when the directory does not know it
	Local  bool              // it is in a local domain
}

// Evidence is all that is known of one message.
type Evidence struct {
	Envelope    *message.Envelope
	Message     *message.Message
	Direction   intel.Direction
	Client      message.Client // the client that counts: behind a trusted relay, the one that its Received line names
	Relay       bool           // the connecting client is a trusted relay
	Observables []intel.Observable
	Hits        []intel.Hit         // in force; block, allow and watch
	Groups      map[string][]string // of feeds, by the Source of their indicators; shared, never written to
	Contained   []contain.Hit       // in force, whatever their scope
	Auth        auth.Results
	Sender      *directory.Person // the envelope sender, when the directory knows it
	Recipients  []Recipient
	Generation  uint64 // of the lists that were looked at
	Unseen      int    // bytes of header and file names that no regular expression looked at, for their length
}
