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
	// Before the daemon can be told to: a signal that nobody waits for ends it.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	a, err := Start(ctx, o)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	reloads, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-reloads.Done():
				return
			case <-hangups:
				if _, err := a.Reload(reloads); err != nil {
					a.log.Warn("not reloaded", zap.Error(err))
				}
			}
		}
	}()
	err = a.Wait(ctx)
	end()
	<-done
	return errors.Join(err, a.Stop())
}
