// Package mailboxtest is the conformance suite of mailbox.Backend: what every
// backend has to do to real mailboxes. It looks at them through the mail store's
// own IMAP server, with a client of its own (User), and so sees what a user sees.
package mailboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Store is a mail store that is served by a real IMAP and LMTP server, and the
// backend under test.
type Store struct {
	Backend    mailbox.Backend
	IMAP, LMTP string // "ADDRESS:PORT"
	Password   string // of every user
	// NewUser gives a user whose mailbox is empty; his address is his name.
	NewUser func(t *testing.T) string
	// Stop and Start end the server and start it again; nil where the backend
	// doesn't need it.
	Stop, Start func() error
	// Quota bounds every mailbox, in KiB; 0: no bound. It is nil where the backend
	// has none.
	Quota func(t *testing.T, kib int)
	// Exact says that Fetch gives what was delivered, NUL and all. Else NUL is 0x80.
	Exact bool
}

// Suite runs the suite.
func Suite(t *testing.T, s Store) {
	for _, c := range []struct {
		name string
		run  func(*house)
	}{
		{"looking changes nothing, and every copy is found", lookingChangesNothing},
		{"alice and alice+ext are two copies, and both go", twoCopiesOfOneTransaction},
		{"what was removed comes back with folder, flags, keywords and date", roundTrip},
		{"restoring again makes no second copy", restoreTwice},
		{"copies that are alike each come back", alikeCopies},
		{"a forged Message-ID is told from the real one and stays", forged},
		{"a Message-ID that is part of another finds only its own", substring},
		{"X-Weir-ID finds what has no Message-ID", byWeirID},
		{"content finds what has lost its names and its encoding", byContent},
		{"mail that its user has marked as deleted stays", markedAsDeleted},
		{"what the user deleted meanwhile is already gone", deletedMeanwhile},
		{"what the user moved meanwhile is found where it went", movedMeanwhile},
		{"a user who moves mail about all the time loses none", movedAllTheTime},
		{"a folder made anew keeps its mail", folderMadeAnew},
		{"a folder that is gone is told, and INBOX takes its place", folderGone},
		{"a mailbox that is not there is told", noMailbox},
		{"names of strangers lead nowhere", strangeNames},
		{"all octets come back as promised", allOctets},
		{"unusual messages come back byte for byte", unusual},
		{"a full mailbox takes nothing and loses nothing", overQuota},
		{"a large message is fetched, removed and restored", large},
		{"a server that ends in the middle is unreachable, and nothing is lost", serverEnds},
		{"an ended context ends the work", endedContext},
		{"several messages are found and removed at once", several},
		{"a copy is a candidate of every target that it may be", sharedCandidate},
		{"content is looked for where no name found anything", contentOfSome},
		{"what is gone or stale holds up no other removal", removedAround},
		{"a folder that is gone holds up no other removal", removedAroundAFolder},
		{"what comes in after a look is found by the next", lookedAtAgain},
		{"more messages than one command takes are removed at once", hundreds},
		{"one message among 5000 in 10 folders", manyMessages},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &house{T: t, Store: s, ctx: t.Context(), user: s.NewUser(t)}
			h.client = h.login()
			c.run(h)
		})
	}
}

// house is a test with one user's mailbox.
type house struct {
	*testing.T
	Store
	ctx    context.Context
	user   string
	client *User
	acct   mailbox.Account
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) login() *User {
	h.Helper()
	u, err := Login(h.IMAP, h.user, h.Password)
	h.must(err)
	h.Cleanup(u.Close)
	return u
}

// do is a command of the user.
func (h *house) do(format string, args ...any) {
	h.Helper()
	if _, err := h.client.Do(format, args...); err != nil {
		h.Fatalf(format+": %v", append(args, err)...)
	}
}

// account is the mailbox through the backend.
func (h *house) account() mailbox.Account {
	h.Helper()
	if h.acct == nil {
		h.acct = h.reopen()
	}
	return h.acct
}

func (h *house) reopen() mailbox.Account {
	h.Helper()
	a, err := h.Backend.Open(h.ctx, h.user)
	h.must(err)
	h.Cleanup(func() { _ = a.Close() })
	return a
}

// state is all that the user sees.
func (h *house) state() []string {
	h.Helper()
	all, err := h.client.All()
	h.must(err)
	lines := make([]string, len(all))
	for i, m := range all {
		lines[i] = m.String()
	}
	slices.Sort(lines)
	return lines
}

// same compares two states.
func (h *house) same(what string, want []string) {
	h.Helper()
	got := h.state()
	if slices.Equal(got, want) {
		return
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			h.Errorf("%s: missing: %s", what, line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			h.Errorf("%s: not expected: %s", what, line)
		}
	}
	if !h.Failed() {
		h.Errorf("%s: %d messages, not %d", what, len(got), len(want))
	}
}

// findAll gives the copies of each of some targets.
func (h *house) findAll(targets ...mailbox.Target) [][]mailbox.Copy {
	h.Helper()
	all := make([][]mailbox.Copy, len(targets))
	for c, err := range h.account().Find(h.ctx, targets) {
		h.must(err)
		all[c.Target] = append(all[c.Target], c.Copy)
	}
	return all
}

func (h *house) find(t mailbox.Target) []mailbox.Copy {
	h.Helper()
	return h.findAll(t)[0]
}

// one finds the only copy.
func (h *house) one(t mailbox.Target) mailbox.Copy {
	h.Helper()
	all := h.find(t)
	if len(all) != 1 {
		h.Fatalf("%d copies found, not 1: %+v", len(all), all)
	}
	return all[0]
}

func (h *house) fetch(c mailbox.Copy) []byte {
	h.Helper()
	var b bytes.Buffer
	h.must(h.account().Fetch(h.ctx, c, &b))
	if int64(b.Len()) != c.Size {
		h.Errorf("%d bytes fetched, the copy has %d", b.Len(), c.Size)
	}
	return b.Bytes()
}

// take removes a copy, if it is there.
func (h *house) take(c mailbox.Copy) mailbox.Removal {
	h.Helper()
	return h.account().Remove(h.ctx, []mailbox.Copy{c})[0]
}

// remove removes copies, all at once, and sees to it that they are gone.
func (h *house) remove(copies ...mailbox.Copy) {
	h.Helper()
	for i, r := range h.account().Remove(h.ctx, copies) {
		if r.Err != nil || !r.Taken {
			h.Fatalf("removal of %s in %s: %+v", copies[i].ID, copies[i].Folder, r)
		}
	}
	for _, c := range copies {
		gone, err := h.account().Gone(h.ctx, c)
		h.must(err)
		if !gone {
			h.Fatalf("%s in %s is not gone", c.ID, c.Folder)
		}
	}
	for _, r := range h.account().Remove(h.ctx, copies) {
		if r.Err != nil || r.Taken {
			h.Errorf("second removal: %+v", r)
		}
	}
}

func (h *house) restore(r mailbox.Return) mailbox.Restored {
	h.Helper()
	restored, err := h.account().Restore(h.ctx, r)
	h.must(err)
	if restored.Copy.ID == "" || restored.Copy.Folder == "" {
		h.Errorf("restored to no place: %+v", restored.Copy)
	}
	return restored
}

// body gives the fingerprint of a message's content.
func body(raw []byte) [32]byte {
	m := message.Parse(raw, message.Options{})
	defer m.Close()
	return m.Body
}

// letter makes a message. An empty ID leaves the field out.
func letter(messageID, weirID, text string) []byte {
	var b strings.Builder
	if weirID != "" {
		fmt.Fprintf(&b, "X-Weir-ID: %s\r\n", weirID)
	}
	b.WriteString("From: Sender <sender@example.org>\r\nTo: someone@lab.test\r\nSubject: about the garden\r\n")
	if messageID != "" {
		fmt.Fprintf(&b, "Message-ID: <%s>\r\n", messageID)
	}
	b.WriteString("Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	b.WriteString(text + "\r\n")
	return []byte(b.String())
}

// noon is when mail arrives.
func noon() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) }

// bystanders puts mail into the mailbox that nobody looks for.
func (h *house) bystanders() {
	h.Helper()
	for i, folder := range []string{"INBOX", "INBOX", "Junk"} {
		raw := letter(fmt.Sprintf("bystander-%d@example.org", i), "", fmt.Sprintf("bystander %d", i))
		h.must(h.client.Append(folder, raw, noon().Add(time.Duration(i)*time.Minute)))
	}
}

const (
	targetID = "the-target.1@mail.example.org"
	weirID   = "01JNB3V2Q8Z5R4T6Y7W8X9A0BC.N0DE01.ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func named() mailbox.Target { return mailbox.Target{MessageID: targetID, WeirID: weirID} }

func target() []byte { return letter(targetID, weirID, "press the button: https://evil.example/") }

// is checks an error.
func (h *house) is(err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Errorf("error %v, want %v", err, want)
	}
}
