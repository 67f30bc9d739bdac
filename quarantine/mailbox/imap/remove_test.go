package imap

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// box is a server with messages of the same kind in INBOX, by UID.
type box struct {
	uids   []int
	marked []int
	stays  []int // what UID EXPUNGE doesn't take
	store  string
	news   string // told before the answer to UID STORE
}

var uidsOf = regexp.MustCompile(`^UID (?:STORE|EXPUNGE|FETCH) ([0-9,:]+)`)

func (b *box) meant(command string) []int {
	var all []int
	for _, part := range strings.Split(uidsOf.FindStringSubmatch(command)[1], ",") {
		first, last, ok := strings.Cut(part, ":")
		from, _ := strconv.Atoi(first)
		to := from
		if ok {
			to, _ = strconv.Atoi(last)
		}
		for uid := from; uid <= to; uid++ {
			if slices.Contains(b.uids, uid) {
				all = append(all, uid)
			}
		}
	}
	return all
}

func (b *box) answer(command string) string {
	switch {
	case strings.HasPrefix(command, "UID FETCH"):
		all := ""
		for _, uid := range b.meant(command) {
			one := strings.TrimSuffix(fetched(command, uid, date, raw), "TAG OK done\r\n")
			if slices.Contains(b.marked, uid) {
				one = strings.Replace(one, "FLAGS ()", `FLAGS (\Deleted)`, 1)
			}
			all += one
		}
		return all + "TAG OK done\r\n"
	case strings.HasPrefix(command, "UID STORE"):
		answer := b.store
		if answer == "" {
			answer = "TAG OK done\r\n"
		}
		return b.news + answer
	case strings.HasPrefix(command, "UID EXPUNGE"):
		for _, uid := range b.meant(command) {
			if !slices.Contains(b.stays, uid) {
				b.uids = slices.DeleteFunc(b.uids, func(u int) bool { return u == uid })
			}
		}
	}
	return ""
}

func copies(uids ...int) (all []mailbox.Copy) {
	for _, uid := range uids {
		c := theCopy()
		c.ID = fmt.Sprintf("7/%d", uid)
		all = append(all, c)
	}
	return all
}

func TestCopiesOfOneFolderGoByOneCommand(t *testing.T) {
	b := &box{uids: []int{1, 2, 3, 5, 8, 9}}
	s := serve(t, &server{answer: b.answer})
	asked := copies(8, 2, 3, 4, 2)
	asked[1].ID = "007/002" // another may have written it so
	for i, r := range open(t, s).Remove(t.Context(), asked) {
		if r.Err != nil || r.Taken != (i != 3) {
			t.Errorf("%s: %+v", asked[i].ID, r)
		}
	}
	if !slices.Equal(b.uids, []int{1, 5, 9}) {
		t.Errorf("left: %v", b.uids)
	}
	for _, verb := range []string{"SELECT", "UID STORE", "UID EXPUNGE"} {
		if said := s.said(verb); len(said) != 1 {
			t.Errorf("said: %q", said)
		}
	}
}

func TestOnlyWhatStaysIsToldAndUnmarked(t *testing.T) {
	b := &box{uids: []int{1, 2, 3, 5}, marked: []int{3}, stays: []int{2, 3}, store: "TAG NO [EXPUNGEISSUED] some are gone\r\n"}
	s := serve(t, &server{answer: b.answer})
	for i, r := range open(t, s).Remove(t.Context(), copies(1, 2, 3, 5)) {
		stays := i == 1 || i == 2
		if r.Taken == stays || (r.Err != nil) != stays {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if said := s.said("UID STORE"); len(said) != 2 || !strings.HasPrefix(said[1], "UID STORE 2 -FLAGS") {
		t.Errorf("said: %q", said)
	}
}

// Others expunge as well, and a server tells it as it likes (RFC 9051 section 7.5.1).
func TestNewsOfOtherMailHoldUpNoRemoval(t *testing.T) {
	b := &box{uids: []int{1, 2, 3}, news: strings.Repeat("* 9 EXPUNGE\r\n", 1000) + strings.Repeat("* 3 FETCH (UID 3 FLAGS ())\r\n", 1000)}
	s := serve(t, &server{answer: b.answer})
	for _, r := range open(t, s).Remove(t.Context(), copies(1, 2)) {
		if !r.Taken || r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
}

func TestMoreThanOneCommandTakesGoByMore(t *testing.T) {
	b := &box{}
	for uid := range 450 {
		b.uids = append(b.uids, 2*uid+1) // no ranges
	}
	asked := copies(b.uids...)
	b.uids = append(b.uids, 2, 4, 6)
	s := serve(t, &server{answer: b.answer})
	for _, r := range open(t, s).Remove(t.Context(), asked) {
		if !r.Taken || r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
	for _, command := range s.said("UID ") {
		if len(command) > 4000 {
			t.Errorf("a command of %d bytes", len(command))
		}
	}
	if !slices.Equal(b.uids, []int{2, 4, 6}) || len(s.said("UID EXPUNGE")) != 3 {
		t.Errorf("left: %v after %q", b.uids, s.said("UID EXPUNGE"))
	}
}

func TestACopyOfNoFolderIsInNoFolder(t *testing.T) {
	b := &box{uids: []int{5}}
	s := serve(t, &server{answer: b.answer})
	a := open(t, s)
	if n, _ := lookAgain(t, s, a, mailbox.Target{MessageID: "nowhere-to-be-found@example.org"}); n != 0 {
		t.Errorf("%d found", n)
	}
	asked := []mailbox.Copy{theCopy(), theCopy(), theCopy()}
	asked[0].Folder, asked[1].Folder, asked[2].ID = "", "a\r\nb", "7"
	for i, want := range []error{mailbox.ErrFolderGone, mailbox.ErrFolderGone, mailbox.ErrStale} {
		if r := a.Remove(t.Context(), asked)[i]; r.Taken || !errors.Is(r.Err, want) {
			t.Errorf("%+v", r)
		}
	}
	if len(b.uids) != 1 || len(s.said("UID EXPUNGE")) > 0 {
		t.Errorf("said: %q", s.said(""))
	}
}

func TestABrokenConnectionIsToldOfAllThatRemains(t *testing.T) {
	for _, verb := range []string{"SELECT", "UID STORE", "UID EXPUNGE"} {
		b := &box{uids: []int{1, 2}}
		s := serve(t, &server{answer: func(command string) string {
			if strings.HasPrefix(command, verb) {
				return "* BYE\r\nnothing more of IMAP\r\n"
			}
			return b.answer(command)
		}})
		asked := copies(1, 2, 1)
		asked[2].Folder = "Other"
		for i, r := range open(t, s).Remove(t.Context(), asked) {
			if r.Taken || !errors.Is(r.Err, mailbox.ErrUnreachable) {
				t.Errorf("%s, %d: %+v", verb, i, r)
			}
		}
	}
}
