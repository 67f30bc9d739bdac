package format

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
)

// plain reads one line of one value.
func (r *run) plain(text []byte, at Place) error {
	text = bytes.Trim(text, " \t")
	if isRemark(text) {
		return nil
	}
	value, rest := text, []byte(nil)
	if i := bytes.IndexAny(text, " \t"); i >= 0 {
		value, rest = text[:i], bytes.TrimLeft(text[i:], " \t")
	}
	if !isAppendix(rest) {
		r.pass(Malformed, "has more than a value, numbers and a comment", at, string(text[:min(len(text), maxText+1)]))
		return nil
	}
	return r.give(&entry{at: at, text: string(value), kind: r.opts.Kind, confidence: -1})
}

// isRemark reports a line without an entry. [Adblock Plus 2.0] is how a list for
// ad blockers begins.
func isRemark(text []byte) bool {
	return len(text) == 0 || text[0] == '#' || text[0] == ';' || text[0] == '!' ||
		bytes.HasPrefix(text, []byte("//")) || bytes.HasPrefix(text, []byte("[Adblock"))
}

// isAppendix reports that what follows a value is numbers, then maybe a comment.
func isAppendix(rest []byte) bool {
	for len(rest) > 0 {
		if rest[0] == '#' || rest[0] == ';' {
			return utf8.Valid(rest)
		}
		word := rest
		if i := bytes.IndexAny(rest, " \t"); i >= 0 {
			word = rest[:i]
		}
		for _, c := range word {
			if (c < '0' || c > '9') && c != '.' && c != '-' {
				return false
			}
		}
		rest = bytes.TrimLeft(rest[len(word):], " \t")
	}
	return true
}

// hosts reads one line of an address and names.
func (r *run) hosts(text []byte, at Place) error {
	text, _, _ = bytes.Cut(text, []byte("#"))
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	addr, names, _ := strings.Cut(strings.Trim(strings.ReplaceAll(string(text), "\t", " "), " "), " ")
	addr, _, _ = strings.Cut(addr, "%") // fe80::1%lo0
	if _, ok := parseIP(addr); !ok {
		r.pass(Malformed, "does not begin with an IP address", at, string(text[:min(len(text), maxText+1)]))
		return nil
	}
	given := false
	for name := range strings.FieldsSeq(names) {
		given = true
		if isOwnName(name) {
			continue
		}
		if _, ok := parseIP(name); ok {
			continue // 0.0.0.0 0.0.0.0 is how some lists begin
		}
		if err := r.give(&entry{at: at, text: name, kind: intel.KindDomain, confidence: -1}); err != nil {
			return err
		}
	}
	if !given {
		r.pass(Malformed, "has no name behind the address", at, addr)
	}
	return nil
}

// isOwnName reports the names that each machine has in its hosts file.
func isOwnName(name string) bool {
	switch strings.ToLower(name) {
	case "localhost", "localhost.localdomain", "localhost4", "localhost6", "localhost4.localdomain4", "localhost6.localdomain6",
		"local", "broadcasthost", "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix",
		"ip6-allnodes", "ip6-allrouters", "ip6-allhosts":
		return true
	}
	return false
}
