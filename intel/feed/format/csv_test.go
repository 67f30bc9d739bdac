package format_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

func TestURLhausIsReadByTheNamesInItsLastComment(t *testing.T) {
	all, report, err := read(t, format.Options{Format: format.URLhaus, Open: testdata("urlhaus.csv"), MaxAge: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "url http://198.51.100.7:39123/bin.sh", "url https://evil.example/still")
	wantReport(t, report, "2 entries; passed over: 1 expired, 1 offline")
	first := all[0]
	if first.ID != "1001" || first.Note != "malware_download, 32-bit,elf,Mozi" || first.Line != 7 || !first.Until.Equal(time.Date(2026, 12, 20, 11, 40, 7, 0, time.UTC)) {
		t.Errorf("the first is %+v", first)
	}
	if second := all[1]; second.TLP != intel.TLPAmber || second.Note != "malware_download, doc" {
		t.Errorf("the second is %+v", second)
	}
	all, report, err = read(t, format.Options{Format: format.URLhaus, Open: testdata("urlhaus.csv"), Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "url http://198.51.100.7:39123/bin.sh", "url https://evil.example/a,b.exe", "url https://evil.example/old", "url https://evil.example/still")
	wantReport(t, report, "4 entries")
	if !all[0].Until.IsZero() {
		t.Errorf("without MaxAge it ends at %s", all[0].Until)
	}
}

func TestWhatAFeedDoesNotSayHowSureItIsOfIsAsSureAsItIsTold(t *testing.T) {
	o := format.Options{Format: format.CSV, Confidence: 70, MinConfidence: 75, Open: from("a.example,\nb.example,80\nc.example,60\n"),
		CSV: format.CSVOptions{Columns: format.Columns{Value: "1", Confidence: "2"}}}
	all, report, err := read(t, o)
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "domain a.example", "domain b.example")
	wantReport(t, report, "2 entries; passed over: 1 low confidence")
	if all[0].Confidence != 70 || all[1].Confidence != 80 {
		t.Errorf("%d and %d sure, want 70 and 80", all[0].Confidence, all[1].Confidence)
	}
}

func TestThreatFoxIsReadWithKindAndConfidence(t *testing.T) {
	all, report, err := read(t, format.Options{Format: format.ThreatFox, Open: testdata("threatfox.csv"), MinConfidence: 60, MaxAge: 24 * time.Hour, Now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "ip 203.0.113.9", "domain c2.evil.example", "sha256 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f")
	wantReport(t, report, "3 entries; passed over: 1 low confidence, 1 unsupported (kind sha3_384_hash 1)")
	if ind := all[1]; ind.ID != "2002" || ind.Confidence != 75 || ind.Note != "botnet_cc, Some Stealer, stealer,c2" || !ind.Until.Equal(time.Date(2026, 11, 21, 11, 30, 0, 0, time.UTC)) {
		t.Errorf("the domain is %+v", ind)
	}
}

func TestColumnsAreNamedOrNumbered(t *testing.T) {
	until := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		csv  format.CSVOptions
		kind intel.Kind
		feed string
	}{
		{"by header", format.CSVOptions{Header: true, Columns: format.Columns{Value: "Indicator", Kind: "type", Note: []string{"why"}, ID: "id", Campaign: "set", Until: "end"}}, 0,
			"id,indicator,type,why,set,end\n7,evil.example,domain,\"bad, very\",autumn,2026-12-31\n"},
		{"by number", format.CSVOptions{Columns: format.Columns{Value: "2", Note: []string{"4"}, ID: "1", Campaign: "5", Until: "6"}}, intel.KindDomain,
			"7,evil.example,domain,\"bad, very\",autumn,2026-12-31T00:00:00Z\n"},
		{"by comment", format.CSVOptions{Columns: format.Columns{Value: "indicator", Note: []string{"why"}, ID: "id", Campaign: "set", Until: "end"}}, 0,
			"# a feed\n# id,indicator,type,why,set,end\n#\n7,evil.example,domain,\"bad, very\",autumn,1798675200\n"},
		{"by header, in number and with another comma", format.CSVOptions{Comma: ';', Header: true, Columns: format.Columns{Value: "2", Note: []string{"why"}, ID: "id", Campaign: "set", Until: "end"}}, 0,
			"id;indicator;type;why;set;end\n7 ; \"evil.example\" ;domain; bad, very;autumn;2026-12-31 00:00:00\n"},
		{"by a header that nobody spoke of", format.CSVOptions{Columns: format.Columns{Value: "indicator", Kind: "type", Note: []string{"why"}, ID: "id", Campaign: "set", Until: "end"}}, 0,
			"# all, of it\nid,indicator,type,why,set,end\n7,evil.example,,\"bad, very\",autumn,2026-12-31\n"},
		{"by comment where a header was to be", format.CSVOptions{Header: true, Columns: format.Columns{Value: "indicator", Note: []string{"why"}, ID: "id", Campaign: "set", Until: "end"}}, 0,
			"# id,indicator,type,why,set,end\n7,evil.example,domain,\"bad, very\",autumn,2026-12-31\n"},
		{"with tabs", format.CSVOptions{Comma: '\t', Columns: format.Columns{Value: "2", Note: []string{"4"}, ID: "1", Campaign: "5", Until: "6"}}, 0,
			"7\tevil.example\t\tbad, very\tautumn\t2026-12-31 00:00:00 UTC\n"},
		{"with another comment", format.CSVOptions{Comment: ';', Columns: format.Columns{Value: "2", Note: []string{"4"}, ID: "1", Campaign: "5", Until: "6"}}, 0,
			";remark\n7,evil.example,domain,\"bad, very\",autumn,2026-12-31T00:00:00+00:00\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, report, err := read(t, format.Options{Format: format.CSV, Open: from(c.feed), CSV: c.csv, Kind: c.kind})
			if err != nil {
				t.Fatal(err)
			}
			wantPatterns(t, all, "domain evil.example")
			wantReport(t, report, "1 entries")
			if ind := all[0]; ind.ID != "7" || ind.Note != "bad, very" || ind.Campaign != "autumn" || !ind.Until.Equal(until) {
				t.Errorf("it is %+v", ind)
			}
		})
	}
}

func TestQuotesAreThoseOfRFC4180(t *testing.T) {
	for _, c := range []struct{ record, note string }{
		{`evil.example,"a ""b"" c"`, `a "b" c`},
		{`"evil.example" , "a"`, "a"},
		{"evil.example,\"two\r\nlines\"", "two lines"},
		{"evil.example,\"three\n\nlines, \"\"quoted\"\"\"", `three  lines, "quoted"`},
		{`evil.example,a "b" c`, `a "b" c`},
		{`evil.example,""`, ""},
		{`evil.example,`, ""},
		{`evil.example`, ""},
	} {
		all, _, err := read(t, format.Options{Format: format.CSV, Open: from(c.record + "\nlast.example,x\n"), CSV: format.CSVOptions{Columns: format.Columns{Value: "1", Note: []string{"2"}}}})
		if err != nil {
			t.Errorf("%q: %v", c.record, err)
			continue
		}
		wantPatterns(t, all, "domain evil.example", "domain last.example")
		if all[0].Note != c.note {
			t.Errorf("%q has the note %q", c.record, all[0].Note)
		}
	}
}

func TestBadRecordsAreNamed(t *testing.T) {
	csv := format.CSVOptions{Columns: format.Columns{Value: "2", Kind: "3", Confidence: "4", Until: "5"}}
	good := "1,good.example,domain,90,2027-01-01\n"
	for _, c := range []struct{ record, report string }{
		{`1,"evil.example"x,domain`, "malformed (has more behind a closing quote 1)"},
		{`1`, "malformed (has too few columns 1)"},
		{`1,evil.example,domain,101`, "malformed (has no confidence of 0 to 100 1)"},
		{`1,evil.example,domain,high`, "malformed (has no confidence of 0 to 100 1)"},
		{`1,evil.example,domain,9,soon`, "malformed (has no time where it ends 1)"},
		{`1,evil.example,yara,9,`, "unsupported (kind yara 1)"},
		{"1,evil\xff.example,domain,9,", "malformed (is not UTF-8 1)"},
		{`1,evil.example,domain,9,2020-01-01`, "expired"},
		{`1,evil.example,md5,9,`, "malformed (has to be 32, 40 or 64 hex digits 1)"},
		{strings.Repeat(",", 300), "malformed (has more than 256 columns 1)"},
	} {
		all, report, err := read(t, format.Options{Format: format.CSV, Open: from(c.record + "\n" + good), CSV: csv})
		if err != nil {
			t.Errorf("%q: %v", c.record, err)
			continue
		}
		wantPatterns(t, all, "domain good.example")
		wantReport(t, report, "1 entries; passed over: 1 "+c.report)
	}
}

func TestAQuoteThatIsNeverClosedEndsWhereARecordHasTo(t *testing.T) {
	feed := "evil.example,\"open\n" + strings.Repeat("more.example,x\n", 10_000)
	all, report, err := read(t, format.Options{Format: format.CSV, Open: from(feed), MaxLine: 1500, CSV: format.CSVOptions{Columns: format.Columns{Value: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if bad := report.Count(format.Malformed); bad < 90 || bad > 110 || len(all)+bad != 10_001 {
		t.Errorf("%d entries; %s", len(all), report)
	}
}

func TestAColumnThatIsNotThereIsAnErrorThatNamesTheOthers(t *testing.T) {
	for _, c := range []struct {
		o    format.Options
		want string
	}{
		{format.Options{Format: format.CSV, Open: from("a,b\n1,2\n"), CSV: format.CSVOptions{Header: true, Columns: format.Columns{Value: "c"}}},
			`feed:test: line 1: "c" is the name of no column; the columns are a, b`},
		{format.Options{Format: format.CSV, Open: from("1,2\n"), CSV: format.CSVOptions{Columns: format.Columns{Value: "c"}}},
			`feed:test: line 1: "c" is the name of no column; the feed names no columns: give them by number`},
		{format.Options{Format: format.URLhaus, Open: from("# please, sign, in\na,b\n")},
			`feed:test: line 2: "url" is the name of no column; the columns are please, sign, in`},
	} {
		_, _, err := read(t, c.o)
		var e *format.Error
		if !errors.As(err, &e) || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}
