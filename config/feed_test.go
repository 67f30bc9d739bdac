package config

import (
	"strings"
	"testing"
)

func TestWhatAFeedIsToBeInAndToHaveIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		"groups = [\"phishing\", \"a-1_b\"]\nkinds = [\"url\", \"sha256\"]\nconfidence = 100": "",
		"groups = [\"a b\"]":      "feed[0].groups[0]",
		"kinds = [\"url\", \"\"]": "feed[0].kinds[1]",
		"kinds = [\"sha512\"]":    "write one of sha256, sha1,",
		"confidence = 101":        "feed[0].confidence",
		"groups = [" + strings.Repeat("\"a\",", maxGroups+1) + "]": "give at most 16",
	} {
		_, err := Parse("/etc/weir/weir.toml", []byte("[[feed]]\nname = \"x\"\nfile = \"/x\"\n"+text+"\n"))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestOnlyTAXIIIsAskedEveryFewSeconds(t *testing.T) {
	for text, want := range map[string]string{
		"format = \"taxii\"\nevery = \"2s\"":                        "",
		"format = \"taxii\"\nevery = \"1s\"":                        "less than 2s",
		"format = \"stix\"\nevery = \"59s\"":                        "is less than a minute",
		"format = \"stix\"\nevery = \"1m\"":                         "",
		"format = \"taxii\"\ncert_file = \"/c\"":                    "belong together",
		"format = \"taxii\"\ncert_file = \"/c\"\nkey_file = \"/k\"": "",
	} {
		_, err := Parse("/etc/weir/weir.toml", []byte("[[feed]]\nname = \"x\"\nurl = \"https://peer.example/c/\"\n"+text+"\n"))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
