package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/backup"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/rule"
	"github.com/weirmail/weir/quarantine"
)

// site is a daemon with a folder of its own.
type site struct {
	t    testing.TB
	dir  string
	file string
	app  *App
}

// shortDir gives a folder whose name leaves room for sockets in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newSite(t testing.TB, extra string) *site {
	t.Helper()
	s := &site{t: t, dir: shortDir(t)}
	for _, d := range []string{"lists/block", "lists/allow", "lists/watch"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.file = s.write("weir.toml", fmt.Sprintf(`
[state]
dir = "state"
[milter]
listen = ["unix:milter.sock"]
socket_group = ""
[control]
listen = "unix:control.sock"
[metrics]
listen = "unix:metrics.sock"
[mail]
local_domains = ["example.org"]
%s`, extra))
	s.write("lists/block/local.txt", "evil.example\n")
	return s
}

func (s *site) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+"~", []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *site) start() {
	s.t.Helper()
	cfg, err := config.Load(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.app, err = Start(s.t.Context(), Options{ConfigFile: s.file, Config: cfg, Version: "test"}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.stop)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.app.Ready(ctx); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) stop() {
	if s.app != nil {
		if err := s.app.Stop(); err != nil {
			s.t.Error(err)
		}
		s.app = nil
	}
}

// get asks one of the HTTP servers on a unix socket.
func (s *site) get(socket, path string) string {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(s.dir, socket))
	}}}
	answer, err := client.Get("http://weir" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

func (s *site) session() *miltertest.Session { return s.sessionWith(miltertest.Options{}) }

func (s *site) sessionWith(o miltertest.Options) *miltertest.Session {
	s.t.Helper()
	session, err := miltertest.Dial("unix", filepath.Join(s.dir, "milter.sock"), o)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := session.Connect(miltertest.Client{Name: "mail.evil.test", Addr: netip.MustParseAddrPort("203.0.113.9:999"), Helo: "mail.evil.test"}); err != nil {
		s.t.Fatal(err)
	}
	return session
}

// send hands one message over in a session of its own.
func (s *site) send(content string, to ...string) miltertest.Result {
	s.t.Helper()
	session := s.session()
	defer func() { _ = session.Close() }()
	return s.sendIn(session, content, to...)
}

func (s *site) sendIn(session *miltertest.Session, content string, to ...string) miltertest.Result {
	s.t.Helper()
	m := &miltertest.Message{QueueID: "4Y1", From: "<s@sender.test>", Raw: []byte(content)}
	for _, r := range to {
		m.To = append(m.To, miltertest.Recipient{Address: "<" + r + ">"})
	}
	result, err := session.Send(m)
	if err != nil {
		s.t.Fatal(err)
	}
	return result
}

func mail(body string) string {
	return "From: s@sender.test\r\nSubject: hello\r\nMessage-ID: <m@sender.test>\r\n\r\n" + body + "\r\n"
}

func (s *site) items() []*quarantine.Item {
	s.t.Helper()
	h := s.app.rooms()
	last, err := h.ledger.Last()
	if err == nil {
		err = h.ledger.Wait(s.t.Context(), last)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	page, err := h.quarantine.List(s.t.Context(), quarantine.Query{State: quarantine.AnyState})
	if err != nil {
		s.t.Fatal(err)
	}
	return page.Items
}

func (s *site) journalled() (entries []*journal.Entry) {
	s.t.Helper()
	for r, err := range s.app.rooms().journal.Read(0) {
		if err != nil {
			s.t.Fatal(err)
		}
		entries = append(entries, r.Entry)
	}
	return entries
}

func header(r miltertest.Result, name string) string {
	for _, e := range r.Edits {
		if e.Op == verdict.EditInsert && e.Name == name {
			return strings.TrimSpace(e.Value)
		}
	}
	return ""
}

// eventually waits for something that the daemon does by itself.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func TestCleanMailPassesAndIsRememberedListedMailIsHeld(t *testing.T) {
	s := newSite(t, "")
	s.start()
	clean := s.send(mail("nothing here"), "a@example.org")
	if clean.Action != intel.ActionAccept || !strings.HasPrefix(header(clean, "X-Weir-Verdict"), "accept; rule=default; ref=") {
		t.Errorf("%+v", clean)
	}
	id, _, ok := s.app.rooms().identity.Verify(header(clean, "X-Weir-ID"))
	entries := s.journalled()
	if !ok || len(entries) != 1 || entries[0].ID != id || entries[0].QueueID != "4Y1" || entries[0].MessageID != "m@sender.test" || entries[0].Direction != intel.Inbound {
		t.Errorf("%v %+v", ok, entries)
	}
	held := s.send(mail("see http://evil.example/pay"), "a@example.org", "b@example.org")
	if held.Action != intel.ActionDiscard || len(held.Edits) != 0 {
		t.Errorf("%+v", held)
	}
	items := s.items()
	if len(items) != 1 || items[0].Facts.Rule != "blocked-url" || len(items[0].Recipients) != 2 {
		t.Fatalf("%+v", items)
	}
	if r := items[0].Facts.Reasons; len(r) != 1 || r[0].Source != "list:block/local.txt" || r[0].Line != 1 || r[0].Entry != "evil.example" || r[0].Place != "1/text" {
		t.Errorf("reasons %+v", r)
	}
	if n := len(s.journalled()); n != 1 {
		t.Errorf("%d journal entries", n)
	}
}

func TestSomeRecipientsMayHaveItHeldWhileOthersGetIt(t *testing.T) {
	s := newSite(t, "[policy]\nfile = \"policy.toml\"\n[directory]\nfile = \"people.csv\"\n")
	s.write("policy.toml", "[[rule]]\nname = 'board'\nwhen = '\"board\" in rcpt.groups'\naction = 'hold'\n")
	s.write("people.csv", "address,name,groups\nvera@example.org,Vera,board\n")
	s.start()
	r := s.send(mail("x"), "a@example.org", "vera@example.org", "b@example.org")
	if r.Action != intel.ActionAccept || !slices.Equal(r.Removed, []string{"<vera@example.org>"}) {
		t.Errorf("%+v", r)
	}
	if e := s.journalled(); len(e) != 1 || !slices.Equal(e[0].To, []string{"a@example.org", "b@example.org"}) {
		t.Errorf("%+v", e)
	}
	if i := s.items(); len(i) != 1 || len(i[0].Recipients) != 1 || i[0].Recipients[0].Address != "vera@example.org" {
		t.Errorf("%+v", i)
	}
}

func TestObserveTouchesNothingButAddsTwoHeaders(t *testing.T) {
	s := newSite(t, "[policy]\nmode = \"observe\"\n")
	s.start()
	r := s.send("X-Weir-ID: forged\r\n"+mail("see http://evil.example/pay"), "a@example.org")
	if r.Action != intel.ActionAccept || len(r.Edits) != 2 || len(r.Removed) != 0 || !strings.HasPrefix(header(r, "X-Weir-Verdict"), "hold; rule=blocked-url; ref=") ||
		!strings.HasSuffix(header(r, "X-Weir-Verdict"), "; mode=observe") || header(r, "X-Weir-ID") == "" {
		t.Errorf("%+v", r)
	}
	if len(s.items()) != 0 || len(s.journalled()) != 1 {
		t.Error("observe held something, or did not remember")
	}
}

func TestForgedHeadersAreRemovedAndAReturningMessageKnowsItsParent(t *testing.T) {
	s := newSite(t, "")
	s.start()
	first := s.send(mail("x"), "a@example.org")
	again := s.send("X-Weir-Verdict: accept\r\nX-Weir-ID: forged.x.y\r\nX-Weir-ID: "+header(first, "X-Weir-ID")+"\r\n"+mail("x"), "a@example.org")
	var removed []string
	for _, e := range again.Edits {
		if e.Op == verdict.EditRemove {
			removed = append(removed, fmt.Sprint(e.Name, e.Index))
		}
	}
	if !slices.Equal(removed, []string{"X-Weir-ID2", "X-Weir-ID1", "X-Weir-Verdict1"}) {
		t.Errorf("removed %v", removed)
	}
	if e := s.journalled(); e[1].Parent != e[0].ID {
		t.Errorf("parent %q, want %q", e[1].Parent, e[0].ID)
	}
}

func TestAnEditedListHoldsAtOnceAndABrokenOneChangesNothing(t *testing.T) {
	s := newSite(t, "")
	s.start()
	verdictOf := func() intel.Action { return s.send(mail("see http://new.example/"), "a@example.org").Action }
	if verdictOf() != intel.ActionAccept {
		t.Fatal("held before it was listed")
	}
	s.write("lists/block/local.txt", "evil.example\nnew.example\n")
	eventually(t, "the edit holds", func() bool { return verdictOf() == intel.ActionDiscard })
	s.write("lists/block/local.txt", "evil.example\nnew..example\n")
	eventually(t, "the mistake is shown", func() bool { return strings.Contains(s.get("metrics.sock", "/readyz"), "local.txt:2") })
	if verdictOf() != intel.ActionDiscard {
		t.Error("a broken edit took the last good list away")
	}
	s.write("lists/block/local.txt", "evil.example\n")
	eventually(t, "the removal holds", func() bool { return verdictOf() == intel.ActionAccept })
	eventually(t, "the mistake is forgotten", func() bool { return !strings.Contains(s.get("metrics.sock", "/readyz"), "lists") })
	s.write("lists/allow/ok.txt", "evil.example\n")
	eventually(t, "an allow in a new file holds", func() bool { return s.send(mail("http://evil.example/"), "a@example.org").Action == intel.ActionAccept })
}

// An edit counts whenever it is made: also between the moment at which a file was
// read for the first time and that at which files are watched.
func TestAnEditDuringTheStartHolds(t *testing.T) {
	for i := range 8 {
		s := newSite(t, "")
		cfg, err := config.Load(s.file)
		if err != nil {
			t.Fatal(err)
		}
		if s.app, err = Start(t.Context(), Options{ConfigFile: s.file, Config: cfg}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.stop)
		eventually(t, "the stores open", func() bool { return i%2 == 0 || s.app.rooms() != nil })
		for range i * 1000 {
			runtime.Gosched() // other moments
		}
		s.write("lists/block/local.txt", "new.example\n")
		if err := s.app.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the edit holds", func() bool {
			return s.send(mail("see http://new.example/"), "a@example.org").Action == intel.ActionDiscard
		})
		s.stop()
	}
}

func TestConfigurationAndPolicyReload(t *testing.T) {
	s := newSite(t, "[policy]\nfile = \"policy.toml\"\n")
	s.write("policy.toml", "[[rule]]\nname = 'all'\nwhen = 'true'\naction = 'reject'\n")
	s.start()
	reply := func() string { return s.send(mail("x"), "a@example.org").Reply }
	if r := reply(); !strings.HasPrefix(r, "550 5.7.1 Message refused (ref ") {
		t.Errorf("reply %q", r)
	}
	s.write("policy.toml", "[[rule]]\nname = 'all'\nwhen = 'true'\naction = 'reject'\ntext = 'No thanks'\n")
	eventually(t, "the new policy holds", func() bool { return strings.Contains(reply(), "No thanks") })
	s.write("policy.toml", "[[rule]]\nname = 'all'\nwhen = 'tru'\naction = 'reject'\n")
	eventually(t, "the mistake is shown", func() bool { return strings.Contains(s.get("metrics.sock", "/readyz"), "policy.toml:3:9") })
	if !strings.Contains(reply(), "No thanks") {
		t.Error("a broken policy took the last good one away")
	}
	old, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	s.write("policy.toml", "[[rule]]\nname = 'all'\nwhen = 'true'\naction = 'hold'\n")
	s.write("weir.toml", string(old)+"mode = \"observe\"\n[milter]\n")
	report, err := s.app.Reload(t.Context())
	if err != nil || report.Config == nil {
		t.Fatalf("a configuration with a table twice was taken: %v", err)
	}
	s.write("weir.toml", strings.Replace(string(old), "[milter]", "[milter]\nmax_sessions = 7", 1)+"mode = \"observe\"\n")
	report, err = s.app.Reload(t.Context())
	if err != nil || report.Err() != nil || !slices.Equal(report.NeedRestart, []string{"milter.max_sessions"}) {
		t.Fatalf("%+v %v", report, err)
	}
	if v := header(s.send(mail("x"), "a@example.org"), "X-Weir-Verdict"); !strings.Contains(v, "hold; rule=all") || !strings.Contains(v, "mode=observe") {
		t.Errorf("verdict %q", v)
	}
}

func TestAMistakeInTheConfigurationStopsTheStartAndNamesItsPlace(t *testing.T) {
	s := newSite(t, "[policy]\nfile = \"missing.toml\"\n[lists]\ndirr = \"x\"\n")
	if _, err := config.Load(s.file); err == nil || !strings.Contains(err.Error(), "weir.toml:") || !strings.Contains(err.Error(), "dirr") {
		t.Errorf("got %v", err)
	}
	s = newSite(t, "[policy]\nfile = \"missing.toml\"\n")
	cfg, err := config.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{ConfigFile: s.file, Config: cfg}); err == nil || !strings.Contains(err.Error(), "weir.toml:14") || !strings.Contains(err.Error(), "policy.file") {
		t.Errorf("got %v", err)
	}
}

func TestASecondDaemonOnTheSameStateIsRefused(t *testing.T) {
	s := newSite(t, "")
	s.start()
	cfg, err := config.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Options{ConfigFile: s.file, Config: cfg})
	if err == nil || !strings.Contains(err.Error(), "state.dir") || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if r := s.send(mail("x"), "a@example.org"); r.Action != intel.ActionAccept {
		t.Errorf("the first one was disturbed: %+v", r)
	}
}

func TestARestartRemembersAll(t *testing.T) {
	s := newSite(t, "")
	s.start()
	first := s.send(mail("x"), "a@example.org")
	s.send(mail("see http://evil.example/pay"), "a@example.org")
	before := s.items()
	s.stop()
	s.start()
	after := s.items()
	if len(after) != 1 || after[0].ID != before[0].ID {
		t.Errorf("%+v", after)
	}
	if _, _, ok := s.app.rooms().identity.Verify(header(first, "X-Weir-ID")); !ok {
		t.Error("another key after the restart")
	}
	// The client that did not get its answer tries again: the same item.
	s.send(mail("see http://evil.example/pay"), "a@example.org")
	if n := len(s.items()); n != 1 {
		t.Errorf("%d items", n)
	}
}

func TestStoppingWaitsForTheMessageOnItsWay(t *testing.T) {
	s := newSite(t, "")
	s.start()
	// An MTA of old waits for a reply to each command, so the daemon has seen them.
	session := s.sessionWith(miltertest.Options{Offer: miltertest.Version2()})
	m := &miltertest.Message{QueueID: "4Y1", From: "<s@sender.test>", To: []miltertest.Recipient{{Address: "<a@example.org>"}}, Raw: []byte(mail("x"))}
	if err := session.Envelope(m); err != nil {
		t.Fatal(err)
	}
	app := s.app
	s.app = nil
	stopped := make(chan error, 1)
	go func() { stopped <- app.Stop() }()
	eventually(t, "no new session is taken", func() bool {
		_, err := miltertest.Dial("unix", filepath.Join(s.dir, "milter.sock"), miltertest.Options{})
		return err != nil
	})
	if err := session.Content(m); err != nil {
		t.Fatal(err)
	}
	r, err := session.End()
	if err != nil || r.Action != intel.ActionAccept {
		t.Errorf("the message on its way: %+v %v", r, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestMetricsAndHealthAreServed(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.send(mail("see http://evil.example/pay"), "a@example.org")
	m := s.get("metrics.sock", "/metrics")
	for _, want := range []string{`weir_messages_total{direction="inbound",verdict="hold"} 1`, "weir_quarantine_held_total 1", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(m, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if s.get("metrics.sock", "/healthz") != "alive\n" || s.get("metrics.sock", "/readyz") != "" {
		t.Errorf("health %q %q", s.get("metrics.sock", "/healthz"), s.get("metrics.sock", "/readyz"))
	}
}

func TestDefaultsOfTheConfigurationAreThoseOfThePackages(t *testing.T) {
	if got, want := limitsOf(config.Default()), message.DefaultLimits(); got != want {
		t.Errorf("limits %+v, want %+v", got, want)
	}
	if got := config.Default().Policy.CostLimit; got != rule.DefaultCostLimit {
		t.Errorf("policy.cost_limit %d, want %d", got, rule.DefaultCostLimit)
	}
}

func nopLogger() *zap.Logger { return zap.NewNop() }

func TestABackupOfARunningDaemonRestoresAllAndDoubtsWhatIsHeld(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.send(mail("x"), "a@example.org")
	s.send(mail("see http://evil.example/pay"), "a@example.org")
	before := s.items()[0]
	// Mail goes on while the backup is made.
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		session := s.session()
		defer func() { _ = session.Close() }()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.sendIn(session, mail(fmt.Sprintf("number %d http://evil.example/pay", i)), "a@example.org")
			}
		}
	})
	var tape bytes.Buffer
	m, err := backup.Write(t.Context(), &tape, filepath.Join(s.dir, "state"), s.app.rooms().identity.Key(backup.LedgerKey), time.Now())
	close(stop)
	busy.Wait()
	if err != nil || m.Records == 0 {
		t.Fatalf("%+v %v", m, err)
	}
	if _, err := backup.Restore(t.Context(), bytes.NewReader(tape.Bytes()), filepath.Join(s.dir, "state")); err == nil {
		t.Error("restored over a state that is in use")
	}
	s.stop()

	if err := os.RemoveAll(filepath.Join(s.dir, "state")); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Restore(t.Context(), bytes.NewReader(tape.Bytes()), filepath.Join(s.dir, "state")); err != nil {
		t.Fatal(err)
	}
	s.start()
	if n := len(s.journalled()); n != 1 {
		t.Errorf("%d journal entries", n)
	}
	item, content, err := s.app.rooms().quarantine.Message(t.Context(), before.ID, "unix:0", "export")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(content)
	_ = content.Close()
	if err != nil || string(got) != mail("see http://evil.example/pay") {
		t.Errorf("%q %v", got, err)
	}
	if item.State() != quarantine.Uncertain || !strings.Contains(item.Recipients[0].Detail, "restored from a backup") || item.Version != 2 {
		t.Errorf("%+v", item)
	}
	s.stop()
	s.start() // which doubts nothing anew
	if item, err = s.app.rooms().quarantine.Get(before.ID); err != nil || item.Version != 3 {
		t.Errorf("%+v %v", item, err)
	}
}

func TestADamagedBackupIsNotRestored(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.send(mail("see http://evil.example/pay"), "a@example.org")
	var tape bytes.Buffer
	if _, err := backup.Write(t.Context(), &tape, filepath.Join(s.dir, "state"), s.app.rooms().identity.Key(backup.LedgerKey), time.Now()); err != nil {
		t.Fatal(err)
	}
	good := tape.Bytes()
	// Cut between two files, it is a whole tar.
	between := bytes.LastIndex(good, []byte("blobs/"))
	for name, bad := range map[string][]byte{
		"nothing": nil, "not a tar": []byte("hello"), "cut off": good[:len(good)/2], "cut between two files": good[:between],
		"an edited ledger": bytes.Replace(bytes.Clone(good), []byte("blocked-url"), []byte("blocked-xyz"), 1),
		"another name":     bytes.Replace(bytes.Clone(good), []byte("blobs/"), []byte("../../"), 1),
	} {
		if _, err := backup.Restore(t.Context(), bytes.NewReader(bad), filepath.Join(t.TempDir(), "state")); !errors.Is(err, backup.ErrBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Of one that is cut off late the ledger is there, and the messages are not.
	s.stop()
	if err := os.RemoveAll(filepath.Join(s.dir, "state")); err != nil {
		t.Fatal(err)
	}
	cut := bytes.LastIndex(good, []byte("blobs/"))
	if _, err := backup.Restore(t.Context(), bytes.NewReader(good[:cut+520]), filepath.Join(s.dir, "state")); !errors.Is(err, backup.ErrBackup) {
		t.Errorf("cut off in a message: %v", err)
	}
	cfg, err := config.Load(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{ConfigFile: s.file, Config: cfg}); err == nil || !strings.Contains(err.Error(), "did not come to its end") {
		t.Errorf("a daemon started on what is left of a restore: %v", err)
	}
}

func TestAStateFolderThatIsGoneNeedsAPerson(t *testing.T) {
	s := newSite(t, "")
	s.start()
	state := filepath.Join(s.dir, "state")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		s.app.lookAtSpace()
	}
	move(state, state+"~")
	if all := s.app.health.list(); len(all) != 1 || all[0].What != "disk" || !strings.Contains(all[0].Text, "not known") {
		t.Errorf("%+v", all)
	}
	move(state+"~", state)
	if all := s.app.health.list(); len(all) != 0 {
		t.Errorf("when it is there again: %+v", all)
	}
}

func TestStoppingEndsAlthoughSomethingDoesNot(t *testing.T) {
	s := newSite(t, "")
	s.start()
	stuck := make(chan struct{})
	s.app.onStop(func() { <-stuck })
	app := s.app
	s.app = nil
	if err := app.stop(50 * time.Millisecond); !errors.Is(err, errStuck) {
		t.Errorf("stopped with %v", err)
	}
	close(stuck)
	app.tasks.Wait()
}
