package milter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
)

// Handler judges messages.
type Handler interface {
	// Handle gives the answer for one message. It is called from many goroutines
	// at once, one call for each message. When ctx ends, the MTA is answered with
	// 451 or is gone, and what Handle returns after that is ignored. m and m.Raw
	// are valid until Handle returns; m.Envelope may be kept. None of it is to be
	// changed. ctx does not end with the call.
	Handle(ctx context.Context, m *Mail) verdict.Answer
}

// Mail is one message as the MTA handed it over.
type Mail struct {
	Envelope *message.Envelope
	Raw      []byte // header, blank line and body; see the package comment
	Size     int64  // of the whole message in bytes, as far as the MTA sent it

	// TooLarge says that Size is above Options.MaxMessageBytes and Raw holds the
	// first MaxMessageBytes of it.
	TooLarge bool

	// Err says why Raw is not to be relied on: room for it could not be had. Raw
	// is nil then.
	Err error
}

// Options configures a Server. Handler and Scratch are required; a zero number
// or duration takes the default.
type Options struct {
	Handler    Handler
	Scratch    message.Scratch       // a buffer for each message; asked by many goroutines at once
	Logger     *zap.Logger           // nil: no log
	Registerer prometheus.Registerer // nil: metrics are kept, but shown nowhere
	Now        func() time.Time      // nil: time.Now

	// MaxSessions is how many connections are served at once; 500. On those
	// beyond it every MAIL is answered with 451 until one of the others ends, and
	// beyond twice the number connections are closed at once.
	MaxSessions int

	// MaxMessageBytes is how much of a message is kept; 128 MiB. The Handler is
	// told when there was more.
	MaxMessageBytes int64

	// MaxRecipients is how many recipients one message may have; 10 000. One with
	// more, or whose recipients take more than 1 MiB with their arguments, is
	// answered with 452, since none of them may be forgotten.
	MaxRecipients int

	// IdleTimeout is how long the MTA may say nothing between two messages; ten
	// minutes. An MTA that comes back later finds the session gone and uses its
	// default action, so this should be more than the SMTP timeout of the MTA.
	IdleTimeout time.Duration

	// TransactionTimeout is how long the MTA may say nothing between MAIL and the
	// message's first header field; 7210 seconds, as in libmilter. The MTA keeps
	// silent while the SMTP client sends its message, which can take long.
	TransactionTimeout time.Duration

	// ReadTimeout is how long the MTA may say nothing while it sends a message's
	// content, or a packet that it has begun; ten minutes. Sendmail lets its other
	// milters work in between.
	ReadTimeout time.Duration

	// WriteTimeout is how long the MTA may take to read what it is told; 30 seconds.
	WriteTimeout time.Duration

	// AnswerTimeout is how long the Handler may take; four minutes. After that
	// the message is answered with 451. Postfix waits five minutes
	// (milter_content_timeout), Sendmail as long (T=E:5m).
	AnswerTimeout time.Duration

	// ProgressInterval is how often the MTA is told that the Handler still works;
	// five seconds. Sendmail gives up after ten without a word (T=R:10s).
	ProgressInterval time.Duration
}

// withDefaults checks o and gives it with the defaults filled in. Its error
// names everything that is wrong.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	if o.Handler == nil {
		errs = append(errs, errors.New("milter: Options.Handler is missing"))
	}
	if o.Scratch == nil {
		errs = append(errs, errors.New("milter: Options.Scratch is missing"))
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	set(&errs, "MaxSessions", &o.MaxSessions, 500)
	set(&errs, "MaxMessageBytes", &o.MaxMessageBytes, 128<<20)
	set(&errs, "MaxRecipients", &o.MaxRecipients, 10_000)
	set(&errs, "IdleTimeout", &o.IdleTimeout, 10*time.Minute)
	set(&errs, "TransactionTimeout", &o.TransactionTimeout, 7210*time.Second)
	set(&errs, "ReadTimeout", &o.ReadTimeout, 10*time.Minute)
	set(&errs, "WriteTimeout", &o.WriteTimeout, 30*time.Second)
	set(&errs, "AnswerTimeout", &o.AnswerTimeout, 4*time.Minute)
	set(&errs, "ProgressInterval", &o.ProgressInterval, 5*time.Second)
	return o, errors.Join(errs...)
}

// set gives *v its default where it is zero and reports it where it is negative.
func set[T int | int64 | time.Duration](errs *[]error, name string, v *T, byDefault T) {
	switch {
	case *v == 0:
		*v = byDefault
	case *v < 0:
		*errs = append(*errs, fmt.Errorf("milter: Options.%s is %v; it must be positive, or zero for the default %v", name, *v, byDefault))
	}
}
