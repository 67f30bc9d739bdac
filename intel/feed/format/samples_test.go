package format_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

// sample gives the path of a feed that others made. They lie beside the
// repository, not in it.
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
		path := filepath.Join(append([]string{dir, "..", "shared", "samples", "feeds"}, elem...)...)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("the samples are not beside the repository: %v", err)
		}
		return path
	}
	t.Fatal("found no go.mod above the package")
	return ""
}

func TestRealFeedsAreRead(t *testing.T) {
	for _, c := range []struct {
		format  format.Format
		file    string
		entries int
		report  string // what it says of what was passed over
	}{
		{format.Plain, "lists/disposable_email_blocklist.conf", 8335, ""},
		{format.Plain, "lists/ipsum_l3.txt", 14217, ""},
		{format.Plain, "lists/maltrail_elf_mirai.txt", 17187, "37611 unsupported (a path without a host 37611)"},
		{format.STIX, "stix/apt1.json", 10, "2 unsupported (AND of comparisons 2)"},
		{format.STIX, "stix/poisonivy.json", 64, "1 malformed (has a character that no host name has at byte 7 1), 2 unsupported (path file:name 2)"},
		{format.STIX, "stix/indicator-for-malicious-url.json", 1, ""},
		{format.STIX, "stix/malware-indicator-for-file-hash.json", 1, ""},
		{format.STIX, "stix/sighting-of-an-indicator.json", 1, ""},
		{format.STIX, "stix/using-granular-markings.json", 0, "1 unsupported (operator MATCHES 1)"},
		{format.STIX, "stix/using-marking-definitions.json", 0, "1 internal"},
		{format.STIX, "stix/threat-actor-leveraging-attack-patterns-and-malware.json", 0, ""},
		{format.MISP, "misp/cloudmensis.misp.json", 9, "11 not to detect, 2 unsupported (type text 2)"},
		{format.MISP, "misp/misp.event_2021-06-10_backdoordiplomacy.json", 66, "1 not to detect"},
		{format.MISP, "misp/signsight-misp-event.json", 0, "13 not to detect"},
		{format.Warninglist, "warninglists/bank-website/list.json", 2225, "1 too wide (a public suffix with all below it 1)"},
		{format.Warninglist, "warninglists/disposable-email/list.json", 0, "8201 unsupported (a list of type substring 8201)"},
		{format.Warninglist, "warninglists/security-provider-blogpost/list.json", 645, "2 too wide (a public suffix with all below it 2)"},
		{format.Warninglist, "warninglists/tranco10k/list.json", 9897, "103 too wide (a public suffix with all below it 103)"},
		{format.Warninglist, "warninglists/url-shortener/list.json", 255, ""},
	} {
		t.Run(strings.ReplaceAll(c.file, "/", " "), func(t *testing.T) {
			all, report, err := read(t, format.Options{Format: c.format, Open: file(sample(t, c.file))})
			if err != nil {
				t.Fatal(err)
			}
			_, passed, _ := strings.Cut(report.String(), "; passed over: ")
			if len(all) != c.entries || passed != c.report {
				t.Errorf("%d, %q", len(all), passed)
			}
		})
	}
}

// What events of MISP hold although nobody marked it for detection can be read
// just as well.
func TestRealAttributesAreRead(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(sample(t, "misp/misp-powerpool.json")), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	kinds := map[intel.Kind]int{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		marked := strings.NewReplacer(`"to_ids": false`, `"to_ids": true`, `"to_ids":false`, `"to_ids":true`).Replace(string(text))
		all, report, err := read(t, format.Options{Format: format.MISP, Open: from(marked)})
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
		for _, ind := range all {
			kinds[ind.Pattern.Kind()]++
			if ind.Campaign == "" || ind.ID == "" {
				t.Errorf("%s: of which event is %s?", filepath.Base(path), ind.Pattern)
			}
		}
		for _, tally := range report.Passed {
			if tally.Reason == format.Malformed {
				t.Errorf("%s: %+v", filepath.Base(path), tally)
			}
		}
	}
	if kinds[intel.KindDomain] != 112 || kinds[intel.KindURL] != 46 || kinds[intel.KindSHA1] != 81 || kinds[intel.KindIP] != 1 {
		t.Errorf("there are %v", kinds)
	}
}

// Each example of a pattern in the specification is read, or named by what is
// unsupported in it.
func TestPatternsOfTheSpecificationAreRead(t *testing.T) {
	text, err := os.ReadFile(sample(t, "stix", "pattern_spec_examples_v21.txt"))
	if err != nil {
		t.Fatal(err)
	}
	given, unsupported := 0, 0
	for pattern := range strings.Lines(string(text)) {
		all, report, err := read(t, format.Options{Format: format.STIX, Open: from(bundle(pattern))})
		if n := report.Count(format.Unsupported); err != nil || len(all) == 0 && n == 0 || report.Count(format.Malformed) > 0 {
			t.Errorf("%s: %s, %v", pattern, report, err)
		} else if n > 0 {
			unsupported++
		}
		given += len(all)
	}
	if given != 4 || unsupported != 20 {
		t.Errorf("%d values and %d patterns with something unsupported", given, unsupported)
	}
}
