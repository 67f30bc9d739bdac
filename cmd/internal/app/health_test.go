package app

import (
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/notify"
)

func TestNoticesThatWaitForLongAreATrouble(t *testing.T) {
	now := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		status notify.Status
		want   string // empty: no trouble
	}{
		"none waits":                     {notify.Status{}, ""},
		"it was not tried yet":           {notify.Status{Waiting: 1, Since: now.Add(-time.Hour)}, ""},
		"the MTA is down for a moment":   {notify.Status{Waiting: 1, Since: now.Add(-time.Minute), Text: "no session"}, ""},
		"the MTA has been down for long": {notify.Status{Waiting: 3, Since: now.Add(-time.Hour), Text: "no session"}, "to 3 who asked for something to be unblocked, since 2026-05-01T08:00:00Z; it is tried again: no session"},
	} {
		if got := leftUntold(c.status, now); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestMailThatNobodyComesForIsATrouble(t *testing.T) {
	now := time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	heard := func(d time.Duration) []incident.Sidecar { return []incident.Sidecar{{Actor: "unix:7", Heard: ago(d)}} }
	for name, c := range map[string]struct {
		status incident.Status
		want   string // empty: no trouble
	}{
		"nothing is to be done":             {incident.Status{}, ""},
		"it came just now":                  {incident.Status{Ready: 1, Oldest: ago(pullPatience / 2)}, ""},
		"nobody has ever asked":             {incident.Status{Ready: 1, Oldest: ago(time.Hour)}, "since the daemon started"},
		"it has asked, and works its way":   {incident.Status{Ready: 1, Oldest: ago(time.Hour), Sidecars: heard(time.Second)}, ""},
		"it has not asked for a long time":  {incident.Status{Ready: 1, Oldest: ago(time.Hour), Sidecars: heard(2 * time.Hour)}, "since 2026-05-01T07:00:00Z"},
		"one of two has not asked for long": {incident.Status{Ready: 1, Oldest: ago(time.Hour), Sidecars: append(heard(time.Second), heard(time.Hour)...)}, ""},
	} {
		if got := leftLying(c.status, now); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
