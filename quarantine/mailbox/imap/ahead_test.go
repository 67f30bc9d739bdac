package imap

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// several is a server with mails in INBOX, with the UIDs from 1 on, and the same in
// Other, but for their content. Answer gives what it says instead to a FETCH of the
// content of some.
type several struct {
	*server
	n      int
	answer func(uids []int, usual string) string

	mu     sync.Mutex
	folder string
}

func newSeveral(t *testing.T, n int) *several {
	s := &several{n: n}
	s.server = serve(t, &server{answer: s.says})
	return s
}

const hisName = "<the-same-for-all@example.org>"

func (s *several) raw(folder string, uid int) string {
	return fmt.Sprintf("Message-ID: %s\r\nSubject: %s\r\n\r\nMail %03d\r\n", hisName, folder[:5], uid)
}

func (s *several) says(command string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch words := strings.Fields(command); {
	case words[0] == "LIST":
		return "* LIST () \"/\" INBOX\r\n* LIST () \"/\" Other\r\nTAG OK done\r\n"
	case words[0] == "SELECT" || words[0] == "EXAMINE":
		s.folder = strings.Trim(words[1], `"`)
		return fmt.Sprintf("* %d EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\nTAG OK done\r\n", s.n)
	case strings.HasPrefix(command, "UID SEARCH"):
		return fmt.Sprintf("* ESEARCH (TAG \"TAG\") UID ALL 1:%d\r\nTAG OK done\r\n", s.n)
	case strings.HasPrefix(command, "UID FETCH"):
		var uids []int
		for part := range strings.SplitSeq(words[2], ",") {
			first, last := 0, 0
			if n, _ := fmt.Sscanf(part, "%d:%d", &first, &last); n == 1 {
				last = first
			}
			for uid := first; uid <= last; uid++ {
				uids = append(uids, uid)
			}
		}
		all := ""
		for _, uid := range uids {
			one, _, _ := strings.Cut(fetched(command, uid, "01-May-2026 08:00:00 +0000", s.raw(s.folder, uid)), "TAG OK")
			all += one
		}
		all += "TAG OK done\r\n"
		if s.answer != nil && strings.Contains(command, "BODY.PEEK[]") {
			return s.answer(uids, all)
		}
		return all
	}
	return ""
}

// read fetches the mails of INBOX one after the other, as Find gives them.
func (s *several) read(t *testing.T, a *Account, each func(c *mailbox.Copy)) (errs []error) {
	t.Helper()
	for f, err := range a.Find(t.Context(), []mailbox.Target{{MessageID: strings.Trim(hisName, "<>")}}) {
		if err != nil {
			return append(errs, err)
		}
		if f.Copy.Folder != "INBOX" {
			continue
		}
		if each != nil {
			each(&f.Copy)
		}
		_, uid, _ := parseID(f.Copy.ID)
		var b bytes.Buffer
		err := a.Fetch(t.Context(), f.Copy, &b)
		if err == nil && b.String() != s.raw("INBOX", int(uid)) {
			t.Errorf("mail %d is read as %q", uid, b.String())
		}
		errs = append(errs, err)
	}
	return errs
}

// commands gives how many mails each command fetched.
func (s *several) commands() (all []int) {
	for _, c := range s.said("UID FETCH") {
		if set := strings.Fields(c)[2]; strings.Contains(c, "BODY.PEEK[]") {
			n, first, last := 0, 0, 0
			for part := range strings.SplitSeq(set, ",") {
				if k, _ := fmt.Sscanf(part, "%d:%d", &first, &last); k == 2 {
					n += last - first
				}
				n++
			}
			all = append(all, n)
		}
	}
	return all
}

func account(t *testing.T, b *Backend, user string) *Account {
	t.Helper()
	a, err := b.Account(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func TestSmallMailsThatAreFoundTogetherAreReadTogether(t *testing.T) {
	without := func(uid int) func(uids []int, usual string) string {
		return func(_ []int, usual string) string {
			first, rest, ok := strings.Cut(usual, fmt.Sprintf("* 1 FETCH (UID %d ", uid))
			if !ok {
				return usual
			}
			_, rest, _ = strings.Cut(rest, ")\r\n")
			return first + rest
		}
	}
	size := len((&several{}).raw("INBOX", 2))
	for name, tt := range map[string]struct {
		n        int
		answer   func(uids []int, usual string) string
		errs     map[int]error // of the mail with this UID
		commands []int
	}{
		"all at once":  {n: 5, commands: []int{5}},
		"a heap":       {n: 70, commands: []int{32, 32, 6}},
		"one alone":    {n: 1, commands: []int{1}},
		"one is gone":  {n: 4, answer: without(2), errs: map[int]error{2: mailbox.ErrGone}, commands: []int{4, 1}},
		"the first is": {n: 4, answer: without(1), errs: map[int]error{1: mailbox.ErrGone}, commands: []int{4, 1}},
		"one is NIL": {n: 3, errs: map[int]error{2: mailbox.ErrGone}, commands: []int{3, 1}, answer: func(_ []int, usual string) string {
			first, rest, ok := strings.Cut(usual, "(UID 2 BODY[]<0> {")
			if !ok {
				return usual
			}
			_, rest, _ = strings.Cut(rest, ")\r\n")
			return first + "(UID 2 BODY[]<0> NIL)\r\n" + rest
		}},
		"one has other bytes than were told": {n: 3, errs: map[int]error{2: mailbox.ErrAltered}, commands: []int{3, 1}, answer: func(_ []int, usual string) string {
			return strings.ReplaceAll(usual, fmt.Sprintf("{%d}\r\nMessage-ID: %s\r\nSubject: INBOX\r\n\r\nMail 002", size, hisName),
				fmt.Sprintf("{%d}\r\nMessage-ID: %s\r\nSubject: INBOX\r\n\r\nMail  002", size+1, hisName))
		}},
		"the server refuses several": {n: 3, commands: []int{3, 1, 1, 1}, answer: func(uids []int, usual string) string {
			if len(uids) > 1 {
				return "TAG NO [SERVERBUG] not so many\r\n"
			}
			return usual
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSeveral(t, tt.n)
			s.answer = tt.answer
			errs := s.read(t, account(t, backend(t, s.server, nil), "alice"), nil)
			if len(errs) != tt.n {
				t.Errorf("%d mails are found: %v", len(errs), errs)
			}
			for i, err := range errs {
				if want := tt.errs[i+1]; !errors.Is(err, want) {
					t.Errorf("mail %d: %v, want %v", i+1, err, want)
				}
			}
			if got := s.commands(); !slices.Equal(got, tt.commands) {
				t.Errorf("commands for %v mails, want %v", got, tt.commands)
			}
		})
	}
}

// A mail over which the server breaks off must not be taken for the one that was
// wanted: whoever breaks off several times over one gives that one up.
func TestAfterABreakWithSeveralMailsAUserHasThemReadOneByOne(t *testing.T) {
	s := newSeveral(t, 3)
	s.answer = func(uids []int, usual string) string {
		if slices.Contains(uids, 3) {
			return "* nonsense\r\n"
		}
		return usual
	}
	b := backend(t, s.server, nil)
	if errs := s.read(t, account(t, b, "alice"), nil); !errors.Is(errs[0], mailbox.ErrUnreachable) {
		t.Errorf("the first time: %v", errs)
	}
	if errs := s.read(t, account(t, b, "alice"), nil); len(errs) < 3 || errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], mailbox.ErrUnreachable) {
		t.Errorf("the second time: %v", errs)
	}
	s.answer = nil
	if errs := s.read(t, account(t, b, "bob"), nil); len(errs) != 3 || errors.Join(errs...) != nil {
		t.Errorf("another user: %v", errs)
	}
	if got := s.commands(); !slices.Equal(got, []int{3, 1, 1, 1, 3}) {
		t.Errorf("commands for %v mails", got)
	}
}

func TestWhatWasReadAheadIsNoOtherFoldersMailOfTheSameID(t *testing.T) {
	s := newSeveral(t, 3)
	a := account(t, backend(t, s.server, nil), "alice")
	errs := s.read(t, a, func(c *mailbox.Copy) {
		if c.ID == makeID(7, 1) {
			return
		}
		other := *c
		other.Folder = "Other"
		_, uid, _ := parseID(c.ID)
		var b bytes.Buffer
		if err := a.Fetch(t.Context(), other, &b); err != nil || b.String() != s.raw("Other", int(uid)) {
			t.Errorf("mail %d of the other folder: %q, %v", uid, b.String(), err)
		}
	})
	if len(errs) != 3 || errors.Join(errs...) != nil {
		t.Error(errs)
	}
}

// Connections break off for many reasons, a server's restart above all. Over months
// that must not come to reading everybody's messages one by one.
func TestWhatWentWrongIsNotHeldAgainstAUserForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u users
		u.add("a")
		time.Sleep(time.Hour)
		if !u.has("a") || u.has("b") {
			t.Error("it is forgotten at once, or held against another")
		}
		for n := range 2 * maxOneByOne {
			time.Sleep(time.Hour)
			u.add(fmt.Sprint("user", n))
		}
		if u.has("a") || u.has("b") || len(u.all) > maxOneByOne {
			t.Errorf("it is held against a for good (%v), or against everybody (%v): %d", u.has("a"), u.has("b"), len(u.all))
		}
		for n := range 2 * maxOneByOne {
			u.add(fmt.Sprint("other", n))
		}
		if !u.has("b") || len(u.all) > maxOneByOne {
			t.Errorf("very many at once: %d", len(u.all))
		}
		time.Sleep(oneByOneFor)
		if u.has("b") {
			t.Error("a day later everybody is read one by one")
		}
	})
}
