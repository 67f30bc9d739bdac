// Package message turns the bytes of a message into facts: header fields,
// addresses, the tree of parts with their digests, the links and what they
// show, and every defect on the way. It never fails: a message that breaks
// every rule still yields all that can be read from it, and the rules that it
// breaks are facts too.
//
// The parser goes by offsets over the bytes it was given, once, and takes time
// linear in their number, whatever they are. What it keeps is bounded by
// Limits; what a limit cut off is a defect.
//
// Readings. Mail clients and servers disagree on what a broken message says,
// and an attacker sends the one that the filter reads otherwise than the
// victim. So a part is read as most clients read it, and where others read it
// in another way it is read in that way too: as a part of its own whose number
// ends in "~2", marked Alternate. What can be taken together is: a multipart
// whose boundary parameter comes twice is divided by both. Bytes that no part
// explains (bad header lines, what stands before the first and behind the last
// part, what lies beyond the limits) are still searched for links, with the
// encodings undone that they look as if they were in.
//
// Places. A place says where in a message something stood, for people and for
// rules:
//
//	envelope            the SMTP transaction
//	header              the message's own header; header/NAME a field of it
//	PART                a part, by its number
//	PART/header         the header of a part, or of the message that is attached
//	                    as this part; PART/header/NAME a field of it
//	PART/text           the text of a part, or between the tags of HTML
//	PART/ELEMENT@ATTR   an attribute in HTML
//	PART/css            a style sheet or a style attribute in HTML
//	PART/script         a script in HTML, an event's attribute, a javascript: link
//	PART/comment        a comment in HTML, a declaration, an instruction
//	PART/tag            a broken tag in HTML, read as plain text
//	raw                 bytes that no part explains
//
// Those of a link in a text may go on with /data, for what is in a data: link or
// in srcdoc, and end with /wrapped, for a link that another link holds: the
// target of "1/a@href" is "1/a@href/wrapped". Package links says more about them.
//
// A part's number is the one that IMAP gives it (RFC 9051 section 6.4.5): "1"
// for a message without parts, "2.1" for the first part in the second. A
// multipart that is the whole content of a message has none of its own there; it
// is called "TEXT", or "3.TEXT" in the message that is attached as part 3. A file
// inside an archive is a part too: "2/1" is the first file in the archive that
// is part 2, "2/1/3" the third one in an archive in that, "2/1.1" the first part
// of a message in it. So is a uuencoded file in a text.
package message

import (
	"strings"

	"github.com/weirmail/weir/filter/message/transfer"
	"github.com/weirmail/weir/intel"
)

// Limits bounds what one message can cost. Zero fields take the defaults of
// DefaultLimits.
type Limits struct {
	HeaderBytes   int   // of one header, the message's or a part's
	HeaderFields  int   // in one header
	Depth         int   // of nesting: multiparts, attached messages and archives together
	Parts         int   // in all, archived files included
	URLs          int   // distinct ones kept
	URLBytes      int   // of one URL as written
	TextBytes     int64 // of decoded text in which URLs are looked for, per message; as much again of bytes that no part explains. Converting a charset takes that much heap
	ArchiveFiles  int   // in one archive
	ArchiveBytes  int64 // inflated, per message
	ArchiveRatio  int   // inflated to packed, for one archived file beyond its first MiB
	Defects       int   // kept; one of a sort per place
	AddressFields int   // addresses kept of one header field
}

// DefaultLimits gives the limits that hold where none is configured.
func DefaultLimits() Limits {
	return Limits{
		HeaderBytes: 1 << 20, HeaderFields: 2000, Depth: 64, Parts: 2000,
		URLs: 4096, URLBytes: 8192, TextBytes: 32 << 20,
		ArchiveFiles: 1000, ArchiveBytes: 256 << 20, ArchiveRatio: 200,
		Defects: 256, AddressFields: 1000,
	}
}

// Scratch lends room for decoded content that is too large to keep on the heap.
type Scratch interface {
	// Buffer gives an empty buffer. It stays the caller's until Close.
	Buffer() Buffer
}

// Buffer collects bytes: on the heap while they are few, else in a file.
type Buffer interface {
	Write(p []byte) (int, error)
	// Bytes gives what was written; valid until the next Write or Close.
	Bytes() ([]byte, error)
	Close() error
}

// Message is what was read from one message. It is immutable once parsed, and
// may be read by any number of goroutines.
type Message struct {
	Raw     []byte // the caller's; everything else is the Message's own and outlives it
	Header  Header // the message's own
	Parts   []Part // in the order in which they stand; a container comes before its children
	URLs    []URL  // distinct by canonical form and text; in order of the first place of each
	Defects []Defect

	// Body is the fingerprint of the whole content: SHA-256 over those of the
	// leaf parts in order. Equal content gives an equal Body whatever
	// boundaries, headers, transfer encodings and line ends surround it.
	Body [32]byte

	// Incomplete says why this machine could not read all of the message: the
	// scratch's disk was full, say. It is nil for all that the message itself did.
	Incomplete error

	originators originators
}

// Close lets go of Raw, which its owner may then use again.
func (m *Message) Close() { m.Raw = nil }

// Part is one node of the MIME tree, or a file in an archive.
type Part struct {
	Path        string   // see the package comment
	Type        string   // declared, "text/html", lower case; "text/plain" where none is declared (RFC 2045 section 5.2); of several, the one that it was read as
	Detected    string   // by its content; empty for multiparts and what is empty
	Name        string   // decoded file name, the one that most clients show; empty where it has none
	OtherNames  []string // further names that some clients show instead
	Charset     string   // declared, lower case
	Encoding    string   // declared transfer encoding, lower case
	Disposition string   // "attachment", "inline" or empty
	ContentID   string   // without angle brackets
	Header      Header   // empty for a file in an archive, and for parts beyond four times Limits.HeaderBytes of headers
	Parent      int      // index in Parts; -1 for the root
	Depth       int      // 0 for the root
	Size        int64    // of the decoded content, in bytes; of a multipart the bytes of its body
	Container   bool     // multipart, attached message or opened archive: others stand inside
	Archived    bool     // a file inside an archive, or uuencoded inside a text
	Alternate   bool     // another reading of the same bytes as the part before, where clients disagree on them
	Text        bool     // shown to the reader as text
	Encrypted   bool     // a file that its archive encrypts: nothing is known of its content

	// Digests of the decoded content as a mail client would save it. Zero for
	// multiparts, and for files whose content could not be read to its end; see
	// also Parser.Lean and Parser.Linkless.
	SHA256 [32]byte
	SHA1   [20]byte
	MD5    [16]byte

	// Fingerprint is the SHA-256 of the decoded content with CRLF as LF and NUL
	// as 0x80, so that it survives what mail stores do to bytes. Leaf parts of
	// the MIME tree only.
	Fingerprint [32]byte

	// Where the encoded content of a part stands in Raw; end is 0 for others.
	start, end int
	encoding   transfer.Encoding
	alternates int // how many other readings of it there are
}

// Attachment reports whether p is a file that a reader could save: not a
// multipart, and either named, or called an attachment, or not shown as text.
// Attached messages and archives are attachments, and so are the files in these.
func (p *Part) Attachment() bool {
	return !p.multipart() && (p.Name != "" || p.Disposition == "attachment" || !p.Text)
}

// File reports whether p is to be known as a file, by all its digests, and not
// as a body: an attachment, or an archive or attached message or what is in one.
func (p *Part) File() bool { return p.Attachment() || p.Archived || p.Container }

func (p *Part) multipart() bool { return p.Container && strings.HasPrefix(p.Type, "multipart/") }

// URL is one link.
type URL struct {
	Value  intel.Value // canonical
	Raw    string      // as it was written, after transfer decoding, charset and entities
	Host   string      // canonical host, or IP address
	Domain string      // registrable domain of Host; empty where there is none
	Place  string
	Text   string // what the reader sees in its place; empty where that is the URL itself or nothing
}

// Defect is one way in which a message is not as it should be.
type Defect struct {
	Name   string // one of the Defect names
	Place  string
	Detail string // for people
}
