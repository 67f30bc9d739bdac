package wal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// FuzzOpen gives the log a last segment that somebody else wrote: it opens and
// works, or says what is wrong, and it never changes what it calls damaged.
func FuzzOpen(f *testing.F) {
	id := logID{1, 2, 3}
	valid := encodeHeader(id, 0)
	for _, p := range [][]byte{text(10), nil, text(600), text(100)} {
		at := len(valid)
		valid = append(valid, make([]byte, frameSize)...)
		putFrame(valid[at:], p, xxhash.Sum64(p), 0)
		stamp(valid[at:], id, Position(at))
		valid = append(valid, p...)
	}
	f.Add(valid, 0, byte(0), 0)
	f.Add(valid, headerSize+3, byte(0x40), 0)
	f.Add(valid, 0, byte(0), 7)
	f.Add(valid[:headerSize], 0, byte(0), 0)
	f.Add(append(slices.Clone(valid), make([]byte, 2000)...), 0, byte(0), 0)
	f.Add([]byte{}, 0, byte(0), 0)
	f.Fuzz(func(t *testing.T, content []byte, flip int, with byte, cut int) {
		content = slices.Clone(content)
		if flip >= 0 && flip < len(content) {
			content[flip] ^= with
		}
		if cut > 0 && cut < len(content) {
			content = content[:len(content)-cut]
		}
		d := faulty.New("/state/log", 1)
		name := folder{dir: "/state/log"}.path(0)
		file, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}

		var before []string
		if r, err := OpenReader(d, "/state/log"); err == nil {
			before = payloads(t, r.Read(0))
		}
		l, err := Open(Options{FS: d, Dir: "/state/log", Name: "test"})
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			now, err := disk.ReadFile(d, name, 1<<30)
			if err != nil || !bytes.Equal(now, content) {
				t.Fatalf("a damaged file was changed: %v", err)
			}
			return
		}
		defer func() { _ = l.Close() }()
		got := payloads(t, l.Read(0))
		if !slices.Equal(got, before) {
			t.Fatalf("the log holds %d records, a reader saw %d", len(got), len(before))
		}
		at, err := l.Append(context.Background(), []byte("next"))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := l.Get(at); err != nil || string(r.Payload) != "next" {
			t.Fatalf("%q, %v", r.Payload, err)
		}
		if got := payloads(t, l.Read(0)); len(got) != len(before)+1 {
			t.Fatalf("%d records after an append to %d", len(got), len(before))
		}
	})
}
