package milter

import (
	"errors"
	"fmt"
	"time"

	gomilter "github.com/emersion/go-milter"
	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// reply answers a command that was taken; nil where the MTA waits for nothing.
func (s *session) reply(code gomilter.Code) gomilter.Response {
	switch {
	case code == gomilter.CodeEOB:
		return s.answer()
	case code == gomilter.CodeMail && s.waiting && !s.server.admit(s.conn):
		s.server.metrics.refused.Inc()
		s.clear()
		return response(4, verdict.Reply{Code: 451, Enhanced: "4.3.2", Text: "Too many sessions, try again later"})
	case s.agreed.silent(code):
		return nil
	}
	return gomilter.RespContinue
}

// answer answers the end of the message: it has the message judged and tells the
// MTA.
func (s *session) answer() (resp gomilter.Response) {
	t := s.end()
	if t == nil {
		return s.fail(errNoMail, "")
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
		return s.fail(err, queueID)
	}
	resp, err = s.tell(env, &answer)
	if err != nil {
		return s.fail(err, queueID)
	}
	s.server.metrics.answered(answer.Action)
	return resp
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
