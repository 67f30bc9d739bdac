package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
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
	mu         sync.Mutex
	to         map[string]heldTo
	order      []heldID // the oldest first, to forget it
	recipients int      // of all in to
}

// heldTo is for whom a message is held, and since when.
type heldTo struct {
	to    []string
	since time.Time
}

// heldID is a queue ID that was added at a time.
type heldID struct {
	id    string
	since time.Time
}

// Bounds of a heldIndex. The MTA gives a message up after five days, by default.
const (
	maxHeld   = 100_000   // queue IDs
	maxHeldTo = 1_000_000 // recipients of all
	heldFor   = 6 * 24 * time.Hour
	heldPage  = 1000 // items that are read at once
)

func newHeldIndex() *heldIndex { return &heldIndex{to: map[string]heldTo{}} }

// of gives the recipients that are held of the message with a queue ID. Short queue
// IDs are given again: what was held for longer is another message.
func (x *heldIndex) of(queueID string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.to[queueID]
	if time.Since(h.since) >= heldFor {
		return nil
	}
	return h.to
}

// add takes note of what was held at a time, which is no earlier than those before.
func (x *heldIndex) add(queueID string, to []string, since time.Time) {
	if queueID == "" || len(to) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.recipients += len(to) - len(x.to[queueID].to)
	x.to[queueID] = heldTo{to, since}
	x.order = append(x.order, heldID{queueID, since})
	for len(x.order) > 1 {
		oldest := x.order[0]
		if len(x.order) <= maxHeld && x.recipients <= maxHeldTo && since.Sub(oldest.since) < heldFor {
			break
		}
		x.order = x.order[1:]
		if h := x.to[oldest.id]; h.since.Equal(oldest.since) { // else it was held again
			x.recipients -= len(h.to)
			delete(x.to, oldest.id)
		}
	}
}

// load takes note of what was held before the daemon started.
func (x *heldIndex) load(ctx context.Context, q *quarantine.Quarantine, now time.Time) error {
	query := quarantine.Query{Since: now.Add(-heldFor), State: quarantine.AnyState, Limit: heldPage}
	type held struct {
		queueID string
		heldTo
	}
	var all []held // the newest first
	for recipients := 0; len(all) < maxHeld && recipients < maxHeldTo; {
		page, err := q.List(ctx, query)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			var to []string
			for _, r := range item.Recipients {
				to = append(to, r.Address)
			}
			all = append(all, held{item.Facts.QueueID, heldTo{to, item.Held}})
			recipients += len(to)
		}
		if !page.More || len(page.Items) == 0 {
			break
		}
		query.Before = page.Items[len(page.Items)-1].ID
	}
	for _, h := range slices.Backward(all) {
		x.add(h.queueID, h.to, h.since)
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
		q.held.add(e.Envelope.QueueID, to, time.Now())
	}
	return item, err
}
