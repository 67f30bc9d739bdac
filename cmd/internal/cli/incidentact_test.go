package cli

import (
	"strings"
	"testing"

	"github.com/weirmail/weir/quarantine/incident"
)

func TestAFalseAlarmNamesTheEntriesThatStillStand(t *testing.T) {
	s := open(t)
	s.house.WriteList("block/urls.txt", "# links\nhttp://site.example/a/*\n")
	s.ok("intel", "add", "domain:intranet", "--block", "--reason", "x")
	for key, want := range map[string]string{
		"domain|.evil.example":   ".evil.example still stands in list:block/local.txt: take out line 1 of block/local.txt, or weir intel unblock .evil.example --reason TEXT --yes",
		"url|site.example/a/*":   "http://site.example/a/* still stands in list:block/urls.txt: take out line 2 of block/urls.txt",
		"domain|intranet":        "weir intel remove domain:intranet --reason TEXT takes it out",
		"campaign|late fish":     `weir intel search --disposition block --campaign "late fish"`,
		"domain|unknown.example": "",
		"":                       "",
	} {
		opened, err := s.house.Desk.Open(t.Context(), incident.Opening{Key: key, Title: "Blocked", Severity: incident.Low, Actor: "list:block", Reason: "x"})
		if err != nil {
			t.Fatal(err)
		}
		code, out, errs := s.run("incident", "close", opened.ID, "--false-alarm", "--reason", "theirs")
		if code != 0 || !strings.Contains(errs, want) || want == "" && errs != "" {
			t.Errorf("%s: %d %s%s", key, code, out, errs)
		}
	}
}
