package control_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
	"github.com/weirmail/weir/config"
)

// Users and groups of the tests, which no machine has.
const (
	uidViewer   = 61001
	uidOperator = 61002
	uidAdmin    = 61003
	uidStranger = 61004
	uidPuller   = 61005
	gidHelpdesk = 62001
	gidMailops  = 62002
	gidPullers  = 62003
)

func roles() control.Access {
	user := func(id int) config.Principal { return config.Principal{Name: fmt.Sprint(id)} }
	group := func(id int) config.Principal { return config.Principal{Group: true, Name: fmt.Sprint(id)} }
	return control.Access{
		Viewers:   []config.Principal{user(uidViewer), group(gidHelpdesk), {Group: true, Name: "no-such-group"}},
		Operators: []config.Principal{group(gidMailops), user(uidOperator)},
		Admins:    []config.Principal{user(uidAdmin), {Name: "no-such-user"}},
		Pullers:   []config.Principal{user(uidPuller), group(gidPullers), {Cert: true, Name: "imap1"}},
	}
}

// dialAs connects as another user, whose credentials a thread of this process
// takes on for the purpose.
func dialAs(t *testing.T, socket string, uid, gid int, groups ...uint32) net.Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		for _, set := range []func() syscall.Errno{
			func() syscall.Errno {
				list := append([]uint32{}, groups...)
				var at unsafe.Pointer
				if len(list) > 0 {
					at = unsafe.Pointer(&list[0])
				}
				_, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(len(list)), uintptr(at), 0)
				return errno
			},
			func() syscall.Errno {
				_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
				return errno
			},
			func() syscall.Errno {
				_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
				return errno
			},
		} {
			if errno := set(); errno != 0 {
				done <- result{nil, errno}
				return
			}
		}
		c, err := net.Dial("unix", socket)
		done <- result{c, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = r.c.Close() })
	return r.c
}

// request asks over one connection and gives status and answer.
func request(t *testing.T, c net.Conn, method, target, contentType, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://weir"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func dial(t *testing.T, h *controltest.House) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", h.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// errorIn reads an answer that has to be an error.
func errorIn(t *testing.T, text string) *api.Error {
	t.Helper()
	var e api.Error
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || e.Code == "" || e.Text == "" {
		t.Fatalf("not an error: %v: %s", err, text)
	}
	return &e
}

func TestEachOperationAsksForItsRole(t *testing.T) {
	h := controltest.New(t, roles())
	h.SetBackup(func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "tar"); return err })
	callers := []struct {
		name     string
		uid, gid int
		groups   []uint32
		role     api.Role
		puller   bool
	}{
		{"a user without a role", uidStranger, uidStranger, nil, api.Nobody, false},
		{"a user without a role in groups without one", uidStranger, uidStranger, []uint32{1, 2, 3}, api.Nobody, false},
		{"a viewer by name", uidViewer, uidViewer, nil, api.Viewer, false},
		{"a viewer by his first group", uidStranger, gidHelpdesk, nil, api.Viewer, false},
		{"an operator by a further group", uidStranger, uidStranger, []uint32{5, gidMailops, 6}, api.Operator, false},
		{"the highest role counts", uidViewer, gidHelpdesk, []uint32{gidMailops}, api.Operator, false},
		{"an operator by name", uidOperator, uidOperator, nil, api.Operator, false},
		{"an admin", uidAdmin, uidAdmin, nil, api.Admin, false},
		{"root", 0, 0, nil, api.Admin, false},
		{"a sidecar", uidPuller, uidPuller, nil, api.Nobody, true},
		{"a sidecar that is a viewer too", uidStranger, gidHelpdesk, []uint32{gidPullers}, api.Viewer, true},
	}
	for _, caller := range callers {
		t.Run(caller.name, func(t *testing.T) {
			for _, op := range api.Operations() {
				c := dialAs(t, h.Socket, caller.uid, caller.gid, caller.groups...)
				body, media := "", ""
				if op.Name == api.OpDelete {
					body, media = `{"reason":"x"}`, "application/json"
				}
				path := strings.NewReplacer("{id}", "01XXXX", "{lease}", "01XXXX").Replace(op.Path)
				status, text := request(t, c, op.Method, api.Version+path, media, body)
				_ = c.Close()
				refused := status == http.StatusForbidden
				who := api.Caller{Role: caller.role, Puller: caller.puller}
				if refused == who.May(op.Role) {
					t.Errorf("%s, which needs %s: %d %s", op.Name, op.Role, status, text)
				}
				if !refused {
					continue
				}
				e := errorIn(t, text)
				if e.Code != api.Forbidden || !strings.Contains(e.Text, "needs the role "+op.Role.String()) || !strings.Contains(e.Cure, fmt.Sprintf("user:%d", caller.uid)) || !strings.Contains(e.Cure, "control."+op.Role.String()+"s") {
					t.Errorf("%s: the refusal does not say what to do: %+v", op.Name, e)
				}
			}
		})
	}
	c := dialAs(t, h.Socket, uidOperator, uidOperator)
	_, text := request(t, c, "GET", "/v1/status", "", "")
	var s api.Status
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Caller != (api.Caller{Actor: "unix:61002", Role: api.Operator}) {
		t.Errorf("%v %+v", err, s.Caller)
	}
}

func TestRolesChangeWhileTheServerRuns(t *testing.T) {
	h := controltest.New(t, control.Access{})
	ask := func() int {
		status, _ := request(t, dialAs(t, h.Socket, uidViewer, uidViewer), "GET", "/v1/status", "", "")
		return status
	}
	if got := ask(); got != http.StatusForbidden {
		t.Fatalf("without a role: %d", got)
	}
	h.Server.SetAccess(roles())
	if got := ask(); got != http.StatusOK {
		t.Fatalf("with a role: %d", got)
	}
	h.Server.SetAccess(control.Access{})
	if got := ask(); got != http.StatusForbidden {
		t.Fatalf("without it again: %d", got)
	}
}

func TestRolesChangeForAConnectionThatIsOpen(t *testing.T) {
	h := controltest.New(t, control.Access{})
	c := dialAs(t, h.Socket, uidViewer, uidViewer)
	answers := bufio.NewReader(c)
	for _, tt := range []struct {
		access control.Access
		want   int
	}{{control.Access{}, http.StatusForbidden}, {roles(), http.StatusOK}, {roles(), http.StatusOK}, {control.Access{}, http.StatusForbidden}} {
		h.Server.SetAccess(tt.access)
		if _, err := io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: weir\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != tt.want {
			t.Errorf("answered with %d, want %d", answer.StatusCode, tt.want)
		}
	}
}

func TestNamesOfUsersAndGroupsAreLookedUp(t *testing.T) {
	// "nobody" and its group are on every Debian; their numbers are not assumed.
	h := controltest.New(t, control.Access{Viewers: []config.Principal{{Name: "nobody"}}, Admins: []config.Principal{{Group: true, Name: "daemon"}}})
	var s api.Status
	_, text := request(t, dialAs(t, h.Socket, 65534, 65534), "GET", "/v1/status", "", "")
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Caller != (api.Caller{Actor: "unix:65534", Name: "nobody", Role: api.Viewer}) {
		t.Errorf("%v %s", err, text)
	}
	_, text = request(t, dialAs(t, h.Socket, uidStranger, uidStranger, 1), "GET", "/v1/status", "", "")
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Caller.Role != api.Admin {
		t.Errorf("%v %s", err, text)
	}
}

func TestWhatARequestGetsWrongIsSaid(t *testing.T) {
	h := controltest.New(t, roles())
	const jsonType = "application/json"
	for _, c := range []struct {
		name, method, target, media, body string
		status                            int
		code                              api.Code
		says                              string
	}{
		{"an unknown path", "GET", "/v1/nothing", "", "", 404, api.UnknownRoute, "there is no /v1/nothing"},
		{"no version", "GET", "/status", "", "", 404, api.UnknownRoute, "openapi.json"},
		{"the root", "GET", "/", "", "", 404, api.UnknownRoute, ""},
		{"a path that goes up", "GET", "/v1/quarantine/../status", "", "", 404, api.UnknownRoute, ""},
		{"a slash behind", "GET", "/v1/status/", "", "", 404, api.UnknownRoute, ""},
		{"another method", "DELETE", "/v1/status", "", "", 404, api.UnknownRoute, "takes GET"},
		{"a read by POST", "POST", "/v1/quarantine", jsonType, "{}", 404, api.UnknownRoute, "takes GET"},
		{"an unknown parameter", "GET", "/v1/quarantine?sendr=x", "", "", 400, api.BadRequest, "no parameter \"sendr\"; it takes id, since"},
		{"a parameter that an operation without any is given", "GET", "/v1/status?x=1", "", "", 400, api.BadRequest, "no parameter"},
		{"a parameter twice", "GET", "/v1/quarantine?rule=a&rule=b", "", "", 400, api.BadRequest, "2 times"},
		{"a query that is none", "GET", "/v1/quarantine?a;b", "", "", 400, api.BadRequest, "cannot be read"},
		{"a time that is none", "GET", "/v1/quarantine?since=yesterday", "", "", 400, api.BadRequest, "RFC 3339"},
		{"a limit that is too high", "GET", "/v1/quarantine?limit=100000", "", "", 400, api.BadRequest, "from 1 to 1000"},
		{"a limit of nothing", "GET", "/v1/quarantine?limit=0", "", "", 400, api.BadRequest, "from 1 to 1000"},
		{"a state that is none", "GET", "/v1/quarantine?state=heldd", "", "", 400, api.BadRequest, "none of held"},
		{"a hash that is too short", "GET", "/v1/quarantine?hash=abc", "", "", 400, api.BadRequest, "8 digits"},
		{"a hash that is none", "GET", "/v1/quarantine?hash=zzzzzzzzz", "", "", 400, api.BadRequest, "SHA-256"},
		{"a page behind nothing", "GET", "/v1/quarantine?before=01", "", "", 400, api.BadRequest, "not the ID"},
		{"a NUL", "GET", "/v1/quarantine?subject=%00", "", "", 400, api.BadRequest, "NUL"},
		{"bytes that are not UTF-8", "GET", "/v1/quarantine?subject=%ff", "", "", 400, api.BadRequest, "UTF-8"},
		{"a very long parameter", "GET", "/v1/quarantine?subject=" + strings.Repeat("x", 5000), "", "", 400, api.BadRequest, "too long"},
		{"an item that is not there", "GET", "/v1/quarantine/01ZZZZ", "", "", 404, api.NotFound, "no such item"},
		{"an ID that is none", "GET", "/v1/quarantine/%ff", "", "", 400, api.BadRequest, "id cannot be"},
		{"an empty ID", "GET", "/v1/quarantine//preview", "", "", 400, api.BadRequest, "id cannot be"},
		{"a deletion without a reason", "POST", "/v1/quarantine/01/delete", jsonType, `{}`, 400, api.BadRequest, "reason is missing"},
		{"a deletion without a body", "POST", "/v1/quarantine/01/delete", "", "", 400, api.BadRequest, "reason is missing"},
		{"an unknown key", "POST", "/v1/quarantine/01/release", jsonType, `{"overide":true}`, 400, api.BadRequest, "unknown field \"overide\""},
		{"a key that stands in the path", "POST", "/v1/quarantine/01/release", jsonType, `{"ID":"02"}`, 400, api.BadRequest, "unknown field"},
		{"a value of another type", "POST", "/v1/quarantine/01/release", jsonType, `{"override":"yes"}`, 400, api.BadRequest, "not the JSON"},
		{"two bodies", "POST", "/v1/quarantine/01/release", jsonType, `{} {}`, 400, api.BadRequest, "behind it"},
		{"half a body", "POST", "/v1/quarantine/01/release", jsonType, `{"reason":`, 400, api.BadRequest, "not the JSON"},
		{"a body that is not declared", "POST", "/v1/quarantine/01/release", "text/plain", `{}`, 400, api.BadRequest, "Content-Type"},
		{"a body where none belongs", "POST", "/v1/reload", jsonType, `{}`, 400, api.BadRequest, "takes no body"},
		{"a body beyond the bound", "POST", "/v1/quarantine/01/release", jsonType, `{"reason":"` + strings.Repeat("x", api.MaxBody) + `"}`, 400, api.BadRequest, "more than 65536"},
		{"a way to read nothing", "GET", "/v1/journal?as=url", "", "", 400, api.BadRequest, "value=, which is missing"},
		{"a journal search for white space", "GET", "/v1/journal?file=%20", "", "", 400, api.BadRequest, "nothing in it"},
		{"a journal search for what nobody sees", "GET", "/v1/journal?subject=%E2%80%8B", "", "", 400, api.BadRequest, "nothing in it"},
		{"an empty phrase", "GET", "/v1/journal?subject=%22%20%22", "", "", 400, api.BadRequest, "has no word"},
		{"half a phrase", "GET", "/v1/journal?subject=a+%22b+c", "", "", 400, api.BadRequest, "quote that does not end"},
		{"very many words", "GET", "/v1/journal?subject=" + strings.Repeat("x+", 40), "", "", 400, api.BadRequest, "32 are the most"},
		{"a digest that is none", "GET", "/v1/journal?hash=44d88612", "", "", 400, api.BadRequest, "64, 40 or 32 digits"},
		{"a URL without a host", "GET", "/v1/journal?url=https://", "", "", 400, api.BadRequest, "a scheme and a host"},
		{"a URL prefix that does not reach into the path", "GET", "/v1/journal?url=https://evil.example*", "", "", 400, api.BadRequest, "before a * a path"},
		{"a host that is none", "GET", "/v1/journal?host=a+b", "", "", 400, api.BadRequest, "neither a domain nor"},
		{"a domain that is none", "GET", "/v1/journal?domain=a@b.example", "", "", 400, api.BadRequest, "is no domain"},
		{"a client that is none", "GET", "/v1/journal?client=mail.evil.example", "", "", 400, api.BadRequest, "neither an IP address"},
		{"a range with host bits", "GET", "/v1/journal?client=192.0.2.1%2F24", "", "", 400, api.BadRequest, "the range is 192.0.2.0/24"},
		{"a direction that is none", "GET", "/v1/journal?direction=up", "", "", 400, api.BadRequest, "none of inbound"},
		{"a verdict that is none", "GET", "/v1/journal?verdict=good", "", "", 400, api.BadRequest, "none of none"},
		{"a journal search for what cannot be", "GET", "/v1/journal?value=a+b+c", "", "", 400, api.BadRequest, "X-Weir-ID"},
		{"a journal search in a way that does not fit", "GET", "/v1/journal?value=evil.example&as=sha256", "", "", 400, api.BadRequest, "as sha256: "},
		{"a journal page that is none", "GET", "/v1/journal?value=evil.example&before=x", "", "", 400, api.BadRequest, "not the next"},
		{"a journal page of no search", "GET", "/v1/journal?before=12", "", "", 400, api.BadRequest, "not the next"},
		{"a journal page beyond the first", "GET", "/v1/journal?before=13-12-01ARZ3NDEKTSV4RRFFQ69G5FAV", "", "", 400, api.BadRequest, "not the next"},
		{"a journal entry that is none", "GET", "/v1/journal/xyz", "", "", 400, api.BadRequest, "26 characters"},
		{"a journal entry that is not there", "GET", "/v1/journal/01ARZ3NDEKTSV4RRFFQ69G5FAV", "", "", 404, api.NotFound, "no entry"},
		{"a cursor that is none", "GET", "/v1/audit/events?after=xyz", "", "", 400, api.BadRequest, "cursor"},
		{"a cursor of another ledger", "GET", "/v1/audit/events?after=1000-0000000000000001", "", "", 400, api.BadRequest, "cursor"},
		{"a head that is none", "POST", "/v1/audit/verify", jsonType, `{"head":"5"}`, 400, api.BadRequest, "audit head prints it"},
		{"a list test of what is no value", "GET", "/v1/lists/test?value=a+b", "", "", 400, api.BadRequest, "no option"},
		{"a list test of a family", "GET", "/v1/lists/test?value=.evil.example", "", "", 400, api.BadRequest, "more than one value"},
		{"a list test in what is no role", "GET", "/v1/lists/test?value=evil.example&in=nowhere", "", "", 400, api.BadRequest, "neither a role nor a field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text := request(t, dial(t, h), c.method, c.target, c.media, c.body)
			e := errorIn(t, text)
			if status != c.status || e.Code != c.code || !strings.Contains(e.Error(), c.says) {
				t.Errorf("%d %+v", status, e)
			}
		})
	}
}

func TestWhileTheStoresAreClosedStatusAnswersAndTheRestSaysSo(t *testing.T) {
	h := controltest.New(t, roles())
	h.CloseStores()
	c := client.New(h.Socket)
	defer c.Close()
	if s, err := c.Status(t.Context()); err != nil || s.State != "ready" || s.LedgerHead != "" {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := c.Config(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := c.Items(t.Context(), api.ItemQuery{})
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.Unavailable || e.Cure == "" {
		t.Errorf("got %v", err)
	}
}

func TestABackupThatBreaksOffIsNotTakenForOne(t *testing.T) {
	h := controltest.New(t, roles())
	c := client.New(h.Socket)
	defer c.Close()
	var got strings.Builder

	h.SetBackup(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("x", 100_000))
		return err
	})
	if err := c.Backup(t.Context(), &got); err != nil || got.Len() != 100_000 {
		t.Fatalf("%d bytes, %v", got.Len(), err)
	}
	h.SetBackup(func(_ context.Context, w io.Writer) error {
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
		return errors.New("the disk has gone")
	})
	if err := c.Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("in the middle: %v", err)
	}
	h.SetBackup(func(context.Context, io.Writer) error { return errors.New("the disk has gone") })
	var e *api.Error
	if err := c.Backup(t.Context(), io.Discard); !errors.As(err, &e) || e.Code != api.Failed || !strings.Contains(e.Text, "the disk has gone") {
		t.Errorf("before the first byte: %v", err)
	}
	h.SetBackup(func(_ context.Context, w io.Writer) error {
		_, _ = io.WriteString(w, "x")
		panic("in the middle of a backup")
	})
	if err := c.Backup(t.Context(), io.Discard); err == nil {
		t.Error("a panic in the middle looks like a backup")
	}
	h.SetBackup(func(context.Context, io.Writer) error { panic("at its beginning") })
	if err := c.Backup(t.Context(), io.Discard); !errors.As(err, &e) || e.Code != api.Failed {
		t.Errorf("a panic: %v", err)
	}
	// Each of them was recorded, and the server goes on.
	page, err := c.Events(t.Context(), api.EventQuery{Type: "backed-up"})
	if err != nil || len(page.Events) != 5 || page.Events[0].Actor != fmt.Sprintf("unix:%d", os.Getuid()) {
		t.Errorf("%+v %v", page, err)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	h := controltest.New(t, roles())
	started, goOn := make(chan struct{}), make(chan struct{})
	h.SetBackup(func(_ context.Context, w io.Writer) error {
		close(started)
		<-goOn
		_, err := io.WriteString(w, "x")
		return err
	})
	c := client.New(h.Socket)
	defer c.Close()
	done := make(chan error)
	go func() { done <- c.Backup(context.Background(), io.Discard) }()
	<-started
	var e *api.Error
	if err := c.Backup(t.Context(), io.Discard); !errors.As(err, &e) || e.Code != api.Busy {
		t.Errorf("got %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOneUsersConnectionsDoNotKeepOthersOut(t *testing.T) {
	h := controltest.New(t, roles())
	closed := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		return errors.Is(err, io.EOF)
	}
	var all []net.Conn
	for range 50 {
		all = append(all, dialAs(t, h.Socket, uidStranger, uidStranger))
	}
	shut := make(chan bool)
	for _, c := range all {
		go func() { shut <- closed(c) }()
	}
	open := 0
	for range all {
		if !<-shut {
			open++
		}
	}
	if open != 32 {
		t.Fatalf("%d connections of one user are open", open)
	}
	if status, _ := request(t, dialAs(t, h.Socket, uidViewer, uidViewer), "GET", "/v1/status", "", ""); status != http.StatusOK {
		t.Errorf("another user gets %d", status)
	}
	_ = all[0].Close()
	for deadline := time.Now().Add(10 * time.Second); closed(dialAs(t, h.Socket, uidStranger, uidStranger)); {
		if time.Now().After(deadline) {
			t.Fatal("a connection that ended still counts")
		}
	}
}

func TestShutdownWaitsForWhatIsUnderWay(t *testing.T) {
	h := controltest.New(t, roles())
	started := make(chan struct{})
	h.SetBackup(func(_ context.Context, w io.Writer) error {
		close(started)
		time.Sleep(100 * time.Millisecond)
		_, err := io.WriteString(w, "whole")
		return err
	})
	c := client.New(h.Socket)
	defer c.Close()
	done := make(chan error)
	var got strings.Builder
	go func() { done <- c.Backup(context.Background(), &got) }()
	<-started
	if err := h.Server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || got.String() != "whole" {
		t.Errorf("%q %v", got.String(), err)
	}
}

func TestAConnectionThatIsNoUnixSocketIsNobodys(t *testing.T) {
	h := controltest.New(t, roles())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = h.Server.Serve(ln) }()
	answer, err := http.Get("http://" + ln.Addr().String() + "/v1/status")
	if err == nil {
		_ = answer.Body.Close()
		t.Errorf("TCP is answered: %s", answer.Status)
	}
}

func TestTheClientSaysWhyNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	_, err := client.New(dir + "/none.sock").Status(t.Context())
	var away *client.UnreachableError
	if !errors.As(err, &away) || !strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), "systemctl status weir") {
		t.Errorf("no socket: %v", err)
	}
	ln, err := net.Listen("unix", dir+"/left.sock")
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	_, err = client.New(dir + "/left.sock").Status(t.Context())
	if !errors.As(err, &away) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a socket that was left behind: %v", err)
	}
	// Something else that listens there is not Weir.
	ln, err = net.Listen("unix", dir+"/other.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() { _ = http.Serve(ln, http.NotFoundHandler()) }()
	if _, err = client.New(dir + "/other.sock").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "not one of Weir's") {
		t.Errorf("another server: %v", err)
	}
}

// jsonEqual compares two documents but for white space and the order of keys.
func jsonEqual(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
