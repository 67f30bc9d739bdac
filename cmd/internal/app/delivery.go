package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/delivery/follow"
)

// openDeliveries opens what is known of where copies went. The quarantine is
// open by then.
func (a *App) openDeliveries(ctx context.Context, cfg *config.Config, h *house) error {
	var sources []follow.Source
	for i, text := range cfg.Delivery.Logs {
		options, err := syslogOptions(cfg, text)
		if err != nil {
			return err
		}
		s, err := follow.Parse(text.String(), options)
		if err != nil {
			return cfg.Problem(fmt.Sprintf("delivery.logs[%d]", i), err.Error(), "name a file, the journal or a syslog listener")
		}
		sources = append(sources, s)
	}
	if err := h.held.load(ctx, h.quarantine, time.Now()); err != nil {
		return err
	}
	var err error
	h.deliveries, err = delivery.Open(delivery.Options{
		FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), "delivery"), Sources: sources, Journal: h.journal, Held: h.held.of, Report: a.reportLog,
		Retention: time.Duration(cfg.Journal.Retention), MinFree: lastRoom(cfg), IndexMinFree: lastRoom(cfg), Logger: a.log.Logger, Metrics: h.metrics,
	})
	if err == nil {
		h.onClose(a.log.Logger, "deliveries", h.deliveries.Close)
	}
	return err
}

// syslogOptions gives who may send to a log that listens, and what it shows them.
func syslogOptions(cfg *config.Config, text config.DeliveryLog) (o follow.SyslogOptions, err error) {
	network, _, listens := text.Syslog()
	if !listens {
		return o, nil
	}
	d := &cfg.Delivery
	o.From = prefixes(d.SyslogFrom)
	if network != "tls" {
		return o, nil
	}
	pair, err := tls.LoadX509KeyPair(string(d.SyslogCertFile), string(d.SyslogKeyFile))
	if err != nil {
		return o, cfg.Problem("delivery.syslog_cert_file", fmt.Sprintf("certificate and key cannot be used: %v", err), "name a PEM certificate and its key")
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if d.SyslogCAFile == "" {
		return o, nil
	}
	o.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	o.TLS.ClientCAs, err = certPool(cfg, "delivery.syslog_ca_file", string(d.SyslogCAFile))
	return o, err
}

// reportLog says when a delivery log cannot be read, and when it can again.
func (a *App) reportLog(log string, problem error) {
	what := "delivery log " + log
	if problem == nil {
		a.relief(what)
		return
	}
	a.trouble(what, fmt.Sprintf("it cannot be read, and where mail went is not known: %v; let the daemon's user read it (Debian: the groups adm and systemd-journal), or change delivery.logs", problem))
}

// heldIndex knows which recipients are held, by the queue ID of their message,
// as long as the MTA may still deliver it.
type heldIndex struct {
	mu   sync.Mutex
	to   map[string][]string
	ring []string // queue IDs, to forget the oldest
	next int
}

// Bounds of a heldIndex. The MTA gives a message up after five days, by default.
const (
	maxHeld  = 100_000 // queue IDs
	heldDays = 6
	heldPage = 1000 // items that are read at once
)

func newHeldIndex() *heldIndex { return &heldIndex{to: map[string][]string{}} }

// of gives the recipients that are held of the message with a queue ID.
func (x *heldIndex) of(queueID string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.to[queueID]
}

func (x *heldIndex) add(queueID string, to []string) {
	if queueID == "" || len(to) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.to[queueID]; !known {
		if len(x.ring) < maxHeld {
			x.ring = append(x.ring, queueID)
		} else {
			delete(x.to, x.ring[x.next])
			x.ring[x.next] = queueID
			x.next = (x.next + 1) % maxHeld
		}
	}
	x.to[queueID] = to
}

// load takes note of what was held before the daemon started.
func (x *heldIndex) load(ctx context.Context, q *quarantine.Quarantine, now time.Time) error {
	query := quarantine.Query{Since: now.Add(-heldDays * 24 * time.Hour), State: quarantine.AnyState, Limit: heldPage}
	for n := 0; n < maxHeld; {
		page, err := q.List(ctx, query)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			var to []string
			for _, r := range item.Recipients {
				to = append(to, r.Address)
			}
			x.add(item.Facts.QueueID, to)
		}
		n += len(page.Items)
		if !page.More || len(page.Items) == 0 {
			return nil
		}
		query.Before = page.Items[len(page.Items)-1].ID
	}
	return nil
}

// notingQuarantine takes note of what is held.
type notingQuarantine struct {
	filter.Quarantine
	held *heldIndex
}

// Hold implements filter.Quarantine.
func (q notingQuarantine) Hold(ctx context.Context, e *evidence.Evidence, v *verdict.Verdict, ref string) (string, error) {
	item, err := q.Quarantine.Hold(ctx, e, v, ref)
	if err == nil {
		var to []string
		for _, r := range v.Held() {
			to = append(to, r.Address)
		}
		q.held.add(e.Envelope.QueueID, to)
	}
	return item, err
}
