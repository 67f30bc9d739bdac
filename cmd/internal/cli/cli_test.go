package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
)

// shell is a person who types commands.
type shell struct {
	t     *testing.T
	house *controltest.House
	sent  int
}

func open(t *testing.T) *shell {
	t.Helper()
	h := controltest.New(t, control.Access{})
	h.WriteList("block/local.txt", ".evil.example note=\"case 7\"\n")
	return &shell{t: t, house: h}
}

// run gives the exit code and what was written to both streams.
func (s *shell) run(args ...string) (code int, out, errs string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "--socket", s.house.Socket)
	code = Run(s.t.Context(), args, Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr, Getenv: func(string) string { return "" }}, Deps{})
	return code, stdout.String(), stderr.String()
}

// ok runs a command that has to end with 0, and gives its output.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	code, out, errs := s.run(args...)
	if code != 0 {
		s.t.Fatalf("weir %s ended with %d: %s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// fails runs a command that has to end with this code, and gives its errors.
func (s *shell) fails(code int, args ...string) string {
	s.t.Helper()
	got, out, errs := s.run(args...)
	if got != code {
		s.t.Fatalf("weir %s ended with %d, not %d: %s%s", strings.Join(args, " "), got, code, out, errs)
	}
	return errs
}

func (s *shell) contains(text string, parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			s.t.Errorf("%q is not in\n%s", p, text)
		}
	}
}

const letter = "From: Bank <pay@sender.example>\nSubject: %s\nMessage-ID: <%d@sender.example>\n\nhttps://www.evil.example/pay\n"

// held has a message held and gives its ID.
func (s *shell) held(subject string, to ...string) string {
	s.t.Helper()
	s.sent++
	action, id := s.house.Receive(fmt.Sprintf(letter, subject, s.sent), "pay@sender.example", to...)
	if action != "discard" {
		s.t.Fatalf("the message was answered with %s", action)
	}
	return id
}

func into[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if d.More() {
		t.Fatalf("more than one document: %s", text)
	}
	return v
}

func TestAHeldMessageIsFoundLookedAtAndReleased(t *testing.T) {
	s := open(t)
	id := s.held("Your invoice", "a@example.org", "b@example.org")
	s.contains(s.ok("quarantine", "list", "--since", "2h", "--sender", "sender.example"), id, "held", "blocked-url", "a@example.org +1", "Your invoice")
	s.contains(s.ok("quarantine", "show", id[:14]), id, "https://www.evil.example/pay at 1/text", ".evil.example in list:block/local.txt line 1: case 7", "b@example.org")
	s.contains(s.ok("quarantine", "preview", id), "hxxps://www[.]evil[.]example/pay", "text/plain")

	errs := s.fails(exitRefused, "quarantine", "release", id)
	s.contains(errs, "blocked-url", "https://www.evil.example/pay", "list:block/local.txt line 1", "--override --reason")
	s.contains(s.ok("quarantine", "release", id, "--to", "a@example.org", "--override", "--reason", "asked for"), "a@example.org", "released", "held")
	s.contains(s.ok("quarantine", "release", id, "--override", "--reason", "asked for"), id+" released")
	s.ok("quarantine", "release", id, "--override", "--reason", "asked for")
	if n := s.house.Sink.Count(); n != 2 {
		t.Errorf("%d messages arrived, want one for each recipient", n)
	}
	if got := s.ok("quarantine", "list"); strings.Contains(got, id) {
		t.Errorf("what is released is still listed:\n%s", got)
	}
	s.contains(s.ok("quarantine", "list", "--all"), id)
	s.contains(s.ok("audit", "show", "--item", id[:14]), "release", "asked for", "unix:", "viewed")
}

func TestAClientWithoutANameIsShownByItsAddressOnce(t *testing.T) {
	for name, want := range map[string]string{"": "client  192.0.2.1\n", "[192.0.2.1]": "client  192.0.2.1\n", "mx.example": "client  mx.example [192.0.2.1]\n"} {
		var out bytes.Buffer
		a := &app{io: Streams{Out: &out}}
		if err := a.printItem(&api.Item{Client: "192.0.2.1", ClientName: name}); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%q: %v\n%s", name, err, out.String())
		}
	}
}

func TestSeveralAreReleasedAndDeletedAndEachSaysWhatBecameOfIt(t *testing.T) {
	s := open(t)
	one, two := s.held("one", "a@example.org"), s.held("two", "a@example.org")
	errs := s.fails(exitNotFound, "quarantine", "release", one, "01ZZZZ", two, "--override", "--reason", "x")
	s.contains(errs, "01ZZZZ: ")
	if n := s.house.Sink.Count(); n != 2 {
		t.Errorf("%d messages arrived: an ID that is none kept the others back", n)
	}
	s.fails(exitNotFound, "quarantine", "release", "01ZZZZ", "01YYYY")
	s.fails(exitUsage, "quarantine", "delete", one)
	s.contains(s.ok("quarantine", "delete", one, two, "--reason", "case 7"), one+" deleted: one", two+" deleted: two")
	s.fails(exitNotFound, "quarantine", "export", one)

	three := s.held("three", "a@example.org")
	code, out, errs := s.run("quarantine", "release", three, "01ZZZZ", "--json")
	if code != exitFailed || errs != "" {
		t.Errorf("%d %s", code, errs)
	}
	got := into[struct{ Results []answered }](t, out).Results
	if len(got) != 2 || got[0].ID != three || got[0].Error.Code != api.Blocked || got[0].Error.Blocked.Rule != "blocked-url" || got[1].Error.Code != api.NotFound {
		t.Errorf("%s", out)
	}
	if out := s.ok("quarantine", "release", three, "--override", "--reason", "x", "--json"); into[struct{ Results []answered }](t, out).Results[0].Item.State != "released" {
		t.Errorf("%s", out)
	}
}

func TestACopyThatIsNotTakenMakesTheReleaseFail(t *testing.T) {
	s := open(t)
	id := s.held("one", "a@example.org", "b@example.org")
	_ = s.house.Sink.Close() // the MTA is away
	code, out, _ := s.run("quarantine", "release", id, "--override", "--reason", "x")
	if code != exitFailed {
		t.Errorf("ended with %d", code)
	}
	s.contains(out, id+" held", "a@example.org", "b@example.org", "refused")
}

func TestWhatIsExportedIsExactAndThereOnlyWhenItIsWhole(t *testing.T) {
	s := open(t)
	id := s.held("one", "a@example.org")
	want := strings.ReplaceAll(fmt.Sprintf(letter, "one", 1), "\n", "\r\n")
	if got := s.ok("quarantine", "export", id); got != want {
		t.Errorf("%q", got)
	}
	file := filepath.Join(t.TempDir(), "evidence.eml")
	s.ok("quarantine", "export", id, "-o", file)
	got, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || string(got) != want || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v %q %v", err, statErr, got, info.Mode())
	}
	bad := filepath.Join(filepath.Dir(file), "bad.eml")
	s.fails(exitNotFound, "quarantine", "export", "01ZZZZ", "-o", bad)
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestListsAreOneDocumentHoweverManyPagesTheyTake(t *testing.T) {
	s := open(t)
	empty := s.ok("quarantine", "list", "--json")
	if got := into[map[string]any](t, empty); got["items"] == nil || got["more"] != false {
		t.Errorf("%s", empty)
	}
	var ids []string
	for range 7 {
		ids = append(ids, s.held("m", "a@example.org"))
	}
	slices.Reverse(ids) // the newest first
	for limit, want := range map[string]int{"3": 3, "7": 7, "0": 7, "100": 7} {
		out := s.ok("quarantine", "list", "--json", "--limit", limit)
		got := into[struct {
			Items []api.Item
			More  bool
		}](t, out)
		if len(got.Items) != want || got.More != (want < 7) || got.Items[0].ID != ids[0] || got.Items[want-1].ID != ids[want-1] {
			t.Errorf("--limit %s: %s", limit, out)
		}
	}
	s.fails(exitUsage, "quarantine", "list", "--limit", "-1")
	s.fails(exitUsage, "quarantine", "show", "")
	s.fails(exitUsage, "quarantine", "list", "--state", "odd")
	events := into[struct {
		Events []api.Event
		Cursor string
	}](t, s.ok("audit", "show", "--json", "--all"))
	if len(events.Events) != 7 || events.Cursor == "" {
		t.Errorf("%+v", events)
	}
}

func TestNothingFromMailReachesTheTerminalAsItIs(t *testing.T) {
	s := open(t)
	id := s.held("=?utf-8?q?=E2=80=AEfdp=2Eexe=1B[2J?=", "a@example.org")
	for _, args := range [][]string{{"quarantine", "list"}, {"quarantine", "list", "--json"}, {"quarantine", "show", id}, {"quarantine", "preview", id}, {"audit", "show"}} {
		out := s.ok(args...)
		if strings.ContainsAny(out, "\u202e\x1b") {
			t.Errorf("%v: %q", args, out)
		}
	}
	s.contains(s.ok("quarantine", "list"), `\u202efdp.exe`)
	items := into[struct{ Items []api.Item }](t, s.ok("quarantine", "list", "--json")).Items
	if !strings.Contains(items[0].Subject, "\u202e") {
		t.Errorf("the JSON means something else: %q", items[0].Subject)
	}
	if errs := s.fails(exitNotFound, "quarantine", "show", "\x1b[2J"); strings.Contains(errs, "\x1b") {
		t.Errorf("%q", errs)
	}
}

func TestWhatWasLetThroughIsFoundAgain(t *testing.T) {
	s := open(t)
	_, id := s.house.Receive("From: x@sender.example\nSubject: hello\n\nhttps://www.clean.example/a\n", "x@sender.example", "a@example.org")
	s.contains(s.ok("journal", "search", "hxxps://www.clean[.]example/a"), id, "x@sender.example", "https://www.clean.example/a at 1/text", "hello")
	s.contains(s.ok("journal", "show", id), "accept by rule default", "https://www.clean.example/a")
	got := into[struct {
		Entries []api.JournalEntry
		More    bool
	}](t, s.ok("journal", "search", "clean.example", "--json"))
	if len(got.Entries) != 1 || got.Entries[0].ID != id {
		t.Errorf("%+v", got)
	}
	if got := into[map[string]any](t, s.ok("journal", "search", "other.example", "--json")); len(got["entries"].([]any)) != 0 {
		t.Errorf("%v", got)
	}
	s.fails(exitUsage, "journal", "search", "x", "--as", "odd")
	s.fails(exitNotFound, "journal", "show", "01ZZZZZZZZZZZZZZZZZZZZZZZZ")
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAnOutputThatTakesNothingIsAFailure(t *testing.T) {
	s := open(t)
	id := s.held("one", "a@example.org")
	for _, args := range [][]string{{"version"}, {"status"}, {"quarantine", "list"}, {"quarantine", "list", "--json"}, {"quarantine", "export", id}, {"--help"}, {"policy", "default"}} {
		var stderr bytes.Buffer
		if args[0] == "quarantine" || args[0] == "status" {
			args = append(args, "--socket", s.house.Socket)
		}
		code := Run(t.Context(), args, Streams{Out: full{}, Err: &stderr, Getenv: func(string) string { return "" }}, Deps{})
		if code != exitFailed || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%v ended with %d: %s", args, code, &stderr)
		}
	}
}

func TestTimesAreReadAsPeopleWriteThem(t *testing.T) {
	now := time.Date(2026, 5, 10, 12, 0, 0, 0, time.Local)
	a := &app{now: func() time.Time { return now }}
	for text, want := range map[string]time.Time{
		"2026-05-01T10:00:00Z":      time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC),
		"2026-05-01T10:00:00+02:00": time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC),
		"2026-05-01":                time.Date(2026, 5, 1, 0, 0, 0, 0, time.Local),
		"2026-05-01 10:30":          time.Date(2026, 5, 1, 10, 30, 0, 0, time.Local),
		"2h":                        now.Add(-2 * time.Hour),
		"3d":                        now.Add(-72 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
	} {
		if got, err := a.parseTime(text, false); err != nil || !got.Equal(want) {
			t.Errorf("%s is read as %v (%v), want %v", text, got, err, want)
		}
	}
	if got, err := a.parseTime("2026-05-01", true); err != nil || !got.Equal(time.Date(2026, 5, 2, 0, 0, 0, 0, time.Local)) {
		t.Errorf("the end of a day: %v %v", got, err)
	}
	for _, text := range []string{"", "yesterday", "-2h", "2026-13-01", "2h ago", "2026-05-01 25:00", "99999999999999d"} {
		if got, err := a.parseTime(text, false); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestTheCodeOfSeveralIsTheirCommonOneOrThatSomethingFailed(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{{nil, 0}, {[]int{0, 0}, 0}, {[]int{4, 0, 4}, 4}, {[]int{0, 3}, 3}, {[]int{4, 3}, 1}, {[]int{3, 3, 1}, 1}} {
		if got := worst(c.codes); got != c.want {
			t.Errorf("%v gives %d, want %d", c.codes, got, c.want)
		}
	}
}

func TestShortIDsStayDifferent(t *testing.T) {
	a := &app{}
	a.screen.Terminal = true
	ids := []string{"01KAMP3Q5R7S0000000000000A", "01KAMP3Q5R7S0000000000000B", "01KAMP3Q5R7T0000000000000A"}
	if got := a.short(ids[1:]); !slices.Equal(got, []string{"01KAMP3Q5R7S", "01KAMP3Q5R7T"}) {
		t.Errorf("%q", got)
	}
	if got := a.short(ids); !slices.Equal(got, ids) {
		t.Errorf("%q", got)
	}
	if got := a.short([]string{ids[0], ids[0]}); got[0] != ids[0] {
		t.Errorf("%q", got)
	}
}

func TestSizesHaveThreeDigitsAtMost(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 10 << 10: "10 KiB", 1023 << 10: "1.0 MiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is shown as %s, want %s", n, got, want)
		}
	}
}

func TestAnExitCodeIsSaidForEveryCodeOfTheDaemon(t *testing.T) {
	for _, c := range api.Codes() {
		if c.Exit < exitFailed || c.Exit >= exitUnreachable {
			t.Errorf("%s ends a command with %d", c.Code, c.Exit)
		}
		if got := exitOf(&api.Error{Code: c.Code}); got != c.Exit {
			t.Errorf("%s: %d", c.Code, got)
		}
	}
	if exitOf(&api.Error{Code: api.Forbidden}) != exitRefused {
		t.Error("a role that does not suffice is no refusal")
	}
}
