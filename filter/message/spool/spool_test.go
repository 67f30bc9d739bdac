package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/weirmail/weir/filter/message"
)

func newPool(t testing.TB, opts Options) *Pool {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t testing.TB, b *Buffer, p []byte) {
	t.Helper()
	if n, err := b.Write(p); n != len(p) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(p), err)
	}
}

func read(t testing.TB, b *Buffer) []byte {
	t.Helper()
	got, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestWhatWasWrittenIsReadBack writes messages of many sizes in pieces of many
// sizes and reads them back after every few.
func TestWhatWasWrittenIsReadBack(t *testing.T) {
	p := newPool(t, Options{MemoryPerMessage: 300 << 10})
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		s := p.Spool()
		b := s.New()
		var want []byte
		for len(want) < 1<<r.IntN(21) {
			piece := make([]byte, r.IntN(70<<10))
			for i := range piece {
				piece[i] = byte(r.Uint32())
			}
			write(t, b, piece)
			want = append(want, piece...)
			if r.IntN(3) == 0 && !bytes.Equal(read(t, b), want) {
				t.Fatalf("%d bytes were not read back", len(want))
			}
		}
		if !bytes.Equal(read(t, b), want) || b.Len() != int64(len(want)) {
			t.Fatalf("%d bytes were not read back", len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if p.HeapBytes() != 0 || p.Files() != 0 {
		t.Errorf("%d bytes of heap and %d files are left", p.HeapBytes(), p.Files())
	}
}

func TestAnEmptyBufferIsEmpty(t *testing.T) {
	b := newPool(t, Options{}).Spool().New()
	if got := read(t, b); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestSmallMessagesStayOnTheHeapAndLargeOnesDont(t *testing.T) {
	p := newPool(t, Options{MemoryPerMessage: 128 << 10})
	s := p.Spool()
	small, large := s.New(), s.New()
	write(t, small, make([]byte, 60<<10))
	if p.Files() != 0 || p.HeapBytes() == 0 {
		t.Errorf("a small message: %d files, %d bytes of heap", p.Files(), p.HeapBytes())
	}
	write(t, large, make([]byte, 10<<20))
	if p.Files() != 1 || p.HeapBytes() > 128<<10 {
		t.Errorf("with a large one: %d files, %d bytes of heap", p.Files(), p.HeapBytes())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheHeapOfAllMessagesIsBounded(t *testing.T) {
	p := newPool(t, Options{MemoryPerMessage: 1 << 20, MemoryTotal: 200 << 10})
	var spools []*Spool
	for range 20 {
		s := p.Spool()
		write(t, s.New(), bytes.Repeat([]byte("x"), 50<<10))
		spools = append(spools, s)
	}
	if p.HeapBytes() > 200<<10 || p.Files() != 17 {
		t.Errorf("%d bytes of heap, %d files", p.HeapBytes(), p.Files())
	}
	for _, s := range spools {
		if got := read(t, s.open[0]); len(got) != 50<<10 || got[len(got)-1] != 'x' {
			t.Error("a message is not what was written")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestALargeMessageCostsNoHeap(t *testing.T) {
	p := newPool(t, Options{})
	s := p.Spool()
	b := s.New()
	chunk := make([]byte, 64<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 100 << 20 / len(chunk) {
		write(t, b, chunk)
	}
	if got := read(t, b); len(got) != 100<<20 {
		t.Fatalf("%d bytes", len(got))
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("100 MB took %d bytes of heap", grown)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestALargeMessageIsParsedWithoutHeap reads 100 MB: text that has to be decoded
// to be searched, a file that is only digested, an archive that is unpacked.
func TestALargeMessageIsParsedWithoutHeap(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	p := newPool(t, Options{})
	s := p.Spool()
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	b := s.New()
	repeat := func(text string, bytes int) {
		chunk := []byte(strings.Repeat(text, max(1, 32<<10/len(text))))
		for n := 0; n < bytes; n += len(chunk) {
			write(t, b, chunk)
		}
	}
	write(t, b, []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"))
	repeat("<p>caf=C3=A9 and so on, which goes on and on and on in this way=\r\n", 20<<20)
	write(t, b, []byte("<a href=3D\"http://evil.example/\">\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"))
	repeat(strings.Repeat("QUJD", 19)+"\r\n", 80<<20)
	write(t, b, []byte("--b--\r\n"))
	raw := read(t, b)
	parser, err := message.NewParser(message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	parser.Parse([]byte("\nx"), s) // what a parser needs once
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := parser.Parse(raw, s)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d bytes took %d bytes of heap", len(raw), grown)
	}
	if len(m.URLs) != 1 || len(m.Parts) != 3 || m.Parts[2].Size < 50<<20 || m.Incomplete != nil {
		t.Errorf("%d links, %d parts, incomplete %v", len(m.URLs), len(m.Parts), m.Incomplete)
	}
	m.Close()
}

func TestHeapIsRecycled(t *testing.T) {
	p := newPool(t, Options{})
	text := make([]byte, 200<<10)
	if n := testing.AllocsPerRun(100, func() {
		s := p.Spool()
		write(t, s.New(), text)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}); n > 6 {
		t.Errorf("%v allocations a message", n)
	}
}

func TestFilesHaveNoName(t *testing.T) {
	dir := t.TempDir()
	p := newPool(t, Options{Dir: dir, MemoryPerMessage: 1})
	b := p.Spool().New()
	write(t, b, []byte("secret"))
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 || p.Files() != 1 {
		t.Errorf("%v, %v, %d files", names, err, p.Files())
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestAClosedBufferGivesNothing(t *testing.T) {
	for _, perMessage := range []int64{1, 1 << 20} {
		s := newPool(t, Options{MemoryPerMessage: perMessage}).Spool()
		b := s.New()
		write(t, b, []byte("x"))
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.Write([]byte("y")); !errors.Is(err, ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if _, err := b.Bytes(); !errors.Is(err, ErrClosed) {
			t.Errorf("Bytes: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := New(Options{Dir: t.TempDir(), MemoryTotal: -1}); err == nil {
		t.Error("a negative limit was taken")
	}
	_, err := New(Options{Dir: filepath.Join(t.TempDir(), "nowhere")})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a folder that isn't there: %v", err)
	}
}

func TestManyMessagesAtOnce(t *testing.T) {
	p := newPool(t, Options{MemoryPerMessage: 100 << 10, MemoryTotal: 300 << 10})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 50 {
				s := p.Spool()
				a, b := s.New(), s.New()
				want := bytes.Repeat([]byte{byte(g), byte(n)}, 1000*n)
				if _, err := a.Write(want); err != nil {
					t.Error(err)
				}
				if _, err := b.Write(want[:n]); err != nil {
					t.Error(err)
				}
				if got, err := a.Bytes(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("not what was written: %v", err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if p.HeapBytes() != 0 || p.Files() != 0 {
		t.Errorf("%d bytes of heap and %d files are left", p.HeapBytes(), p.Files())
	}
}

func BenchmarkSpool(b *testing.B) {
	for _, bb := range []struct {
		name string
		size int
	}{{"10 KB", 10 << 10}, {"1 MB", 1 << 20}, {"30 MB", 30 << 20}} {
		b.Run(bb.name, func(b *testing.B) {
			p := newPool(b, Options{})
			chunk := make([]byte, min(64<<10, bb.size))
			b.ReportAllocs()
			b.SetBytes(int64(bb.size))
			for b.Loop() {
				s := p.Spool()
				buf := s.New()
				for n := 0; n < bb.size; n += len(chunk) {
					write(b, buf, chunk)
				}
				read(b, buf)
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
