package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/mailbox"
)

func (s *Server) leaseJobs(ctx context.Context, c *call, st *Stores, in *api.Lease) (any, error) {
	if in.Max < 1 || in.Max > api.MaxLeases || in.Wait < 0 || in.Wait > api.MaxLeaseWait {
		return nil, api.Errorf(api.BadRequest, "max is 1 to %d and wait 0 to %d seconds", api.MaxLeases, api.MaxLeaseWait)
	}
	// The daemon does not wait for those who wait, and the client's going away ends
	// the wait by itself: then nobody would have what is leased.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	leases, err := st.Incidents.Lease(ctx, incident.Request{Actor: c.caller.Actor, Max: in.Max, Wait: time.Duration(in.Wait) * time.Second})
	if err != nil && s.ending.Err() != nil {
		return nil, api.Errorf(api.Unavailable, "the daemon is ending")
	}
	return api.Leases{Leases: all(leases)}, err
}

func (s *Server) renewJobs(ctx context.Context, c *call, st *Stores, in *api.Renew) (any, error) {
	if len(in.Leases) > api.MaxLeases {
		return nil, api.Errorf(api.BadRequest, "%d leases, and %d are the most", len(in.Leases), api.MaxLeases)
	}
	lost, err := st.Incidents.Renew(ctx, c.caller.Actor, in.Leases)
	return api.Renewed{Lost: all(lost)}, err
}

func (s *Server) reportJob(ctx context.Context, c *call, st *Stores, in *api.Report) (any, error) {
	return api.None{}, st.Incidents.Report(ctx, c.caller.Actor, in.Lease, in.Result)
}

func (s *Server) jobContent(ctx context.Context, c *call, st *Stores, in *api.LeaseID) (any, error) {
	content, err := st.Incidents.Content(ctx, c.caller.Actor, in.Lease)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	w := &stream{c: c, header: map[string]string{"Content-Length": strconv.FormatInt(content.Size(), 10), "X-Content-Type-Options": "nosniff"}}
	if content.Size() == 0 {
		_, err = w.Write(nil)
		return nil, err
	}
	_, err = io.Copy(w, content)
	return nil, err
}

// Bounds on copies that are handed over.
const (
	copyRoom   = 1 << 20          // bytes by which a mail store may have made a message larger than it was
	copyWait   = 30 * time.Second // for the next piece of a copy
	maxUploads = 256 << 20        // bytes of all that are on their way at once; a larger one comes alone
)

func (s *Server) keepCopy(ctx context.Context, c *call, st *Stores, in *api.LeaseID) (any, error) {
	if media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || media != api.CopyType {
		return nil, &api.Error{Code: api.BadRequest, Text: "the body is not declared as a copy", Cure: "send Content-Type: " + api.CopyType}
	}
	most := s.limits().MessageSize + copyRoom + api.MaxCopyName
	size := c.r.ContentLength
	switch {
	case size < 0:
		return nil, api.Errorf(api.BadRequest, "the body has no Content-Length")
	case size > most:
		return nil, &api.Error{Code: api.TooLarge, Text: "the copy has " + strconv.FormatInt(size, 10) + " bytes", Cure: "raise milter.message_size_limit"}
	}
	leave, err := s.uploads.enter(ctx, size)
	if err != nil {
		return nil, err
	}
	defer leave()
	body, err := c.readCopy(size)
	if err != nil {
		return nil, err
	}
	head, raw, ok := bytes.Cut(body, []byte{'\n'})
	var copied mailbox.Copy
	if !ok || len(head) > api.MaxCopyName {
		return nil, api.Errorf(api.BadRequest, "the body does not begin with a line of JSON")
	}
	if err := json.Unmarshal(head, &copied); err != nil {
		return nil, api.Errorf(api.BadRequest, "the first line of the body is not a copy: %v", err)
	}
	kept, err := st.Incidents.Keep(ctx, c.caller.Actor, in.Lease, copied, raw)
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// readCopy reads a body that may be long, as long as it goes on.
func (c *call) readCopy(size int64) ([]byte, error) {
	deadlines := http.NewResponseController(c.w)
	defer func() { _ = deadlines.SetReadDeadline(time.Time{}) }()
	body := make([]byte, 0, size)
	for int64(len(body)) < size {
		_ = deadlines.SetReadDeadline(time.Now().Add(copyWait))
		n, err := c.r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case err == nil || errors.Is(err, io.EOF) && int64(len(body)) == size:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, api.Errorf(api.BadRequest, "the body did not go on within %s", copyWait)
		default:
			return nil, api.Errorf(api.BadRequest, "the body cannot be read: %v", err)
		}
	}
	return body, nil
}
