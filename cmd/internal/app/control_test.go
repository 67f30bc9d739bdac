package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/backup"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/intel/ledger"
)

func (s *site) client() *client.Client {
	c := client.New(filepath.Join(s.dir, "control.sock"))
	s.t.Cleanup(c.Close)
	return c
}

func TestTheControlSocketTellsHowTheDaemonIs(t *testing.T) {
	s := newSite(t, "")
	s.start()
	c := s.client()
	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.State != "ready" || status.Node == "" || status.Lists.Lists != 1 || status.Lists.Entries != 1 || len(status.Trouble) != 0 ||
		status.Mode != "enforce" || status.Disk.FreeBytes == 0 || len(status.Milter.Listen) != 1 || status.Milter.Sessions != 0 {
		t.Errorf("status is %+v", status)
	}
	s.write("lists/block/local.txt", "not a value at all/\n")
	reloaded, err := c.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if reloaded.OK || len(reloaded.Problems) != 1 || reloaded.Problems[0].Line != 1 {
		t.Errorf("reload of a broken list gave %+v", reloaded)
	}
	if status, err = c.Status(t.Context()); err != nil || len(status.Trouble) != 1 || !strings.Contains(status.Trouble[0].Text, "local.txt:1") || status.Lists.Entries != 1 {
		t.Errorf("status is %+v, %v", status, err)
	}
	page, err := c.Events(t.Context(), api.EventQuery{Type: "reloaded"})
	if err != nil || len(page.Events) != 1 || !strings.HasPrefix(page.Events[0].Actor, "unix:") {
		t.Errorf("the ledger has %+v, %v", page, err)
	}
}

func TestTheLedgerIsVerifiedWithAndWithoutTheDaemon(t *testing.T) {
	s := newSite(t, "")
	s.start()
	c := s.client()
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := c.Verify(t.Context(), api.Verify{})
	if err != nil || !v.OK || v.Records == 0 {
		t.Fatalf("verify gave %+v, %v", v, err)
	}
	head, err := ledger.ParseHead(v.Head)
	if err != nil {
		t.Fatal(err)
	}
	var tape bytes.Buffer
	if err := c.Backup(t.Context(), &tape); err != nil {
		t.Fatal(err)
	}
	s.stop()
	state := filepath.Join(s.dir, "state")
	report, err := VerifyLedger(t.Context(), state, &head)
	if err != nil || report.Records < v.Records {
		t.Errorf("verified without the daemon: %+v, %v", report, err)
	}
	restored := filepath.Join(s.dir, "restored")
	if _, err := backup.Restore(t.Context(), &tape, restored); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyLedger(t.Context(), restored, &head); err != nil {
		t.Error(err)
	}
	if _, err := VerifyLedger(t.Context(), t.TempDir(), nil); err == nil {
		t.Error("an empty folder was verified")
	}
}

func TestTheConfigurationInForceIsShown(t *testing.T) {
	s := newSite(t, "")
	s.start()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	s.write("weir.toml", strings.Replace(string(text), "[control]", "[control]\noperators = [\"user:nobody\"]", 1))
	c := s.client()
	if r, err := c.Reload(t.Context()); err != nil || !r.OK || len(r.Restart) != 0 {
		t.Fatalf("reload gave %+v, %v", r, err)
	}
	if shown, err := c.Config(t.Context()); err != nil || !strings.Contains(shown.Text, "user:nobody") {
		t.Errorf("the configuration in force is %+v, %v", shown, err)
	}
}

func TestWhetherSomebodyIsWrittenToFollowsTheConfiguration(t *testing.T) {
	s := newSite(t, "")
	s.start()
	c := s.client()
	ask := func() error {
		_, err := c.AskUnblock(t.Context(), api.UnblockAsk{Value: "evil.example", Reason: "x", Until: time.Now().Add(time.Hour), Notify: "alice@example.org"})
		return err
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "set notify.from") {
		t.Error(err)
	}
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	s.write("weir.toml", string(text)+"[notify]\nfrom = \"weir@example.org\"\n")
	if r, err := c.Reload(t.Context()); err != nil || !r.OK || len(r.Restart) != 0 {
		t.Fatalf("reload gave %+v, %v", r, err)
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
}

func TestAListWhereNobodyReadsItIsShown(t *testing.T) {
	s := newSite(t, "")
	s.start()
	s.write("lists/local.txt", "evil.example\n")
	c := s.client()
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err := c.Status(t.Context())
	if err != nil || len(status.Trouble) != 1 || !strings.Contains(status.Trouble[0].Text, "lists/local.txt") || !strings.Contains(status.Trouble[0].Text, "block/") {
		t.Errorf("status is %+v, %v", status, err)
	}
}
