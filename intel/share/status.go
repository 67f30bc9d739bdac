package share

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel"
)

// Status says how much is shared, and with whom.
type Status struct {
	Published int            // indicators that peers are told to count
	Revoked   int            // that they were told to count no more
	Withheld  map[string]int // that something speaks for, and that are not published, by why
	Peers     []Peer         // that have asked since the start, by name
}

// Peer is who reads the collection.
type Peer struct {
	Name     string // of the token, or the certificate's common name with "cert:" before it
	Last     time.Time
	Requests int
}

// maxPeers bounds those that are remembered: any number of certificates may be signed.
const maxPeers = 1000

// Withheld is something that is confirmed, or listed for peers, and not published.
type Withheld struct {
	Pattern intel.Pattern
	Why     string   // as in Status.Withheld
	Grounds []string // incidents and lists that speak for it
}

// maxWithheld bounds those that are remembered; all of them are counted.
const maxWithheld = 10_000

// Withheld gives what the last pass held back, by name of its pattern: at most so many
// of those behind the named one, if it is not "". more says that there are others
// behind them. Of very many the first 10,000 are known.
func (s *Share) Withheld(after string, limit int) (found []Withheld, more bool) {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	// What a pass has left is never written again.
	from, _ := slices.BinarySearchFunc(held, after, func(w Withheld, name string) int {
		if w.Pattern.Name() <= name {
			return -1
		}
		return 1
	})
	if held = held[from:]; len(held) > limit {
		held, more = held[:limit], true
	}
	return held, more
}

// Status gives how it stands.
func (s *Share) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.status
	told.Withheld, told.Peers = maps.Clone(told.Withheld), slices.Clone(told.Peers)
	return told
}

// met takes note of a peer's request.
func (s *Share) met(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, known := slices.BinarySearchFunc(s.status.Peers, name, func(p Peer, name string) int { return cmp.Compare(p.Name, name) })
	if !known {
		if len(s.status.Peers) == maxPeers {
			return
		}
		s.status.Peers = slices.Insert(s.status.Peers, i, Peer{Name: name})
	}
	s.status.Peers[i].Last = s.o.Identity.Now().UTC()
	s.status.Peers[i].Requests++
}

type metrics struct {
	requests *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, s *Share) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_share_requests_total", Help: "Requests of peers to the TAXII server, by the status of the answer.",
	}, []string{"status"})}
	if r == nil {
		return m, nil
	}
	published := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_share_published", Help: "Indicators that are published to peers.",
	}, func() float64 { return float64(s.Status().Published) })
	withheld := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_share_withheld", Help: "Indicators that are confirmed or listed for peers, and held back.",
	}, func() float64 {
		n := 0
		for _, k := range s.Status().Withheld {
			n += k
		}
		return float64(n)
	})
	for _, c := range []prometheus.Collector{m.requests, published, withheld} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
