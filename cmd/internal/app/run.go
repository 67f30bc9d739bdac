package app

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"
)

// Run starts a daemon and works until the context ends or it cannot go on; then
// it drains sessions and closes everything. SIGHUP has it reload.
func Run(ctx context.Context, o Options) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anything, or it would end the process
	defer signal.Stop(hup)
	a, err := Start(ctx, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if _, err := a.Reload(ctx); err != nil {
					a.log.Warn("not reloaded", zap.Error(err))
				}
			}
		}
	}()
	err = a.Wait(ctx)
	return errors.Join(err, a.Stop())
}
