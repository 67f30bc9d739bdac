package control

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

func TestWhatIsLookedForIsReadInEveryWayThatFits(t *testing.T) {
	for text, want := range map[string][]string{
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":            {"id"},
		"01arz3ndektsv4rrffq69g5fav.abcdef.mac": {"id", "domain"},
		"4XyzAb12345":                           {"queue-id"},
		"3F9A1":                                 {"queue-id"},
		"<x@y.example>":                         {"message-id", "address"},
		"x@y.example":                           {"message-id", "address"},
		"<odd id@>":                             {},
		"a.example":                             {"domain"},
		"domain:localhost":                      {"domain"},
		"http://a.example/x@y":                  {"url"},
		"192.0.2.1":                             {"ip"},
		"::ffff:192.0.2.1":                      {"ip"},
		"192.0.2.0/24":                          {"ip"},
		"2001:db8::/48":                         {"ip"},
		"2001:db8::/32":                         {}, // wider than any that has a key
		"192.0.2.1/24":                          {},
		"44d88612fea8a8f36de82e1278abb02f":      {"md5"},
		"":                                      {},
		" ":                                     {},
	} {
		readings, err := readingsOf(text, "")
		var got []string
		for _, r := range readings {
			got = append(got, r.as)
		}
		if !slices.Equal(got, want) && len(got)+len(want) > 0 || (err == nil) != (len(want) > 0) {
			t.Errorf("%q is read as %v, want %v; %v", text, got, want, err)
		}
	}
	for as, text := range map[string]string{"message-id": "no at sign", "queue-id": "A-1", "url": "a.example/x", "domain": "a.example"} {
		if readings, err := readingsOf(text, as); err != nil || len(readings) != 1 || readings[0].as != as {
			t.Errorf("%s %q: %v %v", as, text, readings, err)
		}
	}
}

func FuzzReading(f *testing.F) {
	for _, text := range []string{"x@y.example", "192.0.2.0/24", "https://a.example/?x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", ".a.example", "[::1]", "<>", "/x/"} {
		f.Add(text, "")
		f.Add(text, "domain")
	}
	ip, err := intel.IP(netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		f.Fatal(err)
	}
	entry := &journal.Entry{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Observables: []intel.Observable{{Value: ip}, {Value: intel.NullSender()}, {Value: intel.MD5([16]byte{})}}}
	f.Fuzz(func(t *testing.T, text, as string) {
		readings, err := readingsOf(text, as)
		if err != nil {
			var e *api.Error
			if !errors.As(err, &e) || e.Code != api.BadRequest {
				t.Fatalf("%v", err)
			}
			return
		}
		finder := finder{readings: readings, in: &api.JournalQuery{}}
		finder.take(entry)
	})
}
