package miltertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Macros puts macros for the command that follows: names and values in turn. Of
// those without a value nothing is said.
func (s *Session) Macros(code byte, pairs ...string) {
	start := s.begin('D')
	s.out = append(s.out, code)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			s.out = append(append(s.out, pairs[i]...), 0)
			s.out = append(append(s.out, pairs[i+1]...), 0)
		}
	}
	s.finish(start)
}

// queueID says the queue ID.
func (s *Session) queueID(code byte, m *Message) {
	if m.QueueID != "" {
		s.Macros(code, "i", m.QueueID)
	}
}

// Put adds a packet to what is sent with the next Flush or Read.
func (s *Session) Put(code byte, data []byte) {
	start := s.begin(code)
	s.out = append(s.out, data...)
	s.finish(start)
}

func (s *Session) put(code byte, first string, more []string) {
	start := s.begin(code)
	s.out = append(append(s.out, first...), 0)
	for _, arg := range more {
		s.out = append(append(s.out, arg...), 0)
	}
	s.finish(start)
}

// field puts a header field, as it stands in a message, the way MTAs do: folds
// with LF, and without LEADSPC less a space.
func (s *Session) field(field []byte) {
	name, value, _ := bytes.Cut(bytes.TrimSuffix(field, []byte("\r\n")), []byte(":"))
	if s.agreed.Protocol&leadingSpace == 0 {
		value = bytes.TrimPrefix(value, []byte(" "))
	}
	start := s.begin('L')
	s.out = append(append(s.out, name...), 0)
	for {
		i := bytes.Index(value, []byte("\r\n"))
		if i < 0 {
			break
		}
		s.out = append(append(s.out, value[:i]...), '\n')
		value = value[i+2:]
	}
	s.out = append(append(s.out, value...), 0)
	s.finish(start)
}

func (s *Session) begin(code byte) int {
	start := len(s.out)
	s.out = append(s.out, 0, 0, 0, 0, code)
	return start
}

func (s *Session) finish(start int) {
	binary.BigEndian.PutUint32(s.out[start:], uint32(len(s.out)-start-4))
}

// Flush sends what was put.
func (s *Session) Flush() error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.opts.Timeout)); err != nil {
		return err
	}
	for out := s.out; len(out) > 0; {
		n := len(out)
		if s.opts.WriteBytes > 0 {
			n = min(n, s.opts.WriteBytes)
		}
		if _, err := s.conn.Write(out[:n]); err != nil {
			return err
		}
		out = out[n:]
	}
	s.out = s.out[:0]
	return nil
}

// Read sends what was put and reads a packet. Its data is valid until the next
// Read.
func (s *Session) Read() (code byte, data []byte, err error) {
	if err := s.Flush(); err != nil {
		return 0, nil, err
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(s.opts.Timeout)); err != nil {
		return 0, nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return 0, nil, fmt.Errorf("the milter sent a packet of %d bytes", n)
	}
	if cap(s.body) < int(n) {
		s.body = make([]byte, n)
	}
	s.body = s.body[:n-1]
	_, err = io.ReadFull(s.in, s.body)
	return head[4], s.body, err
}

// cutField cuts the first field, with its folds and line ends, off a header.
func cutField(header []byte) (field, rest []byte) {
	end := 0
	for {
		i := bytes.Index(header[end:], []byte("\r\n"))
		if i < 0 {
			return header, nil
		}
		end += i + 2
		if end == len(header) || header[end] != ' ' && header[end] != '\t' {
			return header[:end], header[end:]
		}
	}
}
