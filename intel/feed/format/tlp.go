package format

import "strings"

// levels lists the markings of the Traffic Light Protocol 2.0, and WHITE of 1.0,
// from the least to the most strict.
func levels() []string {
	return []string{"TLP:CLEAR", "TLP:WHITE", "TLP:GREEN", "TLP:AMBER", "TLP:AMBER+STRICT", "TLP:RED"}
}

func rank(level string) int {
	for i, l := range levels() {
		if l == level {
			return i + 1
		}
	}
	return 0
}

// stricter gives the stricter of two markings; "" is none.
func stricter(a, b string) string {
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// tlpOfTag gives the marking that a tag is, "" if it is another tag. A marking
// that nobody knows is as strict as they get.
func tlpOfTag(tag string) string {
	tag = strings.ToUpper(strings.TrimSpace(tag))
	if !strings.HasPrefix(tag, "TLP:") {
		return ""
	}
	tag = strings.ReplaceAll(tag, " ", "")
	switch {
	case rank(tag) > 0:
		return tag
	case strings.HasPrefix(tag, "TLP:EX:"), tag == "TLP:UNCLEAR":
		return "TLP:AMBER" // MISP's own additions
	}
	return "TLP:RED"
}

// tlpOfRef gives the marking that a reference of STIX names: the identifiers are
// fixed by STIX 2.1 section 7.2.1.4 and by the extension for TLP 2.0.
func tlpOfRef(ref string) string {
	switch strings.TrimPrefix(ref, "marking-definition--") {
	case "613f2e26-407d-48c7-9eca-b8e91df99dc9":
		return "TLP:WHITE"
	case "94868c89-83c2-464b-929b-a1a8aa3c8487":
		return "TLP:CLEAR"
	case "34098fce-860f-48ae-8e50-ebd3cc5e41da", "bab4a63c-aed9-4cf5-a766-dfca5abac2bb":
		return "TLP:GREEN"
	case "f88d31f6-486f-44da-b317-01333bde0b82", "55d920b0-5e8b-4f79-9ee9-91f868d9b421":
		return "TLP:AMBER"
	case "939a9414-2ddd-4d32-a0cd-375ea402b003":
		return "TLP:AMBER+STRICT"
	case "5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "e828b379-4e03-4974-9ac4-e53a884c97c1":
		return "TLP:RED"
	}
	return ""
}

// marked gives a note that begins with its marking.
func marked(tlp, note string) string {
	if tlp == "" {
		if TLP(note) != "" { // only the feed's own marking is one
			note = "(" + note + ")"
		}
		return legible(note, maxNote)
	}
	if note == "" {
		return tlp
	}
	return legible(tlp+" "+note, maxNote)
}

// TLP gives the marking that the note of an indicator of a feed begins with,
// "TLP:AMBER" for instance, "" if there is none.
func TLP(note string) string {
	level, _, _ := strings.Cut(note, " ")
	if rank(level) == 0 {
		return ""
	}
	return level
}
