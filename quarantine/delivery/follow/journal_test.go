package follow

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeJournalctl writes a program that answers as journalctl does.
func fakeJournalctl(t *testing.T, script string) (program, args string) {
	t.Helper()
	dir := t.TempDir()
	program, args = filepath.Join(dir, "journalctl"), filepath.Join(dir, "args")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\" >> "+args+"\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program, args
}

func collect(t *testing.T, j *Journal, after []byte, want int) ([]Line, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var lines []Line
	var at []byte
	err := j.Run(ctx, after, func(b Batch) error {
		lines, at = append(lines, b.Lines...), b.After
		if len(lines) >= want {
			cancel()
		}
		return nil
	})
	return lines, at, err
}

func TestTheJournalIsReadThroughJournalctl(t *testing.T) {
	program, args := fakeJournalctl(t, `cat <<'E'
{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1795310460123456","SYSLOG_IDENTIFIER":"postfix/qmgr","MESSAGE":"0F5383D: removed"}
not json
{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1795310461000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":[108,109,116,112,255]}
{"__CURSOR":"s=1;i=3","__REALTIME_TIMESTAMP":"1795310461000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":null}
E
exec sleep 100`)
	j, err := NewJournal(JournalOptions{Program: program})
	if err != nil {
		t.Fatal(err)
	}
	lines, after, err := collect(t, j, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 3 || string(lines[0].Text) != "0F5383D: removed" || string(lines[0].Program) != "postfix/qmgr" || lines[0].Time.UnixMicro() != 1795310460123456 ||
		string(lines[1].Text) != "lmtp\xff" || len(lines[2].Text) != 0 {
		t.Errorf("%q", lines)
	}
	if _, _, err := collect(t, j, after, 1); err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(args)
	if err != nil {
		t.Fatal(err)
	}
	want := "--follow --merge --output=json --no-pager --quiet SYSLOG_FACILITY=2 --lines=all --since=-1d\n" +
		"--follow --merge --output=json --no-pager --quiet SYSLOG_FACILITY=2 --lines=all --after-cursor=s=1;i=3\n"
	if string(calls) != want {
		t.Errorf("called as\n%s\nwant\n%s", calls, want)
	}
}

func TestACursorThatIsGoneIsReplacedByItsTime(t *testing.T) {
	program, args := fakeJournalctl(t, `case "$*" in *after-cursor*) echo "Failed to seek to cursor: Invalid argument" >&2; exit 1;; esac
echo '{"__CURSOR":"s=2;i=1","__REALTIME_TIMESTAMP":"1795310460123456","SYSLOG_IDENTIFIER":"x","MESSAGE":"y"}'
exec sleep 100`)
	j, err := NewJournal(JournalOptions{Program: program, Dir: "/somewhere"})
	if err != nil {
		t.Fatal(err)
	}
	lines, _, err := collect(t, j, []byte(`{"cursor":"s=1;i=3","time":"2026-11-22T01:21:00Z"}`), 1)
	if err != nil || len(lines) != 1 {
		t.Fatal(lines, err)
	}
	calls, err := os.ReadFile(args)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(calls), "--since=@1795310460 --directory=/somewhere\n") {
		t.Errorf("called as %s", calls)
	}
}

func TestAJournalctlThatEndsIsAnError(t *testing.T) {
	program, _ := fakeJournalctl(t, "echo 'No journal files were opened' >&2; exit 1")
	for _, p := range []string{program, "/does/not/exist"} {
		j, err := NewJournal(JournalOptions{Program: p})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = collect(t, j, nil, 1)
		if err == nil || p == program && !strings.Contains(err.Error(), "No journal files were opened") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestAnEntryThatIsTooLongIsCounted(t *testing.T) {
	program, _ := fakeJournalctl(t, fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x; echo
echo '{"__CURSOR":"s=2;i=1","__REALTIME_TIMESTAMP":"1795310460123456","SYSLOG_IDENTIFIER":"x","MESSAGE":"y"}'
exec sleep 100`, maxEntry+10))
	j, err := NewJournal(JournalOptions{Program: program})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tooLong := 0
	err = j.Run(ctx, nil, func(b Batch) error { tooLong += b.TooLong; cancel(); return nil })
	if err != nil || tooLong != 1 {
		t.Errorf("%d too long, %v", tooLong, err)
	}
}

// journald runs systemd's journal apart from this host's and leaves its files in
// a folder.
const journald = `set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
/usr/lib/systemd/systemd-journald &
i=0; until [ -S /run/systemd/journal/dev-log ]; do i=$((i+1)); [ $i -lt 100 ]; sleep 0.1; done
log() { logger --socket /run/systemd/journal/dev-log "$@"; }
log -p mail.info -t postfix/qmgr --id=12 '4jX9xc3QL0z1VkkB: removed'
log -p daemon.info -t other 'not about mail'
log -p mail.info -t dovecot "$(printf 'lmtp(al\374ce)<1><S>: msgid=<x>: saved mail to INBOX')"
i=0; until [ "$(journalctl --merge --quiet --output=cat --directory=/run/log/journal SYSLOG_FACILITY=2 | wc -l)" -ge 2 ]; do i=$((i+1)); [ $i -lt 100 ]; sleep 0.1; done
kill %1; wait %1 || true
cp -r /run/log/journal/. "$1"
`

func TestSystemdsOwnJournalIsRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a journal of its own needs root")
	}
	for _, program := range []string{"/usr/lib/systemd/systemd-journald", "/usr/bin/journalctl", "/usr/bin/logger", "/usr/bin/unshare"} {
		if _, err := os.Stat(program); err != nil {
			t.Skip(program + " is not there")
		}
	}
	dir := t.TempDir()
	// Its own mounts and processes, which end with it.
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", journald, "journald", dir).CombinedOutput(); err != nil {
		t.Skipf("no journal can be run here: %v: %.500s", err, out)
	}
	j, err := NewJournal(JournalOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	lines, after, err := collect(t, j, nil, 2)
	if err != nil || len(lines) != 2 {
		t.Fatalf("%q %v", lines, err)
	}
	if string(lines[0].Text) != "4jX9xc3QL0z1VkkB: removed" || string(lines[0].Program) != "postfix/qmgr" || time.Since(lines[0].Time) > time.Minute ||
		string(lines[1].Text) != "lmtp(al\xfcce)<1><S>: msgid=<x>: saved mail to INBOX" || string(lines[1].Program) != "dovecot" {
		t.Errorf("%q", lines)
	}
	// Behind the first one.
	first := cursor{}
	if err := json.Unmarshal(after, &first); err != nil || first.Cursor == "" {
		t.Fatal(string(after), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := j.Run(ctx, after, func(b Batch) error { t.Errorf("again: %q", b.Lines); return nil }); err != nil {
		t.Error(err)
	}
}
