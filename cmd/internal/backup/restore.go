package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/ledger"
)

// maxManifest bounds the first file of a backup.
const maxManifest = 64 << 10

// Sites of the syncs of this package.
const (
	siteContent disk.Site = "backup.content"
	siteNames   disk.Site = "backup.names"
)

// Report says what was restored.
type Report struct {
	Manifest
	Files int
	Bytes int64
}

// Restore makes a state folder of a backup. The folder must not exist, or be
// empty. The ledger is verified against the head that the backup names. The
// daemon that is started on the folder marks what is held as possibly released
// since, because nobody knows. Errors that are the stream's satisfy ErrBackup;
// after one the folder is left as it is, for a look at it, and no daemon starts
// on it.
func Restore(ctx context.Context, r io.Reader, state string) (Report, error) {
	var report Report
	if err := emptyFolder(state); err != nil {
		return report, err
	}
	t := tar.NewReader(r)
	if err := readManifest(t, &report.Manifest); err != nil {
		return report, err
	}
	if err := mark(state, marker{Unfinished: true}); err != nil {
		return report, err
	}
	x := &extractor{ctx: ctx, tar: t, state: state, folders: map[string]bool{state: true}}
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return report, fmt.Errorf("%w: it ends before its end", ErrBackup)
		}
		if err != nil {
			return report, fmt.Errorf("%w: %w", ErrBackup, err)
		}
		if header.Name == endName {
			if err := checkEnd(t, report.Files+1); err != nil { // with the manifest
				return report, err
			}
			break
		}
		if err := x.extract(header); err != nil {
			return report, err
		}
		report.Files++
		report.Bytes += header.Size
	}
	if err := x.syncFolders(); err != nil {
		return report, err
	}
	if err := verify(state, &report.Manifest); err != nil {
		return report, err
	}
	return report, mark(state, marker{Manifest: report.Manifest})
}

// marker is what the file MarkerName holds.
type marker struct {
	Manifest
	Unfinished bool `json:"unfinished,omitempty"` // something of the backup is missing
}

func mark(state string, m marker) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return disk.Replace(disk.System{}, filepath.Join(state, MarkerName), append(data, '\n'), 0o600, siteContent, siteNames)
}

// ErrUnfinished says that a restore did not come to its end.
var ErrUnfinished = errors.New("the restore of this folder did not come to its end: held messages are missing")

// checkEnd compares the number of files before the last one with what that says.
func checkEnd(t *tar.Reader, files int) error {
	text, err := io.ReadAll(io.LimitReader(t, 32))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if want := strings.TrimSpace(string(text)); want != strconv.Itoa(files) {
		return fmt.Errorf("%w: it holds %d files, and says that it has %q", ErrBackup, files, want)
	}
	return nil
}

func emptyFolder(state string) error {
	if err := os.MkdirAll(state, 0o750); err != nil {
		return err
	}
	entries, err := os.ReadDir(state)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: a backup is restored into a folder of its own, move the old one away", state)
	}
	return nil
}

func readManifest(t *tar.Reader, m *Manifest) error {
	header, err := t.Next()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if header.Name != manifestName || header.Size > maxManifest {
		return fmt.Errorf("%w: it does not begin with %s", ErrBackup, manifestName)
	}
	if err := json.NewDecoder(t).Decode(m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBackup, manifestName, err)
	}
	if m.Format != format {
		return fmt.Errorf("%w: it has format %d, this Weir reads %d", ErrBackup, m.Format, format)
	}
	return nil
}

type extractor struct {
	ctx     context.Context
	tar     *tar.Reader
	state   string
	folders map[string]bool // made, and to be synced
}

// extract writes one file, if it is one that a state folder has.
func (x *extractor) extract(header *tar.Header) error {
	if err := context.Cause(x.ctx); err != nil {
		return err
	}
	name := path.Clean(header.Name)
	if header.Typeflag != tar.TypeReg || name != header.Name || !belongs(name) {
		return fmt.Errorf("%w: it holds %q, which no state folder has", ErrBackup, header.Name)
	}
	target := filepath.Join(x.state, filepath.FromSlash(name))
	if err := x.folder(filepath.Dir(target)); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, x.tar, header.Size)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends in the middle of %s", ErrBackup, name)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// belongs reports whether a state folder has a file of this name.
func belongs(name string) bool {
	if name == identityName {
		return true
	}
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if base == "" || strings.HasPrefix(base, ".") {
		return false
	}
	if dir == ledgerName || dir == journalName || dir == deliveryName {
		return strings.HasSuffix(base, ".wal")
	}
	shard, ok := strings.CutPrefix(dir, blobsName+"/")
	return ok && len(shard) == 2 && !strings.ContainsAny(shard, "./\\")
}

func (x *extractor) folder(dir string) error {
	if x.folders[dir] {
		return nil
	}
	if err := x.folder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	x.folders[dir] = true
	return nil
}

func (x *extractor) syncFolders() error {
	for dir := range x.folders {
		if err := (disk.System{}).SyncDir(dir, siteNames); err != nil {
			return err
		}
	}
	return nil
}

// verify checks the restored ledger with the restored key and the backup's head.
func verify(state string, m *Manifest) error {
	id, err := ident.Open(ident.Options{FS: disk.System{}, Dir: state})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	head, err := ledger.ParseHead(m.Head)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	reader, err := ledger.OpenReader(disk.System{}, filepath.Join(state, ledgerName), nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if _, err := reader.Verify(id.Key(LedgerKey), &head); err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	return nil
}

// LedgerKey is the purpose of the key that seals the ledger.
const LedgerKey = "ledger"

// Restored tells whether the state folder was restored and no daemon has taken
// note yet, and what from. The error satisfies ErrUnfinished where the restore
// failed.
func Restored(state string) (*Manifest, error) {
	data, err := os.ReadFile(filepath.Join(state, MarkerName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m marker
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(state, MarkerName), err)
	}
	if m.Unfinished {
		return nil, fmt.Errorf("%s: %w", state, ErrUnfinished)
	}
	return &m.Manifest, nil
}

// Noted removes the mark, durably.
func Noted(state string) error {
	if err := os.Remove(filepath.Join(state, MarkerName)); err != nil {
		return err
	}
	return disk.System{}.SyncDir(state, siteNames)
}
