package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
)

var update = flag.Bool("update", false, "write what should be there")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weir": main})
}

// TestSessions runs the sessions in testdata/script.
func TestSessions(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			// Each program with a race detector in it waits a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			// A shorter one, for sockets. It is there until the daemons have ended.
			dir, err := os.MkdirTemp("", "weir")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			e.Setenv("RUN", dir)
			// An address that nobody listens at, for what is no socket.
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Setenv("ADDR", free.Addr().String())
			return free.Close()
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "configured": // this machine has a configuration of its own
				_, err := os.Stat("/etc/weir/weir.toml")
				return err == nil, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("no such condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"awaiting": awaiting,
			"envsubst": envsubst,
			"edit":     edit,
			"passed":   passed,
			"shows":    shows,
		},
	})
}

// exits CODE PROGRAM ARGUMENT...: the program ends with this code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, not %d", args[1], got, want)
	}
}

// awaiting PROGRAM ARGUMENT...: the program is run until it ends with 0; negated,
// until it does not.
func awaiting(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited a minute for %v: %v", args, err)
		}
	}
}

// shows PATTERN PROGRAM ARGS...: the program is run until what it prints matches,
// for a minute.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: shows PATTERN PROGRAM ARGS...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_ = ts.Exec(args[1], args[2:]...)
		if pattern.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited a minute for %v to show %s", args[1:], args[0])
		}
	}
}

// envsubst FILE...: $NAME in the files is replaced by the variable.
func envsubst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: envsubst FILE...")
	}
	for _, name := range args {
		content := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(content), 0o644))
	}
}

// edit FOLDER: in the middle of the largest file in it one bit changes.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: edit FOLDER")
	}
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	var name string
	var content []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		ts.Check(err)
		if len(data) > len(content) {
			name, content = f, data
		}
	}
	if name == "" {
		ts.Fatalf("%s holds nothing", args[0])
	}
	content[len(content)/2] ^= 1
	ts.Check(os.WriteFile(name, content, 0o600))
}

// passed STATE: the journal in a state folder, of which no daemon runs, remembers
// four messages: one a day before today.
func passed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: passed STATE")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	j, err := journal.Open(journal.Options{FS: disk.System{}, Dir: filepath.Join(dir, "journal"), IndexMinFree: -1})
	ts.Check(err)
	for i, subject := range []string{"Rechnung für Straße 1", "=1+1", "Your account", "RECHNUNG 2"} {
		link, err := intel.URL("https://www.evil.example/pay/" + strconv.Itoa(i))
		ts.Check(err)
		sender, err := intel.Address("pay@bank.example")
		ts.Check(err)
		_, err = j.Append(context.Background(), &journal.Entry{
			ID: "01ARZ3NDEKTSV4RRFFQ69G5FA" + strconv.Itoa(i), Time: time.Now().Add(time.Duration(i-4) * 24 * time.Hour), QueueID: "4XyzQ0000" + strconv.Itoa(i), MessageID: strconv.Itoa(i) + "@bank.example",
			From: "pay@bank.example", To: []string{"alice@example.org"}, Client: netip.MustParseAddr("198.51.100.7"), Direction: intel.Inbound,
			Subject: subject, HeaderFrom: "Your Bank <pay@bank.example>", Files: []string{"Invoice.pdf"}, Action: intel.ActionAccept, Rule: "default",
			Observables: []intel.Observable{{Value: sender, Role: intel.RoleHeaderFrom, Place: "header/From"}, {Value: link, Role: intel.RoleURL, Place: "1/text"}},
		})
		ts.Check(err)
	}
	ts.Check(j.Close())
}
