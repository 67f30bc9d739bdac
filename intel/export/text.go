package export

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

// head writes the comment at the beginning of a text.
func (d *document) head() {
	d.print("# ", d.Title, ": ", d.Disposition.String(), ", ", d.Now.Format(time.RFC3339), "\n")
}

// plain writes one value a line, of all kinds or of one.
func (d *document) plain() form {
	about := map[Format][]intel.Role{
		Domains: {intel.RoleURL},
		URLs:    {intel.RoleURL},
		IPs:     {intel.RoleClient, intel.RoleURL},
	}[d.Format]
	kind := map[Format]intel.Kind{Domains: intel.KindDomain, URLs: intel.KindURL, IPs: intel.KindIP}[d.Format]
	return form{begin: d.head, end: func() {}, add: func(ind *intel.Indicator) string {
		p := ind.Pattern
		text := p.String()
		switch {
		case p.Form() == intel.FormRegexp:
			return unsaid(p)
		case kind != 0 && p.Kind() != kind:
			return "is of kind " + p.Kind().String()
		case isNullSender(p):
			return nullSender
		case !stands(text), p.Form() == intel.FormExact && strings.HasSuffix(text, "*"):
			return unreadable
		}
		if why := restricted(ind, about...); why != "" {
			return why
		}
		d.loseEnd(ind)
		d.print(text, "\n")
		return ""
	}}
}

// stands reports that a value can stand on a line of its own, where others would
// not take it for a comment, a rule of an ad blocker or more than one word.
func stands(text string) bool {
	return text != "" && !strings.ContainsAny(text, " \t\"") && !strings.ContainsAny(text[:1], "#;!/|@[") && intel.Refang(text) == text
}

// CSVColumns gives the columns of the format csv, as package format reads them.
func CSVColumns() format.CSVOptions {
	return format.CSVOptions{Header: true, Columns: format.Columns{
		Value: "value", Kind: "kind", Confidence: "confidence", Tags: "tags", Campaign: "campaign", ID: "id", Note: []string{"note"}, Until: "until",
	}}
}

// csv writes records. Each field stands in quotes, so that none can be taken for
// a comment or loses its spaces.
func (d *document) csv() form {
	record := func(fields ...string) {
		for i, f := range fields {
			if i > 0 {
				d.print(",")
			}
			d.print(`"`, strings.ReplaceAll(f, `"`, `""`), `"`)
		}
		d.print("\r\n")
	}
	begin := func() {
		record("value", "kind", "disposition", "confidence", "tags", "campaign", "id", "note", "until", "source")
	}
	return form{begin: begin, end: func() {}, add: func(ind *intel.Indicator) string {
		p := ind.Pattern
		switch {
		case p.Form() == intel.FormRegexp:
			return unsaid(p)
		case isNullSender(p):
			return nullSender
		case p.Form() == intel.FormExact && p.Kind() == intel.KindURL && strings.HasSuffix(p.Text(), "*"):
			return unreadable
		}
		if why := restricted(ind); why != "" {
			return why
		}
		if ind.Action != intel.ActionNone {
			d.lose("the action it asks for", ind)
		}
		var confidence, tag, until string
		if ind.Confidence > 0 {
			confidence = strconv.Itoa(ind.Confidence)
		}
		if ind.TLP != intel.TLPNone {
			tag = "tlp:" + ind.TLP.String()
		}
		if !ind.Until.IsZero() {
			until = ind.Until.UTC().Format(time.RFC3339)
		}
		source := ind.Source
		if d.Bare {
			source = ""
		}
		record(p.String(), p.Kind().String(), ind.Disposition.String(), confidence, tag, ind.Campaign, ind.ID, ind.Note, until, source)
		return ""
	}}
}

// verdict is what a table of Postfix answers (access(5)).
func (d *document) verdict() string {
	switch d.Disposition {
	case intel.Allow:
		return "OK"
	case intel.Watch:
		return "WARN"
	}
	return "REJECT"
}

// postfixSenders writes a table of access(5) by address and domain.
func (d *document) postfixSenders() form {
	line := func(key string) { d.print(key, " ", d.verdict(), "\n") }
	return form{begin: d.head, end: func() {}, add: func(ind *intel.Indicator) string {
		p := ind.Pattern
		text := p.Text()
		if p.Kind() != intel.KindAddress && p.Kind() != intel.KindDomain {
			return unsaid(p)
		}
		if why := restricted(ind, intel.RoleEnvelopeFrom); why != "" {
			return why
		}
		// Postfix looks addresses up without the quotes of RFC 5321, and up to its
		// first blank a line is the key.
		if strings.ContainsAny(text, "\" \t\\") || text[0] == '#' {
			return unreadable
		}
		switch {
		case p.Form() == intel.FormBelow:
			line(text)
			line("." + text)
		case p.Kind() == intel.KindDomain && intel.IsPublicSuffix(text):
			return "is a public suffix, and Postfix would take it with all below it"
		case p.Kind() == intel.KindDomain:
			d.lose("that names below it are not meant, where parent_domain_matches_subdomains has smtpd_access_maps", ind)
			line(text)
		default:
			line(text)
		}
		d.loseEnd(ind)
		return ""
	}}
}

// postfixClients writes a table of cidr_table(5).
func (d *document) postfixClients() form {
	return form{begin: d.head, end: func() {}, add: func(ind *intel.Indicator) string {
		if ind.Pattern.Kind() != intel.KindIP {
			return unsaid(ind.Pattern)
		}
		if why := restricted(ind, intel.RoleClient); why != "" {
			return why
		}
		d.loseEnd(ind)
		d.print(ind.Pattern.String(), " ", d.verdict(), "\n")
		return ""
	}}
}

// isDNSName reports that DNS could hold a name: labels of 63 bytes at most (RFC
// 1035 section 2.3.4), and room for the name of the zone that it will stand in.
func isDNSName(name string) bool {
	const longest, roomForZone = 253, 64
	return len(name) <= longest-roomForZone && !slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return len(label) > 63 })
}
