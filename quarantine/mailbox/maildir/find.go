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

// Find looks for messages; see mailbox.Account. Names cost one look at each file, so
// all are looked for at once.
func (a *account) Find(ctx context.Context, targets []mailbox.Target) iter.Seq2[mailbox.Found, error] {
	return func(yield func(mailbox.Found, error) bool) {
		folders, err := a.folders()
		if err != nil {
			yield(mailbox.Found{}, err)
			return
		}
		f := &finder{account: a, ctx: ctx, targets: mailbox.NewTargets(targets), yield: yield, given: map[given]bool{}}
		for _, field := range []string{"Message-ID", mailbox.WeirIDField} {
			for _, needle := range f.targets.Needles(field) {
				f.needles = append(f.needles, []byte(needle))
			}
		}
		for i := 0; i < len(folders) && len(f.needles) > 0 && !f.stopped; i++ {
			f.byName(folders[i])
		}
		if contents := f.targets.Unnamed(); !f.stopped && !contents.None() {
			f.byContent(folders, contents)
		}
	}
}

// given is a copy that was given for a target.
type given struct {
	folder, id string
	target     int
}

// finder is one search.
type finder struct {
	*account
	ctx     context.Context
	targets *mailbox.Targets
	needles [][]byte // one of them is in the header of what is looked for
	yield   func(mailbox.Found, error) bool
	given   map[given]bool
	room    []byte
	stopped bool // the caller has enough
}

// give hands a copy to the caller, once for each target.
func (f *finder) give(c mailbox.Found) {
	what := given{c.Copy.Folder, c.Copy.ID, c.Target}
	if !f.stopped && !f.given[what] {
		f.given[what] = true
		f.stopped = !f.yield(c, nil)
	}
}

// fail tells the caller of what cannot be searched.
func (f *finder) fail(err error) { f.stopped = !f.yield(mailbox.Found{}, err) || f.ctx.Err() != nil }

// byName searches a folder for the targets' names. Files that vanish under it may
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

// among searches files for the targets' names, and gives the IDs of those that
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
		var found []mailbox.Found
		if err == nil {
			found, err = f.named(at, k)
		}
		read[at.id()] = read[at.id()] || err == nil
		for _, c := range found {
			f.give(c)
		}
		switch {
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

// named gives the targets whose name a file bears.
func (f *finder) named(at file, k keywords) ([]mailbox.Found, error) {
	opened, info, err := f.open(at)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	h, err := header(opened, &f.room)
	if err != nil || !slices.ContainsFunc(f.needles, func(n []byte) bool { return bytes.Contains(h, n) }) {
		return nil, err
	}
	return f.targets.Match(f.describe(at, info, h, k)), nil
}

// candidate is a message that may have the content looked for.
type candidate struct {
	file
	distance time.Duration
}

// byContent reads the messages of all folders whose size allows it, those first
// that came when the target did.
func (f *finder) byContent(folders []folder, contents *mailbox.Contents) {
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
			if err == nil && info.Mode().IsRegular() && info.Size() <= f.o.MaxBytes && contents.Plausible(info.Size()) {
				all = append(all, candidate{file, contents.Distance(info.ModTime())})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y candidate) int { return cmp.Compare(x.distance, y.distance) })
	for _, at := range all {
		if err := f.ctx.Err(); err != nil {
			f.fail(err)
			return
		}
		err := f.holds(at.file, contents)
		if errors.Is(err, fs.ErrNotExist) {
			err = f.holdsNow(at.file, contents)
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
func (f *finder) holdsNow(was file, contents *mailbox.Contents) error {
	for range maxLooks {
		files, err := f.with(was.folder, was.id())
		if err != nil || len(files) == 0 {
			return err
		}
		for _, at := range files {
			if err := f.holds(at, contents); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return errRestless
}

// holds gives a file to the caller for every target whose content it has.
func (f *finder) holds(at file, contents *mailbox.Contents) error {
	raw, info, err := f.read(at, f.o.MaxBytes)
	if err != nil {
		return err
	}
	if sealed(raw) {
		return errUnreadable
	}
	held := contents.Held(f.parser, raw)
	if len(held) == 0 {
		return nil
	}
	k, err := f.keywords(at.folder)
	if err != nil {
		return err
	}
	c := f.describe(at, info, raw, k)
	c.By = mailbox.ByContent
	for _, target := range held {
		f.give(mailbox.Found{Target: target, Copy: c})
	}
	return nil
}
