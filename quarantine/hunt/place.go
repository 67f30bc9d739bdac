package hunt

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/wal"
)

// Sites of what is made durable.
const (
	siteFolder disk.Site = "hunt.folder" // the folder in its parent
	sitePlace  disk.Site = "hunt.place"  // the content of the place's file
	siteName   disk.Site = "hunt.name"   // its name
)

const (
	placeName    = "place.json"
	maxPlace     = 4 << 10
	placeVersion = 1
)

// place is how far the hunt has come. The zero place has not begun: all that is
// listed is to be hunted.
type place struct {
	Version int `json:"version"`
	// Hunted: whatever generations up to this one added was looked up.
	Hunted uint64 `json:"hunted"`
	// Position: of the entries behind it, those that were judged by lists of before
	// are still to be judged again, as long as such may come.
	Position wal.Position `json:"position"`
	// Linked: entries up to here were compared with what the incidents have matched.
	Linked wal.Position `json:"linked,omitempty"`
	// Until is when no more of them can come; zero: none can.
	Until time.Time `json:"until,omitzero"`
}

func (p *place) following() bool { return !p.Until.IsZero() }

// loadPlace reads the place, the zero one where there is none that can be read.
func loadPlace(o *Options) (place, error) {
	if err := disk.MakeFolder(o.FS, o.Dir, 0o700, siteFolder); err != nil {
		return place{}, err
	}
	_ = o.FS.Remove(filepath.Join(o.Dir, placeName+disk.TempSuffix)) // of a run that died while it wrote
	data, err := disk.ReadFile(o.FS, filepath.Join(o.Dir, placeName), maxPlace)
	if errors.Is(err, fs.ErrNotExist) {
		return place{}, nil
	}
	var p place
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err == nil && p.Version != placeVersion {
		err = errors.New("it is of another version")
	}
	if err != nil {
		o.Logger.Warn("how far the journal was hunted cannot be read: all that is listed is hunted again", zap.Error(err))
		return place{}, nil
	}
	return p, nil
}

func (p place) save(o *Options) error {
	p.Version = placeVersion
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return disk.Replace(o.FS, filepath.Join(o.Dir, placeName), data, 0o600, sitePlace, siteName)
}
