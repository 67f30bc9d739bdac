package mailboxtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// numbered makes the n-th of several messages, and what it is looked for by.
func numbered(n int) ([]byte, mailbox.Target) {
	id, weir := fmt.Sprintf("several-%d@mail.example.org", n), fmt.Sprintf("01JNB3V2Q8Z5R4T6Y7W8X%05d.N0DE01.ABCDEFGHIJKLMNOPQRSTUVWXYZ", n)
	raw := letter(id, weir, fmt.Sprintf("the content of message %d", n))
	return raw, mailbox.Target{MessageID: id, WeirID: weir, Body: body(raw), Size: int64(len(raw)), Around: noon()}
}

// several puts n messages into two folders each, in a mailbox with others.
func (h *house) several(n int) (targets []mailbox.Target, before []string) {
	h.Helper()
	h.bystanders()
	h.do("CREATE Later")
	before = h.state()
	for i := range n {
		raw, target := numbered(i)
		targets = append(targets, target)
		for _, folder := range []string{"INBOX", "Later"} {
			h.must(h.client.Append(folder, raw, noon().Add(time.Duration(i)*time.Second)))
		}
	}
	return targets, before
}

func several(h *house) {
	// One whose name a bystander has as a part of its own, one that is not there, and
	// one that is asked for twice.
	targets, before := h.several(40)
	targets = append(targets, mailbox.Target{MessageID: "ystander-1@example.org"}, mailbox.Target{MessageID: "nowhere-to-be-found@example.org"}, targets[7])
	all := h.findAll(targets...)
	var copies []mailbox.Copy
	for i, found := range all {
		want := 2
		if i == 40 || i == 41 {
			want = 0
		}
		if len(found) != want {
			h.Errorf("target %d: found %+v", i, found)
		}
		for _, c := range found {
			if c.MessageID != targets[i].MessageID || c.WeirID != targets[i].WeirID || c.By != mailbox.ByWeirID {
				h.Errorf("target %d: found %+v", i, c)
			}
		}
		if i < 40 {
			copies = append(copies, found...)
		}
	}
	var returns []mailbox.Return
	for _, c := range copies {
		returns = append(returns, mailbox.Return{Raw: h.fetch(c), Was: c})
	}
	full := h.state()
	h.remove(copies...)
	h.same("after removing all", before)
	for i, found := range h.findAll(targets...) {
		if len(found) > 0 {
			h.Errorf("target %d: still found: %+v", i, found)
		}
	}
	for _, r := range returns {
		h.restore(r)
	}
	h.same("after restoring all", full)
}

func sharedCandidate(h *house) {
	real, target := numbered(1)
	h.must(h.client.Append("INBOX", real, noon()))
	h.must(h.client.Append("Junk", letter(target.MessageID, "", "a forgery"), noon()))
	h.must(h.client.Append("Junk", letter("another@example.org", target.WeirID, "a forgery of the other name"), noon()))
	other := mailbox.Target{MessageID: target.MessageID, WeirID: weirID} // the same name, another message
	by := func(copies []mailbox.Copy) string {
		var all []string
		for _, c := range copies {
			all = append(all, c.Folder+" "+string(c.By))
		}
		slices.Sort(all)
		return fmt.Sprint(all)
	}
	all := h.findAll(target, other, mailbox.Target{WeirID: target.WeirID})
	for i, want := range []string{
		"[INBOX x-weir-id Junk message-id Junk x-weir-id]", "[INBOX message-id Junk message-id]", "[INBOX x-weir-id Junk x-weir-id]",
	} {
		got := by(all[i])
		if i == 0 && got == "[INBOX x-weir-id Junk message-id]" {
			continue // one bore both names: what bears X-Weir-ID alone need not be looked for
		}
		if i == 2 && len(all[i]) == 1 {
			h.Errorf("target 2: found only %s", got)
		}
		if got != want {
			h.Errorf("target %d: found %s, want %s", i, got, want)
		}
	}
}

func contentOfSome(h *house) {
	h.bystanders()
	before := h.state()
	var targets []mailbox.Target
	for n := range 4 {
		raw, target := numbered(n)
		targets = append(targets, target)
		if n >= 2 { // without its names
			raw = letter("", "", fmt.Sprintf("the content of message %d", n))
		}
		h.must(h.client.Append("Junk", raw, noon()))
	}
	targets = append(targets, mailbox.Target{Body: targets[3].Body}, mailbox.Target{Body: body([]byte("another"))})
	all := h.findAll(targets...)
	var copies []mailbox.Copy
	for i, want := range []mailbox.By{mailbox.ByWeirID, mailbox.ByWeirID, mailbox.ByContent, mailbox.ByContent, mailbox.ByContent, ""} {
		if want == "" && len(all[i]) == 0 {
			continue
		}
		if len(all[i]) != 1 || all[i][0].By != want {
			h.Fatalf("target %d: found %+v", i, all[i])
		}
		if i < 4 {
			copies = append(copies, all[i][0])
		}
	}
	h.remove(copies...)
	h.same("after removing", before)
}

// place removes a message from a folder as its user does.
func (h *house) userTakes(folder, command string) {
	h.Helper()
	mails, err := h.client.In(folder)
	h.must(err)
	h.do("SELECT %s", folder)
	h.do(command, mails[len(mails)-1].UID)
}

func removedAround(h *house) {
	targets, before := h.several(6)
	all := h.findAll(targets...)
	var copies []mailbox.Copy
	for _, found := range all {
		copies = append(copies, found...)
	}
	h.userTakes("INBOX", "UID MOVE %s Junk") // the last one
	h.userTakes("Later", `UID STORE %s +FLAGS (\Seen)`)
	forged := copies[0]
	forged.Size++
	never := copies[0]
	never.ID += "9999"
	asked := append([]mailbox.Copy{forged, never}, copies[1:]...)
	for i, r := range h.account().Remove(h.ctx, asked) {
		c := asked[i]
		switch {
		case i == 0:
			h.is(r.Err, mailbox.ErrStale)
		case i == 1 && (r.Taken || r.Err != nil):
			h.Errorf("what never was: %+v", r)
		case i > 1 && c.Folder == "INBOX" && c.MessageID == targets[5].MessageID:
			if r.Taken || r.Err != nil {
				h.Errorf("what its user moved: %+v", r)
			}
		case i > 1 && (!r.Taken || r.Err != nil):
			h.Errorf("%s in %s: %+v", c.ID, c.Folder, r)
		}
	}
	h.remove(copies[0], h.one(targets[5]))
	h.same("after all", before)
}

func removedAroundAFolder(h *house) {
	targets, _ := h.several(3)
	var copies []mailbox.Copy
	for _, found := range h.findAll(targets...) {
		copies = append(copies, found...)
	}
	h.do("DELETE Later")
	h.acct = h.reopen()
	for i, r := range h.account().Remove(h.ctx, copies) {
		if copies[i].Folder == "Later" {
			h.is(r.Err, mailbox.ErrFolderGone)
		} else if !r.Taken || r.Err != nil {
			h.Errorf("%s in %s: %+v", copies[i].ID, copies[i].Folder, r)
		}
	}
	for i, found := range h.findAll(targets...) {
		if len(found) > 0 {
			h.Errorf("target %d: still found %+v", i, found)
		}
	}
}

// A second look is allowed to be cheap, not to be blind.
func lookedAtAgain(h *house) {
	targets, _ := h.several(2)
	h.do("CREATE Empty")
	raw, _ := numbered(0)
	look := func(when string, want int) []mailbox.Copy {
		h.Helper()
		found := h.findAll(targets...)[0]
		if len(found) != want {
			h.Fatalf("%s: found %+v", when, found)
		}
		return found
	}
	first := look("first", 2)
	look("nothing happened", 2)
	h.remove(first...)
	look("all removed", 0)
	for i, folder := range []string{"INBOX", "Junk", "Empty", "Later", "INBOX"} {
		h.must(h.client.Append(folder, raw, noon()))
		look("into "+folder, i+1)
	}
	h.must(Deliver(h.LMTP, raw, h.user))
	look("delivered", 6)
	h.do("SELECT Empty")
	h.do("UID MOVE 1:* Junk")
	found := look("moved", 6)
	h.do("CREATE New")
	h.must(h.client.Append("New", raw, noon()))
	h.remove(found...)
	h.remove(look("into a new folder", 1)...)
	h.do("DELETE New")
	time.Sleep(1100 * time.Millisecond) // Dovecot makes UIDVALIDITY of the time in seconds
	h.do("CREATE New")
	h.must(h.client.Append("New", raw, noon()))
	h.remove(look("into a folder made anew", 1)...)
	look("at the end", 0)
}

func hundreds(h *house) {
	h.bystanders()
	before := h.state()
	var raws [][]byte
	for i := range 450 {
		raws = append(raws, letter(targetID, weirID, fmt.Sprintf("copy %d", i)))
	}
	h.must(h.client.AppendAll("INBOX", raws, noon()))
	copies := h.find(named())
	if len(copies) != len(raws) {
		h.Fatalf("%d found", len(copies))
	}
	start := time.Now()
	h.account().Remove(h.ctx, copies)
	h.Logf("%d messages removed in %s", len(copies), time.Since(start))
	h.same("after removing", before)
}
