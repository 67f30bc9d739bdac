package doveadm

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
)

const theKey = "an-api-key"

// api is the API of a doveadm that says what a test wants.
type api struct {
	*httptest.Server
	mu    sync.Mutex
	asked []asked
}

// asked is a command that came.
type asked struct {
	command    string
	parameters map[string]any
	header     http.Header
}

// serve starts an API. Answer gives status and body by command.
func serve(t *testing.T, start func(*httptest.Server), answer func(command string) (int, string)) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var commands [1][3]json.RawMessage
		var c asked
		if err := errors.Join(json.Unmarshal(body, &commands), json.Unmarshal(commands[0][0], &c.command), json.Unmarshal(commands[0][1], &c.parameters)); err != nil {
			t.Errorf("asked %s: %v", body, err)
		}
		c.header = r.Header
		a.mu.Lock()
		a.asked = append(a.asked, c)
		a.mu.Unlock()
		status, said := answer(c.command)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, said)
	}))
	start(a.Server)
	t.Cleanup(a.Close)
	return a
}

func (a *api) said(command string) []asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.asked), func(c asked) bool { return c.command != command })
}

func rows(text string) string { return `[["doveadmResponse",[` + text + `],"weir"]]` }

const (
	inbox = `{"mailbox":"INBOX","guid":"g1"}`
	one   = `{"mailbox-guid":"g1","uid":"7"}`
)

// usual answers as a mailbox does that has what is looked for.
func usual(command string) (int, string) {
	if command == "search" {
		return 200, rows(one)
	}
	return 200, rows(inbox)
}

// options reaches an API, and an IMAP server that is not there.
func options(t *testing.T, address string) Options {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	return Options{
		Address: address, Security: imap.Plaintext, Timeout: 10 * time.Second,
		Key: func(context.Context) (string, error) { return theKey, nil },
		IMAP: imap.Options{
			Address: ln.Addr().String(), Security: imap.Plaintext, Master: "sidecar",
			Secret: func(context.Context, string) (string, error) { return "a secret", nil },
		},
	}
}

func backend(t *testing.T, address string, change func(*Options)) *Backend {
	t.Helper()
	o := options(t, address)
	if change != nil {
		change(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// find gives what a search ends with.
func find(t *testing.T, b *Backend, target mailbox.Target) (int, error) {
	t.Helper()
	a, err := b.Open(t.Context(), "alice")
	if err != nil {
		return 0, err
	}
	defer func() { _ = a.Close() }()
	n := 0
	for _, findErr := range a.Find(t.Context(), []mailbox.Target{target}) {
		if findErr != nil {
			err = errors.Join(err, findErr)
			continue
		}
		n++
	}
	return n, err
}

var target = mailbox.Target{MessageID: "the-target@example.org", WeirID: "01JNB3V2Q8Z5R4T6Y7W8X9A0BC"}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := New(options(t, "localhost:8080")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no port":                  func(o *Options) { o.Address = "localhost" },
		"no key":                   func(o *Options) { o.Key = nil },
		"STARTTLS":                 func(o *Options) { o.Security = imap.STARTTLS },
		"a wait that never begins": func(o *Options) { o.Timeout = -1 },
		"no IMAP":                  func(o *Options) { o.IMAP = imap.Options{} },
	} {
		o := options(t, "localhost:8080")
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestNamesOfManyUsersAreRefusedBeforeAnythingIsAsked(t *testing.T) {
	s := serve(t, (*httptest.Server).Start, usual)
	b := backend(t, s.Listener.Addr().String(), func(o *Options) { o.IMAP.Separator = "%" })
	for _, user := range []string{"*", "?", "alice*", "*@example.org", "al?ce", "", "a\x00", "a\nb", "a%sidecar", "\xff", strings.Repeat("x", 2000)} {
		if _, err := b.Open(t.Context(), user); !errors.Is(err, mailbox.ErrNoMailbox) {
			t.Errorf("%.20q: %v", user, err)
		}
	}
	if len(s.asked) > 0 {
		t.Errorf("asked: %+v", s.asked)
	}
}

func TestARequestNamesTheUserAndOneNeedle(t *testing.T) {
	s := serve(t, (*httptest.Server).Start, func(command string) (int, string) {
		if command == "search" {
			return 200, rows("")
		}
		return usual(command)
	})
	b := backend(t, s.Listener.Addr().String(), func(o *Options) { o.IMAP.Skip = []string{"Virtual", "odd*", "inbox", ""} })
	hostile := mailbox.Target{MessageID: `x" OR ALL "&<\u002a>日本語-not-mailbox-INBOX,"]}`, WeirID: target.WeirID}
	if n, err := find(t, b, hostile); n != 0 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	var queries []string
	for _, c := range s.said("search") {
		queries = append(queries, fmt.Sprintf("%v %q", c.parameters["user"], c.parameters["query"]))
		if len(c.parameters) != 2 || c.header.Get("Authorization") != "X-Dovecot-API YW4tYXBpLWtleQ==" {
			t.Errorf("asked: %+v", c)
		}
	}
	skip := `["not" "mailbox" "Virtual" "not" "mailbox" "Virtual/*"`
	want := []string{
		`alice ` + skip + ` "(" "header" "Message-ID" "-not-mailbox-INBOX," ")"]`,
		`alice ` + skip + ` "(" "header" "X-Weir-ID" "01JNB3V2Q8Z5R4T6Y7W8X9A0BC" ")"]`,
	}
	if !slices.Equal(queries, want) {
		t.Errorf("asked %q, want %q", queries, want)
	}
}

func TestSeveralTargetsAreOneSearchForEachField(t *testing.T) {
	s := serve(t, (*httptest.Server).Start, func(command string) (int, string) {
		if command == "search" {
			return 200, rows("")
		}
		return usual(command)
	})
	a, err := backend(t, s.Listener.Addr().String(), nil).Open(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	targets := []mailbox.Target{{MessageID: "second@example.org"}, target, {MessageID: "first@example.org"}, target}
	for f, err := range a.Find(t.Context(), targets) {
		t.Errorf("found %+v, %v", f, err)
	}
	var queries []string
	for _, c := range s.said("search") {
		queries = append(queries, fmt.Sprint(c.parameters["query"]))
	}
	want := []string{
		"[( header Message-ID first@example.org or header Message-ID second@example.org or header Message-ID the-target@example.org )]",
		"[( header X-Weir-ID 01JNB3V2Q8Z5R4T6Y7W8X9A0BC )]",
	}
	if !slices.Equal(queries, want) {
		t.Errorf("asked %q, want %q", queries, want)
	}
}

func TestWhereNothingIsFoundNobodyLogsIn(t *testing.T) {
	s := serve(t, (*httptest.Server).Start, func(command string) (int, string) {
		if command == "search" {
			return 200, rows("")
		}
		return usual(command)
	})
	b := backend(t, s.Listener.Addr().String(), func(o *Options) {
		o.IMAP.Secret = func(context.Context, string) (string, error) {
			t.Error("the password is asked for")
			return "", nil
		}
	})
	if n, err := find(t, b, target); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if searches := s.said("search"); len(searches) != 2 {
		t.Errorf("%d searches", len(searches))
	}
}

// What the API answers means what the errors of a Backend say; where it is not to
// be relied on, IMAP is asked, which here is not there.
func TestAnAnswerIsMappedToWhatItMeans(t *testing.T) {
	failed := func(code int) string {
		return fmt.Sprintf(`[["error",{"type":"exitCode", "exitCode":%d},"weir"]]`, code)
	}
	many := rows(strings.TrimSuffix(strings.Repeat(one+",", 150_000), ","))
	for name, c := range map[string]struct {
		status int
		said   string
		want   error
		byIMAP bool
	}{
		"no such user":                 {200, failed(67), mailbox.ErrNoMailbox, false},
		"a temporary failure":          {200, failed(75), mailbox.ErrUnreachable, true},
		"no permission":                {200, failed(77), mailbox.ErrUnreachable, true},
		"a command that is not known":  {200, `[["error",{"type":"unknownMethod", "exitCode":0},"weir"]]`, mailbox.ErrRefused, false},
		"a command that is not let":    {200, `[["error",{"type":"unAuthorized", "exitCode":0},"weir"]]`, mailbox.ErrRefused, false},
		"a wrong key":                  {401, "", mailbox.ErrRefused, false},
		"another service":              {404, "Path Not Found", mailbox.ErrRefused, false},
		"a request it cannot read":     {400, "", mailbox.ErrRefused, false},
		"somewhere else":               {302, "", mailbox.ErrRefused, false},
		"a server that is unwell":      {503, "", mailbox.ErrUnreachable, false},
		"another protocol":             {200, "* OK ready\r\n", mailbox.ErrUnreachable, false},
		"nothing":                      {200, "", mailbox.ErrUnreachable, false},
		"null":                         {200, "null", mailbox.ErrUnreachable, false},
		"an empty list":                {200, "[]", mailbox.ErrUnreachable, false},
		"another's answer":             {200, `[["doveadmResponse",[],"other"]]`, mailbox.ErrUnreachable, false},
		"two answers":                  {200, `[["doveadmResponse",[],"weir"],["doveadmResponse",[],"weir"]]`, mailbox.ErrUnreachable, false},
		"an answer with more to it":    {200, `[["doveadmResponse",[],"weir",1]]`, mailbox.ErrUnreachable, false},
		"no rows":                      {200, `[["doveadmResponse",{"a":1},"weir"]]`, mailbox.ErrUnreachable, true},
		"a row with nothing in it":     {200, rows("{}"), mailbox.ErrUnreachable, true},
		"more than a mailbox can hold": {200, many, mailbox.ErrUnreachable, true},
		"deep nesting":                 {200, strings.Repeat("[", 100_000), mailbox.ErrUnreachable, false},
	} {
		for _, command := range []string{"mailboxStatus", "search"} {
			t.Run(name+" to "+command, func(t *testing.T) {
				s := serve(t, (*httptest.Server).Start, func(asked string) (int, string) {
					if asked == command {
						return c.status, c.said
					}
					return usual(asked)
				})
				b := backend(t, s.Listener.Addr().String(), nil)
				loggedIn := false
				b.imap, _ = imap.New(func() imap.Options {
					o := options(t, "x:1").IMAP
					o.Secret = func(context.Context, string) (string, error) { loggedIn = true; return "x", nil }
					return o
				}())
				n, err := find(t, b, target)
				if n != 0 || !errors.Is(err, c.want) || loggedIn != c.byIMAP {
					t.Errorf("%d found, IMAP asked: %v, error %v", n, loggedIn, err)
				}
				t.Log(err)
			})
		}
	}
}

func TestAHitThatCannotBePlacedIsLeftToIMAP(t *testing.T) {
	for name, hit := range map[string]string{
		"a folder that is not listed": `{"mailbox-guid":"g2","uid":"7"}`,
		"no folder":                   `{"uid":"7"}`,
		"UID 0":                       `{"mailbox-guid":"g1","uid":"0"}`,
		"a UID that is none":          `{"mailbox-guid":"g1","uid":"1:*"}`,
		"a UID beyond all":            `{"mailbox-guid":"g1","uid":"4294967296"}`,
		"a UID that is no string":     `{"mailbox-guid":"g1","uid":7}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, (*httptest.Server).Start, func(command string) (int, string) {
				if command == "search" {
					return 200, rows(one + "," + hit)
				}
				return usual(command)
			})
			b := backend(t, s.Listener.Addr().String(), nil)
			f := &finder{account: &account{b: b, user: "alice"}}
			if at, err := f.locate(t.Context(), "Message-ID", []string{"the-target"}); !errors.Is(err, errFailed) {
				t.Errorf("%v, %v", at, err)
			}
		})
	}
}

func TestFoldersThatAreAllAlikeDoNotMultiplyWithoutBound(t *testing.T) {
	s := serve(t, (*httptest.Server).Start, func(command string) (int, string) {
		if command == "search" {
			return 200, rows(strings.TrimSuffix(strings.Repeat(one+",", 10_000), ","))
		}
		var b strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&b, `,{"mailbox":"f%d","guid":"g1"}`, i)
		}
		return 200, rows(b.String()[1:])
	})
	f := &finder{account: &account{b: backend(t, s.Listener.Addr().String(), nil), user: "alice"}}
	if at, err := f.locate(t.Context(), "Message-ID", []string{"the-target"}); !errors.Is(err, errFailed) {
		t.Errorf("%d folders, %v", len(at), err)
	}
}

func TestHitsAreGivenByFolderAndOnce(t *testing.T) {
	s := serve(t, (*httptest.Server).Start, func(command string) (int, string) {
		if command == "search" {
			return 200, rows(`{"mailbox-guid":"g2","uid":"9"},` + one + `,{"mailbox-guid":"g2","uid":"4"},` + one)
		}
		return 200, rows(inbox + `,{"mailbox":"Entwürfe","guid":"g2"},{"mailbox":"empty","guid":"g3"},{"mailbox":"alias","guid":"g1"}`)
	})
	f := &finder{account: &account{b: backend(t, s.Listener.Addr().String(), nil), user: "alice"}}
	at, err := f.locate(t.Context(), "Message-ID", []string{"the-target"})
	if got := fmt.Sprint(at); err != nil || got != "map[Entwürfe:[4 9] INBOX:[7] alias:[7]]" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestTheKeyGoesNowhereElse(t *testing.T) {
	other := serve(t, (*httptest.Server).Start, usual)
	s := serve(t, (*httptest.Server).Start, func(string) (int, string) { return 307, "" })
	s.Config.Handler = http.RedirectHandler(other.URL, http.StatusTemporaryRedirect)
	if _, err := find(t, backend(t, s.Listener.Addr().String(), nil), target); !errors.Is(err, mailbox.ErrRefused) {
		t.Errorf("redirected: %v", err)
	}
	// 192.0.2.1 is nobody's (RFC 5737): nothing is dialled at all.
	network := backend(t, "192.0.2.1:8080", nil)
	if _, err := find(t, network, target); !errors.Is(err, mailbox.ErrRefused) {
		t.Errorf("plain text to a network: %v", err)
	}
	if network.http.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy may be asked")
	}
	if len(other.asked) > 0 {
		t.Errorf("asked elsewhere: %+v", other.asked)
	}
	b := backend(t, s.Listener.Addr().String(), func(o *Options) {
		o.Key = func(context.Context) (string, error) { return "", errors.New("the file is gone") }
	})
	if _, err := find(t, b, target); err == nil || errors.Is(err, mailbox.ErrUnreachable) {
		t.Errorf("no key: %v", err)
	}
}

func TestTLSIsChecked(t *testing.T) {
	s := serve(t, (*httptest.Server).StartTLS, usual)
	s.Config.ErrorLog = nil
	address := s.Listener.Addr().String()
	trusted := s.Client().Transport.(*http.Transport).TLSClientConfig
	for name, c := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"a certificate that is known": {trusted, ""},
		"one that is not":             {nil, "unreachable"},
		"another's":                   {&tls.Config{RootCAs: trusted.RootCAs, ServerName: "other.example"}, "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			b := backend(t, address, func(o *Options) { o.Security, o.TLS = imap.TLS, c.config })
			_, err := b.Open(t.Context(), "alice")
			if (err == nil) != (c.want == "") || err != nil && !errors.Is(err, mailbox.ErrUnreachable) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAServerThatIsSilentOrGoneIsUnreachable(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, (*httptest.Server).Start, func(string) (int, string) { <-release; return 200, "" })
	t.Cleanup(func() { close(release) })
	b := backend(t, s.Listener.Addr().String(), func(o *Options) { o.Timeout = 30 * time.Millisecond })
	if _, err := b.Open(t.Context(), "alice"); !errors.Is(err, mailbox.ErrUnreachable) {
		t.Errorf("silent: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	given := errors.New("given up")
	cancel(given)
	if _, err := b.Open(ctx, "alice"); !errors.Is(err, given) || errors.Is(err, mailbox.ErrUnreachable) {
		t.Errorf("given up: %v", err)
	}
	gone := backend(t, options(t, "x:1").IMAP.Address, nil)
	if _, err := gone.Open(t.Context(), "alice"); !errors.Is(err, mailbox.ErrUnreachable) {
		t.Errorf("gone: %v", err)
	}
}

// FuzzAnswer reads any answer.
func FuzzAnswer(f *testing.F) {
	for _, said := range []string{
		rows(one), rows(inbox), rows(""), `[["error",{"type":"exitCode", "exitCode":67},"weir"]]`, `[["error",{"type":"unAuthorized"},"weir"]]`,
		`[["doveadmResponse",[null],"weir"]]`, `[[[],{},"weir"]]`, `[["doveadmResponse",[{"mailbox-guid":"","uid":"1"}],"weir"]]`,
	} {
		f.Add([]byte(said))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		hits, err := decode[hit](said)
		told(t, len(hits), err)
		for _, h := range hits {
			if h.GUID == "" || h.UID == 0 {
				t.Errorf("hit %+v of %q", h, said)
			}
		}
		folders, err := decode[folder](said)
		told(t, len(folders), err)
		for _, f := range folders {
			if f.GUID == "" || f.Mailbox == "" {
				t.Errorf("folder %+v of %q", f, said)
			}
		}
	})
}

// told checks that an answer is either rows or an error that means something.
func told(t *testing.T, n int, err error) {
	t.Helper()
	if err != nil && n > 0 {
		t.Errorf("%d rows and %v", n, err)
	}
	if err != nil && !slices.ContainsFunc([]error{errFailed, mailbox.ErrNoMailbox, mailbox.ErrRefused, mailbox.ErrUnreachable}, func(e error) bool { return errors.Is(err, e) }) {
		t.Errorf("error %v", err)
	}
}
