package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// Keep hands over the bytes of a copy; see pull.Jobs.
func (j *Jobs) Keep(ctx context.Context, lease string, c mailbox.Copy, raw []byte) (job.Kept, error) {
	head, err := json.Marshal(c)
	if err != nil {
		return job.Kept{}, err
	}
	head = append(head, '\n')
	body := func() io.Reader { return &net.Buffers{head, raw} }
	answer, err := j.c.sendBody(ctx, api.OpJobKeep, api.LeaseID{Lease: lease}, api.CopyType, int64(len(head)+len(raw)), body)
	if err != nil {
		return job.Kept{}, jobError(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var kept job.Kept
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&kept); err != nil {
		return job.Kept{}, fmt.Errorf("%s: the answer of %s cannot be read: %w", api.OpJobKeep, j.c.socket, err)
	}
	return kept, nil
}

// Content writes the bytes that a restore puts back; see pull.Jobs.
func (j *Jobs) Content(ctx context.Context, lease string, w io.Writer) error {
	_, err := j.c.stream(ctx, api.OpJobContent, api.LeaseID{Lease: lease}, w)
	return jobError(err)
}

// Report ends a lease; see pull.Jobs.
func (j *Jobs) Report(ctx context.Context, lease string, r job.Result) error {
	_, err := call[api.None](ctx, j.c, api.OpJobReport, api.Report{Lease: lease, Result: r})
	return jobError(err)
}
