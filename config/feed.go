package config

import (
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The words that keys of [[feed]] with a fixed choice take.
type (
	FeedFormat      string // feed.format
	FeedDisposition string // feed.disposition
)

// Feed is a section [[feed]].
type Feed struct {
	// What it is called in evidence, logs and metrics: `feed:NAME`. Letters, digits, `-` and `_`.
	Name string `toml:"name" live:"" example:"\"urlhaus\""`

	// Where it is fetched: `https://…`. For `taxii` the collection, for `misp` the folder with manifest.json.
	URL string `toml:"url" live:"" example:"\"https://feeds.example.org/urls.txt\""`

	// Instead of `url`: a file on this host, read again when it has changed.
	File Path `toml:"file" live:""`

	// What it is written in. `plain` has a value in each line, `hosts` is a hosts file, `csv` has columns (see `columns`), `stix` is a bundle of STIX 2.1, `taxii` a collection of TAXII 2.1, `misp` a feed of MISP events or, with `file`, one event, `misp-warninglist` one warninglist. `urlhaus` and `threatfox` are the CSV files of these two.
	Format FeedFormat `toml:"format" live:"" oneof:"plain hosts csv stix taxii misp misp-warninglist urlhaus threatfox"`

	// csv: which column is what, by its heading or its number from 1: `value=ioc`, `kind=type`, `id=…`, `note=…`, `campaign=…`, `until=…`, `confidence=…`, `seen=…`, as in `["value=url", "note=threat"]`.
	Columns []string `toml:"columns" live:""`

	// What its entries do: `block`, `allow` or `watch`.
	Disposition FeedDisposition `toml:"disposition" live:"" oneof:"block allow watch"`

	// A domain counts for all names below it, too. Take it only for feeds of domains that were registered for harm: else a hoster's customers suffer for one.
	Below bool `toml:"below" live:""`

	// Names under which policies find what it lists, besides its own: `hit.groups`.
	Groups []string `toml:"groups" live:"" example:"[\"phishing\"]"`

	// Only values of these kinds are taken: `sha256`, `sha1`, `md5`, `address`, `domain`, `url`, `ip`. Empty: all.
	Kinds []string `toml:"kinds" live:"" example:"[\"url\", \"domain\"]"`

	// How sure its entries are, of 100, where the feed does not say. 0: unknown.
	Confidence int `toml:"confidence" live:"" range:"0..100"`

	// Entries that are less sure than this, of 100, are passed over, where the feed says how sure it is.
	MinConfidence int `toml:"min_confidence" live:"" range:"0..100"`

	// Entries that were first seen longer ago are passed over, where the feed says when. 0: none.
	MaxAge Duration `toml:"max_age" live:"" range:"0s..3650d"`

	// How often it is fetched. A server that says that nothing changed costs little. At least a minute; `taxii`, whose servers are asked for what was added since, may have two seconds, and is read whole every hour.
	Every Duration `toml:"every" live:"" range:"2s..30d"`

	// A feed that could not be refreshed for so long counts no more. 0: it counts for ever.
	Expiry Duration `toml:"expiry" live:"" range:"0s..3650d"`

	// How long one refresh may take.
	Timeout Duration `toml:"timeout" live:"" range:"1s..12h"`

	// How large each of its documents may be, also unpacked.
	MaxSize Bytes `toml:"max_size" live:"" range:"1KiB..16GiB"`

	// How many entries it may have.
	MaxEntries int `toml:"max_entries" live:"" range:"1..100000000"`

	// By how many per cent its number of entries may grow or shrink without a person: beyond that it is held until `weir feed approve`, and what was fetched before counts. Feeds of fewer than a thousand entries may change as they like, but not become empty. 0: no bound.
	MaxChange int `toml:"max_change" live:"" range:"0..100000"`

	// The user for HTTP's basic authentication, with the password in `secret_file`.
	User string `toml:"user" live:""`

	// A header field that carries what is in `secret_file`, instead of a user: `Auth-Key`.
	Header string `toml:"header" live:""`

	// A file with the password or the key alone, which only the daemon's user can read. It is read anew at every refresh.
	SecretFile Path `toml:"secret_file" live:""`

	// The authorities that may have signed the server's certificate, in PEM. Empty: the system's.
	CAFile Path `toml:"ca_file" live:""`

	// The certificate that is shown to the server, in PEM, where it wants one.
	CertFile Path `toml:"cert_file" live:""`

	// Its key.
	KeyFile Path `toml:"key_file" live:""`

	// The server may have an address that is not public: loopback, private, link-local. Else no name and no redirection leads there.
	AllowPrivate bool `toml:"allow_private" live:""`
}

func freshFeed(string) reflect.Value {
	return reflect.ValueOf(Feed{
		Format: "plain", Disposition: "block", Every: Duration(time.Hour), Timeout: Duration(5 * time.Minute),
		MaxSize: 256 << 20, MaxEntries: 10_000_000, MaxChange: 50,
	})
}

var feedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// feedColumns are what a column can be.
const feedColumns = "value kind id note campaign until confidence seen"

func (c *Config) checkFeeds(report reporter) {
	names := map[string]bool{}
	for i := range c.Feeds {
		f := &c.Feeds[i]
		at := func(key, problem, cure string, args ...any) {
			report(fmt.Sprintf("feed[%d].%s", i, key), problem, cure, args...)
		}
		switch {
		case f.Name == "":
			at("name", "is missing", `write name = "urlhaus"`)
		case !feedName.MatchString(f.Name):
			at("name", "is not 1 to 64 letters, digits, - and _", `write name = "urlhaus"`)
		case names[strings.ToLower(f.Name)]:
			at("name", "is another feed's too", "give each its own")
		}
		names[strings.ToLower(f.Name)] = true
		f.checkPlace(at)
		f.checkSecret(at)
		f.checkColumns(at)
		f.checkGroups(at)
		if f.Format != "taxii" && f.Every < Duration(time.Minute) {
			at("every", "is less than a minute", `write "1m" or more; only format = "taxii" is asked more often`)
		}
	}
}

func (f *Feed) checkPlace(at reporter) {
	switch {
	case f.URL == "" && f.File == "":
		at("url", "is missing", "write where the feed is fetched, or name a file on this host with file")
	case f.URL != "" && f.File != "":
		at("file", "is given, and url too", "take one of the two out")
	case f.File != "" && f.Format == "taxii":
		at("file", "is of no use with format = \"taxii\", which is a server", "write url")
	case f.URL != "":
		u, err := url.Parse(f.URL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Fragment != "" {
			at("url", "is no http or https URL", `write "https://feeds.example.org/list.txt"`)
		} else if u.User != nil {
			at("url", "has a user in it, and would stand in logs", "write user and secret_file")
		}
	}
}

func (f *Feed) checkSecret(at reporter) {
	switch {
	case f.User != "" && f.Header != "":
		at("header", "is given, and user too", "take one of the two out")
	case f.SecretFile != "" && f.User == "" && f.Header == "":
		at("secret_file", "is of no use without user or header", "name the header field that carries it, or the user")
	case f.SecretFile == "" && (f.User != "" || f.Header != ""):
		at("secret_file", "is missing", "name a file with the password or the key alone")
	case strings.ContainsFunc(f.Header, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }):
		at("header", "is no name of a header field", `write "Auth-Key"`)
	case f.SecretFile != "" && strings.HasPrefix(f.URL, "http://") && !f.AllowPrivate:
		at("url", "would send the secret in plain text", "write https")
	case (f.CertFile == "") != (f.KeyFile == ""):
		at("key_file", "and cert_file belong together", "give both, or none of them")
	case f.File != "" && f.SecretFile != "":
		at("secret_file", "is of no use with file", "take it out")
	}
}

// feedKinds are the kinds that a feed can be bound to.
const feedKinds = "sha256 sha1 md5 address domain url ip"

// maxGroups bounds the groups of one feed.
const maxGroups = 16

func (f *Feed) checkGroups(at reporter) {
	if len(f.Groups) > maxGroups {
		at("groups", fmt.Sprintf("has %d names", len(f.Groups)), "give at most %d", maxGroups)
	}
	for i, k := range f.Kinds {
		if !slices.Contains(strings.Fields(feedKinds), k) {
			at(fmt.Sprintf("kinds[%d]", i), "is no kind of value", "write one of %s", strings.ReplaceAll(feedKinds, " ", ", "))
		}
	}
	for i, g := range f.Groups {
		if !feedName.MatchString(g) {
			at(fmt.Sprintf("groups[%d]", i), "is not 1 to 64 letters, digits, - and _", `write groups = ["phishing"]`)
		}
	}
}

func (f *Feed) checkColumns(at reporter) {
	if f.Format != "csv" {
		if len(f.Columns) > 0 {
			at("columns", "is of no use with format = \""+string(f.Format)+"\"", "take it out, or write format = \"csv\"")
		}
		return
	}
	value := false
	for i, c := range f.Columns {
		what, where, ok := strings.Cut(c, "=")
		if !ok || where == "" || !strings.Contains(" "+feedColumns+" ", " "+what+" ") {
			at(fmt.Sprintf("columns[%d]", i), "is not WHAT=COLUMN", "write one of %s, =, and a heading or a number", strings.ReplaceAll(feedColumns, " ", ", "))
		}
		value = value || what == "value"
	}
	if !value {
		at("columns", "does not say in which column the values are", `write columns = ["value=1"]`)
	}
}
