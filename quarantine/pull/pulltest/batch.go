package pulltest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirmail/weir/quarantine/job"
)

// nth makes a letter of its own.
func nth(n int) (header string, raw []byte) {
	header = fmt.Sprintf("Message-ID: <nth-%d@example.org>\n", n) + plain8
	return header, letter(header, fmt.Sprintf("%s\nNumber %d\n", body, n))
}

// batch has the jobs of one mailbox done together, of which each comes to something
// else.
func batch(s *site) {
	s.others()
	empty := s.all()
	all := map[string]string{}
	add := func(n int, want string) {
		_, raw := nth(n)
		id := fmt.Sprintf("j%d", len(all))
		all[id] = want
		s.daemon.Add(s.target(id, raw))
	}
	put := func(n int, folder, header, footer string) {
		text, _ := nth(n)
		s.put(folder, letter(header+text, fmt.Sprintf("%s\nNumber %d\n%s", body, n, footer)), day, `\Seen`)
	}
	put(3, "INBOX", "", footer)
	add(3, "differs, 1 differs")
	put(4, "Sent", "", "")
	add(4, "differs, 1 sent")
	put(5, "Junk", "X-Forged: yes\n", "but this is another\n")
	rest := s.all()
	put(5, "INBOX", "", "")
	add(5, "pulled, 1 differs, 1 removed")
	for n := range 3 {
		for copies := range n + 1 {
			put(n, []string{"INBOX", "Work/Old", "Archive"}[copies], fmt.Sprintf("X-Copy: %d\n", copies), "")
		}
		add(n, fmt.Sprintf("pulled, %d removed", n+1))
	}
	add(0, "") // two mean it: one takes it
	twins := []string{"j3", fmt.Sprintf("j%d", len(all)-1)}
	all["j3"] = ""
	add(6, "not-found")
	text, _ := nth(7)
	_, without, _ := strings.Cut(text, "\n")
	s.put("INBOX", letter(without, fmt.Sprintf("%s\nNumber %d\n", body, 7)), day)
	add(7, "pulled, 1 removed")
	before := s.all()

	done := func() {
		s.daemon.Together = true
		stop := s.start()
		defer stop()
		for id, want := range all {
			if r := s.result(id); Was(r) != want && want != "" {
				s.t.Errorf("job %s: %s (%s), want %s", id, Was(r), r.Detail, want)
			}
		}
		of := []string{Was(s.result(twins[0])), Was(s.result(twins[1]))}
		if slices.Sort(of); !slices.Equal(of, []string{"not-found", "pulled, 1 removed"}) {
			s.t.Errorf("two jobs that mean one copy: %q", of)
		}
	}
	done()
	s.holds(rest, "after the pulls")
	var ids []string
	for id := range all {
		ids = append(ids, s.daemon.RestoreAll(id)...)
	}
	s.do(ids...)
	s.holds(before, "after the restores")

	for id, want := range all {
		s.daemon.Again(id, func(j *job.Job) { j.Kept, j.Sent = nil, true })
		if want == "differs, 1 sent" {
			all[id] = "pulled, 1 removed"
		}
	}
	done()
	if left := len(s.all()); left != len(empty)+2 {
		s.t.Errorf("%d mails are left", left)
	}
}
