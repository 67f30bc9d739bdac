package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/app"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/match"
)

// maxReal leaves out the few torture messages that are larger than mail usually
// is, and would be all that is measured.
const maxReal = 200 << 10

// realMessages gives the sample messages that lie beside the repository, with
// CRLF as the MTA has them; letters of our own where there are none.
func realMessages(b *testing.B) [][]byte {
	b.Helper()
	var all [][]byte
	err := filepath.WalkDir("../../../../shared/samples/mime", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".eml" && filepath.Ext(path) != ".msg" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err == nil && len(raw) <= maxReal {
			raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
			all = append(all, raw)
		}
		return err
	})
	if err != nil {
		b.Logf("no samples beside the repository (%v): letters of our own", err)
		p := newPen()
		for n := range uint64(200) {
			all = append(all, bytes.Clone(p.write(n, wish{}).Raw))
		}
	}
	if len(all) == 0 {
		b.Fatal("no messages")
	}
	return all
}

// BenchmarkRealMessages takes real messages, one after the other, as far as the
// parser, as far as a verdict, and through a whole daemon in this process.
func BenchmarkRealMessages(b *testing.B) {
	all := realMessages(b)
	var bytes int64
	for _, raw := range all {
		bytes += int64(len(raw))
	}
	b.Logf("%d messages of %d bytes on average", len(all), bytes/int64(len(all)))
	parser, err := message.NewParser(message.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		each(b, all, func(_ int, raw []byte) { parser.Parse(raw, nil) })
	})
	b.Run("judge", func(b *testing.B) {
		judge := newJudge(b)
		parsed := make([]*message.Message, len(all))
		for i, raw := range all {
			parsed[i] = parser.Parse(raw, nil)
		}
		env := &message.Envelope{Client: message.Client{Addr: netip.MustParseAddr("192.0.2.1")}}
		each(b, all, func(i int, _ []byte) {
			if _, _, err := judge.Judge(env, parsed[i]); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("daemon", func(b *testing.B) {
		session := newSession(b)
		each(b, all, func(i int, raw []byte) {
			if _, err := session.Send(&miltertest.Message{QueueID: fmt.Sprint(i), From: "<a@shop.test>", To: []miltertest.Recipient{{Address: "<a@example.org>"}}, Raw: raw}); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// each does something with one message after the other.
func each(b *testing.B, all [][]byte, do func(i int, raw []byte)) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		do(i%len(all), all[i%len(all)])
	}
}

// newJudge judges by the default policy and 40 000 list entries in memory.
func newJudge(b *testing.B) *filter.Judge {
	pol, err := policy.Parse(policy.DefaultName, policy.Default(), policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	known, lists := knownBad{10_000}, match.NewMemory()
	for _, kind := range []struct {
		entry func(int) string
		value func(string) (intel.Value, error)
	}{{known.sender, intel.Address}, {known.domain, intel.Domain}, {known.url, intel.URL}, {known.digest, intel.Digest}} {
		for i := range known.n {
			v, err := kind.value(kind.entry(i))
			if err != nil {
				b.Fatal(err)
			}
			lists.Add(&intel.Indicator{Pattern: intel.Exact(v), Disposition: intel.Block, Source: "list:block/bench.txt", Line: i + 1})
		}
	}
	snapshot, err := lists.Snapshot(1)
	if err != nil {
		b.Fatal(err)
	}
	matcher := match.NewMatcher()
	matcher.Swap(snapshot)
	judge, err := filter.NewJudge(matcher, filter.Rules{Policy: pol}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return judge
}

// newSession opens a milter session with a daemon in this process.
func newSession(b *testing.B) *miltertest.Session {
	dir, err := os.MkdirTemp("", "weirbench") // a socket's path must be short
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := makeHome(dir, os.Getuid(), os.Getgid(), knownBad{1000}); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "weir.toml")
	cfg, err := config.Load(file)
	if err != nil {
		b.Fatal(err)
	}
	cfg.Log.Level = "error"
	daemon, err := app.Start(b.Context(), app.Options{ConfigFile: file, Config: cfg, Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := daemon.Stop(); err != nil {
			b.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := daemon.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	session, err := miltertest.Dial("unix", filepath.Join(dir, "milter.sock"), miltertest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = session.Close() })
	if err := session.Connect(miltertest.Client{Name: "mail.shop.test", Addr: netip.MustParseAddrPort("192.0.2.1:4711"), Helo: "mail.shop.test"}); err != nil {
		b.Fatal(err)
	}
	return session
}
