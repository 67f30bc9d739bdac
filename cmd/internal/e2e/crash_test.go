package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// crowd is clients that send without end and note what they were told.
type crowd struct {
	mu       sync.Mutex
	n        int
	accepted map[string]bool // subjects of messages that a client saw accepted
	refused  int
}

func (c *crowd) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	kind := "clean"
	if c.n%3 == 0 {
		kind = "evil"
	}
	return fmt.Sprintf("%s-%d", kind, c.n)
}

func (c *crowd) note(subject string, accepted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if accepted {
		c.accepted[subject] = true
	} else {
		c.refused++
	}
}

// client sends on one connection after the other until done is closed.
func (c *crowd) client(s *site, done <-chan struct{}) {
	for {
		conn, err := smtptest.Dial(s.t.Context(), s.postfix.Addr(""), smtptest.Options{XClient: stranger, Helo: "mail.sender.test", Timeout: wait})
		if err != nil {
			s.t.Error(err)
			return
		}
		for range 20 {
			select {
			case <-done:
				_ = conn.Close()
				return
			default:
			}
			subject := c.next()
			text := "nothing"
			if strings.HasPrefix(subject, "evil") {
				text = "http://evil.test/"
			}
			r, err := conn.Send(letter(subject, text))
			c.note(subject, err == nil && r.Accepted())
			if err != nil {
				break
			}
		}
		_ = conn.Close()
	}
}

// TestKilledUnderLoadAtRandomMomentsNothingAcceptedIsLost kills the daemon
// twenty times and starts it again, while clients send. Whatever a client saw
// accepted is in the mailbox or held in the end.
func TestKilledUnderLoadAtRandomMomentsNothingAcceptedIsLost(t *testing.T) {
	s := newSite(t, options{lists: map[string]string{"block/local.txt": "evil.test\n"}})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &crowd{accepted: map[string]bool{}}
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { c.client(s, done) })
	}
	for range 20 {
		time.Sleep(time.Duration(20+rng.IntN(400)) * time.Millisecond) // the moment is what is random
		s.must(s.weir.Kill())
		s.must(s.weir.Start())
	}
	s.ready()
	close(done)
	clients.Wait()
	s.weirCmd("audit", "verify")

	clean, evil := 0, 0
	for subject := range c.accepted {
		if strings.HasPrefix(subject, "clean") {
			clean++
		} else {
			evil++
		}
	}
	t.Logf("%d clean and %d bad messages accepted, %d refused", clean, evil, c.refused)
	if clean == 0 || evil == 0 || c.refused == 0 {
		t.Fatal("the load was none")
	}
	s.idle()
	found := map[string]bool{}
	s.eventually("the mailbox is filled", func() (bool, error) {
		mails, err := s.boxes.Mailbox("alice@lab.test", "INBOX")
		for _, m := range mails {
			found[header(m.Raw, "Subject")] = true
		}
		return len(found) >= clean, err
	})
	held := map[string]int{}
	for _, i := range s.items("--limit", "10000") {
		held[i.Subject]++
	}
	for subject := range c.accepted {
		if !found[subject] && held[subject] == 0 {
			t.Errorf("lost: %s", subject)
		}
		if strings.HasPrefix(subject, "evil") && found[subject] {
			t.Errorf("let through: %s", subject)
		}
	}
	for subject, n := range held {
		if n > 1 {
			t.Errorf("held %d times: %s", n, subject)
		}
	}
}

// TestARestartInGoodOrderLosesNoMessageAndCutsNoSession stops and starts the
// daemon under load: the MTA may be told to come again, and nothing else.
func TestARestartInGoodOrderLosesNoMessageAndCutsNoSession(t *testing.T) {
	s := newSite(t, options{lists: map[string]string{"block/local.txt": "evil.test\n"}})
	c := &crowd{accepted: map[string]bool{}}
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { c.client(s, done) })
	}
	for range 3 {
		time.Sleep(200 * time.Millisecond) // some load in between
		s.must(s.weir.Stop())
		if err := s.weir.Err(); err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
		s.must(s.weir.Start())
		s.ready()
	}
	close(done)
	clients.Wait()
	if len(c.accepted) == 0 {
		t.Fatal("the load was none")
	}
}
