package pull

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
	"github.com/weirmail/weir/quarantine/pull"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

// proxy stands between the sidecar and Dovecot, and spoils what it is told to.
type proxy struct {
	net.Listener
	to string

	mu    sync.Mutex
	spoil func(command string) fault // by the client's lines; nil: nothing
	count map[fault]int
}

// fault is what becomes of a command.
type fault int

const (
	none    fault = iota
	drop          // the connection ends without it
	dropMid       // the server gets it, and the connection ends within its answer
	dropEnd       // the server gets it, and nobody its answer
	stall         // nobody answers any more
	refuse        // NO
)

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: ln, to: to, count: map[fault]int{}}
	var sessions sync.WaitGroup
	end := make(chan struct{})
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { p.session(c, end) })
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		close(end)
		sessions.Wait()
	})
	return p
}

func (p *proxy) session(c net.Conn, end chan struct{}) {
	defer func() { _ = c.Close() }()
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = s.Close() }()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-end:
		case <-over:
		}
		_, _ = c.Close(), s.Close()
	}()
	limit := &limited{w: c, left: -1}
	go func() {
		_, _ = io.Copy(limit, s)
		_ = c.Close()
	}()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch f := p.decide(command); f {
		case drop:
			return
		case stall:
			<-end
			return
		case refuse:
			if _, err := fmt.Fprintf(c, "%s NO not today\r\n", tag); err != nil {
				return
			}
			continue
		case dropMid:
			limit.set(100)
		case dropEnd:
			limit.set(0)
		}
		if _, err := io.WriteString(s, line); err != nil {
			return
		}
	}
}

func (p *proxy) decide(command string) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spoil == nil {
		return none
	}
	f := p.spoil(command)
	p.count[f]++
	return f
}

func (p *proxy) set(spoil func(command string) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil = spoil
	clear(p.count)
}

func (p *proxy) spoiled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for f, times := range p.count {
		if f != none {
			n += times
		}
	}
	return n
}

// limited passes so many bytes on and then an error; -1: all.
type limited struct {
	w    io.Writer
	mu   sync.Mutex
	left int
}

func (l *limited) set(left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = left
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	left := l.left
	if l.left > 0 {
		l.left = max(0, l.left-len(p))
	}
	l.mu.Unlock()
	if left >= 0 && len(p) > left {
		n, _ := l.w.Write(p[:left])
		return n, io.ErrShortWrite
	}
	return l.w.Write(p)
}

// times lets a fault happen so often to commands that begin so.
func times(n int, f fault, prefix string) func(string) fault {
	return func(command string) fault {
		if n > 0 && strings.HasPrefix(command, prefix) {
			n--
			return f
		}
		return none
	}
}

var (
	raw   = []byte("From: a@example.org\r\nMessage-ID: <the-target@example.org>\r\nSubject: x\r\n\r\n" + strings.Repeat("some text of a letter\r\n", 200))
	other = []byte("From: a@example.org\r\nMessage-ID: <another@example.org>\r\nSubject: x\r\n\r\nsome other text\r\n")
)

// mailbox is one user who has the target in two folders, and another mail.
type box struct {
	t      *testing.T
	s      *site
	login  string
	client *client
	proxy  *proxy
	daemon *pulltest.Daemon
	watch  *pulltest.Watch
}

func newBox(t *testing.T, s *site, p *proxy) *box {
	t.Helper()
	b := &box{t: t, s: s, login: s.newUser(), proxy: p, daemon: pulltest.NewDaemon()}
	b.client = &client{t: t, s: s, login: b.login}
	for folder, raw := range map[string][]byte{"INBOX": raw, "Archive": raw, "Junk": other} {
		if err := b.client.Put(folder, raw, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	b.watch = &pulltest.Watch{Daemons: []*pulltest.Daemon{b.daemon}, Complain: t.Errorf,
		Backend: s.imap(t, func(o *imap.Options) { o.Address = p.Addr().String(); o.Timeout = 500 * time.Millisecond })}
	m := message.Parse(raw, message.Options{})
	b.daemon.Add(job.Job{ID: "j", Kind: job.Pull, Mailbox: b.login, Target: job.Target{
		MessageID: "the-target@example.org", Body: m.Body, Size: int64(len(raw)), Around: time.Now()}})
	return b
}

func (b *box) run() job.Result {
	b.t.Helper()
	return b.sidecar(func() job.Result {
		r, err := b.daemon.Result(b.t.Context(), "j")
		if err != nil {
			b.t.Fatal(err)
		}
		return r
	})
}

func (b *box) sidecar(meanwhile func() job.Result) job.Result {
	b.t.Helper()
	p, err := pull.New(pull.Options{
		Daemons: []pull.Daemon{{Name: "mx1", Jobs: b.daemon}}, Stores: []pull.Store{{Name: "imap1", Backend: b.watch}},
		Wait: time.Second, Patience: 2 * time.Second, Linger: -1, Drain: time.Second,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := withCancel(b.t)
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	defer func() { stop(); <-done }()
	return meanwhile()
}

// folders gives where mail is that holds a text.
func (b *box) folders(text string) []string {
	b.t.Helper()
	all, err := b.client.All()
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, m := range all {
		if strings.Contains(string(m.Raw), text) {
			names = append(names, m.Folder)
		}
	}
	slices.Sort(names)
	return names
}

func (b *box) clean(items int) {
	b.t.Helper()
	if at := b.folders("the-target"); len(at) > 0 {
		b.t.Errorf("it is still in %q", at)
	}
	if at := b.folders("another"); !slices.Equal(at, []string{"Junk"}) {
		b.t.Errorf("the other mail is in %q", at)
	}
	if kept := b.daemon.Items("j"); len(kept) != items {
		b.t.Errorf("%d items are kept: %+v", len(kept), kept)
	}
}

func TestAPullOutlivesWhatAServerAndItsConnectionsDo(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, c := range map[string]struct {
		spoil func(string) fault
		want  string
	}{
		"a connection that ends in mid-fetch":           {times(2, dropMid, "UID FETCH 1 (UID BODY.PEEK[]"), "pulled, 2 removed"},
		"a connection that ends before the mark":        {times(1, drop, "UID STORE"), "pulled, 2 removed"},
		"a connection that ends after the mark":         {times(1, dropEnd, "UID STORE"), "pulled, 2 removed"},
		"a connection that ends before the expunge":     {times(2, drop, "UID EXPUNGE"), "pulled, 2 removed"},
		"a connection that ends after the expunge":      {times(2, dropEnd, "UID EXPUNGE"), "pulled, 2 removed"},
		"a connection that ends in a search":            {times(3, drop, "UID SEARCH"), "pulled, 2 removed"},
		"a server that falls silent":                    {times(2, stall, "UID FETCH"), "pulled, 2 removed"},
		"a server that falls silent at the login":       {times(1, stall, "LOGIN"), "pulled, 2 removed"},
		"a server that is silent for ever":              {times(1000, stall, "EXAMINE"), "unreachable"},
		"a server that does not mark":                   {times(1000, refuse, "UID STORE"), "failed, 2 left"},
		"a server that does not expunge":                {times(1000, refuse, "UID EXPUNGE"), "failed, 2 left"},
		"a server that does not open a folder":          {times(1000, refuse, `EXAMINE "Junk"`), "failed, 2 removed"},
		"a server that does not open a folder twice":    {times(1, refuse, `EXAMINE "Junk"`), "pulled, 2 removed"},
		"a server that does not search a folder, twice": {times(1, refuse, "UID SEARCH"), "pulled, 2 removed"},
		"a server that does not list":                   {times(1000, refuse, "LIST"), "failed"},
		"a server that lets nobody in":                  {times(1000, refuse, "LOGIN"), "unreachable"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			p := startProxy(t, s.IMAPAddr())
			b := newBox(t, s, p)
			p.set(c.spoil)
			r := b.run()
			if got := pulltest.Was(r); got != c.want {
				t.Errorf("%s (%s), want %s", got, r.Detail, c.want)
			}
			if p.spoiled() == 0 {
				t.Error("nothing was spoiled")
			}
			t.Logf("%s: %s", pulltest.Was(r), r.Detail)
			if r.Outcome == job.Pulled {
				b.clean(2)
				return
			}
			if at := b.folders("the-target"); r.Outcome == job.Unreachable && !slices.Equal(at, []string{"Archive", "INBOX"}) {
				t.Errorf("it is in %q", at)
			}
			if marked := b.marked(); len(marked) > 0 && r.Outcome == job.Failed {
				t.Errorf("marked as deleted are left %q", marked)
			}
			// The server is repaired, and the job done again.
			p.set(nil)
			b.daemon.Again("j", nil)
			if r := b.run(); r.Outcome != job.Pulled {
				t.Errorf("after the repair: %s, %s", pulltest.Was(r), r.Detail)
			}
			b.clean(2)
		})
	}
	s.noComplaints(t)
}

// Several jobs are done together: what happens to one command happens to all of
// them, and what is done of it is not lost.
func TestABatchOutlivesWhatAServerAndItsConnectionsDo(t *testing.T) {
	const more = 5
	s := start(t)
	for name, c := range map[string]struct {
		spoil func(string) fault
		want  job.Outcome
	}{
		"nothing":                                    {nil, job.Pulled},
		"a connection that ends in mid-fetch":        {times(1, dropMid, "UID FETCH 3 (UID BODY.PEEK[]"), job.Pulled},
		"a connection that ends before the mark":     {times(1, drop, "UID STORE"), job.Pulled},
		"a connection that ends before the expunge":  {times(1, drop, "UID EXPUNGE"), job.Pulled},
		"a connection that ends after the expunge":   {times(2, dropEnd, "UID EXPUNGE"), job.Pulled},
		"a connection that ends in the second look":  {after(2, times(2, drop, "UID SEARCH"), "UID SEARCH"), job.Pulled},
		"a server that refuses once to mark":         {times(1, refuse, "UID STORE"), job.Pulled},
		"a server that refuses once to expunge":      {times(1, refuse, "UID EXPUNGE"), job.Pulled},
		"a server that does not mark":                {times(1000, refuse, "UID STORE"), job.Failed},
		"a server that does not expunge":             {times(1000, refuse, "UID EXPUNGE"), job.Failed},
		"a message over which the server breaks off": {times(1000, drop, "UID FETCH 4 (UID BODY.PEEK[]"), ""},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			p := startProxy(t, s.IMAPAddr())
			b := newBox(t, s, p)
			b.daemon.Together = true
			want := map[string]job.Outcome{"j": c.want}
			if c.want == "" {
				want["j"] = job.Pulled
			}
			for n := range more {
				text := fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <the-target-%d@example.org>\r\nSubject: x\r\n\r\nnumber %d%s\r\n", n, n, strings.Repeat(" or so", 50))
				if err := b.client.Put("INBOX", text, time.Now()); err != nil {
					t.Fatal(err)
				}
				id := fmt.Sprintf("more-%d", n)
				m := message.Parse(text, message.Options{})
				b.daemon.Add(job.Job{ID: id, Kind: job.Pull, Mailbox: b.login, Target: job.Target{
					MessageID: m.MessageID(), Body: m.Body, Size: int64(len(text)), Around: time.Now()}})
				want[id] = c.want
				if c.want == "" {
					want[id] = job.Pulled
					if n == 2 { // the fourth in INBOX
						want[id] = job.Unreachable
					}
				}
			}
			p.set(c.spoil)
			b.sidecar(func() (r job.Result) {
				for id, want := range want {
					r, err := b.daemon.Result(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					if r.Outcome != want {
						t.Errorf("%s: %s (%s), want %s", id, pulltest.Was(r), r.Detail, want)
					}
				}
				return r
			})
			if p.spoiled() == 0 && c.spoil != nil {
				t.Error("nothing was spoiled")
			}
			if marked := b.marked(); len(marked) > 0 {
				t.Errorf("marked as deleted are left %q", marked)
			}
			p.set(nil)
			b.daemon.Together = false
			for id, was := range want {
				if was == job.Pulled {
					continue
				}
				b.daemon.Again(id, nil)
				b.sidecar(func() job.Result {
					r, err := b.daemon.Result(t.Context(), id)
					if err != nil || r.Outcome != job.Pulled {
						t.Errorf("after the repair, %s: %s (%s), %v", id, pulltest.Was(r), r.Detail, err)
					}
					return r
				})
			}
			b.clean(2)
			for n := range more {
				if kept := b.daemon.Items(fmt.Sprintf("more-%d", n)); len(kept) != 1 {
					t.Errorf("%d items are kept of one mail: %+v", len(kept), kept)
				}
			}
		})
	}
	s.noComplaints(t)
}

// after lets a fault happen to commands after the first n that begin so.
func after(n int, then func(string) fault, prefix string) func(string) fault {
	return func(command string) fault {
		if n > 0 && strings.HasPrefix(command, prefix) {
			n--
			return none
		}
		return then(command)
	}
}

// marked gives the mail that is marked as deleted.
func (b *box) marked() []string {
	all, err := b.client.All()
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for _, m := range all {
		if strings.Contains(m.Marks, `\Deleted`) {
			lines = append(lines, m.String())
		}
	}
	return lines
}

func TestAServerThatIsDownIsToldAndLeftAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := startProxy(t, s.IMAPAddr())
	b := newBox(t, s, p)
	logins := 0
	p.set(func(command string) fault {
		if strings.HasPrefix(command, "LOGIN") {
			logins++
		}
		return none
	})
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	const more = 50
	r := b.sidecar(func() job.Result {
		for i := range more {
			j := job.Job{ID: fmt.Sprintf("more-%d", i), Kind: job.Pull, Mailbox: user(300 + i), Target: job.Target{MessageID: "the-target@example.org"}}
			b.daemon.Add(j)
		}
		for i := range more {
			if r, err := b.daemon.Result(t.Context(), fmt.Sprintf("more-%d", i)); err != nil || r.Outcome != job.Unreachable {
				t.Errorf("job %d: %v, %v", i, r, err)
			}
		}
		r, err := b.daemon.Result(t.Context(), "j")
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
	if r.Outcome != job.Unreachable || r.Detail == "" {
		t.Errorf("%s, %q", r.Outcome, r.Detail)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	b.daemon.Again("j", nil)
	if r := b.run(); r.Outcome != job.Pulled {
		t.Errorf("after its start: %s, %s", pulltest.Was(r), r.Detail)
	}
	b.clean(2)
	if logins == 0 || logins > 10 {
		t.Errorf("%d logins", logins)
	}
}

// Dovecot has lost what it knew of the folders, and gives all mail new names while
// a copy is between quarantine and removal.
func TestALostUIDVALIDITYIsNoOtherMail(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := newBox(t, s, startProxy(t, s.IMAPAddr()))
	lost := 0
	b.watch.Fault = func(operation string, done bool) error {
		if operation != "remove" || done || lost > 0 {
			return nil
		}
		lost++
		home := filepath.Join(filepath.Dir(s.ConfigPath()), "mail", b.login, "Maildir")
		for _, pattern := range []string{"dovecot*", ".*/dovecot*"} {
			files, err := filepath.Glob(filepath.Join(home, pattern))
			if err != nil {
				return err
			}
			for _, f := range files {
				if !strings.HasSuffix(f, "keywords") {
					_ = os.Remove(f)
				}
			}
		}
		// A UIDVALIDITY is made of the time.
		time.Sleep(1100 * time.Millisecond)
		return nil
	}
	r := b.run()
	if r.Outcome != job.Pulled || lost == 0 {
		t.Errorf("%s, %s; names were lost %d times", pulltest.Was(r), r.Detail, lost)
	}
	b.clean(2)
}
