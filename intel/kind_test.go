package intel

import (
	"fmt"
	"testing"
)

func TestWordsAreReadBackAsTheyAreWritten(t *testing.T) {
	for _, k := range Kinds() {
		if got, ok := ParseKind(k.String()); !ok || got != k {
			t.Errorf("%v is read as %v, %v", k, got, ok)
		}
	}
	for d := DirectionAny; d <= Internal; d++ {
		if got, ok := ParseDirection(d.String()); !ok || got != d {
			t.Errorf("%v is read as %v, %v", d, got, ok)
		}
	}
	for d := Block; d <= Watch; d++ {
		if got, ok := ParseDisposition(d.String()); !ok || got != d {
			t.Errorf("%v is read as %v, %v", d, got, ok)
		}
	}
	for a := ActionAccept; a <= ActionTempfail; a++ {
		if got, ok := ParseAction(a.String()); !ok || got != a {
			t.Errorf("%v is read as %v, %v", a, got, ok)
		}
	}
}

func TestOtherWordsAreNotRead(t *testing.T) {
	for _, word := range []string{"", "none", "URL", "urls", "Any", "kind(9)", " block"} {
		_, kind := ParseKind(word)
		_, direction := ParseDirection(word)
		_, disposition := ParseDisposition(word)
		_, action := ParseAction(word)
		if kind || direction || disposition || action {
			t.Errorf("%q is read as kind %v, direction %v, disposition %v, action %v", word, kind, direction, disposition, action)
		}
	}
}

func TestNumbersThatAreNoneShowThemselves(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{
		"kind(200)": Kind(200), "direction(200)": Direction(200), "disposition(0)": Disposition(0), "action(200)": Action(200), "none": ActionNone,
	} {
		if got.String() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The numbers are on disk.
func TestNumbersStayWhatTheyWere(t *testing.T) {
	for i, k := range []Kind{KindSHA256, KindSHA1, KindMD5, KindAddress, KindDomain, KindURL, KindIP} {
		if int(k) != i+1 || Kinds()[i] != k {
			t.Errorf("%v is %d, and %v in Kinds", k, k, Kinds()[i])
		}
	}
	for i, f := range []Form{FormExact, FormBelow, FormPrefix, FormRange, FormRegexp} {
		if int(f) != i+1 {
			t.Errorf("form %d is %d", i+1, f)
		}
	}
	for i, a := range []Action{ActionNone, ActionAccept, ActionTag, ActionHold, ActionDiscard, ActionReject, ActionTempfail} {
		if int(a) != i {
			t.Errorf("%v is %d", a, a)
		}
	}
	for i, d := range []Direction{DirectionAny, Inbound, Outbound, Internal} {
		if int(d) != i {
			t.Errorf("%v is %d", d, d)
		}
	}
	for i, d := range []Disposition{Block, Allow, Watch} {
		if int(d) != i+1 {
			t.Errorf("%v is %d", d, d)
		}
	}
}

func TestRolesAreDistinct(t *testing.T) {
	seen := map[Role]bool{}
	for _, r := range Roles() {
		if r == "" || seen[r] {
			t.Errorf("role %q", r)
		}
		seen[r] = true
	}
}
