package maildir

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Find looks for a message; see mailbox.Account. Message-ID and X-Weir-ID cost
// one look at each file, so both are looked for at once.
func (a *account) Find(ctx context.Context, t mailbox.Target) iter.Seq2[mailbox.Copy, error] {
	return func(yield func(mailbox.Copy, error) bool) {
		folders, err := a.folders()
		if err != nil {
			yield(mailbox.Copy{}, err)
			return
		}
		f := &finder{account: a, ctx: ctx, target: t, yield: yield, given: map[place]bool{}}
		for _, value := range []string{t.MessageID, t.WeirID} {
			if needle, _ := mailbox.Needle(value); needle != "" {
				f.needles = append(f.needles, []byte(needle))
			}
		}
		for i := 0; i < len(folders) && len(f.needles) > 0 && !f.stopped; i++ {
			f.byName(folders[i])
		}
		if f.found == 0 && !f.stopped && t.ByContent() {
			f.byContent(folders)
		}
	}
}

// finder is one search.
type finder struct {
	*account
	ctx     context.Context
	target  mailbox.Target
	needles [][]byte // one of them is in the header of what is looked for
	yield   func(mailbox.Copy, error) bool
	given   map[place]bool
	room    []byte
	found   int
	stopped bool // the caller has enough
}

func (f *finder) give(c mailbox.Copy, by mailbox.By) {
	c.By = by
	f.found++
	f.stopped = !f.yield(c, nil)
}

// fail tells the caller of what cannot be searched.
func (f *finder) fail(err error) { f.stopped = !f.yield(mailbox.Copy{}, err) || f.ctx.Err() != nil }

// byName searches a folder for the target's names. Files that vanish under it may
// only have got other flags, and so another name: those are looked for again.
func (f *finder) byName(in folder) {
	files, err := f.files(in)
	for look := 0; err == nil && len(files) > 0 && look < maxLooks; look++ {
		vanished, ok := f.among(in, files)
		if !ok || len(vanished) == 0 {
			return
		}
		files, err = f.files(in)
		files = slices.DeleteFunc(files, func(at file) bool { return !vanished[at.id()] })
	}
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("search folder %.80q: %w", in.name, errRestless)
	}
	if err != nil {
		f.fail(err)
	}
}

// among searches files for the target's names, and gives the IDs of those that
// were there under none of theirs. It reports whether to go on.
func (f *finder) among(in folder, files []file) (vanished map[string]bool, ok bool) {
	k, err := f.keywords(in)
	if err != nil {
		f.fail(err)
		return nil, false
	}
	vanished = map[string]bool{}
	read := map[string]bool{}
	for _, at := range files {
		err := f.ctx.Err()
		var c mailbox.Copy
		var by mailbox.By
		if err == nil {
			c, by, ok, err = f.named(at, k)
		}
		read[at.id()] = read[at.id()] || err == nil
		switch {
		case ok && !f.given[place{c.Folder, c.ID}]:
			f.given[place{c.Folder, c.ID}] = true
			f.give(c, by)
		case errors.Is(err, fs.ErrNotExist):
			vanished[at.id()] = true
		case err != nil && !errors.Is(err, errNoMessage):
			f.fail(fmt.Errorf("search folder %.80q: %w", in.name, meaning(err)))
			return nil, false
		}
		if f.stopped {
			return nil, false
		}
	}
	maps.DeleteFunc(vanished, func(id string, _ bool) bool { return read[id] })
	return vanished, true
}

// place is where a copy stands.
type place struct{ folder, id string }

// named reports whether a file bears a name of the target.
func (f *finder) named(at file, k keywords) (c mailbox.Copy, by mailbox.By, ok bool, err error) {
	opened, info, err := f.open(at)
	if err != nil {
		return c, "", false, err
	}
	defer func() { _ = opened.Close() }()
	h, err := header(opened, &f.room)
	if err != nil || !slices.ContainsFunc(f.needles, func(n []byte) bool { return bytes.Contains(h, n) }) {
		return c, "", false, err
	}
	c = f.describe(at, info, h, k)
	by, ok = f.target.Match(&c)
	return c, by, ok, nil
}

// candidate is a message that may have the content looked for.
type candidate struct {
	file
	distance time.Duration
}

// byContent reads the messages of all folders whose size allows it, those first
// that came when the target did.
func (f *finder) byContent(folders []folder) {
	var all []candidate
	for _, in := range folders {
		files, err := f.files(in)
		if err != nil {
			if f.fail(err); f.stopped {
				return
			}
		}
		for _, file := range files {
			info, err := f.root.Lstat(file.path())
			if err == nil && info.Mode().IsRegular() && info.Size() <= f.o.MaxBytes && f.target.Plausible(info.Size()) {
				all = append(all, candidate{file, f.target.Distance(info.ModTime())})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y candidate) int { return cmp.Compare(x.distance, y.distance) })
	for _, at := range all {
		if err := f.ctx.Err(); err != nil {
			f.fail(err)
			return
		}
		err := f.holds(at.file)
		if errors.Is(err, fs.ErrNotExist) {
			err = f.holdsNow(at.file)
		}
		if err != nil && !passable(err) {
			f.fail(fmt.Errorf("search folder %.80q: %w", at.folder.name, meaning(err)))
		}
		if f.stopped {
			return
		}
	}
}

// holdsNow is holds for a file whose name has changed.
func (f *finder) holdsNow(was file) error {
	for range maxLooks {
		files, err := f.with(was.folder, was.id())
		if err != nil || len(files) == 0 {
			return err
		}
		for _, at := range files {
			if err := f.holds(at); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return errRestless
}

// holds gives a file to the caller if it has the target's content.
func (f *finder) holds(at file) error {
	raw, info, err := f.read(at, f.o.MaxBytes)
	switch {
	case err != nil:
		return err
	case sealed(raw):
		return errUnreadable
	case !f.target.Holds(raw):
		return nil
	}
	k, err := f.keywords(at.folder)
	if err != nil {
		return err
	}
	f.give(f.describe(at, info, raw, k), mailbox.ByContent)
	return nil
}
