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
	"github.com/weirmail/weir/intel/disk/faulty"
)

// text is a record of n bytes, none of them zero.
func text(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = 'a' + byte(i%23)
	}
	return p
}

const sampleDir = "/state/log"

// sample writes a log of several batches and segments and gives its disk, the
// positions of the records and the offset at which the last batch begins.
func sample(t *testing.T) (d *faulty.Disk, at []Position, lastBatch int64) {
	t.Helper()
	d = faulty.New("/state", 1)
	l := open(t, d, sampleDir, 2000)
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
	return d, at, lastBatch
}

// segmentFiles names the segments, of which there are several.
func segmentFiles(t *testing.T, fsys disk.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil || len(entries) < 2 {
		t.Fatalf("%v, %v: the test needs several segments", entries, err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

func readBytes(t *testing.T, fsys disk.FS, name string) []byte {
	t.Helper()
	b, err := disk.ReadFile(fsys, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeBytes(t *testing.T, fsys disk.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// readAll opens a log and reads all of it, as a start and a full check would.
func readAll(fsys disk.FS, dir string) (n int, err error) {
	l, err := Open(Options{FS: fsys, Dir: dir, Name: "test"})
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
	d, at, _ := sample(t)
	for _, name := range segmentFiles(t, d, sampleDir) {
		whole := readBytes(t, d, name)
		for i := range whole {
			damaged := slices.Clone(whole)
			damaged[i] ^= 0x80 // a text byte does not become zero by this
			writeBytes(t, d, name, damaged)
			n, err := readAll(d, sampleDir)
			var damage *DamageError
			if !errors.As(err, &damage) || !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d of %s: %d of %d records, %v", i, name, n, len(at), err)
			}
			if damage.Segment != name || damage.Offset > int64(i) {
				t.Fatalf("byte %d of %s: reported as %v", i, name, err)
			}
			if !bytes.Equal(readBytes(t, d, name), damaged) {
				t.Fatalf("byte %d of %s: the file was changed", i, name)
			}
		}
		writeBytes(t, d, name, whole)
	}
}

func TestATornLastBatchIsCutOffAndSaidSo(t *testing.T) {
	d, at, lastBatch := sample(t)
	names := segmentFiles(t, d, sampleDir)
	name := names[len(names)-1]
	whole := readBytes(t, d, name)
	try := func(what string, torn []byte) {
		t.Helper()
		writeBytes(t, d, name, torn)
		core, logs := observer.New(zap.WarnLevel)
		l, err := Open(Options{FS: d, Dir: sampleDir, Name: "test", Logger: zap.New(core)})
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
		if n, err := readAll(d, sampleDir); err != nil || n != got+1 {
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
	d, _, lastBatch := sample(t)
	names := segmentFiles(t, d, sampleDir)
	name := names[len(names)-1]
	whole := readBytes(t, d, name)
	for from := int64(sector); from < lastBatch/sector*sector; from += sector {
		damaged := slices.Clone(whole)
		clear(damaged[from : from+sector])
		writeBytes(t, d, name, damaged)
		if n, err := readAll(d, sampleDir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("sector at %d: %d records, %v", from, n, err)
		}
		// Also when of the later batch only the first sector was written.
		damaged = damaged[:min(lastBatch+frameSize+1, int64(len(damaged)))]
		writeBytes(t, d, name, damaged)
		if n, err := readAll(d, sampleDir); !errors.Is(err, ErrDamaged) {
			t.Fatalf("sector at %d, later batch torn: %d records, %v", from, n, err)
		}
	}
}

func TestSegmentsThatDoNotFitTogetherAreDamage(t *testing.T) {
	other, _, _ := sample(t)
	for what, spoil := range map[string]func(d *faulty.Disk, names []string){
		"one is missing": func(d *faulty.Disk, names []string) { _ = d.Remove(names[1]) },
		"an early one is shorter": func(d *faulty.Disk, names []string) {
			b := readBytes(t, d, names[0])
			writeBytes(t, d, names[0], b[:len(b)-1])
		},
		"an early one is longer": func(d *faulty.Disk, names []string) {
			writeBytes(t, d, names[0], append(readBytes(t, d, names[0]), 0))
		},
		"an early one is empty": func(d *faulty.Disk, names []string) { writeBytes(t, d, names[0], nil) },
		"the last one is empty": func(d *faulty.Disk, names []string) { writeBytes(t, d, names[len(names)-1], nil) },
		"one is of another log": func(d *faulty.Disk, names []string) {
			writeBytes(t, d, names[1], readBytes(t, other, names[1]))
		},
		"two are exchanged": func(d *faulty.Disk, names []string) {
			a, b := readBytes(t, d, names[0]), readBytes(t, d, names[1])
			writeBytes(t, d, names[0], b)
			writeBytes(t, d, names[1], a)
		},
	} {
		d, _, _ := sample(t)
		names := segmentFiles(t, d, sampleDir)
		spoil(d, names)
		n, err := readAll(d, sampleDir)
		var damage *DamageError
		if !errors.As(err, &damage) || !strings.HasPrefix(damage.Segment, sampleDir) {
			t.Errorf("%s: %d records, %v", what, n, err)
		}
	}
}

func TestStrangeFilesInTheFolderAreLeftAlone(t *testing.T) {
	d, at, _ := sample(t)
	for _, name := range []string{"README", "zzzz.wal", "0000000000000000.WAL", "0.wal", "00000000000000000.wal"} {
		writeBytes(t, d, filepath.Join(sampleDir, name), []byte("x"))
	}
	unfinished := filepath.Join(sampleDir, "0000000000000bad.wal.tmp")
	writeBytes(t, d, unfinished, nil)
	if n, err := readAll(d, sampleDir); err != nil || n != len(at) {
		t.Fatalf("%d records, %v", n, err)
	}
	if _, err := d.Stat(unfinished); !errors.Is(err, fs.ErrNotExist) {
		t.Error("an unfinished segment was left")
	}
}

// A stranger chooses what stands in a record. A whole log that he put into one
// must not pass for what was written after it.
func TestAFrameInsideARecordProvesNothing(t *testing.T) {
	d := faulty.New("/state", 1)
	l := open(t, d, sampleDir, 0)
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
	name := filepath.Join(sampleDir, segmentName(0))
	whole := readBytes(t, d, name)
	clear(whole[sector : 2*sector])
	writeBytes(t, d, name, whole)
	if n, err := readAll(d, sampleDir); err != nil || n != 1 {
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
	whole := readBytes(t, disk.System{}, name)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	writeBytes(t, disk.System{}, name, append(slices.Clone(whole), "half a header"...))
	r, err = OpenReader(disk.System{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := payloads(t, r.Read(0)); len(got) != 21 || r.Torn() != 13 {
		t.Fatalf("%d records, %d bytes torn", len(got), r.Torn())
	}
	if size := len(readBytes(t, disk.System{}, name)); size != len(whole)+13 {
		t.Fatal("reading changed the file")
	}

	first := segmentFiles(t, disk.System{}, dir)[0]
	b := readBytes(t, disk.System{}, first)
	b[headerSize+frameSize+5]++
	writeBytes(t, disk.System{}, first, b)
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
