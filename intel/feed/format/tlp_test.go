package format

import (
	"testing"

	"github.com/weirmail/weir/intel"
)

func TestAMarkingIsReadFromTagsAndReferences(t *testing.T) {
	for tag, want := range map[string]intel.TLP{
		"tlp:white": intel.TLPClear, "TLP:CLEAR": intel.TLPClear, "tlp:green": intel.TLPGreen, " tlp:amber ": intel.TLPAmber,
		"tlp:amber+strict": intel.TLPAmberStrict, "TLP: RED": intel.TLPRed, "tlp:ex:chr": intel.TLPAmber, "tlp:unclear": intel.TLPAmber,
		"tlp:mauve": intel.TLPRed, "type:osint": intel.TLPNone, "": intel.TLPNone, "red": intel.TLPNone,
		"613f2e26-407d-48c7-9eca-b8e91df99dc9": intel.TLPNone,
	} {
		if got := tlpOfTag(tag); got != want {
			t.Errorf("%q is %q, want %q", tag, got, want)
		}
	}
	for ref, want := range map[string]intel.TLP{
		"613f2e26-407d-48c7-9eca-b8e91df99dc9": intel.TLPClear, "94868c89-83c2-464b-929b-a1a8aa3c8487": intel.TLPClear,
		"34098fce-860f-48ae-8e50-ebd3cc5e41da": intel.TLPGreen, "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": intel.TLPGreen,
		"f88d31f6-486f-44da-b317-01333bde0b82": intel.TLPAmber, "55d920b0-5e8b-4f79-9ee9-91f868d9b421": intel.TLPAmber,
		"939a9414-2ddd-4d32-a0cd-375ea402b003": intel.TLPAmberStrict,
		"5e57c739-391a-4eb3-b6be-7d15ca92d5ed": intel.TLPRed, "e828b379-4e03-4974-9ac4-e53a884c97c1": intel.TLPRed,
		"d81f86b9-975b-4c0b-875e-810c5ad45a4f": intel.TLPNone,
	} {
		if got := tlpOfRef("marking-definition--" + ref); got != want {
			t.Errorf("%s is %q, want %q", ref, got, want)
		}
	}
}
