// Package message turns the bytes of a message into facts: header fields,
// addresses, the tree of parts with their digests, the URLs and what they
// show, and every defect on the way. It never fails: a message that breaks
// every rule still yields all that can be read from it, and the rules that it
// breaks are facts too.
//
// The parser works by offsets over the bytes it was given and in time linear
// in their number, whatever they are. What it keeps is bounded by Limits; what
// a limit cut off is a defect.
//
// Places. A place says where in a message something stood, for people and for
// rules: "envelope" (the SMTP transaction), "header/NAME" (a field of the
// message's own header), "PART" (a part by its number as IMAP counts them, RFC
// 9051 section 6.4.5, "1" for a message without parts), "PART/header/NAME",
// "PART/text" (its text), "PART/ELEMENT@ATTRIBUTE" (an attribute in HTML) and
// "PART/css". A file inside an archive is a part too: "2/1" is the first file
// in the archive that is part 2, "2/1/3" the third one in an archive in that.
package message

import "github.com/weirmail/weir/intel"

// Limits bounds what one message can cost. Zero fields take the defaults of
// DefaultLimits.
type Limits struct {
	HeaderBytes   int   // of one header, the message's or a part's
	HeaderFields  int   // in one header
	Depth         int   // of nesting: multiparts, attached messages and archives together
	Parts         int   // in all, archived files included
	URLs          int   // distinct ones kept
	URLBytes      int   // of one URL as written
	TextBytes     int64 // of decoded text in which URLs are looked for, per message
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
// its strings and byte slices stay valid until Close.
type Message struct {
	Raw     []byte
	Header  Header // the message's own
	Parts   []Part // in the order in which they stand; a container comes before its children
	URLs    []URL  // distinct by canonical form, text and place of the first; in order
	Defects []Defect

	// Body is the fingerprint of the whole content: SHA-256 over those of the
	// leaf parts in order. Equal content gives an equal Body whatever
	// boundaries, headers, transfer encodings and line ends surround it.
	Body [32]byte
}

// Part is one node of the MIME tree, or a file in an archive.
type Part struct {
	Path        string // see the package comment
	Type        string // declared, "text/html", lower case; "text/plain" where none is declared (RFC 2045 section 5.2)
	Detected    string // by its content; empty for containers
	Name        string // decoded file name; empty where it has none
	Charset     string // declared, lower case
	Encoding    string // declared transfer encoding, lower case
	Disposition string // "attachment", "inline" or empty
	ContentID   string
	Header      Header
	Parent      int   // index in Parts; -1 for the root
	Depth       int   // 0 for the root
	Size        int64 // of the decoded content, in bytes; of a container the bytes of its body
	Container   bool  // multipart, attached message or opened archive: others stand inside
	Archived    bool  // a file inside an archive
	Text        bool  // shown to the reader as text: URLs were looked for in it

	// Digests of the decoded content as a mail client would save it. Zero for
	// multiparts. A SHA256 is also there for an attached message and an archive.
	SHA256 [32]byte
	SHA1   [20]byte
	MD5    [16]byte

	// Fingerprint is the SHA-256 of the decoded content with CRLF as LF and NUL
	// as 0x80, so that it survives what mail stores do to bytes. Leaf parts of
	// the MIME tree only.
	Fingerprint [32]byte
}

// Attachment reports whether p is a file that a reader could save: a leaf that
// is not shown as the message's own text.
func (p *Part) Attachment() bool {
	return !p.Container && (p.Name != "" || p.Disposition == "attachment" || !p.Text)
}

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

// Header is replaced by the parser's own.
type Header struct{}
