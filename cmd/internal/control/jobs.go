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
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/quarantine/incident"
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

func (s *Server) reportJobs(ctx context.Context, c *call, st *Stores, in *api.Reports) (any, error) {
	if n := len(in.Reports); n < 1 || n > api.MaxTogether {
		return nil, api.Errorf(api.BadRequest, "there are %d reports, and 1 to %d are taken", n, api.MaxTogether)
	}
	answer := api.Reported{Jobs: make([]api.ReportedJob, len(in.Reports))}
	together(len(in.Reports), func(i int) {
		r := &in.Reports[i]
		answer.Jobs[i].Error = s.alone(c, r.Lease, func() error {
			return st.Incidents.Report(ctx, c.caller.Actor, r.Lease, r.Result)
		})
	})
	return answer, nil
}

// atOnce is how many copies, or reports, of one request are dealt with at once:
// they wait for the disk together.
const atOnce = 4

// together does something for the numbers below n, some of them at once.
func together(n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, atOnce) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// alone does something for one of the leases of a request, and gives what the caller
// is told if it fails, which fails no other.
func (s *Server) alone(c *call, lease string, do func() error) (told *api.Error) {
	began := time.Now()
	one := &call{op: c.op, caller: c.caller, params: map[string]string{"lease": lease[:min(len(lease), maxLeaseShown)]}}
	defer func() {
		if p := recover(); p != nil {
			told = errorOf(s.panicked(one, p))
		}
		if told != nil {
			s.report(one, told, time.Since(began))
		}
	}()
	if err := do(); err != nil {
		return errorOf(err)
	}
	return nil
}

// maxLeaseShown bounds how much of a lease's ID is logged, which may be anything.
const maxLeaseShown = 40

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
	copyWait   = 30 * time.Second // for the next piece of copies
	maxUploads = 256 << 20        // bytes of all that are on their way at once; a larger one comes alone
)

func (s *Server) keepCopies(ctx context.Context, c *call, st *Stores, _ *api.None) (any, error) {
	if media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || media != api.CopiesType {
		return nil, &api.Error{Code: api.BadRequest, Text: "the body is not declared as copies", Cure: "send Content-Type: " + api.CopiesType}
	}
	largest := s.limits().MessageSize + copyRoom
	size := c.r.ContentLength
	switch {
	case size < 0:
		return nil, api.Errorf(api.BadRequest, "the body has no Content-Length")
	case size > max(largest+api.MaxCopyName, api.MaxCopies):
		return nil, tooLarge(size)
	}
	leave, err := s.uploads.enter(ctx, size)
	if err != nil {
		return nil, err
	}
	defer leave()
	body, err := c.readCopies(size)
	if err != nil {
		return nil, err
	}
	copies, err := splitCopies(body)
	if err != nil {
		return nil, err
	}
	answer := api.Keeping{Copies: make([]api.KeptCopy, len(copies))}
	together(len(copies), func(i int) {
		one := &copies[i]
		answer.Copies[i].Error = s.alone(c, one.Lease, func() error {
			if one.Bytes > largest {
				return tooLarge(one.Bytes)
			}
			kept, err := st.Incidents.Keep(ctx, c.caller.Actor, one.Lease, one.Copy, one.raw)
			if err == nil {
				answer.Copies[i].Kept = &kept
			}
			return err
		})
	})
	return answer, nil
}

func tooLarge(size int64) *api.Error {
	return &api.Error{Code: api.TooLarge, Text: "the copy has " + strconv.FormatInt(size, 10) + " bytes", Cure: "raise milter.message_size_limit"}
}

// handed is a copy that was handed over.
type handed struct {
	api.Handed
	raw []byte
}

// splitCopies tells the copies of a body apart, whose bytes they go on to use.
func splitCopies(body []byte) ([]handed, error) {
	var all []handed
	for len(body) > 0 || len(all) == 0 {
		head, rest, ok := bytes.Cut(body, []byte{'\n'})
		var one handed
		switch {
		case len(all) == api.MaxTogether:
			return nil, api.Errorf(api.BadRequest, "there are more than %d copies", api.MaxTogether)
		case !ok || len(head) > api.MaxCopyName:
			return nil, api.Errorf(api.BadRequest, "copy %d does not begin with a line of JSON", len(all)+1)
		}
		if err := json.Unmarshal(head, &one.Handed); err != nil {
			return nil, api.Errorf(api.BadRequest, "the first line of copy %d is not what it should be: %v", len(all)+1, err)
		}
		if one.Bytes < 0 || one.Bytes > int64(len(rest)) {
			return nil, api.Errorf(api.BadRequest, "copy %d has %d bytes, and is to have %d", len(all)+1, len(rest), one.Bytes)
		}
		one.raw, body = rest[:one.Bytes], rest[one.Bytes:]
		all = append(all, one)
	}
	return all, nil
}

// readCopies reads a body that may be long, as long as it goes on.
func (c *call) readCopies(size int64) ([]byte, error) {
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
