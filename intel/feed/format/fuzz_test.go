package format_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

// fuzz reads texts as one format and checks what holds for each.
func fuzz(f *testing.F, o format.Options, seeds ...string) {
	for _, name := range []string{"plain.txt", "hosts.txt", "urlhaus.csv", "threatfox.csv", "bundle.json", "event.json", "warninglist.json", "manifest.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	o.MaxLine, o.MaxObject, o.MaxDepth = 4<<10, 16<<10, 16 // that fuzzing can reach them
	f.Fuzz(func(t *testing.T, text string) {
		o.Open = from(text)
		check(t, o, len(text))
	})
}

func check(t *testing.T, o format.Options, size int) {
	t.Helper()
	all, report, err := read(t, o)
	var e *format.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("an error of another type: %v", err)
	}
	if err != nil && (!utf8.ValidString(err.Error()) || len(err.Error()) > 1000 || e.Offset > int64(2*size)) {
		t.Fatalf("an error that nobody can read: %q", err)
	}
	for _, ind := range all {
		p := ind.Pattern
		scheme := strings.TrimSuffix(p.Text(), p.MatchText())
		again, err := intel.PatternFromKey(p.AppendKey(nil), scheme)
		if err != nil || again.String() != p.String() {
			t.Fatalf("the store cannot keep %s: %v", p, err)
		}
		if p.Kind() == intel.KindIP && p.Form() == intel.FormExact {
			if a, ok := p.Value().Addr(); !ok || a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
				t.Fatalf("the internal address %s", p)
			}
		}
		if p.Form() == intel.FormBelow && intel.IsPublicSuffix(p.Text()) {
			t.Fatalf("everything below %s", p)
		}
		for _, text := range []string{ind.Note, ind.ID, ind.Campaign} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) || len(text) > 256 {
				t.Fatalf("%q is not legible", text)
			}
		}
		if !ind.Until.IsZero() && !ind.Until.After(now) {
			t.Fatalf("%s ended at %s", p, ind.Until)
		}
	}
	for _, tally := range report.Passed {
		if tally.Count < len(tally.Examples) || len(tally.Examples) == 0 || !utf8.ValidString(tally.Detail) {
			t.Fatalf("%+v", tally)
		}
	}
}

func FuzzPlain(f *testing.F) {
	fuzz(f, format.Options{Format: format.Plain}, "\xff\xfee\x00.\x00x\x00\n\x00", "||a.example^\n@@||b^\n", "[::1]:80\n[", "1.2.3.4/", "hxxp[:]//a[.]b/", "*.", "||^", ".\n")
}

func FuzzHosts(f *testing.F) {
	fuzz(f, format.Options{Format: format.Hosts}, "::1%x a.b", "0.0.0.0 \n", "[ x\n", ": a.b\n")
}

func FuzzCSV(f *testing.F) {
	fuzz(f, format.Options{Format: format.CSV, MaxAge: time.Hour, CSV: format.CSVOptions{Columns: format.Columns{Value: "1", Kind: "2", Note: []string{"3"}, Until: "4", Confidence: "5", Tags: "6", Seen: "7"}}},
		"a.example,domain,\"x\ny\",2027-01-01,5%,tlp:red,1794960000\n", `"a""b","",`+"\n", "\"\n\"\n\",\"\n")
}

func FuzzURLhaus(f *testing.F) { fuzz(f, format.Options{Format: format.URLhaus, MaxAge: time.Hour}) }

func FuzzThreatFox(f *testing.F) {
	fuzz(f, format.Options{Format: format.ThreatFox, MaxAge: 24 * time.Hour})
}

func FuzzSTIX(f *testing.F) {
	fuzz(f, format.Options{Format: format.STIX, MaxAge: time.Hour}, bundle("[domain-name:value IN ('a.example')]"), `{"more":true,"next":"x"}`, `{"objects":[]}`, `{"objects":[1e9`)
}

func FuzzMISP(f *testing.F) {
	fuzz(f, format.Options{Format: format.MISP, MaxAge: time.Hour}, `[{"Event":{"Attribute":[{"type":"ip-dst|port","value":"|","to_ids":1}]}}]`, `{"response":{"Event":{}}}`)
}

func FuzzWarninglist(f *testing.F) {
	fuzz(f, format.Options{Format: format.Warninglist}, `{"type":"cidr","list":["1.2.3.4/24","::/0",1,null]}`, `{"type":"hostname","list":[".",""," "]}`)
}

func FuzzPattern(f *testing.F) {
	for _, seed := range []string{
		"[url:value = 'http://a.example/x' OR NOT file:hashes.'SHA-256' IN ('a', h'ff', t'x')] AND ([a:b LIKE '%'] REPEATS 5 TIMES)",
		"[ipv4-addr:value ISSUBSET '198.51.100.0/24'] START t'x' STOP t'y'", "[a:b[*].c = 1.5] FOLLOWEDBY [EXISTS a:b]", "['", "[a:'", "[a:b[", "h'",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		text := bundle(pattern)
		check(t, format.Options{Format: format.STIX, Open: from(text)}, len(text))
	})
}

func FuzzManifest(f *testing.F) {
	text, err := os.ReadFile("testdata/manifest.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Fuzz(func(t *testing.T, text string) {
		for ev, err := range format.Manifest(strings.NewReader(text), format.Options{MaxObject: 4 << 10}) {
			if err != nil {
				continue
			}
			if len(ev.UUID) != 36 || strings.Trim(ev.UUID, "0123456789abcdef-") != "" || len(ev.Info) > 128 || !utf8.ValidString(ev.Info) {
				t.Fatalf("%+v", ev)
			}
		}
	})
}
