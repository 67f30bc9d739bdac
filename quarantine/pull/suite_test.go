package pull_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/weirmail/weir/quarantine/mailbox/maildir"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

func maildirs(t *testing.T) pulltest.Store {
	root := t.TempDir()
	b, err := maildir.New(maildir.Options{Root: root, Layout: "%u/Maildir"})
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	return pulltest.Store{Backend: b, NewUser: func(t *testing.T) (string, pulltest.User) {
		login := fmt.Sprintf("user%d@lab.test", next)
		next++
		d, err := pulltest.NewDisk(filepath.Join(root, login, "Maildir"))
		if err != nil {
			t.Fatal(err)
		}
		return login, d
	}}
}

func TestPullDoesOnMaildirsWhatItPromises(t *testing.T) { pulltest.Suite(t, maildirs(t)) }
