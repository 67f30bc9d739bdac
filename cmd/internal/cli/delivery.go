package cli

import (
	"cmp"
	"fmt"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

// printDeliveries tells where each copy of a message went.
func (a *app) printDeliveries(all []api.Delivery) error {
	if len(all) == 0 {
		return nil
	}
	a.title("Where it went")
	t := term.NewTable(2, "FOR", "STATUS", "WHERE", "WHEN", "KNOWN BY")
	silent := true
	for i := range all {
		d := &all[i]
		when := ""
		if d.Known != knownByEnvelope {
			silent, when = false, exactly(d.Time)
		}
		t.Row(cmp.Or(d.Recipient, "?"), d.Status, whereIs(d), when, d.Known)
	}
	if err := a.print(t, nil); err != nil {
		return err
	}
	if silent {
		a.note("no delivery log tells of this message: these are the recipients of its envelope (see delivery.logs)")
	}
	return nil
}

const knownByEnvelope = "envelope"

// whereIs says where a copy is, or why it is nowhere.
func whereIs(d *api.Delivery) string {
	where := ""
	switch {
	case d.Status == "mailbox":
		where = cmp.Or(d.Mailbox, d.Address)
		if d.Folder != "" {
			where += " in " + d.Folder
		}
	case d.Status == "relayed":
		where = d.Relay + " for " + d.Address
	case d.Status == "forwarded":
		where = d.Address
	case d.Known != knownByEnvelope:
		where = d.Address
		if d.Reply != "" {
			where += ": " + d.Reply
		}
	}
	if d.Through != "" && d.Through != d.Recipient {
		where += ", through " + d.Through
	}
	return where
}

// deliveries sums up how the delivery logs are read.
func deliveries(s *api.DeliveryStatus) string {
	if len(s.Logs) == 0 {
		return "no log is read (delivery.logs)"
	}
	lines, failing := uint64(0), 0
	for _, l := range s.Logs {
		lines += l.Lines
		if l.Problem != "" {
			failing++
		}
	}
	text := fmt.Sprintf("%s of %s", count(int(lines), "line", "lines"), count(len(s.Logs), "log", "logs"))
	if failing > 0 {
		text += fmt.Sprintf(", %d cannot be read", failing)
	}
	if s.Unjoined > 0 {
		text += ", " + count(int(s.Unjoined), "copy", "copies") + " of no entry (status --json)"
	}
	return text
}
