package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// maxRounds bounds how often a mailbox is searched whose mail moves meanwhile.
	maxRounds = 10
	// maxDiffering bounds how many copies are told of that were left because of
	// their content: anybody can send mail with a Message-ID.
	maxDiffering = 200
)

var (
	errRestless = errors.New("the mailbox changes faster than it can be searched")
	errKept     = errors.New("what the daemon says it keeps is not what it was given")
)

// place is where a copy stands.
type place struct{ folder, id string }

func placeOf(c *mailbox.Copy) place { return place{c.Folder, c.ID} }

// found is a copy that was looked at.
type found struct {
	job.Copy
	sum      job.Digest // of the bytes that are in quarantine as Item
	verified bool       // its content is the target's
	done     bool       // there is nothing more to do with it, as long as it is the same
	tried    bool       // it was to be removed before, and may have been
	strayed  bool       // it stands elsewhere now, or its user took it: not we
	unsure   bool       // whether it strayed, or we took it out before
	tries    int        // of reading it
}

// taking is one pull. It outlives the connection.
type taking struct {
	w       *work
	job     *job.Job
	all     []*found // in the order in which they were seen
	at      map[place]*found
	round   int
	trouble error // a folder could not be searched
}

// pull takes every verified copy out of a mailbox.
func (w *work) pull(ctx context.Context, b *box) (job.Result, error) {
	t := &taking{w: w, job: &w.l.Job, at: map[place]*found{}}
	for _, k := range t.job.Kept {
		f := t.add(k.Copy)
		f.Item, f.sum, f.verified, f.tried = k.Item, k.SHA256, true, true
	}
	err := w.at(b, func(a mailbox.Account) error { return t.take(ctx, a) })
	return t.result(err)
}

func (t *taking) add(c mailbox.Copy) *found {
	f := &found{Copy: job.Copy{Copy: c}}
	t.all = append(t.all, f)
	t.at[placeOf(&c)] = f
	return f
}

// take removes what is in quarantine already, and then searches until a search
// shows nothing more to do: only that says that a mail is out of a mailbox in
// which mail can move. Errors are those of the connection and of the daemon.
func (t *taking) take(ctx context.Context, a mailbox.Account) error {
	for _, f := range slices.Clone(t.all) {
		if f.Item != "" && f.Fate == "" && !f.done && t.may(f) {
			if err := t.remove(ctx, a, f); err != nil {
				return err
			}
		}
	}
	for ; t.round < maxRounds; t.round++ {
		if err := t.w.step(); err != nil {
			return err
		}
		t.trouble = nil
		again, err := t.search(ctx, a, t.job.Target.Mailbox(false))
		if err == nil && !again && !t.named() {
			// Only forgeries bear its name, or nothing does.
			body := t.job.Target.Mailbox(true)
			body.MessageID, body.WeirID = "", ""
			if body.ByContent() {
				again, err = t.search(ctx, a, body)
			}
		}
		if err != nil || !again {
			return err
		}
	}
	t.trouble = errRestless
	return nil
}

// named reports whether a copy with the target's content was found by its name.
func (t *taking) named() bool {
	return slices.ContainsFunc(t.all, func(f *found) bool { return f.verified && f.Copy.Copy.By != mailbox.ByContent })
}

// search deals with every copy that one search finds. It reports whether another
// one is needed.
func (t *taking) search(ctx context.Context, a mailbox.Account, target mailbox.Target) (again bool, err error) {
	for c, err := range a.Find(t.w.soft, target) {
		if err == nil {
			var changed bool
			if changed, err = t.deal(ctx, a, c); err != nil {
				return false, err
			}
			again = again || changed
			continue
		}
		switch {
		case moved(err):
			again = true
		case t.ends(err):
			return false, err
		default:
			t.trouble = err
		}
	}
	return again, nil
}

// moved reports whether an error says that a copy is not where it was.
func moved(err error) bool {
	return errors.Is(err, mailbox.ErrGone) || errors.Is(err, mailbox.ErrStale) || errors.Is(err, mailbox.ErrFolderGone)
}

// ends reports whether an error ends more than one copy's turn.
func (t *taking) ends(err error) bool {
	return t.w.soft.Err() != nil || isEnd(err) || errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, mailbox.ErrNoMailbox) || errors.Is(err, errDaemon)
}

// deal looks at a copy and takes it out if it is one that is meant. It reports
// whether the mailbox has to be searched again.
func (t *taking) deal(ctx context.Context, a mailbox.Account, c mailbox.Copy) (again bool, err error) {
	f := t.at[placeOf(&c)]
	switch {
	case f == nil || !f.Copy.Copy.Same(&c): // not seen yet, or another message has got its name
		f = t.add(c)
	case f.done:
		return false, nil
	}
	if f.Item == "" {
		err = t.secure(ctx, a, f)
	}
	if err == nil && !f.done {
		again = true
		if t.may(f) {
			err = t.remove(ctx, a, f)
		}
	}
	switch {
	case err == nil:
		return again, nil
	case t.ends(err):
		return false, err
	case moved(err):
		f.Fate, f.strayed = job.Gone, true
		return true, nil
	case errors.Is(err, mailbox.ErrAltered) && f.tries < 2:
		// Servers that find a wrong size in their cache say so, and put it right.
		return true, nil
	}
	f.Fate, f.Detail, f.done = job.Left, cut(err.Error()), true
	return again, nil
}

// may reports whether a copy may be taken out, and settles it if not.
func (t *taking) may(f *found) bool {
	if f.Copy.Copy.Role == mailbox.RoleSent && !t.job.Sent {
		f.Fate, f.done = job.InSent, true
	}
	return !f.done
}

// secure reads a copy, compares it and has its bytes kept. Unless it is done then,
// its bytes are durable.
func (t *taking) secure(ctx context.Context, a mailbox.Account, f *found) error {
	if err := t.w.step(); err != nil {
		return err
	}
	if target := t.job.Target.Mailbox(false); f.Copy.Copy.By == mailbox.ByMessageID && !target.Plausible(f.Copy.Copy.Size) {
		f.Fate, f.Detail, f.done = job.Differ, "its size alone tells: it was not read", true
		return nil
	}
	leave, err := t.w.p.room.enter(t.w.soft, f.Copy.Copy.Size)
	if err != nil {
		return err
	}
	defer leave()
	var raw bytes.Buffer
	f.tries++
	if err := a.Fetch(t.w.soft, f.Copy.Copy, &raw); err != nil {
		return err
	}
	m := t.w.p.parser.Parse(raw.Bytes(), nil)
	f.Body = m.Body
	incomplete := m.Incomplete
	m.Close()
	if incomplete != nil {
		return fmt.Errorf("its content cannot be compared: %w", incomplete)
	}
	if f.verified = t.means(f); !f.verified {
		f.Fate, f.done = job.Differ, true
		return nil
	}
	if !t.may(f) {
		return nil
	}
	f.sum = sha256.Sum256(raw.Bytes())
	if t.adopt(f) {
		return nil
	}
	return t.keep(ctx, f, raw.Bytes())
}

// means reports whether a copy has the content that is to be taken out: the
// target's, or one that a person accepted for what bears its name.
func (t *taking) means(f *found) bool {
	if f.Body.IsZero() {
		return false
	}
	return f.Body == t.job.Target.Body || f.Copy.Copy.By != mailbox.ByContent && slices.Contains(t.job.Approved, f.Body)
}

// adopt takes a copy for one whose bytes are in quarantine already and that its
// user has moved meanwhile, or whose folder was given new names: kept twice, it
// would be restored twice. Where we may have taken that one out before, only what
// has another name in the same folder is taken for it: a second copy of the same
// bytes would else never come back. It reports false if there is none such.
func (t *taking) adopt(f *found) bool {
	for i, old := range t.all {
		if old == f || !old.strayed || old.unsure && old.Copy.Copy.Folder != f.Copy.Copy.Folder {
			continue
		}
		if old.Item != "" && old.sum == f.sum && old.Copy.Copy.Same(&f.Copy.Copy) {
			f.Item = old.Item
			t.all = slices.Delete(t.all, i, i+1)
			delete(t.at, placeOf(&old.Copy.Copy))
			return true
		}
	}
	return false
}

// keep uploads a copy's bytes and sees to it that the daemon keeps just these.
func (t *taking) keep(ctx context.Context, f *found, raw []byte) error {
	w := t.w
	if err := w.step(); err != nil {
		return err
	}
	var kept job.Kept
	err := w.ask(ctx, func() (err error) {
		kept, err = w.l.d.Jobs.Keep(ctx, w.l.ID, f.Copy.Copy, raw)
		return err
	})
	if err != nil {
		return err
	}
	w.p.metrics.kept(len(raw))
	if kept.Item == "" || kept.SHA256 != f.sum || kept.Bytes != int64(len(raw)) || !kept.Copy.Is(&f.Copy.Copy) {
		return fmt.Errorf("%w: item %.40q, %d bytes, SHA-256 %s", errKept, kept.Item, kept.Bytes, kept.SHA256)
	}
	f.Item = kept.Item
	return nil
}

// remove takes out a copy whose bytes are in quarantine. That it is out of where
// it was, the Backend has looked after; the next search looks everywhere.
func (t *taking) remove(ctx context.Context, a mailbox.Account, f *found) error {
	if err := t.w.step(); err != nil {
		return err
	}
	again := f.tried
	f.tried = true
	removal, err := a.Remove(ctx, f.Copy.Copy)
	switch {
	case err != nil && t.ends(err):
		return err
	case moved(err):
		f.Fate, f.strayed, f.unsure = job.Gone, !again || errors.Is(err, mailbox.ErrStale), again
		if again {
			f.Fate = job.Removed // by us before, or its user took it: its bytes are safe
		}
	case err != nil:
		f.Fate, f.Detail, f.done = job.Left, cut(err.Error()), true
	case removal == mailbox.Removed || again:
		f.Fate = job.Removed
	default:
		f.Fate, f.strayed = job.Gone, true
	}
	return nil
}

// result says what became of a pull that has ended with an error, or well.
func (t *taking) result(err error) (job.Result, error) {
	r := job.Result{Copies: t.copies()}
	if err != nil {
		return t.w.failing(r, err)
	}
	fates := map[job.Fate]int{}
	verified, altered := 0, 0
	var left string
	for _, f := range t.all {
		fates[f.Fate]++
		if f.verified {
			verified++
		}
		if f.Fate == job.Differ && f.Copy.Copy.By == mailbox.ByWeirID {
			altered++
		}
		if f.Fate == job.Left && left == "" {
			left = f.Detail
		}
	}
	switch {
	case t.trouble != nil:
		r.Outcome, r.Detail = job.Failed, t.trouble.Error()
	case left != "":
		r.Outcome, r.Detail = job.Failed, left
	case fates[job.InSent] > 0:
		r.Outcome, r.Detail = job.Differs, "there is a copy in a folder for sent mail"
	case altered > 0:
		// Who forges a Message-ID needs no more than a mail; an X-Weir-ID was made
		// here, and comes in from nowhere: this is the message, and was changed.
		r.Outcome, r.Detail = job.Differs, "a copy bears its X-Weir-ID and has another content"
	case fates[job.Differ] > 0 && verified == 0:
		r.Outcome, r.Detail = job.Differs, "what bears its Message-ID has another content"
	case fates[job.Removed] > 0:
		r.Outcome = job.Pulled
	case fates[job.Gone] > 0:
		r.Outcome = job.AlreadyGone
	default:
		r.Outcome, r.Detail = job.NotFound, "the whole mailbox was searched"
	}
	if n := fates[job.Differ]; n > maxDiffering {
		r.Detail += fmt.Sprintf("; %d copies have another content, of which %d are listed", n, maxDiffering)
	}
	return r, nil
}

// copies lists what was looked at. A copy that moved is told of where it was last
// seen.
func (t *taking) copies() []job.Copy {
	var all []job.Copy
	differing := 0
	for _, f := range t.all {
		switch {
		case f.Fate == job.Gone && slices.ContainsFunc(t.all, func(o *found) bool {
			return o != f && o.Fate != job.Gone && o.Copy.Copy.Same(&f.Copy.Copy)
		}):
			continue
		case f.Fate == job.Differ:
			if differing++; differing > maxDiffering {
				continue
			}
		case f.Fate == "":
			f.Fate, f.Detail = job.Left, "it was not come to an end with it"
		}
		all = append(all, f.Copy)
	}
	return all
}
