package format

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
)

// csvPlan is how a format that is csv is read.
type csvPlan struct {
	CSVOptions
	kind   intel.Kind // of the values, without a column that says so
	preset bool       // columns other than the value and its kind may be missing
}

func urlhausPlan(o CSVOptions) *csvPlan {
	o.Header = false
	o.Columns = Columns{
		Value: "url", ID: "id", Status: "url_status", Note: []string{"threat"}, Tags: "tags",
		Seen: "dateadded", LastSeen: "last_online",
	}
	return &csvPlan{CSVOptions: o, kind: intel.KindURL, preset: true}
}

func threatfoxPlan(o CSVOptions) *csvPlan {
	o.Header = false
	o.Columns = Columns{
		Value: "ioc_value", Kind: "ioc_type", ID: "ioc_id", Note: []string{"threat_type", "malware_printable"}, Tags: "tags",
		Confidence: "confidence_level", Seen: "first_seen_utc", LastSeen: "last_seen_utc",
	}
	return &csvPlan{CSVOptions: o, preset: true}
}

// csvColumns are Columns as indexes into a record; -1 is none.
type csvColumns struct {
	value, kind, status, id, tags, campaign, confidence, seen, lastSeen, until int
	note                                                                       []int
}

// columns finds the columns in a header, which is nil if there is none.
func (p *csvPlan) columns(header []string) (c csvColumns, missing string) {
	find := func(name string, needed bool) int {
		if name == "" {
			return -1
		}
		if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= maxFields {
			return n - 1
		}
		i := slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(h, name) })
		if i < 0 && missing == "" && (needed || !p.preset) {
			missing = name
		}
		return i
	}
	names := &p.Columns
	c = csvColumns{
		value: find(names.Value, true), kind: find(names.Kind, true), status: find(names.Status, false), id: find(names.ID, false),
		tags: find(names.Tags, false), campaign: find(names.Campaign, false), confidence: find(names.Confidence, false),
		seen: find(names.Seen, false), lastSeen: find(names.LastSeen, false), until: find(names.Until, false),
	}
	for _, name := range names.Note {
		c.note = append(c.note, find(name, false))
	}
	return c, missing
}

// header finds the columns by the names in the first record or in the last
// comment, whichever is said to have them, or else in the other one; isHeader
// says that it was the record.
func (p *csvPlan) header(record, comment []string) (c csvColumns, isHeader bool, err *Error) {
	first, second := comment, record
	if p.Header {
		first, second = record, comment
	}
	c, missing := p.columns(first)
	if missing == "" {
		return c, p.Header, nil
	}
	if c, stillMissing := p.columns(second); stillMissing == "" {
		return c, !p.Header, nil
	}
	cure := "the feed names no columns: give them by number"
	if len(first) > 0 {
		cure = legible("the columns are "+strings.Join(first, ", "), 4*maxText)
	}
	return c, false, &Error{Value: legible(missing, maxText), Reason: "is the name of no column", Cure: cure}
}

// csv reads a feed of records.
func (r *run) csv(p *csvPlan) error {
	in, err := r.openText()
	if err != nil {
		return err
	}
	defer in.close()
	records := recordReader{lineReader: lineReader{r: in.Reader, max: r.opts.MaxLine}, comma: p.Comma, comment: p.Comment}
	var columns csvColumns
	known := false
	for {
		record, at, bad, err := records.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return &Error{Place: at, Reason: "reading it failed", Err: err}
		case bad != "":
			r.passed.add(Malformed, bad, at, records.text, records.lines) // each may have been a record
			continue
		}
		if !known {
			isHeader, err := false, (*Error)(nil)
			if columns, isHeader, err = p.header(record, records.header()); err != nil {
				err.Place = at
				return err
			}
			if known = true; isHeader {
				continue
			}
		}
		if err := r.record(p, columns, record, at, records.text); err != nil {
			return err
		}
	}
}

// record reads one record.
func (r *run) record(p *csvPlan, c csvColumns, record []string, at Place, text string) error {
	field := func(i int) string {
		if i < 0 || i >= len(record) {
			return ""
		}
		return record[i]
	}
	if c.value >= len(record) {
		r.pass(Malformed, "has too few columns", at, text)
		return nil
	}
	e := entry{
		at: at, text: strings.Clone(field(c.value)), kind: p.kind, confidence: -1,
		id: strings.Clone(field(c.id)), campaign: strings.Clone(field(c.campaign)), until: parseTime(field(c.until)), seen: parseTime(field(c.lastSeen)),
	}
	if e.seen.IsZero() {
		e.seen = parseTime(field(c.seen))
	}
	if c.kind >= 0 {
		kind, ok := kindOfWord(field(c.kind))
		if !ok {
			r.pass(Unsupported, "kind "+field(c.kind), at, e.text)
			return nil
		}
		e.kind = kind
	}
	if text := field(c.until); text != "" && e.until.IsZero() && !isNever(text) {
		r.pass(Malformed, "has no time where it ends", at, text)
		return nil
	}
	if text := strings.TrimSuffix(field(c.confidence), "%"); text != "" {
		if e.confidence = parseConfidence(text); e.confidence < 0 {
			r.pass(Malformed, noConfidence, at, text)
			return nil
		}
	}
	if status := strings.ToLower(field(c.status)); !r.opts.Offline && (status == "offline" || status == "inactive") {
		r.pass(Offline, "", at, e.text)
		return nil
	}
	var notes []string
	for _, i := range c.note {
		if text := field(i); text != "" && text != "None" {
			notes = append(notes, text)
		}
	}
	if tags := field(c.tags); tags != "" && tags != "None" {
		var others []string
		for tag := range strings.SplitSeq(tags, ",") {
			if tlp := tlpOfTag(tag); tlp != intel.TLPNone {
				e.tlp = max(e.tlp, tlp)
				continue
			}
			others = append(others, tag)
		}
		if len(others) > 0 {
			notes = append(notes, strings.Join(others, ","))
		}
	}
	e.note = strings.Join(notes, ", ")
	return r.give(&e)
}

const noConfidence = "has no confidence of 0 to 100"

// parseConfidence gives -1 for what is none.
func parseConfidence(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 100 {
		return -1
	}
	return n
}

// isNever reports what stands in a column of times for none.
func isNever(text string) bool {
	switch strings.ToLower(text) {
	case "none", "null", "never", "n/a", "-", "0":
		return true
	}
	return false
}

// kindOfWord gives the kind that a column names, in the words of Weir and of
// those who publish feeds. An address or range with its form given is by its form.
func kindOfWord(word string) (intel.Kind, bool) {
	word = strings.ToLower(word)
	if kind, ok := intel.ParseKind(word); ok {
		return kind, true
	}
	switch word {
	case "sha256_hash", "sha-256", "filehash-sha256":
		return intel.KindSHA256, true
	case "sha1_hash", "sha-1", "filehash-sha1":
		return intel.KindSHA1, true
	case "md5_hash", "filehash-md5":
		return intel.KindMD5, true
	case "email", "e-mail", "email-addr", "email-src", "envelope_from", "body_from", "sender":
		return intel.KindAddress, true
	case "hostname", "host", "fqdn", "domain-name":
		return intel.KindDomain, true
	case "uri", "link":
		return intel.KindURL, true
	case "ip:port", "ipv4", "ipv6", "ipv4-addr", "ipv6-addr", "ip-dst", "ip-src", "cidr":
		return intel.KindIP, true
	case "", "hash", "filehash": // the form says it
		return 0, true
	}
	return 0, false
}

// maxFields bounds the columns of a record.
const maxFields = 256

// recordReader gives the records of a text, RFC 4180 section 2 with comments.
type recordReader struct {
	lineReader
	comma   byte
	comment byte
	remark  string   // the last comment
	text    string   // the last record as it stands there
	lines   int      // that it has
	fields  []string // of it, in room that is used again
}

// header reads the last comment as a record.
func (rr *recordReader) header() []string {
	text := strings.TrimLeft(rr.remark, string(rr.comment)+" \t")
	names, bad := splitRecord(text, rr.comma, nil)
	if bad != "" || text == "" {
		return nil
	}
	return names
}

// next gives the next record, valid until it is called again, or what is wrong
// with it.
func (rr *recordReader) next() (record []string, at Place, bad string, err error) {
	for {
		line, at, err := rr.lineReader.next()
		if err != nil {
			return nil, at, "", err
		}
		rr.text, rr.lines = "", 1
		if line == nil {
			return nil, at, rr.tooLong(), nil
		}
		if line = bytes.TrimLeft(line, " "); len(line) == 0 || len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if line[0] == rr.comment {
			if rr.remark == "" || bytes.IndexByte(line, rr.comma) >= 0 { // no line that is there to look nice
				rr.remark = string(line)
			}
			continue
		}
		rr.text = string(line)
		rr.fields, bad = splitRecord(rr.text, rr.comma, rr.fields[:0])
		if bad == openQuote {
			if err := rr.join(); err != nil {
				return nil, at, "", err
			}
			rr.fields, bad = splitRecord(rr.text, rr.comma, rr.fields[:0])
		}
		return rr.fields, at, bad, nil
	}
}

// join adds to a record whose last field goes on in the next line what stands
// there, up to the line that closes as many quotes as are open. Whether it does
// is for the caller to see; it is asked once, so that reading stays linear.
func (rr *recordReader) join() error {
	joined := []byte(rr.text)
	for closed := false; !closed; {
		line, _, err := rr.lineReader.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		rr.lines++
		if line == nil || len(joined)+len("\n")+len(line) > rr.max {
			break
		}
		joined = append(append(joined, '\n'), line...)
		closed = bytes.Count(line, []byte{'"'})%2 == 1
	}
	rr.text = string(joined)
	return nil
}

const openQuote = "has a quote that is not closed"

// splitRecord appends the fields of a record.
func splitRecord(text string, comma byte, fields []string) (all []string, bad string) {
	if !utf8.ValidString(text) {
		return fields, errNotUTF8.Error()
	}
	blanks := strings.ReplaceAll(" \t", string(comma), "")
	for {
		if len(fields) == maxFields {
			return fields, fmt.Sprintf("has more than %d columns", maxFields)
		}
		text = strings.TrimLeft(text, blanks)
		var field string
		if strings.HasPrefix(text, `"`) {
			end := closingQuote(text)
			if end < 0 {
				return fields, openQuote
			}
			field = text[1:end]
			if strings.Contains(field, `""`) {
				field = strings.ReplaceAll(field, `""`, `"`)
			}
			text = strings.TrimLeft(text[end+1:], blanks)
			if text != "" && text[0] != comma {
				return fields, "has more behind a closing quote"
			}
		} else {
			end := strings.IndexByte(text, comma)
			if end < 0 {
				end = len(text)
			}
			field, text = strings.TrimRight(text[:end], blanks), text[end:]
		}
		fields = append(fields, field)
		if text == "" {
			return fields, ""
		}
		text = text[1:]
	}
}

// closingQuote finds the quote that closes the one at the beginning, -1 if there
// is none. Two of them stand for one.
func closingQuote(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			i++
			continue
		}
		return i
	}
	return -1
}
