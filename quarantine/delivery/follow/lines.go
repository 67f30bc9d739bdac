package follow

import "bytes"

// splitter cuts a stream of bytes into lines. How the stream is cut into reads
// makes no difference.
type splitter struct {
	buf      []byte // a line that has not ended
	skipping bool   // it is too long, and its end is waited for
	pending  int64  // bytes of it, those that were thrown away included
}

// feed takes the next bytes and gives the lines that end in them, which are valid
// as long as p is. consumed counts the bytes of those lines, their ends included.
func (s *splitter) feed(p []byte, line func([]byte)) (consumed int64, tooLong int) {
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			s.pending += int64(len(p))
			if s.skipping = s.skipping || len(s.buf)+len(p) > MaxLine; s.skipping {
				s.buf = s.buf[:0]
			} else {
				s.buf = append(s.buf, p...)
			}
			return consumed, tooLong
		}
		consumed += s.pending + int64(end) + 1
		switch {
		case s.skipping || len(s.buf)+end > MaxLine:
			tooLong++
		case len(s.buf) > 0:
			s.buf = append(s.buf, p[:end]...)
			line(trimEnd(bytes.Clone(s.buf)))
		default:
			line(trimEnd(p[:end]))
		}
		s.reset()
		p = p[end+1:]
	}
}

// rest gives a last line that nobody ended, and forgets it.
func (s *splitter) rest(line func([]byte)) (consumed int64, tooLong int) {
	consumed = s.pending
	if s.skipping {
		tooLong = 1
	} else if len(s.buf) > 0 {
		line(trimEnd(s.buf))
	}
	s.reset()
	return consumed, tooLong
}

func (s *splitter) reset() { s.buf, s.skipping, s.pending = s.buf[:0], false, 0 }

func trimEnd(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\r")) }
