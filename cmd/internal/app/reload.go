package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/secret"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/store"
)

// ReloadReport says what a reload found.
type ReloadReport struct {
	Applied     []string         // configuration keys that changed and hold now
	NeedRestart []string         // keys that changed and hold after a restart
	Config      error            // why the configuration, policy or directory was refused; the last good ones hold
	Lists       store.ListReport // what became of each list file
	ListsErr    error            // why no list could be looked at
}

// Err joins all that was refused.
func (r *ReloadReport) Err() error { return errors.Join(r.Config, r.Lists.Err(), r.ListsErr) }

type reloadRequest struct {
	done chan *ReloadReport
}

// Reload reads configuration, policy, directory and lists again, and says what
// it found. Whatever is refused keeps its last good version.
func (a *App) Reload(ctx context.Context) (*ReloadReport, error) {
	r := reloadRequest{done: make(chan *ReloadReport, 1)}
	select {
	case a.reloads <- r:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case report := <-r.done:
		return report, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Times of the watch over files. An editor writes a file in several steps; the
// poll is for file systems that tell nobody of changes.
const (
	settle    = 100 * time.Millisecond
	pollEvery = 30 * time.Second
)

// reload serves requests to reload, and reloads what was edited. The fingerprint
// is one that was taken before anything was read.
func (a *App) reload(ctx context.Context, h *house, seen string) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		a.log.Warn("edits are seen only every half minute", zap.Error(err))
		watcher = &fsnotify.Watcher{}
	}
	defer func() {
		if err == nil {
			_ = watcher.Close()
		}
	}()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	timer := time.NewTimer(0) // the first round sees what was edited since the start
	defer timer.Stop()
	for {
		if err == nil {
			a.watch(watcher)
		}
		select {
		case <-ctx.Done():
			return
		case r := <-a.reloads:
			seen = a.fingerprint() // before: what is edited meanwhile is read again
			r.done <- a.reloadAll(ctx, h)
		case e := <-watcher.Events:
			if a.concerns(e.Name) {
				timer.Reset(settle)
			}
		case werr := <-watcher.Errors:
			a.log.Warn("edits may not be seen at once", zap.Error(werr))
		case <-timer.C:
			if now := a.fingerprint(); now != seen {
				seen = now
				a.reloadAll(ctx, h)
			}
		case <-poll.C:
			if now := a.fingerprint(); now != seen {
				seen = now
				a.reloadAll(ctx, h)
			}
		}
	}
}

// files lists what may be edited: single files, and the folder of the lists.
func (a *App) files() (files []string, lists string) {
	cfg := a.current()
	for _, name := range []string{a.o.ConfigFile, string(cfg.Policy.File), string(cfg.Directory.File), string(cfg.Mail.LocalDomainsFile), string(cfg.Share.TokensFile)} {
		if name == "" {
			continue
		}
		// A folder that is watched by two names tells of its files by one of them.
		if abs, err := filepath.Abs(name); err == nil {
			name = abs
		}
		files = append(files, filepath.Clean(name))
	}
	return files, filepath.Clean(string(cfg.Lists.Dir))
}

// watch makes sure that the folders of all files are watched; folders, because
// editors replace files.
func (a *App) watch(w *fsnotify.Watcher) {
	files, lists := a.files()
	dirs := map[string]bool{lists: true}
	for _, f := range files {
		dirs[filepath.Dir(f)] = true
	}
	for _, d := range []intel.Disposition{intel.Block, intel.Allow, intel.Watch} {
		dirs[filepath.Join(lists, d.String())] = true
	}
	for _, known := range w.WatchList() {
		if dirs[known] {
			delete(dirs, known)
		}
	}
	for dir := range dirs {
		_ = w.Add(dir) // one that is not there yet is tried again at the next event
	}
}

// concerns reports whether a change of this file or folder can matter.
func (a *App) concerns(name string) bool {
	name = filepath.Clean(name)
	files, lists := a.files()
	for _, f := range files {
		if name == f {
			return true
		}
	}
	return name == lists || strings.HasPrefix(name, lists+string(filepath.Separator))
}

// reloadAll reads everything again. What fails is refused before anything changes.
func (a *App) reloadAll(ctx context.Context, h *house) *ReloadReport {
	report := &ReloadReport{}
	report.Config = a.reloadConfig(h, report)
	if report.Config != nil {
		a.trouble("config", "the last good configuration holds: "+report.Config.Error())
	} else {
		a.relief("config")
	}
	if len(report.NeedRestart) > 0 {
		a.trouble("restart", "changed, and hold after a restart: "+strings.Join(report.NeedRestart, ", "))
	} else if report.Config == nil {
		a.relief("restart")
	}
	report.Lists, report.ListsErr = a.loadLists(ctx, h)
	return report
}

func (a *App) reloadConfig(h *house, report *ReloadReport) error {
	fresh, err := config.Load(a.o.ConfigFile)
	if err != nil {
		return err
	}
	r, err := loadRules(fresh)
	if err != nil {
		return err
	}
	settings, err := quarantineSettings(fresh, r)
	if err != nil {
		return err
	}
	tokens, err := tokensOf(fresh, secret.Read)
	if err != nil {
		return err
	}
	if err := h.journal.SetRetention(journalRetention(fresh)); err != nil {
		return err
	}
	if err := h.feeds.Set(feedsOf(fresh)); err != nil {
		return err
	}
	// From here on nothing can fail.
	_, report.NeedRestart = config.Changed(a.o.Config, fresh)
	report.Applied, _ = config.Changed(a.current(), fresh)
	must := func(err error) {
		if err != nil {
			a.log.Error("a checked setting was refused", zap.Error(err))
		}
	}
	must(h.judge.SetRules(r.forJudge(h.contained)))
	must(h.contained.SetSite(containSite(fresh, r)))
	must(h.filter.SetSettings(filterSettings(fresh, r)))
	must(h.quarantine.SetSettings(settings))
	must(h.notices.SetSettings(notifySettings(fresh, r, &settings)))
	must(h.deliveries.SetRetention(time.Duration(fresh.Journal.Retention)))
	must(h.desk.SetSettings(incidentSettings(fresh, r)))
	must(a.setShare(fresh, h, r, tokens))
	must(h.hunt.SetLookBack(time.Duration(fresh.Journal.Lookback)))
	must(a.log.setLevel(fresh))
	a.gate.onError.Store(int32(onError(fresh)))
	a.setRoles(fresh)
	a.mu.Lock()
	a.config = fresh
	a.mu.Unlock()
	a.log.Info("configuration, policy and directory read", zap.Strings("applied", report.Applied), zap.Strings("need_restart", report.NeedRestart), zap.Int("rules", len(r.policy.Rules())))
	return nil
}

// loadLists reads the list files again and says what became of them.
func (a *App) loadLists(ctx context.Context, h *house) (store.ListReport, error) {
	report, err := h.store.LoadLists(ctx, string(a.current().Lists.Dir), list.Options{})
	if err != nil {
		if ctx.Err() == nil {
			a.trouble("lists", fmt.Sprintf("what was loaded last holds: %v", err))
		}
		return nil, err
	}
	if h.hunt != nil { // not while the daemon starts
		h.hunt.Wake()
	}
	for _, l := range report {
		for _, p := range l.Problems {
			a.log.Error("list refused, its last good version holds", zap.String("problem", p.Error()))
		}
		if l.Result.Outcome == store.Changed || l.Result.Outcome == store.Gone {
			a.log.Info("list read", zap.String("list", l.Result.Name), zap.Int("entries", l.Result.Entries), zap.Int("added", l.Result.Added), zap.Int("removed", l.Result.Removed),
				zap.Uint64("generation", h.store.Generation()))
		}
	}
	if err := report.Err(); err != nil {
		a.trouble("lists", "the last good version of a list holds: "+err.Error())
	} else {
		a.relief("lists")
	}
	if strays, _ := list.Strays(string(a.current().Lists.Dir)); len(strays) > 0 {
		a.trouble("strays", strays[0].Error())
	} else {
		a.relief("strays")
	}
	a.mu.Lock()
	a.lists, a.listsRead = report, time.Now().UTC()
	a.mu.Unlock()
	return report, nil
}
