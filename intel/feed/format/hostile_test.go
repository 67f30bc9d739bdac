package format_test

import (
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

func TestWhatIsNoFeedIsRefusedWithPlaceAndCure(t *testing.T) {
	const login = "<p>Please log in</p>\n<form action='/login'>\n<input name='user'>\n</form>\n"
	csv := format.CSVOptions{Columns: format.Columns{Value: "1"}}
	for _, c := range []struct {
		name   string
		format format.Format
		text   string
		want   string
	}{
		{"a web page", format.Plain, "\r\n <!DOCTYPE html><html>", `feed:test: byte 0: "<!doctype html><html>" begins like a web page or XML; open its address in a browser: it may want a login or have moved`},
		{"a web page for JSON", format.STIX, "<html><body>x", `begins like a web page`},
		{"a piece of one", format.Plain, login, `feed:test: line 1: "<p>Please log in</p>" has more than a value, numbers and a comment, and so on: 4 of 4 entries cannot be read as plain; see whether`},
		{"a piece of one as csv", format.CSV, login, `cannot be read as csv`},
		{"a piece of one as hosts", format.Hosts, login, `cannot be read as hosts`},
		{"one line", format.Plain, "unauthorized\n", `feed:test: line 1: "unauthorized" is a name of one label, and so on: 1 of 1 entries cannot be read as plain`},
		{"more bad than good", format.Plain, "good.example\n" + strings.Repeat("x y\n", 6), `6 of 7 entries cannot be read`},
		{"JSON for text", format.Plain, `{"error":"quota exceeded"}`, `1 of 1 entries cannot be read`},
		{"gzip", format.Plain, "\x1f\x8b\x08\x00", `is a compressed file`},
		{"zip", format.CSV, "PK\x03\x04", `is a compressed file`},
		{"another JSON for STIX", format.STIX, ` {"error":{"code":401}}`, `feed:test: byte 0: is no bundle of STIX 2 and no envelope of TAXII 2.1: it has no "objects"`},
		{"an error of TAXII", format.STIX, `{"title":"Unauthorized","http_status":"401"}`, `it has no "objects"`},
		{"another JSON for MISP", format.MISP, `{"name":"x","message":"Authentication failed."}`, `is no event of MISP: it has no "Event"`},
		{"a list of something else", format.MISP, `[{"error":"login"}]`, `is no event of MISP: it has no "Event"`},
		{"a manifest for an event", format.MISP, `{"5b8d9d56-0f4c-43bc-b789-02720a010000":{}}`, `is no event of MISP`},
		{"another JSON for a warninglist", format.Warninglist, `{"type":"error"}`, `"error" is no warninglist of MISP`},
		{"a warninglist without a list", format.Warninglist, `{"type":"string"}`, `is no warninglist of MISP`},
		{"a number", format.STIX, `17`, `feed:test: byte 0: "17" stands where JSON has a '{'`},
		{"nothing", format.STIX, ``, `feed:test: byte 0: the document ends in the middle: unexpected EOF; the download was probably cut off`},
		{"nothing", format.MISP, "\n", `the document ends in the middle`},
		{"more behind it", format.STIX, `{"objects":[]} {"objects":[]}`, `feed:test: byte 15: "{\"objects\":[]}" follows the end of the document`},
		{"NUL behind it", format.STIX, "{\"objects\":[]}\x00", `follows the end of the document`},
		{"NUL in it", format.STIX, "{\"objects\"\x00:[]}", `stands where JSON has a ':'`},
		{"a missing comma", format.STIX, `{"objects":[] "more":true}`, `stands where JSON has a ','`},
		{"a missing value", format.STIX, `{"x":,"objects":[]}`, `stands where JSON has a value`},
		{"a name that is none", format.STIX, `{objects:[]}`, `stands where JSON has a string`},
		{"a name in no UTF-8", format.STIX, "{\"\xff\":[]}", `is no string: is not UTF-8`},
		{"a name without end", format.STIX, `{"` + strings.Repeat("x", 1<<20) + `":1}`, `feed:test: byte 1: is a string of more than 4096 bytes`},
		{"deep nesting", format.STIX, `{"x":` + strings.Repeat("[", 1<<20), `is nested deeper than 64 levels`},
		{"deep nesting in an object", format.STIX, `{"objects":[` + strings.Repeat(`{"a":`, 1<<20), `is nested deeper than 64 levels`},
		{"deep nesting in an event", format.MISP, `{"response":` + strings.Repeat(`{"response":`, 1<<20), `is nested deeper than 64 levels`},
		{"deep nesting in lists", format.MISP, strings.Repeat(`[`, 1<<20), `stands where JSON has a '{'`},
	} {
		all, report, err := read(t, format.Options{Format: c.format, Open: from(c.text), CSV: csv})
		var e *format.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s as %s: %v\nwant %s", c.name, c.format, err, c.want)
			continue
		}
		if len(all) > 1 || len(err.Error()) > 1000 || e.Reason == "" {
			t.Errorf("%s: %d entries, %s, %+v", c.name, len(all), report, e)
		}
	}
}

func TestADownloadThatWasCutOffIsRefusedWhereverItWasCut(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	for f, name := range map[format.Format]string{format.STIX: "bundle.json", format.MISP: "event.json", format.Warninglist: "warninglist.json"} {
		rc, err := testdata(name)()
		if err != nil {
			t.Fatal(err)
		}
		whole, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		_ = rc.Close()
		text := strings.TrimSpace(string(whole))
		for n := range len(text) {
			if _, _, err := read(t, format.Options{Format: f, Open: from(text[:n])}); err == nil {
				t.Fatalf("%s of %d bytes instead of %d is taken", name, n, len(text))
			}
		}
	}
}

func TestAFaultOfTheReaderEndsIt(t *testing.T) {
	fault := errors.New("the disk is gone")
	for _, f := range format.Formats() {
		o := format.Options{Format: f, CSV: format.CSVOptions{Columns: format.Columns{Value: "1"}}}
		o.Open = func() (io.ReadCloser, error) { return nil, fault }
		if _, _, err := read(t, o); !errors.Is(err, fault) {
			t.Errorf("%s does not open: %v", f, err)
		}
		for _, before := range []string{"", "{", "\xff\xfea\x00", "[", "# x\n"} {
			o.Open = func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader(before), failing{fault})), nil
			}
			if _, _, err := read(t, o); !errors.Is(err, fault) {
				t.Errorf("%s breaks behind %q: %v", f, before, err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestLimitsAreKept(t *testing.T) {
	_, _, err := read(t, format.Options{Format: format.Plain, Open: from("a.example\nb.example\nc.example\n"), MaxEntries: 2})
	if err == nil || !strings.Contains(err.Error(), `feed:test: line 3: "c.example" is more than the 2 entries that a feed may have`) {
		t.Error(err)
	}
	long := strings.Repeat("x", 101)
	all, report, err := read(t, format.Options{Format: format.Plain, Open: from("a.example\n" + long + "\n" + strings.Repeat("y", 1<<20) + "\n" + strings.Repeat("b", 63) + ".example\n"), MaxLine: 100})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[1].Line != 4 {
		t.Errorf("behind long lines stand %v", patterns(all))
	}
	wantReport(t, report, "2 entries; passed over: 2 malformed (is a line of more than 100 bytes 2)")
	if e := report.Passed[0].Examples[1]; e.Line != 3 || e.Offset != 112 {
		t.Errorf("the second stands at %+v", e)
	}
}

func TestAReportIsLegibleAndBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("id,value,kind\n")
	for i := range 1000 {
		b.WriteString("1,\x1b[31mevil\u202e.example" + strings.Repeat("x", 1000) + ",kind" + strconv.Itoa(i) + strings.Repeat("y", 100) + "\n")
	}
	_, report, err := read(t, format.Options{Format: format.CSV, Open: from(b.String()), CSV: format.CSVOptions{Header: true, Columns: format.Columns{Value: "value", Kind: "kind"}}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Count(format.Unsupported) != 1000 || len(report.Passed) != 65 {
		t.Errorf("%d tallies of %d", len(report.Passed), report.Count(format.Unsupported))
	}
	for _, tally := range report.Passed {
		if len(tally.Detail) > 64 || len(tally.Examples) > 3 {
			t.Errorf("%+v", tally)
		}
		for _, e := range tally.Examples {
			if len(e.Text) > 120 || strings.ContainsAny(e.Text, "\x1b\u202e") {
				t.Errorf("the example %q", e.Text)
			}
		}
	}
}

func TestNotesAreShortAndLegible(t *testing.T) {
	text := `{"objects":[{"type":"indicator","id":"` + strings.Repeat("i", 500) + `","name":"TLP:CLEAR \u001b[1mbold\n` + strings.Repeat("\u00e4", 500) + `","pattern":"[domain-name:value='a.example']"}]}`
	all, _, err := read(t, format.Options{Format: format.STIX, Open: from(text)})
	if err != nil {
		t.Fatal(err)
	}
	ind := all[0]
	if len(ind.ID) > 128 || len(ind.Note) > 256 || strings.ContainsAny(ind.Note, "\x1b\n") || !strings.HasSuffix(ind.Note, "\u2026") {
		t.Errorf("%q, %q", ind.ID, ind.Note)
	}
	if ind.TLP != intel.TLPNone {
		t.Errorf("a name is taken for a marking: %q", ind.Note)
	}
}

// endless gives a beginning, then a piece over and over up to a number of bytes,
// then an end.
type endless struct {
	rest, piece, end string
	left             int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if e.rest == "" {
			if e.left <= 0 {
				if e.end == "" {
					break
				}
				e.rest, e.end = e.end, ""
			} else {
				e.rest = e.piece
				e.left -= len(e.piece)
			}
		}
		copied := copy(p[n:], e.rest)
		e.rest = e.rest[copied:]
		n += copied
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestMemoryDoesNotGrowWithTheFeed(t *testing.T) {
	size := 200 << 20
	if testing.Short() {
		size = 10 << 20
	}
	long := strings.Repeat("/0123456789", 90)
	stix := `{"type":"indicator","id":"indicator--1","pattern":"[domain-name:value='evil.example' OR url:value='http://evil.example/x']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z","description":"` + long + `"}`
	misp := `{"type":"url","category":"Network activity","to_ids":true,"uuid":"5b8d9d56-0f4c-43bc-b789-02720a010001","timestamp":"1794960000","comment":"","value":"https://evil.example` + long + `"}`
	for _, c := range []struct {
		name              string
		format            format.Format
		begin, piece, end string
		size              int
		entries           bool
	}{
		{"lines", format.Plain, "", "evil.example\nhttps://evil.example" + long + "\n198.51.100.7\n", "", size, true},
		{"bad lines", format.Plain, "", "evil.example one two\n", "", size / 20, false},
		{"one line", format.Plain, "evil.example\n", strings.Repeat("x", 1<<16), "", size, true},
		{"one record", format.CSV, "evil.example,\"", strings.Repeat("x\n", 1<<15), "", size / 100, false},
		{"objects", format.STIX, `{"objects":[` + stix, "," + stix, "]}", size / 4, true},
		{"one object", format.STIX, `{"objects":[` + stix + `,{"type":"artifact","payload_bin":"`, strings.Repeat("A", 1<<16), `"}]}`, size, true},
		{"one string elsewhere", format.STIX, `{"x":"`, strings.Repeat("A", 1<<16), `","objects":[` + stix + `]}`, size, true},
		{"attributes", format.MISP, `{"Event":{"Attribute":[` + misp, "," + misp, `],"info":"x"}}`, size / 4, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := format.New(with(format.Options{Format: c.format, MaxEntries: 1 << 30, CSV: format.CSVOptions{Columns: format.Columns{Value: "1"}},
				Open: func() (io.ReadCloser, error) {
					return io.NopCloser(&endless{rest: c.begin, piece: c.piece, end: c.end, left: c.size}), nil
				}}))
			if err != nil {
				t.Fatal(err)
			}
			var before, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			entries, peak, last := 0, uint64(0), error(nil)
			look := func() {
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
			for _, err := range f.Entries {
				if entries++; entries%100_000 == 1 {
					look()
				}
				last = err
			}
			look()
			const most = 8 << 20
			if peak > before.HeapAlloc+most {
				t.Errorf("the heap grew by %d bytes", peak-before.HeapAlloc)
			}
			if c.entries != (last == nil) {
				t.Errorf("%d entries, %s, %v", entries, f.Report(), last)
			}
		})
	}
}

func TestKindsAreWhatTheStoreKnows(t *testing.T) {
	// A family of names under ip= or an address under domain= would be looked up
	// nowhere.
	for _, kind := range intel.Kinds() {
		all, _, _ := read(t, format.Options{Format: format.Plain, Kind: kind, Open: testdata("plain.txt"), MaxMalformed: 1})
		for _, ind := range all {
			if ind.Pattern.Kind() != kind && kind != intel.KindDomain {
				t.Errorf("%s is a %s, asked for as %s", ind.Pattern, ind.Pattern.Kind(), kind)
			}
		}
	}
}
