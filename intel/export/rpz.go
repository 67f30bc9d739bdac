package export

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmail/weir/intel"
)

// rpz writes a response policy zone (draft-vixie-dnsop-dns-rpz, BIND's manual). Its
// names are relative to whatever the zone is called.
func (d *document) rpz() form {
	answer := " CNAME .\n" // NXDOMAIN
	switch d.Disposition {
	case intel.Allow:
		answer = " CNAME rpz-passthru.\n"
	case intel.Watch: // no answer only notes
		answer = ""
	}
	begin := func() {
		d.print("; ", d.Title, ": ", d.Disposition.String(), "\n$TTL 300\n")
		d.print("@ SOA localhost. hostmaster.localhost. ", fmt.Sprint(uint32(d.Now.Unix())), " 3600 600 604800 300\n@ NS localhost.\n")
	}
	return form{begin: begin, end: func() {}, add: func(ind *intel.Indicator) string {
		p := ind.Pattern
		if answer == "" {
			return "says " + ind.Disposition.String()
		}
		var owners []string
		switch {
		case p.Kind() == intel.KindIP:
			trigger, ok := rpzAddress(p.Text())
			if !ok {
				return unsaid(p)
			}
			owners = []string{trigger}
		case p.Kind() != intel.KindDomain:
			return unsaid(p)
		case !isDNSName(p.Text()):
			return "is no name that DNS can hold"
		case p.Form() == intel.FormBelow:
			owners = []string{zoneName(p.Text()), "*." + zoneName(p.Text())}
		default:
			owners = []string{zoneName(p.Text())}
		}
		if why := restricted(ind, intel.RoleURL); why != "" {
			return why
		}
		d.loseEnd(ind)
		for _, owner := range owners {
			d.print(owner, answer)
		}
		return ""
	}}
}

// zoneName escapes what a zone file reads in another way (RFC 1035 section 5.1).
func zoneName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// rpzAddress gives the name that triggers on an address or range in an answer:
// the length of the prefix, then the address from its end, in which zz stands
// for the zeros that :: stands for.
func rpzAddress(text string) (name string, ok bool) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return "", false
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	addr, separator := prefix.Addr().String(), "."
	if prefix.Addr().Is6() {
		separator = ":"
		addr = strings.Replace(addr, "::", ":zz:", 1)
		addr = strings.Trim(addr, ":")
	}
	words := strings.Split(addr, separator)
	slices.Reverse(words)
	return strconv.Itoa(prefix.Bits()) + "." + strings.Join(words, ".") + ".rpz-ip", true
}
