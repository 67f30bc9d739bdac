package format_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

func TestABundleGivesWhatItsIndicatorsName(t *testing.T) {
	all, report, err := read(t, format.Options{Format: format.STIX, Open: testdata("bundle.json"), MinConfidence: 50})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "url https://evil.example/pay", "domain evil.example",
		"md5 44d88612fea8a8f36de82e1278abb02f", "sha256 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f")
	wantReport(t, report, "4 entries; passed over: 1 benign, 1 expired, 1 low confidence, 1 not yet valid, 1 revoked, 2 unsupported (path email-message:subject 1, pattern type yara 1)")
	if ind := all[0]; ind.ID != "indicator--8a2f7f3e-0d6f-4d9b-9a53-0d5a3f9a0010" || ind.Note != "Pay page" || ind.TLP != intel.TLPAmber || !ind.Until.IsZero() {
		t.Errorf("the first is %+v", ind)
	}
	if ind := all[2]; ind.Note != "Dropper" || !ind.Until.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("the file is %+v", ind)
	}
	all, _, err = read(t, format.Options{Format: format.STIX, Open: testdata("bundle.json"), MaxAge: 21 * 24 * time.Hour, Kinds: []intel.Kind{intel.KindURL}})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || !all[0].Until.Equal(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("with an age it is %+v", all)
	}
	all, _, err = read(t, format.Options{Format: format.STIX, Open: testdata("bundle.json"), Disposition: intel.Allow})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(patterns(all), "domain good.example") {
		t.Errorf("what is benign is missing among what is allowed: %v", patterns(all))
	}
}

func TestAnEnvelopeOfTAXIITellsOfTheNextPage(t *testing.T) {
	const indicator = `{"type":"indicator","id":"indicator--1","pattern":"[domain-name:value='evil.example']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}`
	for _, c := range []struct {
		text    string
		entries int
		more    bool
		next    string
	}{
		{`{"more":true,"next":"abc","objects":[` + indicator + `]}`, 1, true, "abc"},
		{`{"objects":[` + indicator + `],"next":"\u00e4","more":true}`, 1, true, "\u00e4"},
		{`{"objects":[` + indicator + `,` + indicator + `],"more":false,"next":null}`, 2, false, ""},
		{`{"more":false}`, 0, false, ""},
		{`{}`, 0, false, ""},
		{`{"type":"bundle","id":"bundle--1"}`, 0, false, ""},
	} {
		all, report, err := read(t, format.Options{Format: format.STIX, Open: from(c.text)})
		if err != nil || len(all) != c.entries || report.More != c.more || report.Next != c.next {
			t.Errorf("%s: %d entries, more %v, next %q, %v", c.text, len(all), report.More, report.Next, err)
		}
	}
}

// bundle makes a bundle of one indicator with this pattern.
func bundle(pattern string) string {
	quoted, _ := json.Marshal(pattern)
	return fmt.Sprintf(`{"type":"bundle","objects":[{"type":"indicator","id":"indicator--1","pattern":%s,"pattern_type":"stix"}]}`, quoted)
}

func TestAPatternGivesOnlyWhatTellsAlone(t *testing.T) {
	const md5, sha256 = "44d88612fea8a8f36de82e1278abb02f", "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
	for _, c := range []struct {
		pattern string
		want    string // patterns, then what was passed over
	}{
		{"[url:value = 'http://a.example/x']", "url http://a.example/x"},
		{"  [ domain-name:value='a.example'OR domain-name:value='b.example' ]\n", "domain a.example, domain b.example"},
		{"[domain-name:value IN ('a.example', 'b.example')]", "domain a.example, domain b.example"},
		{"[email-addr:value == 'X@A.example']", "address x@a.example"},
		{"[email-message:from_ref.value = 'x@a.example' OR email-message:sender_ref.value = 'y@a.example']", "address x@a.example, address y@a.example"},
		{"[ipv4-addr:value = '198.51.100.0/24' OR ipv6-addr:value = '2001:db8::1/128']", "ip 198.51.100.0/24, ip 2001:db8::1"},
		{"[ipv4-addr:value ISSUBSET '198.51.100.0/24']", "ip 198.51.100.0/24"},
		{"[file:hashes.MD5 = '" + md5 + "']", "md5 " + md5},
		{"[file:hashes.'SHA-256' = '" + strings.ToUpper(sha256) + "']", "sha256 " + sha256},
		{"[file:hashes.SHA256 = '" + sha256 + "' AND file:hashes.'MD5' = '" + md5 + "']", "sha256 " + sha256 + ", md5 " + md5},
		{"[url:value = 'http://a.example/o\\'neil']", "url http://a.example/o'neil"},
		{"([url:value = 'http://a.example/'] OR [domain-name:value = 'b.example'])", "url http://a.example/, domain b.example"},
		{"[(domain-name:value = 'a.example' OR (domain-name:value = 'b.example'))]", "domain a.example, domain b.example"},
		// a OR (b AND c): only a tells alone.
		{"[domain-name:value = 'a.example' OR domain-name:value = 'b.example' AND url:value = 'http://c.example/']", "domain a.example; unsupported (AND of comparisons 1)"},
		{"[domain-name:value = 'a.example' AND url:value = 'http://c.example/' OR domain-name:value = 'b.example']", "domain b.example; unsupported (AND of comparisons 1)"},
		{"[file:hashes.MD5 = '" + md5 + "' AND file:name = 'a.exe']", "; unsupported (AND of comparisons 1)"},
		{"[file:hashes.MD5 IN ('" + md5 + "') AND file:hashes.'SHA-256' IN ('" + sha256 + "')]", "; unsupported (AND of comparisons 1)"},
		{"[domain-name:value = 'a.example' AND (file:name = 'x' OR file:name = 'y')]", "; unsupported (AND of comparisons 1)"},
		{"[domain-name:value = 'a.example'] AND [domain-name:value = 'b.example']", "; unsupported (AND of observations 1)"},
		{"[domain-name:value = 'a.example'] AND [domain-name:value = 'b.example'] OR [domain-name:value = 'c.example']", "domain c.example; unsupported (AND of observations 1)"},
		{"[domain-name:value = 'a.example'] FOLLOWEDBY [domain-name:value = 'b.example']", "; unsupported (operator FOLLOWEDBY 1)"},
		{"[domain-name:value = 'a.example'] OR [domain-name:value = 'b.example'] FOLLOWEDBY [url:value = 'http://c.example/']", "; unsupported (operator FOLLOWEDBY 1)"},
		{"[domain-name:value = 'a.example'] WITHIN 300 SECONDS", "; unsupported (operator WITHIN 1)"},
		{"[domain-name:value = 'a.example'] REPEATS 5 TIMES WITHIN 1800 SECONDS", "; unsupported (operator WITHIN 1)"},
		{"[domain-name:value = 'a.example'] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z' OR [domain-name:value = 'b.example']", "domain b.example; unsupported (operator START 1)"},
		{"[domain-name:value LIKE '%.a.example']", "; unsupported (operator LIKE 1)"},
		{"[domain-name:value LIKE '%.a.example' OR domain-name:value = 'A.example']", "domain .a.example"},
		{"[domain-name:value = 'a.example' OR domain-name:value LIKE '%.A.example' OR domain-name:value = 'b.example' OR domain-name:value LIKE '%.c.example']", "domain .a.example, domain b.example; unsupported (operator LIKE 1)"},
		{"[domain-name:value LIKE 'a%.example' OR domain-name:value LIKE '%' OR url:value LIKE 'https://a.example/_/%']", "; 3 unsupported (operator LIKE 3)"},
		{"[domain-name:value = 'co.uk' OR domain-name:value LIKE '%.co.uk']", "; too wide (a public suffix with all below it 1)"},
		{"[url:value LIKE 'https://a.example/pay/%']", "url https://a.example/pay/*"},
		{"[url:value LIKE '%']", "; malformed (has to reach into the path, and not into the fragment: https:… 1)"},
		{"[domain-name:value MATCHES'^.+$']", "; unsupported (operator MATCHES 1)"},
		{"[domain-name:value != 'a.example']", "; unsupported (operator != 1)"},
		{"[NOT domain-name:value = 'a.example']", "; unsupported (operator NOT 1)"},
		{"[domain-name:value NOT = 'a.example']", "; unsupported (operator NOT 1)"},
		{"[domain-name:value NOT IN ('a.example')]", "; unsupported (operator NOT 1)"},
		{"[EXISTS domain-name:value]", "; unsupported (operator EXISTS 1)"},
		{"[domain-name:value = 5]", "; unsupported (a value that is no string 1)"},
		{"[file:size > 7.5e3]", "; unsupported (path file:size 1)"},
		{"[file:magic_number_hex = h'ffd8']", "; unsupported (path file:magic_number_hex 1)"},
		{"[file:extensions.'windows-pebinary-ext'.sections[*].entropy > 7.0]", "; unsupported (path file:extensions.'windows-pebinary-ext'.sections[*].entropy 1)"},
		{"[network-traffic:dst_ref.value = '203.0.113.9']", "; unsupported (path network-traffic:dst_ref.value 1)"},
		{"[email-message:to_refs[0].value = 'x@a.example']", "; unsupported (path email-message:to_refs[0].value 1)"},
		{"[process:is_hidden = true]", "; unsupported (path process:is_hidden 1)"},
		{"[email-addr:value = ' ' OR email-addr:value = '< >']", "; too wide (the null sender 2)"},
		{"[ipv4-addr:value = '10.0.0.1']", "; internal"},
		{"[ipv4-addr:value = '198.51.100.7/24']", "; malformed (is an address range with host bits set 1)"},
		{"[domain-name:value = 'nodots' OR domain-name:value = 'a.example']", "domain a.example; malformed (is a name of one label 1)"},
	} {
		text := strings.Replace(bundle(c.pattern), `"objects":[`, `"objects":[{"type":"indicator","pattern":"[domain-name:value='last.example']"},`, 1)
		all, report, err := read(t, format.Options{Format: format.STIX, Open: from(text)})
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		got := strings.Join(patterns(all[1:]), ", ")
		if _, passed, ok := strings.Cut(report.String(), "; passed over: "); ok {
			got += "; " + strings.TrimPrefix(strings.TrimPrefix(passed, "1 "), "2 ")
		}
		if got != c.want {
			t.Errorf("%s\n\tgives %s\n\twant  %s", c.pattern, got, c.want)
		}
	}
}

func TestWhatIsNoPatternIsMalformed(t *testing.T) {
	for _, pattern := range []string{
		"", "[", "[]", "domain-name:value = 'a.example'", "[domain-name:value = 'a.example'", "[domain-name:value 'a.example']",
		"[domain-name:value = ]", "[domain-name:value = 'a.example]", "[= 'a.example']", "['a.example' = domain-name:value]",
		"[domain-name:value = 'a.example'] AND", "[domain-name:value = 'a.example'] [domain-name:value = 'b.example']",
		"[domain-name:value IN 'a.example']", "[domain-name:value IN ()]", "[domain-name:value IN ('a.example',)]",
		"[domain-name:value = 'a.example' XOR domain-name:value = 'b.example']", "([domain-name:value = 'a.example']",
		"[domain-name:value = 'a.example')", "[file:hashes.'MD5 = 'x']", "[domain-name:value = 'a.example'] WITHIN",
		"[domain-name:value = \"a.example\"]", strings.Repeat("(", 100_000), "[" + strings.Repeat("(", 100_000), "[domain-name = 'a.example']",
	} {
		all, report, err := read(t, format.Options{Format: format.STIX, Open: from(bundle(pattern))})
		if err != nil || len(all) != 0 || report.Count(format.Malformed) != 1 {
			t.Errorf("%.60s: %v, %v", pattern, patterns(all), err)
		}
	}
}

func TestOneBadIndicatorLeavesTheOthers(t *testing.T) {
	const good = `{"type":"indicator","pattern":"[domain-name:value='good.example']"}`
	for _, bad := range []string{
		`{"type":"indicator","pattern":17}`, `{"type":"indicator","pattern":null}`, `"indicator"`, `{}`, `17`, `[]`,
		`{"type":"indicator","pattern":"[domain-name:value='b.example']","confidence":1e999}`,
		`{"type":"indicator","pattern":"[domain-name:value='b.example']","confidence":` + strings.Repeat("9", 400) + `}`,
		`{"type":"indicator","pattern":"[domain-name:value='b.example']","confidence":101}`,
		`{"type":"indicator","pattern":"[domain-name:value='b.example']","valid_until":"soon"}`,
		`{"type":"indicator","pattern":"[domain-name:value='b` + "\xff" + `.example']"}`,
		`{"type":"indicator","pattern":"[domain-name:value='b.example']","name":"b` + "\xff" + `"}`,
		`{"type":"indicator","pattern":"[domain-name:value='b.example']",}`,
		`{"type":"indicator","pattern":"[domain-name:value='b.example']","name":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		all, report, err := read(t, format.Options{Format: format.STIX, Open: from(`{"objects":[` + bad + `,` + good + `]}`)})
		if err != nil || report.Count(format.Malformed) != 1 {
			t.Errorf("%.80s: %s, %v", bad, report, err)
			continue
		}
		wantPatterns(t, all, "domain good.example")
	}
	// What is no indicator may look as it likes, and be as large.
	all, report, err := read(t, format.Options{Format: format.STIX, Open: from(`{"objects":[{"type":"malware","labels":5,"pattern":[]},` + good + `]}`)})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "domain good.example")
	wantReport(t, report, "1 entries")
}

func TestABundleOfWhatNobodyCanReadIsRefused(t *testing.T) {
	const bad = `{"type":"indicator","pattern":"evil.example"}`
	_, _, err := read(t, format.Options{Format: format.STIX, Open: from(`{"objects":[` + strings.Repeat(bad+",", 5) + bad + `]}`)})
	if err == nil || !strings.Contains(err.Error(), "6 of 6 entries cannot be read as stix") {
		t.Error(err)
	}
}

func TestWhatWasSeenInTheFutureIsKeptNoLonger(t *testing.T) {
	all, _, err := read(t, format.Options{Format: format.STIX, MaxAge: time.Hour, Open: from(`{"objects":[{"type":"indicator","modified":"2999-01-01T00:00:00Z","pattern":"[domain-name:value='a.example']"}]}`)})
	if err != nil || len(all) != 1 || !all[0].Until.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestOfAMemberThatStandsThereTwiceTheLastCounts(t *testing.T) {
	all, _, err := read(t, format.Options{Format: format.STIX, Open: from(`{"objects":[{"type":"indicator","pattern":"[domain-name:value='a.example']","revoked":true,"revoked":false,"pattern":"[domain-name:value='b.example']"}],"objects":[{"type":"indicator","pattern":"[domain-name:value='c.example']"}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "domain b.example", "domain c.example")
}
