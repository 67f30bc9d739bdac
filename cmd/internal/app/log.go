package app

import (
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmail/weir/config"
)

// logger is the daemon's log; its level can change.
type logger struct {
	*zap.Logger
	level zap.AtomicLevel
}

// newLogger makes it. What is a warning or worse is written at once, with all that
// was logged before.
func newLogger(cfg *config.Config, to io.Writer) (*logger, error) {
	l := &logger{level: zap.NewAtomicLevel()}
	if err := l.setLevel(cfg); err != nil {
		return nil, err
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if cfg.Log.Format == config.LogConsole {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02 15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	out := &lateWriter{to: to}
	urgent := zap.Hooks(func(e zapcore.Entry) error {
		if e.Level >= zapcore.WarnLevel {
			return out.Sync()
		}
		return nil
	})
	l.Logger = zap.New(zapcore.NewCore(encoder, out, l.level), urgent)
	return l, nil
}

func (l *logger) setLevel(cfg *config.Config) error {
	level, err := zapcore.ParseLevel(string(cfg.Log.Level))
	if err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	l.level.SetLevel(level)
	return nil
}

// A line may wait so long for others, and so many bytes of them are kept.
const (
	lateBy   = 100 * time.Millisecond
	lateRoom = 64 << 10
)

// lateWriter writes lines together a moment later: there is one for each message,
// and to write it wakes whoever takes in what services print. What was written is
// on its way once Sync returns.
type lateWriter struct {
	to io.Writer

	mu    sync.Mutex
	kept  []byte
	timer *time.Timer // ends the wait; nil while nobody waits
}

// Write implements zapcore.WriteSyncer.
func (w *lateWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.kept)+len(line) > lateRoom {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	w.kept = append(w.kept, line...)
	if w.timer == nil {
		w.timer = time.AfterFunc(lateBy, w.late)
	}
	return len(line), nil
}

// late is the end of the wait. An error has nobody to be told to.
func (w *lateWriter) late() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = nil
	_ = w.flush()
}

// Sync writes what was kept. It implements zapcore.WriteSyncer.
func (w *lateWriter) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

// flush writes what was kept; w.mu is held. What cannot be written is lost, as any
// line of a log is.
func (w *lateWriter) flush() error {
	if len(w.kept) == 0 {
		return nil
	}
	_, err := w.to.Write(w.kept)
	w.kept = w.kept[:0]
	return err
}
