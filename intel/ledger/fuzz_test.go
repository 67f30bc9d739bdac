package ledger

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzDecode reads records that somebody else wrote. What can be read can be
// written again, and is the same then.
func FuzzDecode(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	r := &record{
		header: header{Sequence: 7, Node: "node01", Time: 1, Command: "c", Entity: "e", First: 3, Before: 40, Actor: "unix:0",
			Kinds: []kind{{Type: "said", Schema: 1}, {Type: "said", Schema: 2}}},
		body: body{Reason: "why", Data: [][]byte{[]byte(`"x"`), nil}},
	}
	good, err := c.encode(r, testKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(wiped(good))
	f.Add(good[:20])
	f.Add([]byte{recordVersion, 0x80})
	f.Add([]byte{recordVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := c.decode(p, 5)
		if err != nil {
			if !errors.Is(err, errRecord) {
				t.Fatal(err)
			}
			return
		}
		events, err := r.events(nil)
		if err != nil || len(events) != len(r.Kinds) || events[len(events)-1].Version != r.last() {
			t.Fatalf("%d events, %v", len(events), err)
		}
		chain := r.chain
		if r.wiped {
			return
		}
		again, err := c.encode(r, testKey())
		if err != nil {
			t.Fatal(err)
		}
		r2, err := c.decode(again, 5)
		if err != nil || !r2.intact {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if bytes.Equal(again, p) && r2.chain != chain {
			t.Fatal("equal bytes, another chain value")
		}
	})
}

func wiped(p []byte) []byte {
	p = bytes.Clone(p)
	if _, b, _, err := split(p); err == nil {
		clear(b)
	}
	return p
}

func FuzzParseCursor(f *testing.F) {
	f.Add("28-6c5bf9ddd5abacc5")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCursor(text); err == nil && c.String() != text {
			t.Errorf("%q became %q", text, c)
		}
		if h, err := ParseHead(text); err == nil && h.String() != text {
			t.Errorf("%q became %q", text, h)
		}
	})
}
