package format

import "testing"

func TestAMarkingIsReadFromTagsAndReferences(t *testing.T) {
	for tag, want := range map[string]string{
		"tlp:white": "TLP:WHITE", "TLP:CLEAR": "TLP:CLEAR", "tlp:green": "TLP:GREEN", " tlp:amber ": "TLP:AMBER", "tlp:amber+strict": "TLP:AMBER+STRICT",
		"TLP: RED": "TLP:RED", "tlp:ex:chr": "TLP:AMBER", "tlp:unclear": "TLP:AMBER", "tlp:mauve": "TLP:RED", "type:osint": "", "": "",
		"613f2e26-407d-48c7-9eca-b8e91df99dc9": "",
	} {
		if got := tlpOfTag(tag); got != want {
			t.Errorf("%q is %q, want %q", tag, got, want)
		}
	}
	for ref, want := range map[string]string{
		"613f2e26-407d-48c7-9eca-b8e91df99dc9": "TLP:WHITE", "94868c89-83c2-464b-929b-a1a8aa3c8487": "TLP:CLEAR",
		"34098fce-860f-48ae-8e50-ebd3cc5e41da": "TLP:GREEN", "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "TLP:GREEN",
		"f88d31f6-486f-44da-b317-01333bde0b82": "TLP:AMBER", "55d920b0-5e8b-4f79-9ee9-91f868d9b421": "TLP:AMBER",
		"939a9414-2ddd-4d32-a0cd-375ea402b003": "TLP:AMBER+STRICT",
		"5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "TLP:RED", "e828b379-4e03-4974-9ac4-e53a884c97c1": "TLP:RED",
		"d81f86b9-975b-4c0b-875e-810c5ad45a4f": "",
	} {
		if got := tlpOfRef("marking-definition--" + ref); got != want {
			t.Errorf("%s is %q, want %q", ref, got, want)
		}
	}
	if got := stricter("TLP:AMBER", stricter("", "TLP:GREEN")); got != "TLP:AMBER" {
		t.Error(got)
	}
	for note, want := range map[string]string{"TLP:RED x": "TLP:RED", "TLP:AMBER+STRICT": "TLP:AMBER+STRICT", "TLP:REDx": "", "x TLP:RED": "", "": ""} {
		if got := TLP(note); got != want {
			t.Errorf("%q has %q", note, got)
		}
	}
}
