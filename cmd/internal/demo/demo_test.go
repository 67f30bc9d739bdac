package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestTheDemoShowsVerdictsAReleaseAndTheWayBack(t *testing.T) {
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
		`later\.eml +accept\n`,
		`(?s)alice has answered it.*alice@weir\.example +INBOX +[0-9:]+ +read, answered +Invoice 4711\nbob@weir\.example +Invoices +[0-9:]+ +read +Invoice 4711\ncarol@weir\.example +INBOX +[0-9:]+ +not read +Invoice 4711\n.*Somebody adds`,
		`\$ echo 'hxxps://files\[\.\]nordwind\[\.\]example/invoice/\* .*' >> lists/block/sample\.txt`,
		`[0-9]+\.[0-9][0-9] seconds after the list was saved, the last mailbox is clean:\noffice@weir\.example.*\noffice@weir\.example.*\noffice@weir\.example.*\n\n`,
		`done +medium +3 +3 +Blocked url https://files\.nordwind\.example/invoice/\*`,
		`copies +3 pulled`,
		`pulled +alice@weir\.example +read, answered `,
		`pulled +bob@weir\.example \(team@weir\.example\) +read `,
		`pulled +carol@weir\.example \(team@weir\.example\) +2`,
		`today +block\n`,
		`let through with it in the last 7 days: 1 message\n`,
		`1 incident rests on it\n .*  done  3 pulled  Blocked url`,
		`nothing was changed: --yes allows https://files\.nordwind\.example/invoice/4711 until`,
		`\[the same as above, and then\]\nadded .*allow/operator\.txt:2: https://files\.nordwind\.example/invoice/4711 until=`,
		`it is allowed now\n`,
		`copies +3 restored`,
		`(?s)The mailboxes:\nalice@weir\.example +INBOX +[0-9:]+ +read, answered +Invoice 4711\nbob@weir\.example +Invoices +[0-9:]+ +read +Invoice 4711\ncarol@weir\.example +INBOX +[0-9:]+ +not read +Invoice 4711\n.*\nas before: the same messages in the same folders, with the same bytes, flags and dates\n`,
		`restored .*Invoices`,
		`in order: [3-9][0-9] records`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("the demo does not show %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out.Bytes())
	}
}
