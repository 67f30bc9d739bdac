package blob_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/blob/blobtest"
)

var ctx = context.Background()

func mustOpen(t testing.TB, o blob.Options) *blob.Folder {
	t.Helper()
	f, err := blob.OpenFolder(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFolderIsAStore(t *testing.T) {
	t.Run("on the real disk", func(t *testing.T) {
		blobtest.Test(t, func(t *testing.T) blob.Store { return mustOpen(t, blob.Options{FS: disk.System{}, Dir: t.TempDir()}) })
	})
	t.Run("on the faulty one", func(t *testing.T) {
		blobtest.Test(t, func(t *testing.T) blob.Store {
			return mustOpen(t, blob.Options{FS: faulty.New("/state", 1), Dir: "/state/blobs"})
		})
	})
}

// slow is a disk on which something happens before the next sync of a file.
type slow struct {
	disk.FS
	meanwhile func()
}

func (s *slow) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	return &slowFile{f, s}, err
}

type slowFile struct {
	disk.File
	disk *slow
}

func (f *slowFile) Sync(site disk.Site) error {
	if meanwhile := f.disk.meanwhile; meanwhile != nil {
		f.disk.meanwhile = nil
		meanwhile()
	}
	return f.File.Sync(site)
}

func TestAPutThatTookLongDoesNotMakeABlobOlder(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	d := &slow{FS: faulty.New("/state", 1)}
	f := mustOpen(t, blob.Options{FS: d, Dir: "/state/blobs", Clock: func() time.Time { return now }})
	content := []byte("wanted twice")
	d.meanwhile = func() {
		now = now.Add(time.Hour)
		_, err := f.Put(ctx, content)
		must(t, err)
	}
	ref, err := f.Put(ctx, content)
	must(t, err)
	if err := f.Delete(ctx, ref, now); !errors.Is(err, blob.ErrRecent) {
		t.Errorf("what was put just now is deleted as unneeded: %v", err)
	}
}

func TestRefsAsText(t *testing.T) {
	ref := blob.RefOf([]byte("x"))
	if got, err := blob.ParseRef(ref.String()); err != nil || got != ref {
		t.Error(got, err)
	}
	text, err := json.Marshal(ref)
	must(t, err)
	var back blob.Ref
	if err := json.Unmarshal(text, &back); err != nil || back != ref {
		t.Error(back, err)
	}
	for _, text := range []string{"", "00", strings.ToUpper(ref.String()), ref.String() + "0", ref.String()[1:], "../" + ref.String()[3:], strings.Repeat("g", 64)} {
		if _, err := blob.ParseRef(text); !errors.Is(err, blob.ErrRef) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, path)
		}
		return err
	}))
	return list
}

func TestBlobsAreFilesThatZstdReads(t *testing.T) {
	dir := t.TempDir()
	f := mustOpen(t, blob.Options{FS: disk.System{}, Dir: dir})
	content := []byte(strings.Repeat("Subject: hello\r\n", 500))
	ref, err := f.Put(ctx, content)
	must(t, err)
	name := filepath.Join(dir, ref.String()[:2], ref.String()+".zst")
	if got := files(t, dir); len(got) != 1 || got[0] != name {
		t.Fatalf("files %v", got)
	}
	info, err := os.Stat(name)
	must(t, err)
	if info.Mode() != 0o600 || info.Size() > int64(len(content))/10 {
		t.Errorf("mode %v, %d bytes", info.Mode(), info.Size())
	}
	if tool, err := exec.LookPath("zstd"); err == nil {
		got, err := exec.Command(tool, "-dc", name).Output()
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("zstd reads %d bytes, %v", len(got), err)
		}
	}
}

func TestADamagedBlobIsNeverGiven(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	rng := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 3000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	large := bytes.Repeat(append([]byte("some text\r\n"), noise...), 700) // beyond what is kept in memory
	for name, content := range map[string][]byte{"small": []byte(strings.Repeat("text ", 50)), "noise": noise, "large": large} {
		dir := t.TempDir()
		f := mustOpen(t, blob.Options{FS: disk.System{}, Dir: dir})
		ref, err := f.Put(ctx, content)
		must(t, err)
		path := files(t, dir)[0]
		whole, err := os.ReadFile(path)
		must(t, err)
		try := func(what string, damaged []byte) {
			t.Helper()
			must(t, os.WriteFile(path, damaged, 0o600))
			c, err := f.Open(ctx, ref)
			if err == nil {
				got, readErr := io.ReadAll(c)
				if !bytes.Equal(got, content) || readErr != nil {
					t.Fatalf("%s, %s: wrong content was given", name, what)
				}
				return // a bit that means nothing
			}
			if !errors.Is(err, blob.ErrDamaged) || !strings.Contains(err.Error(), ref.String()) {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
		}
		step := max(1, len(whole)/400, len(whole)*len(whole)/(50<<20))
		for i := 0; i < len(whole); i += step {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << rng.IntN(8)
			try(fmt.Sprint("byte ", i), damaged)
			try(fmt.Sprint("cut at ", i), whole[:i])
		}
		try("more behind it", append(bytes.Clone(whole), whole...))
		try("another blob in its place", func() []byte {
			other, err := f.Put(ctx, []byte("another"))
			must(t, err)
			b, err := os.ReadFile(filepath.Join(dir, other.String()[:2], other.String()+".zst"))
			must(t, err)
			return b
		}())

		if _, err := f.Put(ctx, content); err != nil { // mends it
			t.Fatal(err)
		}
		if got, err := blob.Read(ctx, f, ref, 1<<30); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: after putting it again: %v", name, err)
		}
	}
}

func TestUsageIsKept(t *testing.T) {
	dir := t.TempDir()
	o := blob.Options{FS: disk.System{}, Dir: dir}
	f := mustOpen(t, o)
	check := func(count int) {
		t.Helper()
		var want int64
		for _, name := range files(t, dir) {
			info, err := os.Stat(name)
			must(t, err)
			want += info.Size()
		}
		for range 2 {
			if stored, n := f.Usage(); stored != want || n != int64(count) {
				t.Errorf("%d blobs of %d bytes; there are %d of %d", n, stored, count, want)
			}
			f = mustOpen(t, o)
		}
	}
	check(0)
	var refs []blob.Ref
	for i := range 10 {
		ref, err := f.Put(ctx, bytes.Repeat([]byte{byte(i)}, 1000*i))
		must(t, err)
		refs = append(refs, ref)
	}
	_, err := f.Put(ctx, bytes.Repeat([]byte{3}, 3000))
	must(t, err)
	check(10)
	must(t, f.Delete(ctx, refs[5], time.Now().Add(time.Hour)))
	check(9)
	must(t, os.WriteFile(filepath.Join(dir, "00", "deadbeef.zst.7.tmp"), []byte("unfinished"), 0o600))
	f = mustOpen(t, o)
	check(9)
}

func TestStrangeFilesAreNoBlobs(t *testing.T) {
	dir := t.TempDir()
	o := blob.Options{FS: disk.System{}, Dir: dir}
	mustOpen(t, o)
	must(t, os.WriteFile(filepath.Join(dir, "00", "README"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "notes"), []byte("x"), 0o600))
	f := mustOpen(t, o)
	for info, err := range f.All(ctx) {
		t.Error(info, err)
	}
	if stored, n := f.Usage(); stored != 0 || n != 0 {
		t.Error(stored, n)
	}
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("left %v", got)
	}
}

func TestLimitsAreTypedErrors(t *testing.T) {
	d := faulty.New("/state", 1)
	o := blob.Options{FS: d, Dir: "/state/blobs", MaxBytes: 5000}
	f := mustOpen(t, o)
	noise := func(n int, seed uint64) []byte {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	ref, err := f.Put(ctx, noise(3000, 1))
	must(t, err)
	if _, err := f.Put(ctx, noise(3000, 2)); !errors.Is(err, blob.ErrFull) || !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("beyond the bound: %v", err)
	}
	must(t, f.Delete(ctx, ref, time.Now().Add(time.Hour)))
	_, err = f.Put(ctx, noise(3000, 2))
	must(t, err)

	o.MaxBytes, o.MinFree = 0, 10_000
	f = mustOpen(t, o)
	d.SetCapacity(15_000)
	_, err = f.Put(ctx, noise(1000, 3))
	must(t, err)
	if _, err := f.Put(ctx, noise(3000, 4)); !errors.Is(err, disk.ErrNoSpace) || errors.Is(err, blob.ErrFull) {
		t.Errorf("below the free space: %v", err)
	}
	o.MinFree = 0
	f = mustOpen(t, o)
	if _, err := f.Put(ctx, noise(50_000, 5)); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("on a full disk: %v", err)
	}
	if stored, n := f.Usage(); n != 2 || stored > 5000 {
		t.Errorf("%d blobs of %d bytes", n, stored)
	}
	var list []blob.Info
	for info, err := range f.All(ctx) {
		must(t, err)
		list = append(list, info)
	}
	if len(list) != 2 {
		t.Errorf("%d blobs", len(list))
	}
}

func TestAFullDiskTakesNothing(t *testing.T) {
	dir := filepath.Join(crashtest.SmallDisk(t, 4<<20), "blobs")
	f := mustOpen(t, blob.Options{FS: disk.System{}, Dir: dir})
	rng := rand.New(rand.NewPCG(1, 1))
	kept := map[blob.Ref][]byte{}
	for {
		content := make([]byte, 50_000)
		for i := range content {
			content[i] = byte(rng.Uint32())
		}
		ref, err := f.Put(ctx, content)
		if errors.Is(err, disk.ErrNoSpace) {
			break
		}
		must(t, err)
		kept[ref] = content
	}
	for ref, content := range kept {
		if got, err := blob.Read(ctx, f, ref, 1<<20); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if got := files(t, dir); len(got) != len(kept) || len(kept) < 20 {
		t.Errorf("%d files for %d blobs", len(got), len(kept))
	}
	for ref := range kept { // room again
		must(t, f.Delete(ctx, ref, time.Now().Add(time.Hour)))
		break
	}
	if _, err := f.Put(ctx, make([]byte, 50_000)); err != nil {
		t.Error(err)
	}
}

// keeper puts and deletes blobs, some again, some at the same time.
type keeper struct {
	mu   sync.Mutex
	n    int
	kept map[blob.Ref][]byte
	gone map[blob.Ref]bool // deleted, and that was acknowledged
}

func newKeeper() crashtest.Workload {
	return &keeper{kept: map[blob.Ref][]byte{}, gone: map[blob.Ref]bool{}}
}

func (k *keeper) content() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.n++
	rng := rand.New(rand.NewPCG(uint64(k.n), 1))
	b := make([]byte, 200+k.n%3*700)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func (k *keeper) put(f *blob.Folder, content []byte) error {
	ref := blob.RefOf(content)
	k.mu.Lock()
	delete(k.gone, ref)
	k.mu.Unlock()
	if _, err := f.Put(ctx, content); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept[ref] = content
	return nil
}

func (k *keeper) remove(f *blob.Folder, ref blob.Ref) error {
	k.mu.Lock()
	delete(k.kept, ref)
	k.mu.Unlock()
	if err := f.Delete(ctx, ref, time.Now().Add(time.Hour)); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[ref] = true
	return nil
}

func (k *keeper) Run(d *faulty.Disk) error {
	f, err := blob.OpenFolder(blob.Options{FS: d, Dir: "/state/blobs"})
	if err != nil {
		return err
	}
	a, b := k.content(), k.content()
	for _, step := range []func() error{
		func() error { return k.put(f, a) },
		func() error { return k.put(f, b) },
		func() error { return k.put(f, a) },
		func() error { return k.remove(f, blob.RefOf(b)) },
		func() error {
			c := k.content()
			var wg sync.WaitGroup
			errs := make([]error, 3)
			for i := range errs {
				wg.Go(func() { errs[i] = k.put(f, c) })
			}
			wg.Wait()
			return errors.Join(errs...)
		},
		func() error { return k.put(f, b) },
		func() error { return k.remove(f, blob.RefOf(a)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) Check(d *faulty.Disk) error {
	f, err := blob.OpenFolder(blob.Options{FS: d, Dir: "/state/blobs"})
	if err != nil {
		return err
	}
	for ref, content := range k.kept {
		if got, err := blob.Read(ctx, f, ref, 1<<20); err != nil || !bytes.Equal(got, content) {
			return fmt.Errorf("an acknowledged blob: %w", err)
		}
	}
	for ref := range k.gone {
		if _, err := f.Stat(ctx, ref); !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("blob %s was deleted and is back (%v)", ref, err)
		}
	}
	for info, err := range f.All(ctx) {
		if err != nil {
			return err
		}
		// What nobody acknowledged can be there, but only whole.
		if _, err := blob.Read(ctx, f, info.Ref, 1<<20); err != nil {
			return fmt.Errorf("a blob that was not acknowledged: %w", err)
		}
	}
	return nil
}

func TestNoBlobIsLostWhenThePowerGoes(t *testing.T) {
	crashtest.Suite{New: newKeeper, Every: 3, Tears: 4, Trials: 150}.Test(t)
}

func TestAFailedSyncIsAnErrorAndPuttingAgainHelps(t *testing.T) {
	for _, kind := range []faulty.Kind{faulty.Create, faulty.Write, faulty.Sync, faulty.Rename, faulty.SyncDir, faulty.Chtimes} {
		d := faulty.New("/state", 1)
		f := mustOpen(t, blob.Options{FS: d, Dir: "/state/blobs"})
		d.Inject(func(op faulty.Op) error {
			if op.Kind == kind {
				return errors.New("input/output error")
			}
			return nil
		})
		content := []byte("content")
		if _, err := f.Put(ctx, content); err == nil {
			t.Errorf("%s: no error", kind)
		}
		d.Inject(nil)
		ref, err := f.Put(ctx, content)
		must(t, err)
		f = mustOpen(t, blob.Options{FS: d.Reboot(faulty.Nothing), Dir: "/state/blobs"})
		if got, err := blob.Read(ctx, f, ref, 100); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: after a power cut: %v", kind, err)
		}
	}
}

func TestMetricsTellUseAndErrors(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := blob.Options{FS: disk.System{}, Dir: t.TempDir(), MaxBytes: 10_000, Metrics: reg}
	f := mustOpen(t, o)
	_, err := f.Put(ctx, make([]byte, 1000))
	must(t, err)
	if _, err := f.Put(ctx, make([]byte, 20_000)); err == nil {
		t.Fatal("no error")
	}
	families, err := reg.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, family := range families {
		m := family.GetMetric()[0]
		got[family.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	stored, _ := f.Usage()
	for name, want := range map[string]float64{
		"weir_blobs": 1, "weir_blob_bytes": float64(stored), "weir_blob_put_seconds": 1, "weir_blob_put_errors_total": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, not %v", name, got[name], want)
		}
	}
	must(t, f.Close())
	mustOpen(t, o)
	if _, err := blob.OpenFolder(o); err == nil {
		t.Error("two stores share a registry")
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for name, o := range map[string]blob.Options{
		"no FS":     {Dir: t.TempDir()},
		"no Dir":    {FS: disk.System{}},
		"negative":  {FS: disk.System{}, Dir: t.TempDir(), MaxBytes: -1},
		"no parent": {FS: disk.System{}, Dir: "/nowhere/at/all"},
		"a file":    {FS: disk.System{}, Dir: os.DevNull},
	} {
		if f, err := blob.OpenFolder(o); err == nil {
			_ = f.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

func FuzzOpenReadsWhatSomebodyElseWrote(f *testing.F) {
	d := faulty.New("/state", 1)
	store, err := blob.OpenFolder(blob.Options{FS: d, Dir: "/state/blobs"})
	if err != nil {
		f.Fatal(err)
	}
	content := []byte(strings.Repeat("some text, ", 30))
	ref, err := store.Put(ctx, content)
	if err != nil {
		f.Fatal(err)
	}
	name := "/state/blobs/" + ref.String()[:2] + "/" + ref.String() + ".zst"
	whole, err := disk.ReadFile(d, name, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:10])
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, file []byte) {
		must(t, disk.Replace(d, name, file, 0o600, "x", "y"))
		got, err := blob.Read(ctx, store, ref, 1<<20)
		if err == nil && !bytes.Equal(got, content) {
			t.Fatal("wrong content was given")
		}
		if err != nil && !errors.Is(err, blob.ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	text := []byte(strings.Repeat("Received: from somewhere.example by other.example with ESMTP\r\n", 10))
	rng := rand.New(rand.NewPCG(1, 1))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	base64 := func(n int) []byte {
		out := append([]byte(nil), text...)
		for len(out) < n {
			if len(out)%78 == 76 {
				out = append(out, '\r', '\n')
			}
			out = append(out, alphabet[rng.IntN(64)])
		}
		return out
	}
	for _, size := range []int{10_000, 1 << 20, 30 << 20} {
		content := base64(size)
		b.Run(fmt.Sprintf("device/%dKB", size>>10), func(b *testing.B) {
			f := mustOpen(b, blob.Options{FS: disk.System{}, Dir: b.TempDir()})
			benchmarkPut(b, f, content)
		})
		b.Run(fmt.Sprintf("memory/%dKB", size>>10), func(b *testing.B) {
			f := mustOpen(b, blob.Options{FS: faulty.New("/state", 1), Dir: "/state/blobs"})
			benchmarkPut(b, f, content)
		})
	}
}

func benchmarkPut(b *testing.B, f *blob.Folder, content []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	i := uint32(0)
	for b.Loop() {
		i++
		copy(content, fmt.Sprintf("%08x", i))
		if _, err := f.Put(ctx, content); err != nil {
			b.Fatal(err)
		}
	}
	stored, n := f.Usage()
	b.ReportMetric(float64(stored)/float64(n)/float64(len(content)), "stored/byte")
}

func BenchmarkOpen(b *testing.B) {
	f := mustOpen(b, blob.Options{FS: disk.System{}, Dir: b.TempDir()})
	for _, size := range []int{10_000, 10 << 20} {
		content := []byte(strings.Repeat("Received: from somewhere.example by other.example\r\n", size/51))
		ref, err := f.Put(ctx, content)
		must(b, err)
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				c, err := f.Open(ctx, ref)
				must(b, err)
				_, err = io.Copy(io.Discard, c)
				must(b, err)
				must(b, c.Close())
			}
		})
	}
}
