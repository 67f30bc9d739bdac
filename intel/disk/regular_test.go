package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

func TestOnlyARegularFileIsOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("pipe", at("link")), os.Symlink("file", at("good"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"file": nil, "good": nil, "pipe": disk.ErrNotRegular, "link": disk.ErrNotRegular, ".": disk.ErrNotRegular, "none": fs.ErrNotExist,
	} {
		done := make(chan error, 1)
		go func() {
			f, info, err := disk.OpenRegular(at(name))
			if err == nil {
				if info.Size() != 4 {
					t.Errorf("%s: %d bytes", name, info.Size())
				}
				_ = f.Close()
			}
			if errors.Is(err, disk.ErrNotRegular) && info.Mode().IsRegular() {
				t.Errorf("%s: %v", name, info.Mode())
			}
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: it waits for somebody to write", name)
		}
	}
}
