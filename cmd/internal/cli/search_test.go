package cli

import (
	"encoding/csv"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

func TestASearchCombinesConditionsAndGoesOn(t *testing.T) {
	s := open(t)
	var ids []string
	for i := range 5 {
		_, id := s.house.Receive(fmt.Sprintf("From: Your Bank <x@sender.example>\nSubject: Invoice %d, URGENT\n\nhttps://www.clean.example/a/%d\n", i, i), "x@sender.example", "a@example.org")
		ids = append(ids, id)
	}
	slices.Reverse(ids)
	_, other := s.house.Receive("From: y@other.example\nSubject: hello\n\nhi\n", "y@other.example", "b@example.org")
	type found struct {
		Entries []api.JournalEntry
		More    bool
		Next    string
	}
	search := func(args ...string) (got []string, f found) {
		t.Helper()
		f = into[found](t, s.ok(append([]string{"journal", "search", "--json"}, args...)...))
		for _, e := range f.Entries {
			got = append(got, e.ID)
		}
		return got, f
	}
	for name, args := range map[string][]string{
		"sender":                     {"--sender", "sender.example"},
		"part of From":               {"--sender", "your bank"},
		"recipient":                  {"--rcpt", "a@example.org"},
		"words":                      {"--subject", "urgent invoice"},
		"phrase and rest":            {"--subject", `", urgent" invoice`, "--direction", "inbound"},
		"link":                       {"--url", "hxxps://www[.]clean[.]example/a/*"},
		"host and verdict":           {"--host", "clean.example", "--verdict", "accept", "--rule", "default"},
		"value and sender":           {"clean.example", "--sender", "@sender.example"},
		"time and all":               {"--since", "1h", "--until", "2100-01-01", "--domain", "clean.example", "--all"},
		"no limit":                   {"--rcpt", "a@example.org", "--limit", "0"},
		"client and login's absence": {"--client", "198.51.100.0/24", "--rcpt", "a@example.org"},
	} {
		if got, f := search(args...); !slices.Equal(got, ids) || f.More {
			t.Errorf("%s: %v, more %t", name, got, f.More)
		}
	}
	if got, _ := search(); len(got) != 6 || got[0] != other {
		t.Errorf("without a condition: %v", got)
	}
	for _, args := range [][]string{{"--sender", "sender.example", "--rcpt", "b@example.org"}, {"--subject", `"urgent invoice"`}, {"--until", "1h"}, {"--login", "alice"}, {"--file", "x"}} {
		if got, _ := search(args...); len(got) != 0 {
			t.Errorf("%v: %v", args, got)
		}
	}
	got, f := search("--sender", "sender.example", "--limit", "2")
	if !slices.Equal(got, ids[:2]) || !f.More || f.Next == "" {
		t.Errorf("%v %+v", got, f)
	}
	if got, f = search("--sender", "sender.example", "--before", f.Next); !slices.Equal(got, ids[2:]) || f.More {
		t.Errorf("%v %+v", got, f)
	}
	out := s.ok("journal", "search", "--subject", "invoice", "--limit", "1")
	s.contains(out, ids[0], "Invoice 4")

	// All pages are one search in the ledger, with its conditions.
	events := into[struct{ Events []api.Event }](t, s.ok("audit", "show", "--json", "--all", "--type", "searched")).Events
	paged := 0
	for _, e := range events {
		if string(e.Data) == `{"sender":"sender.example"}` || strings.Join(strings.Fields(string(e.Data)), "") == `{"sender":"sender.example"}` {
			paged++
		}
	}
	if paged != 2 { // the first of the table above, and the one that went on
		t.Errorf("%d records of the searches by sender alone", paged)
	}

	for _, args := range [][]string{{"--all", "--limit", "3"}, {"--json", "--csv"}, {""}, {"--limit", "-1"}, {"a", "b"}, {"--as", "url"}, {"--hash", "12"}, {"--before", "x"}, {"--direction", "up"}, {"--subject", `"x`}} {
		s.fails(exitUsage, append([]string{"journal", "search"}, args...)...)
	}
	s.fails(exitUsage, "journal", "find", "x")
}

func TestCSVIsReadAsItIsMeantAndDoesNothing(t *testing.T) {
	s := open(t)
	id := s.house.Identity.NewID()
	entry := &journal.Entry{
		ID: id, Time: time.Now(), From: "x@sender.example", To: []string{"a@example.org", "b@example.org"}, Client: netip.MustParseAddr("198.51.100.7"), Direction: intel.Inbound,
		Subject: "=HYPERLINK(\"https://evil.example\"), €\x1b[2J", HeaderFrom: "\r\n=1+1", Files: []string{"-a,b.txt"}, Action: intel.ActionAccept,
	}
	if _, err := s.house.Journal.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	out := s.ok("journal", "search", "--csv", "x@sender.example")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
		t.Fatalf("%q %v", out, err)
	}
	for _, line := range strings.SplitAfter(strings.TrimSuffix(out, "\r\n"), "\r\n") {
		if strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n\x1b") {
			t.Errorf("%q", line)
		}
	}
	row := map[string]string{}
	for i, name := range rows[0] {
		row[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"id": id, "subject": `'=HYPERLINK("https://evil.example"), €\x1b[2J`, "sender": "x@sender.example", "recipients": "a@example.org; b@example.org",
		"verdict": "accept", "direction": "inbound", "files": "'-a,b.txt", "header_from": `'\r\n=1+1`, "client": "198.51.100.7", "item": "",
	} {
		if row[name] != want {
			t.Errorf("%s is %q, want %q", name, row[name], want)
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, row["time"]); err != nil || time.Since(at) > time.Hour {
		t.Errorf("%s %v", row["time"], err)
	}
	if out := s.ok("journal", "search", "--csv", "nothing.example"); strings.Count(out, "\r\n") != 1 || !strings.HasPrefix(out, "id,time,direction,") {
		t.Errorf("%q", out)
	}
}

func TestCellsThatSpreadsheetsComputeAreText(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "plain": "plain", "a=1": "a=1", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": `'\tx`, "\rx": `'\rx`, "\n=x": `'\nx`[:3] + "=x",
		"  =1": "'  =1", "\u200b=1": `'\u200b=1`, "＝1": "'＝1", "<>": "<>", "'=1": "'=1", " ": " ", "\xff=": `\xff=`,
	} {
		if got := csvCell(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

func FuzzCSVCell(f *testing.F) {
	for _, text := range []string{"=1", " +1", "\x00@", "a\r\n=b", "\u202e=1", "\xff-"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := csvCell(text)
		if strings.ContainsAny(got, "\r\n\t\x1b\x00") || !utf8.ValidString(got) {
			t.Errorf("%q gives %q", text, got)
		}
		if first, _ := utf8.DecodeRuneInString(strings.TrimSpace(got)); strings.ContainsRune(formula, first) {
			t.Errorf("%q gives %q, which begins like a formula", text, got)
		}
	})
}
