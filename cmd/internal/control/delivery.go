package control

import (
	"context"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery"
)

// Deliveries knows where copies went; *delivery.Tracker is one.
type Deliveries interface {
	Of(ctx context.Context, e *journal.Entry) ([]delivery.Delivery, error)
}

func deliveriesOf(ctx context.Context, st *Stores, e *journal.Entry) ([]api.Delivery, error) {
	if st.Deliveries == nil {
		return nil, nil
	}
	found, err := st.Deliveries.Of(ctx, e)
	if err != nil {
		return nil, err
	}
	told := make([]api.Delivery, len(found))
	for i := range found {
		d := &found[i]
		told[i] = api.Delivery{
			Recipient: d.Recipient, Address: d.Address, Through: d.Through, Status: string(d.Status), Mailbox: d.Mailbox, Folder: d.Folder,
			Relay: d.Relay, DSN: d.DSN, Reply: d.Reply, QueueID: d.QueueID, Parent: d.Parent, Time: d.Time, Known: string(d.Known),
		}
	}
	return told, nil
}

// DeliveryStatus gives how the logs are read, as the socket tells it.
func DeliveryStatus(s delivery.State) api.DeliveryStatus {
	told := api.DeliveryStatus{Logs: []api.DeliveryLog{}, Unjoined: s.Unjoined}
	for _, l := range s.Sources {
		log := api.DeliveryLog{Name: l.Name, Lines: l.Lines, Events: l.Events, Gaps: l.Gaps, Last: l.Last}
		if l.Problem != nil {
			log.Problem = l.Problem.Error()
		}
		told.Logs = append(told.Logs, log)
	}
	for _, u := range s.Latest {
		told.Latest = append(told.Latest, api.Unjoined(u))
	}
	return told
}
