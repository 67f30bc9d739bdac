// Package client speaks to the daemon over its control socket. It knows package
// api and nothing else of ours.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// maxAnswer bounds a JSON document, in bytes.
const maxAnswer = 256 << 20

// Client asks the daemon behind a socket. Its methods may be called by many
// goroutines. Their errors are an *api.Error as the daemon told it, an
// *UnreachableError, the context's, or say that the answer made no sense.
type Client struct {
	socket     string
	http       *http.Client
	operations map[string]api.Operation
}

// New makes a client for the unix socket at a path. It does not connect yet.
func New(socket string) *Client {
	return newClient(socket, "unix", nil)
}

// Close ends connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UnreachableError says that nobody answers at the socket.
type UnreachableError struct {
	Socket string
	Remote bool // Socket is an address of another host
	Err    error
}

// Error says what was tried, why it failed and what to do.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no daemon answers at %s: %s; %s", e.Socket, reason(e.Err), e.cure())
}

// Unwrap gives what connecting gave.
func (e *UnreachableError) Unwrap() error { return e.Err }

func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func (e *UnreachableError) cure() string {
	switch {
	case e.Remote:
		return "is it running there, is control.remote_listen of its configuration this address, and does each side trust the other's certificate?"
	case errors.Is(e.Err, fs.ErrNotExist):
		return "is it running (systemctl status weir), and is control.listen of its configuration this socket?"
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return "the socket is there and nobody listens: is the daemon running (systemctl status weir)?"
	case errors.Is(e.Err, fs.ErrPermission):
		return "you have to be root or in " + e.group() + ": usermod -aG GROUP USER, and log in anew"
	}
	return "is it running (systemctl status weir)?"
}

// group names the group of the socket, which is what lets somebody connect.
func (e *UnreachableError) group() string {
	const any = "the group of the socket (control.socket_group)"
	var st unix.Stat_t
	if err := unix.Stat(e.Socket, &st); err != nil {
		return any
	}
	id := strconv.FormatUint(uint64(st.Gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return "the group " + g.Name
	}
	return "the group " + id
}

// send sends the request for an operation; the caller closes the answer's body.
// An answer that is an error is given as one.
func (c *Client) send(ctx context.Context, name string, input any) (*http.Response, error) {
	op := c.operations[name]
	target, body, err := op.Encode(input)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, op.Method, "http://weir"+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return c.do(name, r)
}

// send asks for an operation with a body that is written already.
func send[O any](ctx context.Context, c *Client, name string, input any, media string, body net.Buffers) (*O, error) {
	op := c.operations[name]
	target, _, err := op.Encode(input)
	if err != nil {
		return nil, err
	}
	// Who reads Buffers uses them up.
	read := func() io.ReadCloser {
		again := slices.Clone(body)
		return io.NopCloser(&again)
	}
	r, err := http.NewRequestWithContext(ctx, op.Method, "http://weir"+target, read())
	if err != nil {
		return nil, err
	}
	for _, b := range body {
		r.ContentLength += int64(len(b))
	}
	r.GetBody = func() (io.ReadCloser, error) { return read(), nil }
	r.Header.Set("Content-Type", media)
	answer, err := c.do(name, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	return decode[O](c, name, answer.Body)
}

func (c *Client) do(name string, r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.failed(name, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	told := &api.Error{}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(told); err != nil || told.Code == "" {
		return nil, fmt.Errorf("%s: the answer of %s is not one of Weir's: HTTP status %s", name, c.socket, answer.Status)
	}
	return nil, told
}

// failed says what went wrong before there was an answer.
func (c *Client) failed(name string, err error) error {
	var away *UnreachableError
	if errors.As(err, &away) {
		return away
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%s: the daemon at %s took the request and gave no answer, so whether it was done is not known: %w", name, c.socket, err)
}

func call[O any](ctx context.Context, c *Client, name string, input any) (*O, error) {
	answer, err := c.send(ctx, name, input)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	return decode[O](c, name, answer.Body)
}

// decode reads an answer.
func decode[O any](c *Client, name string, answer io.Reader) (*O, error) {
	out := new(O)
	if err := json.NewDecoder(io.LimitReader(answer, maxAnswer)).Decode(out); err != nil {
		return nil, fmt.Errorf("%s: the answer of %s cannot be read: %w", name, c.socket, err)
	}
	return out, nil
}

// Status asks how the daemon is.
func (c *Client) Status(ctx context.Context) (*api.Status, error) {
	return call[api.Status](ctx, c, api.OpStatus, api.None{})
}

// Reload has configuration, policy, directory and lists read again.
func (c *Client) Reload(ctx context.Context) (*api.Reloaded, error) {
	return call[api.Reloaded](ctx, c, api.OpReload, api.None{})
}

// Config asks for the configuration in force.
func (c *Client) Config(ctx context.Context) (*api.Config, error) {
	return call[api.Config](ctx, c, api.OpConfig, api.None{})
}

// Policy asks for the rules in force.
func (c *Client) Policy(ctx context.Context) (*api.Policy, error) {
	return call[api.Policy](ctx, c, api.OpPolicy, api.None{})
}

// Lists asks for the lists in force.
func (c *Client) Lists(ctx context.Context) (*api.Lists, error) {
	return call[api.Lists](ctx, c, api.OpLists, api.None{})
}

// ListTest asks what the lists in force know of a value.
func (c *Client) ListTest(ctx context.Context, t api.ListTest) (*api.ListTested, error) {
	return call[api.ListTested](ctx, c, api.OpListTest, t)
}

// Items lists messages in quarantine.
func (c *Client) Items(ctx context.Context, q api.ItemQuery) (*api.ItemPage, error) {
	return call[api.ItemPage](ctx, c, api.OpItems, q)
}

// Item gives one message in quarantine.
func (c *Client) Item(ctx context.Context, id string) (*api.Item, error) {
	return call[api.Item](ctx, c, api.OpItem, api.ItemID{ID: id})
}

// Preview shows a message in quarantine.
func (c *Client) Preview(ctx context.Context, id string) (*api.Preview, error) {
	return call[api.Preview](ctx, c, api.OpPreview, api.ItemID{ID: id})
}

// Release has held copies delivered after all.
func (c *Client) Release(ctx context.Context, r api.Release) (*api.Released, error) {
	return call[api.Released](ctx, c, api.OpRelease, r)
}

// Delete takes an item's message away for good.
func (c *Client) Delete(ctx context.Context, d api.Delete) (*api.Item, error) {
	return call[api.Item](ctx, c, api.OpDelete, d)
}

// Journal finds messages that were let through.
func (c *Client) Journal(ctx context.Context, q api.JournalQuery) (*api.JournalPage, error) {
	return call[api.JournalPage](ctx, c, api.OpJournal, q)
}

// JournalEntry gives all that is remembered of a message that was let through.
func (c *Client) JournalEntry(ctx context.Context, id string) (*api.JournalEntry, error) {
	return call[api.JournalEntry](ctx, c, api.OpJournalGet, api.JournalID{ID: id})
}

// Events gives events of the ledger.
func (c *Client) Events(ctx context.Context, q api.EventQuery) (*api.EventPage, error) {
	return call[api.EventPage](ctx, c, api.OpEvents, q)
}

// Head names the ledger's last record.
func (c *Client) Head(ctx context.Context) (*api.Head, error) {
	return call[api.Head](ctx, c, api.OpHead, api.None{})
}

// Verify has the whole ledger checked.
func (c *Client) Verify(ctx context.Context, v api.Verify) (*api.Verified, error) {
	return call[api.Verified](ctx, c, api.OpVerify, v)
}

// headerDigest carries the SHA-256 of a message that is sent.
const headerDigest = "Weir-SHA256"

// Message writes a held message's exact bytes to w. Without an error they are
// complete, and their digest is the one that the quarantine knows.
func (c *Client) Message(ctx context.Context, id string, w io.Writer) error {
	digest := sha256.New()
	header, err := c.stream(ctx, api.OpMessage, api.ItemID{ID: id}, io.MultiWriter(w, digest))
	if err != nil {
		return err
	}
	return compare(digest, header.Get(headerDigest))
}

func compare(digest hash.Hash, want string) error {
	if got := hex.EncodeToString(digest.Sum(nil)); got != want {
		return fmt.Errorf("what came has the SHA-256 %s, and the quarantine has %s", got, want)
	}
	return nil
}

// Backup writes everything that the daemon must not lose to w, as a tar archive.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	_, err := c.stream(ctx, api.OpBackup, api.None{}, w)
	return err
}

func (c *Client) stream(ctx context.Context, name string, input any, w io.Writer) (http.Header, error) {
	answer, err := c.send(ctx, name, input)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(w, answer.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: the daemon broke off in the middle, and what was written is not complete; its log says why", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return answer.Header, nil
}
