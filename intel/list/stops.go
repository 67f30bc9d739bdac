package list

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weirmail/weir/intel"
)

// Own is what is the site's own.
type Own struct {
	Domains  []string // canonical, without a leading dot
	Networks []netip.Prefix
}

// TooWide says why an entry would hold the mail of strangers or of the site itself,
// and what to write instead; reason is empty for one that does not. A block stops
// the site's own mail if it is about its domains or networks.
func TooWide(ind *intel.Indicator, own Own) (reason, cure string) {
	p := ind.Pattern
	switch {
	case p.Form() == intel.FormBelow && intel.IsPublicSuffix(p.Text()):
		return "covers every domain that anybody registers under " + p.Text(), "name the domain that is meant"
	case p.Form() == intel.FormExact && p.Value() == intel.NullSender():
		return "is the null sender, from which all bounces come", "name the client or the domain that is meant"
	case p.Kind() == intel.KindDomain:
		if domain := ownDomain(ind, own.Domains); domain != "" {
			return "blocks mail to " + domain + ", which is yours", "write it into a list file with in=envelope-from,header-from,url for what comes from elsewhere under that name"
		}
	case p.Kind() == intel.KindIP:
		return wideRange(ind, own.Networks)
	}
	return "", ""
}

func wideRange(ind *intel.Indicator, networks []netip.Prefix) (reason, cure string) {
	block, ok := blockOf(ind.Pattern)
	if !ok {
		return "", ""
	}
	if block.Bits() < widest(block) {
		return fmt.Sprintf("covers more than any one network has: /%d", block.Bits()), "write a smaller range"
	}
	if ind.Disposition != intel.Block {
		return "", ""
	}
	for _, network := range networks {
		if network.Overlaps(block) {
			return "reaches into " + network.String() + ", which is yours", "contain a machine of yours by weir contain ip"
		}
	}
	return "", ""
}

// ownDomain gives the first domain of the site's whose mail a block holds, empty
// for none.
func ownDomain(ind *intel.Indicator, own []string) string {
	if ind.Disposition != intel.Block {
		return ""
	}
	name := ind.Pattern.Text()
	for _, domain := range own {
		if domain == name || ind.Pattern.Form() == intel.FormBelow && strings.HasSuffix(domain, "."+name) {
			return domain
		}
	}
	return ""
}

// blockOf gives the addresses that a pattern of KindIP is about.
func blockOf(p intel.Pattern) (netip.Prefix, bool) {
	if block, err := netip.ParsePrefix(p.Text()); err == nil {
		return block, true
	}
	addr, err := netip.ParseAddr(p.Text())
	return netip.PrefixFrom(addr, addr.BitLen()), err == nil
}

// widest is the length of the largest block that a registry has handed out.
func widest(block netip.Prefix) int {
	if block.Addr().Is6() {
		return 19
	}
	return 8
}
