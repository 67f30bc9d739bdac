package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Position is the place of a record in its log. Positions grow in the order of
// the records; 0 is before all of them. They have gaps: there is no next
// position to be computed.
type Position uint64

const (
	magic      = "WEIRLOG1"
	headerSize = 40 // of a segment
	frameSize  = 24 // of a frame without its payload
	sector     = 512

	// MaxRecord bounds a record, in bytes.
	MaxRecord = 64 << 20
)

// ErrDamaged is the root of every error that says that a log is not as it was
// written.
var ErrDamaged = errors.New("log damaged")

// DamageError says where a log is not as it was written.
type DamageError struct {
	Segment string // path of the file
	Offset  int64  // in the file, of the frame or header that does not check
	Reason  string
}

// Error names segment, offset, reason and cure.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %s at offset %d: %s: restore this file from a backup", ErrDamaged, e.Segment, e.Offset, e.Reason)
}

// Is makes a DamageError an ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

type logID [16]byte

func encodeHeader(id logID, base Position) []byte {
	h := make([]byte, 0, headerSize)
	h = append(h, magic...)
	h = append(h, id[:]...)
	h = binary.LittleEndian.AppendUint64(h, uint64(base))
	return binary.LittleEndian.AppendUint64(h, xxhash.Sum64(h))
}

func decodeHeader(h []byte) (id logID, base Position, ok bool) {
	if len(h) != headerSize || string(h[:8]) != magic ||
		xxhash.Sum64(h[:32]) != binary.LittleEndian.Uint64(h[32:]) {
		return id, 0, false
	}
	copy(id[:], h[8:24])
	return id, Position(binary.LittleEndian.Uint64(h[24:])), true
}

// frame is a frame's header.
type frame struct {
	length uint32 // of the payload
	back   uint32 // to the start of the batch
	sum    uint64 // of the payload
	check  uint64 // of log ID, position and the above
}

func (f frame) size() int64 { return frameSize + int64(f.length) }

// putFrame writes all of a frame's header but the check, which needs the
// position.
func putFrame(dst []byte, payload []byte, sum uint64, back int) {
	binary.LittleEndian.PutUint32(dst, uint32(len(payload)))
	binary.LittleEndian.PutUint32(dst[4:], uint32(back))
	binary.LittleEndian.PutUint64(dst[8:], sum)
}

// stamp writes the check of the frame that stands at the start of b.
func stamp(b []byte, id logID, at Position) {
	binary.LittleEndian.PutUint64(b[16:], frameCheck(b, id, at))
}

func frameCheck(b []byte, id logID, at Position) uint64 {
	var covered [40]byte
	copy(covered[:], id[:])
	binary.LittleEndian.PutUint64(covered[16:], uint64(at))
	copy(covered[24:], b[:16])
	return xxhash.Sum64(covered[:])
}

// decodeFrame reads a frame's header that was written for this log and position.
func decodeFrame(b []byte, id logID, at Position) (frame, bool) {
	if len(b) < frameSize {
		return frame{}, false
	}
	f := frame{
		length: binary.LittleEndian.Uint32(b),
		back:   binary.LittleEndian.Uint32(b[4:]),
		sum:    binary.LittleEndian.Uint64(b[8:]),
		check:  binary.LittleEndian.Uint64(b[16:]),
	}
	if f.length > MaxRecord || uint64(f.back) > uint64(at) || f.check != frameCheck(b, id, at) {
		return frame{}, false
	}
	return f, true
}

// errFrame is a frame that does not check.
type errFrame struct {
	offset int64
	length int64 // of what had to check: the frame, or only its header where that is wrong
	reason string
}

func (e *errFrame) Error() string { return e.reason }

// scanner reads the frames of one segment in order.
type scanner struct {
	r    io.ReaderAt
	id   logID
	base Position
	off  int64 // of the next frame, in the file
	end  int64 // frames are read up to here

	chunk  int64  // bytes read at once; a larger frame makes it more
	window []byte // bytes of the file from start on
	start  int64
}

// Chunks for reading on and for reading one record.
const (
	readChunk = 64 << 10
	getChunk  = 4 << 10
)

func (s *scanner) position() Position { return s.base + Position(s.off) }

// next gives the frame at s.off and steps over it. The payload is valid until
// the following call. At the end the error is io.EOF; what does not check is an
// *errFrame, and s.off stays before it.
func (s *scanner) next() (frame, []byte, error) {
	rest := s.end - s.off
	if rest <= 0 {
		return frame{}, nil, io.EOF
	}
	head, err := s.bytes(min(rest, frameSize))
	if err != nil {
		return frame{}, nil, err
	}
	f, ok := decodeFrame(head, s.id, s.position())
	if !ok {
		return f, nil, &errFrame{s.off, frameSize, "the header of a record does not check"}
	}
	if f.size() > rest {
		return f, nil, &errFrame{s.off, f.size(), "the file ends within a record"}
	}
	whole, err := s.bytes(f.size())
	if err != nil {
		return f, nil, err
	}
	payload := whole[frameSize:]
	if xxhash.Sum64(payload) != f.sum {
		return f, nil, &errFrame{s.off, f.size(), "the content of a record does not check"}
	}
	s.off += f.size()
	return f, payload, nil
}

// bytes gives the n bytes from s.off on, which lie before s.end.
func (s *scanner) bytes(n int64) ([]byte, error) {
	if from := s.off - s.start; from >= 0 && from+n <= int64(len(s.window)) {
		return s.window[from : from+n], nil
	}
	want := min(max(n, s.chunk), s.end-s.off)
	if int64(cap(s.window)) < want {
		s.window = make([]byte, want)
	}
	s.window, s.start = s.window[:want], s.off
	got, err := s.r.ReadAt(s.window, s.off)
	if int64(got) < n {
		s.window = s.window[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	s.window = s.window[:got]
	return s.window[:n], nil
}
