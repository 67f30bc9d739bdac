package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// dialWait is how long connecting may take.
const dialWait = 5 * time.Second

// keptOpen is how long a connection stays open for the next request, less than
// the daemon keeps it.
const keptOpen = 45 * time.Second

// newClient makes a client for an address; with TLS settings it is one of another
// host. It does not connect yet.
func newClient(address, network string, t *tls.Config) *Client {
	c := &Client{socket: address, operations: map[string]api.Operation{}}
	for _, o := range api.Operations() {
		c.operations[o.Name] = o
	}
	dialer := net.Dialer{Timeout: dialWait}
	dial := func(ctx context.Context) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil && ctx.Err() == nil {
			err = &UnreachableError{Socket: address, Remote: t != nil, Err: err}
		}
		if err != nil || t == nil {
			return conn, err
		}
		secure := tls.Client(conn, t)
		ctx, cancel := context.WithTimeout(ctx, dialWait)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, &UnreachableError{Socket: address, Remote: t != nil, Err: err}
		}
		return secure, nil
	}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxIdleConnsPerHost: jobConns, MaxConnsPerHost: jobConns, IdleConnTimeout: keptOpen,
	}}
	return c
}
