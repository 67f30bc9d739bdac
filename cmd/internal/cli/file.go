package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// export has something written to a file, or to standard output for - and "". A
// file appears under its name only when all of it is there and on the disk.
func (a *app) export(ctx context.Context, name string, write func(ctx context.Context, w io.Writer) error) (err error) {
	ctx, stop := orderly(ctx)
	defer stop()
	if name == "" && a.screen.Terminal {
		return usagef("what comes may do anything to a terminal: name a file with -o, or - to have it all the same")
	}
	if name == "" || name == "-" {
		return write(ctx, a.io.Out)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = write(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// jsonList prints a document that holds one long list, without keeping it.
type jsonList struct {
	a   *app
	key string
	n   int
	err error
}

func newJSONList(a *app, key string) *jsonList { return &jsonList{a: a, key: key} }

func (l *jsonList) add(v any) {
	before := ",\n    "
	if l.n == 0 {
		before = "{\n  \"" + l.key + "\": [\n    "
	}
	l.n++
	if l.err != nil {
		return
	}
	text, err := jsonText(v, "    ")
	if err == nil {
		_, err = io.WriteString(l.a.io.Out, before+strings.TrimSuffix(string(text), "\n"))
	}
	l.err = err
}

// end closes the list and adds further keys, of which there has to be one.
func (l *jsonList) end(more map[string]any) error {
	if l.err != nil {
		return l.err
	}
	if l.n == 0 {
		more[l.key] = []any{}
		return l.a.printJSON(more)
	}
	text, err := jsonText(more, "")
	if err != nil {
		return err
	}
	rest := string(text[1:]) // behind the brace that opens it
	_, err = io.WriteString(l.a.io.Out, "\n  ],"+rest)
	return err
}
