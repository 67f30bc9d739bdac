// Package secret reads files that hold a password or a key, and nothing that
// others can read.
package secret

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSecret bounds a file with a secret.
const maxSecret = 64 << 10

// Read gives what a file holds that holds a secret alone, without the line end.
func Read(file string) (string, error) {
	if err := Private(file); err != nil {
		return "", err
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	word := strings.TrimRight(string(text), "\r\n")
	if word == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return word, nil
}

// Private refuses a file that others can read. What systemd hands over
// (LoadCredential=) it has guarded itself.
func Private(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(file) == filepath.Clean(dir) {
		return nil
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o: others than its owner can get at it", file, mode)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if me := uint32(os.Geteuid()); ok && owner.Uid != me && owner.Uid != 0 {
		return fmt.Errorf("%s belongs to user %d, and this process is user %d", file, owner.Uid, me)
	}
	return nil
}
