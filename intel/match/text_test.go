package match

import (
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

func TestRegularExpressionsLookAtTheFieldsThatTheyName(t *testing.T) {
	s := snapshot(t,
		`block ~subject~(?i)invoice`,
		`block ~file-name~[.]exe$`,
		`block ~header~^X-Mailer:\sBad`,
		`watch ~header:x-mailer~^Bad`,
		`allow ~subject~fine`,
	)
	for _, c := range []struct {
		name string
		text Text
		want string
	}{
		{"subject", Text{Field: intel.FieldSubject, Value: "Your INVOICE"}, `block ~subject~(?i)invoice`},
		{"allow beats block on one text", Text{Field: intel.FieldSubject, Value: "a fine invoice"}, `allow ~subject~fine`},
		{"file name", Text{Field: intel.FieldFileName, Value: "invoice.exe"}, `block ~file-name~[.]exe$`},
		{"header by name and as a line", Text{Field: intel.FieldHeader, Name: "X-MAILER", Value: "Bad 1.0"}, `watch ~header:x-mailer~^Bad`},
		{"header as a line", Text{Field: intel.FieldHeader, Name: "X-Mailer", Value: "Bad 1.0"}, `block ~header~^X-Mailer:\sBad | watch ~header:x-mailer~^Bad`},
		{"other header", Text{Field: intel.FieldHeader, Name: "X-Other", Value: "Bad"}, ``},
		{"no such field", Text{Field: "body", Value: "invoice"}, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.text.Place = "there"
			hits, unseen := s.MatchTexts(nil, []Text{c.text}, intel.Inbound, now)
			if got := sources(hits); got != c.want || unseen != 0 {
				t.Errorf("got %s, %d unseen; want %s", got, unseen, c.want)
			}
			for _, h := range hits {
				if h.Text != c.text.Value || h.Observable.Place != "there" || h.Observable.Role != "" || !h.Observable.Value.IsZero() {
					t.Errorf("hit is %+v", h)
				}
			}
			var explained []string
			for _, cand := range s.ExplainText(c.text, intel.Inbound, now) {
				if cand.Hit() {
					explained = append(explained, cand.Indicator.Source)
				}
			}
			if got := strings.Join(explained, " | "); got != c.want {
				t.Errorf("explained as %s", got)
			}
		})
	}
}

func TestAnExpressionOnTwoFieldsHitsATextOnce(t *testing.T) {
	p, err := intel.Regexp("bad", []intel.Field{"header", "header:x-mailer"})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMemory()
	m.Add(&intel.Indicator{Pattern: p, Disposition: intel.Block})
	s, err := m.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	if hits, _ := s.MatchTexts(nil, []Text{{Field: intel.FieldHeader, Name: "X-Mailer", Value: "bad"}}, 0, now); len(hits) != 1 {
		t.Errorf("got %d hits", len(hits))
	}
}

func TestTextsThatNobodyLooksAtAreNotWanted(t *testing.T) {
	for _, c := range []struct {
		entry                     string
		subject, fileName, header bool
	}{
		{"block evil.example", false, false, false},
		{"block ~subject~x", true, false, false},
		{"block ~file-name~x", false, true, false},
		{"block ~header~x", false, false, true},
		{"block ~header:x-y~x", false, false, true},
	} {
		s := snapshot(t, c.entry)
		if s.WantsTexts(intel.FieldSubject) != c.subject || s.WantsTexts(intel.FieldFileName) != c.fileName || s.WantsTexts(intel.FieldHeader) != c.header || s.WantsTexts("body") {
			t.Errorf("%s: wrong answer", c.entry)
		}
	}
}

func TestExpiredAndOtherwiseDirectedExpressionsDoNotHit(t *testing.T) {
	s := snapshot(t, "block ~subject~a until=2026-01-01", "block ~subject~a dir=outbound", "block ~subject~a")
	hits, _ := s.MatchTexts(nil, []Text{{Field: intel.FieldSubject, Value: "a"}}, intel.Inbound, now)
	if got := sources(hits); got != "block ~subject~a" {
		t.Errorf("got %s", got)
	}
}

func TestTextsAreBoundedAndTheRestIsCounted(t *testing.T) {
	s := snapshot(t, "block ~subject~needle", "block ~header:x~needle")
	long := strings.Repeat("x", MaxTextBytes-3) + "needle"
	hits, unseen := s.MatchTexts(nil, []Text{{Field: intel.FieldSubject, Value: long}}, 0, now)
	if len(hits) != 0 || unseen != 3 {
		t.Errorf("one long text: %d hits, %d unseen", len(hits), unseen)
	}

	var texts []Text
	for range MaxTextsBytes / MaxTextBytes {
		texts = append(texts, Text{Field: intel.FieldSubject, Value: long[:MaxTextBytes]})
	}
	texts = append(texts, Text{Field: intel.FieldSubject, Value: "needle"})
	hits, unseen = s.MatchTexts(nil, texts, 0, now)
	if len(hits) != 0 || unseen != len("needle") {
		t.Errorf("many texts: %d hits, %d unseen", len(hits), unseen)
	}

	// What nobody looks at takes nothing away from the rest.
	for i := range texts[:len(texts)-1] {
		texts[i].Field = intel.FieldFileName
	}
	if hits, unseen = s.MatchTexts(nil, texts, 0, now); len(hits) != 1 || unseen != 0 {
		t.Errorf("texts that nobody wants: %d hits, %d unseen", len(hits), unseen)
	}

	name := strings.Repeat("X", 2000)
	if _, unseen = s.MatchTexts(nil, []Text{{Field: intel.FieldHeader, Name: name, Value: "needle"}}, 0, now); unseen != 0 {
		t.Errorf("a field that nobody wants: %d unseen", unseen)
	}
}

func TestHitShowsTheMatchedPartOfALongText(t *testing.T) {
	s := snapshot(t, "block ~subject~needle")
	for _, c := range []struct{ text, want string }{
		{"a needle", "a needle"},
		{"\xffneedle", "\uFFFDneedle"},
		{strings.Repeat("h", 1000) + "needle in it", strings.Repeat("h", 40) + "needle in it"},
		{"needle" + strings.Repeat("ü", 200), "needle" + strings.Repeat("ü", 123) + "…"},
	} {
		hits, _ := s.MatchTexts(nil, []Text{{Field: intel.FieldSubject, Value: c.text}}, 0, now)
		if len(hits) != 1 || hits[0].Text != c.want {
			t.Errorf("%.20s: got %v, want %s", c.text, hits, c.want)
		}
	}
}

func TestWantedTextsWithoutAHitAllocateLittle(t *testing.T) {
	s := snapshot(t, "block ~subject~needle", "block ~file-name~[.]exe$", "block ~header:x-mailer~Bad")
	texts := []Text{
		{Field: intel.FieldSubject, Value: "Weekly news"},
		{Field: intel.FieldFileName, Value: "agenda.pdf"},
		{Field: intel.FieldHeader, Name: "X-Mailer", Value: "Good 1.0"},
		{Field: intel.FieldHeader, Name: "Received", Value: "from a by b"},
	}
	if n := testing.AllocsPerRun(100, func() { s.MatchTexts(nil, texts, intel.Inbound, now) }); n > float64(len(texts)) { // none, but for the race detector's
		t.Errorf("%v allocations", n)
	}
}
