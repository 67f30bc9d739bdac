// Package mailbox finds a message in the mailboxes of a mail store, fetches it,
// takes it out and puts it back.
//
// It owns what a mailbox is to Weir: Backend and Account, and the errors that
// the ways of failing have in common. Package imap speaks to a server, package
// maildir works on the local disk, and package mailboxtest is the suite that each
// has to pass. None of them decides anything: that a copy is the message that is
// meant, by its content, and that its bytes are durable elsewhere, is for the
// caller to see to between Fetch and Remove.
//
// # What is promised
//
// Looking (Find, Fetch, Gone) changes nothing: no mail is marked read.
//
// Remove takes out one copy and no other mail, whatever other clients do
// meanwhile: the copy is named by what the store never gives to another message,
// and what stands there is compared with the copy once more right before.
//
// Fetch gives the bytes that the store shows, and Restore brings exactly these
// back, or refuses (ErrAltered). What a store shows can differ from what was
// delivered: an IMAP server ends every line with CRLF, and gives NUL, which IMAP
// cannot carry (RFC 9051 section 9), as 0x80. Message.Body of package message is
// blind to both. A Maildir shows what its file holds.
//
// # Mail that moves
//
// A user who moves a mail gives it another name in the store. Then Remove says
// that the copy is gone from where it was, or ErrStale, and Find finds it where it
// went; Find itself can miss what moves while it looks. So a message is out of a
// mailbox when Find, run after the last Remove, finds nothing and reports no error.
package mailbox

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// Errors of a Backend and its Accounts, besides those of the context.
var (
	// ErrNoMailbox says that the user has no mailbox here. It may well be
	// somewhere else, under another name.
	ErrNoMailbox = errors.New("no such mailbox")
	// ErrFolderGone says that the folder of a copy is not there. Its user may have
	// renamed it, with the mail in it: Find again.
	ErrFolderGone = errors.New("the folder is gone")
	// ErrStale says that what bears the copy's name is not the copy, because the
	// store has given its names anew (UIDVALIDITY): Find again.
	ErrStale = errors.New("the copy's name in the store no longer holds")
	// ErrGone says that a copy to be fetched is not where it was: Find again.
	ErrGone = errors.New("the copy is gone")
	// ErrUnreachable says that the store did not answer, broke off, or was not able
	// to work. This alone is worth a try later, with an Account opened anew.
	ErrUnreachable = errors.New("the mail store is unreachable")
	// ErrOverQuota says that the mailbox, or the store, is full.
	ErrOverQuota = errors.New("the mailbox is full")
	// ErrRefused says that the store does not allow it, or cannot do it safely.
	ErrRefused = errors.New("the mail store refuses")
	// ErrAltered says that the store does not give or take the message as it is.
	ErrAltered = errors.New("the mail store would alter the message")
	// ErrTooLarge says that a message has more bytes than the Backend takes.
	ErrTooLarge = errors.New("the message is too large")
)

// Backend opens mailboxes. Its methods may be called at the same time.
type Backend interface {
	// Open opens the mailbox of a user, who is named as the store names him and
	// whose name may come from a stranger. Errors satisfy ErrNoMailbox,
	// ErrUnreachable or ErrRefused, among others.
	Open(ctx context.Context, user string) (Account, error)
}

// Account is one user's mailbox, of one caller at a time. After ErrUnreachable it
// is of no more use but to Close.
type Account interface {
	// Find looks for the copies of messages in every folder of the user's own:
	// junk, trash and archive too. Folders that only show what lies in others, and
	// those that other users share, are left out. See Target for the order. All
	// targets together cost about what one does: whoever has several asks once.
	//
	// A copy that it gives is a candidate: everything in a header can be forged.
	// One that is a candidate for several targets is given for each. An error for
	// one folder comes with the rest still to follow, and whoever saw one cannot say
	// that a message is not there. The caller may use the Account within the loop.
	Find(ctx context.Context, targets []Target) iter.Seq2[Found, error]
	// Fetch writes the bytes of a copy, all of them or an error, after which what
	// was written is worth nothing. Errors satisfy ErrGone, ErrStale, ErrFolderGone,
	// ErrTooLarge, ErrAltered or ErrUnreachable, or are those of w, among others.
	Fetch(ctx context.Context, c Copy, w io.Writer) error
	// Remove takes copies out of the mailbox for good, looks whether they are gone,
	// and gives what became of each, in their order. It may be called again. Errors
	// satisfy ErrStale, ErrFolderGone, ErrRefused or ErrUnreachable, among others;
	// after the last one that copy is there or not.
	Remove(ctx context.Context, copies []Copy) []Removal
	// Gone reports whether a copy is not where it was. It looks anew. Errors
	// satisfy ErrStale, ErrFolderGone or ErrUnreachable, among others.
	Gone(ctx context.Context, c Copy) (bool, error)
	// Restore puts a message back, and compares what then stands there with what
	// was meant. It may be called again: what is there already is not put there
	// twice. Errors satisfy ErrOverQuota, ErrRefused, ErrAltered, ErrTooLarge or
	// ErrUnreachable, among others; after the last one the message is there or not.
	Restore(ctx context.Context, r Return) (Restored, error)
	// Close ends the work. It may be called again.
	Close() error
}

// Target says which message is looked for.
//
// Message-ID comes first, since stores have it at hand. X-Weir-ID is looked for
// if no copy with this Message-ID bore it. Content is looked for only if both
// found nothing or are not given, since all mail of a like size has to be read for
// it: who finds only forgeries by name asks again with content alone.
type Target struct {
	MessageID string   // without angle brackets
	WeirID    string   // X-Weir-ID, or the part of it before the first dot
	Body      [32]byte // message.Message.Body; zero: not by content

	// Size is the number of bytes that the message had; 0: unknown. The search by
	// content leaves out mail whose size no change of encoding explains.
	Size int64
	// Around is when it was delivered. The search by content begins with mail of
	// that time; nothing is left out for its time.
	Around time.Time
}

// Found is a candidate, and for which of the targets.
type Found struct {
	Target int // its index
	Copy   Copy
}

// Copy is one copy of a message as it stands in a mailbox. It is plain data, of
// use to the Backend that gave it. All text in it is a stranger's.
type Copy struct {
	Folder string `json:"folder"`         // as the user sees it, in UTF-8; "INBOX" for the inbox
	Role   Role   `json:"role,omitempty"` // what the folder is for
	ID     string `json:"id"`             // the store's own name of the copy in that folder; IMAP: UIDVALIDITY/UID

	MessageID string `json:"message_id,omitempty"` // without angle brackets; of several the first
	WeirID    string `json:"weir_id,omitempty"`    // X-Weir-ID; of several the first

	Size     int64     `json:"size"`               // bytes that Fetch gives; of what an IMAP server says
	Date     time.Time `json:"date"`               // when it came into the store (INTERNALDATE); whole seconds
	Flags    []Flag    `json:"flags,omitempty"`    // in the order of their names
	Keywords []string  `json:"keywords,omitempty"` // what users and clients marked it with; likewise

	By By `json:"by,omitempty"` // what it was found by
}

// Has reports whether a copy has a flag.
func (c *Copy) Has(f Flag) bool {
	for _, g := range c.Flags {
		if f == g {
			return true
		}
	}
	return false
}

// Seen reports whether the user had read it.
func (c *Copy) Seen() bool { return c.Has(FlagSeen) }

// Answered reports whether the user had answered it.
func (c *Copy) Answered() bool { return c.Has(FlagAnswered) }

// Forwarded reports whether the user's mail client says that it was forwarded.
func (c *Copy) Forwarded() bool {
	for _, k := range c.Keywords {
		if isForwarded(k) {
			return true
		}
	}
	return false
}

// Flag is a system flag (RFC 9051 section 2.3.2).
type Flag string

// The flags that a store keeps.
const (
	FlagAnswered Flag = `\Answered`
	FlagDeleted  Flag = `\Deleted` // its user has deleted it; the next EXPUNGE takes it
	FlagDraft    Flag = `\Draft`
	FlagFlagged  Flag = `\Flagged`
	FlagSeen     Flag = `\Seen`
)

// KeywordForwarded is what mail clients mark a forwarded message with (RFC 9051
// section 2.3.2).
const KeywordForwarded = "$Forwarded"

// By says what a copy was found by.
type By string

// What a copy can be found by, the surest last.
const (
	ByMessageID By = "message-id"
	ByWeirID    By = "x-weir-id"
	ByContent   By = "content" // the fingerprint was compared
)

// Removal says what became of one copy that was to be removed.
type Removal struct {
	// Taken says that it was there and is gone: by its user, if he moved it in that
	// moment. Without it and without an error it was not there any more.
	Taken bool
	Err   error
}

// Return is a message to be put back.
type Return struct {
	Raw []byte // as Fetch gave it
	Was Copy   // as Find gave it: folder, date, flags and keywords
	// Besides are copies that stand in the mailbox in their own right: the same
	// bytes, put back for another copy. They don't count as this one.
	Besides []Copy
}

// Restored is a message that was put back.
type Restored struct {
	// Copy is what stands in the mailbox. Its folder is INBOX where the former one
	// is gone; flags or keywords that the store no longer takes are missing.
	Copy Copy
	// Existed says that it was there before.
	Existed bool
}
