package milter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/milter/yardstick"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// BenchmarkMessage measures what a message of 10 KB with 20 header fields costs
// a milter that accepts it: ours, and the library alone with replies and without.
// The milter runs in a process of its own, so that its CPU time and allocations
// are told apart from those of the load: cpu-µs/msg and allocs/msg are the
// milter's, ns/op is the time at four sessions at once.
//
//	go test ./filter/milter -run '^$' -bench Message -benchtime 20000x
func BenchmarkMessage(b *testing.B) {
	for _, network := range []string{"unix", "tcp"} {
		for _, mode := range []string{"library-with-replies", "library-no-replies", "weir"} {
			b.Run(network+"/"+mode, func(b *testing.B) { benchmarkMessage(b, network, mode, miltertest.Options{}) })
		}
	}
	// As Postfix writes: its buffer is 4 KB.
	for _, network := range []string{"unix", "tcp"} {
		for _, mode := range []string{"library-no-replies", "weir"} {
			b.Run(network+"-in-pieces/"+mode, func(b *testing.B) {
				benchmarkMessage(b, network, mode, miltertest.Options{WriteBytes: 4096})
			})
		}
	}
}

const benchSessions = 4

func benchmarkMessage(b *testing.B, network, mode string, opts miltertest.Options) {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = b.TempDir() + "/s"
	}
	milter := startBenchMilter(b, mode, network, address)
	m := benchMessage()
	sessions := make([]*miltertest.Session, benchSessions)
	for i := range sessions {
		s, err := miltertest.Dial(network, milter.address, opts)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if err := s.Connect(testClient); err != nil {
			b.Fatal(err)
		}
		sessions[i] = s
	}
	run := func(n int64) {
		var left atomic.Int64
		left.Store(n)
		var wg sync.WaitGroup
		for _, s := range sessions {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if r, err := s.Send(m); err != nil || r.Action != intel.ActionAccept {
						b.Errorf("%+v, %v", r, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	run(200) // warm up
	before := milter.usage(b)
	b.ResetTimer()
	run(int64(b.N))
	b.StopTimer()
	milter.report(b, before)
}

func benchMessage() *miltertest.Message {
	var raw strings.Builder
	for i := range 20 {
		fmt.Fprintf(&raw, "X-Field-%02d: some value of a usual length, say about %d bytes\r\n", i, 60)
	}
	raw.WriteString("\r\n")
	for raw.Len() < 10_000 {
		raw.WriteString("A line of text as people write them, a bit less than eighty characters.\r\n")
	}
	m := sample()
	m.Raw = []byte(raw.String())
	return m
}

// usage is what a process has used up to now.
type usage struct {
	CPU    time.Duration
	Allocs uint64
	Bytes  uint64
}

// benchMilter is a milter in a process of its own.
type benchMilter struct {
	address string
	ask     io.Writer
	answers *bufio.Scanner
}

func startBenchMilter(b *testing.B, mode, network, address string) *benchMilter {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "WEIR_BENCH_MILTER="+mode+","+network+","+address)
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = ask.Close() // tells it to end
		_ = cmd.Wait()
	})
	m := &benchMilter{ask: ask, answers: bufio.NewScanner(out)}
	if !m.answers.Scan() {
		b.Fatal("the milter did not start")
	}
	m.address = m.answers.Text()
	return m
}

func (m *benchMilter) usage(b *testing.B) (u usage) {
	if _, err := io.WriteString(m.ask, "usage\n"); err != nil {
		b.Fatal(err)
	}
	if !m.answers.Scan() {
		b.Fatal("the milter is gone")
	}
	if err := json.Unmarshal(m.answers.Bytes(), &u); err != nil {
		b.Fatal(err)
	}
	return u
}

// report says what the milter has used since before, for each message.
func (m *benchMilter) report(b *testing.B, before usage) {
	after, n := m.usage(b), float64(b.N)
	b.ReportMetric(float64(after.CPU-before.CPU)/1000/n, "cpu-µs/msg")
	b.ReportMetric(float64(after.Allocs-before.Allocs)/n, "allocs/msg")
	b.ReportMetric(float64(after.Bytes-before.Bytes)/n, "alloc-B/msg")
	b.ReportMetric(n/b.Elapsed().Seconds(), "msg/s")
}

// benchMilterMain is the process that BenchmarkMessage measures. It says its
// address, then its usage for each line it reads.
func benchMilterMain(spec string) {
	part := strings.Split(spec, ",")
	ln, err := milter.Listen(milter.Socket{Network: part[1], Address: part[2], Mode: 0o666})
	if err != nil {
		panic(err)
	}
	switch part[0] {
	case "library-with-replies":
		go func() { _ = yardstick.Serve(ln, true) }()
	case "library-no-replies":
		go func() { _ = yardstick.Serve(ln, false) }()
	case "weir":
		pool, err := spool.New(spool.Options{Dir: os.TempDir()})
		if err != nil {
			panic(err)
		}
		server, err := milter.New(milter.Options{Handler: acceptAll{}, Scratch: rooms{pool}})
		if err != nil {
			panic(err)
		}
		go func() { _ = server.Serve(ln) }()
	}
	fmt.Println(ln.Addr())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var ru syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
			panic(err)
		}
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		line, err := json.Marshal(usage{time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), ms.Mallocs, ms.TotalAlloc})
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}

type acceptAll struct{}

func (acceptAll) Handle(context.Context, *milter.Mail) verdict.Answer {
	return verdict.Answer{Action: intel.ActionAccept}
}
