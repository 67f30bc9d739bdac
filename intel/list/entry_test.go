package list

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

func TestALineIsReadAsWhatItWasMadeOf(t *testing.T) {
	file := `evil.example
.evil.example in=header-from,url action=reject until=2026-12-31 dir=inbound id=T-118 campaign="late fish" confidence=80 tlp=amber+strict note="seen in \"case\" 118 \\ #"
domain:localhost
url:evil.example/pay
https://evil.example/pay/*
"a b"@evil.example
<>
198.51.100.0/24
2001:db8::1
44d88612fea8a8f36de82e1278abb02f
/pay \/ now # "x"/i in=subject,header:X-Mailer note=x
address:"a b"@evil.example
`
	n := 0
	for e, err := range Read(strings.NewReader(file), Options{Disposition: intel.Block}) {
		if err != nil {
			t.Log(err) // an address with a space cannot stand in a list
			continue
		}
		n++
		line, err := Line(&e.Indicator)
		if err != nil {
			t.Errorf("%s: %v", e.Text, err)
			continue
		}
		again := slices.Collect(func(yield func(Entry) bool) {
			for e, err := range Read(strings.NewReader(line), Options{Disposition: intel.Block}) {
				if err != nil {
					t.Errorf("%s: %v", line, err)
				}
				yield(e)
			}
		})
		if len(again) != 1 || readsAs(line, &again[0].Indicator) != nil || again[0].Pattern.String() != e.Pattern.String() {
			t.Errorf("%s becomes %s", e.Text, line)
		}
	}
	if n != 10 {
		t.Errorf("%d entries were tried", n)
	}
}

func TestWhatNoLineCanHoldIsAnError(t *testing.T) {
	spaced, err := intel.Address(`"a b"@evil.example`)
	if err != nil {
		t.Fatal(err)
	}
	host, err := intel.Domain("evil.example")
	if err != nil {
		t.Fatal(err)
	}
	for what, ind := range map[string]intel.Indicator{
		"a space":      {Pattern: intel.Exact(spaced)},
		"a line end":   {Pattern: intel.Exact(host), Note: "a\nb"},
		"no pattern":   {},
		"a long note":  {Pattern: intel.Exact(host), Note: strings.Repeat("x", maxNote+1)},
		"an old end":   {Pattern: intel.Exact(host), Until: time.Unix(5, 0)},
		"a confidence": {Pattern: intel.Exact(host), Confidence: 101},
	} {
		ind.Disposition = intel.Block
		if line, err := Line(&ind); err == nil {
			t.Errorf("%s: %s", what, line)
		}
	}
}

func TestAPatternIsReadWithoutOptions(t *testing.T) {
	for text, want := range map[string]string{".Evil[.]example": ".evil.example", "https://evil.example/pay/*": "https://evil.example/pay/*", "198.51.100.0/24": "198.51.100.0/24"} {
		if p, err := ParsePattern(text); err != nil || p.String() != want {
			t.Errorf("%s: %s, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "evil.example note=x", "evil.example # x", "/x/", "-", "a.example\nb.example", "10.1.2.3/8"} {
		if p, err := ParsePattern(text); err == nil {
			t.Errorf("%q is %s", text, p)
		}
	}
}
