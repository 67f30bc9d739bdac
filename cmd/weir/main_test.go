package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
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
			// A shorter one, for sockets. It is there until the daemons have ended.
			dir, err := os.MkdirTemp("", "weir")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			e.Setenv("RUN", dir)
			return nil
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
