package control_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
	"github.com/weirmail/weir/intel/journal"
)

const many = 5000

// benchHouse has that many messages in its journal, one copy each.
func benchHouse(b *testing.B) (*client.Client, []api.MessageName) {
	b.Helper()
	h := controltest.New(b, control.Access{})
	cl := client.New(h.Socket)
	b.Cleanup(cl.Close)
	names := make([]api.MessageName, many)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < many; i += 16 {
				id := fmt.Sprintf("m%d@bank.example", i)
				names[i] = api.MessageName{MessageID: id, Recipient: "alice@example.org"}
				e := &journal.Entry{ID: h.Identity.NewID(), Time: time.Now(), MessageID: id, From: "pay@bank.example", To: []string{"alice@example.org", "bob@example.org"}, Body: [32]byte{byte(i)}}
				if _, err := h.Journal.Append(ctx, e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := h.Journal.Wait(ctx, h.Journal.Last()); err != nil {
		b.Fatal(err)
	}
	return cl, names
}

// BenchmarkDryRunOfManyNamed is a dry run of 5000 rows.
func BenchmarkDryRunOfManyNamed(b *testing.B) {
	cl, names := benchHouse(b)
	b.ReportAllocs()
	for b.Loop() {
		got, err := cl.OpenIncident(ctx, api.IncidentOpen{Messages: names, Reason: "x", DryRun: true})
		if err != nil || len(got.Deliveries) != many {
			b.Fatalf("%v", err)
		}
	}
}
