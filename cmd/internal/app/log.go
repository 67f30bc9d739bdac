package app

import (
	"fmt"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmail/weir/config"
)

// logger is the daemon's log; its level can change.
type logger struct {
	*zap.Logger
	level zap.AtomicLevel
}

func newLogger(cfg *config.Config) (*logger, error) {
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
	l.Logger = zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), l.level))
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
