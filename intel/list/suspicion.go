package list

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
)

// suspicion is a reason to believe that an entry does not do what was meant.
type suspicion struct{ reason, cure string }

// suspicions looks at one entry by itself.
func suspicions(e *Entry, own []string) []suspicion {
	var found []suspicion
	add := func(reason, cure string) { found = append(found, suspicion{reason, cure}) }
	p := e.Pattern
	switch {
	case p.Form() == intel.FormRegexp:
		suspectRegexp(p, add)
	case p.Kind() == intel.KindDomain:
		suspectDomain(p, add)
		suspectOwn(e, own, add)
	case p.Kind() == intel.KindURL:
		suspectURL(e, add)
	case p.Kind() == intel.KindIP:
		suspectIP(e, add)
	}
	for _, role := range e.Roles {
		if !plays(p.Kind(), role) {
			add(fmt.Sprintf("can never match in=%s", role), fmt.Sprintf("no %s plays that role", p.Kind()))
		}
	}
	return found
}

func suspectDomain(p intel.Pattern, add func(reason, cure string)) {
	if !intel.IsPublicSuffix(p.Text()) {
		return
	}
	if p.Form() == intel.FormBelow {
		add("covers every domain that anybody registers under "+p.Text(), "name the domain that is meant")
	} else {
		add("is a public suffix, and matches nothing registered under it", "name the domain that is meant")
	}
}

// suspectOwn warns of a block entry that holds the mail of a whole site: without
// in= it speaks of recipients too.
func suspectOwn(e *Entry, own []string, add func(reason, cure string)) {
	if e.Disposition != intel.Block || len(e.Roles) > 0 && !slices.Contains(e.Roles, intel.RoleRcpt) {
		return
	}
	if domain := ownDomain(&e.Indicator, own); domain != "" {
		add("blocks mail to "+domain+", which is yours", "write in=envelope-from,header-from,url for what comes from elsewhere under that name")
	}
}

func suspectURL(e *Entry, add func(reason, cure string)) {
	v, err := intel.URL(e.Pattern.Text())
	if err != nil {
		return // unreachable: the text is that of a URL
	}
	_, err = netip.ParseAddr(v.Host())
	switch {
	case strings.Contains(e.Text, "#"):
		add("has a # in it, and what follows that is no part of a link", "write what comes before it, if that alone is to match")
	case e.Pattern.Form() == intel.FormExact && strings.HasSuffix(v.String(), "/") && strings.Count(v.String(), "/") == 3:
		add("matches the front page only", "write "+v.Host()+" for the whole host")
	case err == nil:
		add("matches links alone, and only this way", "write "+v.Host()+" for all that comes from or leads to the address")
	}
}

func suspectIP(e *Entry, add func(reason, cure string)) {
	block, ok := blockOf(e.Pattern)
	if !ok {
		return // unreachable: no other text is of this kind
	}
	if block.Bits() < widest(block) {
		add(fmt.Sprintf("covers more than any one network has: /%d", block.Bits()), "write a smaller range")
	}
	if e.Disposition != intel.Block {
		return
	}
	for _, own := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"} {
		if private := netip.MustParsePrefix(own); private.Overlaps(block) {
			add("reaches into "+own+", which are addresses of your own networks", "remove it, if your own hosts are not meant")
			return
		}
	}
}

// suspectRegexp tries the expression on texts that no list is after.
func suspectRegexp(p intel.Pattern, add func(reason, cure string)) {
	if p.Regexp().MatchString("") {
		add("matches every text, the empty one included", "make it ask for something")
		return
	}
	if expr := strings.TrimPrefix(p.Text(), "(?i)"); utf8.RuneCountInString(expr) < 3 {
		add("is so short that it matches many texts", "make it ask for more")
		return
	}
	for _, text := range []string{"Minutes of the meeting on Tuesday", "Re: invoice 2026-0412", "photo_1207.jpg", "a"} {
		if !p.Regexp().MatchString(text) {
			return
		}
	}
	add("matches nearly every text", "make it ask for more")
}

// plays reports whether an entry of this kind can match an observable in this role.
func plays(kind intel.Kind, role intel.Role) bool {
	switch kind {
	case intel.KindSHA256, intel.KindSHA1, intel.KindMD5:
		return role == intel.RoleAttachment || role == intel.RoleBody
	case intel.KindURL:
		return role == intel.RoleURL
	case intel.KindAddress:
		return !slices.Contains([]intel.Role{intel.RoleHelo, intel.RoleClient, intel.RoleAttachment, intel.RoleBody}, role)
	}
	return role != intel.RoleAttachment && role != intel.RoleBody
}
