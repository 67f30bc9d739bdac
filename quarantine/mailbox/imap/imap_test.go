package imap

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	raw  = "Message-ID: <the-target@example.org>\r\nSubject: x\r\n\r\nhello\r\n"
	date = " 2-Mar-2026 12:00:00 +0000"
)

func theCopy() mailbox.Copy {
	return mailbox.Copy{
		Folder: "INBOX", ID: "7/5", MessageID: "the-target@example.org", Size: int64(len(raw)),
		Date: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC),
	}
}

func open(t *testing.T, s *server) mailbox.Account {
	t.Helper()
	a, err := backend(t, s, nil).Open(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// remove removes theCopy.
func remove(t *testing.T, s *server) mailbox.Removal {
	t.Helper()
	return open(t, s).Remove(t.Context(), []mailbox.Copy{theCopy()})[0]
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Address: "localhost:143", Secret: func(context.Context, string) (string, error) { return "", nil }}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no port":                  func(o *Options) { o.Address = "localhost" },
		"no secret":                func(o *Options) { o.Secret = nil },
		"no such security":         func(o *Options) { o.Security = 9 },
		"no such method":           func(o *Options) { o.Method = -1 },
		"Plain without a master":   func(o *Options) { o.Method = Plain },
		"XOAuth2 with a master":    func(o *Options) { o.Method, o.Master = XOAuth2, "x" },
		"a master of two lines":    func(o *Options) { o.Master = "x\r\ny" },
		"a negative size":          func(o *Options) { o.MaxBytes = -1 },
		"a wait that never begins": func(o *Options) { o.Timeout = -1 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestEveryWayToLogInSaysWhoAndAsWhom(t *testing.T) {
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		change func(*Options)
		said   []string // verb and what is said
	}{
		"own password": {func(*Options) {}, []string{`LOGIN "alice" "a secret"`}},
		"master user":  {func(o *Options) { o.Master = "sidecar" }, []string{`LOGIN "alice*sidecar" "a secret"`}},
		"separator":    {func(o *Options) { o.Master, o.Separator = "sidecar", "/" }, []string{`LOGIN "alice/sidecar" "a secret"`}},
		"PLAIN": {func(o *Options) { o.Method, o.Master = Plain, "sidecar" }, []string{
			"AUTHENTICATE PLAIN " + encoded("alice\x00sidecar\x00a secret"),
		}},
		"XOAUTH2": {func(o *Options) { o.Method = XOAuth2 }, []string{
			"AUTHENTICATE XOAUTH2 " + encoded("user=alice\x01auth=Bearer a secret\x01\x01"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &server{caps: usualCaps + " SASL-IR"})
			a, err := backend(t, s, c.change).Open(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			_ = a.Close()
			for _, said := range c.said {
				if len(s.said(said)) != 1 {
					t.Errorf("said: %q", s.said(""))
				}
			}
		})
	}
}

func TestNoPasswordIsSentWhereItMustNotBe(t *testing.T) {
	serverTLS, clientTLS := certified(t)
	for name, c := range map[string]struct {
		server *server
		change func(*Options)
		want   error
	}{
		"LOGIN is disabled": {server: &server{caps: "IMAP4rev1 LOGINDISABLED"}, want: mailbox.ErrRefused},
		"PREAUTH":           {server: &server{greeting: "* PREAUTH you are root\r\n"}, want: mailbox.ErrUnreachable},
		"no greeting":       {server: &server{greeting: "* BYE too busy\r\n"}, want: mailbox.ErrUnreachable},
		"STARTTLS is refused": {
			server: &server{answer: func(c string) string {
				if c == "STARTTLS" {
					return "TAG NO not today\r\n"
				}
				return ""
			}},
			change: func(o *Options) { o.Security, o.TLS = STARTTLS, clientTLS }, want: mailbox.ErrRefused,
		},
		"unknown certificate": {server: &server{tls: serverTLS}, change: func(o *Options) { o.Security = STARTTLS }, want: mailbox.ErrUnreachable},
		"no TLS":              {server: &server{}, change: func(o *Options) { o.Security = TLS }, want: mailbox.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.server)
			_, err := backend(t, s, func(o *Options) {
				o.Timeout = time.Second
				if c.change != nil {
					c.change(o)
				}
			}).Open(t.Context(), "alice")
			if !errors.Is(err, c.want) {
				t.Errorf("error %v", err)
			}
			for _, said := range s.said("") {
				if strings.Contains(said, "secret") {
					t.Errorf("said: %q", said)
				}
			}
		})
	}
	if err := plaintextTo(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 143}); !errors.Is(err, mailbox.ErrRefused) {
		t.Errorf("plain text to a network: %v", err)
	}
}

func TestSTARTTLSSecuresTheLogin(t *testing.T) {
	serverTLS, clientTLS := certified(t)
	s := serve(t, &server{tls: serverTLS})
	a, err := backend(t, s, func(o *Options) { o.Security, o.TLS = STARTTLS, clientTLS }).Open(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if said := s.said(""); said[0] != "STARTTLS" {
		t.Errorf("said: %q", said)
	}
}

func TestARefusedLoginIsAMissingMailboxOnlyIfTheProbeGetsIn(t *testing.T) {
	for name, c := range map[string]struct {
		probe string
		want  error
	}{
		"no probe": {"", mailbox.ErrRefused}, "the probe gets in": {"known", mailbox.ErrNoMailbox}, "neither does": {"unknown", mailbox.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &server{answer: func(c string) string {
				if strings.HasPrefix(c, "LOGIN") && !strings.Contains(c, `"known"`) {
					return "TAG NO [AUTHENTICATIONFAILED] no\r\n"
				}
				return ""
			}})
			_, err := backend(t, s, func(o *Options) { o.Probe = c.probe }).Open(t.Context(), "alice")
			if !errors.Is(err, c.want) || c.want == mailbox.ErrRefused && errors.Is(err, mailbox.ErrNoMailbox) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAServerThatIsBusyIsUnreachable(t *testing.T) {
	s := serve(t, &server{answer: func(c string) string {
		if strings.HasPrefix(c, "LOGIN") {
			return "TAG NO [UNAVAILABLE] later\r\n"
		}
		return ""
	}})
	_, err := backend(t, s, func(o *Options) { o.Probe = "known" }).Open(t.Context(), "alice")
	if !errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, mailbox.ErrNoMailbox) {
		t.Errorf("error %v", err)
	}
}

// A server may be silent, talk without end, or lie, at any command.
func TestAHostileServerCostsLittleAndGetsNothing(t *testing.T) {
	endless := func(unit string) string { return strings.Repeat(unit, (4<<20)/len(unit)) }
	for name, said := range map[string]string{
		"silence":                      "* OK still there\r\n",
		"an endless line":              "* OK " + endless("x"),
		"an endless string":            `* LIST () "/" "` + endless("x"),
		"a literal without end":        "* LIST () \"/\" {99999999999}\r\n" + endless("x"),
		"folders without end":          endless("* LIST () \"/\" folder\r\n"),
		"deep nesting":                 "* 1 FETCH (BODYSTRUCTURE " + endless("(") + "\r\n",
		"deep nesting of another":      "* 1 FETCH (BODY " + endless(`("a" "b" ("c" "d") NIL NIL "7bit" 1 `) + "\r\n",
		"numbers without end":          "* SEARCH" + endless(" 4294967295 1") + "\r\n",
		"every number":                 "* ESEARCH (TAG \"TAG\") UID ALL 1:4294967295\r\nTAG OK done\r\n",
		"flags without end":            "* FLAGS (" + endless(`\Seen `),
		"capabilities without end":     "* CAPABILITY" + endless(" X"),
		"an unknown tag":               "T999 OK done\r\n",
		"an unasked continuation":      "+ go on\r\n",
		"no IMAP at all":               "HTTP/1.1 400 Bad Request\r\n\r\n",
		"NUL":                          "* OK \x00\r\nTAG OK \x00\r\n",
		"goodbye":                      "* BYE\r\n",
		"a number that is none":        "* 99999999999999999999 EXISTS\r\nTAG OK done\r\n",
		"UIDVALIDITY that is none":     "* OK [UIDVALIDITY -1] x\r\nTAG OK done\r\n",
		"another message's body":       "* 1 FETCH (UID 6 BODY[]<0> {5}\r\nhello)\r\nTAG OK done\r\n",
		"more than asked for":          "* 1 FETCH (UID 5 BODY[]<0> {600000}\r\n" + strings.Repeat("x", 600000) + ")\r\nTAG OK done\r\n",
		"a message twice":              strings.Repeat("* 1 FETCH (UID 5 BODY[]<0> {3}\r\nabc)\r\n", 2) + "TAG OK done\r\n",
		"a folder name that is none":   "* LIST () \"/\" \"&&&\"\r\nTAG OK done\r\n",
		"a header that never ends":     "* 1 FETCH (UID 5 FLAGS () INTERNALDATE \"" + date + "\" RFC822.SIZE 5 BODY[HEADER.FIELDS (X)] {3000000}\r\n" + endless("x"),
		"a date that is none":          "* 1 FETCH (UID 5 FLAGS () INTERNALDATE \"yesterday\" RFC822.SIZE 5)\r\nTAG OK done\r\n",
		"a size that is none":          "* 1 FETCH (UID 5 RFC822.SIZE -5)\r\nTAG OK done\r\n",
		"yes to all, and nothing more": "TAG OK done\r\n",
	} {
		for _, verb := range []string{"LOGIN", "NAMESPACE", "LIST", "EXAMINE", "UID SEARCH", "UID FETCH", "SELECT", "UID STORE", "APPEND"} {
			t.Run(name+" at "+verb, func(t *testing.T) {
				t.Parallel()
				s := serve(t, &server{answer: func(c string) string {
					switch {
					case strings.HasPrefix(c, verb):
						return said
					case strings.HasPrefix(c, "UID SEARCH"):
						return "* ESEARCH (TAG \"TAG\") UID ALL 5\r\nTAG OK done\r\n"
					case strings.HasPrefix(c, "UID FETCH"):
						return fetched(c, 5, date, raw)
					}
					return ""
				}})
				b := backend(t, s, func(o *Options) { o.Timeout = 40 * time.Millisecond })
				for i := range 6 {
					a, err := b.Open(t.Context(), "alice")
					if err != nil {
						return
					}
					use(t, a, i)
					_ = a.Close()
				}
			})
		}
	}
}

// use does one of the things that can be done, and checks what has to hold
// whatever the server says.
func use(t *testing.T, a mailbox.Account, which int) {
	c := theCopy()
	switch which {
	case 0:
		for c, err := range a.Find(t.Context(), []mailbox.Target{{MessageID: c.MessageID}, {WeirID: "01JNB3V2Q8Z5"}}) {
			if err == nil && (c.Target != 0 || c.Copy.MessageID != theCopy().MessageID) {
				t.Errorf("found: %+v", c)
			}
		}
	case 1:
		n := 0
		for c, err := range a.Find(t.Context(), []mailbox.Target{{Body: [32]byte{1}}, {Body: [32]byte{2}}}) {
			if err == nil {
				t.Errorf("found: %+v", c)
			}
			if n++; n > 10 {
				t.Error("errors without end")
				return
			}
		}
	case 2:
		var b bytes.Buffer
		if err := a.Fetch(t.Context(), c, &b); err == nil && int64(b.Len()) != c.Size {
			t.Errorf("%d bytes fetched without an error", b.Len())
		}
	case 3:
		other := c
		other.ID = "7/6"
		for _, r := range a.Remove(t.Context(), []mailbox.Copy{c, other}) {
			if r.Taken && r.Err != nil {
				t.Errorf("removal %+v", r)
			}
		}
	case 4:
		_, _ = a.Gone(t.Context(), c)
	case 5:
		if got, err := a.Restore(t.Context(), mailbox.Return{Raw: []byte(raw), Was: c}); err == nil && got.Copy.Size != c.Size {
			t.Errorf("restored: %+v", got)
		}
	}
}

// A server is started anew between two commands.
func TestNobodyWaitsOnAConnectionThatIsGone(t *testing.T) {
	for i := range 6 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			b := backend(t, serve(t, &server{}), nil)
			opened, err := b.Open(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			a := opened.(*Account)
			_ = a.conn.Conn.Close()
			<-a.client.Closed()
			done := make(chan struct{})
			go func() {
				defer close(done)
				use(t, a, i)
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it still waits")
			}
			if a.broken == nil {
				t.Error("the connection is taken for one that holds")
			}
			_ = a.Close()
		})
	}
}

func TestAServerThatDribblesIsGivenUp(t *testing.T) {
	client, remote := net.Pipe()
	g := &guard{Conn: client}
	go func() {
		for {
			if _, err := io.WriteString(remote, "x"); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	g.arm(50*time.Millisecond, 1, 0)
	var err error
	for err == nil {
		_ = g.SetReadDeadline(time.Now().Add(time.Hour)) // as the library does
		_, err = g.Read(make([]byte, 10))
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("error %v", err)
	}
	_ = remote.Close()
}

func TestWithoutUIDPLUSNothingIsRemoved(t *testing.T) {
	s := serve(t, &server{caps: "IMAP4rev1"})
	removal := remove(t, s)
	if removal.Taken || !errors.Is(removal.Err, mailbox.ErrRefused) || !strings.Contains(removal.Err.Error(), "UIDPLUS") {
		t.Errorf("%+v", removal)
	}
	for _, verb := range []string{"UID STORE", "STORE", "EXPUNGE", "UID EXPUNGE", "CLOSE"} {
		if said := s.said(verb); len(said) > 0 {
			t.Errorf("said: %q", said)
		}
	}
}

func TestOnlyTheVeryMessageIsRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		validity int
		raw      string
		date     string
		want     error
	}{
		"another UIDVALIDITY": {8, raw, date, mailbox.ErrStale},
		"another Message-ID":  {7, strings.Replace(raw, "the-target", "the-tarGet", 1), date, mailbox.ErrStale},
		"another size":        {7, raw + "x", date, mailbox.ErrStale},
		"another date":        {7, raw, " 2-Mar-2026 12:00:01 +0000", mailbox.ErrStale},
		"another X-Weir-ID":   {7, "X-Weir-ID: y\r\n" + raw[:len(raw)-14], date, mailbox.ErrStale},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &server{answer: func(command string) string {
				switch {
				case strings.HasPrefix(command, "SELECT"):
					return fmt.Sprintf("* 1 EXISTS\r\n* OK [UIDVALIDITY %d] valid\r\nTAG OK done\r\n", c.validity)
				case strings.HasPrefix(command, "UID FETCH"):
					return fetched(command, 5, c.date, c.raw)
				}
				return ""
			}})
			if removal := remove(t, s); removal.Taken || !errors.Is(removal.Err, c.want) {
				t.Errorf("%+v", removal)
			}
			if said := append(s.said("UID STORE"), s.said("UID EXPUNGE")...); len(said) > 0 {
				t.Errorf("said: %q", said)
			}
		})
	}
}

func TestARemovalThatDidNothingIsToldAndLeavesNoMark(t *testing.T) {
	for name, expunge := range map[string]string{"said to be done": "TAG OK done\r\n", "refused": "TAG NO [NOPERM] no\r\n", "unknown": "TAG BAD what\r\n"} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &server{answer: func(command string) string {
				switch {
				case strings.HasPrefix(command, "UID EXPUNGE"):
					return expunge
				case strings.HasPrefix(command, "UID FETCH"):
					return fetched(command, 5, date, raw)
				}
				return ""
			}})
			if removal := remove(t, s); removal.Taken || !errors.Is(removal.Err, mailbox.ErrRefused) {
				t.Errorf("%+v", removal)
			}
			stores := s.said("UID STORE")
			if len(stores) != 2 || !strings.HasPrefix(stores[1], "UID STORE 5 -FLAGS") {
				t.Errorf("said: %q", stores)
			}
		})
	}
}

func TestWhatAServerAltersIsTakenAwayAgain(t *testing.T) {
	appended := false
	s := serve(t, &server{answer: func(command string) string {
		switch {
		case strings.HasPrefix(command, "APPEND"):
			appended = true
			return "TAG OK [APPENDUID 7 9] done\r\n"
		case strings.HasPrefix(command, "UID EXPUNGE"):
			appended = false
		case strings.HasPrefix(command, "UID FETCH") && appended:
			return fetched(command, 9, date, strings.Replace(raw, "hello", "HELLO", 1))
		}
		return ""
	}})
	_, err := open(t, s).Restore(t.Context(), mailbox.Return{Raw: []byte(raw), Was: theCopy()})
	if !errors.Is(err, mailbox.ErrAltered) {
		t.Errorf("error %v", err)
	}
	if said := s.said("UID EXPUNGE"); len(said) != 1 || said[0] != "UID EXPUNGE 9" {
		t.Errorf("said: %q", said)
	}
}

func TestFoldersOfOthersAndVirtualOnesAreNotSearched(t *testing.T) {
	s := serve(t, &server{caps: usualCaps + " SPECIAL-USE LIST-EXTENDED", answer: func(command string) string {
		switch {
		case strings.HasPrefix(command, "NAMESPACE"):
			return `* NAMESPACE (("" "/")("Mine/" "/")) (("user/" "/")) (("shared/" "/"))` + "\r\nTAG OK done\r\n"
		case strings.HasPrefix(command, "LIST"):
			var b strings.Builder
			for _, l := range []string{
				`() "/" INBOX`, `(\All) "/" "All Mail"`, `(\Flagged) "/" Starred`, `(\NoSelect) "/" Parent`, `(\NonExistent) "/" Ghost`,
				`(\Sent) "/" Gesendet`, `() "/" user/bob`, `() "/" user`, `() "/" shared/board`, `() "/" Virtual/all`, `() "/" Virtuality`,
				`() "/" Mine/own`, `() "/" sharedness`, `(\Important) "/" Important`,
			} {
				b.WriteString("* LIST " + l + "\r\n")
			}
			return b.String() + "TAG OK done\r\n"
		}
		return ""
	}})
	b := backend(t, s, func(o *Options) { o.Skip = []string{"Virtual"} })
	opened, err := b.open(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Close() }()
	folders, err := opened.folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range folders {
		got += fmt.Sprintf("%s %s,", f.name, f.role)
	}
	if want := "INBOX ,Gesendet sent,Mine/own ,Virtuality ,sharedness ,"; got != want {
		t.Errorf("folders %s, want %s", got, want)
	}
}

// FuzzServer lets a server say anything to every command.
func FuzzServer(f *testing.F) {
	f.Add([]byte("* 1 FETCH (UID 5 BODY[]<0> {5}\r\nhello)\r\nTAG OK done\r\n"))
	f.Add([]byte("* OK [UIDVALIDITY 7] x\r\n* ESEARCH (TAG \"TAG\") UID ALL 5,9:10\r\nTAG OK [APPENDUID 7 9] done\r\n"))
	f.Add([]byte("* LIST (\\All) \"/\" \"&AOQ-\"\r\n* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nTAG NO [NONEXISTENT] x\r\n"))
	f.Add([]byte("* 1 FETCH (BODYSTRUCTURE (((\"a\" \"b\" NIL NIL NIL NIL 1) \"mixed\")\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		for which := range 6 {
			client, remote := net.Pipe()
			s := &server{greeting: "* OK [CAPABILITY " + usualCaps + "] ready\r\n", caps: usualCaps}
			in := false
			s.answer = func(c string) string {
				if in {
					return string(said)
				}
				in = strings.HasPrefix(c, "LOGIN")
				return ""
			}
			ended := make(chan struct{})
			go func() { defer close(ended); s.session(remote) }()
			b := backend(t, &server{addr: "127.0.0.1:143"}, func(o *Options) { o.Timeout = 20 * time.Millisecond })
			a := b.account("", &guard{Conn: client})
			if a.begin(t.Context()) == nil && a.login(t.Context(), "alice", "x") == nil {
				use(t, a, which)
			}
			if a.client != nil {
				_ = a.Close()
			}
			_ = client.Close()
			<-ended
		}
	})
}
