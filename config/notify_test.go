package config

import (
	"slices"
	"strings"
	"testing"
)

func TestMistakesInTheNotifySectionNameTheirCure(t *testing.T) {
	for from, want := range map[string]string{
		"":                                      "",
		"weir@example.org":                      "",
		"Weir <weir@example.org>":               "",
		"Für alle <weir@example.org>":           "",
		"weir":                                  "one mailbox",
		"a@example.org, b@example.org":          "one mailbox",
		"a@example.org\r\nBcc: b@example.org":   "one mailbox",
		"weir@bücher.example":                   "not every mail server takes",
		`"a b"@example.org`:                     "not every mail server takes",
		strings.Repeat("a", 400) + "@a.example": "of at most 320",
	} {
		_, err := Parse("/etc/weir/weir.toml", []byte("[notify]\nfrom = "+tomlString(from)+"\n"))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", from, err, want)
		}
	}
}

func TestWhoeverWritesWithoutAWayIsWarned(t *testing.T) {
	const routes = "[reinject.inbound]\naddress = \"\"\n[reinject.outbound]\naddress = \"\"\n"
	for text, want := range map[string][]string{
		"[notify]\nfrom = \"weir@example.org\"\n": nil,
		routes: nil,
		"[notify]\nfrom = \"weir@example.org\"\n" + routes: {"reinject.inbound.address", "reinject.outbound.address"},
	} {
		c, err := Parse("/etc/weir/weir.toml", []byte("mail.local_domains = [\"example.org\"]\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range c.Warnings() {
			got = append(got, w.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
