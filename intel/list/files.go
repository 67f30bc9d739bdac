package list

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
)

// File is one list file.
type File struct {
	Name        string // for people and for opening: the folder as it was given, and what lies in it
	Source      string // of its indicators: "list:block/local.txt"
	Disposition intel.Disposition
}

// SourcePrefix begins the source of every list.
const SourcePrefix = "list:"

// Files gives the list files of a lists folder, sorted by disposition and name.
//
// What lies in one of the three folders is passed over where its name says that
// it is not meant as a list: a leading dot, README and *.md, what editors leave
// (name~, #name#, .bak, .swp, .swo, .tmp, .orig, .rej) and what package managers
// do (.rpmsave, .rpmnew, .rpmorig, .dpkg-*, .ucf-*). Anything else is given, and
// has a Problem when it is opened and is no regular file, since its author may
// believe that it works.
//
// One or two of the folders may be missing. If all three are, the error says so:
// a mistaken path must not be read as a wish to have no lists.
func Files(dir string) (files []File, err error) {
	found := false
	for _, d := range []intel.Disposition{intel.Block, intel.Allow, intel.Watch} {
		folder := filepath.Join(dir, d.String())
		entries, err := os.ReadDir(folder) // sorted by name
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lists: %w", err)
		}
		found = true
		for _, e := range entries {
			if passedOver(e.Name()) {
				continue
			}
			files = append(files, File{
				Name:        filepath.Join(folder, e.Name()),
				Source:      sourceName(d, e.Name()),
				Disposition: d,
			})
		}
	}
	if !found {
		return nil, fmt.Errorf("lists: %s holds none of the folders block, allow and watch", dir)
	}
	return files, nil
}

func sourceName(d intel.Disposition, name string) string {
	return SourcePrefix + d.String() + "/" + name
}

// FileAt gives the list file at path, whose folder has to be called block,
// allow or watch unless a disposition is given.
func FileAt(path string, d intel.Disposition) (File, error) {
	if d == 0 {
		abs, err := filepath.Abs(path)
		if err != nil {
			return File{}, fmt.Errorf("list %s: %w", path, err)
		}
		var ok bool
		if d, ok = intel.ParseDisposition(filepath.Base(filepath.Dir(abs))); !ok {
			return File{}, fmt.Errorf("list %s: its folder is none of block, allow and watch, so what its entries do has to be said", path)
		}
	}
	return File{Name: path, Source: sourceName(d, filepath.Base(path)), Disposition: d}, nil
}

// passedOver reports a name that no list has.
func passedOver(name string) bool {
	lower := strings.ToLower(name)
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasPrefix(name, "#") || lower == "readme" || strings.HasPrefix(lower, "readme.") {
		return true
	}
	extension := filepath.Ext(lower)
	switch extension {
	case ".md", ".bak", ".swp", ".swo", ".tmp", ".orig", ".rej", ".rpmsave", ".rpmnew", ".rpmorig":
		return true
	}
	return slices.ContainsFunc([]string{".dpkg-", ".ucf-"}, func(prefix string) bool { return strings.HasPrefix(extension, prefix) })
}

// Open opens f for reading. The error is a *Problem.
func (f File) Open() (*os.File, error) {
	file, info, err := disk.OpenRegular(f.Name)
	switch {
	case err == nil:
		return file, nil
	case !errors.Is(err, disk.ErrNotRegular):
		return nil, f.unreadable(err)
	case info.IsDir():
		return nil, &Problem{Severity: Error, File: f.Name, Reason: "is a folder", Cure: "lists lie directly in " + f.Disposition.String()}
	}
	return nil, &Problem{Severity: Error, File: f.Name, Reason: "is no regular file", Cure: "remove it"}
}

func (f File) unreadable(err error) *Problem {
	p := &Problem{Severity: Error, File: f.Name, Reason: "cannot be read: " + err.Error()}
	var why *fs.PathError
	if errors.As(err, &why) {
		p.Reason = "cannot be read: " + why.Err.Error()
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		p.Cure = "let the user that weir runs as read it"
	case errors.Is(err, fs.ErrNotExist):
		p.Cure = "it was removed just now, or is a symbolic link to nothing"
	}
	return p
}

// Check reads f to its end and gives the number of its entries and all that is
// wrong with it.
func (f File) Check(o Options) (entries int, problems []*Problem) {
	for _, err := range f.Entries(o) {
		var p *Problem
		switch {
		case err == nil:
			entries++
		case errors.As(err, &p):
			problems = append(problems, p)
		default:
			problems = append(problems, &Problem{Severity: Error, File: f.Name, Reason: err.Error()})
		}
	}
	return entries, problems
}

// Entries opens f and gives what Read does; each use opens it anew. Of o only
// the limits count.
func (f File) Entries(o Options) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		file, err := f.Open()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer func() { _ = file.Close() }() // it was only read
		for e, err := range f.Read(file, o) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// Read is the function Read, with what f says of itself. Of o only the limits
// count.
func (f File) Read(r io.Reader, o Options) iter.Seq2[Entry, error] {
	o.File, o.Source, o.Disposition = f.Name, f.Source, f.Disposition
	return Read(r, o)
}

// Strays warns of what stands in a lists folder beside block, allow and watch,
// where nobody reads it. Notes, and what has a dot before its name, are meant.
func Strays(dir string) (strays []*Problem, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		_, known := intel.ParseDisposition(e.Name())
		if known || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "readme") || strings.HasSuffix(name, ".md") || strings.HasSuffix(name, "~") {
			continue
		}
		strays = append(strays, &Problem{Severity: Warning, File: filepath.Join(dir, e.Name()),
			Reason: "is not read", Cure: "lists stand in block/, allow/ or watch/, which say what their entries do"})
	}
	return strays, err
}
