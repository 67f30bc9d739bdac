package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// inbox is the folder that every mailbox has.
const inbox = "INBOX"

// folder is one folder of the mailbox.
type folder struct {
	name string // as the user sees it; "/" between levels
	dir  string // below the mailbox; "." for the inbox
}

func (f folder) role() mailbox.Role { return mailbox.RoleOf(f.name) }

// folders lists the folders, the inbox first. A folder that is a symbolic link is
// left out: it stands for another's.
func (a *account) folders() ([]folder, error) {
	all := []folder{{inbox, "."}}
	names, err := a.names(".")
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", meaning(err))
	}
	slices.Sort(names)
	for _, dir := range names {
		if !strings.HasPrefix(dir, ".") {
			continue
		}
		info, err := a.root.Lstat(dir)
		if err == nil && info.IsDir() {
			_, err = a.root.Lstat(dir + "/cur")
		}
		switch {
		case err == nil && info.IsDir():
			all = append(all, folder{shownName(dir), dir})
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("look at folder %.80q: %w", dir, meaning(err))
		}
	}
	return all, nil
}

// shownName gives the name that a user sees of a folder's name on disk. One that
// is in no proper form is shown as it is.
func shownName(dir string) string {
	name := strings.ReplaceAll(strings.TrimPrefix(dir, "."), ".", "/")
	if decoded, ok := decodeName(name); ok {
		return decoded
	}
	return name
}

// folder looks up a folder by the name that the user sees.
func (a *account) folder(name string) (folder, error) {
	all, err := a.folders()
	if err != nil {
		return folder{}, err
	}
	i := slices.IndexFunc(all, func(f folder) bool { return f.name == name })
	if i < 0 {
		return folder{}, fmt.Errorf("%w: %.80q", mailbox.ErrFolderGone, name)
	}
	return all[i], nil
}

const (
	// namesBatch is how many names are read at once.
	namesBatch = 4096
	// maxLooks bounds how often a folder is listed that changes while it is listed.
	maxLooks = 8
	// settled is how old the last change of a folder must be for its time to show
	// the next one: file systems count time in ticks.
	settled = 20 * time.Millisecond
)

// names lists what is in a folder on disk. A name that changes while it is read
// can be missed under its old and its new form (readdir(3)), so the folder is read
// again until nothing has changed meanwhile; what was seen once counts.
func (a *account) names(dir string) ([]string, error) {
	var all []string
	seen := map[string]bool{}
	for range maxLooks {
		before, err := a.root.Stat(dir)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		f, err := a.root.Open(dir)
		if err != nil {
			return nil, err
		}
		for err == nil {
			var batch []string
			batch, err = f.Readdirnames(namesBatch)
			for _, name := range batch {
				if !seen[name] {
					seen[name] = true
					all = append(all, name)
				}
			}
		}
		_ = f.Close()
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
		after, err := a.root.Stat(dir)
		if err != nil {
			return nil, err
		}
		if after.ModTime().Equal(before.ModTime()) && began.Sub(after.ModTime()) > settled {
			break
		}
	}
	return all, nil
}

// file is a message's file.
type file struct {
	folder folder
	sub    string // "cur" or "new"
	name   string
}

func (f file) path() string { return f.folder.dir + "/" + f.sub + "/" + f.name }

// id gives what stays the same in a file's name while flags change.
func (f file) id() string {
	id, _, _ := strings.Cut(f.name, ":")
	return id
}

// letters gives the flags in a file's name.
func (f file) letters() string {
	_, letters, _ := strings.Cut(f.name, ":2,")
	return letters
}

// files lists the messages in a folder. New ones come first: mail moves from new
// to cur.
func (a *account) files(in folder) ([]file, error) {
	var all []file
	for _, sub := range []string{"new", "cur"} {
		names, err := a.names(in.dir + "/" + sub)
		switch {
		case errors.Is(err, fs.ErrNotExist) && sub == "new":
			continue
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%w: %w", mailbox.ErrFolderGone, err)
		case err != nil:
			return nil, fmt.Errorf("list folder %.80q: %w", in.name, meaning(err))
		}
		for _, name := range names {
			if !strings.HasPrefix(name, ".") {
				all = append(all, file{in, sub, name})
			}
		}
	}
	return all, nil
}

// with gives the files in a folder that bear an ID: more than one while its name
// changes, and none when it is gone.
func (a *account) with(in folder, id string) ([]file, error) {
	all, err := a.files(in)
	return slices.DeleteFunc(all, func(f file) bool { return f.id() != id }), err
}
