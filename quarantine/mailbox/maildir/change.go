package maildir

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Remove removes copies, folder by folder; see mailbox.Account.
func (a *account) Remove(ctx context.Context, copies []mailbox.Copy) []mailbox.Removal {
	removals := make([]mailbox.Removal, len(copies))
	byFolder := map[string][]removing{}
	for i := range copies {
		byFolder[copies[i].Folder] = append(byFolder[copies[i].Folder], removing{&copies[i], &removals[i]})
	}
	for _, name := range slices.Sorted(maps.Keys(byFolder)) {
		if left, err := a.removeFrom(ctx, name, byFolder[name]); err != nil {
			for _, r := range left {
				*r.result = mailbox.Removal{Err: err}
			}
		}
	}
	for i, c := range copies {
		if err := removals[i].Err; err != nil {
			removals[i] = mailbox.Removal{Err: fmt.Errorf("remove %.80q from folder %.80q: %w", c.ID, c.Folder, err)}
		}
	}
	return removals
}

// removing is a copy that is to be removed.
type removing struct {
	*mailbox.Copy
	result *mailbox.Removal
}

// removeFrom removes copies from a folder, and looks until none of them is there:
// names can change meanwhile. With an error come those that it did not come to an
// end with.
func (a *account) removeFrom(ctx context.Context, name string, all []removing) ([]removing, error) {
	in, err := a.folder(name)
	if err != nil {
		return all, err
	}
	for range maxLooks {
		if err := ctx.Err(); err != nil {
			return all, err
		}
		files, err := a.files(in)
		if err != nil {
			return all, err
		}
		standing := map[string][]file{}
		for _, f := range files {
			standing[f.id()] = append(standing[f.id()], f)
		}
		all = slices.DeleteFunc(all, func(r removing) bool { return len(standing[r.ID]) == 0 })
		if len(all) == 0 {
			return nil, nil
		}
		changed := map[string]bool{}
		for _, r := range all {
			for _, f := range standing[r.ID] {
				switch err := a.unlink(f, r.Copy); {
				case err == nil:
					r.result.Taken, changed[f.sub] = true, true
				case !errors.Is(err, fs.ErrNotExist): // else its name changed: look again
					r.result.Err = meaning(err)
				}
			}
		}
		for sub := range changed {
			if err := a.sync(in.dir + "/" + sub); err != nil {
				return all, meaning(err)
			}
		}
		all = slices.DeleteFunc(all, func(r removing) bool { return r.result.Err != nil })
	}
	return all, errRestless
}

// unlink removes a file if it is the copy.
func (a *account) unlink(f file, c *mailbox.Copy) error {
	now, err := a.look(f, keywords{})
	if err != nil {
		return err
	}
	if !c.Same(&now) {
		return fmt.Errorf("%w: another message has that name", mailbox.ErrStale)
	}
	return a.root.Remove(f.path())
}

// sync makes the names in a folder durable.
func (a *account) sync(dir string) error {
	f, err := a.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Gone looks for a copy; see mailbox.Account.
func (a *account) Gone(ctx context.Context, c mailbox.Copy) (bool, error) {
	err := ctx.Err()
	var files []file
	if err == nil {
		var in folder
		if in, err = a.folder(c.Folder); err == nil {
			files, err = a.with(in, c.ID)
		}
	}
	if err != nil {
		return false, fmt.Errorf("look for %.80q in folder %.80q: %w", c.ID, c.Folder, err)
	}
	return len(files) == 0, nil
}

// Restore puts a message back; see mailbox.Account.
func (a *account) Restore(ctx context.Context, r mailbox.Return) (mailbox.Restored, error) {
	restored, err := a.restore(ctx, &r)
	if err != nil {
		return mailbox.Restored{}, fmt.Errorf("restore a message to folder %.80q: %w", r.Was.Folder, err)
	}
	return restored, nil
}

func (a *account) restore(ctx context.Context, r *mailbox.Return) (mailbox.Restored, error) {
	if err := ctx.Err(); err != nil {
		return mailbox.Restored{}, err
	}
	if int64(len(r.Raw)) > a.o.MaxBytes {
		return mailbox.Restored{}, fmt.Errorf("%w: %d bytes, more than %d", mailbox.ErrTooLarge, len(r.Raw), a.o.MaxBytes)
	}
	in, err := a.folder(r.Was.Folder)
	if errors.Is(err, mailbox.ErrFolderGone) {
		in, err = folder{inbox, "."}, nil
	}
	if err != nil {
		return mailbox.Restored{}, err
	}
	k, err := a.allKeywords(in, &r.Was)
	if err != nil {
		return mailbox.Restored{}, err
	}
	f, existed, err := a.standing(in, r)
	if err == nil && !existed {
		letters, _ := k.letters(&r.Was)
		f, err = a.write(in, r.Raw, r.Was.Date, letters)
	}
	if err != nil {
		return mailbox.Restored{}, meaning(err)
	}
	c, err := a.look(f, k)
	if err == nil && !existed {
		var shown []byte
		if shown, _, err = a.read(f, a.o.MaxBytes); err == nil && !bytes.Equal(shown, r.Raw) {
			err = fmt.Errorf("%w: %.120q holds something else", mailbox.ErrAltered, f.path())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		// Another program has changed its flags, or moved it, as it may from the
		// moment on when it is there: durable and of this content it was.
		c, err = mailbox.Copy{Folder: in.name, Role: in.role(), ID: f.id(), Size: int64(len(r.Raw)), Date: r.Was.Date}, nil
	}
	return mailbox.Restored{Copy: c, Existed: existed}, meaning(err)
}

// standing looks in a folder for the very message, which an earlier try may have
// put there: equal in bytes and date, and not one of r.Besides.
func (a *account) standing(in folder, r *mailbox.Return) (file, bool, error) {
	files, err := a.files(in)
	if err != nil {
		return file{}, false, err
	}
	for _, f := range files {
		info, err := a.root.Lstat(f.path())
		if err != nil || info.Size() != int64(len(r.Raw)) || info.ModTime().Unix() != r.Was.Date.Unix() ||
			slices.ContainsFunc(r.Besides, func(o mailbox.Copy) bool { return o.Folder == in.name && o.ID == f.id() }) {
			continue
		}
		switch raw, _, err := a.read(f, a.o.MaxBytes); {
		case err == nil && bytes.Equal(raw, r.Raw):
			return f, true, nil
		case err != nil && !passable(err):
			return file{}, false, err
		}
	}
	return file{}, false, nil
}

// write makes a new message: a file in tmp that is durable before it gets its
// name in cur. Nothing that is there is touched.
func (a *account) write(in folder, raw []byte, date time.Time, letters string) (file, error) {
	owner, err := a.root.Stat(in.dir + "/cur")
	if err != nil {
		return file{}, err
	}
	name := uniqueName(raw)
	temp := in.dir + "/tmp/" + name
	if err := a.fill(temp, raw, date, owner); err != nil {
		_ = a.root.Remove(temp)
		return file{}, err
	}
	f := file{in, "cur", name + ":2," + letters}
	if err := a.root.Rename(temp, f.path()); err != nil {
		_ = a.root.Remove(temp)
		return file{}, err
	}
	return f, a.sync(in.dir + "/cur")
}

// fill makes a file that is durable and belongs to whom the folder belongs.
func (a *account) fill(path string, raw []byte, date time.Time, owner fs.FileInfo) error {
	f, err := a.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = own(f, owner)
	if err == nil {
		_, err = f.Write(raw)
	}
	if err == nil {
		// INTERNALDATE of a Maildir is the time of the last change.
		err = a.root.Chtimes(path, date, date)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// own gives a file the owner and the rights that a folder has.
func own(f *os.File, folder fs.FileInfo) error {
	if s, ok := folder.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := f.Chown(int(s.Uid), int(s.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(folder.Mode().Perm() & 0o666)
}

// uniqueName names a new message. S is its size and W that with CRLF line ends:
// Dovecot then need not read it.
func uniqueName(raw []byte) string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	lone := bytes.Count(raw, []byte("\n")) - bytes.Count(raw, []byte("\r\n"))
	return fmt.Sprintf("%d.R%sP%d.weir,S=%d,W=%d", time.Now().Unix(), hex.EncodeToString(random[:]), os.Getpid(), len(raw), len(raw)+lone)
}

const (
	lockTries = 50
	lockPause = 20 * time.Millisecond
	// lockStale is how old a lock is that nobody works under any more: to write the
	// keywords takes a moment.
	lockStale = 10 * time.Minute
)

// allKeywords gives the keywords of a folder after those of a copy were added
// that have no letter yet, as far as there are letters left.
func (a *account) allKeywords(in folder, c *mailbox.Copy) (keywords, error) {
	k, err := a.keywords(in)
	if err != nil {
		return k, err
	}
	if _, missing := k.letters(c); len(missing) == 0 {
		return k, nil
	}
	if err := a.addKeywords(in, c); err != nil {
		return k, fmt.Errorf("add keywords to folder %.80q: %w", in.name, meaning(err))
	}
	return a.keywords(in)
}

// addKeywords writes dovecot-keywords as Dovecot does: under the lock
// dovecot-keywords.lock, which becomes the file.
func (a *account) addKeywords(in folder, c *mailbox.Copy) error {
	path := in.dir + "/" + keywordsFile
	owner, err := a.root.Stat(in.dir + "/cur")
	if err != nil {
		return err
	}
	var f *os.File
	for try := 0; ; try++ {
		if f, err = a.root.OpenFile(path+".lock", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if try == lockTries {
			return fmt.Errorf("%w: %s.lock stays: another program works there, or has left it", mailbox.ErrUnreachable, path)
		}
		if info, err := a.root.Lstat(path + ".lock"); err == nil && time.Since(info.ModTime()) >= lockStale {
			_ = a.root.Remove(path + ".lock") // whoever made it has died
			continue
		}
		time.Sleep(lockPause)
	}
	k, err := a.keywords(in)
	if err == nil {
		err = own(f, owner)
	}
	if err == nil {
		_, missing := k.letters(c)
		_, err = f.WriteString(k.with(missing))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = a.root.Rename(path+".lock", path)
	}
	if err != nil {
		_ = a.root.Remove(path + ".lock")
		return err
	}
	return a.sync(in.dir)
}

// with gives the file's text with further keywords, as far as there are letters.
func (k *keywords) with(missing []string) string {
	text := k.text
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	for i := range k.by {
		if !k.taken[i] && len(missing) > 0 {
			text += fmt.Sprintf("%d %s\n", i, missing[0])
			missing = missing[1:]
		}
	}
	return text
}
