package cli

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

func TestARequestByReferenceNamesAllThatStoppedTheMessage(t *testing.T) {
	s := open(t)
	s.house.WriteList("block/more.txt", "sender.example\n")
	id := s.held("Pay", "bob@example.org")
	s.contains(s.fails(exitUsage, "intel", "unblock", "--request", "--reference", id, "--reason", "x"),
		"more than one thing: ", "address:pay@sender.example", "url:https://www.evil.example/pay", "weir intel unblock VALUE --request --reference "+id)
	s.ok("intel", "unblock", "sender.example", "--request", "--reference", id, "--reason", "x")
}

func TestAnApprovalSaysThatItStandsWhenAnotherEntryStillHoldsTheMessage(t *testing.T) {
	s := open(t)
	s.house.WriteList("block/more.txt", "sender.example\n")
	id := s.held("Pay", "bob@example.org")
	out := s.ok("intel", "unblock", "https://www.evil.example/pay", "--request", "--reason", "ours")
	request := regexp.MustCompile(`(?m)^request (\S+):`).FindStringSubmatch(out)[1]
	errs := s.fails(exitRefused, "intel", "approve", request, "--reason", "it is", "--release")
	s.contains(errs, "blocked-sender", "weir quarantine release "+id+" --override --reason TEXT", "request "+request+" is approved")
	s.ok("quarantine", "release", id, "--override", "--reason", "x")
}

func TestWhetherWhoAskedWasToldIsShown(t *testing.T) {
	s := open(t)
	ask := []string{"intel", "unblock", "https://www.evil.example/pay", "--request", "--reason", "ours", "--notify"}
	s.contains(s.fails(exitUsage, append(ask, "alice")...), "has no @", "write one address")
	s.contains(s.fails(exitUsage, append(ask, "")...), "--notify is empty")
	s.contains(s.fails(exitUsage, "intel", "unblock", "evil.example", "--reason", "x", "--notify", "alice@example.org"), "--notify go with --request")
	s.ok(append(ask, "alice@example.org")...)
	s.contains(s.ok("intel", "requests"), "TOLD", "alice@example.org once it is decided")
	s.contains(s.ok("intel", "requests", "0"), "told", "alice@example.org once it is decided")
	s.contains(s.ok("intel", "refuse", "0", "--reason", "no"), "is refused")
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.ok("intel", "requests"), "alice@example.org at 20"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.ok("intel", "requests"))
		}
	}
	s.contains(s.ok("intel", "requests", "--json"), `"notify": "alice@example.org"`, `"state": "sent"`)
}

func TestHowItStandsWithAMailIsSaid(t *testing.T) {
	at := time.Date(2026, 5, 1, 9, 0, 0, 0, time.Local)
	for want, n := range map[string]*api.Notice{
		"a@x.test once it is decided":                             nil,
		"a@x.test in a moment":                                    {State: "waiting"},
		"not yet a@x.test: no session":                            {State: "waiting", Text: "no session"},
		"a@x.test at 2026-05-01 09:00":                            {State: "sent", Time: at, Text: "250 ok"},
		"not a@x.test, given up at 2026-05-01 09:00: 550 unknown": {State: "failed", Time: at, Text: "550 unknown"},
	} {
		if got := toldText(&api.UnblockRequest{Notify: "a@x.test", Notice: n}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestARequestForWhatNothingBlocksIsRefused(t *testing.T) {
	s := open(t)
	s.contains(s.fails(exitNotFound, "intel", "unblock", "fine.example", "--request", "--reason", "x"), "nothing blocks fine.example")
	s.contains(s.ok("intel", "requests"), "no requests")
}

func TestWhoMayNotAllowIsToldThatHeMayAsk(t *testing.T) {
	err := mayOnlyAsk(&api.Error{Code: api.Forbidden, Text: "unblock-plan needs the role operator", Cure: "an administrator"}, "evil.example")
	if text := err.Error(); strings.Contains(text, "unblock-plan") || !strings.Contains(text, "weir intel unblock evil.example --request --reason TEXT") || exitOf(err) != exitRefused {
		t.Error(err)
	}
	if other := errors.New("other"); !errors.Is(mayOnlyAsk(other, "x"), other) {
		t.Error("another error is not passed on")
	}
}

func TestABrokenConfigurationIsNamedBeforeTheDaemonThatDoesNotAnswer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.toml")
	if err := os.WriteFile(file, []byte("[mail]\nlocal_domain = [\"example.org\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	Run(t.Context(), []string{"status", "--config", file}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Getenv: func(string) string { return "" }}, Deps{})
	mistake, socket := strings.Index(errs.String(), file+":2:"), strings.Index(errs.String(), "the daemon is looked for at")
	if mistake < 0 || socket < mistake {
		t.Errorf("%s", errs.String())
	}
}
