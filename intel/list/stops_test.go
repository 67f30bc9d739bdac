package list

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

func TestWhatHoldsStrangersMailOrTheSitesOwnIsTooWide(t *testing.T) {
	own := Own{Domains: []string{"weir.example"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, c := range []struct {
		value string
		does  intel.Disposition
		says  string // empty: it is not too wide
	}{
		{".com", intel.Block, "anybody registers under com"},
		{".co.uk", intel.Allow, "anybody registers under co.uk"},
		{"0.0.0.0/0", intel.Block, "/0"},
		{"::/0", intel.Watch, "/0"},
		{"128.0.0.0/7", intel.Block, "/7"},
		{"<>", intel.Block, "null sender"},
		{".weir.example", intel.Block, "blocks mail to weir.example"},
		{"weir.example", intel.Block, "blocks mail to weir.example"},
		{"10.1.2.3", intel.Block, "reaches into 10.0.0.0/8"},
		{"weir.example", intel.Allow, ""},
		{".mx.weir.example", intel.Block, ""},
		{"10.1.2.3", intel.Watch, ""},
		{"44.0.0.0/8", intel.Block, ""},
		{"2001:db8::/32", intel.Block, ""},
		{"evil.com", intel.Block, ""},
		{"alice@weir.example", intel.Block, ""},
	} {
		p, err := ParsePattern(c.value)
		if err != nil {
			t.Fatal(err)
		}
		reason, cure := TooWide(&intel.Indicator{Pattern: p, Disposition: c.does}, own)
		if (reason != "") != (c.says != "") || !strings.Contains(reason, c.says) || (cure == "") != (reason == "") {
			t.Errorf("%s %s: %q; %q", c.does, c.value, reason, cure)
		}
	}
}
