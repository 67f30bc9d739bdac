package notify

import (
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/weirmail/weir/quarantine/unblock"
)

// linkable is what mail programs make links of.
var linkable = regexp.MustCompile(`://|[^\s]\.[\pL\pN]`)

// checkNotice builds the notice of a request, and says what no notice may be.
func checkNotice(t *testing.T, r *unblock.Request) (subject, text string) {
	t.Helper()
	l := letter{from: &mail.Address{Name: "Weir, für alle", Address: "weir@local.example"}, to: "alice@local.example", id: "unblock.01", date: r.Decided}
	l.subject, l.text = aboutRequest(r)
	raw := string(l.bytes())
	if len(raw) > 64<<10 {
		t.Errorf("%d bytes", len(raw))
	}
	for _, line := range strings.Split(raw, "\r\n") {
		if len(line) > 500 || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("a line of %d bytes: %q", len(line), line)
		}
	}
	header, subject, text := read(t, []byte(raw))
	if len(header) != 9 {
		t.Errorf("%d fields: %q", len(header), header)
	}
	for name, values := range header {
		if len(values) != 1 {
			t.Errorf("%s: %q", name, values)
		}
	}
	if from, err := mail.ParseAddress(header.Get("From")); err != nil || *from != *l.from {
		t.Errorf("%+v %v", from, err)
	}
	if linkable.MatchString(subject) || linkable.MatchString(text) {
		t.Errorf("there is a link in it: %q %q", subject, text)
	}
	if strings.ContainsFunc(subject+strings.ReplaceAll(text, "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q %q", subject, text)
	}
	if n := strings.Count(text, "\n"); n > 12 {
		t.Errorf("%d lines:\n%s", n, text)
	}
	return subject, text
}

func TestNothingThatPeopleWriteBreaksANotice(t *testing.T) {
	at := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	nasty := []string{
		"x\r\nBcc: eve@elsewhere.example\r\n\r\n<html>", "=?utf-8?q?http=3A//evil.example?= =?utf-8?b?eA==?=", strings.Repeat("ü.", 5000), strings.Repeat("a", 9000), strings.Repeat("𝒳", 9000),
		"\u202egnp.exe\u2028\x00\x1b[31m\ufeff", "https://evil.example/?a=?b", "\xff\xfe.bad", "", ".\r\n.\r\nQUIT",
	}
	for _, text := range nasty {
		for _, state := range []unblock.State{unblock.Approved, unblock.Refused} {
			subject, body := checkNotice(t, &unblock.Request{ID: "01KB", Value: text, Reference: text, Why: text, State: state, Asked: at, Decided: at, Until: at})
			if !strings.HasPrefix(subject, "Request "+string(state)+":") || !strings.Contains(body, "\nrequest:       01KB\n") {
				t.Errorf("%q\n%s", subject, body)
			}
		}
	}
}

func FuzzNotice(f *testing.F) {
	f.Add("https://evil.example/a", "it is\nphishing", "REF-1", true)
	f.Add("=?utf-8?q?a?=", "\r\n.\r\n", "\xff", false)
	f.Add(strings.Repeat("ж。", 300), "= ?=\u2028", "a\u0301.b", true)
	f.Fuzz(func(t *testing.T, value, why, reference string, approved bool) {
		r := unblock.Request{ID: "01KB", Value: value, Why: why, Reference: reference, State: unblock.Refused}
		if approved {
			r.State = unblock.Approved
		}
		checkNotice(t, &r)
	})
}
