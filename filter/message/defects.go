package message

// The defects. Policy rules refer to them by these names; Defects says what each
// one means.
const (
	DefectMboxLine          = "mbox-line"
	DefectLeadingFold       = "leading-fold"
	DefectHeaderLine        = "header-line"
	DefectHeaderBlank       = "header-blank-line"
	DefectHeaderName        = "header-name"
	DefectHeaderSpace       = "header-space"
	DefectHeaderUnended     = "header-unended"
	DefectHeaderLimit       = "header-limit"
	DefectHeaderBytes       = "header-8bit"
	DefectHeaderControl     = "header-control"
	DefectHeaderWord        = "encoded-word"
	DefectDuplicateField    = "duplicate-field"
	DefectAddress           = "address"
	DefectAddressLimit      = "address-limit"
	DefectBareCR            = "bare-cr"
	DefectBareLF            = "bare-lf"
	DefectNUL               = "nul"
	DefectLongLine          = "long-line"
	DefectTypeMalformed     = "content-type"
	DefectTypeConflict      = "content-type-conflict"
	DefectParameters        = "parameters"
	DefectEncodingUnknown   = "encoding-unknown"
	DefectEncodingMalformed = "encoding-malformed"
	DefectEncodingConflict  = "encoding-conflict"
	DefectEncodingContainer = "encoding-on-container"
	DefectBoundaryMissing   = "boundary-missing"
	DefectBoundaryMalformed = "boundary-malformed"
	DefectBoundaryConflict  = "boundary-conflict"
	DefectBoundaryUnseen    = "boundary-unseen"
	DefectBoundaryJunk      = "boundary-junk"
	DefectBoundaryStray     = "boundary-stray"
	DefectUnclosed          = "multipart-unclosed"
	DefectPartAfterEnd      = "part-after-end"
	DefectEpilogue          = "epilogue"
	DefectPartial           = "message-partial"
	DefectBase64Alphabet    = "base64-alphabet"
	DefectBase64Joined      = "base64-joined"
	DefectBase64Truncated   = "base64-truncated"
	DefectQuotedPrintable   = "quoted-printable"
	DefectUUEncode          = "uuencode"
	DefectCharsetUnknown    = "charset-unknown"
	DefectCharsetInvalid    = "charset-invalid"
	DefectNameControl       = "name-control"
	DefectNameBidi          = "name-bidi"
	DefectNamePath          = "name-path"
	DefectNameConflict      = "name-conflict"
	DefectNameLong          = "name-long"
	DefectArchiveEncrypted  = "archive-encrypted"
	DefectArchiveDamaged    = "archive-damaged"
	DefectArchiveDirectory  = "archive-directory"
	DefectArchiveHidden     = "archive-hidden"
	DefectArchiveMismatch   = "archive-mismatch"
	DefectArchiveMethod     = "archive-method"
	DefectArchiveOverlap    = "archive-overlap"
	DefectArchivePrefix     = "archive-prefix"
	DefectArchiveFiles      = "archive-file-limit"
	DefectArchiveBytes      = "archive-byte-limit"
	DefectArchiveRatio      = "archive-ratio-limit"
	DefectDepthLimit        = "depth-limit"
	DefectPartLimit         = "part-limit"
	DefectReadingLimit      = "reading-limit"
	DefectDigestLimit       = "digest-limit"
	DefectTextLimit         = "text-limit"
	DefectURLLimit          = "url-limit"
	DefectURLLength         = "url-length"
	DefectDefectLimit       = "defect-limit"
	DefectIncomplete        = "incomplete"
)

// DefectKind is one sort of defect, for documentation.
type DefectKind struct {
	Name    string
	Meaning string // one sentence
}

// Defects lists every sort of defect that a message can have.
func Defects() []DefectKind {
	return []DefectKind{
		{DefectMboxLine, "A header begins with the From line of a mailbox file."},
		{DefectLeadingFold, "A header begins with a continuation line, which continues nothing."},
		{DefectHeaderLine, "A header holds a line that is no field; links in it are found under the place raw."},
		{DefectHeaderBlank, "A header holds a line of white space, which ends it to some readers and not to others."},
		{DefectHeaderName, "A field has a name with bytes beyond ASCII."},
		{DefectHeaderSpace, "A field has white space before its colon."},
		{DefectHeaderUnended, "A header is not followed by an empty line."},
		{DefectHeaderLimit, "A header is longer or has more fields than the limits allow; fields were left out or cut, links in them are found under the place raw."},
		{DefectHeaderBytes, "A field that people see has bytes beyond ASCII that are not UTF-8."},
		{DefectHeaderControl, "A field that people see has control characters."},
		{DefectHeaderWord, "A field that people see has a broken encoded word, or one in an unknown charset."},
		{DefectDuplicateField, "A field that may come once comes several times."},
		{DefectAddress, "An originator field holds something that is no address, or several addresses in one mailbox."},
		{DefectAddressLimit, "A field holds more addresses than the limit allows; the rest was left out."},
		{DefectBareCR, "Some CR is not followed by LF."},
		{DefectBareLF, "Some lines end with LF alone, though others end with CR LF."},
		{DefectNUL, "There are NUL bytes; text is searched for links with and without them."},
		{DefectLongLine, "A line is longer than the 998 bytes that RFC 5322 allows."},
		{DefectTypeMalformed, "A Content-Type cannot be read; the part is taken for plain text, and searched for links as HTML besides."},
		{DefectTypeConflict, "A part has several Content-Types; it is read as the one that can hold most."},
		{DefectParameters, "The parameters of a MIME field are malformed."},
		{DefectEncodingUnknown, "A Content-Transfer-Encoding is not known; the part is taken as it is, and read as base64 or quoted-printable besides where it looks so."},
		{DefectEncodingMalformed, "A Content-Transfer-Encoding has something beside a name that is known, such as a comment."},
		{DefectEncodingConflict, "A part has several Content-Transfer-Encodings; it is read by each."},
		{DefectEncodingContainer, "A multipart or attached message is encoded as a whole, which RFC 2045 forbids; it was decoded first."},
		{DefectBoundaryMissing, "A multipart has no boundary parameter; it was read by the first line that looks like a delimiter."},
		{DefectBoundaryMalformed, "A boundary is empty, or longer than RFC 2046 allows."},
		{DefectBoundaryConflict, "A multipart has several boundaries, or one that can be read in several ways; each delimits parts."},
		{DefectBoundaryUnseen, "The boundary of a multipart does not occur in it."},
		{DefectBoundaryJunk, "Something follows the boundary in a delimiter, which is text to some readers; the part before is read both ways."},
		{DefectBoundaryStray, "A part holds what looks like a further part of a multipart, but has none of the boundaries that were read; links in it are found under the place raw."},
		{DefectUnclosed, "A multipart has no closing delimiter."},
		{DefectPartAfterEnd, "Parts follow the closing delimiter of a multipart; they are read."},
		{DefectEpilogue, "Text follows the closing delimiter of a multipart; links in it are found under the place raw."},
		{DefectPartial, "A part is message/partial, a fragment that cannot be judged."},
		{DefectBase64Alphabet, "Base64 with characters that are none; they are skipped."},
		{DefectBase64Joined, "Base64 goes on after its padding; it is read to the end, and to the padding besides."},
		{DefectBase64Truncated, "Base64 ends inside of a byte."},
		{DefectQuotedPrintable, "Quoted-printable with an equals sign that begins no escape."},
		{DefectUUEncode, "Uuencoded content is malformed."},
		{DefectCharsetUnknown, "The charset of a text is not known; it is taken as UTF-8 or windows-1252."},
		{DefectCharsetInvalid, "A text has bytes that its charset does not have."},
		{DefectNameControl, "A file name has control characters; they are left out."},
		{DefectNameBidi, "A file name has characters that turn the direction of writing."},
		{DefectNamePath, "A file name is a path to somewhere else."},
		{DefectNameConflict, "A file has several names, of which clients show different ones."},
		{DefectNameLong, "A file name is longer than 1024 bytes; its end was kept."},
		{DefectArchiveEncrypted, "A file in an archive is encrypted; it has no digest."},
		{DefectArchiveDamaged, "An archive, or a file in it, cannot be unpacked whole."},
		{DefectArchiveDirectory, "A zip has no usable directory, and its files were found one by one; or a tar breaks off."},
		{DefectArchiveHidden, "A zip holds a file that its directory does not list."},
		{DefectArchiveMismatch, "A zip says different things about a file in two places; it is read by both."},
		{DefectArchiveMethod, "A file in an archive is packed by a method that is not known here; it has no digest."},
		{DefectArchiveOverlap, "Files in a zip share bytes, as they do in bombs."},
		{DefectArchivePrefix, "Something stands before the first file of a zip, such as a program."},
		{DefectArchiveFiles, "An archive holds more files than the limit allows; the rest was left out."},
		{DefectArchiveBytes, "The archives of the message unpack to more than the limit allows; the rest was left out."},
		{DefectArchiveRatio, "A file in an archive unpacks to so many times its size that it was left out."},
		{DefectDepthLimit, "Parts or archives nest deeper than the limit allows; what lies deeper was only searched for links, under the place raw."},
		{DefectPartLimit, "There are more parts than the limit allows; the rest was only searched for links, under the place raw."},
		{DefectReadingLimit, "There are more ways to read ambiguous parts than are tried."},
		{DefectDigestLimit, "Attached messages nest so that no more of them were digested; what is in them was."},
		{DefectTextLimit, "There is more text than is searched for links."},
		{DefectURLLimit, "There are more links than the limit allows; some were left out."},
		{DefectURLLength, "A link is longer than the limit allows; its beginning was kept."},
		{DefectDefectLimit, "There are more defects than the limit allows; some were left out."},
		{DefectIncomplete, "This machine had no room to read all of the message."},
	}
}

// defect notes that the message is not as it should be: once for a name and
// place. Beyond the limit only the first of each name is kept.
func (s *state) defect(name, place, detail string) {
	if len(s.defects) >= s.limits.Defects {
		for i := range s.defects {
			if s.defects[i].Name == name {
				s.defectsLost = true
				return
			}
		}
	}
	for i := range s.defects {
		if d := &s.defects[i]; d.Name == name && d.Place == place {
			return
		}
	}
	s.defects = append(s.defects, Defect{Name: name, Place: place, Detail: detail})
}
