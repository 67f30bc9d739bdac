package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/explain"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/incident"
)

// Bounds on what is shown of what an unblocking would let through.
const (
	unblockDays     = 7
	maxPassed       = 1000
	maxExamples     = 10
	maxUnblockItems = 10_000
	maxOperatorFile = 8 << 20
	maxUntil        = 366 * 24 * time.Hour
	maxEntryNote    = 1024 // bytes; package list takes no more
)

// operatorList is the list that unblocking writes, below the lists folder.
const operatorList = "allow/operator.txt"

// Syncs of this package.
const (
	siteList     disk.Site = "control.list"      // content of the operators' list
	siteListName disk.Site = "control.list-name" // its name
)

// unblockable is a value that can be allowed.
type unblockable struct {
	pattern intel.Pattern
	line    string      // as a list has it
	value   intel.Value // one that the pattern matches
}

// unblockableOf reads a value. The error is an *api.Error.
func unblockableOf(text string) (*unblockable, error) {
	e, err := listEntry(text)
	if err != nil {
		bad := badLine(0, err).(*api.Error)
		bad.Text = strings.TrimPrefix(bad.Text, "observable 1: ")
		return nil, bad
	}
	if e.Text != strings.TrimSpace(text) {
		return nil, api.Errorf(api.BadRequest, "%.200q is more than a value", text)
	}
	u := &unblockable{pattern: e.Pattern, line: e.Pattern.String()}
	if again, err := listEntry(u.line); err != nil || string(again.Pattern.AppendKey(nil)) != string(e.Pattern.AppendKey(nil)) {
		u.line = e.Text // what has to say its kind
	}
	switch e.Pattern.Form() {
	case intel.FormExact:
		u.value = e.Pattern.Value()
	case intel.FormBelow:
		u.value, err = intel.Domain(e.Pattern.Text())
	case intel.FormPrefix:
		u.value, err = intel.URL(e.Pattern.Text())
	case intel.FormRange:
		address, _, _ := strings.Cut(e.Pattern.Text(), "/")
		u.value, err = list.ParseValue(address)
	default:
		return nil, &api.Error{Code: api.BadRequest, Text: "a regular expression cannot be allowed away", Cure: "take it out of its list"}
	}
	return u, err
}

// snapshot gives lists in which the value alone stands.
func (u *unblockable) snapshot() (*match.Snapshot, error) {
	memory := match.NewMemory()
	memory.Add(&intel.Indicator{Pattern: u.pattern, Disposition: intel.Block})
	return memory.Snapshot(0)
}

func (s *Server) unblockPlan(ctx context.Context, c *call, st *Stores, in *api.UnblockPlan) (any, error) {
	u, err := unblockableOf(in.Value)
	if err != nil {
		return nil, err
	}
	answer := api.Unblocking{Value: u.line, Days: cmp.Or(in.Days, unblockDays), Examples: []api.JournalEntry{}, Items: []api.Item{}, Incidents: []api.Incident{}}
	since := time.Now().AddDate(0, 0, -answer.Days)
	if err := record(ctx, st, c, typeSearched, searchedData{Value: u.line, Since: since.UTC()}); err != nil {
		return nil, err
	}
	if answer.Answer, answer.Listed, err = s.listedNow(st, u); err != nil {
		return nil, err
	}
	alone, err := u.snapshot()
	if err != nil {
		return nil, err
	}
	defer alone.Release()
	if err := passedWith(ctx, st, u, alone, since, &answer); err != nil {
		return nil, err
	}
	if answer.Items, err = heldFor(ctx, st, alone); err != nil {
		return nil, err
	}
	if st.Incidents != nil {
		answer.Incidents, err = restingOn(ctx, st, u, answer.Listed)
	}
	return answer, err
}

// listedNow says what the lists in force know of a value.
func (s *Server) listedNow(st *Stores, u *unblockable) (string, []api.Candidate, error) {
	snapshot := st.Matcher.Acquire()
	defer snapshot.Release()
	tested, err := explain.Observable(snapshot, intel.Observable{Value: u.value}, intel.DirectionAny, time.Now())
	if err != nil {
		return "", nil, err
	}
	return tested.Answer, tested.Candidates, nil
}

// errEnough ends a search that has found enough.
var errEnough = errors.New("enough")

// passedWith counts what was let through and carries the value.
func passedWith(ctx context.Context, st *Stores, u *unblockable, alone *match.Snapshot, since time.Time, answer *api.Unblocking) error {
	c, err := candidates(u.pattern)
	if err != nil {
		return err
	}
	query := (&conditions{all: []condition{c}}).query(journal.Query{Since: since})
	caughtUp(ctx, st, st.Journal.Last())
	err = searchAll(ctx, st, query, func(e *journal.Entry) error {
		what, err := hitIn(alone, e)
		if err != nil || what == "" {
			return err
		}
		if answer.Passed == maxPassed {
			answer.More = true
			return errEnough
		}
		if answer.Passed++; len(answer.Examples) < maxExamples {
			answer.Examples = append(answer.Examples, entryOf(e))
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// heldFor gives the items that are held for something that a list would match.
func heldFor(ctx context.Context, st *Stores, alone *match.Snapshot) ([]api.Item, error) {
	items := []api.Item{}
	listed(ctx, st)
	query := quarantine.Query{Kind: quarantine.KindHeld, Limit: quarantine.MaxLimit}
	for {
		page, err := st.Quarantine.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, i := range page.Items {
			query.Before = i.ID
			if is, err := heldBy(i, alone); err != nil {
				return nil, err
			} else if is {
				items = append(items, itemOf(i))
			}
			if len(items) == maxUnblockItems {
				return items, nil
			}
		}
		if !page.More {
			return items, nil
		}
	}
}

func heldBy(i *quarantine.Item, alone *match.Snapshot) (bool, error) {
	for _, r := range i.Facts.Reasons {
		v, err := list.ParseValue(r.Kind + ":" + r.Value)
		if r.Kind == "" || err != nil {
			continue // a regular expression, or a text that was cut
		}
		hits, err := alone.Match(nil, []intel.Observable{{Value: v}}, intel.DirectionAny, time.Now())
		if err != nil || len(hits) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// restingOn gives the incidents whose key or title names the value, or an entry
// that blocks it: who unblocks a link that a message carried wants the incident of
// the entry for all links of that site.
func restingOn(ctx context.Context, st *Stores, u *unblockable, listed []api.Candidate) ([]api.Incident, error) {
	incidents, who, texts := []api.Incident{}, names{}, []string{strings.ToLower(u.pattern.Text())}
	for i := range listed {
		if c := &listed[i]; c.Disposition == "block" {
			texts = append(texts, strings.ToLower(c.Entry))
		}
	}
	query := incident.Query{Limit: incident.MaxLimit}
	for {
		page, err := st.Incidents.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, i := range page.Incidents {
			query.Before = i.ID
			names := strings.ToLower(i.Key + "\n" + i.Title)
			if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(names, text) }) {
				incidents = append(incidents, incidentOf(i, who))
			}
		}
		if !page.More {
			return incidents, nil
		}
	}
}

// unblockedData is what the ledger keeps of an unblocking.
type unblockedData struct {
	Value string    `json:"value"`
	Entry string    `json:"entry"`
	File  string    `json:"file"`
	Until time.Time `json:"until"`
}

const (
	entityUnblock = "unblock/"
	typeUnblocked = "unblocked"      // an entry is about to be written
	typeFailed    = "unblock-failed" // it could not be
)

func (s *Server) unblock(ctx context.Context, c *call, st *Stores, in *api.Unblock) (any, error) {
	u, err := unblockableOf(in.Value)
	if err != nil {
		return nil, err
	}
	dir := s.limits().ListsDir
	switch left := time.Until(in.Until); {
	case strings.TrimSpace(in.Reason) == "":
		return nil, quarantine.ErrReason
	case left <= 0 || left > maxUntil:
		return nil, &api.Error{Code: api.BadRequest, Text: "the entry would end at " + in.Until.UTC().Format(time.RFC3339), Cure: "say a time within the next year; what is allowed for good belongs into a list of its own"}
	case dir == "":
		return nil, api.Errorf(api.Unavailable, "this daemon does not know where its lists are")
	}
	if !s.unblocking.TryLock() {
		return nil, api.Errorf(api.Busy, "another value is being unblocked")
	}
	defer s.unblocking.Unlock()
	file := filepath.Join(dir, filepath.FromSlash(operatorList))
	entry := entryLine(u, in, c.caller.Actor)
	content, answer, err := withEntry(file, u, entry)
	if err != nil {
		return nil, err
	}
	// Half of it helps nobody: what is recorded is written.
	ctx = context.WithoutCancel(ctx)
	name := entityUnblock + st.Identity.NewID()
	data := unblockedData{Value: u.line, Entry: entry, File: file, Until: in.Until.UTC()}
	if err := recordAs(ctx, st, name, c.caller.Actor, in.Reason, typeUnblocked, data); err != nil {
		return nil, err
	}
	if err := writeList(file, content); err != nil {
		return nil, errors.Join(&api.Error{Code: api.Failed, Text: fmt.Sprintf("the list could not be written: %v", err),
			Cure: fmt.Sprintf("let the daemon's user write into %s (a systemd unit needs ReadWritePaths=%s for it), or add the line yourself: %s", filepath.Dir(file), filepath.Dir(file), entry)},
			recordAs(ctx, st, name, c.caller.Actor, "", typeFailed, struct{}{}))
	}
	reloaded, err := s.reload(ctx, c, &api.None{})
	if err != nil {
		return nil, fmt.Errorf("%s has the entry, and the lists could not be read again: %w", file, err)
	}
	answer.Reloaded = reloaded.(api.Reloaded)
	answer.Answer, answer.Listed, err = s.listedNow(st, u)
	return answer, err
}

// entryLine makes the line of a list that allows a value.
func entryLine(u *unblockable, in *api.Unblock, actor string) string {
	note := strings.Join(strings.Fields(strings.Map(printable, "unblocked by "+actor+": "+in.Reason)), " ")
	if len(note) > maxEntryNote {
		note = strings.ToValidUTF8(note[:maxEntryNote], "")
	}
	note = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(note)
	return fmt.Sprintf(`%s until=%s note="%s"`, u.line, in.Until.UTC().Format(time.RFC3339), note)
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

const listHead = "# What operators have unblocked (weir intel unblock). Lines of your own may stand here too.\n"

// withEntry gives the content of the operators' list with an entry in place of
// one for the same value, or behind all others. Nothing else changes.
func withEntry(file string, u *unblockable, entry string) ([]byte, *api.Unblocked, error) {
	answer := &api.Unblocked{File: file, Entry: entry}
	content, err := readList(file)
	if err != nil {
		return nil, nil, err
	}
	lines := slices.Collect(strings.Lines(string(content)))
	if len(lines) == 0 {
		lines = []string{listHead}
	}
	options := list.Options{File: file, Disposition: intel.Allow}
	key := string(u.pattern.AppendKey(nil))
	for e, err := range list.Read(strings.NewReader(string(content)), options) {
		if err != nil {
			return nil, nil, &api.Error{Code: api.Failed, Text: fmt.Sprintf("the list has a mistake already, and nothing of it would be read: %v", err), Cure: "mend it first"}
		}
		if string(e.Pattern.AppendKey(nil)) == key && len(e.Roles) == 0 && e.Direction == intel.DirectionAny {
			answer.Line, answer.Replaced = e.Line, true
		}
	}
	last := len(lines) - 1
	if !strings.HasSuffix(lines[last], "\n") {
		lines[last] += "\n"
	}
	if answer.Replaced {
		lines[answer.Line-1] = entry + "\n"
	} else {
		lines = append(lines, entry+"\n")
		answer.Line = len(lines)
	}
	all := strings.Join(lines, "")
	for _, err := range list.Read(strings.NewReader(all), options) {
		if err != nil {
			return nil, nil, fmt.Errorf("the entry would be refused: %w", err)
		}
	}
	return []byte(all), answer, nil
}

func readList(file string) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxOperatorFile+1))
	if err == nil && len(content) > maxOperatorFile {
		err = fmt.Errorf("%s has more than %d bytes", file, maxOperatorFile)
	}
	return content, err
}

// writeList replaces the list as a whole.
func writeList(file string, content []byte) error {
	perm := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		perm = info.Mode().Perm()
	} else if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return disk.Replace(disk.System{}, file, content, perm, siteList, siteListName)
}
