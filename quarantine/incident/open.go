package incident

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
)

// validate checks an opening, and brings its key into the form that is recorded.
func (o *Opening) validate() error {
	o.Key = strings.ToValidUTF8(o.Key, "\uFFFD")
	switch {
	case strings.TrimSpace(o.Title) == "":
		return fmt.Errorf("%w: an incident needs a title", ErrInvalid)
	case isPerson(o.Actor) && strings.TrimSpace(o.Reason) == "":
		return ErrReason
	case len(o.Key) > maxKey:
		return fmt.Errorf("%w: a key of %d bytes, of at most %d", ErrInvalid, len(o.Key), maxKey)
	case o.Severity != "" && !slices.Contains(Severities(), o.Severity):
		return fmt.Errorf("%w: %q is no severity", ErrInvalid, o.Severity)
	}
	return nil
}

// automatic reports whether policy may start pulls.
func (o *Opening) automatic() bool { return o.Automatic || o.Source != "" }

// Severities lists all of them, the least one first.
func Severities() []Severity { return []Severity{Low, Medium, High, Critical} }

// Open opens an incident, or gives the one that is open under the same key. An
// empty severity is Medium. Errors satisfy ErrInvalid or ErrReason, among others.
func (d *Desk) Open(ctx context.Context, o Opening) (*Incident, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Severity == "" {
		o.Severity = Medium
	}
	e, err := event(typeOpened, openedData{
		Key: o.Key, Title: legible(o.Title, maxText), Severity: o.Severity, Owner: legible(o.Owner, maxText),
		Source: legible(o.Source, maxText), Automatic: o.automatic(),
	})
	if err != nil {
		return nil, err
	}
	id, command, err := d.openNow(ctx, &o)
	if err != nil {
		return nil, err
	}
	for id == "" {
		c := ledger.Command{ID: command, Entity: entityOf(d.o.Identity.NewID()), Actor: o.Actor, Reason: legible(o.Reason, ledger.MaxReason)}
		receipt, err := d.o.Ledger.Commit(ctx, c, always(e))
		if err != nil {
			return nil, fmt.Errorf("open an incident: %w", err)
		}
		if !receipt.Replayed {
			id = receipt.Entity[len(incidentPrefix):]
			d.metrics.opened.Inc()
			d.o.Logger.Info("an incident was opened", zap.String("incident", id), zap.String("title", o.Title), zap.String("actor", o.Actor))
			break
		}
		if id, command, err = d.openNow(ctx, &o); err != nil { // somebody was faster
			return nil, err
		}
	}
	d.seeSoon(ctx)
	return d.Get(id)
}

// openNow gives the incident that is open under the key of an opening, or the ID
// of the command that opens the next one. The incidents under one key are a chain,
// each opened after the one before was closed.
func (d *Desk) openNow(ctx context.Context, o *Opening) (id, command string, err error) {
	if o.Key == "" {
		return "", "open/" + d.o.Identity.NewID(), nil
	}
	first := "open/" + hexDigest(o.Key)
	for command = first; ; command = first + "/after/" + id {
		if id, err = d.commanded(ctx, command); err != nil || id == "" {
			return "", command, err
		}
		k, err := d.docket(id)
		if err != nil {
			return "", "", err
		}
		if !k.closed {
			return id, "", nil
		}
	}
}

// commanded gives the incident that a command opened, if it was given. A decision
// without events records nothing, and a command that was given is not decided
// again.
func (d *Desk) commanded(ctx context.Context, command string) (string, error) {
	receipt, err := d.o.Ledger.Commit(ctx, ledger.Command{ID: command, Entity: entityOf("none"), Actor: "weir:desk"}, always())
	if err != nil || !receipt.Replayed {
		return "", err
	}
	return receipt.Entity[len(incidentPrefix):], nil
}

// Note writes a text into an incident's timeline. Errors satisfy ErrNotFound or
// ErrInvalid, among others.
func (d *Desk) Note(ctx context.Context, id, actor, text string) error {
	if strings.TrimSpace(text) == "" || len(text) > maxNote {
		return fmt.Errorf("%w: a note has 1 to %d bytes", ErrInvalid, maxNote)
	}
	return d.decide(ctx, ledger.Command{ID: "note/" + d.o.Identity.NewID(), Entity: entityOf(id), Actor: actor}, typeNoted, notedData{legible(text, maxNote)}, false)
}

// Assign says who works on an incident; an empty owner is nobody. Errors satisfy
// ErrNotFound or ErrClosed, among others.
func (d *Desk) Assign(ctx context.Context, id, owner, actor, reason string) error {
	c := ledger.Command{ID: "assign/" + d.o.Identity.NewID(), Entity: entityOf(id), Actor: actor, Reason: legible(reason, ledger.MaxReason)}
	return d.decide(ctx, c, typeAssigned, assignedData{legible(owner, maxText)}, true)
}

// Close ends an incident: no pull of it is begun any more, nothing waits for
// approval, and the next match of its key opens another one. Pulls that a sidecar
// is at are ended and recorded, and what was pulled can still be restored. Errors
// satisfy ErrNotFound, ErrClosed or ErrReason, among others.
func (d *Desk) Close(ctx context.Context, id, actor, reason string) error {
	return d.end(ctx, id, actor, reason, closedData{})
}

// Dismiss closes an incident as a false alarm: what it was about is nothing bad.
func (d *Desk) Dismiss(ctx context.Context, id, actor, reason string) error {
	return d.end(ctx, id, actor, reason, closedData{FalseAlarm: true})
}

func (d *Desk) end(ctx context.Context, id, actor, reason string, data closedData) error {
	if strings.TrimSpace(reason) == "" {
		return ErrReason
	}
	if err := d.ready(ctx); err != nil {
		return err
	}
	defer d.lock(id)()
	c := ledger.Command{ID: "close/" + d.o.Identity.NewID(), Entity: entityOf(id), Actor: actor, Reason: legible(reason, ledger.MaxReason)}
	if err := d.decide(ctx, c, typeClosed, data, true); err != nil {
		return err
	}
	d.giveUp(id)
	d.o.Logger.Info("an incident was closed", zap.String("incident", id), zap.String("actor", actor), zap.Bool("false_alarm", data.FalseAlarm))
	return nil
}

// decide commits one event of an incident.
func (d *Desk) decide(ctx context.Context, c ledger.Command, kind string, data any, open bool) error {
	e, err := event(kind, data)
	if err != nil {
		return err
	}
	_, err = d.o.Ledger.Commit(ctx, c, func(s ledger.State) ([]ledger.Event, error) {
		k, err := docketOf(s)
		if err != nil {
			return nil, err
		}
		if open && k.closed {
			return nil, fmt.Errorf("%w: %s", ErrClosed, k.id)
		}
		return []ledger.Event{e}, nil
	})
	if err == nil {
		d.seeSoon(ctx)
	}
	return err
}
