package e2e

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
)

// exported writes a document of what servers beside Weir would take, to a file.
func exported(t *testing.T, f export.Format) string {
	t.Helper()
	var patterns []intel.Pattern
	for _, text := range []string{"evil.example", "_dmarc.odd-name.example", "$origin.example", "a&b.example", "xn--bcher-kva.example"} {
		v, err := intel.Domain(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, intel.Exact(v))
	}
	for _, text := range []string{"198.51.100.7/32", "203.0.113.0/24", "2001:db8::7/128", "2001:db8:1::/48", "2001:db8:0:1:1:1:1:1/128", "::1/128"} {
		p, err := intel.Range(netip.MustParsePrefix(text))
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	for _, text := range []string{"ceo@evil.example", "o'neil+x@evil.example", "\"a b\"@evil.example", "<>"} {
		v, err := intel.Address(text)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, intel.Exact(v))
	}
	below, err := intel.Below("worse.example")
	if err != nil {
		t.Fatal(err)
	}
	patterns = append(patterns, below)
	var b bytes.Buffer
	_, err = export.Write(&b, func(yield func(intel.Indicator, error) bool) {
		for _, p := range patterns {
			if !yield(intel.Indicator{Pattern: p, Disposition: intel.Block}, nil) {
				return
			}
		}
	}, export.Options{Format: f, Now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "exported")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	// Postfix waits a second before it trusts a file that was written just now.
	before := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, before, before); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBINDTakesAnExportedZone(t *testing.T) {
	lab.Require(t, lab.NeedBIND)
	path := exported(t, export.RPZ)
	out, err := exec.Command("named-checkzone", "-i", "local", "-o", path+".canonical", "-s", "full", "rpz.site.example", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if bytes.Contains(out, []byte("warning")) {
		t.Errorf("%s", out)
	}
	zone, err := os.ReadFile(path + ".canonical")
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{
		"evil.example", `\$origin.example`, "worse.example", "*.worse.example", "32.7.100.51.198.rpz-ip", "24.0.113.0.203.rpz-ip",
		"128.7.zz.db8.2001.rpz-ip", "48.zz.1.db8.2001.rpz-ip", "128.1.1.1.1.1.0.db8.2001.rpz-ip", "128.1.zz.rpz-ip",
	} {
		found := false
		for line := range strings.Lines(string(zone)) {
			f := strings.Fields(line)
			found = found || len(f) == 5 && f[0] == owner+".rpz.site.example." && f[3] == "CNAME" && f[4] == "."
		}
		if !found {
			t.Errorf("%s is not in\n%s", owner, zone)
		}
	}
}

func TestPostfixTakesExportedTables(t *testing.T) {
	lab.Require(t, lab.NeedPostfix)
	conf := t.TempDir()
	if err := os.WriteFile(filepath.Join(conf, "main.cf"), []byte("compatibility_level = 3.6\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		format export.Format
		table  string
		key    string
		want   string
	}{
		{export.PostfixSenders, "texthash:", "evil.example", "REJECT"},
		{export.PostfixSenders, "texthash:", "worse.example", "REJECT"},
		{export.PostfixSenders, "texthash:", ".worse.example", "REJECT"},
		{export.PostfixSenders, "texthash:", ".evil.example", ""},
		{export.PostfixSenders, "texthash:", "ceo@evil.example", "REJECT"},
		{export.PostfixSenders, "texthash:", "o'neil+x@evil.example", "REJECT"},
		{export.PostfixSenders, "texthash:", "<>", "REJECT"},
		{export.PostfixSenders, "texthash:", "$origin.example", "REJECT"},
		{export.PostfixSenders, "texthash:", "good.example", ""},
		{export.PostfixClients, "cidr:", "198.51.100.7", "REJECT"},
		{export.PostfixClients, "cidr:", "198.51.100.8", ""},
		{export.PostfixClients, "cidr:", "203.0.113.200", "REJECT"},
		{export.PostfixClients, "cidr:", "2001:db8:1:2::3", "REJECT"},
		{export.PostfixClients, "cidr:", "2001:db8::8", ""},
	} {
		query := exec.Command("postmap", "-c", conf, "-q", c.key, c.table+exported(t, c.format))
		var problems bytes.Buffer
		query.Stderr = &problems
		out, err := query.Output()
		if found := strings.TrimSpace(string(out)); found != c.want || (err == nil) != (c.want != "") || problems.Len() > 0 {
			t.Errorf("%s%s of %s gives %q, %v %s", c.table, c.key, c.format, found, err, problems.Bytes())
		}
	}
	// As an index, which says what it makes of each line.
	path := exported(t, export.PostfixSenders)
	if out, err := exec.Command("postmap", "-c", conf, "hash:"+path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
