// Package layers checks who imports whom. The rules keep each room of the house
// small enough to be understood alone: folders depend downward (cmd, quarantine,
// filter, intel), and one subtree sees each foreign protocol or store.
package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weirmail/weir"

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// ours gives all packages of the module; their paths without the module's.
func ours(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", module+"/...")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, problems.Bytes())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = short(p.ImportPath)
		all = append(all, p)
	}
}

func short(path string) string { return strings.TrimPrefix(path, module+"/") }

// below reports whether a path is one of the folders, or lies in one that ends
// in a slash.
func below(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		dir, tree := strings.CutSuffix(f, "/")
		return path == dir || tree && strings.HasPrefix(path, f)
	})
}

// layers says what each folder may import of ours, tests included. The first
// that holds a package counts; "x/" is a folder and all below it.
var layers = []struct {
	of  string
	may []string
}{
	{"config", nil},
	{"intel", nil},
	{"intel/", []string{"intel/"}},
	{"filter/verdict", []string{"intel"}},
	{"filter/message/", []string{"intel", "filter/message/"}},
	{"filter/auth", nil},
	{"filter/evidence", []string{"intel/", "filter/auth", "filter/message"}},
	{"filter/policy", []string{"intel/", "filter/auth", "filter/evidence", "filter/message", "filter/verdict"}},
	{"filter/milter/", []string{"intel", "filter/message/", "filter/verdict", "filter/milter/"}},
	{"filter/", []string{"intel/", "filter/"}},
	{"quarantine/", []string{"intel/", "quarantine/", "filter/message", "filter/evidence", "filter/verdict"}},
	{"cmd/", []string{"intel/", "filter/", "quarantine/", "config", "cmd/"}},
}

func TestFoldersDependDownward(t *testing.T) {
	for _, p := range ours(t) {
		i := slices.IndexFunc(layers, func(l struct {
			of  string
			may []string
		}) bool {
			return below(p.ImportPath, l.of)
		})
		if i < 0 {
			t.Errorf("%s lies in no folder of the house", p.ImportPath)
			continue
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			ours := strings.HasPrefix(imported, module+"/")
			if imported := short(imported); ours && imported != p.ImportPath && !below(imported, layers[i].may...) {
				t.Errorf("%s imports %s; %s may import %v", p.ImportPath, imported, layers[i].of, layers[i].may)
			}
		}
	}
}

// owners says who alone sees a library, tests included.
var owners = map[string][]string{
	"github.com/dgraph-io/badger/":         {"intel/kv"},
	"github.com/emersion/go-milter":        {"filter/milter/"},
	"github.com/emersion/go-smtp":          {"quarantine/reinject"},
	"github.com/emersion/go-imap/":         {"quarantine/mailbox/imap"},
	"github.com/emersion/go-msgauth/":      {"filter/auth"},
	"github.com/emersion/go-message/":      {"filter/message/", "filter/policy"},
	"cel.dev/cel-go/":                      {"intel/rule"},
	"github.com/pelletier/go-toml/":        {"config", "filter/policy"},
	"github.com/spf13/":                    {"cmd/internal/cli/"},
	"github.com/fsnotify/fsnotify":         {"cmd/internal/app"},
	"github.com/coreos/go-systemd/":        {"cmd/internal/app"},
	"github.com/gabriel-vasile/mimetype":   {"filter/message/"},
	"github.com/oklog/ulid/":               {"intel/"},
	"github.com/FastFilter/xorfilter":      {"intel/match"},
	"github.com/prometheus/client_golang/": {"intel/", "filter/", "quarantine/", "cmd/"},
}

func TestOneSubtreeSeesEachLibrary(t *testing.T) {
	all := ours(t)
	for library, owner := range owners {
		seen := false
		for _, p := range all {
			for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
				if !below(imported, library) {
					continue
				}
				seen = true
				if !below(p.ImportPath, owner...) {
					t.Errorf("%s imports %s, which is for %v alone", p.ImportPath, imported, owner)
				}
			}
		}
		if !seen {
			t.Errorf("nothing imports %s: take it out of this test, and of go.mod", library)
		}
	}
}

// The facts of a message, what is known of it, and the verdict are plain data:
// they can be used where there is no store. The sidecar runs where there is none.
func TestPlainDataNeedsNoStore(t *testing.T) {
	checked := 0
	for _, p := range ours(t) {
		if !below(p.ImportPath, "filter/message/", "filter/verdict", "intel", "quarantine/job", "quarantine/mailbox/", "quarantine/pull/") {
			continue
		}
		checked++
		for _, dep := range p.Deps {
			if below(short(dep), "intel/kv", "intel/ledger", "intel/wal", "github.com/dgraph-io/") {
				t.Errorf("%s depends on %s", p.ImportPath, short(dep))
			}
		}
	}
	if checked < 9 {
		t.Errorf("only %d packages were looked at", checked)
	}
}

func TestOnlyCommandsReadTheConfiguration(t *testing.T) {
	for _, p := range ours(t) {
		if slices.Contains(p.Deps, module+"/config") && !below(p.ImportPath, "cmd/") {
			t.Errorf("%s depends on config", p.ImportPath)
		}
	}
}

func TestTheReadmeGivesAReasonForEachDependency(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	direct := strings.Fields(string(out))
	for _, m := range direct {
		if !strings.Contains(string(readme), "| "+m+" | ") {
			t.Errorf("README.md does not say what %s is for", m)
		}
	}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z0-9.-]+\.[a-z]+/\S+) \|`).FindAllStringSubmatch(string(readme), -1) {
		if !slices.Contains(direct, row[1]) {
			t.Errorf("README.md gives a reason for %s, which go.mod does not ask for", row[1])
		}
	}
}
