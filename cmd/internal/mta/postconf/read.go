package postconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// readWithin bounds one call of postconf(1), which takes some hundredths of a
// second; a lookup table of main.cf that it may want to open can hang.
const readWithin = 20 * time.Second

// Command says which postconf(1) is asked, about which instance.
type Command struct {
	Path      string // the program; empty: postconf in $PATH or in /usr/sbin
	ConfigDir string // the folder of main.cf and master.cf; empty: Postfix's own
}

// Read asks postconf(1) for the whole configuration, defaults included. It
// starts the program without a shell and with an empty environment. The error
// says what postconf said.
func Read(ctx context.Context, cmd Command) (*Config, error) {
	if cmd.Path == "" {
		cmd.Path = "/usr/sbin/postconf"
		if found, err := exec.LookPath("postconf"); err == nil {
			cmd.Path = found
		}
	}
	var args []string
	if cmd.ConfigDir != "" {
		dir, err := filepath.Abs(cmd.ConfigDir) // postconf -c takes no other
		if err != nil {
			return nil, err
		}
		args = []string{"-c", dir}
	}
	var texts [3]string
	var said string
	for i, more := range [...][]string{nil, {"-n"}, {"-M"}} {
		var err error
		if texts[i], said, err = run(ctx, cmd.Path, append(args[:len(args):len(args)], more...)); err != nil {
			return nil, err
		}
	}
	all, services, set := texts[0], texts[2], texts[1]
	c, err := Parse(all, services)
	if err != nil {
		return nil, err
	}
	named, err := Parse(set, "")
	if err != nil {
		return nil, err
	}
	c.explicit = named.explicit
	for line := range strings.Lines(said) {
		if _, text, ok := strings.Cut(strings.TrimSpace(line), "warning: "); ok {
			c.warnings = append(c.warnings, text)
		}
	}
	return c, nil
}

// run gives what a program writes to its standard output and error.
func run(ctx context.Context, path string, args []string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	var out, said limited
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = time.Second
	what := strings.Join(append([]string{path}, args...), " ")
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return "", "", fmt.Errorf("%s: no answer: %w", what, context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound), err != nil && cmd.ProcessState == nil:
		return "", "", fmt.Errorf("%s cannot be started: %w; is Postfix installed here?", what, err)
	case err != nil:
		return "", "", fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(said.buffer.String()))
	}
	return out.buffer.String(), said.buffer.String(), nil
}

// limited keeps what is written to it up to a bound, beyond which it fails. The
// buffer is not embedded: io.Copy would use its ReadFrom, which has no bound.
type limited struct{ buffer bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.buffer.Len()+len(p) > textMax {
		return 0, fmt.Errorf("more than %d bytes of output", textMax)
	}
	return l.buffer.Write(p)
}
