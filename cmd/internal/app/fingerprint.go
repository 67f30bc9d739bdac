package app

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// fingerprint tells one state of the edited files from another by what the
// file system says of them, without reading them.
func (a *App) fingerprint() string {
	var b strings.Builder
	note := func(name string, info fs.FileInfo, err error) {
		if err != nil {
			fmt.Fprintf(&b, "%s %v\n", name, err)
			return
		}
		fmt.Fprintf(&b, "%s %d %d %o\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	files, lists := a.files()
	for _, f := range files {
		info, err := os.Stat(f)
		note(f, info, err)
	}
	_ = filepath.WalkDir(lists, func(name string, entry fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = os.Stat(name) // what a link points to may change
		}
		note(name, info, err)
		return nil
	})
	return b.String()
}
