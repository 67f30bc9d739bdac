package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/load"
)

const (
	milterSessions = 8
	hitEvery       = 20 // letters, of which one is refused, in the run with hits
)

// milter measures servers over the milter protocol.
func (b *bench) milter(ctx context.Context) error {
	silent, err := startAccept(b.lab, false)
	if err != nil {
		return err
	}
	replies, err := startAccept(b.lab, true)
	if err != nil {
		return err
	}
	minimal, err := startRspamd(b.lab, b.known, false)
	if err != nil {
		return err
	}
	rules, err := startRspamd(b.lab, b.known, true)
	if err != nil {
		return err
	}
	weir, err := startWeir(ctx, b.lab, b.program, "weir", b.known)
	if err != nil {
		return err
	}
	hits := *weir
	hits.name, hits.what = "weir-hits", fmt.Sprintf("the same daemon, which holds every %dth message for a sender, domain, URL or file on its lists", hitEvery)
	ours, theirs := b.contestant(weir, harmless), b.contestant(minimal, harmless)
	all := []*contestant{ours, theirs, b.contestant(silent, harmless), b.contestant(replies, harmless), b.contestant(&hits, b.withHits), b.contestant(rules, harmless)}
	b.contest(milterSessions, 20, time.Minute).run(ctx, all)
	notes := []string{fmt.Sprintf("%d sessions at once, 20 messages each; messages of %s", milterSessions, sizes())}
	if heap, err := weir.heap(); err == nil {
		notes = append(notes, "weir's memory when it had come to rest: "+heap)
	} else {
		b.report.fail("milter: weir's heap", err)
	}
	b.print(b.report.add(table{Name: "milter", Title: "Over the milter protocol, by a unix socket", Notes: notes}, all).String())
	b.report.aim(target{Name: "messages per CPU second, weir over rspamd", AtLeast: 12}, ratio(ours, theirs, perCPU))
	return nil
}

func (b *bench) contestant(s *server, c content) *contestant {
	return &contestant{name: s.name, what: s.what, group: s.group, open: func(n int) (load.Session, error) { return openMilter(s.socket, n, c) }}
}

// withHits gives every so many letters something that is on the lists, one kind
// after the other.
func (b *bench) withHits(n uint64) (w wish, stopped bool) {
	if n%hitEvery != hitEvery-1 {
		return wish{}, false
	}
	i := int(n / hitEvery)
	switch i % 4 {
	case 0:
		w.sender = b.known.sender(i)
	case 1:
		w.sender = "news@" + b.known.domain(i)
	case 2:
		w.link = b.known.url(i)
	default:
		w.attachment = b.known.content(i)
	}
	return w, true
}

// sizes says how large the letters are.
func sizes() string {
	p := newPen()
	least, most := len(p.write(0, wish{}).Raw), 0
	for n := range uint64(200) {
		size := len(p.write(n, wish{}).Raw)
		least, most = min(least, size), max(most, size)
	}
	return fmt.Sprintf("%.1f to %.1f KB", float64(least)/1e3, float64(most)/1e3)
}
