package kv

import (
	"context"
	"encoding/binary"
	"testing"
	"time"
)

func benchKey(i int) []byte {
	k := append(make([]byte, 0, 23), "\x01\x05indicator/"...)
	return binary.BigEndian.AppendUint64(k, uint64(i)*0x9e3779b97f4a7c15)
}

// BenchmarkGet reads from a million small keys through a held snapshot.
func BenchmarkGet(b *testing.B) {
	o := testOptions(b.TempDir())
	db, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const n = 1_000_000
	w := db.NewWriter(context.Background(), 0)
	began := time.Now()
	for i := range n {
		if err := w.Set(benchKey(i), []byte("value of 16 byte")); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Logf("loaded %d keys in %v", n, time.Since(began))
	s, err := db.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Release()
	run := func(name string, offset int, want bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var dst []byte
			i := 0
			for b.Loop() {
				i = (i + 7919) % n
				_, ok, err := s.Get(benchKey(i+offset), dst[:0])
				if err != nil || ok != want {
					b.Fatal(ok, err)
				}
			}
		})
	}
	run("hit", 0, true)
	run("miss", n, false)
}

// BenchmarkCommit writes batches as a view that follows a log does.
func BenchmarkCommit(b *testing.B) {
	db, err := Open(testOptions(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	b.ReportAllocs()
	i := 0
	var batch Batch
	for b.Loop() {
		batch.Reset()
		for range 100 {
			batch.Set(benchKey(i), []byte("value of 16 byte"))
			i++
		}
		batch.SetApplied("reader", []byte("cursor"))
		if err := db.Commit(&batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i), "ns/key")
}
