package format_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

// now is when the feeds of the tests are read.
var now = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// from opens a text.
func from(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

// file opens a file.
func file(path string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}

// with completes options for a test.
func with(o format.Options) format.Options {
	if o.Source == "" {
		o.Source = "feed:test"
	}
	if o.Disposition == 0 {
		o.Disposition = intel.Block
	}
	if o.Now.IsZero() {
		o.Now = now
	}
	return o
}

// read reads a feed twice and sees that both times give the same.
func read(t testing.TB, o format.Options) ([]intel.Indicator, format.Report, error) {
	t.Helper()
	f, err := format.New(with(o))
	if err != nil {
		t.Fatal(err)
	}
	once := func() (all []intel.Indicator, err error) {
		for ind, e := range f.Entries {
			if e != nil {
				err = e
				continue
			}
			all = append(all, ind)
		}
		return all, err
	}
	all, err := once()
	report := f.Report()
	again, errAgain := once()
	if !slices.EqualFunc(all, again, func(a, b intel.Indicator) bool {
		return a.Pattern.String() == b.Pattern.String() && a.Note == b.Note && a.ID == b.ID && a.Until.Equal(b.Until) && a.Line == b.Line
	}) || (err == nil) != (errAgain == nil) || f.Report().String() != report.String() {
		t.Fatalf("read again it is another feed: %v, %v; then %v, %v", all, err, again, errAgain)
	}
	if err == nil && report.Entries != len(all) {
		t.Errorf("the report has %d entries, %d were given", report.Entries, len(all))
	}
	return all, report, err
}

// patterns gives what was read as list files write it, with the kind.
func patterns(all []intel.Indicator) []string {
	var texts []string
	for _, ind := range all {
		texts = append(texts, ind.Pattern.Kind().String()+" "+ind.Pattern.String())
	}
	return texts
}

func wantPatterns(t *testing.T, all []intel.Indicator, want ...string) {
	t.Helper()
	if got := patterns(all); !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func wantReport(t *testing.T, r format.Report, want string) {
	t.Helper()
	if got := r.String(); got != want {
		t.Errorf("report\n\t%s\nwant\n\t%s", got, want)
	}
}

func testdata(name string) func() (io.ReadCloser, error) {
	return file(filepath.Join("testdata", name))
}

func TestAPlainFeedHasWhatFormsSay(t *testing.T) {
	all, report, err := read(t, format.Options{Format: format.Plain, Open: testdata("plain.txt")})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all,
		"domain evil.example", "domain .wide.example", "domain .star.example", "address bob@evil.example",
		"url https://evil.example/pay?x=1", "url http://evil.example/bare/path", "url https://evil.example/tree/*",
		"ip 198.51.100.7", "ip 203.0.113.9", "ip 198.51.100.0/24", "ip 2001:db8::7", "ip 2001:db8::8", "ip 2001:db8:1::/48",
		"md5 44d88612fea8a8f36de82e1278abb02f", "url https://evil.example/x", "domain .ads.example", "domain .more.example")
	wantReport(t, report, "17 entries")
	if all[0].Line != 3 || all[0].Source != "feed:test" || all[0].Disposition != intel.Block {
		t.Errorf("the first is %+v", all[0])
	}
}

func TestEachPlainLineIsReadOrNamed(t *testing.T) {
	for _, c := range []struct {
		line string
		want string // the pattern, or reason and detail
	}{
		{"evil.example", "domain evil.example"},
		{"evil.example\r", "domain evil.example"},
		{"  evil.example\t", "domain evil.example"},
		{"evil.example 5 # seen often", "domain evil.example"},
		{"evil.example 2026-01-01 17", "domain evil.example"},
		{"evil[.]example", "domain evil.example"},
		{"b\u00fccher.example", "domain xn--bcher-kva.example"},
		{"EVIL.example.", "domain evil.example"},
		{"fraud[at]evil[.]example", "address fraud@evil.example"},
		{"275A021BBFB6489E54D471899F7DB9D1663FC695EC2FE2A2C4538AABF651FD0F", "sha256 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"},
		{"da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709"},
		{"::ffff:198.51.100.7", "ip 198.51.100.7"},
		{"198.51.100.7/32", "ip 198.51.100.7"},
		{"evil.example:8080/pay", "url http://evil.example:8080/pay"},
		{"evil.example:8080/a:b", "url http://evil.example:8080/a:b"},
		{"https://evil.example", "url https://evil.example/"},
		{"http://198.51.100.7/a", "url http://198.51.100.7/a"},
		{"https://user@evil.example/login", "url https://evil.example/login"},
		{"||198.51.100.7^", "ip 198.51.100.7"},

		{"evil.example another.example", "malformed: has more than a value, numbers and a comment"},
		{"evil.example,1,2", "malformed: has a character that no host name has at byte 13"},
		{"<p>evil</p>", "malformed: "},
		{"password", "malformed: is a name of one label"},
		{"198.51.100", "malformed: is no IP address"},
		{"198.51.100.256", "malformed: is no IP address"},
		{"198.51.100.7/24", "malformed: is an address range with host bits set"},
		{"198.51.100.0/33", "malformed: is no address range"},
		{"name.123", "malformed: ends in a number, as no domain does"},
		{".name.123", "malformed: ends in a number, as no domain does"},
		{"[::1", "malformed: is no IP address"},
		{"||^", "malformed: is empty"},
		{"@evil.example", "malformed: has nothing before the @"},
		{"evil\xff.example", "malformed: is not UTF-8"},
		{"ev\x00il.example", "malformed: has a control character"},
		{"evil.example\rgood.example", "malformed: has a control character"},
		{"https://", "malformed: "},
		{"https://localhost/x", "malformed: is a URL without a host"},
		{"javascript://evil.example", "malformed: "},
		{"/bins/arm7", "unsupported: a path without a host"},
		{"@@||good.example^", "unsupported: a rule for ad blockers that is no ||domain^"},
		{"||evil.example/ads/*", "unsupported: a rule for ad blockers that is no ||domain^"},
		{"https://*.evil.example/*", "malformed: "},
		{"||co.uk^", "too wide: a public suffix with all below it"},
		{".com", "too wide: a public suffix with all below it"},
		{"0.0.0.0/0", "too wide: a range larger than any one network"},
		{"::/0", "too wide: a range larger than any one network"},
		{"<>", "too wide: the null sender"},
		{"127.0.0.1", "internal: "},
		{"10.20.30.40", "internal: "},
		{"192.168.0.0/16", "internal: "},
		{"172.0.0.0/8", "internal: "},
		{"100.64.0.1", "internal: "},
		{"fe80::1", "internal: "},
		{"::1", "internal: "},
	} {
		// A good line keeps the feed from being no feed at all.
		all, report, err := read(t, format.Options{Format: format.Plain, Open: from(c.line + "\nlast.example\n")})
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		got := ""
		switch {
		case len(all) == 2 && len(report.Passed) == 0:
			got = patterns(all)[0]
		case len(all) == 1 && len(report.Passed) == 1:
			tally := report.Passed[0]
			got = string(tally.Reason) + ": " + tally.Detail
			if tally.Count != 1 || len(tally.Examples) != 1 || tally.Examples[0].Line != 1 || tally.Examples[0].Text == "" {
				t.Errorf("%q: %+v", c.line, tally)
			}
		default:
			t.Errorf("%q: %v, %s", c.line, patterns(all), report.String())
			continue
		}
		if begins := strings.HasSuffix(c.want, ": ") && strings.HasPrefix(got, c.want); got != c.want && !begins {
			t.Errorf("%q is %q, want %q", c.line, got, c.want)
		}
	}
}

func TestOptionsNarrowAndWidenWhatIsTaken(t *testing.T) {
	const feed = "evil.example\n10.1.2.3\nhttps://evil.example/x\nco.uk\n"
	for _, c := range []struct {
		name   string
		o      format.Options
		want   []string
		report string
	}{
		{"Kinds", format.Options{Kinds: []intel.Kind{intel.KindDomain}}, []string{"domain evil.example", "domain co.uk"}, "2 entries; passed over: 1 internal, 1 other kind (url 1)"},
		{"Internal", format.Options{Internal: true}, []string{"domain evil.example", "ip 10.1.2.3", "url https://evil.example/x", "domain co.uk"}, "4 entries"},
		{"Subdomains", format.Options{Subdomains: true}, []string{"domain .evil.example", "url https://evil.example/x", "domain co.uk"}, "3 entries; passed over: 1 internal"},
		{"Kind", format.Options{Kind: intel.KindURL}, []string{"url http://evil.example/", "url http://10.1.2.3/", "url https://evil.example/x", "url http://co.uk/"}, "4 entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Format, c.o.Open = format.Plain, from(feed)
			all, report, err := read(t, c.o)
			if err != nil {
				t.Fatal(err)
			}
			wantPatterns(t, all, c.want...)
			wantReport(t, report, c.report)
		})
	}
}

func TestAHostsFileGivesTheNamesThatItBlocks(t *testing.T) {
	all, report, err := read(t, format.Options{Format: format.Hosts, Open: testdata("hosts.txt")})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "domain evil.example", "domain two.example", "domain three.example", "domain six.example")
	wantReport(t, report, "4 entries")
	if all[2].Line != 10 {
		t.Errorf("three.example is in line %d", all[2].Line)
	}
	_, report, err = read(t, format.Options{Format: format.Hosts, Open: from("0.0.0.0 evil.example\n0.0.0.0\nnames.example only.example\n")})
	if err != nil {
		t.Fatal(err)
	}
	wantReport(t, report, "1 entries; passed over: 2 malformed (does not begin with an IP address 1, has no name behind the address 1)")
}

func TestUnusableOptionsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*format.Options){
		"no format":      func(o *format.Options) { o.Format = "" },
		"no bytes":       func(o *format.Options) { o.Open = nil },
		"no time":        func(o *format.Options) { o.Now = time.Time{} },
		"no disposition": func(o *format.Options) { o.Disposition = 0 },
		"confidence":     func(o *format.Options) { o.MinConfidence = 101 },
		"own confidence": func(o *format.Options) { o.Confidence = -1 },
		"kind":           func(o *format.Options) { o.Kinds = []intel.Kind{99} },
		"share":          func(o *format.Options) { o.MaxMalformed = 2 },
		"limit":          func(o *format.Options) { o.MaxLine = -1 },
		"comma":          func(o *format.Options) { o.CSV.Comma = '"' },
		"no value":       func(o *format.Options) { o.Format = format.CSV },
	} {
		o := with(format.Options{Format: format.Plain, Open: from("")})
		change(&o)
		if _, err := format.New(o); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
	for _, f := range format.Formats() {
		o := with(format.Options{Format: f, Open: from("")})
		o.CSV.Columns.Value = "1"
		if _, err := format.New(o); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestWhoeverStopsIsGivenNoMore(t *testing.T) {
	f, err := format.New(with(format.Options{Format: format.Plain, Open: from("a.example\nb.example\nc.example\n")}))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range f.Entries {
		if n++; err != nil || n == 2 {
			break
		}
	}
	if n != 2 || f.Report().Entries != 2 {
		t.Errorf("%d, %d", n, f.Report().Entries)
	}
}

// utf16 writes a text in UTF-16 with a byte order mark.
func utf16(text string, bigEndian bool) string {
	var b bytes.Buffer
	for _, r := range "\ufeff" + text {
		if bigEndian {
			b.Write([]byte{byte(r >> 8), byte(r)})
		} else {
			b.Write([]byte{byte(r), byte(r >> 8)})
		}
	}
	return b.String()
}

func TestAByteOrderMarkTellsTheEncoding(t *testing.T) {
	for name, text := range map[string]string{
		"UTF-8": "\ufeffb\u00fccher.example\r\n", "UTF-16LE": utf16("b\u00fccher.example\r\n", false), "UTF-16BE": utf16("b\u00fccher.example\r\n", true),
	} {
		all, _, err := read(t, format.Options{Format: format.Plain, Open: from(text)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantPatterns(t, all, "domain xn--bcher-kva.example")
	}
	all, _, err := read(t, format.Options{Format: format.STIX, Open: from(utf16(`{"type":"bundle","objects":[{"type":"indicator","pattern":"[url:value='http://a.example/']"}]}`, false))})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "url http://a.example/")
}
