package app

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/netutil"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/secret"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/share"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/quarantine/incident"
)

// maxPeerConnections bounds the connections of peers, and of strangers who would
// like to be some.
const maxPeerConnections = 256

// openShare opens what publishes what is confirmed, where that is configured.
func (a *App) openShare(cfg *config.Config, h *house, r *rules) (err error) {
	if cfg.Share.Listen == (config.Listen{}) {
		return nil
	}
	h.share, err = share.New(share.Options{
		Ledger: watchedLedger{h.ledger, a}, View: h.shared, Lists: h.matcher, Identity: h.identity, Node: h.identity.Node(),
		Settings: shareSettings(cfg, h, r), Logger: a.log.Logger, Metrics: h.metrics,
	})
	return err
}

// testify gives what an event says of what incidents rest on, for peers.
func testify(e *ledger.Event) (share.Testimony, bool, error) {
	t, ok, err := incident.TestimonyOf(e)
	if err != nil || !ok {
		return share.Testimony{}, false, err
	}
	says := map[incident.Word]share.Says{
		incident.Rests: share.Nothing, incident.Pulls: share.Confirms, incident.Approves: share.ConfirmsForSure, incident.Doubts: share.Doubts,
	}
	return share.Testimony{Case: t.Incident, Patterns: t.Patterns, ByPerson: t.ByPerson, Says: says[t.Word], Time: t.Time}, true, nil
}

func shareSettings(cfg *config.Config, h *house, r *rules) share.Settings {
	c := &cfg.Share
	lists := &sharedLists{dir: string(cfg.Lists.Dir), names: c.Lists, store: h.store}
	s := share.Settings{MinConfidence: c.MinConfidence, Expiry: time.Duration(c.Expiry), Guard: guardOf(r), Listed: lists.entries}
	s.Mark, _ = intel.ParseTLP(string(c.TLP)) // the configuration was checked
	s.MaxTLP, _ = intel.ParseTLP(string(c.MaxTLP))
	return s
}

// guardOf knows what is ours: domains, networks, this host's addresses, and people.
func guardOf(r *rules) *share.Guard {
	o := share.GuardOptions{
		Domains: r.site.LocalDomains, Networks: append(append([]netip.Prefix(nil), r.site.InternalNetworks...), r.site.TrustedRelays...),
		Known: func(address string) bool {
			v, err := intel.Address(address)
			return err == nil && r.directory.Lookup(v) != nil
		},
	}
	own, _ := net.InterfaceAddrs()
	for _, at := range own {
		if p, err := netip.ParsePrefix(at.String()); err == nil {
			o.Networks = append(o.Networks, netip.PrefixFrom(p.Addr().Unmap(), p.Addr().Unmap().BitLen()))
		}
	}
	// A name of one label is anybody's.
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") {
		if v, err := intel.Domain(name); err == nil {
			o.Domains = append(append([]string(nil), o.Domains...), v.String())
		}
	}
	return share.NewGuard(o)
}

// sharedLists are the lists that are published without an incident. What is in force
// of them counts, so that a mistake in a file takes nothing back from peers.
type sharedLists struct {
	dir   string
	names []string
	store *store.Store
}

// entries gives what is in force of them.
func (l *sharedLists) entries() iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		listed := l.store.Sources()
		for _, name := range l.names {
			source := list.SourcePrefix + name
			if !slices.ContainsFunc(listed, func(s store.Listed) bool { return s.Name == source }) {
				if err := l.unread(name); err != nil && !yield(intel.Indicator{}, &share.UnreadError{Source: source, Err: err}) {
					return
				}
				continue
			}
			for a, err := range l.store.OfSource(source) {
				if err != nil {
					yield(intel.Indicator{}, err)
					return
				}
				if !yield(*a.Indicator, nil) {
					return
				}
			}
		}
	}
}

// errNotInForce says that a list is there, and that no version of it could be read.
var errNotInForce = errors.New("no version of it is in force")

// unread tells a list of which no version was ever good from one that is not there.
func (l *sharedLists) unread(name string) error {
	_, err := os.Stat(filepath.Join(l.dir, filepath.FromSlash(name)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return errNotInForce
}

// serveShare lets peers read what is published.
func (a *App) serveShare() error {
	cfg := a.o.Config
	c := &cfg.Share
	if c.Listen == (config.Listen{}) {
		return nil
	}
	var err error
	a.share, err = share.NewServer(share.ServerOptions{
		Title: c.Title, Logger: a.log.Logger,
		Share: func() *share.Share {
			if h := a.rooms(); h != nil {
				return h.share
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	tokens, err := tokensOf(cfg, secret.Read)
	if err != nil {
		return err
	}
	a.share.SetTokens(c.Title, tokens)
	credentials, err := shareTLS(cfg)
	if err != nil {
		return err
	}
	ln, err := a.listen("share.listen", c.Listen, "", 0)
	if err != nil {
		return err
	}
	a.log.Info("share listens for peers", zap.Stringer("address", c.Listen), zap.Bool("tls", credentials != nil))
	ln = netutil.LimitListener(ln, maxPeerConnections)
	if credentials != nil {
		ln = tls.NewListener(ln, credentials)
	}
	a.serveHTTP(patientServer{a.share.HTTP()}, ln)
	return nil
}

// shareTLS gives what peers are shown and have to show; nil without a certificate.
func shareTLS(cfg *config.Config) (*tls.Config, error) {
	c := &cfg.Share
	if c.Listen == (config.Listen{}) || c.CertFile == "" {
		return nil, nil
	}
	credentials, err := control.ServerTLS(string(c.CertFile), string(c.KeyFile))
	if err != nil {
		return nil, cfg.Problem("share.cert_file", err.Error(), "name a readable certificate and its key, in PEM")
	}
	if c.ClientCAFile == "" {
		return credentials, nil
	}
	if credentials.ClientCAs, err = certPool(cfg, "share.client_ca_file", string(c.ClientCAFile)); err != nil {
		return nil, err
	}
	credentials.ClientAuth = tls.VerifyClientCertIfGiven
	if c.TokensFile == "" {
		credentials.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return credentials, nil
}

// setShare makes another configuration of what is shared hold.
func (a *App) setShare(cfg *config.Config, h *house, r *rules, tokens []share.Token) error {
	if a.share == nil || h.share == nil {
		return nil
	}
	a.share.SetTokens(cfg.Share.Title, tokens)
	return h.share.SetSettings(shareSettings(cfg, h, r))
}

// leastToken is how long a token has to be, in bytes: nobody finds it by trying.
const leastToken = 20

// tokensOf reads who is let in, with secret.Read or what stands in for it.
func tokensOf(cfg *config.Config, read func(file string) (string, error)) (tokens []share.Token, err error) {
	file := string(cfg.Share.TokensFile)
	if file == "" || cfg.Share.Listen == (config.Listen{}) {
		return nil, nil
	}
	const cure = "write a name, a space and a token of at least 20 characters in each line, into a file of mode 0600 that is the daemon's user's"
	text, err := read(file)
	if err != nil {
		return nil, cfg.Problem("share.tokens_file", err.Error(), cure)
	}
	seen := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			continue
		case len(words) != 2:
			err = fmt.Errorf("line %d of %s is not a name and a token", n, file)
		case len(words[1]) < leastToken:
			err = fmt.Errorf("line %d of %s: the token of %.40q has less than %d characters", n, file, words[0], leastToken)
		case strings.ContainsAny(words[0], ":") || len(words[0]) > 100:
			err = fmt.Errorf("line %d of %s: %.100q is no name, of at most 100 characters without a colon", n, file, words[0])
		case seen[words[1]]:
			err = fmt.Errorf("line %d of %s: the token of %.40q is another's, too", n, file, words[0])
		}
		if err != nil {
			return nil, cfg.Problem("share.tokens_file", err.Error(), cure)
		}
		seen[words[1]] = true
		tokens = append(tokens, share.Token{Name: words[0], Secret: words[1]})
	}
	if err := lines.Err(); err != nil {
		return nil, cfg.Problem("share.tokens_file", err.Error(), cure)
	}
	if len(tokens) == 0 && cfg.Share.ClientCAFile == "" {
		return nil, cfg.Problem("share.tokens_file", file+" has no token in it, and nobody could read what is shared", cure)
	}
	return tokens, nil
}
