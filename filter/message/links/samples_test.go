package links

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

// sample gives the path of a file with vectors that others made. They lie
// beside the repository, not in it.
func sample(t *testing.T, elem ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		path := filepath.Join(append([]string{dir, "..", "shared", "samples"}, elem...)...)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("the samples are not beside the repository: %v", err)
		}
		return path
	}
	t.Fatal("found no go.mod above the package")
	return ""
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestURLDefenseVectors(t *testing.T) {
	lines := bufio.NewScanner(strings.NewReader(read(t, sample(t, "url", "proofpoint_cardi.jsonl"))))
	tried := 0
	for lines.Scan() {
		var vec struct{ Input, Expect string }
		if err := json.Unmarshal(lines.Bytes(), &vec); err != nil {
			t.Fatal(err)
		}
		tried++
		all := collect(Text, "<"+vec.Input+">")
		want, err := intel.URL(vec.Expect)
		if err != nil {
			if vec.Expect != "" || len(all) != 1 {
				t.Errorf("%q: got %+v, want %q", vec.Input, all, vec.Expect)
			}
			continue
		}
		if !contains(all, want) {
			t.Errorf("%q: got %+v, want %q", vec.Input, all, want)
		}
	}
	if tried < 20 {
		t.Errorf("only %d vectors tried", tried)
	}
}

func TestSafeLinksVectors(t *testing.T) {
	root := sample(t, "url", "safelinks")
	tried := 0
	for _, folder := range []string{"encoded-all", "encoded-mixed"} {
		files, err := os.ReadDir(filepath.Join(root, "input", folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := "decoded-" + strings.Replace(file.Name(), "safelinks-", "", 1)
			output := filepath.Join(root, "output", "standalone", name)
			if strings.Contains(name, "email") {
				output = filepath.Join(root, "output", "embedded", name)
			}
			found := collect(Text, read(t, filepath.Join(root, "input", folder, file.Name())))
			for _, want := range collect(Text, read(t, output)) {
				tried++
				if !contains(found, want.Value) {
					t.Errorf("%s/%s: %v not found", folder, file.Name(), want.Value)
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d links tried", tried)
	}
}

// notFoundIn gives the texts of the indicator extractor's vectors in which we do not
// find a domain that it does, and why.
var notFoundIn = map[string][]string{
	"the domain of a mail address is no link":             {"@", "[at]", "(at)", " AT "},
	"words between spaces are prose":                      {"DOT COM", "dot com"},
	"somebody's own way to defang":                        {"habcp:", "hzzzp:", "HZZZP:", "[com]"},
	"more likely a file":                                  {"npki.zip", "video1.cab"},
	"no name has an empty label":                          {"firstname-lastname..example.com"},
	"the whole name is one, underscore or hyphen and all": {"stix_import", "bne_DNSTRWIN", "www.-banana", "www.--banana"},
	"compared as A-labels":                                {"קום", "рф", "ﬁ"},
}

func TestIndicatorExtractorVectors(t *testing.T) {
	var vectors map[string]struct {
		Domains []string `json:"domains"`
		URLs    []string `json:"urls"`
	}
	if err := json.Unmarshal([]byte(read(t, sample(t, "url", "xioc_tests.json"))), &vectors); err != nil {
		t.Fatal(err)
	}
	for text, vec := range vectors {
		var why string
		for reason, has := range notFoundIn {
			if slices.ContainsFunc(has, func(s string) bool { return strings.Contains(text, s) }) {
				why = reason
			}
		}
		all := collect(Text, text)
		var hosts []string
		for _, f := range all {
			hosts = append(hosts, f.Value.Host())
		}
		for _, want := range vec.URLs {
			if v, err := intel.URL(want); err == nil && !contains(all, v) && why == "" {
				t.Errorf("%q: %v not found in %+v", text, v, all)
			}
		}
		for _, want := range vec.Domains {
			if !slices.Contains(hosts, want) && why == "" {
				t.Errorf("%q: %v not found in %q", text, want, hosts)
			}
		}
		if len(vec.Domains)+len(vec.URLs) == 0 && len(all) > 0 {
			t.Errorf("%q: found %+v, want none", text, all)
		}
	}
}

// The vectors for relative references: what we make of reference and base has
// to be the link that browsers make of them.
func TestWebPlatformVectorsOfRelativeReferences(t *testing.T) {
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(read(t, sample(t, "url", "urltestdata.json"))), &raw); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, r := range raw {
		var vec struct {
			Input, Href, Protocol string
			Base                  *string
			Failure               bool
		}
		if json.Unmarshal(r, &vec) != nil || vec.Base == nil || vec.Failure || vec.Protocol != "http:" && vec.Protocol != "https:" {
			continue
		}
		input := strings.TrimSpace(vec.Input)
		if base, err := intel.URL(*vec.Base); err != nil || !strings.HasPrefix(base.String(), "http") || input == "" || input[0] == '#' || input == "http:" {
			continue // to the document itself
		}
		tried++
		var page strings.Builder
		escape := strings.NewReplacer("&", "&amp;", `"`, "&quot;")
		page.WriteString(`<base href="` + escape.Replace(*vec.Base) + `"><img src="` + escape.Replace(vec.Input) + `">`)
		all := collect(HTML, page.String())
		want, err := intel.URL(vec.Href)
		if err == nil && !slices.ContainsFunc(all, func(f Found) bool { return f.Where == "img@src" && f.Value == want }) {
			t.Errorf("%q on %q: got %q, want %v", vec.Input, *vec.Base, places(all), want)
		}
	}
	if tried < 100 {
		t.Errorf("only %d vectors tried", tried)
	}
}
