package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// A mailbox is searched again after a removal: what was there before need not be.
func TestASecondLookSearchesOnlyWhatCameInSince(t *testing.T) {
	opened, hits := "", ""
	s := serve(t, &server{caps: "IMAP4rev1 LITERAL+ UIDPLUS NAMESPACE", answer: func(command string) string {
		switch {
		case strings.HasPrefix(command, "EXAMINE"):
			return opened
		case strings.HasPrefix(command, "UID SEARCH"):
			return "* SEARCH" + hits + "\r\nTAG OK done\r\n"
		case strings.HasPrefix(command, "UID FETCH"):
			return fetched(command, 5, date, raw)
		}
		return ""
	}})
	a := open(t, s)
	one, other := mailbox.Target{MessageID: "the-target@example.org", WeirID: "01JNB3V2Q8Z5R4T6Y7W8X9A0BD"}, mailbox.Target{MessageID: "another@example.org"}
	for _, step := range []struct {
		what           string
		validity, next int // of the folder; next 0: not told
		target         mailbox.Target
		hit            bool
		want           string // what the searches are limited to; "all"
	}{
		{"the first look", 7, 10, one, false, "all"},
		{"nothing came in", 7, 10, one, false, "10:*"},
		{"something came in", 7, 12, one, true, "10:*"},
		{"it is looked at again, although nothing came in", 7, 12, one, true, "12:*"},
		{"and with what came in", 7, 13, one, true, "12:*"},
		{"UIDs are others now", 8, 13, one, false, "13:*, all"},
		{"UIDs went back, which no server does", 8, 12, one, false, "13:*, all"},
		{"the server does not tell", 8, 0, one, false, "12:*, all"},
		{"and did not", 8, 12, one, false, "all"},
		{"another message is looked for", 8, 12, other, false, "all"},
		{"and again", 8, 12, other, false, "12:*"},
		{"the first one anew", 8, 12, one, false, "all"},
	} {
		opened = fmt.Sprintf("* 9 EXISTS\r\n* OK [UIDVALIDITY %d] valid\r\n", step.validity)
		if step.next > 0 {
			opened += fmt.Sprintf("* OK [UIDNEXT %d] next\r\n", step.next)
		}
		opened += "TAG OK done\r\n"
		if hits = ""; step.hit {
			hits = " 5"
		}
		before, found := len(s.said("UID SEARCH")), 0
		for _, err := range a.Find(t.Context(), []mailbox.Target{step.target}) {
			if err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			found++
		}
		said := s.said("UID SEARCH")[before:]
		var got []string
		for _, search := range said {
			limit, limited := "all", false
			if _, rest, ok := strings.Cut(search, " UID "); ok {
				limit, _, limited = strings.Cut(rest, " ")
			}
			if !strings.Contains(search, step.target.MessageID) || !strings.Contains(search, step.target.WeirID) || limited != (limit != "all") {
				t.Errorf("%s: not searched for both names: %s", step.what, search)
			}
			got = append(got, limit)
		}
		if strings.Join(got, ", ") != step.want || step.hit != (found == 1) {
			t.Errorf("%s: %d found, searched by %q, want %q", step.what, found, said, step.want)
		}
	}
}
