package mailboxes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Whether a folder has to be looked into again is asked of Dovecot, which did not
// itself put there what other programs deliver.
func TestASecondLookFindsWhatAnotherProgramDelivers(t *testing.T) {
	t.Parallel()
	s := start(t)
	user := s.newUser(t)
	s.put(t, user, "Work")
	a, err := s.imap(t, nil).Open(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	box := filepath.Join(filepath.Dir(s.ConfigPath()), "mail", user, "Maildir")
	for i := range 60 {
		folder := []string{box, filepath.Join(box, ".Work"), filepath.Join(box, ".Junk")}[i%3]
		temp, name := filepath.Join(folder, "tmp", "x"), fmt.Sprintf("1700000000.M%dP1.another", i)
		if err := errors.Join(os.WriteFile(temp, []byte(theTarget), 0o666), os.Chmod(temp, 0o666), os.Rename(temp, filepath.Join(folder, "new", name))); err != nil {
			t.Fatal(err)
		}
		var copies []mailbox.Copy
		for c, err := range a.Find(t.Context(), []mailbox.Target{{MessageID: theID, WeirID: theWeirID}}) {
			if err != nil {
				t.Fatal(err)
			}
			copies = append(copies, c.Copy)
		}
		want := 1
		if i == 0 {
			want = 2 // and the one that was there
		}
		if len(copies) != want {
			t.Fatalf("delivery %d into %s: found %+v", i, folder, copies)
		}
		for _, r := range a.Remove(t.Context(), copies) {
			if !r.Taken || r.Err != nil {
				t.Fatalf("%+v", r)
			}
		}
	}
	s.noComplaints(t)
}
