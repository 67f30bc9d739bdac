package contain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
)

// Format is a form in which other programs are told who is contained.
type Format string

// The formats.
const (
	Plain         Format = "plain"          // one name or range a line
	PostfixClient Format = "postfix-client" // a cidr table for check_client_access
	PostfixLogin  Format = "postfix-login"  // an access table for check_sasl_access
	PostfixSender Format = "postfix-sender" // an access table for check_sender_access
	NFT           Format = "nft"            // sets for nftables, which replace what was in them
)

// Export writes containments for other programs, of one kind, or of all that the
// format is for if kind is empty. The error is a *RefusedError.
func Export(all []Entry, kind Kind, format Format) (string, error) {
	var users, ranges []string
	for _, e := range all {
		switch {
		case kind != "" && e.Kind != kind:
		case e.Kind == User:
			users = append(users, e.Names...)
		default:
			ranges = append(ranges, e.Value)
		}
	}
	users, ranges = sorted(users), sorted(ranges)
	of := Client
	var text string
	switch format {
	case Plain:
		return lines(slices.Concat(ranges, users), ""), nil
	case PostfixClient:
		text = lines(ranges, " REJECT Sending from this host is suspended")
	case PostfixLogin:
		of, text = User, lines(tableKeys(users), " REJECT Sending from this account is suspended")
	case PostfixSender:
		// A login without a domain would be read as a domain here, and everybody
		// below it be refused.
		of, text = User, lines(tableKeys(addresses(users)), " REJECT Sending from this account is suspended")
	case NFT:
		text = nft(ranges)
	default:
		return "", malformed("say plain, postfix-client, postfix-login, postfix-sender or nft", "%.40q is no format", string(format))
	}
	if kind != "" && kind != of {
		return "", refuse("leave the kind out, or export "+string(Plain), "%s is for the kind %s", format, of)
	}
	return text, nil
}

func addresses(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool {
		v, err := intel.Address(name)
		return err != nil || v.Host() == ""
	})
}

func sorted(all []string) []string { return slices.Compact(slices.Sorted(slices.Values(all))) }

func lines(all []string, behind string) string {
	var b strings.Builder
	for _, text := range all {
		b.WriteString(text + behind + "\n")
	}
	return b.String()
}

// tableKeys leaves out what a table's line cannot begin with: white space ends a
// key, and a quoted local part may hold some (access(5), postmap(1)).
func tableKeys(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(key string) bool {
		return strings.ContainsAny(key, " \t\"\\") || strings.HasPrefix(key, "#")
	})
}

// nft makes a file for nft -f, which takes it as one transaction.
func nft(ranges []string) string {
	var four, six []string
	for _, text := range ranges {
		if p, err := parseRange(text); err == nil && p.Addr().Is4() {
			four = append(four, text)
		} else if err == nil {
			six = append(six, text)
		}
	}
	var b strings.Builder
	b.WriteString("add table inet weir\n")
	for _, set := range []struct {
		name, kind string
		elements   []string
	}{{"contained4", "ipv4_addr", four}, {"contained6", "ipv6_addr", six}} {
		fmt.Fprintf(&b, "add set inet weir %s { type %s; flags interval; auto-merge; }\nflush set inet weir %s\n", set.name, set.kind, set.name)
		if len(set.elements) > 0 {
			fmt.Fprintf(&b, "add element inet weir %s { %s }\n", set.name, strings.Join(set.elements, ", "))
		}
	}
	return b.String()
}
