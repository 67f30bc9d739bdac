package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/backup"
	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/store"
)

// serveControl opens the control socket.
func (a *App) serveControl() error {
	cfg := a.o.Config
	var err error
	a.control, err = control.New(control.Options{
		Stores: a.stores, Status: a.status, Reload: a.reloadFor, Lists: a.listReport,
		Config: func() string { return a.current().Show() },
		Verify: func(_ context.Context, head *ledger.Head) (ledger.Report, error) {
			h := a.rooms()
			if h == nil {
				return ledger.Report{}, errNotOpen()
			}
			return verifyLedger(string(a.current().State.Dir), h.identity.Key(backup.LedgerKey), head)
		},
		Backup: a.backup,
		Limits: func() control.Limits {
			now := a.current()
			return control.Limits{MessageSize: int64(now.Milter.MessageSizeLimit), LookBack: time.Duration(now.Journal.Lookback), ListsDir: string(now.Lists.Dir),
				Own: list.Own{Domains: ownDomains(now), Networks: prefixes(now.Mail.InternalNetworks)}, SecondPerson: now.Unblock.SecondPerson}
		},
		Access: accessOf(cfg), Logger: a.log.Logger, Metrics: a.metrics,
	})
	if err != nil {
		return err
	}
	ln, err := a.listen("control.listen", cfg.Control.Listen, cfg.Control.SocketGroup, cfg.Control.SocketMode)
	if err != nil {
		return err
	}
	a.log.Info("control listens", zap.Stringer("address", cfg.Control.Listen))
	a.serveHTTP(a.control, ln)
	return a.serveRemote(cfg)
}

// ownDomains gives the domains of this site, as lists write them.
func ownDomains(cfg *config.Config) (own []string) {
	for _, d := range cfg.LocalDomains() {
		own = append(own, strings.TrimPrefix(string(d), "."))
	}
	return own
}

// serveRemote lets sidecars of other hosts in, where that is configured.
func (a *App) serveRemote(cfg *config.Config) error {
	c := &cfg.Control
	credentials, err := remoteTLS(cfg)
	if err != nil || credentials == nil {
		return err
	}
	ln, err := a.listen("control.remote_listen", c.RemoteListen, "", 0)
	if err != nil {
		return err
	}
	a.log.Info("control listens for sidecars of other hosts", zap.Stringer("address", c.RemoteListen))
	a.serveHTTP(remoteControl{a.control, credentials}, ln)
	return nil
}

// remoteTLS gives what sidecars of other hosts are shown and have to show; nil where
// none is let in.
func remoteTLS(cfg *config.Config) (*tls.Config, error) {
	c := &cfg.Control
	if c.RemoteListen == (config.Listen{}) {
		return nil, nil
	}
	credentials, err := control.RemoteTLS(string(c.RemoteCertFile), string(c.RemoteKeyFile), string(c.RemoteCAFile))
	if err != nil {
		return nil, cfg.Problem("control.remote_listen", err.Error(), "name a readable certificate, its key and the authorities, in PEM")
	}
	return credentials, nil
}

// remoteControl is the control server as other hosts see it.
type remoteControl struct {
	*control.Server
	credentials *tls.Config
}

// Serve implements httpServer.
func (r remoteControl) Serve(ln net.Listener) error { return r.ServeRemote(ln, r.credentials) }

// setRoles makes the roles of a fresh configuration hold.
func (a *App) setRoles(cfg *config.Config) { a.control.SetAccess(accessOf(cfg)) }

func accessOf(cfg *config.Config) control.Access {
	return control.Access{Viewers: cfg.Control.Viewers, Operators: cfg.Control.Operators, Admins: cfg.Control.Admins, Pullers: cfg.Control.Pullers}
}

func errNotOpen() error {
	return &api.Error{Code: api.Unavailable, Text: "the daemon's stores are not open", Cure: "try again in a moment; weir status says what it waits for"}
}

// stores gives what is open to the control socket.
func (a *App) stores() *control.Stores {
	h := a.rooms()
	if h == nil {
		return nil
	}
	open := &control.Stores{Quarantine: h.quarantine, Ledger: watchedLedger{h.ledger, a}, Journal: h.journal,
		Lists: h.store, Matcher: h.matcher, Judge: h.judge, Identity: h.identity, Deliveries: h.deliveries, Incidents: h.desk, Feeds: h.feeds, Contained: h.contained, Requests: h.requests, Notices: h.notices}
	if h.hits != nil {
		open.Hits = h.hits
	}
	if h.share != nil {
		open.Share = h.share
	}
	return open
}

// status says how the daemon is.
func (a *App) status() api.Status {
	cfg := a.current()
	s := api.Status{
		Version: a.o.Version, State: "starting", Started: a.started.UTC(), Now: time.Now().UTC(), Mode: string(cfg.Policy.Mode),
		ConfigFile: a.o.ConfigFile, Policy: policyName(cfg),
		Milter:     api.MilterStatus{Sessions: a.milter.Sessions()},
		Quarantine: api.QuarantineStatus{MaxBytes: int64(cfg.Quarantine.MaxSize)},
		Journal:    api.JournalStatus{MaxBytes: int64(cfg.Journal.MaxSize)},
		Share:      api.ShareStatus{Withheld: []api.Withheld{}, Peers: []api.SharePeer{}},
		Deliveries: api.DeliveryStatus{Logs: []api.DeliveryLog{}},
		Disk:       api.DiskStatus{MinFree: int64(cfg.State.MinFree)},
	}
	if a.share != nil {
		s.Share.Listen = cfg.Share.Listen.String()
	}
	for _, l := range cfg.Milter.Listen {
		s.Milter.Listen = append(s.Milter.Listen, l.String())
	}
	if free, err := a.o.FS.Free(string(cfg.State.Dir)); err == nil {
		s.Disk.FreeBytes = free
	}
	for _, p := range a.health.list() {
		s.Trouble = append(s.Trouble, api.Trouble{What: p.What, Text: p.Text, Since: p.Since.UTC()})
	}
	switch h := a.rooms(); {
	case h != nil:
		s.State, s.Node = "ready", h.identity.Node()
		s.Quarantine.Bytes, _ = h.blobs.Usage()
		j := h.journal.Status()
		s.Journal.Bytes, s.Journal.Oldest, s.Journal.IndexLag = j.Bytes, j.Oldest, int64(j.Last)-int64(j.Indexed)
		s.Feeds = control.FeedsStatus(h.feeds.Status())
		s.Contained = control.ContainedStatus(h.contained.List())
		if h.share != nil {
			s.Share = control.ShareStatus(s.Share.Listen, h.share.Status())
		}
		s.Deliveries = control.DeliveryStatus(h.deliveries.State())
		s.Incidents, s.Hunt = control.IncidentsStatus(h.desk.Status()), control.HuntStatus(h.hunt.Status())
	case a.health.is():
		s.State = "stopping"
	}
	return s
}

func policyName(cfg *config.Config) string {
	if cfg.Policy.File != "" {
		return string(cfg.Policy.File)
	}
	return policy.DefaultName
}

// listReport gives what the list files came to when they were last read.
func (a *App) listReport() (store.ListReport, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lists, a.listsRead
}

// reloadFor reloads for somebody, and records who it was.
func (a *App) reloadFor(ctx context.Context, actor string) (control.Reloaded, error) {
	h := a.rooms()
	if h == nil {
		return control.Reloaded{}, errNotOpen()
	}
	report, err := a.Reload(ctx)
	if err != nil {
		return control.Reloaded{}, err
	}
	found := control.Reloaded{Applied: report.Applied, Restart: report.NeedRestart, Config: report.Config, Lists: report.Lists, ListsErr: report.ListsErr}
	data, err := json.Marshal(struct {
		Applied    []string `json:"applied,omitempty"`
		Generation uint64   `json:"generation"` // of the lists
		Refused    bool     `json:"refused,omitempty"`
	}{report.Applied, h.store.Generation(), report.Err() != nil})
	if err != nil {
		return found, err
	}
	command := ledger.Command{ID: "reloaded/" + h.identity.NewID(), Entity: "node/" + h.identity.Node(), Actor: actor}
	_, err = watchedLedger{h.ledger, a}.Commit(ctx, command, func(ledger.State) ([]ledger.Event, error) {
		return []ledger.Event{{Type: "reloaded", Schema: 1, Data: data}}, nil
	})
	return found, err
}

func (a *App) backup(ctx context.Context, w io.Writer) error {
	h := a.rooms()
	if h == nil {
		return errNotOpen()
	}
	_, err := backup.Write(ctx, w, string(a.current().State.Dir), h.identity.Key(backup.LedgerKey), time.Now())
	return err
}

// verifyLedger checks the ledger in a state folder on which a daemon may work.
func verifyLedger(state string, key []byte, head *ledger.Head) (ledger.Report, error) {
	r, err := ledger.OpenReader(disk.System{}, filepath.Join(state, "ledger"), nil)
	if err != nil {
		return ledger.Report{}, err
	}
	return r.Verify(key, head)
}

// VerifyLedger checks the ledger in a state folder; with a head that was kept
// elsewhere it also sees that the ledger's end was not cut off. A daemon may work
// on the folder.
func VerifyLedger(_ context.Context, state string, head *ledger.Head) (ledger.Report, error) {
	// Opening an identity would make one where there is none.
	if _, err := os.Stat(filepath.Join(state, ident.FileName)); err != nil {
		return ledger.Report{}, fmt.Errorf("%s is no state folder of weir: %w", state, err)
	}
	id, err := ident.Open(ident.Options{FS: disk.System{}, Dir: state})
	if err != nil {
		return ledger.Report{}, err
	}
	return verifyLedger(state, id.Key(backup.LedgerKey), head)
}
