package imap

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Others may know where messages stand; what they are, IMAP says.
func TestOnlyWhatBearsTheNameInTheUsersOwnFoldersIsGiven(t *testing.T) {
	s := serve(t, &server{caps: usualCaps + " UNSELECT", answer: func(command string) string {
		switch {
		case strings.HasPrefix(command, "NAMESPACE"):
			return `* NAMESPACE (("" "/")) NIL (("shared/" "/"))` + "\r\nTAG OK done\r\n"
		case strings.HasPrefix(command, "LIST"):
			return "* LIST () \"/\" INBOX\r\n* LIST (\\All) \"/\" All\r\n* LIST () \"/\" Virtual/x\r\n* LIST () \"/\" shared/x\r\n" +
				"* LIST (\\Sent) \"/\" Gesendet\r\n* LIST () \"/\" Broken\r\nTAG OK done\r\n"
		case strings.HasPrefix(command, "EXAMINE \"Broken\""), strings.HasPrefix(command, "EXAMINE Broken"):
			return "TAG NO [SERVERBUG] broken\r\n"
		case strings.HasPrefix(command, "UID FETCH 5 "):
			return fetched(command, 5, date, raw)
		case strings.HasPrefix(command, "UID FETCH 6 "):
			return fetched(command, 6, date, strings.Replace(raw, "the-target", "not-the-target", 1))
		}
		return ""
	}})
	a, err := backend(t, s, func(o *Options) { o.Skip = []string{"Virtual"} }).Account(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	at := map[string][]uint32{
		"INBOX": {6}, "All": {5}, "Virtual/x": {5}, "shared/x": {5}, "Gesendet": {5}, "Broken": {5}, "Hidden": {5},
	}
	var errs []error
	var copies []mailbox.Copy
	for c, err := range a.Named(t.Context(), mailbox.NewTargets([]mailbox.Target{{MessageID: "the-target@example.org"}}), at) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		copies = append(copies, c.Copy)
	}
	if len(copies) != 1 || copies[0].Folder != "Gesendet" || copies[0].Role != mailbox.RoleSent || copies[0].ID != "7/5" || copies[0].By != mailbox.ByMessageID {
		t.Errorf("given: %+v", copies)
	}
	if len(errs) != 2 || !errors.Is(errs[0], mailbox.ErrUnreachable) || !strings.Contains(errs[0].Error(), "Broken") ||
		!errors.Is(errs[1], mailbox.ErrFolderGone) || !strings.Contains(errs[1].Error(), "Hidden") {
		t.Errorf("errors: %v", errs)
	}
	if opened := s.said("EXAMINE"); len(opened) != 3 || len(s.said("SELECT")) > 0 {
		t.Errorf("opened: %q", opened)
	}
	if all := s.said(""); !slices.Contains(all, "UNSELECT") {
		t.Errorf("a folder was left open: %q", all)
	}
}
