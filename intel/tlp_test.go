package intel

import "testing"

func TestAMarkingIsReadAsItIsWritten(t *testing.T) {
	for _, want := range TLPs() {
		for _, text := range []string{want.String(), "TLP:" + want.String()} {
			if got, ok := ParseTLP(text); !ok || got != want {
				t.Errorf("%q is %v, %t", text, got, ok)
			}
		}
	}
	if got, ok := ParseTLP("WHITE"); !ok || got != TLPClear {
		t.Errorf("white is %v, %t", got, ok)
	}
	for _, text := range []string{"", "tlp:", "mauve", "amber strict"} {
		if got, ok := ParseTLP(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
	if TLPRed <= TLPAmberStrict || TLPAmberStrict <= TLPAmber {
		t.Error("a stricter marking has to be the greater one")
	}
}
