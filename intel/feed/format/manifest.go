package format

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
)

// ManifestEvent is one event of a MISP feed, as its manifest tells it.
type ManifestEvent struct {
	UUID      string    // lower case, in its usual form: the event is in the file UUID.json
	Timestamp time.Time // of its last change; zero if the manifest does not say
	Info      string    // legible and shortened
	Org       string    // who made it; the same
	TLP       intel.TLP // the strictest of its tags
}

// Manifest gives the events of the manifest.json of a MISP feed, in its order. It
// reads r to the end once and holds one event at a time, of MaxObject bytes at
// most; of the Options it takes that, MaxDepth, MaxEntries and Source, and their
// defaults. An error ends it and is an *Error: a name that is no UUID is one, so
// that none can lead to another file.
func Manifest(r io.Reader, o Options) iter.Seq2[ManifestEvent, error] {
	return func(yield func(ManifestEvent, error) bool) {
		o.Format, o.Now, o.Disposition = MISP, time.Unix(0, 0), intel.Block
		o.Open = func() (io.ReadCloser, error) { return io.NopCloser(r), nil }
		o, err := o.withDefaults()
		if err != nil {
			yield(ManifestEvent{}, err)
			return
		}
		run := run{opts: &o}
		err = run.document(func(d *document) error {
			events := 0
			return d.object(func(name string) error {
				ev, err := manifestEvent(d, name)
				if err != nil {
					return err
				}
				if events++; events > o.MaxEntries {
					return &Error{Place: d.at(), Reason: fmt.Sprintf("is more than the %d events that a manifest may have", o.MaxEntries), Cure: "raise the limit if that is right"}
				}
				if !yield(ev, nil) {
					return errEnough
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(ManifestEvent{}, run.named(err))
		}
	}
}

func manifestEvent(d *document, name string) (ManifestEvent, error) {
	ev := ManifestEvent{UUID: strings.ToLower(name)}
	if !isUUID(ev.UUID) {
		return ev, &Error{Place: d.at(), Value: legible(name, maxText), Reason: "is no UUID, as events have", Cure: "see whether the address gives a manifest.json"}
	}
	raw, err := d.value()
	if err != nil {
		return ev, err
	}
	var o struct {
		Timestamp loose `json:"timestamp"`
		Info      loose `json:"info"`
		Orgc      struct {
			Name loose `json:"name"`
		} `json:"Orgc"`
		Tag []mispTag `json:"Tag"`
	}
	if refused := decode(raw, &o); refused != nil {
		return ev, &Error{Place: d.at(), Value: ev.UUID, Reason: refused.detail, Cure: "the manifest is broken"}
	}
	ev.Timestamp, ev.TLP = parseTime(string(o.Timestamp)), strictest(o.Tag)
	ev.Info, ev.Org = legible(string(o.Info), maxCampaign), legible(string(o.Orgc.Name), maxCampaign)
	return ev, nil
}

// isUUID reports the form of RFC 9562 section 4, in lower case.
func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
