package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
)

// Jobs is the work in mailboxes that a daemon has; it is a pull.Jobs. Its methods
// may be called by many goroutines.
type Jobs struct{ c *Client }

var _ pull.Jobs = (*Jobs)(nil)

// jobConns bounds the connections of one sidecar: fewer than the daemon lets one
// user have.
const jobConns = 16

// NewJobs speaks to the daemon behind a unix socket.
func NewJobs(socket string) *Jobs { return &Jobs{newClient(socket, "unix", nil)} }

// NewRemoteJobs speaks to a daemon on another host, at host:port, over TLS. The
// settings need the certificate to show, and the authorities whose certificates
// count; the name to verify is that of the address where they have none.
func NewRemoteJobs(address string, t *tls.Config) (*Jobs, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the daemon's address %s: %w", address, err)
	}
	if t == nil || len(t.Certificates) == 0 && t.GetClientCertificate == nil {
		return nil, errors.New("a daemon on another host wants a certificate")
	}
	t = t.Clone()
	if t.ServerName == "" {
		t.ServerName = host
	}
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	t.NextProtos = []string{"http/1.1"}
	return &Jobs{newClient(address, "tcp", t)}, nil
}

// Close ends connections that are idle.
func (j *Jobs) Close() { j.c.Close() }

// jobError says of an error what it means to a sidecar.
func jobError(err error) error {
	var told *api.Error
	if !errors.As(err, &told) {
		return err
	}
	switch told.Code {
	case api.LeaseLost:
		return fmt.Errorf("%w: %w", pull.ErrLease, told)
	case api.TooLarge:
		return fmt.Errorf("%w: %w", mailbox.ErrTooLarge, told)
	}
	return err
}

// Lease gives at most max jobs; see pull.Jobs.
func (j *Jobs) Lease(ctx context.Context, max int, wait time.Duration) ([]job.Lease, error) {
	seconds := int((wait + time.Second - 1) / time.Second)
	answer, err := call[api.Leases](ctx, j.c, api.OpJobLease, api.Lease{Max: min(max, api.MaxLeases), Wait: min(seconds, api.MaxLeaseWait)})
	if err != nil {
		return nil, jobError(err)
	}
	return answer.Leases, nil
}

// Renew makes leases hold for longer; see pull.Jobs.
func (j *Jobs) Renew(ctx context.Context, leases []string) (lost []string, err error) {
	for len(leases) > 0 {
		some := leases[:min(len(leases), api.MaxLeases)]
		leases = leases[len(some):]
		answer, err := call[api.Renewed](ctx, j.c, api.OpJobRenew, api.Renew{Leases: some})
		if err != nil {
			return lost, jobError(err)
		}
		lost = append(lost, answer.Lost...)
	}
	return lost, nil
}

// Keep hands over the bytes of copies; see pull.Jobs.
func (j *Jobs) Keep(ctx context.Context, copies []pull.Upload) []pull.Stored {
	all := make([]pull.Stored, len(copies))
	var pieces []piece
	for i, c := range copies {
		head, err := json.Marshal(api.Handed{Lease: c.Lease, Copy: c.Copy, Bytes: int64(len(c.Raw))})
		if err != nil {
			all[i].Err = err
			continue
		}
		pieces = append(pieces, piece{i, append(head, '\n'), c.Raw})
	}
	for some := range parts(pieces, api.MaxCopies) {
		var body net.Buffers
		for _, p := range some {
			body = append(body, p.text, p.raw)
		}
		answer, err := send[api.Keeping](ctx, j.c, api.OpJobKeep, api.None{}, api.CopiesType, body)
		if err == nil && len(answer.Copies) != len(some) {
			err = j.short(api.OpJobKeep, len(answer.Copies), len(some))
		}
		for n, p := range some {
			one := &all[p.of]
			switch {
			case err != nil:
				one.Err = jobError(err)
			case answer.Copies[n].Error != nil:
				one.Err = jobError(answer.Copies[n].Error)
			case answer.Copies[n].Kept != nil:
				one.Kept = *answer.Copies[n].Kept
			default:
				one.Err = fmt.Errorf("%s: %s does not say what came of a copy", api.OpJobKeep, j.c.socket)
			}
		}
	}
	return all
}

// short says that a daemon answers of less or more than it was asked.
func (j *Jobs) short(name string, n, want int) error {
	return fmt.Errorf("%s: %s was given %d, and says what came of %d", name, j.c.socket, want, n)
}

// piece is what a request says of one copy, or of one job.
type piece struct {
	of   int // its place in what was asked for
	text []byte
	raw  []byte
}

// parts divides pieces into requests of so many bytes at most, or of one piece.
func parts(pieces []piece, most int) iter.Seq[[]piece] {
	return func(yield func([]piece) bool) {
		for len(pieces) > 0 {
			n, size := 0, 0
			for n < min(len(pieces), api.MaxTogether) {
				if size += len(pieces[n].text) + len(pieces[n].raw) + 1; n > 0 && size > most {
					break
				}
				n++
			}
			if !yield(pieces[:n]) {
				return
			}
			pieces = pieces[n:]
		}
	}
}

// Content writes the bytes that a restore puts back; see pull.Jobs.
func (j *Jobs) Content(ctx context.Context, lease string, w io.Writer) error {
	_, err := j.c.stream(ctx, api.OpJobContent, api.LeaseID{Lease: lease}, w)
	return jobError(err)
}

// Report ends leases; see pull.Jobs.
func (j *Jobs) Report(ctx context.Context, reports []pull.Report) []error {
	errs := make([]error, len(reports))
	var pieces []piece
	for i, r := range reports {
		text, err := json.Marshal(api.Report{Lease: r.Lease, Result: r.Result})
		if err != nil {
			errs[i] = err
			continue
		}
		pieces = append(pieces, piece{of: i, text: text})
	}
	for some := range parts(pieces, api.MaxReports-len(`{"reports":[]}`)) {
		body := net.Buffers{[]byte(`{"reports":[`)}
		for n, p := range some {
			if n > 0 {
				body = append(body, []byte{','})
			}
			body = append(body, p.text)
		}
		answer, err := send[api.Reported](ctx, j.c, api.OpJobReport, api.Reports{}, "application/json", append(body, []byte("]}")))
		if err == nil && len(answer.Jobs) != len(some) {
			err = j.short(api.OpJobReport, len(answer.Jobs), len(some))
		}
		for n, p := range some {
			switch {
			case err != nil:
				errs[p.of] = jobError(err)
			case answer.Jobs[n].Error != nil:
				errs[p.of] = jobError(answer.Jobs[n].Error)
			}
		}
	}
	return errs
}
