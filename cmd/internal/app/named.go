package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/weirmail/weir/cmd/internal/secret"
	"github.com/weirmail/weir/config"
)

// credentialsFolder is where systemd puts what it hands over, while a service runs.
const credentialsFolder = "/run/credentials/"

// NamedFiles looks at the files with secrets and the feeds that a configuration names,
// for who checks it. The error names every mistake; the daemon starts in spite of what
// is only warned of. What only the daemon's user can see is warned of as unseen.
func NamedFiles(cfg *config.Config) (warnings []*config.Error, err error) {
	var unseen error
	look := func(file string) (string, error) {
		text, err := secret.Inspect(file)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(file, credentialsFolder) {
			unseen = err
		}
		return text, err
	}
	var all []error
	take := func(key string, err error) {
		switch {
		case err == nil:
		case unseen != nil:
			warnings = append(warnings, cfg.Problem(key, unseen.Error()+", so that it was not checked", "check as root, or as the daemon's user"))
		default:
			all = append(all, err)
		}
		unseen = nil
	}
	_, err = tokensOf(cfg, look)
	take("share.tokens_file", err)
	for i := range cfg.Feeds {
		f := &cfg.Feeds[i]
		if file := string(f.SecretFile); file != "" {
			key := fmt.Sprintf("feed[%d].secret_file", i)
			if _, err := look(file); err != nil {
				take(key, cfg.Problem(key, err.Error(), "write the password or the key alone into a file of mode 0600 that is the daemon's user's"))
			}
		}
		if file := string(f.File); file != "" {
			if _, err := os.Stat(file); err != nil {
				warnings = append(warnings, cfg.Problem(fmt.Sprintf("feed[%d].file", i), err.Error(), "make the file; the feed is empty until then, or stays what it was"))
			}
		}
	}
	return warnings, errors.Join(all...)
}
