package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/filter/message"
)

// TestMain lets this program be the accept-everything milter, as main does.
func TestMain(m *testing.M) {
	if spec := os.Getenv(acceptEnv); spec != "" {
		_ = serveAccept(spec)
		os.Exit(1)
	}
	if spec := os.Getenv(lookupEnv); spec != "" {
		if err := serveLookups(spec, os.Stdout); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestASmokeRunMeasuresEverything(t *testing.T) {
	lab.Require(t, lab.NeedPostfix, lab.NeedDovecot, lab.NeedRspamd)
	file := filepath.Join(t.TempDir(), "report.json")
	var out strings.Builder
	r, err := run(t.Context(), []string{"--quick", "--only", "milter,postfix,attachment,journal,pull,reaction,scale", "--json", file}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if r.failed() {
		t.Errorf("something was not measured:\n%s", &out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var read report
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Tables) != 7 || len(read.Targets) != 18 {
		t.Errorf("%d tables and %d targets, want 7 and 18", len(read.Tables), len(read.Targets))
	}
	for _, table := range read.Tables {
		for _, row := range table.Rows {
			if row.Messages == 0 || row.Rate.Median <= 0 || row.CPU.Median <= 0 || row.Resident == 0 {
				t.Errorf("%s of %s has figures of nothing: %+v", row.Name, table.Name, row)
			}
		}
	}
}

func TestWhatIsNotMeasuredOrMissedFails(t *testing.T) {
	half, twice := spread{0.5, 0.4, 0.6}, spread{2, 1.9, 2.1}
	for name, test := range map[string]struct {
		quick bool
		do    func(r *report)
		want  bool
	}{
		"nothing to judge":          {false, func(*report) {}, false},
		"reached":                   {false, func(r *report) { r.aim(target{AtLeast: 1}, twice) }, false},
		"too little":                {false, func(r *report) { r.aim(target{AtLeast: 1}, half) }, true},
		"little enough":             {false, func(r *report) { r.aim(target{AtMost: 1}, half) }, false},
		"too much":                  {false, func(r *report) { r.aim(target{AtMost: 1}, twice) }, true},
		"too little in a smoke run": {true, func(r *report) { r.aim(target{AtLeast: 1}, half) }, false},
		"no figure":                 {false, func(r *report) { r.aim(target{AtMost: 1}, spread{}) }, true},
		"no figure in a smoke run":  {true, func(r *report) { r.aim(target{AtMost: 1}, spread{}) }, true},
		"a contestant failed": {true, func(r *report) {
			r.add(table{Name: "milter"}, []*contestant{{name: "weir", err: context.Canceled}})
		}, true},
	} {
		r := &report{Quick: test.quick}
		test.do(r)
		if r.failed() != test.want {
			t.Errorf("%s: failed is %t", name, r.failed())
		}
		if text := r.summary(); strings.Contains(text, "MISSED") != (test.want && !test.quick && len(r.Failures) == 0 && r.Targets[0].Figure != nil) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	a := &contestant{rounds: []round{{CPUMicros: 1}, {CPUMicros: 2}, {CPUMicros: 4}}}
	b := &contestant{rounds: []round{{CPUMicros: 16}, {CPUMicros: 16}, {CPUMicros: 128}}}
	if got, want := ratio(a, b, perCPU), (spread{16, 8, 32}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	b.rounds = nil
	if got := ratio(a, b, perCPU); got != (spread{}) {
		t.Errorf("without rounds: %+v", got)
	}
}

func TestLettersAreLikeMailAndAllDifferent(t *testing.T) {
	parser, err := message.NewParser(message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	again := newPen()
	p := newPen()
	for n := range uint64(300) {
		letter := p.write(n, wish{})
		if size := len(letter.Raw); size < 9_500 || size > 10_700 {
			t.Fatalf("letter %d has %d bytes", n, size)
		}
		if !bytes.Equal(letter.Raw, again.write(n, wish{}).Raw) {
			t.Fatalf("letter %d is not always the same", n)
		}
		m := parser.Parse(letter.Raw, nil)
		if len(m.Defects) > 0 {
			t.Fatalf("letter %d: %v", n, m.Defects)
		}
		if fields := m.Header.Len(); fields < 20 || fields > 24 {
			t.Fatalf("letter %d has %d header fields", n, fields)
		}
		distinct := map[string]bool{}
		for _, u := range m.URLs {
			distinct[u.Value.String()] = true
		}
		if len(distinct) != 3 {
			t.Fatalf("letter %d has the URLs %v", n, distinct)
		}
		for _, key := range []string{letter.From, letter.QueueID, string(m.Parts[1].SHA256[:]), string(m.Parts[2].SHA256[:])} {
			if seen[key] {
				t.Fatalf("letter %d has %q as one before", n, key)
			}
			seen[key] = true
		}
	}
}

func TestUnknownPartsAreRefused(t *testing.T) {
	if _, err := run(t.Context(), []string{"--only", "milter,nonsense"}, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Error(err)
	}
}
