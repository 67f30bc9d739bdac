package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// reader follows a file in a test, and can be killed between any two batches.
type reader struct {
	t    *testing.T
	file *File

	mu    sync.Mutex
	lines []string
	gaps  []string
	after []byte
	fail  error // what the next batch with lines is answered with
	kill  bool  // the reader is, at the next batch with lines

	cancel context.CancelFunc
	done   chan error
}

func newReader(t *testing.T, path string) *reader {
	f, err := NewFile(FileOptions{Path: path, Poll: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, file: f}
	t.Cleanup(r.stop)
	return r
}

func (r *reader) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	after := bytes.Clone(r.after)
	go func() { r.done <- r.file.Run(ctx, after, r.emit) }()
}

func (r *reader) stop() {
	if r.cancel != nil {
		r.cancel()
		if err := <-r.done; err != nil {
			r.t.Error(err)
		}
		r.cancel = nil
	}
}

func (r *reader) emit(b Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil && len(b.Lines) > 0 {
		return r.fail
	}
	for _, l := range b.Lines {
		r.lines = append(r.lines, string(l.Text))
	}
	if b.Gap != "" {
		r.gaps = append(r.gaps, b.Gap)
	}
	r.after = bytes.Clone(b.After)
	if r.kill && len(b.Lines) > 0 {
		r.cancel()
	}
	return nil
}

func (r *reader) read() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// want waits until all lines were read, and sees that there are no others.
func (r *reader) want(lines ...string) {
	r.t.Helper()
	for until := time.Now().Add(10 * time.Second); len(r.read()) < len(lines) && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	if got := r.read(); !slices.Equal(got, lines) {
		i := 0
		for i < min(len(got), len(lines)) && got[i] == lines[i] {
			i++
		}
		r.t.Fatalf("read %d lines, want %d; from the %dth on: %.300q, want %.300q", len(got), len(lines), i, got[i:], lines[i:])
	}
}

func (r *reader) noGap() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.gaps) > 0 {
		r.t.Errorf("gaps: %q", r.gaps)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// copyTruncate rotates as logrotate does with copytruncate.
func copyTruncate(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err == nil {
		err = os.Truncate(from, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestLinesAreReadAsTheyAreWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	appendTo(t, path, "one\ntw")
	r := newReader(t, path)
	r.start()
	r.want("one")
	appendTo(t, path, "o\r\n\nthree\n")
	r.want("one", "two", "three")
	r.stop()
	appendTo(t, path, "four\n")
	r.start()
	r.want("one", "two", "three", "four")
	r.noGap()
}

func TestARenamedFileIsReadToItsEndFirst(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mail.log")
			appendTo(t, path, "one\n")
			r := newReader(t, path)
			r.start()
			r.want("one")
			if !running {
				r.stop()
			}
			rename(t, path, path+".1")
			appendTo(t, path+".1", "two\n") // the writer has not been told yet
			appendTo(t, path, "")           // logrotate's create
			if !running {
				r.start()
			}
			r.want("one", "two")
			appendTo(t, path+".1", "thr")
			time.Sleep(5 * time.Millisecond)
			appendTo(t, path+".1", "ee")
			appendTo(t, path, "four\n")
			r.want("one", "two", "three", "four")
			appendTo(t, path, "five\n")
			r.want("one", "two", "three", "four", "five")
			r.noGap()
		})
	}
}

func TestFilesThatWereRotatedWhileNobodyReadAreReadInOrder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mail.log")
	appendTo(t, path+".9", "long ago\n")
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(path+".9", old, old); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "one\n")
	r := newReader(t, path)
	r.start()
	r.want("one")
	r.stop()
	appendTo(t, path, "two\n")
	time.Sleep(5 * time.Millisecond)
	rename(t, path, path+".2")
	appendTo(t, path, "three\n")
	appendTo(t, filepath.Join(dir, "mail.log.err"), "another log\n")
	appendTo(t, path+".3.gz", "compressed\n")
	time.Sleep(5 * time.Millisecond)
	rename(t, path, path+".1")
	appendTo(t, path, "four\n")
	r.start()
	r.want("one", "two", "three", "four")
	r.noGap()
}

func TestACopiedAndTruncatedFileIsReadFromTheCopyFirst(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mail.log")
			appendTo(t, path, "one\n")
			r := newReader(t, path)
			r.start()
			r.want("one")
			if running {
				copyTruncate(t, path, path+"-20261122")
			} else {
				r.stop()
				appendTo(t, path, "two\n")
				copyTruncate(t, path, path+"-20261122")
			}
			// Longer than what was read, so that the length does not give it away.
			appendTo(t, path, "three, which is longer\nfour\n")
			want := []string{"one", "two", "three, which is longer", "four"}
			if running {
				want = slices.Delete(want, 1, 2)
			} else {
				r.start()
			}
			r.want(want...)
			r.noGap()
		})
	}
}

func TestWhatWasReadAndIsGoneIsAGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	appendTo(t, path, "one\n")
	r := newReader(t, path)
	r.start()
	r.want("one")
	r.stop()
	rename(t, path, path+".1.gz")
	appendTo(t, path, "two\n")
	r.start()
	r.want("one", "two")
	r.stop()
	if len(r.gaps) != 1 || !strings.Contains(r.gaps[0], path) {
		t.Errorf("gaps: %q", r.gaps)
	}
}

func TestARotatedFileThatWasReadToItsEndMayGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	appendTo(t, path, "one\n")
	r := newReader(t, path)
	r.start()
	r.want("one")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	appendTo(t, path, "two\n")
	r.want("one", "two")
	r.noGap()
}

func TestABatchThatWasNotTakenComesAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	appendTo(t, path, "one\n")
	r := newReader(t, path)
	full := errors.New("disk full")
	r.fail = full
	r.start()
	if err := <-r.done; !errors.Is(err, full) {
		t.Fatal(err)
	}
	r.cancel = nil
	r.fail = nil
	r.start()
	r.want("one")
}

func TestAReaderKilledInTheMiddleOfALineReadsItWholeLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	appendTo(t, path, "one\n")
	r := newReader(t, path)
	r.start()
	r.want("one")
	r.stop()
	want := []string{"one"}
	for i := range 2 * chunk / 1000 { // so that a line goes over the end of the first read
		want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("x", 990)))
	}
	appendTo(t, path, strings.Join(want[1:], "\n")+"\n")
	rename(t, path, path+".1")
	appendTo(t, path, "last\n")
	r.kill = true
	r.start()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if n := len(r.lines); n == 1 || n >= len(want) {
		t.Fatalf("it was killed after %d lines", n)
	}
	r.cancel, r.kill = nil, false
	r.start()
	r.want(append(want, "last")...)
	r.noGap()
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"missing": filepath.Join(dir, "none"), "a folder": dir} {
		f, err := NewFile(FileOptions{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Run(t.Context(), nil, func(Batch) error { return nil }); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewFile(FileOptions{}); err == nil {
		t.Error("no path was taken")
	}
	f, err := NewFile(FileOptions{Path: filepath.Join(dir, "x")})
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []string{"x", `{"offset":-1}`, `{"offset":5,"length":9}`} {
		if err := f.Run(t.Context(), []byte(after), nil); err == nil {
			t.Errorf("%s was taken for a position", after)
		}
	}
}

// A writer that rotates now and then, a reader that is killed now and then.
func TestNoLineIsLostOrReadTwiceThroughRotationsAndKills(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			path := filepath.Join(t.TempDir(), "mail.log")
			appendTo(t, path, "line 0\n")
			r := newReader(t, path)
			r.start()
			r.want("line 0") // what was rotated before the first time is not read
			want := []string{"line 0"}
			rotations := 0
			for range 150 {
				switch rnd.IntN(12) {
				case 0:
					if r.cancel == nil {
						r.start()
					}
				case 1:
					r.stop()
				case 2:
					if info, err := os.Stat(path); err != nil || info.Size() == 0 {
						continue // logrotate's notifempty
					}
					for i := rotations; i > 0; i-- {
						rename(t, fmt.Sprintf("%s.%d", path, i), fmt.Sprintf("%s.%d", path, i+1))
					}
					rename(t, path, path+".1")
					rotations++
					appendTo(t, path, "")
				default:
					line := fmt.Sprintf("line %d %s", len(want), strings.Repeat("x", rnd.IntN(300)))
					cut := rnd.IntN(len(line))
					appendTo(t, path, line[:cut])
					appendTo(t, path, line[cut:]+"\n")
					want = append(want, line)
				}
			}
			if r.cancel == nil {
				r.start()
			}
			appendTo(t, path, "end\n")
			r.want(append(want, "end")...)
			r.noGap()
		})
	}
}

func TestAnySplitIntoReadsGivesTheSameLines(t *testing.T) {
	long := strings.Repeat("y", MaxLine)
	stream := "one\n\ntwo\r\n" + long + "\n" + long + "z\nthree\n" + strings.Repeat("w", 3*MaxLine) + "\nfour\nrest"
	whole, _, _ := splitAll(stream, nil)
	if len(whole) != 6 || whole[5] != "rest" {
		t.Fatalf("%d lines", len(whole))
	}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		lines, consumed, tooLong := splitAll(stream, rnd)
		if !slices.Equal(lines, whole) || consumed != int64(len(stream)) || tooLong != 2 {
			t.Fatalf("seed %d: %d lines, %d bytes, %d too long", seed, len(lines), consumed, tooLong)
		}
	}
}

func splitAll(stream string, rnd *rand.Rand) (lines []string, consumed int64, tooLong int) {
	var s splitter
	line := func(b []byte) {
		if len(b) > 0 {
			lines = append(lines, string(b))
		}
	}
	for len(stream) > 0 {
		n := len(stream)
		if rnd != nil {
			n = min(n, 1+rnd.IntN(1<<rnd.IntN(16)))
		}
		c, l := s.feed([]byte(stream[:n]), line)
		consumed, tooLong = consumed+c, tooLong+l
		stream = stream[n:]
	}
	c, l := s.rest(line)
	return lines, consumed + c, tooLong + l
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\nrest"), uint64(1))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		whole, _, _ := splitAll(string(stream), nil)
		parts, consumed, _ := splitAll(string(stream), rand.New(rand.NewPCG(seed, 3)))
		if !slices.Equal(whole, parts) || consumed != int64(len(stream)) {
			t.Errorf("%q is %q in one read and %q in several", stream, whole, parts)
		}
	})
}

func TestASourceIsReadFromItsConfiguredForm(t *testing.T) {
	for text, ok := range map[string]bool{"file:/var/log/mail.log": true, "journald:": true, "journald:/var/log/journal": true,
		"": false, "file:": false, "file:mail.log": false, "/var/log/mail.log": false, "journald:x": false, "journald": false,
		"syslog:tcp:127.0.0.1:1514": true, "syslog:udp:[::1]:1514": true, "syslog:tls:127.0.0.1:1": false, "syslog:127.0.0.1:1": false, "syslog:tcp:host:1": false} {
		s, err := Parse(text, SyslogOptions{})
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		if ok && s.Name() != text {
			t.Errorf("%q calls itself %q", text, s.Name())
		}
	}
}

func BenchmarkFile(b *testing.B) {
	path := filepath.Join(b.TempDir(), "mail.log")
	line := "Nov 22 01:11:00 mx postfix/lmtp[27286]: 4jX9xc2YzNz1Vkhj: to=<bob@lab.test>, relay=192.0.2.7[192.0.2.7]:24, delay=0.06, delays=0/0.02/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 <bob@lab.test> +Miv Saved)\n"
	const lines = 100_000
	if err := os.WriteFile(path, []byte(strings.Repeat(line, lines)), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := NewFile(FileOptions{Path: path, Poll: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(lines * len(line)))
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		n := 0
		err := f.Run(ctx, nil, func(batch Batch) error {
			if n += len(batch.Lines); n == lines {
				cancel()
			}
			return nil
		})
		if err != nil || n != lines {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
}
