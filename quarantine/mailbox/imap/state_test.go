package imap

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// told is a folder of a server that tells its state.
type told struct {
	attrs                    string
	messages, next, validity int
	hit                      int // UID of what is found there; 0: nothing
}

// stateful is a server with folders.
type stateful struct {
	folders  map[string]told
	selected string
	refuse   bool // LIST with STATUS
	keep     bool // what is to be expunged
}

const statefulCaps = usualCaps + " LIST-EXTENDED LIST-STATUS UNSELECT"

func (s *stateful) answer(command string) string {
	switch {
	case strings.HasPrefix(command, "LIST") && strings.Contains(command, "STATUS") && s.refuse:
		return "TAG NO not today\r\n"
	case strings.HasPrefix(command, "LIST"):
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(s.folders)) {
			f := s.folders[name]
			fmt.Fprintf(&b, "* LIST (%s) \"/\" %s\r\n", f.attrs, name)
			if strings.Contains(command, "STATUS") && f.next > 0 {
				fmt.Fprintf(&b, "* STATUS %s (MESSAGES %d UIDNEXT %d UIDVALIDITY %d)\r\n", name, f.messages, f.next, f.validity)
			}
		}
		return b.String() + "TAG OK done\r\n"
	case strings.HasPrefix(command, "UNSELECT"):
		s.selected = ""
	case strings.HasPrefix(command, "EXAMINE"), strings.HasPrefix(command, "SELECT"):
		_, name, _ := strings.Cut(command, " ")
		s.selected = strings.Trim(name, `"`)
		f := s.folders[s.selected]
		return fmt.Sprintf("* %d EXISTS\r\n* OK [UIDVALIDITY %d] valid\r\n* OK [UIDNEXT %d] next\r\nTAG OK done\r\n", f.messages, f.validity, f.next)
	case strings.HasPrefix(command, "UID SEARCH"):
		since := 0
		if _, limit, ok := strings.Cut(command, " UID "); ok {
			_, _ = fmt.Sscanf(limit, "%d:*", &since)
		}
		if hit := s.folders[s.selected].hit; hit > 0 && hit >= since {
			return fmt.Sprintf("* ESEARCH (TAG \"TAG\") UID ALL %d\r\nTAG OK done\r\n", hit)
		}
	case strings.HasPrefix(command, "UID FETCH"):
		if hit := s.folders[s.selected].hit; hit > 0 {
			return fetched(command, hit, date, raw)
		}
	case strings.HasPrefix(command, "UID EXPUNGE"):
		if f := s.folders[s.selected]; !s.keep {
			f.hit = 0
			s.folders[s.selected] = f
		}
	}
	return ""
}

// lookAgain runs a search and gives how many copies were found, and the folders that
// were opened for it.
func lookAgain(t *testing.T, s *server, a mailbox.Account, targets ...mailbox.Target) (n int, opened string) {
	t.Helper()
	before := len(s.said("EXAMINE"))
	for _, err := range a.Find(t.Context(), targets) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	names := slices.Clone(s.said("EXAMINE")[before:])
	for i, command := range names {
		names[i] = strings.Trim(strings.TrimPrefix(command, "EXAMINE "), `"`)
	}
	slices.Sort(names)
	return n, strings.Join(slices.Compact(names), " ")
}

func TestFoldersInWhichNothingCanHaveComeInAreNotOpened(t *testing.T) {
	st := &stateful{folders: map[string]told{
		"INBOX": {messages: 3, next: 10, validity: 7}, "Empty": {messages: 0, next: 4, validity: 7},
		"Full": {messages: 9, next: 10, validity: 7}, "Silent": {messages: 1},
	}}
	s := serve(t, &server{caps: statefulCaps, answer: st.answer})
	a := open(t, s)
	target, other := mailbox.Target{MessageID: "the-target@example.org"}, mailbox.Target{MessageID: "the-other@example.org"}
	for _, step := range []struct {
		what   string
		folder string
		now    told
		found  int
		opened string
	}{
		{"the first look", "", told{}, 0, "Full INBOX Silent"},
		{"nothing came in", "", told{}, 0, "Silent"},
		{"mail came into one", "Full", told{messages: 10, next: 11, validity: 7}, 0, "Full Silent"},
		{"nothing more", "", told{}, 0, "Silent"},
		{"into the empty one", "Empty", told{messages: 1, next: 5, validity: 7}, 0, "Empty Silent"},
		{"as many as before, but another", "INBOX", told{messages: 3, next: 11, validity: 7, hit: 10}, 1, "INBOX Silent"},
		{"it is still there", "", told{}, 1, "INBOX Silent"},
		{"its user took it", "INBOX", told{messages: 2, next: 11, validity: 7}, 0, "INBOX Silent"},
		{"nothing is left", "", told{}, 0, "Silent"},
		{"made anew", "Full", told{messages: 10, next: 11, validity: 8}, 0, "Full Silent"},
		{"UIDs went back", "Full", told{messages: 9, next: 3, validity: 8}, 0, "Full Silent"},
		{"a new folder", "New", told{messages: 1, next: 2, validity: 9}, 0, "New Silent"},
		{"gone empty", "New", told{messages: 0, next: 2, validity: 9}, 0, "Silent"},
	} {
		if step.folder != "" {
			st.folders[step.folder] = step.now
		}
		if n, opened := lookAgain(t, s, a, target); n != step.found || opened != step.opened {
			t.Errorf("%s: %d found, opened %q, want %d and %q", step.what, n, opened, step.found, step.opened)
		}
	}
	if _, opened := lookAgain(t, s, a, target, other); opened != "Empty Full INBOX Silent" {
		t.Errorf("for another target as well, opened %q", opened)
	}
	if _, opened := lookAgain(t, s, a, other); opened != "Silent" {
		t.Errorf("for that alone, opened %q", opened)
	}
}

// What a removal has looked at need not be looked at again, but for what others
// put there meanwhile.
func TestAfterARemovalOnlyStatesAreAskedFor(t *testing.T) {
	st := &stateful{folders: map[string]told{"INBOX": {messages: 3, next: 10, validity: 7, hit: 5}, "Junk": {messages: 1, next: 2, validity: 7}}}
	s := serve(t, &server{caps: statefulCaps, answer: st.answer})
	a := open(t, s)
	target := mailbox.Target{MessageID: "the-target@example.org"}
	if n, opened := lookAgain(t, s, a, target); n != 1 || opened != "INBOX Junk" {
		t.Fatalf("%d found, opened %q", n, opened)
	}
	if r := a.Remove(t.Context(), []mailbox.Copy{theCopy()})[0]; !r.Taken || r.Err != nil {
		t.Fatalf("%+v", r)
	}
	before := len(s.said(""))
	if n, opened := lookAgain(t, s, a, target); n != 0 || opened != "" {
		t.Errorf("%d found, opened %q", n, opened)
	}
	said := s.said("")[before:]
	if len(said) != 2 || said[0] != "UNSELECT" || !strings.HasPrefix(said[1], "LIST") {
		t.Errorf("said: %q", said)
	}
	f := st.folders["INBOX"]
	f.next, f.hit = 11, 10
	st.folders["INBOX"] = f
	if n, opened := lookAgain(t, s, a, target); n != 1 || opened != "INBOX" {
		t.Errorf("%d found, opened %q", n, opened)
	}
}

func TestWhatCouldNotBeRemovedIsFoundAgain(t *testing.T) {
	st := &stateful{keep: true, folders: map[string]told{"INBOX": {messages: 3, next: 10, validity: 7, hit: 5}}}
	s := serve(t, &server{caps: statefulCaps, answer: st.answer})
	a := open(t, s)
	target := mailbox.Target{MessageID: "the-target@example.org"}
	lookAgain(t, s, a, target)
	if r := a.Remove(t.Context(), []mailbox.Copy{theCopy()})[0]; r.Taken || !errors.Is(r.Err, mailbox.ErrRefused) {
		t.Fatalf("%+v", r)
	}
	if n, _ := lookAgain(t, s, a, target); n != 1 {
		t.Errorf("%d found", n)
	}
}

func TestAFolderMadeAnewBetweenSearchAndReadingIsToldAsStale(t *testing.T) {
	st := &stateful{folders: map[string]told{"INBOX": {messages: 3, next: 10, validity: 7}, "Made": {messages: 3, next: 10, validity: 7, hit: 5}}}
	times := 0
	s := serve(t, &server{caps: statefulCaps, answer: func(command string) string {
		if strings.HasPrefix(command, `EXAMINE "Made"`) {
			if times++; times == 2 {
				f := st.folders["Made"]
				f.validity = 8
				st.folders["Made"] = f
			}
		}
		return st.answer(command)
	}})
	a := open(t, s)
	var errs []error
	for f, err := range a.Find(t.Context(), []mailbox.Target{{MessageID: "the-target@example.org"}}) {
		if errs = append(errs, err); err == nil {
			t.Errorf("found: %+v", f)
		}
	}
	if len(errs) != 1 || !errors.Is(errs[0], mailbox.ErrStale) {
		t.Errorf("errors %v", errs)
	}
	if n, _ := lookAgain(t, s, a, mailbox.Target{MessageID: "the-target@example.org"}); n != 1 {
		t.Errorf("%d found then", n)
	}
}

func TestAMailboxOfTenFoldersTakesFewCommands(t *testing.T) {
	st := &stateful{folders: map[string]told{"INBOX": {messages: 3, next: 10, validity: 7, hit: 5}}}
	for i := range 9 {
		st.folders[fmt.Sprintf("folder%d", i)] = told{messages: 500, next: 501, validity: 7}
	}
	s := serve(t, &server{caps: statefulCaps, answer: st.answer})
	a := open(t, s)
	target := mailbox.Target{MessageID: "the-target@example.org"}
	for c, err := range a.Find(t.Context(), []mailbox.Target{target}) {
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := a.Fetch(t.Context(), c.Copy, &b); err != nil || b.String() != raw {
			t.Fatalf("%q, %v", b.String(), err)
		}
	}
	if r := a.Remove(t.Context(), []mailbox.Copy{theCopy()})[0]; !r.Taken {
		t.Fatalf("%+v", r)
	}
	if n, _ := lookAgain(t, s, a, target); n != 0 {
		t.Errorf("%d found", n)
	}
	_ = a.Close()
	said := s.said("")
	// LOGIN, NAMESPACE, LIST, EXAMINE and SEARCH of ten, two FETCH, UNSELECT; SELECT,
	// FETCH, STORE, EXPUNGE, FETCH; UNSELECT, LIST, LOGOUT.
	if len(said) != 34 {
		t.Errorf("%d commands: %s", len(said), strings.Join(said, "\n"))
	}
}

func TestStatesAreNotAskedForWhereThatCosts(t *testing.T) {
	own := told{messages: 3, next: 10, validity: 7}
	for name, c := range map[string]struct {
		folders map[string]told
		skip    []string
		asked   []bool // whether states are, at each listing
		refuse  bool
	}{
		"the user's own alone":         {folders: map[string]told{"INBOX": own, "a": own}, asked: []bool{true, true, true}},
		"one shows all":                {folders: map[string]told{"INBOX": own, "All": {attrs: `\All`}}, asked: []bool{true, false, false}},
		"one is skipped":               {folders: map[string]told{"INBOX": own, "Virtual": own}, skip: []string{"Virtual"}, asked: []bool{false, false, false}},
		"one would be, if it were":     {folders: map[string]told{"INBOX": own}, skip: []string{"Virtual"}, asked: []bool{false, true, true}},
		"one holds others":             {folders: map[string]told{"INBOX": own, "Parent": {attrs: `\NoSelect`}, "P2": {attrs: `\NoSelect`}}, asked: []bool{true, true, true}},
		"the server refuses":           {folders: map[string]told{"INBOX": own}, refuse: true, asked: []bool{true, false, true, false, true, false}},
		"more of others than his own":  {folders: map[string]told{"INBOX": own, "shared/a": own, "shared/b": own}, asked: []bool{true, false, false}},
		"fewer of others than his own": {folders: map[string]told{"INBOX": own, "shared/a": own}, asked: []bool{true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			st := &stateful{folders: c.folders, refuse: c.refuse}
			s := serve(t, &server{caps: statefulCaps, answer: func(command string) string {
				if command == "NAMESPACE" {
					return `* NAMESPACE (("" "/")) NIL (("shared/" "/"))` + "\r\nTAG OK done\r\n"
				}
				return st.answer(command)
			}})
			a, err := backend(t, s, func(o *Options) { o.Skip = c.skip }).Open(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = a.Close() }()
			for range 3 {
				lookAgain(t, s, a, mailbox.Target{MessageID: "the-target@example.org"})
			}
			var asked []bool
			for _, command := range s.said("LIST") {
				asked = append(asked, strings.Contains(command, "STATUS"))
			}
			if !slices.Equal(asked, c.asked) {
				t.Errorf("asked: %v, want %v", asked, c.asked)
			}
			if n := len(s.said("NAMESPACE")); n != 1 {
				t.Errorf("%d times asked for namespaces", n)
			}
		})
	}
}

// What a server without UNSELECT tells of the folder that is open may be old.
func TestTheStateOfAFolderThatStaysOpenIsNotBelieved(t *testing.T) {
	st := &stateful{folders: map[string]told{"INBOX": {messages: 3, next: 10, validity: 7}, "Junk": {messages: 1, next: 2, validity: 7}}}
	s := serve(t, &server{caps: usualCaps + " LIST-EXTENDED LIST-STATUS", answer: st.answer})
	a := open(t, s)
	target := mailbox.Target{MessageID: "the-target@example.org"}
	lookAgain(t, s, a, target)
	if _, opened := lookAgain(t, s, a, target); opened != "INBOX" {
		t.Errorf("opened %q", opened)
	}
}

func TestManyNamesGoIntoCommandsOfBoundedLength(t *testing.T) {
	var targets []mailbox.Target
	for i := range 200 {
		targets = append(targets, mailbox.Target{MessageID: fmt.Sprintf("%d.%s@example.org", i, strings.Repeat("x", i)), WeirID: fmt.Sprintf("01JNB3V2Q8Z5R4T6Y7W8X%05d", i)})
	}
	s := serve(t, &server{})
	if n, _ := lookAgain(t, s, open(t, s), targets...); n != 0 {
		t.Errorf("%d found", n)
	}
	said := s.said("UID SEARCH")
	all := strings.Join(said, "\n")
	for _, target := range targets {
		needle, _ := mailbox.Needle(target.MessageID)
		if !strings.Contains(all, `"Message-ID" "`+needle+`"`) || !strings.Contains(all, `"X-Weir-ID" "`+target.WeirID+`"`) {
			t.Errorf("not searched for: %+v", target)
		}
	}
	for _, command := range said {
		depth, deepest := 0, 0
		for _, c := range command {
			switch c {
			case '(':
				depth++
			case ')':
				depth--
			}
			deepest = max(deepest, depth)
		}
		if len(command) > 8000 || deepest > 10 {
			t.Errorf("a command of %d bytes, %d deep", len(command), deepest)
		}
	}
	if len(said) > 8 {
		t.Errorf("%d searches", len(said))
	}
}

// One folder that cannot be opened or searched is told, and holds up no other.
func TestAFolderThatFailsInTheMiddleIsToldAlone(t *testing.T) {
	for name, c := range map[string]struct {
		verb, said string
		want       error
	}{
		"it cannot be opened":   {"EXAMINE \"b\"", "TAG NO [SERVERBUG] broken\r\n", mailbox.ErrUnreachable},
		"it is refused":         {"EXAMINE \"b\"", "TAG NO [NOPERM] no\r\n", mailbox.ErrRefused},
		"it is gone":            {"EXAMINE \"b\"", "TAG NO [NONEXISTENT] gone\r\n", mailbox.ErrFolderGone},
		"it cannot be searched": {"UID SEARCH", "TAG NO [SERVERBUG] broken\r\n", mailbox.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			st := &stateful{folders: map[string]told{}}
			for _, f := range []string{"INBOX", "a", "b", "c"} {
				st.folders[f] = told{messages: 3, next: 10, validity: 7, hit: 5}
			}
			s := serve(t, &server{caps: statefulCaps, answer: func(command string) string {
				if strings.HasPrefix(command, c.verb) && (c.verb != "UID SEARCH" || st.selected == "b") {
					if c.verb != "UID SEARCH" {
						st.selected = ""
					}
					return c.said
				}
				if st.selected == "" && strings.HasPrefix(command, "UID ") {
					return "TAG BAD no folder is open\r\n"
				}
				return st.answer(command)
			}})
			a := open(t, s)
			for range 2 {
				var found []string
				var errs []error
				for f, err := range a.Find(t.Context(), []mailbox.Target{{MessageID: "the-target@example.org"}}) {
					if err != nil {
						errs = append(errs, err)
						continue
					}
					found = append(found, f.Copy.Folder)
				}
				slices.Sort(found)
				if !slices.Equal(found, []string{"INBOX", "a", "c"}) || len(errs) != 1 || !errors.Is(errs[0], c.want) || !strings.Contains(errs[0].Error(), `"b"`) {
					t.Errorf("found in %q, errors %v", found, errs)
				}
			}
		})
	}
}
