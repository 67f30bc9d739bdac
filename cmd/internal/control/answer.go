package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/feed"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/notify"
	"github.com/weirmail/weir/quarantine/unblock"
)

// write sends a JSON document.
func (s *Server) write(w http.ResponseWriter, status int, answer any) {
	data, err := json.Marshal(answer)
	if err != nil { // no type of package api can do that
		s.log.Error("an answer is no JSON", zap.Error(err))
		status, data = http.StatusInternalServerError, []byte(`{"code":"failed","error":"the answer could not be written as JSON"}`)
	}
	data = append(data, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeWait))
	w.WriteHeader(status)
	_, _ = w.Write(data) // who asked has gone
}

// stream sends an answer that is no JSON document, piece by piece; its header
// goes with the first one, so that until then an error can be told.
type stream struct {
	c      *call
	header map[string]string
}

// Write implements io.Writer. Whoever takes nothing for writeWait is cut off.
func (s *stream) Write(p []byte) (int, error) {
	if !s.c.started {
		s.c.started = true
		for name, value := range s.header {
			s.c.w.Header().Set(name, value)
		}
		s.c.w.Header().Set("Content-Type", s.c.op.Stream)
		s.c.w.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(s.c.w).SetWriteDeadline(time.Now().Add(writeWait))
	return s.c.w.Write(p)
}

// brokenOff is what nobody is told any more whose request has ended before its
// answer.
const brokenOff = "the request was broken off"

// errorOf says what the caller is told of an error.
func errorOf(err error) *api.Error {
	var told *api.Error
	if errors.As(err, &told) {
		return told
	}
	e := &api.Error{Code: api.Failed, Text: err.Error()}
	var blocked *quarantine.BlockedError
	switch {
	case errors.As(err, &blocked):
		e.Code, e.Blocked = api.Blocked, &api.Hold{Rule: blocked.Rule, Reasons: reasonsOf(blocked.Reasons)}
		e.Cure = "release it with override and a reason if it may go all the same"
	case errors.Is(err, quarantine.ErrNotFound), errors.Is(err, incident.ErrNotFound), errors.Is(err, feed.ErrUnknown):
		e.Code = api.NotFound
	case errors.Is(err, quarantine.ErrRecipient), errors.Is(err, unblock.ErrNotFound):
		e.Code = api.NotFound
	case errors.Is(err, quarantine.ErrAmbiguous), errors.Is(err, incident.ErrAmbiguous), errors.Is(err, unblock.ErrAmbiguous):
		e.Code, e.Cure = api.Ambiguous, "write more of the ID"
	case errors.Is(err, quarantine.ErrGone):
		e.Code = api.Gone
	case errors.Is(err, quarantine.ErrBusy):
		e.Code, e.Cure = api.Busy, "look at the item again in a moment"
	case errors.Is(err, quarantine.ErrUncertain):
		e.Code, e.Cure = api.Uncertain, "ask the recipients, or search the MTA's log for the message; release it with again and a reason if it did not come"
	case errors.Is(err, incident.ErrLease):
		e.Code = api.LeaseLost
	case errors.Is(err, incident.ErrSecondPerson):
		e.Code, e.Cure = api.SecondPerson, "ask a colleague who is an operator too: weir incident approve"
	case errors.Is(err, unblock.ErrSecondPerson):
		e.Code, e.Cure = api.SecondPerson, "ask a colleague who is an operator too: weir intel approve"
	case errors.Is(err, unblock.ErrDecided):
		e.Code, e.Cure = api.Closed, "weir intel requests shows what became of it"
	case errors.Is(err, unblock.ErrTooMany):
		e.Code, e.Cure = api.Busy, "decide some of them first: weir intel requests"
	case errors.Is(err, notify.ErrAddress):
		e.Code, e.Cure = api.BadRequest, "write one address, as alice@example.org"
	case errors.Is(err, notify.ErrOff):
		e.Code, e.Cure = api.Refused, "or ask without notify, and weir intel requests tells what became of it"
	case errors.Is(err, incident.ErrClosed):
		e.Code, e.Cure = api.Closed, "open another one"
	case errors.Is(err, incident.ErrNothing), errors.Is(err, feed.ErrNotHeld):
		e.Code = api.Nothing
	case errors.Is(err, incident.ErrBusy):
		e.Code, e.Cure = api.Busy, "try again in a moment"
	case errors.Is(err, quarantine.ErrReason), errors.Is(err, incident.ErrReason), errors.Is(err, unblock.ErrReason), errors.Is(err, incident.ErrInvalid), errors.Is(err, ledger.ErrTooLarge), errors.Is(err, ledger.ErrInvalid), errors.Is(err, ledger.ErrCursor), errors.Is(err, store.ErrPlace):
		e.Code = api.BadRequest
	case errors.Is(err, incident.ErrTooMany): // for good, as a copy that is too large
		e.Code, e.Cure = api.TooLarge, "take the rest out of the mailbox by hand"
	case errors.Is(err, disk.ErrNoSpace):
		e.Code, e.Cure = api.NoSpace, "make room under state.dir; weir status says how much is free"
	case errors.Is(err, ledger.ErrClosed), errors.Is(err, kv.ErrClosed), errors.Is(err, wal.ErrClosed):
		e.Code = api.Unavailable
	case errors.Is(err, context.Canceled):
		e.Text = brokenOff
	}
	return e
}

// report logs a request: what changes or shows mail always, the rest for who
// looks for it.
func (s *Server) report(c *call, told *api.Error, elapsed time.Duration) {
	fields := []zap.Field{zap.String("operation", c.op.Name), zap.String("actor", c.caller.Actor), zap.String("user", c.caller.Name), zap.Duration("elapsed", elapsed)}
	for _, name := range []string{"id", "lease"} {
		if id := c.params[name]; id != "" {
			fields = append(fields, zap.String(name, id))
		}
	}
	switch {
	case told != nil && c.op.Name == api.OpJobLease && told.Text == brokenOff:
		// A sidecar that stops, or this daemon, while it waited for work.
		s.log.Debug("control request broken off", fields...)
	case told == nil && (c.op.Role <= api.Viewer || c.op.Role == api.Puller):
		s.log.Debug("control request", fields...)
	case told == nil:
		s.log.Info("control request", fields...)
	case told.Code == api.Forbidden, told.Code == api.Failed, told.Code == api.NoSpace:
		s.log.Warn("control request refused", append(fields, zap.String("code", string(told.Code)), zap.String("error", told.Text))...)
	default:
		s.log.Info("control request refused", append(fields, zap.String("code", string(told.Code)), zap.String("error", told.Text))...)
	}
}
