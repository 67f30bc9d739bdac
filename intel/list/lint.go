package list

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/match"
)

// LintOptions says how lists are checked.
type LintOptions struct {
	Options               // limits
	Now     time.Time     // against which expiry is held
	Soon    time.Duration // how long before its end an entry is said to expire; 0: not said
	Own     []string      // domains of this site, canonical: an entry that blocks one stops all mail to it
}

// Report is what Lint found.
type Report struct {
	Files    []FileReport // in the order in which they were given
	Problems []*Problem   // by file in that order, line and column
}

// FileReport is what Lint found in one file.
type FileReport struct {
	File     File
	Entries  int
	Errors   int
	Warnings int
}

// Errors is the number of errors in all files; without any all of them load.
func (r Report) Errors() (n int) {
	for _, f := range r.Files {
		n += f.Errors
	}
	return n
}

// Warnings is the number of warnings in all files, those that were too many to
// be kept included.
func (r Report) Warnings() (n int) {
	for _, f := range r.Files {
		n += f.Warnings
	}
	return n
}

// Lint checks list files, each by itself and all together: besides what keeps a
// file from loading it warns of entries that repeat or contradict others, that
// others make superfluous, that have expired, and that match more or less than
// their author is likely to want. Files with errors are not held against others.
//
// It reads each file twice and keeps some 80 bytes an entry.
func Lint(files []File, o LintOptions) Report {
	l := linter{opts: o, byHash: map[uint64]int32{}, marks: map[uint64]bool{}}
	l.report.Files = make([]FileReport, len(files))
	for i, f := range files {
		l.report.Files[i].File = f
		l.load(i)
	}
	for i := range files {
		if l.report.Files[i].Errors == 0 {
			l.compare(i)
		}
	}
	order := map[string]int{}
	for i, f := range files {
		order[f.Name] = i
	}
	slices.SortStableFunc(l.report.Problems, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.report
}

// linter is the state of Lint.
type linter struct {
	opts   LintOptions
	report Report
	refs   []ref
	byHash map[uint64]int32 // index in refs plus one of the last entry with this hash
	marks  map[uint64]bool  // of all entries, as package match leaves them
}

// ref is what is remembered of an entry: enough to tell whether another one
// makes it superfluous.
type ref struct {
	file, line  int32
	next        int32 // index in refs plus one of the entry before with the same hash
	disposition intel.Disposition
	action      intel.Action
	direction   intel.Direction
	roles       uint16 // a bit for each of intel.Roles; 0 for all
	until       int64  // Unix seconds; 0 for ever
}

func refOf(file int, e *Entry) ref {
	r := ref{
		file: int32(file), line: int32(e.Line),
		disposition: e.Disposition, action: e.Action, direction: e.Direction,
	}
	for i, role := range intel.Roles() {
		if slices.Contains(e.Roles, role) {
			r.roles |= 1 << i
		}
	}
	if !e.Until.IsZero() {
		r.until = e.Until.Unix()
	}
	return r
}

// covers reports whether r is in force wherever and whenever other is.
func (r *ref) covers(other *ref) bool {
	return (r.roles == 0 || other.roles != 0 && r.roles&other.roles == other.roles) &&
		(r.direction == intel.DirectionAny || r.direction == other.direction) &&
		(r.until == 0 || other.until != 0 && r.until >= other.until)
}

func (r *ref) expired(now time.Time) bool { return r.until != 0 && now.Unix() >= r.until }

// hashOf is what entries share that match the same. A clash of hashes, one in a
// million for ten million entries, would give a warning too many.
func hashOf(p intel.Pattern) uint64 {
	if p.Form() == intel.FormRegexp {
		return xxhash.Sum64(p.AppendKey(nil))
	}
	return match.Hash(p)
}

// add keeps a problem, if there are not too many of its file, and counts it.
func (l *linter) add(file int, p *Problem) {
	f := &l.report.Files[file]
	count := &f.Errors
	if p.Severity == Warning {
		count = &f.Warnings
	}
	*count++
	most := l.opts.MaxProblems
	if most == 0 {
		most = defaultProblems
	}
	switch {
	case p.Severity == Error || *count <= most: // Read bounds the errors
		l.report.Problems = append(l.report.Problems, p)
	case *count == most+1:
		p.Column, p.Value, p.Cure = 0, "", ""
		p.Reason = fmt.Sprintf("and more: only %d warnings of a file are shown", most)
		l.report.Problems = append(l.report.Problems, p)
	}
}

func (l *linter) warn(file int, e *Entry, reason, cure string) {
	l.add(file, &Problem{
		Severity: Warning, File: l.report.Files[file].File.Name, Line: e.Line, Column: e.Column,
		Value: shorten(e.Text), Reason: reason, Cure: cure,
	})
}

// load reads a file, keeps its problems, and remembers its entries unless there
// are any.
func (l *linter) load(file int) {
	f := &l.report.Files[file]
	first := len(l.refs)
	for e, err := range f.File.Entries(l.opts.Options) {
		var p *Problem
		switch {
		case err == nil:
			f.Entries++
			l.refs = append(l.refs, refOf(file, &e))
			hash := hashOf(e.Pattern)
			l.refs[len(l.refs)-1].next = l.byHash[hash]
			l.byHash[hash] = int32(len(l.refs))
			if e.Pattern.Form() != intel.FormRegexp {
				for _, mark := range match.AppendMarks(nil, e.Pattern) {
					l.marks[mark] = true
				}
			}
		case errors.As(err, &p):
			l.add(file, p)
		default:
			l.add(file, &Problem{Severity: Error, File: f.File.Name, Reason: err.Error()})
		}
	}
	if f.Errors > 0 {
		// Left in their chains, but said to have expired: they cover nothing.
		for i := first; i < len(l.refs); i++ {
			l.refs[i].until = 1
		}
	}
}

// compare warns of the entries of a file, by themselves and beside all others.
func (l *linter) compare(file int) {
	for e, err := range l.report.Files[file].File.Entries(l.opts.Options) {
		if err != nil {
			l.add(file, &Problem{Severity: Error, File: l.report.Files[file].File.Name, Reason: "has changed while it was checked", Cure: "check it again"})
			return
		}
		if reason, cure := l.expiry(&e); reason != "" {
			l.warn(file, &e, reason, cure)
			if e.Until.Before(l.opts.Now) {
				continue // beside others it does not matter any more
			}
		}
		for _, s := range suspicions(&e, l.opts.Own) {
			l.warn(file, &e, s.reason, s.cure)
		}
		l.beside(file, &e)
	}
}

func (l *linter) expiry(e *Entry) (reason, cure string) {
	switch left := e.Until.Sub(l.opts.Now); {
	case e.Until.IsZero():
	case left <= 0:
		return "expired at " + e.Until.Format(time.RFC3339), "remove it, or give it another until="
	case left < l.opts.Soon:
		return "expires at " + e.Until.Format(time.RFC3339), "give it another until= if that is too soon"
	}
	return "", ""
}

// beside warns of an entry that another one makes superfluous: one for the same,
// or a wider one with the same disposition and action and nothing that decides
// otherwise in between.
func (l *linter) beside(file int, e *Entry) {
	own := refOf(file, e)
	level := 0
	for hash := range l.wider(e.Pattern) {
		decided := false
		for i := l.byHash[hash]; i != 0; i = l.refs[i-1].next {
			r := &l.refs[i-1]
			if r.file == own.file && r.line == own.line || r.expired(l.opts.Now) {
				continue
			}
			if reason, cure := l.judge(&own, r, level); reason != "" {
				l.warn(file, e, reason, cure)
				return
			}
			decided = decided || r.disposition != own.disposition && r.disposition != intel.Watch
		}
		if decided && own.disposition != intel.Watch {
			return
		}
		level++
	}
}

// judge says what r, which matches all that own does, makes of own. At level 0
// both match the same.
func (l *linter) judge(own, r *ref, level int) (reason, cure string) {
	where := fmt.Sprintf("%s:%d", l.report.Files[r.file].File.Name, r.line)
	switch {
	case !r.covers(own):
	case level == 0 && own.disposition == intel.Block && r.disposition == intel.Allow:
		return "is allowed at " + where + ", and an allow beats a block that is as specific", "remove one of the two"
	case r.disposition != own.disposition || r.action != own.action:
	case level > 0:
		return "is covered at " + where, "remove it, if the other entry's id, campaign and note will do"
	case !own.covers(r) || r.file < own.file || r.file == own.file && r.line < own.line:
		return "is there already at " + where, "remove one of the two"
	}
	return "", ""
}

// wider gives the hashes of the entries that match all that p does, p's own first.
func (l *linter) wider(p intel.Pattern) iter.Seq[uint64] {
	if p.Form() == intel.FormRegexp {
		return func(yield func(uint64) bool) { yield(hashOf(p)) }
	}
	return match.Wider(p, func(mark uint64) bool { return l.marks[mark] })
}
