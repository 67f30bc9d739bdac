package feed

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
)

// SourcePrefix begins the names of feeds as sources of indicators: "feed:urlhaus".
const SourcePrefix = "feed:"

// Shape says in what documents a feed is published.
type Shape string

// The shapes.
const (
	Document Shape = "document" // one document
	TAXII    Shape = "taxii"    // pages of the objects of a TAXII 2.1 collection
	MISP     Shape = "misp"     // manifest.json, and an event in each UUID.json
)

// Counted is what a reader found besides entries.
type Counted struct {
	Unusable int      `json:"unusable,omitempty"` // that were passed over: lines, objects, patterns
	Revoked  int      `json:"revoked,omitempty"`  // that the feed itself has taken back
	Examples []string `json:"examples,omitempty"` // some of them, each with its place and why
	Next     string   `json:"-"`                  // TAXII: what names the next page; empty: there is none
	// Object, where not nil, is told the ID of each object of a TAXII collection,
	// revoked ones included. An Indicator's ID is that of the object that lists it.
	Object func(id string) `json:"-"`
}

// Opener opens a document, at its beginning.
type Opener = func() (io.ReadCloser, error)

// Reader turns a document into indicators. It may be called at the same time.
type Reader interface {
	// Read gives the indicators of a document that was fetched at a time, the same
	// ones at each call, and adds to c what it passed over. It may open the document
	// more than once. An error ends it: the document is not what it should be.
	Read(open Opener, fetched time.Time, c *Counted) iter.Seq2[intel.Indicator, error]
}

// Event is a line of a MISP feed's manifest.
type Event struct {
	UUID  string // names the event's document; 1 to 64 letters, digits and "-"
	Stamp string // changes when the event does
}

// Feed is what one feed is, and where it comes from.
type Feed struct {
	Name string // letters, digits, "-" and "_"; unique
	// URL is where it is fetched, http or https: the document, the TAXII collection or
	// the folder of a MISP feed. Or File is its path here.
	URL   string
	File  string
	Shape Shape // default Document
	// Reader reads its documents; for MISP, its events. Settings tells readers that
	// give different things of the same document apart.
	Reader   Reader
	Settings string
	Manifest func(r io.Reader) iter.Seq2[Event, error] // MISP: reads manifest.json

	Every   time.Duration // how often it is refreshed; default an hour, at least a minute, for TAXII two seconds
	Expiry  time.Duration // how long it counts that could not be refreshed; 0: for ever
	Timeout time.Duration // for one refresh; default 5 minutes

	MaxBytes   int64 // of each document, and unpacked; default 256 MiB
	MaxEntries int   // default 10 million
	// MaxChange is by how many per cent its number of entries may grow or shrink
	// without a person; default 50, negative: by any. What has fewer than a thousand
	// before and after may.
	MaxChange int

	User   string                 // with Secret, for HTTP's basic authentication
	Header string                 // with Secret, a header field that carries it
	Secret func() (string, error) // asked at each refresh; nil: none
	CAFile string                 // authorities that may have signed the server's certificate; empty: the system's

	CertFile, KeyFile string // the certificate that is shown to the server, and its key; empty: none

	AllowPrivate bool // the server may have an address that is not public
}

// Defaults of Feed.
const (
	DefaultEvery      = time.Hour
	DefaultTimeout    = 5 * time.Minute
	DefaultMaxBytes   = 256 << 20
	DefaultMaxEntries = 10_000_000
	DefaultMaxChange  = 50
)

// The shortest times between two refreshes. A server of TAXII is asked only for
// what was added since.
const (
	shortest      = time.Minute
	shortestTAXII = 2 * time.Second
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// ErrFeed says that a feed is described in a way that makes no sense.
var ErrFeed = errors.New("not a usable feed")

// complete checks f and gives it with its defaults.
func (f Feed) complete() (Feed, error) {
	bad := func(format string, args ...any) (Feed, error) {
		return f, fmt.Errorf("%w: %s: %s", ErrFeed, f.Name, fmt.Sprintf(format, args...))
	}
	if !nameForm.MatchString(f.Name) {
		return f, fmt.Errorf("%w: its name %.80q is not 1 to 64 letters, digits, - and _", ErrFeed, f.Name)
	}
	if (f.URL == "") == (f.File == "") {
		return bad("it needs a URL or a file, and not both")
	}
	if f.Shape == "" {
		f.Shape = Document
	}
	if f.URL != "" {
		u, err := url.Parse(f.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" {
			return bad("%.200q is no http or https URL without a user and a fragment", f.URL)
		}
		if f.Secret != nil && u.Scheme != "https" && !f.AllowPrivate {
			return bad("its secret would go over http in clear")
		}
	} else if f.Shape != Document {
		return bad("a %s feed comes from a server", f.Shape)
	}
	least := shortest
	if f.Shape == TAXII {
		least = shortestTAXII
	}
	switch {
	case f.Shape != Document && f.Shape != TAXII && f.Shape != MISP:
		return bad("there is no shape %.40q", f.Shape)
	case f.Reader == nil || f.Shape == MISP && f.Manifest == nil:
		return bad("nothing reads it")
	case f.Every < 0 || f.Expiry < 0 || f.Timeout < 0 || f.MaxBytes < 0 || f.MaxEntries < 0:
		return bad("a limit is negative")
	case f.Every > 0 && f.Every < least:
		return bad("every %s is too often; %s is the least", f.Every, least)
	case (f.CertFile == "") != (f.KeyFile == ""):
		return bad("a certificate and its key belong together")
	case f.User != "" && f.Header != "":
		return bad("its secret goes into a header field of its own or is a password, not both")
	case (f.User != "" || f.Header != "") != (f.Secret != nil):
		return bad("a user or a header field and a secret belong together")
	case strings.ContainsAny(f.Header, " :\r\n\t"):
		return bad("%.80q is no name of a header field", f.Header)
	}
	setDefault(&f.Every, DefaultEvery)
	setDefault(&f.Timeout, DefaultTimeout)
	setDefault(&f.MaxBytes, DefaultMaxBytes)
	setDefault(&f.MaxEntries, DefaultMaxEntries)
	setDefault(&f.MaxChange, DefaultMaxChange)
	return f, nil
}

func setDefault[T int | int64 | time.Duration](v *T, fallback T) {
	if *v == 0 {
		*v = fallback
	}
}

// Source gives the feed's name as a source of indicators.
func (f *Feed) Source() string { return SourcePrefix + f.Name }
