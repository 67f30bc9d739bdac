package wal

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirmail/weir/intel/disk"
)

// text is a record of n bytes, none of them zero.
func text(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = 'a' + byte(i%23)
	}
	return p
}

// sample writes a log of several batches and segments and gives its folder, the
// positions of the records and the offset at which the last batch begins.
func sample(t *testing.T) (dir string, at []Position, lastBatch int64) {
	t.Helper()
	dir = t.TempDir()
	l := open(t, disk.System{}, dir, 2000)
	for i := range 6 {
		batch := [][]byte{text(300 + 10*i), text(700)}
		if i == 5 {
			lastBatch = l.Segments()[len(l.Segments())-1].Bytes
		}
		more, err := l.AppendAll(context.Background(), batch)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, more...)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, at, lastBatch
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil || len(names) < 2 {
		t.Fatalf("%v, %v: the test needs several segments", names, err)
	}
	return names
}

func readBytes(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeBytes(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readAll opens a log and reads all of it, as a start and a full check would.
func readAll(dir string) (n int, err error) {
	l, err := Open(Options{FS: disk.System{}, Dir: dir, Name: "test"})
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	for _, err := range l.Read(0) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func TestAFlippedByteAnywhereIsReportedAndNothingIsCut(t *testing.T) {
	dir, at, _ := sample(t)
	for _, name := range segmentFiles(t, dir) {
		whole := readBytes(t, name)
		for i := range whole {
			damaged := slices.Clone(whole)
			damaged[i] ^= 0x80 // a text byte does not become zero by this
			writeBytes(t, name, damaged)
			n, err := readAll(dir)
			var d *DamageError
			if !errors.As(err, &d) || !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d of %s: %d of %d records, %v", i, name, n, len(at), err)
			}
			if d.Segment != name || d.Offset > int64(i) {
				t.Fatalf("byte %d of %s: reported as %v", i, name, err)
			}
			if !bytes.Equal(readBytes(t, name), damaged) {
				t.Fatalf("byte %d of %s: the file was changed", i, name)
			}
		}
		writeBytes(t, name, whole)
	}
}

func TestATornLastBatchIsCutOffAndSaidSo(t *testing.T) {
	dir, at, lastBatch := sample(t)
	names := segmentFiles(t, dir)
	name := names[len(names)-1]
	whole := readBytes(t, name)
	try := func(what string, torn []byte) {
		t.Helper()
		writeBytes(t, name, torn)
		core, logs := observer.New(zap.WarnLevel)
		l, err := Open(Options{FS: disk.System{}, Dir: dir, Name: "test", Logger: zap.New(core)})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := len(payloads(t, l.Read(0)))
		if got != len(at)-2 && got != len(at)-1 {
			t.Fatalf("%s: %d of %d records", what, got, len(at))
		}
		if len(torn) > int(l.Segments()[len(l.Segments())-1].Bytes) && logs.Len() != 1 {
			t.Fatalf("%s: cut without a word", what)
		}
		mustAppend(t, l, "next")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := readAll(dir); err != nil || n != got+1 {
			t.Fatalf("%s: after an append %d records, %v", what, n, err)
		}
	}
	for end := int(lastBatch); end < len(whole); end++ {
		try("shorter", whole[:end])
	}
	for from := (lastBatch + sector - 1) / sector * sector; from < int64(len(whole)); from += sector {
		torn := slices.Clone(whole)
		clear(torn[from:min(from+sector, int64(len(torn)))])
		try("one sector missing", torn)
		clear(torn[from:])
		try("zeros to the end", torn)
	}
	head := slices.Clone(whole)
	clear(head[lastBatch:min((lastBatch/sector+1)*sector, int64(len(head)))])
	try("the sector missing in which the batch begins", head)
	zeros := append(slices.Clone(whole[:lastBatch]), make([]byte, 5000)...)
	try("a file extended with zeros only", zeros)
}

func TestMissingSectorsBeforeALaterBatchAreDamage(t *testing.T) {
	dir, _, lastBatch := sample(t)
	names := segmentFiles(t, dir)
	name := names[len(names)-1]
	whole := readBytes(t, name)
	for from := int64(sector); from < lastBatch/sector*sector; from += sector {
		damaged := slices.Clone(whole)
		clear(damaged[from : from+sector])
		writeBytes(t, name, damaged)
		if n, err := readAll(dir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("sector at %d: %d records, %v", from, n, err)
		}
		// Also when of the later batch only the first sector was written.
		damaged = damaged[:min(lastBatch+frameSize+1, int64(len(damaged)))]
		writeBytes(t, name, damaged)
		if n, err := readAll(dir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("sector at %d, later batch torn: %d records, %v", from, n, err)
		}
	}
}

func TestSegmentsThatDoNotFitTogetherAreDamage(t *testing.T) {
	other, _, _ := sample(t)
	for what, spoil := range map[string]func(names []string){
		"one is missing": func(names []string) { _ = os.Remove(names[1]) },
		"an early one is shorter": func(names []string) {
			b := readBytes(t, names[0])
			writeBytes(t, names[0], b[:len(b)-1])
		},
		"an early one is longer": func(names []string) {
			writeBytes(t, names[0], append(readBytes(t, names[0]), 0))
		},
		"an early one is empty": func(names []string) { writeBytes(t, names[0], nil) },
		"the last one is empty": func(names []string) { writeBytes(t, names[len(names)-1], nil) },
		"one is of another log": func(names []string) {
			writeBytes(t, names[1], readBytes(t, segmentFiles(t, other)[1]))
		},
		"two are exchanged": func(names []string) {
			a, b := readBytes(t, names[0]), readBytes(t, names[1])
			writeBytes(t, names[0], b)
			writeBytes(t, names[1], a)
		},
	} {
		dir, _, _ := sample(t)
		names := segmentFiles(t, dir)
		spoil(names)
		n, err := readAll(dir)
		var d *DamageError
		if !errors.As(err, &d) || !strings.HasPrefix(d.Segment, dir) {
			t.Errorf("%s: %d records, %v", what, n, err)
		}
	}
}

func TestStrangeFilesInTheFolderAreLeftAlone(t *testing.T) {
	dir, at, _ := sample(t)
	for _, name := range []string{"README", "zzzz.wal", "0000000000000000.WAL", "0.wal", "00000000000000000.wal"} {
		writeBytes(t, filepath.Join(dir, name), []byte("x"))
	}
	if err := os.WriteFile(filepath.Join(dir, "0000000000000bad.wal.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := readAll(dir); err != nil || n != len(at) {
		t.Fatalf("%d records, %v", n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "0000000000000bad.wal.tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an unfinished segment was left")
	}
}

// A stranger chooses what stands in a record. A whole log that he put into one
// must not pass for what was written after it.
func TestAFrameInsideARecordProvesNothing(t *testing.T) {
	dir := t.TempDir()
	l := open(t, disk.System{}, dir, 0)
	mustAppend(t, l, "first")
	at := l.Segments()[0].end()

	// What he would write if he knew the format and the position, but not the ID.
	var forged []byte
	for i := range 20 {
		p := text(30)
		f := make([]byte, frameSize, frameSize+len(p))
		putFrame(f, p, 0, 0)
		stamp(f, logID{}, at+frameSize+sector+Position(i*(frameSize+len(p))))
		forged = append(append(forged, f...), p...)
	}
	mustAppend(t, l, string(text(sector))+string(forged))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, segmentName(0))
	whole := readBytes(t, name)
	clear(whole[sector : 2*sector])
	writeBytes(t, name, whole)
	if n, err := readAll(dir); err != nil || n != 1 {
		t.Fatalf("%d records, %v", n, err)
	}
}

func TestReadingALogOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	if r, err := OpenReader(disk.System{}, dir); err != nil || len(r.Segments()) != 0 {
		t.Fatalf("an empty folder: %v", err)
	}
	l := open(t, disk.System{}, dir, 300)
	at := mustAppend(t, l, slices.Repeat([]string{string(text(50))}, 20)...)
	r, err := OpenReader(disk.System{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, "later")
	if got := payloads(t, r.Read(at[4])); len(got) != 15 || r.Torn() != 0 {
		t.Fatalf("%d records behind the fifth, %d bytes torn", len(got), r.Torn())
	}
	if rec, err := r.Get(at[3]); err != nil || !bytes.Equal(rec.Payload, text(50)) {
		t.Fatal(err)
	}

	// A batch that the daemon is writing at the moment.
	segs := l.Segments()
	name := filepath.Join(dir, segmentName(segs[len(segs)-1].Base))
	whole := readBytes(t, name)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	writeBytes(t, name, append(slices.Clone(whole), "half a header"...))
	r, err = OpenReader(disk.System{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := payloads(t, r.Read(0)); len(got) != 21 || r.Torn() != 13 {
		t.Fatalf("%d records, %d bytes torn", len(got), r.Torn())
	}
	if size := len(readBytes(t, name)); size != len(whole)+13 {
		t.Fatal("reading changed the file")
	}

	first := segmentFiles(t, dir)[0]
	b := readBytes(t, first)
	b[headerSize+frameSize+5]++
	writeBytes(t, first, b)
	r, err = OpenReader(disk.System{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range r.Read(0) {
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), first) {
			t.Fatalf("a damaged record gave %v", err)
		}
	}
}
