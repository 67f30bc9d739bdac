package pull

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/puller"
	"github.com/weirmail/weir/config"
)

// found gives the findings as "severity id".
func found(list []puller.Finding) []string {
	var all []string
	for _, f := range list {
		all = append(all, string(f.Severity)+" "+f.ID)
	}
	return all
}

func TestACheckSaysWhetherPullsWouldWork(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("secret", secret+"\n", 0o600)
	file("wrong", "not the password", 0o600)
	file("shown", secret, 0o640)
	for name, c := range map[string]struct {
		secret, probe, acls string
		o                   puller.CheckOptions
		want                []string
		err                 string
	}{
		"all is well":           {want: []string{"ok login", "ok search", "warning write"}},
		"all is well, in full":  {o: puller.CheckOptions{Write: true}, want: []string{"ok login", "ok search", "ok restore", "ok find", "ok remove"}},
		"another mailbox":       {o: puller.CheckOptions{Mailbox: user(7)}, want: []string{"ok login", "ok search", "warning write"}},
		"one that is not there": {o: puller.CheckOptions{Mailbox: "nobody@lab.test"}, want: []string{"error login"}},
		"one that is not ours":  {o: puller.CheckOptions{Mailbox: "a@else.test"}, want: []string{"error mailbox"}},
		"a wrong password":      {secret: "wrong", want: []string{"error login"}},
		"a wrong probe":         {probe: "nobody@lab.test", want: []string{"error login"}},
		"a secret for all":      {secret: "shown", err: "mode 0640"},
		"no secret":             {secret: "none", err: "no such file"},
		"only reading":          {acls: "lr", o: puller.CheckOptions{Write: true}, want: []string{"ok login", "ok search", "error restore"}},
		"no taking out":         {acls: "lrwsi", o: puller.CheckOptions{Write: true}, want: []string{"ok login", "ok search", "ok restore", "ok find", "error remove"}},
		"nothing":               {acls: "l", want: []string{"ok login", "error search"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			acls := "lrwstie"
			if c.acls != "" {
				acls = c.acls
			}
			file("acls", "* user="+master+" "+acls+"\n", 0o644)
			doc := fmt.Sprintf("[[daemon]]\naddress = \"unix:none.sock\"\n[[store]]\nmatch = [\"*@lab.test\"]\naddress = %q\nsecurity = \"plaintext\"\nmaster = %q\nsecret_file = %q\nprobe = %q\n",
				s.IMAPAddr(), master, first(c.secret, "secret"), first(c.probe, probe))
			cfg, err := config.ParsePull(filepath.Join(s.dir, "pull.toml"), []byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			list, err := puller.Check(t.Context(), cfg, c.o)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "pull.toml:8:15: store[0].secret_file") {
					t.Errorf("error %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := found(list), append([]string{"error daemon"}, c.want...); !slices.Equal(got, want) {
				t.Errorf("found %q, want %q\n%+v", got, want, list)
			}
			for _, f := range list {
				if f.Severity == puller.Error && (f.Why == "" || f.Cure == "") {
					t.Errorf("it is not said why, or what to do: %+v", f)
				}
			}
		})
	}
	if at := (&box{t: t, client: &client{t: t, s: s, login: probe}}).folders("weir-pull-check"); len(at) > 1 {
		t.Errorf("messages are left in %q", at)
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func TestTheFileThatThePageShowsIsInOrder(t *testing.T) {
	page, err := os.ReadFile("../../../../quarantine/pull/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, behind, ok := strings.Cut(string(page), "```toml\n# /etc/weir/pull.toml\n")
	text, _, closed := strings.Cut(behind, "```")
	if !ok || !closed {
		t.Fatal("the page shows no pull.toml")
	}
	cfg, err := config.ParsePull("/etc/weir/pull.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if w := cfg.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
}
