package app

import (
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/secret"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed"
	"github.com/weirmail/weir/intel/feed/format"
)

// openFeeds opens what is known of the feeds. The store is open by then, and has
// what they listed before.
func (a *App) openFeeds(cfg *config.Config, h *house) (err error) {
	h.feeds, err = feed.Open(feed.Options{
		FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), "feeds"), Store: h.store, Feeds: feedsOf(cfg),
		Now: h.identity.Now, Logger: a.log.Logger, Metrics: h.metrics,
	})
	return err
}

// feedsOf gives the feeds of a configuration.
func feedsOf(cfg *config.Config) []feed.Feed {
	var all []feed.Feed
	for i := range cfg.Feeds {
		c := &cfg.Feeds[i]
		o := formatOf(c)
		f := feed.Feed{
			Name: c.Name, URL: c.URL, File: string(c.File), Reader: reader{o}, Settings: fmt.Sprintf("%+v", o),
			Every: time.Duration(c.Every), Expiry: time.Duration(c.Expiry), Timeout: time.Duration(c.Timeout),
			MaxBytes: int64(c.MaxSize), MaxEntries: c.MaxEntries, MaxChange: c.MaxChange,
			User: c.User, Header: c.Header, CAFile: string(c.CAFile), CertFile: string(c.CertFile), KeyFile: string(c.KeyFile), AllowPrivate: c.AllowPrivate,
		}
		if c.MaxChange == 0 {
			f.MaxChange = -1
		}
		if c.SecretFile != "" {
			f.Secret = func() (string, error) { return secret.Read(string(c.SecretFile)) }
		}
		switch {
		case c.Format == "taxii":
			f.Shape = feed.TAXII
		case c.Format == "misp" && c.URL != "":
			f.Shape, f.Manifest = feed.MISP, manifest(f.Source())
		}
		all = append(all, f)
	}
	return all
}

// feedGroups gives the groups of each feed, by its name as a source.
func feedGroups(cfg *config.Config) map[string][]string {
	groups := map[string][]string{}
	for i := range cfg.Feeds {
		if c := &cfg.Feeds[i]; len(c.Groups) > 0 {
			groups[feed.SourcePrefix+c.Name] = c.Groups
		}
	}
	return groups
}

// formatOf says how a feed is read, but for what each reading has of its own.
func formatOf(c *config.Feed) format.Options {
	d, _ := intel.ParseDisposition(string(c.Disposition)) // the configuration was checked
	o := format.Options{
		Format: format.Format(c.Format), Source: feed.SourcePrefix + c.Name, Disposition: d, Subdomains: c.Below,
		Confidence: c.Confidence, MinConfidence: c.MinConfidence, MaxAge: time.Duration(c.MaxAge), MaxEntries: c.MaxEntries,
	}
	for _, k := range c.Kinds {
		kind, _ := intel.ParseKind(k) // the configuration was checked
		o.Kinds = append(o.Kinds, kind)
	}
	if c.Format == "taxii" {
		o.Format = format.STIX
	}
	if c.Format != "csv" {
		return o
	}
	columns := &o.CSV.Columns
	for _, text := range c.Columns {
		what, where, _ := strings.Cut(text, "=")
		if where != "" && strings.Trim(where, "0123456789") != "" {
			o.CSV.Header = true // it has a name
		}
		switch what {
		case "value":
			columns.Value = where
		case "kind":
			columns.Kind = where
		case "id":
			columns.ID = where
		case "note":
			columns.Note = append(columns.Note, where)
		case "campaign":
			columns.Campaign = where
		case "until":
			columns.Until = where
		case "confidence":
			columns.Confidence = where
		case "seen":
			columns.Seen = where
		}
	}
	return o
}

// reader reads the documents of a feed.
type reader struct{ o format.Options }

// maxExamples bounds how many of the things that were passed over are named.
const maxExamples = 20

// Read implements feed.Reader.
func (r reader) Read(open feed.Opener, fetched time.Time, c *feed.Counted) iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		o := r.o
		o.Open, o.Now, o.Object = open, fetched, c.Object
		f, err := format.New(o)
		if err != nil {
			yield(intel.Indicator{}, err)
			return
		}
		f.Entries(yield)
		report := f.Report()
		c.Next = ""
		if report.More {
			c.Next = report.Next
		}
		for _, t := range report.Passed {
			if t.Reason == format.Revoked {
				c.Revoked += t.Count
			}
			if t.Reason != format.Malformed && t.Reason != format.Unsupported {
				continue // what the feed itself, or the configuration, leaves out
			}
			c.Unusable += t.Count
			for _, e := range t.Examples {
				if len(c.Examples) < maxExamples {
					c.Examples = append(c.Examples, strings.TrimSuffix(fmt.Sprintf("%s: %q: %s, %s", e.Place, e.Text, t.Reason, t.Detail), ", "))
				}
			}
		}
	}
}

// manifest reads the manifest of a feed of MISP's.
func manifest(source string) func(io.Reader) iter.Seq2[feed.Event, error] {
	return func(r io.Reader) iter.Seq2[feed.Event, error] {
		return func(yield func(feed.Event, error) bool) {
			for e, err := range format.Manifest(r, format.Options{Source: source}) {
				if !yield(feed.Event{UUID: e.UUID, Stamp: e.Timestamp.UTC().Format(time.RFC3339)}, err) || err != nil {
					return
				}
			}
		}
	}
}
