package export_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
	"github.com/weirmail/weir/intel/feed/format"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// all gives indicators as a stream.
func all(inds ...intel.Indicator) iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		for _, ind := range inds {
			if !yield(ind, nil) {
				return
			}
		}
	}
}

// write writes a document.
func write(t testing.TB, o export.Options, inds ...intel.Indicator) (string, export.Report) {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = now
	}
	var b bytes.Buffer
	report, err := export.Write(&b, all(inds...), o)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), report
}

// must takes a value that a constructor makes.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func block(p intel.Pattern) intel.Indicator {
	return intel.Indicator{Pattern: p, Disposition: intel.Block}
}

func exact(v intel.Value, err error) intel.Pattern { return intel.Exact(must(v, err)) }

// some gives a pattern of each form and kind that feeds can have.
func some() []intel.Indicator {
	return []intel.Indicator{
		block(exact(intel.Digest("44d88612fea8a8f36de82e1278abb02f"))),
		block(exact(intel.Digest("3395856ce81f2b7382dee72602f798b642f14140"))),
		block(exact(intel.Digest("275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"))),
		block(exact(intel.Address("o'neil@evil.example"))),
		block(exact(intel.Domain("www.evil.example"))),
		block(exact(intel.Domain("bücher.example"))),
		block(exact(intel.URL("https://evil.example/pay?a=1&b='2'"))),
		block(exact(intel.IP(netip.MustParseAddr("198.51.100.7")))),
		block(exact(intel.IP(netip.MustParseAddr("2001:db8::7")))),
		block(must(intel.Range(netip.MustParsePrefix("198.51.100.0/24")))),
		block(must(intel.Range(netip.MustParsePrefix("2001:db8::/32")))),
	}
}

// families gives patterns that stand for more than one value.
func families() []intel.Indicator {
	return []intel.Indicator{block(must(intel.Below("evil.example"))), block(must(intel.URLPrefix("https://evil.example/pay/*")))}
}

// dressed gives an indicator all that a source can say of it.
func dressed(ind intel.Indicator) intel.Indicator {
	ind.Note, ind.Campaign, ind.ID = `seen in "case" 118, twice`, "late fish", "T-118"
	ind.Confidence, ind.TLP, ind.Until = 80, intel.TLPAmberStrict, now.Add(48*time.Hour)
	return ind
}

// readBack reads a document as a feed.
func readBack(t testing.TB, o format.Options, text string) []intel.Indicator {
	t.Helper()
	o.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	o.Disposition, o.Now, o.Internal = intel.Block, now, true
	f := must(format.New(o))
	var got []intel.Indicator
	for ind, err := range f.Entries {
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		ind.Line = 0
		got = append(got, ind)
	}
	if r := f.Report(); len(r.Passed) > 0 {
		t.Errorf("reading it back: %s\n%s", r, text)
	}
	return got
}

// same compares indicators but for what except takes away.
func same(t *testing.T, got, want []intel.Indicator, except func(*intel.Indicator)) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d came back, %d were written", len(got), len(want))
	}
	for i := range got {
		a, b := got[i], want[i]
		if except != nil {
			except(&a)
			except(&b)
		}
		if a.Pattern.String() != b.Pattern.String() || a.Pattern.Kind() != b.Pattern.Kind() || a.Note != b.Note || a.ID != b.ID || a.Campaign != b.Campaign ||
			!a.Until.Equal(b.Until) || a.Confidence != b.Confidence || a.TLP != b.TLP || a.Direction != b.Direction || !slices.Equal(a.Roles, b.Roles) {
			t.Errorf("came back as\n\t%+v, written was\n\t%+v", a, b)
		}
	}
}

func TestWhatIsWrittenIsReadBackTheSame(t *testing.T) {
	onlyPattern := func(ind *intel.Indicator) { *ind = intel.Indicator{Pattern: ind.Pattern} }
	for _, c := range []struct {
		format export.Format
		read   format.Options
		more   []intel.Indicator
		except func(*intel.Indicator)
		lost   string
	}{
		{export.STIX, format.Options{Format: format.STIX}, families(), func(ind *intel.Indicator) { ind.ID = "" }, ""},
		{export.CSV, format.Options{Format: format.CSV, CSV: export.CSVColumns()}, families(), nil, ""},
		{export.Plain, format.Options{Format: format.Plain}, families(), onlyPattern, "its end, its marking"},
		{export.MISP, format.Options{Format: format.MISP}, nil, func(ind *intel.Indicator) {
			ind.ID, ind.Campaign, ind.Until, ind.Confidence = "", "", time.Time{}, 0
		}, "its end, its confidence, its campaign, its ID"},
	} {
		t.Run(string(c.format), func(t *testing.T) {
			want := append(some(), c.more...)
			for i := range want {
				if i%2 == 0 {
					want[i] = dressed(want[i])
				}
			}
			text, report := write(t, export.Options{Format: c.format, Producer: "Example", Title: "Autumn"}, want...)
			same(t, readBack(t, c.read, text), want, c.except)
			var lost []string
			for _, l := range report.Lost {
				lost = append(lost, l.Why)
			}
			if report.Written != len(want) || len(report.Left) > 0 || strings.Join(lost, ", ") != c.lost {
				t.Errorf("the report says %s", report)
			}
		})
	}
}

func TestStolenMailsDestinationGoesThroughMISP(t *testing.T) {
	ind := block(exact(intel.Address("drop@evil.example")))
	ind.Roles, ind.Direction = []intel.Role{intel.RoleRcpt}, intel.Outbound
	text, _ := write(t, export.Options{Format: export.MISP}, ind)
	same(t, readBack(t, format.Options{Format: format.MISP}, text), []intel.Indicator{ind}, func(ind *intel.Indicator) { ind.ID, ind.Campaign = "", "" })
}

func TestABundleIsSTIX(t *testing.T) {
	text, _ := write(t, export.Options{Format: export.STIX, Producer: "Example"}, dressed(some()[0]), some()[4])
	var b struct {
		Type, ID string
		Objects  []struct {
			Type, ID, Name, Pattern string
			Created, Modified       string
			CreatedBy               string         `json:"created_by_ref"`
			ValidUntil              string         `json:"valid_until"`
			Markings                []string       `json:"object_marking_refs"`
			Extensions              map[string]any `json:"extensions"`
			Confidence              int
			Labels                  []string
		}
	}
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if b.Type != "bundle" || len(b.Objects) != 4 {
		t.Fatalf("%s", text)
	}
	identity, first, marking := b.Objects[0], b.Objects[1], b.Objects[3]
	if identity.Type != "identity" || first.CreatedBy != identity.ID || first.Created != "2026-01-01T00:00:00.000Z" || first.ValidUntil != "2026-11-24T10:00:00.000Z" ||
		first.Confidence != 80 || !slices.Equal(first.Labels, []string{"campaign:late fish"}) {
		t.Errorf("%+v", first)
	}
	if marking.ID != "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003" || marking.Name != "TLP:AMBER+STRICT" || !slices.Equal(first.Markings, []string{marking.ID}) || len(marking.Extensions) != 1 {
		t.Errorf("%+v", marking)
	}
	again, _ := write(t, export.Options{Format: export.STIX, Now: now.Add(time.Hour)}, some()[0])
	if !strings.Contains(again, first.ID) {
		t.Error("the same entry is another object in another export")
	}
	allow := some()[0]
	allow.Disposition = intel.Allow
	if other, _ := write(t, export.Options{Format: export.STIX, Disposition: intel.Allow}, allow); strings.Contains(other, first.ID) || !strings.Contains(other, `"benign"`) {
		t.Errorf("what allows is the object of what blocks: %s", other)
	}
}

func TestTwoBundlesOfTheSameAreTheSameBytesAndSayWhenItWasAdded(t *testing.T) {
	added := now.Add(-48 * time.Hour)
	o := export.Options{Format: export.STIX, Producer: "Example", Added: func(ind *intel.Indicator) time.Time {
		if ind.Source == "feed:old" {
			return added.Add(-time.Hour)
		}
		return added
	}}
	twice := some()[0]
	twice.Source = "feed:old"
	inds := []intel.Indicator{some()[0], twice, some()[4]}
	first, _ := write(t, o, inds...)
	o.Now = now.Add(time.Hour)
	if again, _ := write(t, o, inds...); again != first {
		t.Errorf("%s\nand an hour later\n%s", first, again)
	}
	for _, said := range []string{`"created":"2026-11-20T09:00:00.000Z","modified":"2026-11-20T09:00:00.000Z"`, `"valid_from":"2026-11-20T10:00:00.000Z"`} {
		if !strings.Contains(first, said) {
			t.Errorf("nothing says %s: %s", said, first)
		}
	}
}

func TestABareDocumentNamesNobodyHere(t *testing.T) {
	for _, f := range export.Formats() {
		var inds []intel.Indicator
		for _, ind := range slices.Concat(some(), families()) {
			ind = dressed(ind)
			ind.Source = "list:block/secret.txt"
			inds = append(inds, ind)
		}
		text, _ := write(t, export.Options{Format: f, Bare: true}, inds...)
		for _, secret := range []string{"118", "late fish", "secret"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %q", f, secret)
			}
		}
	}
}

func TestWhatIsNotWrittenIsCountedByName(t *testing.T) {
	allowed := block(exact(intel.Domain("allowed.example")))
	expired := block(exact(intel.Domain("expired.example")))
	expired.Until = now
	red := block(exact(intel.Domain("red.example")))
	red.TLP = intel.TLPRed
	watch := block(exact(intel.Domain("watch.example")))
	watch.Disposition = intel.Watch
	outbound := block(exact(intel.Domain("outbound.example")))
	outbound.Direction = intel.Outbound
	sender := block(exact(intel.Domain("sender.example")))
	sender.Roles = []intel.Role{intel.RoleHeaderFrom}
	inds := append(some(), families()...)
	inds = append(inds, allowed, expired, red, watch, outbound, sender, block(must(intel.Regexp("a", []intel.Field{intel.FieldSubject}))), block(intel.Exact(intel.NullSender())))
	for _, c := range []struct {
		format export.Format
		want   string
	}{
		{export.STIX, "13 entries; left out: is allowed 1 (first: allowed.example), has expired 1 (first: expired.example), is TLP:red 1 (first: red.example), says watch 1 (first: watch.example), " +
			"holds for one direction of mail 1 (first: outbound.example), holds for a part of the message 1 (first: sender.example), is a regular expression 1 (first: /a/), is the null sender 1 (first: <>)"},
		{export.Domains, "3 entries; left out: is of kind md5 1"},
		{export.IPs, "4 entries; "},
		{export.URLs, "2 entries; "},
		{export.RPZ, "7 entries; left out: is of kind md5 1 (first: 44d88612fea8a8f36de82e1278abb02f), is of kind sha1 1"},
		{export.PostfixClients, "4 entries; "},
		{export.PostfixSenders, "5 entries; "},
	} {
		o := export.Options{Format: c.format, MaxTLP: intel.TLPAmber, Allowed: func(ind *intel.Indicator) bool { return ind.Pattern.Text() == "allowed.example" }}
		text, report := write(t, o, inds...)
		if !strings.HasPrefix(report.String(), c.want) {
			t.Errorf("%s: %s\n%s", c.format, report, text)
		}
		left := 0
		for _, l := range report.Left {
			left += l.Count
		}
		if report.Written+left != len(inds) {
			t.Errorf("%s: of %d entries %d were written and %d left out", c.format, len(inds), report.Written, left)
		}
	}
}

func TestWhatSeveralSourcesSayIsWrittenOnce(t *testing.T) {
	a, b := dressed(some()[0]), some()[0]
	b.Confidence, b.TLP = 90, intel.TLPRed
	text, report := write(t, export.Options{Format: export.CSV}, a, b, some()[1])
	got := readBack(t, format.Options{Format: format.CSV, CSV: export.CSVColumns()}, text)
	if report.Written != 2 || len(got) != 2 || got[0].Confidence != 90 || got[0].TLP != intel.TLPRed || !got[0].Until.IsZero() || got[0].Note != a.Note {
		t.Errorf("%s\n%s", report, text)
	}
}

func TestAnErrorEndsADocument(t *testing.T) {
	broken := errors.New("the store is gone")
	_, err := export.Write(io.Discard, func(yield func(intel.Indicator, error) bool) { yield(intel.Indicator{}, broken) }, export.Options{Format: export.CSV, Now: now})
	if !errors.Is(err, broken) {
		t.Errorf("of the entries: %v", err)
	}
	_, err = export.Write(full{}, all(some()...), export.Options{Format: export.CSV, Now: now})
	if !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("of the writer: %v", err)
	}
	for _, o := range []export.Options{{Format: "xml", Now: now}, {Format: export.CSV}, {Format: export.CSV, Now: now, Disposition: 9}} {
		if _, err := export.Write(io.Discard, all(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAnEmptyDocumentIsWhole(t *testing.T) {
	for f, read := range map[export.Format]format.Options{
		export.STIX: {Format: format.STIX}, export.MISP: {Format: format.MISP}, export.CSV: {Format: format.CSV, CSV: export.CSVColumns()}, export.Plain: {Format: format.Plain},
	} {
		text, _ := write(t, export.Options{Format: f})
		if got := readBack(t, read, text); len(got) != 0 {
			t.Errorf("%s: %v", f, got)
		}
	}
}

// FuzzNoValueIsReadAsAnother: whatever a list holds, a text that stands in for it
// is read back as the same, or it is not written.
func FuzzNoValueIsReadAsAnother(f *testing.F) {
	for _, seed := range []string{"evil.example", "#a@evil.example", "a b@evil.example", "https://evil.example/x*", "https://evil.example/[.]x", "||evil.example^", "$origin.example", "a@[198.51.100.7]", "!x@evil.example", "https://evil.example/%_'\\"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, value, note string) {
		var inds []intel.Indicator
		add := func(v intel.Value, err error) {
			if err == nil {
				inds = append(inds, block(intel.Exact(v)))
			}
		}
		add(intel.Domain(value))
		add(intel.Address(value))
		add(intel.URL(value))
		if p, err := intel.Below(value); err == nil {
			inds = append(inds, block(p))
		}
		if p, err := intel.URLPrefix(value + "*"); err == nil {
			inds = append(inds, block(p))
		}
		for i := range inds {
			inds[i].Note, inds[i].Campaign = note, note
		}
		for ef, read := range map[export.Format]format.Options{
			export.STIX: {Format: format.STIX}, export.MISP: {Format: format.MISP}, export.CSV: {Format: format.CSV, CSV: export.CSVColumns()}, export.Plain: {Format: format.Plain},
		} {
			for _, ind := range inds {
				text, report := write(t, export.Options{Format: ef}, ind)
				read.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
				read.Disposition, read.Now, read.Internal = intel.Block, now, true
				got := 0
				for back, err := range must(format.New(read)).Entries {
					if err != nil {
						continue // such as a name of one label, which no feed means
					}
					got++
					p := ind.Pattern.String()
					if ef == export.MISP {
						p = ind.Pattern.Text()
					}
					if back.Pattern.String() != p {
						t.Errorf("%s: %q comes back as %q\n%s", ef, ind.Pattern, back.Pattern, text)
					}
				}
				if got > report.Written {
					t.Errorf("%s: %d entries of %d\n%s", ef, got, report.Written, text)
				}
			}
		}
		for _, ef := range []export.Format{export.RPZ, export.PostfixSenders} {
			text, report := write(t, export.Options{Format: ef}, inds...)
			lines := 0
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "# Ind") || strings.HasPrefix(line, "; Ind") || strings.HasPrefix(line, "$TTL ") || strings.HasPrefix(line, "@ ") {
					continue
				}
				lines++
				if !strings.HasSuffix(line, " CNAME .\n") && !strings.HasSuffix(line, " REJECT\n") || strings.Count(strings.TrimSpace(line), " ") != map[export.Format]int{export.RPZ: 2, export.PostfixSenders: 1}[ef] {
					t.Errorf("%s: %q", ef, line)
				}
			}
			if lines < report.Written || lines > 2*report.Written {
				t.Errorf("%s: %d lines of %d entries", ef, lines, report.Written)
			}
		}
	})
}
