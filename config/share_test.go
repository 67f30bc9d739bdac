package config

import (
	"strings"
	"testing"
)

func TestMistakesInTheShareSectionNameTheirCure(t *testing.T) {
	const open = "listen = \"127.0.0.1:9443\"\ntokens_file = \"/t\"\n"
	const pair = "cert_file = \"/c\"\nkey_file = \"/k\"\n"
	for text, want := range map[string]string{
		"":   "",
		open: "",
		"listen = \"[::1]:9443\"\ntokens_file = \"/t\"":               "",
		"listen = \"0.0.0.0:9443\"\ntokens_file = \"/t\"\n" + pair:    "",
		"listen = \"0.0.0.0:9443\"\nclient_ca_file = \"/a\"\n" + pair: "",
		"listen = \"0.0.0.0:9443\"\ntokens_file = \"/t\"":             "share.cert_file",
		"listen = \"systemd:share\"\ntokens_file = \"/t\"":            "share.cert_file",
		"listen = \"unix:/s\"\ntokens_file = \"/t\"":                  "other hosts",
		"listen = \"127.0.0.1:9443\"":                                 "nobody could read",
		"listen = \"127.0.0.1:9443\"\nclient_ca_file = \"/a\"":        "no use without share.cert_file",
		open + "cert_file = \"/c\"":                                   "belong together",
		open + "tlp = \"red\"":                                        "share.tlp",
		open + "max_tlp = \"white\"":                                  "share.max_tlp",
		open + "tlp = \"amber\"":                                      "stricter than share.max_tlp",
		open + "max_tlp = \"clear\"":                                  "stricter than share.max_tlp",
		open + "tlp = \"amber\"\nmax_tlp = \"amber\"":                 "",
		open + "title = \" \"":                                        "share.title",
		open + "lists = [\"allow/x.txt\"]":                            "share.lists[0]",
		open + "lists = [\"block/../../x\"]":                          "share.lists[0]",
		open + "lists = [\"operator.txt\"]":                           "share.lists[0]",
		open + "expiry = \"1h\"":                                      "share.expiry",
	} {
		_, err := Parse("/etc/weir/weir.toml", []byte("[share]\n"+text+"\n"))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
