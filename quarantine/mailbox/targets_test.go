package mailbox

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestACopyIsGivenForEveryTargetWhoseNameItBears(t *testing.T) {
	all := []Target{
		{MessageID: "a@example.org", WeirID: "FIRST.n.m"}, {MessageID: "a@example.org"}, {WeirID: "FIRST"}, {WeirID: "FIRST.n"}, {WeirID: "SECOND"}, {},
		{MessageID: "b@example.org", WeirID: "FIRST"}, {WeirID: "FIRST.x"}, {MessageID: "A@example.org"},
	}
	for _, c := range []struct {
		copy Copy
		want string
	}{
		{Copy{MessageID: "a@example.org", WeirID: "FIRST.n.m"}, "0x-weir-id 1message-id 2x-weir-id 3x-weir-id 6x-weir-id"},
		{Copy{MessageID: "a@example.org"}, "0message-id 1message-id"},
		{Copy{WeirID: "FIRST.n"}, "2x-weir-id 3x-weir-id 6x-weir-id"},
		{Copy{WeirID: "SECOND." + strings.Repeat(".", 1000)}, "4x-weir-id"},
		{Copy{MessageID: "c@example.org", WeirID: "FIRS"}, ""}, {Copy{}, ""},
	} {
		var got []string
		for _, f := range NewTargets(all).Match(c.copy) {
			got = append(got, fmt.Sprint(f.Target, f.Copy.By))
		}
		if joined := strings.Join(got, " "); joined != c.want {
			t.Errorf("%+v: %q, want %q", c.copy, joined, c.want)
		}
	}
}

func TestNoXWeirIDIsSearchedForOnceACopyBoreBothNames(t *testing.T) {
	targets := NewTargets([]Target{
		{MessageID: "first@example.org", WeirID: "FIRST1"}, {MessageID: "second@example.org", WeirID: "SECOND"}, {WeirID: "FIRST1"},
		{MessageID: "first@example.org", WeirID: "x"},
	})
	needles := func() string { return fmt.Sprint(targets.Needles("Message-ID"), targets.Needles(WeirIDField)) }
	if got := needles(); got != "[first@example.org second@example.org] [FIRST1 SECOND]" {
		t.Error(got)
	}
	targets.Match(Copy{MessageID: "second@example.org"})
	targets.Match(Copy{MessageID: "first@example.org", WeirID: "FIRST1"})
	// One that is looked for by X-Weir-ID alone is still searched for.
	if got := fmt.Sprint(targets.Needles(WeirIDField)); got != "[FIRST1 SECOND]" {
		t.Error(got)
	}
	targets.Match(Copy{MessageID: "second@example.org", WeirID: "SECOND.n.m"})
	if got := fmt.Sprint(targets.Needles(WeirIDField)); got != "[FIRST1]" {
		t.Error(got)
	}
}

func TestContentIsLookedForWhereNoNameWasFound(t *testing.T) {
	p := NewParser()
	raw := []byte("Subject: x\r\n\r\nhello\r\n")
	m := p.Parse(raw, nil)
	body := m.Body
	m.Close()
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	targets := NewTargets([]Target{
		{MessageID: "named@example.org", Body: body}, {MessageID: "other@example.org", Body: body, Size: 1000, Around: noon},
		{Body: [32]byte{1}, Size: 10 << 20, Around: noon.Add(time.Hour)}, {MessageID: "without@example.org"},
	})
	targets.Match(Copy{MessageID: "named@example.org"})
	c := targets.Unnamed()
	if got := fmt.Sprint(c.None(), c.Indexes(), c.Held(p, raw), c.Held(p, []byte("Subject: x\r\n\r\nbye\r\n"))); got != "false [1 2] [1] []" {
		t.Error(got)
	}
	if !c.Plausible(1000) || !c.Plausible(5<<20) || c.Plausible(1<<20) {
		t.Error("what no encoding explains is plausible, or what one does is not")
	}
	if c.Distance(noon) != 0 || c.Distance(noon.Add(50*time.Minute)) != 10*time.Minute {
		t.Error("the nearest does not count")
	}
	if !NewTargets([]Target{{MessageID: "a@example.org"}, {}}).Unnamed().None() {
		t.Error("what has no content is looked for by it")
	}
}

func BenchmarkName(b *testing.B) {
	header := []byte("Message-ID: <message-1@example.org>\r\nX-Weir-ID: 01JNB3V2Q8Z5R4T6Y7W8X9A0BC.N0DE01.ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n\r\n")
	p := NewParser()
	b.ReportAllocs()
	for b.Loop() {
		var c Copy
		c.Name(p, header)
	}
}
