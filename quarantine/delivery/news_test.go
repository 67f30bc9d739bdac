package delivery

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery/follow"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

func TestWhoWaitsForAMessageHearsOfItsLines(t *testing.T) {
	w := newNews()
	heard := 0
	stop := w.await(&journal.Entry{QueueID: "4Q1", MessageID: "m?1@x.example"}, func() { heard++ })
	for _, c := range []struct {
		name   string
		events []logline.Event
		want   int
	}{
		{"another message's", []logline.Event{{QueueID: "4Q2", MessageID: "m2@x.example"}, {QueueID: "4Q2"}, {}}, 0},
		{"its queue ID's", []logline.Event{{QueueID: "4Q1"}}, 1},
		{"three at once", []logline.Event{{QueueID: "4Q1"}, {QueueID: "4Q1"}, {QueueID: "4Q1"}}, 1},
		{"those of the mailbox server", []logline.Event{{Session: "s", MessageID: "<m1@x.example>"}}, 1},
		{"what it goes on under", []logline.Event{{QueueID: "4Q3", MessageID: "m1@x.example"}}, 1},
		{"later lines of that", []logline.Event{{QueueID: "4Q3"}}, 1},
	} {
		if heard = 0; true {
			w.tell(c.events)
		}
		if heard != c.want {
			t.Errorf("%s: heard %d times, want %d", c.name, heard, c.want)
		}
	}
	stop()
	stop()
	heard = 0
	w.tell([]logline.Event{{QueueID: "4Q1", MessageID: "m1@x.example"}, {QueueID: "4Q3"}})
	if heard != 0 || w.n != 0 || len(w.queueIDs) != 0 || len(w.messages) != 0 {
		t.Errorf("heard %d times after the end, %+v is left", heard, w)
	}
}

// When they hear of it, Of knows it.
func TestTheTrackerTellsOfWhatItHasRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	write(t, path, "")
	d := newDesk(t, func(o *Options) { o.Sources = []follow.Source{logFile(t, path)} })
	e := &journal.Entry{ID: "01A", QueueID: "4jX9xc2YzNz1Vkhj", To: []string{"a@lab.test"}, Time: time.Date(2026, 11, 22, 1, 11, 0, 0, time.UTC)}
	heard := make(chan Status, 1)
	defer d.tracker.Await(e, func() {
		all, err := d.tracker.Of(context.Background(), e)
		if err != nil || len(all) != 1 {
			t.Errorf("%+v, %v", all, err)
			return
		}
		heard <- all[0].Status
	})()
	stop := d.start()
	write(t, path, fmt.Sprintf(copyLine, "a@lab.test"))
	if s := <-heard; s != Mailbox && s != Relayed {
		t.Errorf("it is %s", s)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatAStrangerRepeatsIsNotWaitedForWithoutBound(t *testing.T) {
	w := newNews()
	heard := map[int]bool{}
	var stops []func()
	for i := range 3 * maxNamesakes {
		stops = append(stops, w.await(&journal.Entry{QueueID: fmt.Sprint("4Q", i), MessageID: "same@x.example"}, func() { heard[i] = true }))
	}
	for i := range 10_000 {
		w.tell([]logline.Event{{QueueID: fmt.Sprint("5Q", i), MessageID: "same@x.example"}})
	}
	if len(heard) != maxNamesakes || len(w.queueIDs) > 3*maxNamesakes+maxAwaitedIDs {
		t.Errorf("%d hear of it, and %d queue IDs are known", len(heard), len(w.queueIDs))
	}
	w.tell([]logline.Event{{QueueID: "4Q191"}}) // it has a name of its own, too
	if !heard[191] {
		t.Error("it is not heard of")
	}
	for _, stop := range stops {
		stop()
	}
	if w.n != 0 || len(w.queueIDs) != 0 || len(w.messages) != 0 {
		t.Errorf("%d, %d, %d are left", w.n, len(w.queueIDs), len(w.messages))
	}
	w.n = maxAwaited
	w.await(&journal.Entry{QueueID: "4Q1"}, nil)()
	if w.n != maxAwaited || len(w.queueIDs) != 0 {
		t.Error("one too many is waited for")
	}
}
