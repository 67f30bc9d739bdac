package app

import "github.com/weirmail/weir/config"

func (a *App) serveControl() error { return nil }

func (a *App) setRoles(*config.Config) {}
