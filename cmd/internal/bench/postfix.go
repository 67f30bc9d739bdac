package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/load"
	"github.com/weirmail/weir/cmd/internal/bench/proc"
	"github.com/weirmail/weir/cmd/internal/lab"
)

// postfix measures how fast one Postfix takes mail by three of its listeners:
// without a milter, with the one that accepts everything, and with the daemon.
func (b *bench) postfix(ctx context.Context) error {
	silent, err := startAccept(b.lab, false)
	if err != nil {
		return err
	}
	weir, err := startWeir(ctx, b.lab, b.program, "weir-postfix", b.known)
	if err != nil {
		return err
	}
	mta, err := b.lab.Postfix(lab.PostfixOptions{
		Domains: []string{domain},
		Listeners: []lab.PostfixListener{
			{Name: silent.name, Milters: []string{"unix:" + silent.socket}},
			{Name: weir.name, Milters: []string{"unix:" + weir.socket}},
		},
	})
	if err != nil {
		return err
	}
	group, err := masterGroup(mta)
	if err != nil {
		return err
	}
	for _, sessions := range []int{4, 16} {
		through := func(name, what string, g proc.Group) *contestant {
			listener := name
			if name == "none" {
				listener = ""
			}
			return &contestant{name: name, what: what, group: g, open: func(n int) (load.Session, error) { return openSMTP(mta.Addr(listener), n) }}
		}
		none := through("none", "Postfix alone", group)
		accept := through(silent.name, "Postfix with "+silent.what, group.With(silent.group))
		ours := through(weir.name, "Postfix with "+weir.what, group.With(weir.group))
		all := []*contestant{none, accept, ours}
		const perSession = 10
		c := b.contest(sessions, perSession, time.Minute/2)
		if !b.quick {
			// A rate through Postfix swings by a tenth from one round to the next:
			// many short ones tell more.
			c.rounds, c.load = 2*rounds, time.Minute/2/(2*rounds)
		}
		c.run(ctx, all)
		b.print(b.report.add(table{
			Name: fmt.Sprintf("postfix-%d", sessions), Title: fmt.Sprintf("Through Postfix with %d SMTP sessions", sessions),
			Notes: []string{fmt.Sprintf("%d messages a session, all commands but the content pipelined; delivery to discard; CPU time and memory of Postfix and milter together", perSession)},
		}, all).String())
		b.report.aim(target{Name: fmt.Sprintf("rate through Postfix with %d sessions, weir over %s", sessions, silent.name), AtLeast: 0.9}, ratio(ours, accept, rate))
	}
	return nil
}

// masterGroup gives all processes of a Postfix, by master(8)'s PID file.
func masterGroup(p *lab.Postfix) (proc.Group, error) {
	text, err := os.ReadFile(filepath.Join(p.QueueDir(), "pid", "master.pid"))
	if err != nil {
		return proc.Group{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return proc.Group{}, fmt.Errorf("the PID file of Postfix: %w", err)
	}
	return proc.GroupOf(pid)
}
