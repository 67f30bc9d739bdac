package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pageCommands gives the commands that a page shows in its first block for a shell.
func (s *site) pageCommands(page string) string {
	s.t.Helper()
	text, err := os.ReadFile(page)
	s.must(err)
	_, block, _ := strings.Cut(string(text), "```sh\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		s.t.Fatalf("%s shows no commands", page)
	}
	return block
}

// The sidecar runs beside the mail store, and the daemon somewhere else; their
// certificates are made as the administrator's page says.
func TestASidecarOnAnotherHostPullsOverTLS(t *testing.T) {
	t.Parallel()
	s := newSite(t, forPulls(options{}))
	keys := filepath.Join(s.dir, "keys")
	s.must(os.Mkdir(keys, 0o755))
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", s.pageCommands("../../../quarantine/pull/README.md"))
	cmd.Dir = keys
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the page's commands: %v\n%s", err, out)
	}
	for _, name := range []string{"control.key", "pull.key"} {
		s.must(os.Chown(filepath.Join(keys, name), nobody, nobody))
	}
	listen := s.freeAddr()
	text := strings.Replace(string(s.read("weir.toml")), "[control]\n", fmt.Sprintf(
		"[control]\nremote_listen = %q\nremote_cert_file = %q\nremote_key_file = %q\nremote_ca_file = %q\npullers = [\"cert:imap1.example.org\"]\n",
		listen, filepath.Join(keys, "control.pem"), filepath.Join(keys, "control.key"), filepath.Join(keys, "ca.pem")), 1)
	if !strings.Contains(text, "remote_listen") {
		t.Fatal("weir.toml has no section for control")
	}
	s.write("weir.toml", text)
	s.followLogs()
	s.start()
	s.startSidecarOf(fmt.Sprintf("address = %q\ntls_name = \"mx1.example.org\"\nca_file = %q\ncert_file = %q\nkey_file = %q\n",
		"https://"+listen, filepath.Join(keys, "ca.pem"), filepath.Join(keys, "pull.pem"), filepath.Join(keys, "pull.key")), viaIMAP())
	s.send(letter("invoice", "pay at https://evil.test/pay", "alice@lab.test", "bob@lab.test"))
	s.mailbox("alice@lab.test", 1)
	s.mailbox("bob@lab.test", 1)
	s.write("lists/block/late.txt", "https://evil.test/pay\n")
	if i := s.settled(s.onlyIncident().ID); i.Counts["pulled"] != 2 {
		t.Errorf("the incident: %+v\n%+v", i, s.affected(i.ID))
	}
	if status := string(s.weirCmd("status")); !strings.Contains(status, "cert:imap1.example.org, heard of") {
		t.Errorf("the status does not name the sidecar:\n%s", status)
	}
}
