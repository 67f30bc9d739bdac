package mailboxtest

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

func deletedMeanwhile(h *house) {
	h.bystanders()
	before := h.state()
	h.must(h.client.Append("INBOX", target(), noon()))
	c := h.one(named())
	mails, err := h.client.In("INBOX")
	h.must(err)
	h.do("SELECT INBOX")
	h.do(`UID STORE %s +FLAGS (\Deleted)`, mails[len(mails)-1].UID)
	h.do("EXPUNGE")
	h.is(h.account().Fetch(h.ctx, c, &bytes.Buffer{}), mailbox.ErrGone)
	if gone, err := h.account().Gone(h.ctx, c); !gone || err != nil {
		h.Errorf("gone %v, %v", gone, err)
	}
	if r := h.take(c); r.Taken || r.Err != nil {
		h.Errorf("removal: %+v", r)
	}
	h.same("after the user's deletion", before)
}

func movedMeanwhile(h *house) {
	h.bystanders()
	h.do("CREATE Later")
	before := h.state()
	h.must(h.client.Append("INBOX", target(), noon(), `\Seen`))
	c := h.one(named())
	mails, err := h.client.In("INBOX")
	h.must(err)
	h.do("SELECT INBOX")
	h.do("UID MOVE %s Later", mails[len(mails)-1].UID)
	if r := h.take(c); r.Taken || r.Err != nil {
		h.Errorf("removal: %+v", r)
	}
	again := h.one(named())
	if again.Folder != "Later" || !again.Date.Equal(noon()) || !again.Seen() {
		h.Errorf("found again: %+v", again)
	}
	// Flags change under our hands as well.
	h.do("SELECT Later")
	h.do(`STORE 1 FLAGS (\Answered other)`)
	h.remove(again)
	h.same("after removing", before)
}

// removeAll removes what Find finds, and gives the number found.
func (h *house) removeAll() int {
	h.Helper()
	n := 0
	for c, err := range h.account().Find(h.ctx, []mailbox.Target{named()}) {
		h.must(err)
		h.must(h.take(c.Copy).Err)
		n++
	}
	return n
}

// movedAllTheTime removes copies while the user's client moves them to and fro.
func movedAllTheTime(h *house) {
	h.bystanders()
	h.do("CREATE There")
	before := h.state()
	for i := range 20 {
		h.must(h.client.Append("INBOX", target(), noon().Add(time.Duration(i)*time.Second)))
	}
	client := h.login()
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			from, to := "INBOX", "There"
			if i%2 == 1 {
				from, to = to, from
			}
			if _, err = client.Do("SELECT %s", from); err == nil {
				_, err = client.Do(`UID SEARCH HEADER Message-ID %q`, targetID)
			}
			// Bystanders stay where they are: only what is found is moved, one by one.
			for n := 1; err == nil && n <= 4; n++ {
				list, searchErr := client.Do(`UID SEARCH HEADER Message-ID %q`, targetID)
				if err = searchErr; err != nil || len(list) == 0 {
					break
				}
				uids := list[0].Words()[2:]
				if len(uids) == 0 {
					continue
				}
				_, err = client.Do("UID MOVE %s %s", uids[0], to)
				if err != nil && strings.Contains(err.Error(), "EXPUNGEISSUED") {
					err = nil // it was just removed
				}
			}
		}
		stopped <- err
	}()
	for range 100 {
		h.removeAll()
	}
	close(stop)
	h.must(<-stopped)
	// What was on its way while the user moved it shows now.
	for h.removeAll() > 0 {
		continue
	}
	if n := len(h.find(named())); n != 0 {
		h.Errorf("%d copies left", n)
	}
	h.same("after all", before)
}

func folderMadeAnew(h *house) {
	h.do("CREATE Fleeting")
	h.must(h.client.Append("Fleeting", target(), noon()))
	c := h.one(named())
	h.do("DELETE Fleeting")
	time.Sleep(1100 * time.Millisecond) // Dovecot makes UIDVALIDITY of the time in seconds
	h.do("CREATE Fleeting")
	h.must(h.client.Append("Fleeting", letter("innocent@example.org", "", "I am another"), noon()))
	before := h.state()
	if err := h.account().Fetch(h.ctx, c, &bytes.Buffer{}); !errors.Is(err, mailbox.ErrStale) && !errors.Is(err, mailbox.ErrGone) {
		h.Errorf("fetch: %v", err)
	}
	if r := h.take(c); r.Taken || r.Err != nil && !errors.Is(r.Err, mailbox.ErrStale) {
		h.Errorf("remove: %+v", r)
	}
	if gone, err := h.account().Gone(h.ctx, c); !errors.Is(err, mailbox.ErrStale) && !gone {
		h.Errorf("gone: %v, %v", gone, err)
	}
	h.same("after all", before)
}

func folderGone(h *house) {
	h.bystanders()
	h.do("CREATE Fleeting")
	h.must(h.client.Append("Fleeting", target(), noon(), `\Seen`, "work"))
	c := h.one(named())
	raw := h.fetch(c)
	h.do("DELETE Fleeting")
	// A server may break off the connection that has the folder open.
	if err := h.account().Fetch(h.ctx, c, &bytes.Buffer{}); !errors.Is(err, mailbox.ErrFolderGone) && !errors.Is(err, mailbox.ErrUnreachable) {
		h.Errorf("fetch: %v", err)
	}
	h.acct = h.reopen()
	h.is(h.account().Fetch(h.ctx, c, &bytes.Buffer{}), mailbox.ErrFolderGone)
	h.is(h.take(c).Err, mailbox.ErrFolderGone)
	_, err := h.account().Gone(h.ctx, c)
	h.is(err, mailbox.ErrFolderGone)
	for i := range 2 {
		got := h.restore(mailbox.Return{Raw: raw, Was: c})
		if got.Copy.Folder != "INBOX" || got.Existed != (i == 1) || !got.Copy.Seen() || len(got.Copy.Keywords) != 1 {
			h.Errorf("restored: %+v", got)
		}
	}
	if back := h.one(named()); back.Folder != "INBOX" || !bytes.Equal(h.fetch(back), raw) {
		h.Errorf("back: %+v", back)
	}
}
