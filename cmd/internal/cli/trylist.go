package cli

import (
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/explain"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/store"
)

// tryHere tries a value, or all that a message shows, on the list files.
func (a *app) tryHere(t api.ListTest, f *scanFlags, isFile bool) ([]api.ListTested, error) {
	if f.lists == "" {
		cfg, _, err := a.load()
		if err != nil {
			return nil, err
		}
		f.lists = string(cfg.Lists.Dir)
	}
	if isFile {
		return a.tryMessage(t, f)
	}
	snapshot, report, err := store.LoadMemory(f.lists, list.Options{})
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	a.listsUsed(report)
	one, err := explain.Value(snapshot, t, a.now())
	if err != nil {
		return nil, err
	}
	return []api.ListTested{*one}, nil
}

func (a *app) tryMessage(t api.ListTest, f *scanFlags) ([]api.ListTested, error) {
	if t.Direction != "" {
		return nil, usagef("--direction is about one value: that of a message follows from --envelope-from, --rcpt and --client-ip")
	}
	tx, err := f.transaction()
	if err != nil {
		return nil, err
	}
	s, about, err := a.scanner(f)
	if err != nil {
		return nil, err
	}
	file, err := a.readMessage(t.Value, about.cfg)
	if err != nil {
		return nil, err
	}
	return s.Known(file, tx)
}
