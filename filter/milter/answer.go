package milter

import (
	"errors"
	"fmt"
	"net"
	"time"

	gomilter "github.com/emersion/go-milter"
	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// The library's callbacks. What they stand for was noted by take; they answer.

// Connect answers SMFIC_CONNECT.
func (s *session) Connect(string, string, uint16, net.IP, *gomilter.Modifier) (gomilter.Response, error) {
	return s.goOn(gomilter.CodeConn)
}

// Helo answers SMFIC_HELO.
func (s *session) Helo(string, *gomilter.Modifier) (gomilter.Response, error) {
	return s.goOn(gomilter.CodeHelo)
}

// MailFrom answers SMFIC_MAIL, in a session that waits for a place with 451
// until there is one.
func (s *session) MailFrom(string, *gomilter.Modifier) (gomilter.Response, error) {
	if s.waiting && !s.server.admit(s.conn) {
		s.server.metrics.refused.Inc()
		s.clear()
		return response(4, verdict.Reply{Code: 451, Enhanced: "4.3.2", Text: "Too many sessions, try again later"}), nil
	}
	return s.goOn(gomilter.CodeMail)
}

// RcptTo answers SMFIC_RCPT.
func (s *session) RcptTo(string, *gomilter.Modifier) (gomilter.Response, error) {
	return s.goOn(gomilter.CodeRcpt)
}

// Abort answers SMFIC_ABORT, which wants no answer.
func (s *session) Abort(*gomilter.Modifier) error { return nil }

// goOn is the answer to a command that changes nothing.
func (s *session) goOn(code gomilter.Code) (gomilter.Response, error) {
	if s.agreed.silent(code) {
		return nil, nil
	}
	return gomilter.RespContinue, nil
}

// Body answers the end of the message: it has the message judged and tells the
// MTA.
func (s *session) Body(*gomilter.Modifier) (resp gomilter.Response, _ error) {
	t := s.end()
	if t == nil {
		return s.fail(errNoMail, ""), nil
	}
	env, received := t.Envelope, time.Now()
	queueID := env.QueueID
	defer func() {
		if v := recover(); v != nil {
			resp = s.fail(panicked(v), queueID)
		}
	}()
	s.server.metrics.received(received.Sub(t.started), t.Size)
	answer, err := s.judge(t)
	s.server.metrics.judged(time.Since(received))
	if err != nil {
		return s.fail(err, queueID), nil
	}
	resp, err = s.tell(env, &answer)
	if err != nil {
		return s.fail(err, queueID), nil
	}
	s.server.metrics.answered(answer.Action)
	return resp, nil
}

// fail is the answer where there is none: the client has to try again.
func (s *session) fail(err error, queueID string) gomilter.Response {
	fields := []zap.Field{zap.String("queue_id", queueID), zap.Error(err), stack(err)}
	if errors.Is(err, errGone) || errors.Is(err, errDrained) {
		s.server.metrics.aborted.Inc()
		s.log.Warn("message not answered", fields...)
		return gomilter.RespTempFail // nobody reads it
	}
	kind := kindOf(err)
	s.server.metrics.failed(kind)
	reply := verdict.Reply{Code: 451, Enhanced: "4.3.0", Text: "The message could not be checked, try again later"}
	if kind == kindRecipients {
		reply = verdict.Reply{Code: 452, Enhanced: "4.5.3", Text: "Too many recipients"}
	}
	s.server.metrics.answered(intel.ActionTempfail)
	s.log.Error("message not judged", append(fields, zap.Int("reply", reply.Code))...)
	return response(4, reply)
}

// kindOf sorts the errors that leave a message without an answer.
func kindOf(err error) string {
	switch {
	case errors.Is(err, errTooManyRecipients):
		return kindRecipients
	case errors.Is(err, errNotOffered):
		return kindNotOffered
	case errors.Is(err, errDeadline), errors.Is(err, errStuck):
		return kindDeadline
	case errors.Is(err, errNoMail):
		return kindProtocol
	}
	if _, ok := errors.AsType[*panicError](err); ok {
		return kindPanic
	}
	return kindAnswer
}

// tell turns an answer into what the MTA has to be told: recipients and header
// fields first, then the response. Where it returns an error nothing was written.
func (s *session) tell(env *message.Envelope, a *verdict.Answer) (gomilter.Response, error) {
	switch a.Action {
	case intel.ActionAccept, intel.ActionTag:
	case intel.ActionDiscard:
		return gomilter.RespDiscard, nil
	case intel.ActionReject:
		return response(5, a.Reply), nil
	case intel.ActionTempfail:
		return response(4, a.Reply), nil
	default:
		return nil, fmt.Errorf("the answer's action %q is not one that an MTA can be told", a.Action)
	}
	changes, err := s.agreed.changes(env.To, a)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		s.conn.write(c.code, c.data)
	}
	return gomilter.RespAccept, nil
}
