package pull

import (
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
)

// place is where a copy stands.
type place struct{ folder, id string }

func placeOf(c *mailbox.Copy) place { return place{c.Folder, c.ID} }

// found is a copy that was looked at.
type found struct {
	job.Copy
	sum      job.Digest // of the bytes that are in quarantine as Item
	verified bool       // its content is the target's
	keeping  bool       // the daemon is being given its bytes
	done     bool       // there is nothing more to do with it, as long as it is the same
	tried    bool       // it was to be removed before, and may have been
	strayed  bool       // it stands elsewhere now, or its user took it: not we
	unsure   bool       // whether it strayed, or we took it out before
	tries    int        // of reading it
}

// due reports whether a copy is to be taken out: its bytes are in quarantine.
func (f *found) due() bool { return f.Item != "" && f.Fate == "" && !f.done }

// search says what of a message is searched for.
type search int

const (
	byName search = iota
	byContent
)

// taking is one pull: what is known of its copies. It outlives the connection.
type taking struct {
	*work
	job     *job.Job
	all     []*found // in the order in which they were seen
	at      map[place]*found
	next    search
	round   int
	again   bool  // the last search showed that another one is needed
	waits   bool  // it showed a copy that another job is taking out
	breaks  int   // connections that broke off while its copies were dealt with
	trouble error // a folder could not be searched
	err     error // why it is to end
}

func newTaking(w *work) *taking {
	t := &taking{work: w, job: &w.l.Job, at: map[place]*found{}}
	for _, k := range t.job.Kept {
		f := t.add(k.Copy)
		f.Item, f.sum, f.verified, f.tried = k.Item, k.SHA256, true, true
	}
	return t
}

func (t *taking) add(c mailbox.Copy) *found {
	f := &found{Copy: job.Copy{Copy: c}}
	t.all = append(t.all, f)
	t.at[placeOf(&c)] = f
	return f
}

// active reports whether the next step for this job may begin.
func (t *taking) active() bool {
	if t.err == nil && !t.done {
		t.err = t.step()
	}
	return t.err == nil && !t.done
}

// target says what the next search is for.
func (t *taking) target() mailbox.Target {
	if t.next == byName {
		return t.job.Target.Mailbox(false)
	}
	target := t.job.Target.Mailbox(true)
	target.MessageID, target.WeirID = "", ""
	return target
}

// searched says what is next after a search. Only one that shows nothing more to
// do says that a mail is out of a mailbox in which mail can move.
func (t *taking) searched() {
	switch {
	case t.again:
		t.next = byName
		if t.round++; t.round == maxRounds {
			t.trouble = errRestless
			t.end(nil)
		}
	case t.waits: // for no longer than the other job has rounds
		t.next = byName
	case t.next == byName && !t.named() && t.job.Target.Body != job.Digest{}:
		t.next = byContent // only forgeries bear its name, or nothing does
	default:
		t.end(nil)
	}
}

// end ends the job, with an error or well.
func (t *taking) end(err error) { t.finish(t.result(err)) }

// named reports whether a copy with the target's content was found by its name.
func (t *taking) named() bool {
	return slices.ContainsFunc(t.all, func(f *found) bool { return f.verified && f.Copy.Copy.By != mailbox.ByContent })
}

// moved reports whether an error says that a copy is not where it was.
func moved(err error) bool {
	return errors.Is(err, mailbox.ErrGone) || errors.Is(err, mailbox.ErrStale) || errors.Is(err, mailbox.ErrFolderGone)
}

// others reports whether a copy is one that another job of the same search is
// taking out, or has: two incidents can mean the same mail. What became of it shows
// the next search.
func (t *taking) others(some []*taking, c *mailbox.Copy) bool {
	at := placeOf(c)
	for _, o := range some {
		f := o.at[at]
		if o != t && f != nil && f.Copy.Copy.Same(c) && (f.keeping || f.due() || f.Fate == job.Removed) && o.step() == nil {
			return true
		}
	}
	return false
}

// may reports whether a copy may be taken out, and settles it if not.
func (t *taking) may(f *found) bool {
	if f.Copy.Copy.Role == mailbox.RoleSent && !t.job.Sent {
		f.Fate, f.done = job.InSent, true
	}
	return !f.done
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

// kept says what came of giving a copy's bytes to the daemon.
func (t *taking) kept(f *found, item string, err error) {
	f.keeping = false
	switch {
	case err == nil:
		f.Item, t.again = item, true
	case isEnd(err) || errors.Is(err, errDaemon) || errors.Is(err, errPanic):
		if t.err == nil {
			t.err = err
		}
	default:
		f.leave(err)
	}
}

// removed says what came of removing a copy whose bytes are in quarantine. That it
// is out of where it was, the Backend has looked after; the next search looks
// everywhere.
func (t *taking) removed(f *found, r mailbox.Removal, again bool) {
	switch {
	case moved(r.Err):
		f.Fate, f.strayed, f.unsure = job.Gone, !again || errors.Is(r.Err, mailbox.ErrStale), again
		if again {
			f.Fate = job.Removed // by us before, or its user took it: its bytes are safe
		}
	case r.Err != nil:
		f.leave(r.Err)
	case r.Taken || again:
		f.Fate = job.Removed
	default:
		f.Fate, f.strayed = job.Gone, true
	}
}

// leave leaves a copy where it is.
func (f *found) leave(why error) { f.Fate, f.Detail, f.done = job.Left, cut(why.Error()), true }

// result says what became of a pull that has ended with an error, or well.
func (t *taking) result(err error) (job.Result, error) {
	r := job.Result{Copies: t.copies()}
	if err != nil {
		return r, err
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
