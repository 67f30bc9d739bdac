package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/notify"
)

// health knows what is wrong at the moment.
type health struct {
	isReady chan struct{} // closed once mail is judged

	mu       sync.Mutex
	problems map[string]Problem
}

// Problem is something that a person has to look at.
type Problem struct {
	What  string    `json:"what"` // "disk", "lists", "config" …
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

func newHealth() *health {
	return &health{isReady: make(chan struct{}), problems: map[string]Problem{}}
}

func (h *health) ready() { close(h.isReady) }

func (h *health) is() bool {
	select {
	case <-h.isReady:
		return true
	default:
		return false
	}
}

// problem notes what is wrong and reports whether that is news.
func (h *health) problem(what, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, known := h.problems[what]
	if !known {
		p.Since = time.Now()
	}
	news := p.Text != text
	p.What, p.Text = what, text
	h.problems[what] = p
	return news
}

func (h *health) solved(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.problems[what]
	delete(h.problems, what)
	return known
}

func (h *health) list() []Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Problem, 0, len(h.problems))
	for _, p := range h.problems {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Problem) int { return a.Since.Compare(b.Since) })
	return all
}

// watchEvery is how often is looked at what can go wrong by itself.
const watchEvery = 5 * time.Second

// keepWatch says when the disk gets too full, before and while mail is refused
// for it, and when what is to be pulled is left lying.
func (a *App) keepWatch(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		a.lookAtSpace()
		a.watchBounds()
		a.watchPulls()
		a.watchFeeds()
		a.watchContained()
		a.watchNotices()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (a *App) lookAtSpace() {
	cfg := a.current()
	free, err := a.o.FS.Free(string(cfg.State.Dir))
	switch {
	case err != nil:
		a.trouble("disk", fmt.Sprintf("how much is free under %s is not known, and mail gets the answer of policy.on_error: %v", cfg.State.Dir, err))
	case free < lastRoom(cfg):
		a.trouble("disk", fmt.Sprintf("%d MiB are free under %s, less than half of state.min_free (%s): nothing is written, and mail gets the answer of policy.on_error", free>>20, cfg.State.Dir, cfg.State.MinFree))
	case free < int64(cfg.State.MinFree):
		a.trouble("disk", fmt.Sprintf("%d MiB are free under %s and state.min_free is %s: mail gets the answer of policy.on_error", free>>20, cfg.State.Dir, cfg.State.MinFree))
	default:
		a.relief("disk")
	}
}

// watchBounds says when quarantine or journal hold nearly what they may.
func (a *App) watchBounds() {
	const nearly = 90 // per cent
	cfg, h := a.current(), a.rooms()
	if h == nil {
		return
	}
	bound := func(what string, used, most int64, text string) {
		if most > 0 && used >= most/100*nearly {
			a.trouble(what, fmt.Sprintf("%d of %d MiB are used: %s", used>>20, most>>20, text))
		} else {
			a.relief(what)
		}
	}
	stored, _ := h.blobs.Usage()
	bound("quarantine", stored, int64(cfg.Quarantine.MaxSize), "when quarantine.max_size is reached, mail that should be held gets 451")
	bound("journal", h.journal.Status().Bytes, int64(cfg.Journal.MaxSize), "when journal.max_size is reached inside journal.lookback, mail gets the answer of policy.on_error")
}

// pullPatience is how long mail that is to be pulled may wait for a sidecar
// before somebody has to look.
const pullPatience = time.Minute

// watchPulls says when what the lists newly know is not looked up, and when nobody
// takes out of the mailboxes what was found.
func (a *App) watchPulls() {
	h := a.rooms()
	if h == nil {
		return
	}
	if problem := h.hunt.Status().Problem; problem != nil {
		a.trouble("hunt", fmt.Sprintf("what the lists newly know is not found in the journal; it is tried again: %v", problem))
	} else {
		a.relief("hunt")
	}
	if lying := leftLying(h.desk.Status(), h.identity.Now()); lying != "" {
		a.trouble("pull", lying)
	} else {
		a.relief("pull")
	}
}

// watchFeeds says when a feed counts that is out of date, or no more, or waits for
// a person.
func (a *App) watchFeeds() {
	h := a.rooms()
	if h == nil {
		return
	}
	there := map[string]bool{}
	for _, f := range h.feeds.Status() {
		what := "feed " + f.Name
		there[what] = true
		switch {
		case f.Expired:
			a.trouble(what, "it could not be refreshed for longer than its expiry, and counts no more: "+f.Error)
		case f.Held != "":
			a.trouble(what, f.Held+"; what was fetched before counts until weir feed approve "+f.Name)
		case f.Overdue:
			a.trouble(what, "it has not been refreshed in its time, and what was fetched before counts: "+f.Error)
		default:
			a.relief(what)
		}
	}
	for _, p := range a.health.list() {
		if strings.HasPrefix(p.What, "feed ") && !there[p.What] {
			a.relief(p.What)
		}
	}
}

// watchContained says when somebody is contained and nothing comes of it.
func (a *App) watchContained() {
	h := a.rooms()
	if h == nil {
		return
	}
	if idle := control.Idle(h.judge.Policy(), string(a.current().Policy.Mode)); idle != "" && len(h.contained.List()) > 0 {
		a.trouble("contain", "somebody is contained, and nothing comes of it: "+idle)
	} else {
		a.relief("contain")
	}
}

// watchNotices says when people are not told what became of their requests.
func (a *App) watchNotices() {
	h := a.rooms()
	if h == nil {
		return
	}
	s, err := h.notices.Status()
	if err != nil {
		a.trouble("notify", fmt.Sprintf("which notices wait is not known: %v", err))
	} else if late := leftUntold(s, h.identity.Now()); late != "" {
		a.trouble("notify", late)
	} else {
		a.relief("notify")
	}
}

// noticePatience is how long a notice may wait before somebody has to look: what
// mends itself, a greylisting or a restart of the MTA, takes less.
const noticePatience = 15 * time.Minute

// leftUntold tells of notices that wait for long; empty: there are none.
func leftUntold(s notify.Status, now time.Time) string {
	if s.Text == "" || now.Sub(s.Since) < noticePatience {
		return ""
	}
	return fmt.Sprintf("the MTA has not taken the mail to %d who asked for something to be unblocked, since %s; it is tried again: %s", s.Waiting, s.Since.UTC().Format(time.RFC3339), s.Text)
}

// leftLying tells of mail that nobody comes for; empty: there is none.
func leftLying(s incident.Status, now time.Time) string {
	heard := s.Heard()
	if s.Oldest.IsZero() || now.Sub(s.Oldest) < pullPatience || now.Sub(heard) < pullPatience {
		return ""
	}
	since := "the daemon started"
	if !heard.IsZero() {
		since = heard.UTC().Format(time.RFC3339)
	}
	return "mail waits to be taken out of mailboxes, and no sidecar has asked for work since " + since + ": start weir pull, and see its log"
}

func (a *App) trouble(what, text string) {
	if a.health.problem(what, text) {
		a.log.Error("needs attention", zap.String("what", what), zap.String("problem", text))
	}
}

func (a *App) relief(what string) {
	if a.health.solved(what) {
		a.log.Info("is well again", zap.String("what", what))
	}
}

// headEvery is how often the ledger's head is logged, so that a tail that was
// cut off can be told later (weir audit verify --head).
const headEvery = time.Hour

func (a *App) logHead(ctx context.Context, h *house) {
	for {
		a.log.Info("ledger head", zap.Stringer("head", h.ledger.Head()))
		timer := time.NewTimer(headEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
