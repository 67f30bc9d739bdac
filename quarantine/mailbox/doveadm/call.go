package doveadm

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"

	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
)

const (
	// path is where the API is.
	path = "/doveadm/v1"
	// maxAnswer bounds an answer, in bytes: some 50 000 messages or folders.
	maxAnswer = 4 << 20
	// maxHead bounds the header of an answer, in bytes.
	maxHead = 64 << 10
)

// errFailed says that doveadm was reached but cannot be relied on for this: IMAP
// has to be asked.
var errFailed = errors.New("doveadm could not do it")

// client gives an HTTP client that speaks to the server alone: through no proxy,
// and wherever the server may point.
func client(o Options) *http.Client {
	dialer := &net.Dialer{}
	if o.Security == imap.Plaintext {
		dialer.Control = loopbackOnly
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:        dialer.DialContext,
			TLSClientConfig:    o.TLS,
			TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1
			DisableCompression: true,
			// Dovecot closes after each answer. It must not be asked to: then it
			// doesn't answer at all to a wrong key (2.3.19).
			MaxIdleConnsPerHost:    -1,
			MaxResponseHeaderBytes: maxHead,
		},
	}
}

// loopbackOnly refuses addresses that the key and mail's names would reach over a
// network. It sees the address that a name was resolved to.
func loopbackOnly(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err == nil && net.ParseIP(host).IsLoopback() {
		return nil
	}
	return fmt.Errorf("%w: %s is no loopback address, and the key would go there in plain text: use TLS", mailbox.ErrRefused, address)
}

// hit is a message that was found.
type hit struct {
	GUID string `json:"mailbox-guid"`
	UID  number `json:"uid"`
}

func (h hit) whole() bool { return h.GUID != "" && h.UID != 0 }

// folder is one that is listed.
type folder struct {
	Mailbox string `json:"mailbox"`
	GUID    string `json:"guid"`
}

func (f folder) whole() bool { return f.GUID != "" && f.Mailbox != "" }

// row is a line of an answer.
type row interface{ whole() bool }

// search gives the messages in all folders of a user whose header field has one of
// some needles as a part.
func (b *Backend) search(ctx context.Context, user, field string, needles []string) ([]hit, error) {
	return call[hit](ctx, b, "search", map[string]any{
		"user": user, "query": slices.Concat(b.skip, anyOf(field, needles)),
	})
}

// status gives the folders of a user whose names match patterns.
func (b *Backend) status(ctx context.Context, user string, patterns ...string) ([]folder, error) {
	return call[folder](ctx, b, "mailboxStatus", map[string]any{
		"user": user, "field": []string{"guid"}, "mailboxMask": patterns,
	})
}

// call runs a command, which answers in rows.
func call[R row](ctx context.Context, b *Backend, command string, parameters map[string]any) ([]R, error) {
	answer, err := b.post(ctx, command, parameters)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	rows, err := decode[R](answer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	return rows, nil
}

// tag is what a command's answer is known by.
const tag = "weir"

// post sends a command and gives what is answered.
func (b *Backend) post(ctx context.Context, command string, parameters map[string]any) ([]byte, error) {
	key, err := b.o.Key(ctx)
	if err != nil {
		return nil, fmt.Errorf("no key: %w", err)
	}
	body, err := json.Marshal([]any{[]any{command, parameters, tag}})
	if err != nil {
		return nil, err
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	scheme := "https://"
	if b.o.Security == imap.Plaintext {
		scheme = "http://"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+b.o.Address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "X-Dovecot-API "+base64.StdEncoding.EncodeToString([]byte(key)))
	request.Header.Set("Content-Type", "application/json")
	response, err := b.http.Do(request)
	var answer []byte
	if err == nil {
		defer func() { _ = response.Body.Close() }()
		answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	}
	switch {
	case whole.Err() != nil:
		return nil, context.Cause(whole)
	case errors.Is(err, mailbox.ErrRefused):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", mailbox.ErrUnreachable, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("%w: it answers more than %d bytes", errFailed, maxAnswer)
	}
	return answer, taken(response)
}

// taken gives what a status says of a request (RFC 9110 section 15).
func taken(r *http.Response) error {
	switch {
	case r.StatusCode == http.StatusOK:
		return nil
	case r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w the key (HTTP status %d): compare it with doveadm_api_key", mailbox.ErrRefused, r.StatusCode)
	case r.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: it has no %s: is this the inet_listener http of service doveadm?", mailbox.ErrRefused, path)
	case r.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%w: HTTP status %d", mailbox.ErrUnreachable, r.StatusCode)
	}
	return fmt.Errorf("%w the request: HTTP status %d", mailbox.ErrRefused, r.StatusCode)
}

// exitNoUser is how a command ends whose user is not known (EX_NOUSER of
// sysexits.h).
const exitNoUser = 67

// failure is what is answered of a command that failed.
type failure struct {
	Type     string `json:"type"`
	ExitCode int    `json:"exitCode"`
}

// decode reads the answer to one command: [["doveadmResponse", [row, …], tag]], or
// [["error", {failure}, tag]].
func decode[R row](answer []byte) ([]R, error) {
	// Room for one more than there has to be: what lies beyond is not kept.
	var all [2]json.RawMessage
	var one [4]json.RawMessage
	if json.Unmarshal(answer, &all) != nil || all[1] != nil || json.Unmarshal(all[0], &one) != nil || one[3] != nil {
		return nil, fmt.Errorf("%w: its answer is none of its API: %.80q", mailbox.ErrUnreachable, answer)
	}
	var kind, about string
	content := one[1]
	if json.Unmarshal(one[0], &kind) != nil || json.Unmarshal(one[2], &about) != nil || about != tag {
		return nil, fmt.Errorf("%w: it answers another command: %.80q", mailbox.ErrUnreachable, answer)
	}
	switch kind {
	case "doveadmResponse":
		var rows []R
		err := json.Unmarshal(content, &rows)
		if err != nil || slices.ContainsFunc(rows, func(r R) bool { return !r.whole() }) {
			return nil, fmt.Errorf("%w: it does not tell all that it was asked: %.80q", errFailed, content)
		}
		return rows, nil
	case "error":
		var f failure
		if err := json.Unmarshal(content, &f); err != nil {
			return nil, fmt.Errorf("%w: it tells an error otherwise than its API does: %.80q", mailbox.ErrUnreachable, answer)
		}
		return nil, f.meaning()
	}
	return nil, fmt.Errorf("%w: it answers %.80q", mailbox.ErrUnreachable, kind)
}

// meaning gives what a failure means.
func (f *failure) meaning() error {
	switch {
	case f.ExitCode == exitNoUser:
		return mailbox.ErrNoMailbox
	case f.Type == "unAuthorized":
		return fmt.Errorf("%w the command: doveadm_allowed_commands has to have \"search\" and \"mailbox status\"", mailbox.ErrRefused)
	case f.Type != "exitCode":
		return fmt.Errorf("%w the command: %.40q", mailbox.ErrRefused, f.Type)
	}
	return fmt.Errorf("%w: exit code %d, and Dovecot's log says why", errFailed, f.ExitCode)
}

// number is a UID, which is told as a string of digits.
type number uint32

// UnmarshalJSON reads it.
func (n *number) UnmarshalJSON(text []byte) error {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return err
	}
	v, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || v == 0 {
		return fmt.Errorf("%.20q is no UID", digits)
	}
	*n = number(v)
	return nil
}
