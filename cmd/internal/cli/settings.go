package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/config"
)

// Where a configuration is looked for when none is named.
const (
	defaultConfig = "/etc/weir/weir.toml"
	localConfig   = "weir.toml"
)

// configPath gives the configuration file to use: the named one, else the first
// of the usual ones that is there; "" where none is.
func (a *app) configPath() string {
	if a.configFlag != "" {
		return a.configFlag
	}
	for _, path := range []string{defaultConfig, localConfig} {
		// One that cannot be looked at is one too: reading it says why.
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// load reads the configuration. Which one it is is said where that was not to be
// expected.
func (a *app) load() (*config.Config, string, error) {
	path := a.configPath()
	if path == "" {
		return nil, "", fmt.Errorf("there is no configuration: neither %s nor ./%s; name one with --config, or make one of what weir config sample prints", defaultConfig, localConfig)
	}
	if a.configFlag == "" && path == localConfig {
		a.note("configuration: ./%s", localConfig)
	}
	cfg, err := config.Load(path)
	return cfg, path, err
}

// loadOrDefault is load, but without a configuration file it gives the defaults
// and no path.
func (a *app) loadOrDefault() (*config.Config, string, error) {
	if a.configPath() == "" {
		return config.Default(), "", nil
	}
	return a.load()
}

// note prints something that is good to know, on the error stream.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.io.Err, "%s %s\n", a.errors.Faint("weir:"), term.Line(fmt.Sprintf(format, args...)))
}

// warn prints something that somebody should look at.
func (a *app) warn(format string, args ...any) {
	_, _ = fmt.Fprintf(a.io.Err, "%s %s\n", a.errors.Care("weir: warning:"), term.Line(fmt.Sprintf(format, args...)))
}

// client gives a way to the daemon. A configuration that cannot be used does not
// stand in the way: the daemon runs by its last good one.
func (a *app) client() *client.Client { return client.New(a.socket()) }

func (a *app) socket() string {
	if a.socketFlag != "" {
		return a.socketFlag
	}
	fallback := config.Default().Control.Listen.Address
	if a.configPath() == "" {
		return fallback
	}
	cfg, path, err := a.load()
	if err != nil {
		a.complain(err) // first: why the wrong socket is asked says what to do
		a.warn("%s cannot be used, so the daemon is looked for at %s (--socket names another)", path, fallback)
		return fallback
	}
	if cfg.Control.Listen.Network != "unix" { // systemd has the path
		return fallback
	}
	return cfg.Control.Listen.Address
}
