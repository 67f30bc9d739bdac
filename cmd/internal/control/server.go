package control

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/list/edit"
	"github.com/weirmail/weir/intel/store"
)

// Options says what a Server works with. All functions are required; each may
// be called by many goroutines at once.
type Options struct {
	// Stores gives what is open, nil while nothing is.
	Stores func() *Stores
	// Status says how the daemon is. The server fills in Lists, LedgerHead and
	// Caller.
	Status func() api.Status
	// Reload reads everything again and records who asked for it.
	Reload func(ctx context.Context, actor string) (Reloaded, error)
	// Lists gives what the list files came to when they were last read, and when.
	Lists func() (store.ListReport, time.Time)
	// Config gives the configuration in force as TOML.
	Config func() string
	// Verify checks the whole ledger. An error that is a *ledger.Offence, or
	// satisfies wal.ErrDamaged, says that it is not in order.
	Verify func(ctx context.Context, head *ledger.Head) (ledger.Report, error)
	// Backup writes a tar archive.
	Backup func(ctx context.Context, w io.Writer) error
	// Limits gives what depends on the configuration in force. Nil: the defaults.
	Limits func() Limits

	Access  Access
	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Limits is what the operations take from the configuration.
type Limits struct {
	MessageSize  int64         // bytes of the largest message; 0: 128 MiB
	LookBack     time.Duration // how far back incidents look that say nothing else; 0: 30 days
	ListsDir     string        // where list files stand; empty: operators cannot write lists here
	SecondPerson bool          // nobody allows alone what he wants allowed
	Own          list.Own      // of this site: an entry that blocks some of it has to be asked for twice
}

// Reloaded says what a reload found.
type Reloaded struct {
	Applied  []string         // configuration keys that changed and hold now
	Restart  []string         // keys that changed and hold after a restart
	Config   error            // why configuration, policy or directory was refused
	Lists    store.ListReport // what became of each list file
	ListsErr error            // why no list could be looked at
}

func (o *Options) validate() error {
	if o.Stores == nil || o.Status == nil || o.Reload == nil || o.Lists == nil || o.Config == nil || o.Verify == nil || o.Backup == nil {
		return errors.New("control: an option is missing")
	}
	if o.Limits == nil {
		o.Limits = func() Limits { return Limits{} }
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

// limits gives the limits in force.
func (s *Server) limits() Limits {
	l := s.o.Limits()
	if l.MessageSize == 0 {
		l.MessageSize = 128 << 20
	}
	if l.LookBack == 0 {
		l.LookBack = 30 * 24 * time.Hour
	}
	return l
}

// Server serves the control socket.
type Server struct {
	o          Options
	log        *zap.Logger
	operations []api.Operation
	forPullers []api.Operation // of them
	handlers   map[string]handler
	access     atomic.Pointer[Access]
	requests   *prometheus.CounterVec
	http       *http.Server

	verifying, backingUp sync.Mutex // held while one is under way
	editor               edit.Editor
	uploads              *gate // bytes of messages that are being handed over

	ending context.Context // ends when no more requests are taken
	end    context.CancelFunc
}

// Times and bounds of the HTTP server.
const (
	headerWait = 10 * time.Second
	bodyWait   = 10 * time.Second
	idleWait   = time.Minute
	writeWait  = 30 * time.Second // for one piece of an answer to be taken
	maxHeader  = 16 << 10
)

// New checks the options.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{o: o, log: o.Logger, operations: api.Operations(), uploads: newGate(maxUploads)}
	s.ending, s.end = context.WithCancel(context.Background())
	for _, op := range s.operations {
		if op.Role == api.Puller {
			s.forPullers = append(s.forPullers, op)
		}
	}
	s.handlers = s.handle()
	for _, op := range s.operations {
		if s.handlers[op.Name] == nil {
			return nil, fmt.Errorf("control: nothing serves %s", op.Name)
		}
	}
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_control_requests_total",
		Help: "Requests on the control socket by operation and outcome."}, []string{"operation", "code"})
	if o.Metrics != nil {
		if err := o.Metrics.Register(s.requests); err != nil {
			return nil, fmt.Errorf("control: %w", err)
		}
	}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, MaxHeaderBytes: maxHeader, ErrorLog: zap.NewStdLog(s.log),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	s.http.RegisterOnShutdown(s.end) // who waits for work holds nobody up
	s.SetAccess(o.Access)
	return s, nil
}

type connKey struct{}

// SetAccess makes other roles hold from the next request on.
func (s *Server) SetAccess(a Access) {
	if names := a.unknown(); len(names) > 0 {
		s.log.Warn("the configuration gives a role to somebody who does not exist", zap.Strings("principals", names))
	}
	s.access.Store(&a)
}

// Serve answers on a listener of unix sockets until Shutdown, after which it
// gives http.ErrServerClosed.
func (s *Server) Serve(ln net.Listener) error { return s.http.Serve(newListener(ln, s.log)) }

// Shutdown takes no more requests and waits for those under way until the
// context ends; then it cuts them.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.end()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

// call is one request on its way.
type call struct {
	op     api.Operation
	caller api.Caller
	params map[string]string
	body   []byte

	w       http.ResponseWriter
	r       *http.Request
	started bool // of an answer that is no JSON document, something was sent
}

// handler answers one operation. What it returns is the JSON document; nil when
// it has written the answer itself.
type handler func(ctx context.Context, c *call) (any, error)

// ServeHTTP answers one request of a connection that Serve accepted.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &call{w: w, r: r}
	answer, err := s.answer(c)
	code := "ok"
	var told *api.Error
	if err != nil {
		told = errorOf(err)
		code = string(told.Code)
	}
	s.requests.WithLabelValues(c.op.Name, code).Inc()
	s.report(c, told, time.Since(began))
	switch {
	case told == nil && answer == nil: // written already
	case told == nil:
		s.write(w, http.StatusOK, answer)
	case c.started:
		// Half of it is out: only breaking off tells the other side.
		panic(http.ErrAbortHandler)
	default:
		s.write(w, told.Code.Info().Status, told)
	}
}

// answer finds who asks for what and has it done.
func (s *Server) answer(c *call) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, s.panicked(c, p)
		}
	}()
	remote, err := s.identify(c)
	if err != nil {
		return nil, err
	}
	if err := s.find(c, remote); err != nil {
		return nil, err
	}
	if !c.caller.May(c.op.Role) {
		return nil, refusal(&c.caller, &c.op)
	}
	if c.op.Takes != "" {
		return s.handlers[c.op.Name](c.r.Context(), c) // who takes it reads it
	}
	if err := c.readBody(); err != nil {
		return nil, err
	}
	return s.handlers[c.op.Name](c.r.Context(), c)
}

// panicked logs what was recovered from, and gives what the caller is told of it.
func (s *Server) panicked(c *call, p any) error {
	s.log.Error("an operation panicked", zap.String("operation", c.op.Name), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	return api.Errorf(api.Failed, "%s failed inside the daemon; its log says where", c.op.Name)
}

// identify says who asks, and whether from another host.
func (s *Server) identify(c *call) (remote bool, err error) {
	switch known := c.r.Context().Value(connKey{}).(type) {
	case *conn:
		c.caller = known.callerBy(s.access.Load())
		return false, nil
	case *tls.Conn:
		name, err := holderOf(known)
		if err != nil {
			return true, err
		}
		c.caller = s.access.Load().holder(name)
		return true, nil
	}
	return false, api.Errorf(api.Forbidden, "%v", errNoCredentials)
}

// find finds the operation. Other hosts are offered the work in mailboxes alone.
func (s *Server) find(c *call, remote bool) error {
	offered := s.operations
	if remote {
		offered = s.forPullers
	}
	op, params, allow, err := api.Match(offered, c.r.Method, c.r.URL.EscapedPath())
	if len(allow) > 0 {
		c.w.Header().Set("Allow", strings.Join(allow, ", "))
	}
	c.op, c.params = op, params
	return err
}

// readBody reads what there is of a body, which the daemon waits for only so long.
func (c *call) readBody() error {
	deadlines := http.NewResponseController(c.w)
	_ = deadlines.SetReadDeadline(time.Now().Add(bodyWait)) // a connection that has none has no body to wait for
	defer func() { _ = deadlines.SetReadDeadline(time.Time{}) }()
	var err error
	most := cmp.Or(c.op.MaxBody, api.MaxBody)
	c.body, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return api.Errorf(api.BadRequest, "the body has more than %d bytes", most)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return api.Errorf(api.BadRequest, "the body did not come within %s", bodyWait)
	case err != nil:
		return api.Errorf(api.BadRequest, "the body cannot be read: %v", err)
	case len(c.body) == 0:
		return nil
	}
	if media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return &api.Error{Code: api.BadRequest, Text: "the body is not declared as JSON", Cure: "send Content-Type: application/json"}
	}
	return nil
}

// on makes a handler of a function over an operation's input.
func on[I any](f func(ctx context.Context, c *call, in *I) (any, error)) handler {
	return func(ctx context.Context, c *call) (any, error) {
		in := new(I)
		if err := c.op.Decode(c.params, c.r.URL.RawQuery, c.body, in); err != nil {
			return nil, err
		}
		return f(ctx, c, in)
	}
}

// over makes a handler of a function over an operation's input and the stores.
func over[I any](s *Server, f func(ctx context.Context, c *call, st *Stores, in *I) (any, error)) handler {
	return on(func(ctx context.Context, c *call, in *I) (any, error) {
		st := s.o.Stores()
		if st == nil {
			return nil, &api.Error{Code: api.Unavailable, Text: "the daemon's stores are not open", Cure: "try again in a moment; weir status says what it waits for"}
		}
		return f(ctx, c, st, in)
	})
}

// desk makes a handler of a function over an operation's input and the stores,
// of which incidents are there.
func desk[I any](s *Server, f func(ctx context.Context, c *call, st *Stores, in *I) (any, error)) handler {
	return keeping(s, "incidents", func(st *Stores) bool { return st.Incidents != nil }, f)
}

// overFeeds is desk for feeds.
func overFeeds[I any](s *Server, f func(ctx context.Context, c *call, st *Stores, in *I) (any, error)) handler {
	return keeping(s, "feeds", func(st *Stores) bool { return st.Feeds != nil }, f)
}

// overContained is desk for containments.
func overContained[I any](s *Server, f func(ctx context.Context, c *call, st *Stores, in *I) (any, error)) handler {
	return keeping(s, "containments", func(st *Stores) bool { return st.Contained != nil }, f)
}

// keeping is over for what a daemon need not keep.
func keeping[I any](s *Server, what string, there func(*Stores) bool, f func(ctx context.Context, c *call, st *Stores, in *I) (any, error)) handler {
	return over(s, func(ctx context.Context, c *call, st *Stores, in *I) (any, error) {
		if !there(st) {
			return nil, &api.Error{Code: api.Unavailable, Text: "this daemon keeps no " + what, Cure: "weir status says what it waits for"}
		}
		return f(ctx, c, st, in)
	})
}

// handle says who serves what.
func (s *Server) handle() map[string]handler {
	return map[string]handler{
		api.OpStatus:      on(s.status),
		api.OpReload:      on(s.reload),
		api.OpConfig:      on(s.config),
		api.OpPolicy:      over(s, s.policy),
		api.OpLists:       over(s, s.lists),
		api.OpListTest:    over(s, s.listTest),
		api.OpFeeds:       overFeeds(s, s.feeds),
		api.OpFeedRefresh: overFeeds(s, s.refreshFeed),
		api.OpFeedApprove: overFeeds(s, s.approveFeed),
		api.OpShared:      keeping(s, "indicators for peers (share.listen is empty)", func(st *Stores) bool { return st.Share != nil }, s.shared),
		api.OpWithheld:    keeping(s, "indicators for peers (share.listen is empty)", func(st *Stores) bool { return st.Share != nil }, s.withheld),
		api.OpItems:       over(s, s.items),
		api.OpItem:        over(s, s.item),
		api.OpPreview:     over(s, s.preview),
		api.OpMessage:     over(s, s.message),
		api.OpRelease:     over(s, s.release),
		api.OpDelete:      over(s, s.delete),
		api.OpJournal:     over(s, s.journal),
		api.OpJournalGet:  over(s, s.journalGet),
		api.OpEvents:      over(s, s.events),
		api.OpHead:        over(s, s.head),
		api.OpVerify:      over(s, s.verify),
		api.OpBackup:      over(s, s.backup),
		api.OpDocument:    on(func(context.Context, *call, *api.None) (any, error) { return api.Document(document), nil }),

		api.OpContain:       overContained(s, s.contain),
		api.OpContained:     overContained(s, s.containments),
		api.OpContainLift:   overContained(s, s.liftContainment),
		api.OpContainExport: overContained(s, s.exportContained),

		api.OpIncidentOpen:       desk(s, s.openIncident),
		api.OpIncidents:          desk(s, s.incidents),
		api.OpIncident:           desk(s, s.incident),
		api.OpIncidentDeliveries: desk(s, s.incidentDeliveries),
		api.OpIncidentTimeline:   desk(s, s.incidentTimeline),
		api.OpIncidentApprove:    desk(s, s.approve),
		api.OpIncidentNote:       desk(s, s.note),
		api.OpIncidentAssign:     desk(s, s.assign),
		api.OpIncidentClose:      desk(s, s.closeIncident),
		api.OpIncidentRestore:    desk(s, s.restore),

		api.OpUnblockPlan: over(s, s.unblockPlan),
		api.OpUnblock:     over(s, s.unblock),

		api.OpIntelAdd:     over(s, s.intelAdd),
		api.OpIntelRemove:  over(s, s.intelRemove),
		api.OpIntelShow:    over(s, s.intelShow),
		api.OpIntelSearch:  over(s, s.intelSearch),
		api.OpIntelExport:  over(s, s.intelExport),
		api.OpIntelHistory: over(s, s.intelHistory),
		api.OpListUnused:   over(s, s.listUnused),

		api.OpUnblockAsk:      asking(s, s.askUnblock),
		api.OpUnblockRequests: asking(s, s.unblockRequests),
		api.OpUnblockCase:     asking(s, s.unblockCase),
		api.OpUnblockApprove:  asking(s, s.approveUnblock),
		api.OpUnblockRefuse:   asking(s, s.refuseUnblock),

		api.OpJobLease:   desk(s, s.leaseJobs),
		api.OpJobRenew:   desk(s, s.renewJobs),
		api.OpJobKeep:    desk(s, s.keepCopies),
		api.OpJobContent: desk(s, s.jobContent),
		api.OpJobReport:  desk(s, s.reportJobs),
	}
}
