package mailbox

import (
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/filter/message"
)

// WeirIDField is the header field that names a message to Weir.
const WeirIDField = "X-Weir-ID"

// MaxHeaderBytes is how much of a message is searched for the fields that name
// it.
const MaxHeaderBytes = 256 << 10

// Match reports whether a copy bears a name of the target, and which. It is for
// Backends.
func (t *Target) Match(c *Copy) (By, bool) {
	switch {
	case t.WeirID != "" && (c.WeirID == t.WeirID || strings.HasPrefix(c.WeirID, t.WeirID+".")):
		return ByWeirID, true
	case t.MessageID != "" && c.MessageID == t.MessageID:
		return ByMessageID, true
	}
	return "", false
}

// Name sets c.MessageID and c.WeirID from a message's header. The parser is one
// that keeps its room between messages: making one costs more than this does. It is
// for Backends.
func (c *Copy) Name(p *message.Parser, header []byte) {
	m := p.Parse(header[:min(len(header), MaxHeaderBytes)], nil)
	c.MessageID, c.WeirID = m.MessageID(), ""
	for f := range m.Header.All(WeirIDField) {
		c.WeirID = f.Unfolded()
		break
	}
	m.Close()
}

// Same reports whether now, read anew from where c stood, is the copy c: what
// never changes of a message in a store is equal. It is for Backends.
func (c *Copy) Same(now *Copy) bool {
	return c.Size == now.Size && c.Date.Equal(now.Date) && c.MessageID == now.MessageID && c.WeirID == now.WeirID
}

// Plausible reports whether a message of so many bytes can have the target's
// content. The longest encoding of an octet takes three and a line break now and
// then, and the header is allowed to grow and shrink. It is for Backends.
func (t *Target) Plausible(size int64) bool {
	const header = 64 << 10
	return t.Size <= 0 || size <= 4*t.Size+header && t.Size <= 4*size+header
}

// Distance gives how far a time is from the one that the target was delivered at.
func (t *Target) Distance(date time.Time) time.Duration {
	if t.Around.IsZero() {
		return 0
	}
	return date.Sub(t.Around).Abs()
}

// ByContent reports whether the target can be searched by its content.
func (t *Target) ByContent() bool { return t.Body != [32]byte{} }

// NewParser gives the parser of who compares messages by their content: with the
// usual limits, and without the digests and links that no fingerprint needs.
func NewParser() *message.Parser {
	p, _ := message.NewParser(message.Limits{}) // the usual limits are no error
	return p.Linkless()
}

// minNeedle is the length of the shortest text worth searching for.
const minNeedle = 6

// Needle gives the part of an identifier that a store can be asked for without
// a doubt about quoting, folding or charset: the longest run of plain ASCII, at
// most 200 bytes. It reports false if that is too short to tell much. What has the
// needle has to be compared with Match. It is for Backends.
func Needle(id string) (string, bool) {
	best := ""
	for run := range strings.FieldsFuncSeq(id, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"\<>()`, r)
	}) {
		if run = run[:min(len(run), 200)]; len(run) > len(best) {
			best = run
		}
	}
	return best, len(best) >= minNeedle
}

// Role is what a folder is for.
type Role string

// Roles of folders (RFC 6154).
const (
	RoleNone    Role = ""
	RoleArchive Role = "archive"
	RoleDrafts  Role = "drafts"
	RoleJunk    Role = "junk"
	RoleSent    Role = "sent" // a copy here was sent by the mailbox's user
	RoleTrash   Role = "trash"
)

// RoleOf guesses a folder's role by its last level, from the English names that
// mail clients give. Where a store says it, that counts.
func RoleOf(folder string) Role {
	name := strings.ToLower(folder[strings.LastIndexAny(folder, "/.")+1:])
	switch name {
	case "archive", "archives":
		return RoleArchive
	case "drafts":
		return RoleDrafts
	case "junk", "spam", "junk e-mail", "bulk mail":
		return RoleJunk
	case "sent", "sent messages", "sent items", "sent mail":
		return RoleSent
	case "trash", "deleted messages", "deleted items", "bin":
		return RoleTrash
	}
	return RoleNone
}

// isForwarded knows the keywords by which clients say that a message was
// forwarded.
func isForwarded(keyword string) bool {
	return strings.EqualFold(keyword, KeywordForwarded) || strings.EqualFold(keyword, "Forwarded")
}

// KeepFlag reports whether a store keeps a flag, and gives it in its usual form.
// \Recent and what a server made up are not kept. It is for Backends.
func KeepFlag(name string) (Flag, bool) {
	for _, f := range [...]Flag{FlagAnswered, FlagDeleted, FlagDraft, FlagFlagged, FlagSeen} {
		if strings.EqualFold(name, string(f)) {
			return f, true
		}
	}
	return "", false
}

// maxKeyword bounds a keyword, in bytes.
const maxKeyword = 200

// ValidKeyword reports whether a text can be a keyword: an IMAP atom (RFC 9051
// section 9). It is for Backends.
func ValidKeyword(k string) bool {
	if k == "" || len(k) > maxKeyword {
		return false
	}
	return !strings.ContainsFunc(k, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	})
}

// Mark sets c.Flags and c.Keywords from names as IMAP gives them, in order and
// each once. It is for Backends.
func (c *Copy) Mark(names []string) {
	c.Flags, c.Keywords = nil, nil
	for _, name := range names {
		if f, ok := KeepFlag(name); ok {
			c.Flags = append(c.Flags, f)
		} else if ValidKeyword(name) {
			c.Keywords = append(c.Keywords, name)
		}
	}
	slices.Sort(c.Flags)
	c.Flags = slices.Compact(c.Flags)
	slices.Sort(c.Keywords)
	c.Keywords = slices.Compact(c.Keywords)
}

// Is reports whether two copies are one and the same place in a mailbox.
func (c *Copy) Is(other *Copy) bool { return c.Folder == other.Folder && c.ID == other.ID }
