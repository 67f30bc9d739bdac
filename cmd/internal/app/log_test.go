package app

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmail/weir/config"
)

// pieces keeps what is written to it, each write by itself.
type pieces struct {
	mu  sync.Mutex
	all []string
}

func (p *pieces) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, string(b))
	return len(b), nil
}

func (p *pieces) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.all
	p.all = nil
	return all
}

func TestLinesOfTheLogAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pieces{}
		w := &lateWriter{to: out}
		for range 2 { // also after the first wait
			for _, line := range []string{"one\n", "two\n", "three\n"} {
				if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
					t.Fatal(n, err)
				}
			}
			time.Sleep(lateBy - time.Nanosecond)
			synctest.Wait()
			if got := out.take(); got != nil {
				t.Fatalf("%q came early", got)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := out.take(); len(got) != 1 || got[0] != "one\ntwo\nthree\n" {
				t.Fatalf("%q", got)
			}
		}
	})
}

func TestALineThatSomebodyWaitsForIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pieces{}
		w := &lateWriter{to: out}
		_, _ = w.Write([]byte("one\n"))
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		if got := out.take(); len(got) != 1 || got[0] != "one\n" {
			t.Fatalf("%q", got)
		}
		time.Sleep(lateBy)
		synctest.Wait()
		if got := out.take(); got != nil {
			t.Errorf("written once more: %q", got)
		}
	})
}

func TestTheLogKeepsNoMoreThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pieces{}
		w := &lateWriter{to: out}
		line := bytes.Repeat([]byte("x"), lateRoom-1)
		for _, l := range [][]byte{line, []byte("y\n"), line, line} {
			if _, err := w.Write(l); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(out.take(), "")
		if want := string(line) + "y\n" + string(line) + string(line); all != want {
			t.Errorf("%d bytes, want %d in their order", len(all), len(want))
		}
		if cap(w.kept) > 2*lateRoom {
			t.Errorf("%d bytes kept", cap(w.kept))
		}
	})
}

func TestAWarningIsWrittenAtOnceWithWhatWasBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pieces{}
		cfg := config.Default()
		cfg.Log.Format = config.LogJSON
		l, err := newLogger(cfg, out)
		if err != nil {
			t.Fatal(err)
		}
		l.Info("message judged")
		if got := out.take(); got != nil {
			t.Fatalf("%q came early", got)
		}
		l.Warn("trouble")
		got := strings.Join(out.take(), "")
		if before, after := strings.Index(got, "message judged"), strings.Index(got, "trouble"); before < 0 || after < before {
			t.Errorf("%q", got)
		}
		l.With().Named("part").Info("the last word")
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if got := out.take(); len(got) != 1 || !strings.Contains(got[0], "the last word") {
			t.Errorf("%q", got)
		}
	})
}
