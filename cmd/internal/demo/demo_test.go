package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestTheDemoShowsEachVerdictAndARelease(t *testing.T) {
	weir := filepath.Join(t.TempDir(), "weir")
	if out, err := exec.Command("go", "build", "-o", weir, "github.com/weirmail/weir/cmd/weir").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--weir", weir, "--samples", "../../../testdata"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	for _, want := range []string{
		`clean\.eml +accept\n.*\+ X-Weir-Verdict: accept; rule=default`,
		`allowed\.eml +accept\n`,
		`listed-sender\.eml +taken, and held\n`,
		`phish\.eml +taken, and held\n`,
		`malware\.eml +taken, and held\n`,
		`malware-in-zip\.eml +taken, and held\n`,
		`lottery\.eml +accept\n.*~ Subject: \[SUSPICIOUS\] You won the LOTTERY\n.*\n`,
		`refused\.eml +550 5\.7\.1 Message refused`,
		`held +blocked-url +sender@elsewhere\.example +office@weir\.example +Your parcel waits`,
		`bytes from <sender@elsewhere\.example> for office@weir\.example`,
		`office@weir\.example +released`,
		`in order: 7 records`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("the demo does not show %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out.Bytes())
	}
}
