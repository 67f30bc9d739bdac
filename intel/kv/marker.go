package kv

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/weirmail/weir/intel/disk"
)

// Every sync of this package that goes through disk.FS has its site here.
const (
	siteFolder      disk.Site = "kv.folder"       // the database's folder in its parent
	siteMarker      disk.Site = "kv.marker"       // the marker's content
	siteMarkerNames disk.Site = "kv.marker-names" // the marker's name
)

const (
	markerName = "marker"
	dataName   = "data"
	lockName   = "lock"

	stateOpen   = "open"   // in use, or its process died
	stateClosed = "closed" // all of it is synced
	stateEmpty  = "empty"  // being emptied: what is there is of no worth
)

// marker says how a database was last used.
type marker struct {
	schema uint32
	boot   string
	folder string // tells the folder from a copy of it
	state  string
}

const markerFormat = "weir-kv 1 schema=%d boot=%s folder=%s state=%s\n"

func (m marker) String() string {
	return fmt.Sprintf(markerFormat, m.schema, m.boot, m.folder, m.state)
}

func parseMarker(text string) (marker, bool) {
	var m marker
	n, err := fmt.Sscanf(text, markerFormat, &m.schema, &m.boot, &m.folder, &m.state)
	return m, n == 4 && err == nil && m.String() == text
}

// marker gives the marker of this run.
func (db *DB) marker(state string) (marker, error) {
	var st unix.Stat_t
	if err := unix.Stat(db.data(), &st); err != nil {
		return marker{}, &fs.PathError{Op: "stat", Path: db.data(), Err: err}
	}
	return marker{db.o.Schema, db.o.BootID, fmt.Sprintf("%d:%d", st.Dev, st.Ino), state}, nil
}

// mark writes the marker durably.
func (db *DB) mark(state string) error {
	m, err := db.marker(state)
	if err != nil {
		return err
	}
	return disk.Replace(db.o.FS, filepath.Join(db.o.Dir, markerName), []byte(m.String()), 0o600, siteMarker, siteMarkerNames)
}

// isNew is the doubt in a database that nobody made yet.
const isNew = "it is new"

// doubt gives the reason why the database must not be trusted, "" if there is
// none.
func (db *DB) doubt() (string, error) {
	const limit = 4 << 10
	text, err := disk.ReadFile(db.o.FS, filepath.Join(db.o.Dir, markerName), limit)
	if errors.Is(err, fs.ErrNotExist) {
		return isNew, nil
	}
	if errors.Is(err, disk.ErrTooLong) {
		return "its marker cannot be read", nil
	}
	if err != nil {
		return "", err
	}
	now, err := db.marker(stateOpen)
	if err != nil {
		return "", err
	}
	was, ok := parseMarker(string(text))
	switch {
	case !ok:
		return "its marker cannot be read", nil
	case was.schema != now.schema:
		return fmt.Sprintf("it has schema version %d, and %d is needed", was.schema, now.schema), nil
	case was.state == stateClosed:
		return "", nil
	case was.state != stateOpen:
		return "emptying it did not come to its end", nil
	case was.boot != now.boot:
		return "it was in use when the machine stopped", nil
	case was.folder != now.folder:
		return "it was copied while it was in use", nil
	}
	return "", nil
}
