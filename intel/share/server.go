package share

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Bounds on what a peer can make the server do.
const (
	maxHeader   = 16 << 10 // bytes, of a request's first line too
	maxAtOnce   = 16       // requests that are answered at the same time
	headerWait  = 10 * time.Second
	requestWait = 15 * time.Second // for all of a request
	answerWait  = 60 * time.Second // for a peer to take an answer
	idleWait    = 2 * time.Minute  // between two requests
)

// media is the media type of TAXII 2.1 (section 1.6.8), and mediaSTIX that of objects.
const (
	media     = "application/taxii+json;version=2.1"
	mediaType = "application/taxii+json"
	mediaSTIX = "application/stix+json;version=2.1"
)

// Token lets a peer in.
type Token struct {
	Name   string // of the peer
	Secret string
}

// ServerOptions says what a Server serves. Share and Title are needed.
type ServerOptions struct {
	// Share gives what is published, nil while it is not open.
	Share  func() *Share
	Title  string
	Logger *zap.Logger
}

// Server answers peers. It is the handler of an HTTP server of its own, see HTTP.
type Server struct {
	o      ServerOptions
	access atomic.Pointer[access]
	slots  chan struct{}
	denied atomic.Int64 // when it was last logged that somebody was, in seconds
}

// access says who is let in.
type access struct {
	names  []string
	sums   [][sha256.Size]byte
	titles string
}

// NewServer makes a Server that lets nobody in by a token until SetTokens.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Share == nil || o.Title == "" {
		return nil, errors.New("share: an option of the server is missing")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	s := &Server{o: o, slots: make(chan struct{}, maxAtOnce)}
	s.access.Store(&access{titles: o.Title})
	return s, nil
}

// SetTokens makes other tokens, and another title, hold from now on.
func (s *Server) SetTokens(title string, tokens []Token) {
	a := &access{titles: title}
	for _, t := range tokens {
		a.names = append(a.names, t.Name)
		a.sums = append(a.sums, sha256.Sum256([]byte(t.Secret)))
	}
	s.access.Store(a)
}

// HTTP gives an HTTP server with limits and deadlines that answers peers.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler: s, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerWait, ReadTimeout: requestWait, WriteTimeout: answerWait, IdleTimeout: idleWait,
		ErrorLog: log.New(io.Discard, "", 0), // strangers' broken handshakes are not worth a line
	}
}

// problem is an answer that is no resource.
type problem struct {
	status int
	title  string
	more   string
}

// Error implements error.
func (p *problem) Error() string { return p.title }

func fail(status int, title, more string) *problem { return &problem{status, title, more} }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		s.answer(w, nil, nil, fail(http.StatusServiceUnavailable, "Too many requests at once", "try again in a second"))
		return
	}
	share := s.o.Share()
	if share == nil {
		w.Header().Set("Retry-After", "5")
		s.answer(w, nil, nil, fail(http.StatusServiceUnavailable, "Not ready", "the stores are not open yet"))
		return
	}
	peer, err := s.peer(r)
	if err != nil {
		w.Header().Add("WWW-Authenticate", `Basic realm="weir", charset="UTF-8"`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="weir"`)
		s.deny(r, share.o.Identity.Now().Unix())
		s.answer(w, share, nil, err)
		return
	}
	share.met(peer)
	resource, err := s.resource(share, w.Header(), r)
	s.answer(w, share, resource, err)
}

// deny logs that somebody was denied, once a minute: strangers can ask as often as
// they like.
func (s *Server) deny(r *http.Request, now int64) {
	if last := s.denied.Load(); now-last >= 60 && s.denied.CompareAndSwap(last, now) {
		s.o.Logger.Warn("somebody who is no peer asked for what is shared; others within the next minute are not logged", zap.String("address", r.RemoteAddr))
	}
}

// peer tells who asks.
func (s *Server) peer(r *http.Request) (string, error) {
	denied := fail(http.StatusUnauthorized, "Unauthorized", "show a token, as Bearer or as the password of Basic, or a certificate")
	if r.Header.Get("Authorization") == "" {
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			return "cert:" + legible(r.TLS.VerifiedChains[0][0].Subject.CommonName), nil
		}
		return "", denied
	}
	a := s.access.Load()
	user, secret, basic := r.BasicAuth()
	if !basic {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", denied
		}
		secret = strings.TrimSpace(token)
	}
	sum, found := sha256.Sum256([]byte(secret)), -1
	for i := range a.sums {
		// All of them are compared, so that the time tells nothing.
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], a.sums[i][:]), i, found)
	}
	if found < 0 || secret == "" || basic && user != a.names[found] {
		return "", denied
	}
	return a.names[found], nil
}

// legible gives a name of a stranger's making for logs and listings.
func legible(name string) string {
	const most = 100
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), most)]
}

// answer writes a resource, or an error (TAXII 2.1 section 3.6.1).
func (s *Server) answer(w http.ResponseWriter, share *Share, resource any, err error) {
	status := http.StatusOK
	if err != nil {
		p, ok := errors.AsType[*problem](err)
		if !ok {
			s.o.Logger.Error("a peer could not be answered", zap.Error(err))
			p = fail(http.StatusInternalServerError, "Internal error", "")
		}
		status = p.status
		resource = struct {
			Title       string `json:"title"`
			Description string `json:"description,omitempty"`
			HTTPStatus  string `json:"http_status"`
		}{p.title, p.more, strconv.Itoa(status)}
	}
	body, err := json.Marshal(resource)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"title":"Internal error","http_status":"500"}`)
	}
	if share != nil {
		share.metrics.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	}
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who does not take it has gone
}

// accepts reports whether a peer takes TAXII 2.1 (sections 1.6.8 and 3.1). One that
// does not say takes anything.
func accepts(r *http.Request) bool {
	all := r.Header.Values("Accept")
	if len(all) == 0 {
		return true
	}
	for one := range strings.SplitSeq(strings.Join(all, ","), ",") {
		kind, params, err := mime.ParseMediaType(one)
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil && q <= 0 {
			continue
		}
		switch kind {
		case "*/*", "application/*":
			return true
		case mediaType:
			if v, said := params["version"]; !said || v == "2.1" {
				return true
			}
		}
	}
	return false
}
