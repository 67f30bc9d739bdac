package cli

import (
	"strings"
	"testing"
)

func TestTheHistoryOfAValueHasThatOfThePatternsThatCoverIt(t *testing.T) {
	s := open(t)
	for _, value := range []string{".new.example", "https://site.example/a/*", "192.0.2.0/24"} {
		s.ok("intel", "add", value, "--block", "--reason", "case 12")
	}
	for value, entry := range map[string]string{
		"new.example": ".new.example", "www.new.example": ".new.example", "pay@www.new.example": ".new.example", "https://www.new.example/x": ".new.example",
		".www.new.example": ".new.example", "https://site.example/a/b": "https://site.example/a/*", "https://site.example/a/b/*": "https://site.example/a/*",
		"192.0.2.7": "192.0.2.0/24", "192.0.2.128/25": "192.0.2.0/24", "https://192.0.2.7/x": "192.0.2.0/24",
	} {
		s.contains(s.ok("intel", "history", value), "listed", entry, "case 12")
		s.contains(s.ok("intel", "show", value), "listed", entry, "case 12")
	}
	for _, value := range []string{"other.example", ".example", "https://site.example/b", "192.0.3.7", "192.0.2.0/23"} {
		s.contains(s.ok("intel", "history", value), "operators did nothing about")
	}
}

func TestAnEntryThatWasTakenOutByHandIsNamed(t *testing.T) {
	s := open(t)
	s.ok("intel", "add", ".new.example", "--block", "--reason", "case 12")
	const gone = "no longer in block/operator.txt, edited by hand: .new.example"
	if out := s.ok("intel", "history", "new.example"); strings.Contains(out, "by hand") {
		t.Error(out)
	}
	s.house.WriteList("block/operator.txt", "# nothing\n")
	s.contains(s.ok("intel", "history", "www.new.example"), gone)
	s.contains(s.ok("intel", "show", ".new.example"), gone)
	s.ok("intel", "add", ".new.example", "--block", "--reason", "again")
	s.ok("intel", "remove", ".new.example", "--reason", "done")
	if out := s.ok("intel", "history", "new.example"); strings.Contains(out, "by hand") {
		t.Error(out)
	}
}
