package main

import (
	"context"
	"crypto/md5"  //nolint:gosec // indicators name files by it
	"crypto/sha1" //nolint:gosec // indicators name files by it
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/load"
	"github.com/weirmail/weir/cmd/internal/bench/proc"
	"github.com/weirmail/weir/filter/message"
)

const attachmentBytes = 1_000_000

// attachment measures what a large attachment costs: parsing the message against
// what cannot be avoided, and the whole path through the daemon.
func (b *bench) attachment(ctx context.Context) error {
	file := make([]byte, attachmentBytes)
	r := random(1)
	for i := range file {
		file[i] = byte(r.next())
	}
	if err := b.parseAttachment(file); err != nil {
		return err
	}
	weir, err := startWeir(ctx, b.lab, b.program, "weir-attachment", b.known)
	if err != nil {
		return err
	}
	silent, err := startAccept(b.lab, false)
	if err != nil {
		return err
	}
	var all []*contestant
	for _, s := range []*server{weir, silent} {
		all = append(all, &contestant{name: s.name, what: s.what, group: s.group, open: func(n int) (load.Session, error) {
			return openMilter(s.socket, n, func(n uint64) (wish, bool) {
				return wish{attachment: append(file[:len(file):len(file)], byte(n), byte(n>>8), byte(n>>16))}, false
			})
		}})
	}
	b.contest(2, 10, 10*time.Second).run(ctx, all)
	b.print(b.report.add(table{Name: "attachment", Title: "An attachment of 1 MB through the milter, for information", Notes: []string{"2 sessions at once"}}, all).String())
	return nil
}

// parseAttachment compares the parser with the three digests and base64 alone,
// in turns within this process.
func (b *bench) parseAttachment(file []byte) error {
	raw := newPen().write(1, wish{attachment: file}).Raw
	draft := draft{}
	draft.attach(file)
	encoded, decoded := draft.raw, make([]byte, base64.StdEncoding.DecodedLen(len(draft.raw)))
	digests := []hash.Hash{sha256.New(), sha1.New(), md5.New()} //nolint:gosec // as above
	parser, err := message.NewParser(message.Limits{})
	if err != nil {
		return err
	}
	alone := func() error {
		n, err := base64.StdEncoding.Decode(decoded, encoded)
		for _, d := range digests {
			d.Reset()
			d.Write(decoded[:n])
			d.Sum(nil)
		}
		return err
	}
	parse := func() error {
		if m := parser.Parse(raw, nil); m.Incomplete != nil || len(m.Parts) < 4 {
			return fmt.Errorf("the parser found %d parts: %w", len(m.Parts), m.Incomplete)
		}
		return nil
	}
	turns, times := 20, 20
	if b.quick {
		turns, times = 2, 2
	}
	var parsed, bare []cost
	for range turns {
		for _, c := range []struct {
			do  func() error
			all *[]cost
		}{{alone, &bare}, {parse, &parsed}} {
			spent, err := repeat(times, c.do)
			if err != nil {
				return err
			}
			*c.all = append(*c.all, spent)
		}
	}
	wall := func(c cost) float64 { return millis(c.wall) / float64(times) }
	cpu := func(c cost) float64 { return millis(c.cpu) / float64(times) }
	b.print(fmt.Sprintf("\nA message with an attachment of 1 MB, %d times in each of %d turns\n", times, turns))
	for _, of := range []struct {
		name string
		all  []cost
	}{{"SHA-256, SHA-1, MD5 and base64 alone", bare}, {"the parser", parsed}} {
		t := over(turns, func(i int) float64 { return wall(of.all[i]) })
		c := over(turns, func(i int) float64 { return cpu(of.all[i]) })
		b.print(fmt.Sprintf("  %-37s %.2f ms (%.2f–%.2f), CPU time %.2f ms (%.2f–%.2f)\n", of.name, t.Median, t.Min, t.Max, c.Median, c.Min, c.Max))
	}
	b.report.aim(target{Name: "time for a 1 MB attachment, parser over digests and base64", AtMost: 2}, over(turns, func(i int) float64 { return wall(parsed[i]) / wall(bare[i]) }))
	b.report.aim(target{Name: "CPU time for a 1 MB attachment, parser over digests and base64", AtMost: 2}, over(turns, func(i int) float64 { return cpu(parsed[i]) / cpu(bare[i]) }))
	return nil
}

// cost is what some work took of time and of this process's CPU time.
type cost struct{ wall, cpu time.Duration }

func repeat(times int, do func() error) (cost, error) {
	cpu, err := proc.Self()
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	for range times {
		if err := do(); err != nil {
			return cost{}, err
		}
	}
	wall := time.Since(began)
	after, err := proc.Self()
	return cost{wall, after - cpu}, err
}
