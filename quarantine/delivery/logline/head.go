package logline

import (
	"bytes"
	"time"
)

// head is what stands before the message of a line.
type head struct {
	time    time.Time
	program []byte
	text    []byte
}

// grace is how far clocks of log and reader may be apart before a timestamp
// without a year is taken for last year's.
const grace = 24 * time.Hour

// head reads the front of a line:
//
//	Nov 22 01:11:00 mx postfix/smtp[12]: …              traditional, as RFC 3164, also behind "<22>"
//	2026-11-22T01:11:00.123456+00:00 mx postfix/smtp[12]: …
//	<22>1 2026-11-22T01:11:00Z mx postfix/smtp 12 - - …  RFC 5424
//	2026-11-22 01:11:00 mx postfix/smtp[12]: …
//	Nov 22 01:11:00 lmtp(alice)<12><session>: Info: …    Dovecot's own file, with either date
func (p *Parser) head(line []byte, asOf time.Time) (h head, ok bool) {
	line = bytes.TrimLeft(line, "\x00") // what copytruncate leaves to a writer that does not append
	modern := false
	if len(line) > 0 && line[0] == '<' {
		end := bytes.IndexByte(line, '>')
		if end < 2 || end > 4 {
			return h, false
		}
		line = line[end+1:]
		if bytes.HasPrefix(line, []byte("1 ")) {
			line, modern = line[2:], true
		}
	}
	n := 0
	if h.time, n = p.timestamp(line, asOf); n == 0 || n >= len(line) || line[n] != ' ' {
		return h, false
	}
	line = line[n+1:]
	if modern {
		return h.structured(line)
	}
	if ownLine(line) {
		h.program, h.text = []byte(dovecot), line
		return h, true
	}
	if _, line, ok = bytes.Cut(line, []byte(" ")); !ok { // the host
		return h, false
	}
	tag, text, ok := bytes.Cut(line, []byte(": "))
	if !ok || bytes.IndexByte(tag, ' ') >= 0 {
		return h, false
	}
	if i := bytes.IndexByte(tag, '['); i >= 0 {
		tag = tag[:i]
	}
	h.program, h.text = tag, text
	return h, true
}

// structured reads what follows the time in RFC 5424 (section 6): HOSTNAME
// APP-NAME PROCID MSGID STRUCTURED-DATA MSG.
func (h head) structured(line []byte) (head, bool) {
	var ok bool
	for i := range 4 {
		var word []byte
		if word, line, ok = bytes.Cut(line, []byte(" ")); !ok {
			return h, false
		}
		if i == 1 {
			h.program = word
		}
	}
	if line, ok = skipStructuredData(line); !ok {
		return h, false
	}
	line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	h.text = bytes.TrimPrefix(line, []byte(" ")) // rsyslog keeps the one behind the tag
	return h, true
}

// skipStructuredData cuts "- " or "[id name="value"] ", in whose values
// backslashes quote (section 6.3.3).
func skipStructuredData(line []byte) ([]byte, bool) {
	if bytes.HasPrefix(line, []byte("- ")) {
		return line[2:], true
	}
	inValue := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case i == 0 && c != '[':
			return nil, false
		case inValue && c == '\\':
			i++
		case c == '"':
			inValue = !inValue
		case !inValue && c == ']' && i+1 < len(line) && line[i+1] == ' ':
			return line[i+2:], true
		}
	}
	return nil, false
}

// ownLine reports whether a line of Dovecot's own file goes on here, which has no
// host and no program name.
func ownLine(rest []byte) bool {
	return bytes.HasPrefix(rest, []byte("lmtp(")) || bytes.HasPrefix(rest, []byte("lda(")) || bytes.HasPrefix(rest, []byte("pop3("))
}

// timestamp reads the time at the front and gives its length, 0 if there is none.
func (p *Parser) timestamp(s []byte, asOf time.Time) (time.Time, int) {
	loc := p.Location
	if loc == nil {
		loc = time.Local
	}
	if len(s) > 4 && s[4] == '-' {
		return isoTime(s, loc)
	}
	return traditionalTime(s, loc, asOf)
}

// traditionalTime reads "Jan _2 15:04:05".
func traditionalTime(s []byte, loc *time.Location, asOf time.Time) (time.Time, int) {
	const length = len("Jan _2 15:04:05")
	if len(s) < length || s[3] != ' ' || s[6] != ' ' || s[9] != ':' || s[12] != ':' {
		return time.Time{}, 0
	}
	month := monthOf(s[:3])
	day := digit(s[5])
	if s[4] != ' ' {
		day += 10 * digit(s[4])
	}
	hour, minute, second := two(s[7:]), two(s[10:]), two(s[13:])
	if month == 0 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return time.Time{}, 0
	}
	latest := asOf.In(loc).Add(grace)
	t := time.Date(latest.Year(), month, day, hour, minute, second, 0, loc)
	if t.After(latest) {
		t = time.Date(latest.Year()-1, month, day, hour, minute, second, 0, loc)
	}
	return t, length
}

func monthOf(s []byte) time.Month {
	const names = "JanFebMarAprMayJunJulAugSepOctNovDec"
	for i := 0; i < len(names); i += 3 {
		if string(s) == names[i:i+3] {
			return time.Month(i/3 + 1)
		}
	}
	return 0
}

// isoTime reads "2006-01-02T15:04:05" with "T" or a space, a fraction and a zone,
// both optional.
func isoTime(s []byte, loc *time.Location) (time.Time, int) {
	const length = len("2006-01-02T15:04:05")
	if len(s) < length || s[7] != '-' || s[10] != 'T' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, 0
	}
	century, years, month, day := two(s), two(s[2:]), two(s[5:]), two(s[8:])
	hour, minute, second := two(s[11:]), two(s[14:]), two(s[17:])
	if century < 0 || years < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return time.Time{}, 0
	}
	i, nanos := length, 0
	if i < len(s) && (s[i] == '.' || s[i] == ',') {
		i++
		for unit := int(time.Second) / 10; i < len(s) && digit(s[i]) >= 0; i++ {
			nanos += unit * digit(s[i])
			unit /= 10
		}
	}
	shift := 0 // minutes that the zone is ahead
	switch {
	case i < len(s) && s[i] == 'Z':
		loc, i = time.UTC, i+1
	case i+6 <= len(s) && (s[i] == '+' || s[i] == '-') && s[i+3] == ':':
		h, m := two(s[i+1:]), two(s[i+4:])
		if h < 0 || m < 0 {
			return time.Time{}, 0
		}
		if shift = 60*h + m; s[i] == '-' {
			shift = -shift
		}
		loc, i = time.UTC, i+6
	}
	t := time.Date(100*century+years, time.Month(month), day, hour, minute, second, nanos, loc)
	return t.Add(-time.Duration(shift) * time.Minute), i
}

// digit gives the value of a digit, a very negative number for anything else, so
// that sums with it stay negative.
func digit(c byte) int {
	if c < '0' || c > '9' {
		return -1000
	}
	return int(c - '0')
}

func two(s []byte) int { return 10*digit(s[0]) + digit(s[1]) }
