// Package yardstick is go-milter as it comes: a milter that reads the whole of
// every message and accepts it. It is what benchmarks measure Weir against, since
// no milter over this library that reads mail can cost less. It judges nothing
// and belongs in no daemon.
package yardstick

import (
	"net"
	"net/textproto"

	gomilter "github.com/emersion/go-milter"
)

// Serve accepts everything that comes over ln until ln is closed. With replies
// it answers each command, as milters do that ask for nothing; without them it
// asks the MTA not to wait for any before the end of the message, which the MTA
// has to offer. The error is that of ln.
func Serve(ln net.Listener, replies bool) error {
	server := gomilter.Server{NewMilter: func() gomilter.Milter { return talkative{} }}
	if !replies {
		server = gomilter.Server{
			NewMilter: func() gomilter.Milter { return silent{} },
			Actions:   gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptRemoveRcpt,
			Protocol: gomilter.OptNoConnReply | gomilter.OptNoHeloReply | gomilter.OptNoMailReply |
				gomilter.OptNoRcptReply | gomilter.OptNoHeaderReply | gomilter.OptNoEOHReply |
				gomilter.OptNoBodyReply | gomilter.OptNoData | gomilter.OptNoUnknown,
		}
	}
	return server.Serve(ln)
}

// talkative reads header and body, which go-milter's own NoOpMilter asks the MTA
// not to send.
type talkative struct{ gomilter.NoOpMilter }

func (talkative) Header(string, string, *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespContinue, nil
}

func (talkative) Headers(textproto.MIMEHeader, *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespContinue, nil
}

func (talkative) BodyChunk([]byte, *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespContinue, nil
}

// silent does the same without replies: the library is only silent where the
// callback returns nothing at all.
type silent struct{ gomilter.NoOpMilter }

func (silent) Connect(string, string, uint16, net.IP, *gomilter.Modifier) (gomilter.Response, error) {
	return nil, nil
}

func (silent) Helo(string, *gomilter.Modifier) (gomilter.Response, error) { return nil, nil }

func (silent) MailFrom(string, *gomilter.Modifier) (gomilter.Response, error) { return nil, nil }

func (silent) RcptTo(string, *gomilter.Modifier) (gomilter.Response, error) { return nil, nil }

func (silent) Header(string, string, *gomilter.Modifier) (gomilter.Response, error) {
	return nil, nil
}

func (silent) Headers(textproto.MIMEHeader, *gomilter.Modifier) (gomilter.Response, error) {
	return nil, nil
}

func (silent) BodyChunk([]byte, *gomilter.Modifier) (gomilter.Response, error) { return nil, nil }
