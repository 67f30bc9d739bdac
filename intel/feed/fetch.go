package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

const (
	// maxParts bounds the documents of one feed.
	maxParts  = 100_000
	userAgent = "weir"
)

// errUnchanged says that a server has nothing new.
var errUnchanged = errors.New("unchanged")

// httpError is an answer that is no document.
type httpError struct {
	status int
	after  time.Duration // when the server wants to be asked again; 0: it did not say
}

// Error implements error.
func (e *httpError) Error() string {
	text := fmt.Sprintf("the server answered %d %s", e.status, http.StatusText(e.status))
	if e.after > 0 {
		text += fmt.Sprintf(", and to come again in %s", e.after)
	}
	return text
}

// fetching is one refresh on its way.
type fetching struct {
	f      *Feed
	room   *room
	state  *state // of before; only Next changes
	client *http.Client
	secret string
	now    time.Time
	whole  bool // what was fetched before is not built on
}

// fetch gets what a feed has now. It gives nil if that is what it had before.
func (x *fetching) fetch(ctx context.Context) (*content, error) {
	c := &content{From: x.f.URL, Fetched: x.now}
	var err error
	switch {
	case x.f.File != "":
		c.From = x.f.File
		c.Parts, err = x.copyFile()
	case x.f.Shape == TAXII:
		err = x.collection(ctx, c)
	case x.f.Shape == MISP:
		c.Parts, err = x.events(ctx)
	default:
		var p part
		p, err = x.get(ctx, x.f.URL, x.before(0), "")
		c.Parts = []part{p}
	}
	if errors.Is(err, errUnchanged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// good gives what is in force, if it came from where the feed comes from now.
func (x *fetching) good() *content {
	g := x.state.Good
	if g == nil || g.From != x.f.URL && g.From != x.f.File {
		return nil
	}
	return g
}

// before gives a part that was fetched before, an empty one where there is none.
func (x *fetching) before(i int) part {
	if g := x.good(); g != nil && i < len(g.Parts) && x.there(&g.Parts[i]) {
		return g.Parts[i]
	}
	return part{}
}

func (x *fetching) there(p *part) bool {
	_, err := x.room.fs.Stat(x.room.path(p))
	return err == nil
}

// get fetches one document into a file of its own. Where the server says that it
// is as before the error is errUnchanged.
func (x *fetching) get(ctx context.Context, from string, before part, accept string) (part, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return part{}, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "gzip")
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if before.ETag != "" {
		req.Header.Set("If-None-Match", before.ETag)
	}
	if before.Modified != "" {
		req.Header.Set("If-Modified-Since", before.Modified)
	}
	switch {
	case x.f.User != "":
		req.SetBasicAuth(x.f.User, x.secret)
	case x.f.Header != "":
		req.Header.Set(x.f.Header, x.secret)
	}
	resp, err := x.client.Do(req)
	if err != nil {
		return part{}, short(err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusNotModified && before.File != "":
		return part{}, errUnchanged
	case resp.StatusCode != http.StatusOK:
		return part{}, &httpError{resp.StatusCode, retryAfter(resp.Header)}
	case resp.ContentLength > x.f.MaxBytes:
		return part{}, fmt.Errorf("%w: it has %d bytes", ErrTooLarge, resp.ContentLength)
	}
	p, err := x.store(&limited{resp.Body, x.f.MaxBytes, ""})
	if err != nil {
		return part{}, short(err)
	}
	p.ETag, p.Modified = headerOf(resp, "ETag"), headerOf(resp, "Last-Modified")
	p.First, p.Last = moment(resp.Header.Get(headerFirst)), moment(resp.Header.Get(headerLast))
	return p, nil
}

// headerOf gives a field's value unless it is too long to be sent back.
func headerOf(resp *http.Response, name string) string {
	if v := resp.Header.Get(name); len(v) <= 1024 {
		return v
	}
	return ""
}

// short leaves out of an error the URL, which may carry a key.
func short(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func retryAfter(h http.Header) time.Duration {
	if s, err := strconv.Atoi(strings.TrimSpace(h.Get("Retry-After"))); err == nil && s > 0 {
		return min(time.Duration(s)*time.Second, 24*time.Hour)
	}
	return 0
}

// copyFile takes over a file of this host.
func (x *fetching) copyFile() ([]part, error) {
	f, info, err := disk.OpenRegular(x.f.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	stamp := fmt.Sprintf("%d %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
	if x.before(0).Modified == stamp {
		return nil, errUnchanged
	}
	p, err := x.store(&limited{f, x.f.MaxBytes, ""})
	p.Modified = stamp
	return []part{p}, err
}

// store writes a document into a file.
func (x *fetching) store(r io.Reader) (p part, err error) {
	x.state.Next++
	p.File = fmt.Sprintf("%08d%s", x.state.Next, partSuffix)
	f, err := x.room.fs.OpenFile(x.room.path(&p), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return p, err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(sum, io.NewOffsetWriter(f, 0)), r); err != nil {
		return p, err
	}
	p.Digest = hex.EncodeToString(sum.Sum(nil))
	return p, nil
}

// open gives what a part holds.
func (r *room) open(p *part, limit int64) (io.ReadCloser, error) {
	f, err := r.fs.OpenFile(r.path(p), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	in, err := unpack(f, limit)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{in, f}, nil
}

// opener opens a part.
func (r *room) opener(p *part, limit int64) Opener {
	return func() (io.ReadCloser, error) { return r.open(p, limit) }
}
