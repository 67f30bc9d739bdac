package share

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The places of the server (TAXII 2.1 section 4): one API root with one collection,
// which can be asked for by its ID or by its alias.
const (
	discoveryPath = "/taxii2"
	rootPath      = "/api"
	// Alias is what the collection is called in URLs.
	Alias = "confirmed"
	// CollectionPath is where the collection is.
	CollectionPath = rootPath + "/collections/" + Alias + "/"
)

// Bounds on a request.
const (
	defaultLimit = 200
	maxLimit     = 1000
	maxMatches   = 100 // values of one filter
)

type discovery struct {
	Title    string   `json:"title"`
	Default  string   `json:"default"`
	APIRoots []string `json:"api_roots"`
}

type apiRoot struct {
	Title            string   `json:"title"`
	Versions         []string `json:"versions"`
	MaxContentLength int      `json:"max_content_length"`
}

type collections struct {
	Collections []collection `json:"collections"`
}

type collection struct {
	ID         string   `json:"id"`
	Title      string   `json:"title"`
	Alias      string   `json:"alias"`
	CanRead    bool     `json:"can_read"`
	CanWrite   bool     `json:"can_write"`
	MediaTypes []string `json:"media_types"`
}

type envelope struct {
	More    bool     `json:"more"`
	Next    string   `json:"next,omitempty"`
	Objects []Object `json:"objects,omitempty"`
}

type manifest struct {
	More    bool     `json:"more"`
	Next    string   `json:"next,omitempty"`
	Objects []record `json:"objects,omitempty"`
}

type record struct {
	ID        string `json:"id"`
	DateAdded string `json:"date_added"`
	Version   string `json:"version"`
	MediaType string `json:"media_type"`
}

type versions struct {
	More     bool     `json:"more"`
	Next     string   `json:"next,omitempty"`
	Versions []string `json:"versions,omitempty"`
}

// stampForm is that of timestamps in TAXII, with the microseconds of stamps (section
// 3.3).
const stampForm = "2006-01-02T15:04:05.000000Z"

// resource gives what a request asks for. The error is a *problem, or that of reading.
func (s *Server) resource(share *Share, h http.Header, r *http.Request) (any, error) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	missing := fail(http.StatusNotFound, "Not found", "there is nothing here; begin at "+discoveryPath+"/")
	id := collectionID(share.o.Node)
	inside := len(path) >= 3 && path[0] == "api" && path[1] == "collections" && (path[2] == id || path[2] == Alias)
	if r.Method != http.MethodGet {
		if inside && len(path) >= 4 && path[3] == "objects" && (r.Method == http.MethodPost || r.Method == http.MethodDelete) {
			return nil, fail(http.StatusForbidden, "Forbidden", "the collection can only be read")
		}
		h.Set("Allow", http.MethodGet)
		return nil, fail(http.StatusMethodNotAllowed, "Method not allowed", "all there is can only be read")
	}
	if !accepts(r) {
		return nil, fail(http.StatusNotAcceptable, "Not acceptable", "this server speaks "+media)
	}
	title := s.access.Load().titles
	it := collection{id, title, Alias, true, false, []string{mediaSTIX}}
	switch rest := strings.Join(path[min(3, len(path)):], "/"); {
	case len(path) == 1 && path[0] == "taxii2":
		base := baseOf(r) + rootPath + "/"
		return discovery{title, base, []string{base}}, nil
	case len(path) == 1 && path[0] == "api":
		return apiRoot{title, []string{media}, maxHeader}, nil
	case len(path) == 2 && path[0] == "api" && path[1] == "collections":
		return collections{[]collection{it}}, nil
	case !inside:
		return nil, missing
	case rest == "":
		return it, nil
	case rest == "manifest", rest == "objects":
		return listing(share, h, r, nil, rest)
	case len(path) == 5 && path[3] == "objects":
		return listing(share, h, r, []string{path[4]}, "objects")
	case len(path) == 6 && path[3] == "objects" && path[5] == "versions":
		return listing(share, h, r, []string{path[4]}, "versions")
	}
	return nil, missing
}

// baseOf gives where a peer reached the server.
func baseOf(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// collectionID gives a UUID of version 4 that stays the same: TAXII 2.1 section 5.2
// wants one.
func collectionID(node string) string {
	sum := sha256.Sum256([]byte("weir collection " + node))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}

// listing gives a page of objects, of their manifest or of an object's versions.
func listing(share *Share, h http.Header, r *http.Request, ids []string, what string) (any, error) {
	q, empty, err := query(r, what)
	if err != nil {
		return nil, err
	}
	named := len(ids) > 0
	if named {
		q.IDs = ids
		if there, err := share.Page(Query{IDs: ids, Limit: 1}); err != nil {
			return nil, err
		} else if len(there.Objects) == 0 {
			return nil, fail(http.StatusNotFound, "Not found", "there is no such object")
		}
	}
	var page Page
	if !empty {
		if page, err = share.Page(q); err != nil {
			return nil, err
		}
	}
	next := ""
	if n := len(page.Objects); n > 0 {
		first, last := &page.Objects[0], &page.Objects[n-1]
		h.Set("X-TAXII-Date-Added-First", first.Added().Format(stampForm))
		h.Set("X-TAXII-Date-Added-Last", last.Added().Format(stampForm))
		if page.More {
			next = strconv.FormatInt(last.added, 10)
		}
	}
	switch what {
	case "manifest":
		m := manifest{More: page.More, Next: next}
		for i := range page.Objects {
			o := &page.Objects[i]
			m.Objects = append(m.Objects, record{o.ID, o.Added().Format(stampForm), o.Modified, mediaSTIX})
		}
		return m, nil
	case "versions":
		v := versions{More: page.More, Next: next}
		for i := range page.Objects {
			v.Versions = append(v.Versions, page.Objects[i].Modified)
		}
		return v, nil
	}
	return envelope{page.More, next, page.Objects}, nil
}

// query reads what a request asks for (TAXII 2.1 sections 3.4 and 3.5). Parameters
// that are not known are passed over. empty says that nothing can meet it.
func query(r *http.Request, what string) (q Query, empty bool, err error) {
	bad := func(key, why string) (Query, bool, error) {
		return q, false, fail(http.StatusBadRequest, "Bad request", fmt.Sprintf("%s %s", key, why))
	}
	all, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("the query", "cannot be read")
	}
	q.Limit = defaultLimit
	for _, key := range []string{"added_after", "limit", "next", "match[id]", "match[type]", "match[version]", "match[spec_version]"} {
		values, there := all[key]
		if !there {
			continue
		}
		if len(values) > 1 {
			return bad(key, "stands there more than once")
		}
		value := values[0]
		switch key {
		case "added_after":
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return bad(key, "is no timestamp")
			}
			q.After = max(q.After, at.UnixMicro())
		case "next":
			stamp, err := strconv.ParseInt(value, 10, 64)
			if err != nil || stamp < 0 {
				return bad(key, "is not what a page gave")
			}
			q.After = max(q.After, stamp)
		case "limit":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil || n == 0 {
				return bad(key, "is no number above 0")
			}
			q.Limit = int(min(n, maxLimit))
		default:
			wanted := strings.Split(value, ",")
			if len(wanted) > maxMatches || slices.Contains(wanted, "") {
				return bad(key, fmt.Sprintf("does not have 1 to %d values", maxMatches))
			}
			switch key {
			case "match[id]":
				q.IDs = wanted
			case "match[type]":
				empty = empty || !slices.Contains(wanted, "indicator")
			case "match[spec_version]":
				empty = empty || !slices.Contains(wanted, "2.1")
			case "match[version]":
				if what == "versions" {
					continue // all that there are
				}
				versions, err := versionsOf(wanted)
				if err != nil {
					return bad(key, err.Error())
				}
				q.Versions = versions
			}
		}
	}
	return q, empty, nil
}

// versionsOf reads which versions of objects are wanted. Each has one, which is its
// last, its first and all of them.
func versionsOf(wanted []string) ([]string, error) {
	var times []string
	for _, v := range wanted {
		switch v {
		case "last", "first", "all":
			return nil, nil
		}
		at, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return nil, fmt.Errorf("is none of last, first, all and a timestamp")
		}
		times = append(times, at.UTC().Format(stixTime))
	}
	return times, nil
}
