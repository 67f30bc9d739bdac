package config

import (
	"encoding"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

func TestTextFormsReadBackAsTheyAreWritten(t *testing.T) {
	cases := []struct {
		into       interface{ encoding.TextUnmarshaler }
		text, want string
	}{
		{new(Duration), "90s", "1m30s"},
		{new(Duration), "30d", "30d"},
		{new(Duration), "2w", "2w"},
		{new(Duration), "1h30m", "1h30m"},
		{new(Duration), "0s", "0s"},
		{new(Duration), "1500ms", "1s500ms"},
		{new(Duration), "36h", "1d12h"},
		{new(Bytes), "1048576", "1MiB"},
		{new(Bytes), "64 MiB", "64MiB"},
		{new(Bytes), "10MB", "10MB"},
		{new(Bytes), "5KB", "5kB"},
		{new(Bytes), "1537", "1537B"},
		{new(Bytes), "0", "0"},
		{new(Mode), "660", "0660"},
		{new(Mode), "0777", "0777"},
		{new(Listen), "unix:rel/x", "unix:rel/x"},
		{new(Listen), "[0:0::1]:25", "[::1]:25"},
		{new(Listen), "127.0.0.1:25", "127.0.0.1:25"},
		{new(Listen), "systemd:weir-milter", "systemd:weir-milter"},
		{new(Listen), "", ""},
		{new(Endpoint), "mx.example.org:25", "mx.example.org:25"},
		{new(Endpoint), "unix:/a:b", "unix:/a:b"},
		{new(Endpoint), "", ""},
		{new(Prefix), "10.0.0.0/8", "10.0.0.0/8"},
		{new(Prefix), "10.0.0.1/32", "10.0.0.1"},
		{new(Prefix), "::ffff:10.0.0.1", "10.0.0.1"},
		{new(Prefix), "2001:DB8::/32", "2001:db8::/32"},
		{new(Principal), "group:1000", "group:1000"},
		{new(Principal), "cert:imap1.example.org", "cert:imap1.example.org"},
		{new(DeliveryLog), "file:/var/log//mail.log", "file:/var/log/mail.log"},
		{new(DeliveryLog), "journald:", "journald:"},
		{new(DeliveryLog), "journald:/var/log/journal", "journald:/var/log/journal"},
		{new(Principal), `user:DOM\alice`, `user:DOM\alice`},
	}
	for _, tc := range cases {
		if err := tc.into.UnmarshalText([]byte(tc.text)); err != nil {
			t.Errorf("%T %q: %v", tc.into, tc.text, err)
			continue
		}
		got, err := tc.into.(encoding.TextMarshaler).MarshalText()
		if err != nil || string(got) != tc.want {
			t.Errorf("%T %q: got %q, %v, want %q", tc.into, tc.text, got, err, tc.want)
		}
	}
}

func TestDomainsAreMadeCanonical(t *testing.T) {
	for text, want := range map[string]Domain{
		"EXAMPLE.org": "example.org", "example.org.": "example.org", ".Example.org": ".example.org",
		"bücher.example": "xn--bcher-kva.example", "localhost": "localhost",
	} {
		var d Domain
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want {
			t.Errorf("%q: got %q, %v, want %q", text, d, err, want)
		}
	}
}

func TestEveryDurationAndSizeReadsBackExactly(t *testing.T) {
	if err := quick.Check(func(ms uint32, scale uint8) bool {
		d := Duration(time.Duration(ms>>(scale%32)) * time.Millisecond)
		var back Duration
		return back.UnmarshalText([]byte(d.String())) == nil && back == d
	}, nil); err != nil {
		t.Error(err)
	}
	if err := quick.Check(func(n int64, shift uint8) bool {
		b := Bytes((n & (1<<62 - 1)) >> (shift % 62))
		var back Bytes
		return back.UnmarshalText([]byte(b.String())) == nil && back == b
	}, nil); err != nil {
		t.Error(err)
	}
}

func TestOnlyLoopbackAddressesAreNotRemote(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1:1": false, "127.9.9.9:1": false, "[::1]:1": false, "[::ffff:127.0.0.1]:1": false, "unix:/x": false, "localhost:1": false,
		"0.0.0.0:1": true, "[::]:1": true, "192.0.2.1:1": true, "mx.example.org:1": true,
	} {
		var e Endpoint
		if err := e.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		} else if e.remote() != want {
			t.Errorf("%q: got %v", text, e.remote())
		}
	}
}

func TestDistanceCountsSlips(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"listen", "lisen", 1}, {"listen", "litsen", 1}, {"dir", "lists", 4}, {"kitten", "sitting", 3},
	} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q %q: got %d, want %d", tc.a, tc.b, got, tc.want)
		}
		if got := distance(tc.b, tc.a); got != tc.want {
			t.Errorf("%q %q: got %d, want %d", tc.b, tc.a, got, tc.want)
		}
	}
	if nearest(strings.Repeat("x", 1<<16), []string{"listen"}) != "" {
		t.Error("a long name is near something")
	}
}
