package mailboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

func noMailbox(h *house) {
	_, err := h.Backend.Open(h.ctx, "nobody-of-that-name@lab.test")
	h.is(err, mailbox.ErrNoMailbox)
	h.Log(err)
}

func strangeNames(h *house) {
	h.bystanders()
	before := h.state()
	for _, user := range []string{
		"", ".", "..", "../" + h.user, h.user + "/../" + h.user, "/etc", h.user + "\x00", h.user + "\r\nA1 LOGOUT",
		h.user + "*sidecar", strings.Repeat("x", 5000), h.user + "/Maildir", "*", "%", "-",
	} {
		a, err := h.Backend.Open(h.ctx, user)
		if err == nil {
			_ = a.Close()
			h.Errorf("user %.40q has a mailbox", user)
		} else if !errors.Is(err, mailbox.ErrNoMailbox) && !errors.Is(err, mailbox.ErrRefused) {
			h.Errorf("user %.40q: %v", user, err)
		}
	}
	for _, folder := range []string{
		"", ".", "..", "../..", "/", "INBOX/../../..", "a\x00b", "a\r\nA1 LOGOUT", strings.Repeat("x", 5000), "*", "%", "\xff\xfe", "new", "cur", "../" + h.user + "/Maildir",
	} {
		for _, id := range []string{"1/1", "../../x", "0/0", "*", "1/*", "18446744073709551616/1", "a\x00", "new/x"} {
			c := mailbox.Copy{Folder: folder, ID: id, Date: noon(), Keywords: []string{"a b", "x) (y", "\r\n"}}
			if err := h.account().Fetch(h.ctx, c, &bytes.Buffer{}); err == nil {
				h.Errorf("%q %q was fetched", folder, id)
			} else if errors.Is(err, mailbox.ErrUnreachable) {
				h.Errorf("%.40q %q: %v", folder, id, err)
			}
			if h.take(c).Taken {
				h.Errorf("%q %q was removed", folder, id)
			}
		}
	}
	h.same("after strange names", before)
	got := h.restore(mailbox.Return{Raw: target(), Was: mailbox.Copy{
		Folder: "../../outside", Date: noon(), Flags: []mailbox.Flag{`\Seen) (`}, Keywords: []string{"a b", "x) (y", "\r\n", "fine"},
	}})
	if got.Copy.Folder != "INBOX" || len(got.Copy.Keywords) != 1 || len(got.Copy.Flags) != 0 {
		h.Errorf("restored: %+v", got)
	}
}

func allOctets(h *house) {
	var octets []byte
	for i := range 256 {
		octets = append(octets, byte(i))
	}
	raw := append(letter(targetID, weirID, "all octets:"), octets...)
	raw = append(raw, "\r\n"...)
	h.must(Deliver(h.LMTP, raw, h.user))
	before := h.state()
	c := h.one(named())
	fetched := h.fetch(c)
	if body(fetched) != body(raw) {
		h.Error("the fingerprint differs from that of what was delivered")
	}
	// Dovecot's LMTP keeps all but the lone LF, which it makes CRLF.
	kept := bytes.ReplaceAll(octets, []byte("\n"), []byte("\r\n"))
	if !h.Exact {
		kept[0] = 0x80
	}
	if !bytes.Contains(fetched, kept) {
		h.Errorf("fetched: %q", fetched)
	}
	h.remove(c)
	h.restore(mailbox.Return{Raw: fetched, Was: c})
	h.same("after removing and restoring", before)
	if again := h.fetch(h.one(named())); !bytes.Equal(again, fetched) {
		h.Error("what was restored is fetched otherwise")
	}
	if h.Exact {
		return
	}
	for _, alien := range [][]byte{raw, letter("lf@example.org", "", "a lone\nline feed")} {
		_, err := h.account().Restore(h.ctx, mailbox.Return{Raw: alien, Was: c})
		h.is(err, mailbox.ErrAltered)
	}
	h.same("after refusing", before)
}

func unusual(h *house) {
	long := strings.Repeat("x", 70_000)
	for i, raw := range []string{
		"Message-ID: <" + targetID + ">\r\n\r\n",
		"Message-ID: <" + targetID + ">\r\n\r\nno line end",
		"Message-ID: <" + targetID + ">\r\n\r\n.\r\n..\r\n.\r\n",
		"Message-ID: <" + targetID + ">\r\nX: " + long + "\r\n\r\n" + long,
		"message-id:\r\n\t<" + targetID + ">\r\n\r\nfolded",
		"Message-ID: <" + targetID + "> (a comment)\r\nMessage-ID: <second@example.org>\r\n\r\ntwo",
		"Message-ID: <" + targetID + ">\r\nSubject: \xff\xfe 8bit \xc3\xa4\r\n\r\n\xe9\xff",
		"X: y\r\nMessage-ID: <" + targetID + ">\r\n",
	} {
		h.do("CREATE unusual%d", i)
		h.must(h.client.Append(fmt.Sprintf("unusual%d", i), []byte(raw), noon()))
	}
	before := h.state()
	copies := h.find(mailbox.Target{MessageID: targetID})
	if len(copies) != 8 {
		h.Errorf("%d copies, not 8", len(copies))
	}
	for _, c := range copies {
		raw := h.fetch(c)
		h.remove(c)
		h.restore(mailbox.Return{Raw: raw, Was: c})
	}
	h.same("after removing and restoring", before)
}

func overQuota(h *house) {
	if h.Quota == nil {
		h.Skip("this backend knows no quota")
	}
	h.bystanders()
	before := h.state()
	raw := letter(targetID, weirID, strings.Repeat("quite long\r\n", 3000))
	h.must(h.client.Append("INBOX", raw, noon()))
	c := h.one(named())
	h.remove(c)
	h.Quota(h.T, 20)
	h.acct = h.reopen()
	_, err := h.account().Restore(h.ctx, mailbox.Return{Raw: raw, Was: c})
	h.Quota(h.T, 0)
	h.is(err, mailbox.ErrOverQuota)
	h.client = h.login()
	h.same("after refusing", before)
	h.acct = h.reopen()
	h.restore(mailbox.Return{Raw: raw, Was: c})
	h.one(named())
}

// megabytes makes a large message.
func megabytes(n int) []byte {
	return letter(targetID, weirID, strings.Repeat("All work and no play makes Jack a dull boy, says the proverb.\r\n", n<<20/63))
}

func large(h *house) {
	h.bystanders()
	raw := megabytes(30)
	h.must(h.client.Append("INBOX", raw, noon(), `\Seen`))
	before := h.state()
	start := time.Now()
	c := h.one(named())
	if !bytes.Equal(h.fetch(c), raw) {
		h.Error("other bytes were fetched")
	}
	fetched := time.Now()
	h.remove(c)
	h.restore(mailbox.Return{Raw: raw, Was: c})
	h.Logf("%d MB: found and fetched in %s, removed and restored in %s", len(raw)>>20, fetched.Sub(start), time.Since(fetched))
	h.same("after removing and restoring", before)
}

// ender calls end at the first byte.
type ender struct {
	end  func() error
	done bool
}

func (e *ender) Write(p []byte) (int, error) {
	if e.done {
		return len(p), nil
	}
	e.done = true
	return len(p), e.end()
}

func serverEnds(h *house) {
	if h.Stop == nil {
		h.Skip("this backend needs no server")
	}
	h.must(h.client.Append("INBOX", megabytes(5), noon()))
	before := h.state()
	c := h.one(named())
	h.is(h.account().Fetch(h.ctx, c, &ender{end: h.Stop}), mailbox.ErrUnreachable)
	h.is(h.take(c).Err, mailbox.ErrUnreachable)
	_, err := h.Backend.Open(h.ctx, h.user)
	h.is(err, mailbox.ErrUnreachable)
	h.must(h.Start())
	h.client, h.acct = h.login(), h.reopen()
	h.same("after the server came back", before)
	h.remove(c)
}

func endedContext(h *house) {
	h.must(h.client.Append("INBOX", megabytes(5), noon()))
	before := h.state()
	c := h.one(named())
	ctx, cancel := context.WithCancel(h.ctx)
	end := &ender{end: func() error { cancel(); return nil }}
	h.is(h.account().Fetch(ctx, c, end), context.Canceled)
	if r := h.reopen().Remove(ctx, []mailbox.Copy{c})[0]; r.Taken || !errors.Is(r.Err, context.Canceled) {
		h.Errorf("remove: %+v", r)
	}
	_, err := h.Backend.Open(ctx, h.user)
	h.is(err, context.Canceled)
	h.same("after all", before)
}

func manyMessages(h *house) {
	for f := range 10 {
		folder := fmt.Sprintf("folder%d", f)
		h.do("CREATE %s", folder)
		for b := range 5 {
			var batch [][]byte
			for i := range 100 {
				n := 1000*f + 100*b + i
				batch = append(batch, letter(fmt.Sprintf("message-%d@example.org", n), "", strings.Repeat(fmt.Sprintf("message %d\r\n", n), 100)))
			}
			h.must(h.client.AppendAll(folder, batch, noon()))
		}
	}
	h.must(h.client.Append("folder7", target(), noon()))
	start := time.Now()
	c := h.one(mailbox.Target{MessageID: targetID})
	first := time.Since(start)
	start = time.Now()
	h.one(mailbox.Target{MessageID: targetID})
	second := time.Since(start)
	start = time.Now()
	h.remove(c)
	removed := time.Since(start)
	start = time.Now()
	h.find(mailbox.Target{WeirID: weirID})
	byWeir := time.Since(start)
	start = time.Now()
	h.find(mailbox.Target{Body: body(target()), Around: noon()})
	h.Logf("5000 messages in 10 folders: found in %s, again in %s, removed and looked at in %s; searched by X-Weir-ID in %s, by content in %s",
		first, second, removed, byWeir, time.Since(start))
}
