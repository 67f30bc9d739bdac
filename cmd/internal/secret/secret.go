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
	return read(file, os.Geteuid())
}

// Inspect is Read for whoever checks a configuration. Root may look at a file of the
// user that the daemon runs as.
func Inspect(file string) (string, error) {
	owner := os.Geteuid()
	if owner == 0 {
		owner = anyOwner
	}
	return read(file, owner)
}

// anyOwner stands for an owner that does not matter.
const anyOwner = -1

func read(file string, owner int) (string, error) {
	if err := private(file, owner); err != nil {
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
func Private(file string) error { return private(file, os.Geteuid()) }

func private(file string, me int) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(file) == filepath.Clean(dir) {
		return nil
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o: others than its owner can get at it; chmod 600 %s", file, mode, file)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok && me != anyOwner && owner.Uid != uint32(me) && owner.Uid != 0 {
		return fmt.Errorf("%s belongs to user %d, and this process is user %d", file, owner.Uid, me)
	}
	return nil
}
