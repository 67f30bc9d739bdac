package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
)

// listVersion begins the version of every list. Another one has all lists read
// anew, as a change in how package list understands them makes necessary.
const listVersion = "1:"

// ListStatus is what became of one list file.
type ListStatus struct {
	File     string // as the administrator named it; empty for one that is gone
	Result   Refreshed
	Problems []*list.Problem // for which it was refused
}

// ListReport is what became of list files, in the order of their names, and
// behind them of those that are gone.
type ListReport []ListStatus

// Err gives the problems of all lists as one error; nil if there are none.
func (r ListReport) Err() error {
	var errs []error
	for _, l := range r {
		for _, p := range l.Problems {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// Changed reports whether any list changed.
func (r ListReport) Changed() bool {
	return slices.ContainsFunc(r, func(l ListStatus) bool {
		return l.Result.Outcome == Changed || l.Result.Outcome == Gone
	})
}

// String gives a line for each list, and below it one for each of its problems.
func (r ListReport) String() string {
	var b strings.Builder
	for _, l := range r {
		fmt.Fprintln(&b, l.Result)
		for _, p := range l.Problems {
			fmt.Fprintf(&b, "\t%s\n", p)
		}
	}
	return b.String()
}

// LoadLists makes the store list what the files under a lists folder say now,
// all of it as one generation. A file that cannot be read or has any problem
// keeps its last good version, one that is gone is forgotten, and one that did
// not change is not read. The error is that of Refresh or of list.Files, after
// which all is as before. Of the options only the limits count.
func (s *Store) LoadLists(ctx context.Context, dir string, o list.Options) (ListReport, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		report, err := s.loadLists(ctx, dir, o)
		// Whoever is writing a file just now is done with it soon.
		if attempt == attempts || !errors.Is(err, ErrChanged) && !report.changing() {
			return report, err
		}
	}
}

func (s *Store) loadLists(ctx context.Context, dir string, o list.Options) (ListReport, error) {
	files, err := list.Files(dir)
	if err != nil {
		return nil, err
	}
	var report ListReport
	var sources []Source
	for _, f := range files {
		sources = append(sources, listSource(f, o))
		report = append(report, ListStatus{File: f.Name})
	}
	for _, l := range s.Sources() {
		isFile := func(f list.File) bool { return f.Source == l.Name }
		if strings.HasPrefix(l.Name, list.SourcePrefix) && !slices.ContainsFunc(files, isFile) {
			sources = append(sources, Source{Name: l.Name})
			report = append(report, ListStatus{})
		}
	}
	results, err := s.Refresh(ctx, sources...)
	if err != nil {
		return nil, err
	}
	for i, result := range results {
		report[i].Result = result
		report[i].Problems = problemsOf(report[i].File, result.Errors)
	}
	return report, nil
}

// changing reports whether a file was refused for having changed meanwhile.
func (r ListReport) changing() bool {
	return slices.ContainsFunc(r, func(l ListStatus) bool {
		return slices.ContainsFunc(l.Result.Errors, func(err error) bool { return errors.Is(err, ErrChanged) })
	})
}

// problemsOf gives the errors of reading a list file as problems.
func problemsOf(file string, errs []error) []*list.Problem {
	var problems []*list.Problem
	for _, err := range errs {
		var p *list.Problem
		var e *EntryError
		switch {
		case errors.As(err, &p):
		case errors.As(err, &e):
			p = &list.Problem{Severity: list.Error, File: file, Line: e.Line, Reason: e.Reason}
		default:
			p = &list.Problem{Severity: list.Error, File: file, Reason: err.Error()}
		}
		problems = append(problems, p)
	}
	return problems
}

// listSource gives a list file as a source, whose version is the digest of the
// file.
func listSource(f list.File, o list.Options) Source {
	src := Source{Name: f.Source}
	digest, err := digestOf(f, o)
	if err != nil {
		src.Entries = func(yield func(intel.Indicator, error) bool) { yield(intel.Indicator{}, err) }
		return src
	}
	src.Version = listVersion + hex.EncodeToString(digest)
	src.Entries = func(yield func(intel.Indicator, error) bool) {
		file, err := f.Open()
		if err != nil {
			yield(intel.Indicator{}, err)
			return
		}
		defer func() { _ = file.Close() }() // it was only read
		read, whole := sha256.New(), true
		for e, err := range f.Read(io.TeeReader(file, read), o) {
			whole = whole && err == nil
			if !yield(e.Indicator, err) {
				return
			}
		}
		if whole && !bytes.Equal(read.Sum(nil), digest) {
			yield(intel.Indicator{}, ErrChanged)
		}
	}
	return src
}

// digestOf gives the digest of a file, as far as a list may reach.
func digestOf(f list.File, o list.Options) ([]byte, error) {
	file, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	read := sha256.New()
	if _, err := io.Copy(read, io.LimitReader(file, cmp.Or(o.MaxBytes, list.DefaultMaxBytes)+1)); err != nil {
		return nil, err
	}
	return read.Sum(nil), nil
}

// LoadMemory gives a snapshot of what the files under a lists folder say, on the
// heap and without a store, and what became of each. A file with any problem is
// left out as a whole. The error is that of list.Files.
func LoadMemory(dir string, o list.Options) (*match.Snapshot, ListReport, error) {
	files, err := list.Files(dir)
	if err != nil {
		return nil, nil, err
	}
	m := match.NewMemory()
	var report ListReport
	for _, f := range files {
		status := ListStatus{File: f.Name, Result: Refreshed{Name: f.Source, Outcome: Changed}}
		var inds []*intel.Indicator
		for e, err := range f.Entries(o) {
			if err != nil {
				status.Result.Errors = append(status.Result.Errors, err)
				continue
			}
			inds = append(inds, &e.Indicator)
		}
		if len(status.Result.Errors) > 0 {
			status.Result.Outcome = Failed
			status.Problems = problemsOf(f.Name, status.Result.Errors)
		} else {
			status.Result.Entries, status.Result.Added = len(inds), len(inds)
			for _, ind := range inds {
				m.Add(ind)
			}
		}
		report = append(report, status)
	}
	s, err := m.Snapshot(0)
	return s, report, err
}
