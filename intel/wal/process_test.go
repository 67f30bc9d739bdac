package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
)

func TestNoAcknowledgedRecordIsLostWhenTheProcessIsKilled(t *testing.T) {
	const dirEnv = "WEIR_TEST_DIR"
	if crashtest.IsChild(t) {
		appendUntilKilled(t, os.Getenv(dirEnv))
		return
	}
	dir := t.TempDir()
	known := map[Position]uint64{}
	for range 10 {
		after := time.Duration(rand.IntN(60)) * time.Millisecond
		for _, line := range crashtest.RunUntilKilled(t, after, dirEnv+"="+dir) {
			var at Position
			var n uint64
			if _, err := fmt.Sscanf(line, "ack %d %d", &at, &n); err == nil {
				known[at] = n
			}
		}
		l := open(t, disk.System{}, dir, 0)
		found := map[Position]uint64{}
		for r, err := range l.Read(0) {
			if err != nil {
				t.Fatal(err)
			}
			found[r.Position] = binary.LittleEndian.Uint64(r.Payload)
		}
		for at, n := range known {
			if found[at] != n {
				t.Fatalf("record %d at %x was acknowledged and is gone", n, at)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(known) < 100 {
		t.Errorf("only %d records were acknowledged: the test says little", len(known))
	}
}

func appendUntilKilled(t *testing.T, dir string) {
	l := open(t, disk.System{}, dir, 50_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				n := rand.Uint64()&0xffffffff | rand.Uint64N(3000)<<32
				at, err := l.Append(context.Background(), record(n))
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Printf("ack %d %d\n", at, n)
			}
		})
	}
	wg.Wait()
}

func TestAFullDiskTakesNothingAndTheLogWorksAgainWhenThereIsRoom(t *testing.T) {
	folder := crashtest.SmallDisk(t, 1<<20)
	stranger := filepath.Join(folder, "stranger")
	if err := os.WriteFile(stranger, make([]byte, 300_000), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(folder, "log")
	l := open(t, disk.System{}, dir, 100_000)
	want := map[Position]uint64{}
	fill := func() {
		t.Helper()
		for n := uint64(len(want) + 1); ; n++ {
			n := n | 2000<<32
			at, err := l.Append(context.Background(), record(n))
			if errors.Is(err, disk.ErrNoSpace) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want[at] = n
		}
	}
	check := func() {
		t.Helper()
		n := 0
		for r, err := range l.Read(0) {
			if err != nil {
				t.Fatal(err)
			}
			if want[r.Position] != binary.LittleEndian.Uint64(r.Payload) {
				t.Fatalf("a record at %x that nobody acknowledged", r.Position)
			}
			n++
		}
		if n != len(want) {
			t.Fatalf("%d of %d records", n, len(want))
		}
	}
	fill()
	check()
	before := len(want)
	if err := os.Remove(stranger); err != nil {
		t.Fatal(err)
	}
	fill()
	check()
	if len(want) < before+100 {
		t.Fatalf("%d records, then %d: the room was not used", before, len(want))
	}

	// The daemon can be started on a full disk, to read and to drop.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, disk.System{}, dir, 100_000)
	check()
	fill()
	var first Position
	for at := range want {
		if seg := l.Segments()[2]; at < seg.Base {
			delete(want, at)
		} else {
			first = seg.Base
		}
	}
	if err := l.Drop(first); err != nil {
		t.Fatal(err)
	}
	fill()
	check()
}
