package imap

import (
	"strings"
	"testing"
)

func TestAnswersAreFollowedByTheirForm(t *testing.T) {
	deep := strings.Repeat("(", maxDepth+1)
	for name, c := range map[string]struct {
		said string
		ok   bool
	}{
		"plain":                            {"* LIST (\\All) \"/\" INBOX\r\nT1 OK done\r\n", true},
		"as deep as may be":                {"* X " + strings.Repeat("(", maxDepth) + "\r\n* X (\r\n", true},
		"too deep":                         {"* X " + deep, false},
		"too deep in two lines by literal": {"* X ((( {3}\r\nabc" + deep, false},
		"parentheses in a literal":         {"* X {65}\r\n" + deep + "\r\n", true},
		"behind a literal":                 {"* X {3}\r\nabc" + deep, false},
		"a literal of no bytes":            {"* X {0}\r\n" + deep, false},
		"a literal with a space":           {"* X {65} \r\n" + deep + "\r\n", true},
		"braces that are no literal":       {"* X {3}x\r\n" + "* X " + deep, false},
		"parentheses in a string":          {"* X \"" + deep + "\"\r\n", true},
		"behind an escaped quote":          {"* X \"\\\"" + deep + "\"\r\n", true},
		"behind a string":                  {"* X \"a\\\\\"" + deep, false},
		"a string over two lines":          {"* X \"a\r\nb\"\r\n", false},
		"free text":                        {"* OK \"" + deep + "\r\nT1 NO {9}\" " + deep + "\r\n+ " + deep + "\r\n* X ()\r\n", true},
		"a literal in free text":           {"* OK {99}\r\n* X " + deep, false},
		"a status in lower case":           {"T12 ok \"" + deep + "\r\n", true},
		"nearly a status":                  {"* OKAY " + deep, false},
		"a status with no text":            {"* OK\r\n* X " + deep, false},
	} {
		t.Run(name, func(t *testing.T) {
			whole := frame{number: -1}
			if whole.follow([]byte(c.said)) != c.ok {
				t.Errorf("taken: %v", !c.ok)
			}
			bytewise, ok := frame{number: -1}, true
			for i := range len(c.said) {
				ok = ok && bytewise.follow([]byte{c.said[i]})
			}
			if ok != c.ok {
				t.Errorf("byte by byte taken: %v", ok)
			}
		})
	}
}
