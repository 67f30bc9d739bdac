package mailboxtest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

func lookingChangesNothing(h *house) {
	h.bystanders()
	folders := []string{"INBOX", "Junk", "Trash", "Archive/2026/March", "Entw&APw-rfe", "&ZeVnLIqe-", "a b", "R&-D"}
	shown := []string{"INBOX", "Junk", "Trash", "Archive/2026/March", "Entwürfe", "日本語", "a b", "R&D"}
	for i, f := range folders {
		if f != "INBOX" && f != "Junk" {
			h.do("CREATE %s", quote(f))
		}
		h.must(h.client.Append(f, target(), noon().Add(time.Duration(i)*time.Hour)))
	}
	before := h.state()
	copies := h.find(named())
	found := map[string]mailbox.Copy{}
	for _, c := range copies {
		found[c.Folder] = c
		if raw := h.fetch(c); !bytes.Equal(raw, target()) {
			h.Errorf("%s: other bytes were fetched: %q", c.Folder, raw)
		}
		if gone, err := h.account().Gone(h.ctx, c); gone || err != nil {
			h.Errorf("%s: gone %v, %v", c.Folder, gone, err)
		}
		if c.By != mailbox.ByWeirID || c.MessageID != targetID || c.WeirID != weirID || c.Seen() {
			h.Errorf("%s: %+v", c.Folder, c)
		}
	}
	if len(copies) != len(folders) {
		h.Errorf("%d copies, not %d", len(copies), len(folders))
	}
	for i, f := range shown {
		if c, ok := found[f]; !ok || !c.Date.Equal(noon().Add(time.Duration(i)*time.Hour)) {
			h.Errorf("folder %s: %v %+v", f, ok, c)
		}
	}
	if found["Junk"].Role != mailbox.RoleJunk || found["Trash"].Role != mailbox.RoleTrash || found["INBOX"].Role != mailbox.RoleNone {
		h.Errorf("roles: %q %q %q", found["Junk"].Role, found["Trash"].Role, found["INBOX"].Role)
	}
	h.same("after looking", before)
	for _, c := range copies {
		h.remove(c)
	}
	if rest := h.find(named()); len(rest) > 0 {
		h.Errorf("still found: %+v", rest)
	}
	for _, c := range copies {
		h.restore(mailbox.Return{Raw: target(), Was: c})
	}
	h.same("after removing and restoring", before)
}

func twoCopiesOfOneTransaction(h *house) {
	h.bystanders()
	before := h.state()
	local, domain, _ := strings.Cut(h.user, "@")
	h.must(Deliver(h.LMTP, target(), h.user, local+"+ext@"+domain))
	copies := h.find(named())
	if len(copies) != 2 {
		h.Fatalf("%d copies", len(copies))
	}
	for _, c := range copies {
		h.remove(c)
	}
	h.same("after removing both", before)
}

func roundTrip(h *house) {
	h.bystanders()
	h.do("CREATE Projects/Garden")
	marks := [][]string{
		{}, {`\Seen`}, {`\Answered`, `\Seen`}, {`\Seen`, `$Forwarded`}, {`\Flagged`, `\Draft`, "work", "$label1"}, {`\Deleted`},
	}
	for i, m := range marks {
		raw := letter(targetID, weirID, fmt.Sprintf("copy %d", i))
		h.must(h.client.Append("Projects/Garden", raw, noon().Add(time.Duration(-i)*24*time.Hour), m...))
	}
	before := h.state()
	copies := h.find(named())
	if len(copies) != len(marks) {
		h.Fatalf("%d copies, not %d", len(copies), len(marks))
	}
	var returns []mailbox.Return
	var read, answered, forwarded int
	for _, c := range copies {
		if c.Seen() {
			read++
		}
		if c.Answered() {
			answered++
		}
		if c.Forwarded() {
			forwarded++
		}
		returns = append(returns, mailbox.Return{Raw: h.fetch(c), Was: c})
		h.remove(c)
	}
	if read != 3 || answered != 1 || forwarded != 1 {
		h.Errorf("%d read, %d answered, %d forwarded", read, answered, forwarded)
	}
	for _, r := range returns {
		if got := h.restore(r); got.Existed || got.Copy.Folder != "Projects/Garden" || !got.Copy.Date.Equal(r.Was.Date) {
			h.Errorf("restored %+v of %+v", got, r.Was)
		}
	}
	h.same("after removing and restoring", before)
}

func restoreTwice(h *house) {
	h.bystanders()
	h.must(h.client.Append("INBOX", target(), noon(), `\Seen`, "work"))
	before := h.state()
	c := h.one(named())
	raw := h.fetch(c)
	h.remove(c)
	first := h.restore(mailbox.Return{Raw: raw, Was: c})
	h.acct = h.reopen() // as after a crash
	second := h.restore(mailbox.Return{Raw: raw, Was: c})
	if first.Existed || !second.Existed || !first.Copy.Is(&second.Copy) {
		h.Errorf("first %+v, second %+v", first, second)
	}
	h.same("after restoring twice", before)
	h.remove(second.Copy)
	if n := len(h.find(named())); n != 0 {
		h.Errorf("%d left", n)
	}
}

func alikeCopies(h *house) {
	for range 3 {
		h.must(h.client.Append("INBOX", target(), noon()))
	}
	before := h.state()
	copies := h.find(named())
	for _, c := range copies {
		h.remove(c)
	}
	var back []mailbox.Copy
	for _, c := range copies {
		got := h.restore(mailbox.Return{Raw: target(), Was: c, Besides: back})
		if got.Existed {
			h.Errorf("taken for another: %+v", got)
		}
		back = append(back, got.Copy)
	}
	h.same("after restoring three that are alike", before)
}

func forged(h *house) {
	h.bystanders()
	h.must(h.client.Append("INBOX", letter(targetID, "", "a forgery of the same Message-ID"), noon(), `\Seen`))
	before := h.state()
	h.must(h.client.Append("INBOX", target(), noon()))
	by := map[mailbox.By]mailbox.Copy{}
	for _, c := range h.find(named()) {
		by[c.By] = c
	}
	if len(by) != 2 {
		h.Fatalf("found: %+v", by)
	}
	if raw := h.fetch(by[mailbox.ByMessageID]); body(raw) == body(target()) {
		h.Error("the forgery has the target's content")
	}
	h.remove(by[mailbox.ByWeirID])
	h.same("after removing the real one", before)

	// What bears only the name is found by name; content alone is not fooled.
	if n := len(h.find(mailbox.Target{MessageID: targetID})); n != 1 {
		h.Errorf("%d found by Message-ID", n)
	}
	if n := len(h.find(mailbox.Target{Body: body(target())})); n != 0 {
		h.Errorf("%d found by content", n)
	}
}

func substring(h *house) {
	for _, id := range []string{"x" + targetID, targetID + "x", strings.ToUpper(targetID), "a " + targetID} {
		h.must(h.client.Append("INBOX", letter(id, "", "near miss "+id), noon()))
	}
	if found := h.find(mailbox.Target{MessageID: targetID}); len(found) != 0 {
		h.Errorf("found: %+v", found)
	}
	h.must(h.client.Append("INBOX", target(), noon()))
	h.one(named())
}

func byWeirID(h *house) {
	h.bystanders()
	h.must(h.client.Append("INBOX", letter("", weirID, "no Message-ID here"), noon()))
	h.must(h.client.Append("INBOX", letter("", "01JNB3V2Q8Z5R4T6Y7W8X9A0BD.N0DE01.ABCDEFGHIJKLMNOPQRSTUVWXYZ", "another"), noon()))
	if c := h.one(mailbox.Target{WeirID: weirID}); c.By != mailbox.ByWeirID || c.WeirID != weirID || c.MessageID != "" {
		h.Errorf("%+v", c)
	}
	// The part before the dot will do, and a Message-ID that nobody has is in nobody's way.
	h.one(mailbox.Target{WeirID: weirID[:26], MessageID: "nowhere-to-be-found@example.org"})
	if n := len(h.find(mailbox.Target{WeirID: weirID[:25]})); n != 0 {
		h.Errorf("%d found by a part of the ID", n)
	}
}

func byContent(h *house) {
	h.bystanders()
	original := []byte("From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nein schöner Garten\r\n")
	recoded := []byte("From: b@example.net\r\nReceived: from x by y; Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nein sch=C3=B6ner Garten\r\n")
	h.must(h.client.Append("Junk", recoded, noon().Add(-24*time.Hour)))
	t := mailbox.Target{Body: body(original), Size: int64(len(original)), Around: noon()}
	if c := h.one(t); c.By != mailbox.ByContent || c.Folder != "Junk" {
		h.Errorf("%+v", c)
	}
	t.MessageID, t.WeirID = "nowhere-to-be-found@example.org", weirID
	before := h.state()
	c := h.one(t)
	raw := h.fetch(c)
	h.remove(c)
	h.restore(mailbox.Return{Raw: raw, Was: c})
	h.same("after removing and restoring", before)
}

func markedAsDeleted(h *house) {
	h.bystanders()
	h.do("SELECT INBOX")
	h.do(`STORE 1:* +FLAGS (\Deleted)`)
	before := h.state()
	h.must(h.client.Append("INBOX", target(), noon()))
	h.remove(h.one(named()))
	h.same("after removing", before)
}
