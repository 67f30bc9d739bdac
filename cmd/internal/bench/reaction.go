package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// reactionPlan is how large the part is.
type reactionPlan struct {
	mailboxes, messages, folders int // messages are those of a mailbox
	runs                         int
	quiet                        time.Duration // see settle
}

// full is the size at which the target is judged.
const (
	fullMessages = 5000
	fullRuns     = 50
)

func (b *bench) reactionPlan() reactionPlan {
	if b.quick {
		return reactionPlan{mailboxes: 5, messages: 100, folders: 10, runs: 2, quiet: 100 * time.Millisecond}
	}
	return reactionPlan{mailboxes: 100, messages: b.messages, folders: 10, runs: b.runs, quiet: time.Second}
}

// stages says when things had happened, counted from the moment in which the list
// file was saved, in milliseconds.
type stages struct {
	opened  float64 // the incident was
	found   float64 // its last delivery was
	first   float64 // mailbox was clean
	half    float64 // of the mailboxes were
	last    float64 // mailbox was clean
	settled float64 // the last outcome was recorded
}

// reaction measures how long it takes from saving a list file until every mailbox
// is clean in which there is what the list names.
func (b *bench) reaction(ctx context.Context) error {
	plan := b.reactionPlan()
	s, err := b.startMailSite(ctx, plan.mailboxes)
	if err != nil {
		return err
	}
	files := filepath.Join(b.lab.Dir(), "others")
	if err := os.Mkdir(files, 0o755); err != nil {
		return err
	}
	folders := []string{inbox}
	for i := 1; i < plan.folders; i++ {
		folders = append(folders, fmt.Sprintf("Folder%d", i))
	}
	perFolder := plan.messages / plan.folders
	if err := s.fill(ctx, files, folders, perFolder); err != nil {
		return err
	}
	weir := &contestant{name: "weir", what: "daemon and sidecar with their default settings; the times are those of mailboxes, CPU time and memory with Dovecot's"}
	bill := &bill{names: []string{"daemon", "sidecar", "Dovecot"}}
	var all []stages
	for run := -1; run < plan.runs && weir.err == nil; run++ { // the first one counts for nothing
		var r *reacted
		r, weir.err = s.react(ctx, plan, run+1)
		if weir.err == nil {
			weir.err = s.holds(perFolder)
		}
		if weir.err == nil && run >= 0 {
			r.CPUMicros = bill.add(r.Messages, r.cpu)
			weir.rounds = append(weir.rounds, r.round)
			all = append(all, r.stages)
		}
	}
	if weir.err != nil {
		all = nil // what some of the runs took tells nothing
	}
	b.print(b.report.add(table{Name: "reaction", Title: "From saving a list file until the mailboxes are clean", Notes: append(plan.notes(all), bill.String())}, []*contestant{weir}).String())
	if full := plan.messages == fullMessages && plan.runs >= fullRuns; full || b.quick {
		b.report.aim(target{Name: "seconds from saving a list file until 100 mailboxes are clean, p95 of the runs", AtMost: 2}, slow(all))
	}
	return nil
}

// reacted is one run.
type reacted struct {
	round
	stages
	cpu []time.Duration
}

// react delivers a message to every mailbox, lists what is in it and waits.
func (s *mailSite) react(ctx context.Context, plan reactionPlan, run int) (*reacted, error) {
	link := fmt.Sprintf("https://reaction%d.test/", run)
	if _, err := s.deliver(ctx, link, 1); err != nil {
		return nil, err
	}
	watched, err := s.arrived()
	defer func() {
		for _, f := range watched {
			_ = f.Close()
		}
	}()
	if err == nil {
		err = s.rest(ctx, plan.quiet)
	}
	if err != nil {
		return nil, err
	}
	m, err := s.pieces().begin(ctx)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	began := time.Now()
	if err := s.list("reaction.txt", link+"*\n"); err != nil {
		return nil, err
	}
	clean := make(chan []time.Duration, 1)
	watch, stop := context.WithCancel(ctx)
	defer stop()
	go func() { clean <- watchFiles(watch, began, watched) }()
	id, err := s.incident(ctx, hostOf(link))
	if err == nil {
		err = s.pulled(ctx, id, len(watched))
	}
	settled := time.Since(began)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	select {
	case times = <-clean:
	case <-time.After(longest):
		return nil, errors.New("the incident has settled, and not every mailbox is clean")
	}
	st, err := s.stages(ctx, id, began)
	if err != nil {
		return nil, err
	}
	st.first, st.half, st.last, st.settled = millis(times[0]), millis(times[len(times)/2]), millis(times[len(times)-1]), millis(settled)
	c, err := m.end(ctx, plan.quiet)
	if err != nil {
		return nil, err
	}
	return &reacted{stages: st, cpu: c.cpu, round: round{
		Messages: len(watched), Seconds: st.all() / 1e3, Rate: float64(len(watched)) * 1e3 / st.all(), P50Millis: st.half, P99Millis: millis(times[len(times)*99/100]),
		ResidentBytes: c.memory.Resident, AnonymousBytes: c.memory.Anonymous,
	}}, nil
}

// all is the time until all is done, and known to be: seen in the files, and
// settled in the incident.
func (s *stages) all() float64 { return max(s.last, s.settled) }

// arrived opens the one new message of every user.
func (s *mailSite) arrived() (files []*os.File, err error) {
	for _, user := range s.users {
		dir := filepath.Join(s.folder(user, inbox), "new")
		entries, err := os.ReadDir(dir)
		if err != nil {
			return files, err
		}
		if len(entries) != 1 {
			return files, fmt.Errorf("%s has %d new messages, want one", user, len(entries))
		}
		f, err := os.Open(filepath.Join(dir, entries[0].Name()))
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

// watchFiles waits until files have no name any more, wherever they were moved,
// and gives the times after which that was so, sorted. It gives nil when the context ends.
func watchFiles(ctx context.Context, began time.Time, files []*os.File) []time.Duration {
	const look = 5 * time.Millisecond
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	left := slices.Clone(files)
	var times []time.Duration
	for len(left) > 0 {
		left = slices.DeleteFunc(left, func(f *os.File) bool {
			info, err := f.Stat()
			if err != nil {
				return false
			}
			stat, ok := info.Sys().(*syscall.Stat_t)
			gone := ok && stat.Nlink == 0
			if gone {
				times = append(times, time.Since(began))
			}
			return gone
		})
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	slices.Sort(times)
	return times
}

// stages tells when the incident was opened and had all its deliveries.
func (s *mailSite) stages(ctx context.Context, id string, began time.Time) (stages, error) {
	page, err := s.control.IncidentDeliveries(ctx, api.IncidentDeliveryQuery{ID: id, Limit: 1000})
	if err != nil {
		return stages{}, err
	}
	st := stages{opened: millis(page.Incident.Opened.Sub(began))}
	for i := range page.Deliveries {
		st.found = max(st.found, millis(page.Deliveries[i].Found.Sub(began)))
	}
	return st, nil
}

func (p *reactionPlan) notes(all []stages) []string {
	figure := func(of func(*stages) float64) string {
		s := over(len(all), func(i int) float64 { return of(&all[i]) })
		return fmt.Sprintf("%.0f ms (%.0f–%.0f)", s.Median, s.Min, s.Max)
	}
	notes := []string{
		fmt.Sprintf("%d runs: %d mailboxes with %d messages in %d folders, and one more that is pulled", p.runs, p.mailboxes, p.messages, p.folders),
		"after saving the list, medians over the runs: " + strings.Join([]string{
			"incident opened " + figure(func(s *stages) float64 { return s.opened }),
			"its deliveries found " + figure(func(s *stages) float64 { return s.found }),
			"first mailbox clean " + figure(func(s *stages) float64 { return s.first }),
			"half of them " + figure(func(s *stages) float64 { return s.half }),
			"the last " + figure(func(s *stages) float64 { return s.last }),
			"the last outcome recorded " + figure(func(s *stages) float64 { return s.settled }),
		}, "; "),
	}
	if p.messages != fullMessages || p.runs < fullRuns {
		notes = append(notes, fmt.Sprintf("the target is judged only with %d messages a mailbox and at least %d runs", fullMessages, fullRuns))
	}
	return notes
}

// slow gives the time within which 95 % of the runs were done, in seconds, between
// the shortest and the longest.
func slow(all []stages) spread {
	if len(all) == 0 {
		return spread{}
	}
	times := make([]float64, len(all))
	for i := range all {
		times[i] = all[i].all() / 1e3
	}
	slices.SortFunc(times, cmp.Compare[float64])
	return spread{Median: times[(len(times)*95+99)/100-1], Min: times[0], Max: times[len(times)-1]}
}
