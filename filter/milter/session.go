package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	gomilter "github.com/emersion/go-milter"
	"go.uber.org/zap"
)

// session is what one connection of the MTA has told so far. It takes every
// packet but the negotiation and answers it (reply).
type session struct {
	gomilter.NoOpMilter // the library has nothing to call back for

	server  *Server
	conn    *conn
	log     *zap.Logger
	agreed  terms
	waiting bool // for a place among MaxSessions; no message is taken meanwhile

	peer   peer
	helo   string
	macros macros

	mail   *transaction         // nil between messages
	broken error                // a panic between messages: the next one cannot be judged
	worker *worker              // the goroutine that serves it
	work   atomic.Pointer[work] // the message that is with the handler; nil while none is
	ctx    context.Context      // of the messages, one after the other; nil before the first, and after one that had no answer
	cancel context.CancelCauseFunc
	line   []byte // a header field being put together
}

var errNoMail = errors.New("the MTA ended a message that it had not begun")

// open says whether a message is on its way in.
func (s *session) open() bool { return s.mail != nil }

// patience is how long to wait for the next packet, or the rest of one.
func (s *session) patience(partial bool) time.Duration {
	o := &s.server.opts
	switch {
	case partial || s.mail != nil && s.mail.content:
		return o.ReadTimeout
	case s.mail != nil:
		return o.TransactionTimeout
	}
	return o.IdleTimeout
}

// take notes what a packet says. An error ends the session.
func (s *session) take(code gomilter.Code, data []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.spoil(panicked(v))
		}
	}()
	switch code {
	case gomilter.CodeMacro:
		if s.mail != nil && len(data) > 0 && gomilter.Code(data[0]) == gomilter.CodeMail {
			s.drop() // Sendmail tells of a RSET only by the next MAIL
		}
		s.macros.set(data)
	case gomilter.CodeConn:
		s.restart(stageHelo) // this connection's macros have come already
		s.peer, err = parseConnect(data)
	case gomilter.CodeHelo:
		s.drop()
		helo, _ := cutNUL(data)
		s.helo = string(helo)
	case gomilter.CodeMail:
		s.begin(data)
	case gomilter.CodeRcpt:
		s.recipient(data)
	case gomilter.CodeHeader:
		err = s.header(data)
	case gomilter.CodeEOH:
		s.endHeader()
	case gomilter.CodeBody, gomilter.CodeEOB:
		s.chunk(data)
	case gomilter.CodeAbort:
		s.drop()
		s.clear()
	case gomilter.CodeQuitNewConn:
		s.restart(stageConnect)
	case gomilter.CodeData, codeUnknown, gomilter.CodeQuit:
	default:
		err = fmt.Errorf("%w: an unknown command %q", errProtocol, byte(code))
	}
	return err
}

// restart forgets the SMTP client, and the macros from a stage on.
func (s *session) restart(stage int) {
	s.drop()
	s.peer, s.helo = peer{}, ""
	s.macros.forget(stage)
}

// begin starts a message.
func (s *session) begin(data []byte) {
	s.drop()
	s.mail = newTransaction(parsePath(data), s.broken)
	s.broken = nil
}

// recipient adds one that the MTA accepted. One that it refused is never shown,
// since we don't ask for those (SMFIP_RCPT_REJ).
func (s *session) recipient(data []byte) {
	if s.mail != nil {
		s.mail.recipient(data, s.server.opts.MaxRecipients)
	}
}

// header adds a field: its name and its value, each ended by NUL.
func (s *session) header(data []byte) error {
	name, rest := cutNUL(data)
	if len(name) == len(data) {
		return fmt.Errorf("%w: a header field without value", errProtocol)
	}
	if s.mail == nil {
		return nil
	}
	value, _ := cutNUL(rest)
	spaced := s.agreed.protocol&gomilter.OptHeaderLeadingSpace != 0
	s.line = appendField(s.line[:0], name, value, spaced)
	s.mail.content = true
	s.store(s.line)
	return nil
}

// endHeader adds the blank line.
func (s *session) endHeader() {
	if s.mail != nil && !s.mail.body {
		s.mail.content, s.mail.body = true, true
		s.store(crlf)
	}
}

// chunk adds a piece of the body. The command that ends the message may carry
// the last one.
func (s *session) chunk(data []byte) {
	s.endHeader()
	if s.mail != nil && len(data) > 0 {
		s.store(data)
	}
}

// store keeps a piece of the message.
func (s *session) store(p []byte) {
	s.mail.store(p, s.server.opts.Scratch, s.server.opts.MaxMessageBytes)
}

// drop forgets the message that was on its way in.
func (s *session) drop() {
	if s.mail != nil {
		s.server.metrics.aborted.Inc()
		s.mail.release()
		s.clear()
	}
}

// clear makes room for the next message.
func (s *session) clear() {
	s.mail = nil
	s.macros.forget(stageMail)
	if cap(s.line) > smallBuffer {
		s.line = nil
	}
}

// end takes the message out of the session, complete; nil where there is none.
func (s *session) end() *transaction {
	t := s.mail
	if t == nil {
		return nil
	}
	e := t.Envelope
	e.Time = s.server.opts.Now()
	e.Client = s.peer.client
	e.Helo = s.helo
	e.QueueID = s.macros.get(macroQueueID)
	e.AuthUser = s.macros.get(macroAuthUser)
	e.AuthMech = s.macros.get(macroAuthMech)
	e.TLS = s.macros.get(macroTLS)
	e.Daemon = s.macros.get(macroDaemon)
	e.Local = s.peer.local(s.macros.get(macroDaemonPort))
	s.clear()
	return t
}

// spoil makes the message at hand, or else the next one, one that cannot be
// judged.
func (s *session) spoil(err error) {
	s.server.metrics.failed(kindPanic)
	s.log.Error("panic in a milter session", zap.Error(err), stack(err), s.queueID())
	if s.mail == nil {
		s.broken = err
		return
	}
	s.mail.failed = err
}

// panicError is a panic with the stack it came from.
type panicError struct {
	value any
	stack []byte
}

func panicked(v any) error { return &panicError{v, debug.Stack()} }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// stack is the log field with the stack of a panic; nothing for other errors.
func stack(err error) zap.Field {
	if p, ok := errors.AsType[*panicError](err); ok {
		return zap.ByteString("stack", p.stack)
	}
	return zap.Skip()
}

// queueID is the log field that says which message it is about.
func (s *session) queueID() zap.Field {
	return zap.String("queue_id", s.macros.get(macroQueueID))
}

// ended logs why the connection ends, and counts it when it should not have.
func (s *session) ended(err error) {
	log := s.log.With(zap.Error(err), zap.Stringer("client", s.peer.client.Addr), zap.Bool("mid_message", s.open()), s.queueID())
	switch {
	case errors.Is(err, errProtocol):
		s.server.metrics.failed(kindProtocol)
		log.Error("milter session cut")
	case errors.Is(err, errDrained), errors.Is(err, net.ErrClosed):
		log.Debug("milter session closed for shutdown")
	case errors.Is(err, errIdle), errors.Is(err, os.ErrDeadlineExceeded):
		s.server.metrics.failed(kindTimeout)
		log.Warn("milter session cut")
	case errors.Is(err, io.EOF):
		// Postfix and Sendmail hang up so when their client does.
		log.Debug("milter session ended without goodbye")
	default:
		s.server.metrics.failed(kindConnection)
		log.Warn("milter session broken")
	}
}

// close is the session's end.
func (s *session) close() {
	s.drop()
	if s.ctx != nil {
		s.cancel(nil)
	}
}
