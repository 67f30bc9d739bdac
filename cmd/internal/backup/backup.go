// Package backup copies what a daemon must not lose into a tar stream, and
// makes a state folder of such a stream again.
//
// A backup holds the logs and the blobs: the truth. Indexes and lists are not in
// it; they are made anew from the logs and from the list files, which belong to
// the configuration. It needs no pause of the daemon: logs only grow, so the
// ledger is taken first and the blobs that it speaks of after it.
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
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/wal"
)

// What a state folder and a backup hold, by the same names.
const (
	identityName = ident.FileName
	ledgerName   = "ledger"
	journalName  = "journal/log"
	deliveryName = "delivery/log"
	blobsName    = "blobs"
	manifestName = "weir-backup.json"
	endName      = "weir-backup.end" // the last file: how many came before it
	// MarkerName is the file by which a daemon sees that its state was restored.
	MarkerName = "restored"
)

// format is the version of what a backup holds.
const format = 1

// Manifest says what a backup is. It is the first file in it.
type Manifest struct {
	Format  int       `json:"format"`
	Time    time.Time `json:"time"`
	Head    string    `json:"head"`    // of the ledger, for audit verify
	Records uint64    `json:"records"` // in the ledger
}

// ErrBackup says that a stream is no backup that can be restored.
var ErrBackup = errors.New("not a usable backup")

// Write copies the state folder to w. The ledger is verified on the way with
// its key, so that a backup never replaces a good one by a damaged one without
// a word. A daemon may work on the folder meanwhile.
func Write(ctx context.Context, w io.Writer, state string, key []byte, now time.Time) (Manifest, error) {
	m := Manifest{Format: format, Time: now.UTC()}
	t := &writer{ctx: ctx, tar: tar.NewWriter(w), state: state, now: now}
	reader, err := ledger.OpenReader(disk.System{}, filepath.Join(state, ledgerName), nil)
	if err != nil {
		return m, err
	}
	report, err := reader.Verify(key, nil)
	if err != nil {
		return m, err
	}
	m.Head, m.Records = report.Head.String(), report.Records
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	if err := t.bytes(manifestName, append(text, '\n')); err != nil {
		return m, err
	}
	for _, step := range []func() error{t.identity, func() error { return t.log(ledgerName) }, func() error { return t.log(journalName) }, func() error { return t.log(deliveryName) }, t.blobs} {
		if err := step(); err != nil {
			return m, err
		}
	}
	// A tar that was cut between two files looks whole.
	if err := t.bytes(endName, []byte(strconv.Itoa(t.files)+"\n")); err != nil {
		return m, err
	}
	return m, t.tar.Close()
}

type writer struct {
	ctx   context.Context
	tar   *tar.Writer
	state string
	now   time.Time
	files int // that were written
}

func (t *writer) bytes(name string, data []byte) error {
	if err := t.header(name, int64(len(data))); err != nil {
		return err
	}
	_, err := t.tar.Write(data)
	return err
}

func (t *writer) header(name string, size int64) error {
	if err := context.Cause(t.ctx); err != nil {
		return err
	}
	t.files++
	return t.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: t.now, Typeflag: tar.TypeReg, Format: tar.FormatPAX})
}

func (t *writer) identity() error {
	data, err := os.ReadFile(filepath.Join(t.state, identityName))
	if err != nil {
		return err
	}
	return t.bytes(identityName, data)
}

// log copies the segments of a log, each as far as it holds whole records.
func (t *writer) log(name string) error {
	dir := filepath.Join(t.state, filepath.FromSlash(name))
	reader, err := wal.OpenReader(disk.System{}, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range reader.Segments() {
		err := t.file(path.Join(name, s.Name()), filepath.Join(dir, s.Name()), s.Bytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped for its age meanwhile; the log then begins later
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file copies the first size bytes of a file, or all of it if size is negative.
func (t *writer) file(name, source string, size int64) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if size < 0 {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		size = info.Size()
	}
	if err := t.header(name, size); err != nil {
		return err
	}
	if _, err := io.CopyN(t.tar, f, size); err != nil {
		return fmt.Errorf("copy %s: %w", source, err)
	}
	return nil
}

func (t *writer) blobs() error {
	dir := filepath.Join(t.state, blobsName)
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil || entry.IsDir() || strings.HasSuffix(name, disk.TempSuffix) {
			return err
		}
		inside, err := filepath.Rel(t.state, name)
		if err != nil {
			return err
		}
		if err := t.file(filepath.ToSlash(inside), name, -1); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
