package notify

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/unblock"
)

// errErased says that nobody knows any more what a notice is about.
var errErased = errors.New("what it is about was erased")

// Bounds on what a notice shows of what people wrote, in characters.
const (
	maxInSubject = 80
	maxValue     = 500
	maxWhy       = 2000
)

// tellOfRequest says what became of a request, given as the ledger has it.
func tellOfRequest(s ledger.State) (subject, text string, err error) {
	r, err := unblock.RequestOf(s)
	if err == nil && r.Value == "" {
		err = errErased
	}
	if err != nil {
		return "", "", err
	}
	subject, text = aboutRequest(&r)
	return subject, text, nil
}

// aboutRequest writes to who asked for a value to be unblocked. Who decided is not
// said, whom the ledger knows as a user of this host, nor why somebody asked: whoever
// has the address should read nothing but the decision.
func aboutRequest(r *unblock.Request) (subject, text string) {
	verdict := "refused"
	if r.State == unblock.Approved {
		verdict = "approved"
	}
	facts := [][2]string{{"value", shown(r.Value, maxValue)}, {"asked", day(r.Asked)}, {verdict, day(r.Decided)}}
	if r.State == unblock.Approved {
		facts = append(facts, [2]string{"allowed until", day(r.Until)})
	}
	facts = append(facts, [2]string{"reason", shown(r.Why, maxWhy)}, [2]string{"reference", shown(r.Reference, maxValue)}, [2]string{"request", r.ID})

	var b strings.Builder
	fmt.Fprintf(&b, "The request to allow a value that the mail filter blocks was %s.\n\n", verdict)
	for _, f := range facts {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-15s%s\n", f[0]+":", f[1])
		}
	}
	b.WriteString("\n[.] stands for a dot, so that nothing here is a link.\nThe request named this address as the one to tell.\n")
	return fmt.Sprintf("Request %s: %s", verdict, shown(r.Value, maxInSubject)), b.String()
}

// day shows a time to people whose time zone nobody knows.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
