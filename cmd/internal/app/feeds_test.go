package app

import (
	"os"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

// What a feed's section says of its entries is what policies and lookups see, from
// the moment at which the section says so.
func TestWhatAFeedsSectionSaysOfItsEntriesCountsInPolicies(t *testing.T) {
	const section = `
[policy]
file = "policy.toml"
[[feed]]
name = "partner"
file = "partner.txt"
groups = ["phishing", "paid"]
kinds = ["domain"]
confidence = 80
`
	s := newSite(t, section)
	s.write("partner.txt", "phish.example\nhttp://other.example/x\n")
	s.write("policy.toml", `
[[rule]]
name = "phishing"
when = 'blocks.exists(b, "phishing" in b.groups && b.confidence == 80)'
action = "hold"
`)
	s.start()
	verdictOf := func(url string) intel.Action { return s.send(mail("see "+url), "a@example.org").Action }
	eventually(t, "what the feed lists is held", func() bool { return verdictOf("http://phish.example/") == intel.ActionDiscard })
	if got := verdictOf("http://other.example/x"); got != intel.ActionAccept {
		t.Errorf("a URL, of which kind the feed is not to list any: %v", got)
	}
	if got := verdictOf("http://evil.example/"); got != intel.ActionAccept {
		t.Errorf("what a list has is in no group: %v", got)
	}
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"phishing", `, ""}, {"80", "79"}} {
		s.write("weir.toml", strings.Replace(string(text), change[0], change[1], 1))
		eventually(t, "a section without "+change[0]+" counts", func() bool { return verdictOf("http://phish.example/") == intel.ActionAccept })
		s.write("weir.toml", string(text))
		eventually(t, "the section as it was counts", func() bool { return verdictOf("http://phish.example/") == intel.ActionDiscard })
	}
}
