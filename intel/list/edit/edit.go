// Package edit changes the lists that operators write through Weir: operator.txt
// in each of the folders block, allow and watch.
//
// These are list files as any other. A person may edit them too, at the same
// time: what is on disk is never overwritten unseen. A change is made of what the
// file holds, written beside it and exchanged with it in one step; if what was
// there is not what had been read, both change places again, and the change is
// made anew of what is there now. Only somebody who writes into the file itself,
// in the moment between the exchange and the look at what it brought, is missed;
// and where the file system cannot exchange files, the look comes before.
//
// An entry is replaced by one that is about the same: the same pattern, for the
// same roles and the same direction. Nothing else in a file changes, comments and
// the order of lines included.
package edit

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
)

// Name is the list that is written, in each folder.
const Name = "operator.txt"

// Source gives the source of the indicators of an operators' list.
func Source(d intel.Disposition) string { return list.SourcePrefix + d.String() + "/" + Name }

// head begins a list that is new.
const head = "# What operators have said (weir intel). Lines of your own may stand here too.\n"

// maxBytes bounds an operators' list. What is larger belongs into a list of its own.
const maxBytes = 8 << 20

// attempts is how often a change is made anew because somebody else changed the
// file.
const attempts = 5

// Outcome says what becomes of an entry.
type Outcome string

// The outcomes.
const (
	Added     Outcome = "added"
	Replaced  Outcome = "replaced"
	Unchanged Outcome = "unchanged" // it stands there already, word for word
	Removed   Outcome = "removed"
)

// Entry is one entry that a change is about.
type Entry struct {
	Pattern intel.Pattern
	Outcome Outcome
	Line    int    // where it stands, or stood if it is removed
	Text    string // the line; of one that is removed, as it was
	Was     string // the line that it replaces
}

// Change says what a list is to hold.
type Change struct {
	Put    []intel.Indicator // of the list's disposition
	Remove []intel.Pattern   // whatever roles and directions they are for
}

// Result is what a change comes to.
type Result struct {
	File    string
	Entries []Entry // those that were put, in their order; then those that are gone
}

// Changes reports whether anything is to be written.
func (r *Result) Changes() bool {
	return slices.ContainsFunc(r.Entries, func(e Entry) bool { return e.Outcome != Unchanged })
}

// MistakeError says that the list cannot be changed because a mistake stands in it
// already, for which nothing of it would be read.
type MistakeError struct{ Err error }

// Error names the mistake.
func (e *MistakeError) Error() string {
	return fmt.Sprintf("the list has a mistake already, and nothing of it would be read: %v", e.Err)
}

// Unwrap gives the mistake.
func (e *MistakeError) Unwrap() error { return e.Err }

// ErrContended says that the file changed over and over while it was to be changed.
var ErrContended = errors.New("somebody else is changing the list")

// Editor changes the operators' lists of one daemon. Its methods may be called by
// many goroutines: changes wait for each other.
type Editor struct{ mu sync.Mutex }

// Plan says what a change would come to, below this lists folder.
func (e *Editor) Plan(dir string, d intel.Disposition, c Change) (*Result, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := fileOf(dir, d)
	content, err := f.read()
	if err != nil {
		return nil, err
	}
	_, result, err := apply(f.name, d, content, &c)
	return result, err
}

// Apply changes a list. Before anything is written, before is given what the
// change comes to, and its error ends it; it is called once, also where the lines
// then turn out to be others. It is not called where nothing changes.
func (e *Editor) Apply(dir string, d intel.Disposition, c Change, before func(*Result) error) (*Result, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := fileOf(dir, d)
	asked := false
	for range attempts {
		content, err := f.read()
		if err != nil {
			return nil, err
		}
		next, result, err := apply(f.name, d, content, &c)
		if err != nil || !result.Changes() {
			return result, err
		}
		if !asked && before != nil {
			if err := before(result); err != nil {
				return nil, err
			}
		}
		asked = true
		if done, err := f.replace(content, next); done || err != nil {
			return result, err
		}
	}
	return nil, fmt.Errorf("%s: %w", f.name, ErrContended)
}

func fileOf(dir string, d intel.Disposition) *file {
	return &file{name: filepath.Join(dir, d.String(), Name)}
}

// subject tells what entries are about.
func subject(ind *intel.Indicator) string {
	key := ind.Pattern.AppendKey([]byte{byte(ind.Direction)})
	for _, r := range slices.Sorted(slices.Values(ind.Roles)) {
		key = append(append(key, 0), r...)
	}
	return string(key)
}

// apply makes the new content of a list of the old one.
func apply(name string, d intel.Disposition, content []byte, c *Change) ([]byte, *Result, error) {
	s, err := sheetOf(name, d, content)
	if err != nil {
		return nil, nil, err
	}
	result := &Result{File: name}
	for i := range c.Put {
		e, err := s.put(&c.Put[i])
		if err != nil {
			return nil, nil, err
		}
		result.Entries = append(result.Entries, e)
	}
	for _, p := range c.Remove {
		result.Entries = append(result.Entries, s.remove(p)...)
	}
	next := s.content(result)
	if len(next) > maxBytes {
		return nil, nil, fmt.Errorf("%s would have more than %d bytes: what is so long belongs into a list of its own, or into a feed", name, maxBytes)
	}
	if _, err := sheetOf(name, d, next); err != nil {
		return nil, nil, fmt.Errorf("the change would be refused: %w", err)
	}
	return next, result, nil
}

// sheet is a list taken apart into lines.
type sheet struct {
	disposition intel.Disposition
	lines       []string // with their ends; "" is gone
	entries     map[string][]int
	patterns    map[string][]string // by a pattern's key, the subjects
}

func sheetOf(name string, d intel.Disposition, content []byte) (*sheet, error) {
	s := &sheet{disposition: d, lines: slices.Collect(strings.Lines(string(content))), entries: map[string][]int{}, patterns: map[string][]string{}}
	for e, err := range list.Read(strings.NewReader(string(content)), list.Options{File: name, Disposition: d}) {
		if err != nil {
			return nil, &MistakeError{err}
		}
		s.note(&e.Indicator, e.Line-1)
	}
	if len(s.lines) == 0 {
		s.lines = []string{head}
	}
	if last := len(s.lines) - 1; !strings.HasSuffix(s.lines[last], "\n") {
		s.lines[last] += "\n"
	}
	return s, nil
}

func (s *sheet) note(ind *intel.Indicator, line int) {
	about, key := subject(ind), string(ind.Pattern.AppendKey(nil))
	s.entries[about] = append(s.entries[about], line)
	if !slices.Contains(s.patterns[key], about) {
		s.patterns[key] = append(s.patterns[key], about)
	}
}

// put writes an entry, in place of the last one about the same; others about the
// same go, since one of them might hold for longer. Line is an index for now.
func (s *sheet) put(ind *intel.Indicator) (Entry, error) {
	if ind.Disposition != s.disposition {
		return Entry{}, fmt.Errorf("%s says %s, and the list %s", ind.Pattern, ind.Disposition, s.disposition)
	}
	text, err := list.Line(ind)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Pattern: ind.Pattern, Outcome: Added, Text: text}
	about := subject(ind)
	before := s.entries[about]
	if len(before) == 0 {
		e.Line = len(s.lines)
		s.lines = append(s.lines, text+"\n")
		s.note(ind, e.Line)
		return e, nil
	}
	e.Line = before[len(before)-1]
	for _, line := range before[:len(before)-1] {
		s.lines[line] = ""
	}
	s.entries[about] = []int{e.Line}
	was := strings.TrimRight(s.lines[e.Line], "\r\n")
	e.Outcome, e.Was = Replaced, was
	if was == text && len(before) == 1 {
		e.Outcome, e.Was = Unchanged, ""
	}
	s.lines[e.Line] = text + "\n"
	return e, nil
}

// remove takes out the entries for a pattern.
func (s *sheet) remove(p intel.Pattern) (gone []Entry) {
	key := string(p.AppendKey(nil))
	for _, about := range s.patterns[key] {
		for _, line := range s.entries[about] {
			gone = append(gone, Entry{Pattern: p, Outcome: Removed, Line: line, Text: strings.TrimRight(s.lines[line], "\r\n")})
			s.lines[line] = ""
		}
		delete(s.entries, about)
	}
	delete(s.patterns, key)
	return gone
}

// content joins the lines, and gives the entries of the result their numbers.
func (s *sheet) content(r *Result) []byte {
	numbers := make([]int, len(s.lines))
	n := 0
	for i, line := range s.lines {
		if line != "" {
			n++
		}
		numbers[i] = n
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		if e.Outcome == Removed {
			e.Line++ // where it stood
			continue
		}
		e.Line = numbers[e.Line]
	}
	return []byte(strings.Join(s.lines, ""))
}
