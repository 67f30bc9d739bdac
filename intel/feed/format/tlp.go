package format

import (
	"strings"

	"github.com/weirmail/weir/intel"
)

// tlpOfTag gives the marking that a tag is, TLPNone if it is another tag. A
// marking that nobody knows is as strict as they get.
func tlpOfTag(tag string) intel.TLP {
	tag = strings.ToLower(strings.TrimSpace(tag))
	if !strings.HasPrefix(tag, "tlp:") {
		return intel.TLPNone
	}
	tag = strings.ReplaceAll(tag, " ", "")
	if tlp, ok := intel.ParseTLP(tag); ok {
		return tlp
	}
	if strings.HasPrefix(tag, "tlp:ex:") || tag == "tlp:unclear" {
		return intel.TLPAmber // MISP's own additions
	}
	return intel.TLPRed
}

// tlpOfRef gives the marking that a reference of STIX names: the identifiers are
// fixed by STIX 2.1 section 7.2.1.4 and by the extension for TLP 2.0.
func tlpOfRef(ref string) intel.TLP {
	switch strings.TrimPrefix(ref, "marking-definition--") {
	case "613f2e26-407d-48c7-9eca-b8e91df99dc9", "94868c89-83c2-464b-929b-a1a8aa3c8487":
		return intel.TLPClear
	case "34098fce-860f-48ae-8e50-ebd3cc5e41da", "bab4a63c-aed9-4cf5-a766-dfca5abac2bb":
		return intel.TLPGreen
	case "f88d31f6-486f-44da-b317-01333bde0b82", "55d920b0-5e8b-4f79-9ee9-91f868d9b421":
		return intel.TLPAmber
	case "939a9414-2ddd-4d32-a0cd-375ea402b003":
		return intel.TLPAmberStrict
	case "5e57c739-391a-4eb3-b6be-7d15ca92d5ed", "e828b379-4e03-4974-9ac4-e53a884c97c1":
		return intel.TLPRed
	}
	return intel.TLPNone
}
