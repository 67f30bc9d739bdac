package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// Sites of what is made durable.
const (
	siteFolder disk.Site = "feed.folder" // folders in their parents
	siteState  disk.Site = "feed.state"  // the content of a feed's state
	siteName   disk.Site = "feed.name"   // its name
)

const (
	stateName    = "feed.json"
	maxState     = 32 << 20 // of a MISP feed with a hundred thousand events
	stateVersion = 1
	partSuffix   = ".part"
)

// part is one document of a feed, in a file of its own.
type part struct {
	File     string `json:"file"`
	Digest   string `json:"digest"`             // SHA-256 of the file
	ETag     string `json:"etag,omitempty"`     // as the server gave it
	Modified string `json:"modified,omitempty"` // Last-Modified, likewise
	Event    string `json:"event,omitempty"`    // MISP: the UUID
	Stamp    string `json:"stamp,omitempty"`    // MISP: the manifest's timestamp
	First    string `json:"first,omitempty"`    // TAXII: when its first object was added, as the server says
	Last     string `json:"last,omitempty"`     // TAXII: likewise its last
	Objects  int    `json:"objects,omitempty"`  // TAXII: how many it has
	New      bool   `json:"new,omitempty"`      // TAXII: what was added after the parts before it
}

// content is what was fetched in one go.
type content struct {
	From    string    `json:"from"` // URL or file
	Fetched time.Time `json:"fetched"`
	Whole   time.Time `json:"whole,omitzero"` // TAXII: when all of the collection was read
	Parts   []part    `json:"parts"`
	Entries int       `json:"entries"`
	// Counted are unusable pieces, when it was read.
	Counted Counted `json:"counted"`
}

// state is what is known of a feed between runs.
type state struct {
	Version int       `json:"version"`
	Good    *content  `json:"good,omitempty"`   // that is in force
	Held    *content  `json:"held,omitempty"`   // that waits for a person
	Checked time.Time `json:"checked,omitzero"` // when the source last said what it has
	Tried   time.Time `json:"tried,omitzero"`   // when that was last tried
	Error   string    `json:"error,omitempty"`  // why the last try failed
	Since   time.Time `json:"since,omitzero"`   // since when tries fail
	Fails   int       `json:"fails,omitempty"`  // how many in a row
	// After is how long the server wants to be left alone.
	After   time.Duration `json:"after,omitempty"`
	Expired bool          `json:"expired,omitempty"` // Good counts no more
	Next    int           `json:"next"`              // number of the next part's file
}

// quiet reports whether nothing came to a state since that a restart has to know.
func (s *state) quiet(now *state) bool {
	return s.Fails == 0 && s.Next == now.Next && s.Good == now.Good && s.Held == now.Held && s.Expired == now.Expired
}

// room is a feed's folder.
type room struct {
	fs  disk.FS
	dir string
	log *zap.Logger
}

// load reads the state, an empty one where there is none that can be read, and
// removes what no state names.
func (r *room) load() (*state, error) {
	if err := disk.MakeFolder(r.fs, r.dir, 0o700, siteFolder); err != nil {
		return nil, err
	}
	s := &state{}
	data, err := disk.ReadFile(r.fs, filepath.Join(r.dir, stateName), maxState)
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err == nil && s.Version != stateVersion {
		err = fmt.Errorf("it is of version %d", s.Version)
	}
	if err != nil {
		s = &state{}
		if !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("what is known of a feed cannot be read: it is fetched again", zap.String("folder", r.dir), zap.Error(err))
		}
	}
	return s, r.tidy(s)
}

func (r *room) save(s *state) error {
	s.Version = stateVersion
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return disk.Replace(r.fs, filepath.Join(r.dir, stateName), data, 0o600, siteState, siteName)
}

// clear removes the folder with all that is in it.
func (r *room) clear() error {
	if _, err := r.fs.Stat(r.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := r.tidy(&state{}); err != nil {
		return err
	}
	if err := r.fs.Remove(filepath.Join(r.dir, stateName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.fs.Remove(r.dir)
}

// tidy removes files that the state does not name.
func (r *room) tidy(s *state) error {
	keep := map[string]bool{stateName: true}
	for _, c := range []*content{s.Good, s.Held} {
		if c != nil {
			for _, p := range c.Parts {
				keep[p.File] = true
			}
		}
	}
	names, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !keep[n.Name()] && (strings.HasSuffix(n.Name(), partSuffix) || strings.HasSuffix(n.Name(), disk.TempSuffix)) {
			if err := r.fs.Remove(filepath.Join(r.dir, n.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (r *room) path(p *part) string { return filepath.Join(r.dir, p.File) }

func (c *content) digests() []string {
	all := make([]string, len(c.Parts))
	for i, p := range c.Parts {
		all[i] = p.Digest
	}
	return all
}
