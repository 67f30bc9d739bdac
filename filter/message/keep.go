package message

import (
	"slices"

	"github.com/weirmail/weir/filter/message/transfer"
)

// keeper collects decoded content that has to be looked at whole: on the heap
// while it is small, else where the scratch puts it.
type keeper struct {
	s     *state
	small []byte
	large Buffer
	err   error
}

// keeper starts one for about so many bytes.
func (s *state) keeper(size int) *keeper {
	k := &keeper{s: s}
	if n := len(s.spare); n > 0 {
		k.small, s.spare = s.spare[n-1][:0], s.spare[:n-1]
	}
	if s.scratch == nil || size <= maxSpareBytes {
		k.small = slices.Grow(k.small, size)
	}
	return k
}

// write takes a block; an error shows in bytes.
func (k *keeper) write(block []byte) {
	if k.err != nil {
		return
	}
	if k.large == nil {
		if len(k.small)+len(block) <= maxSpareBytes || k.s.scratch == nil {
			k.small = append(k.small, block...)
			return
		}
		k.large = k.s.scratch.Buffer()
		if _, k.err = k.large.Write(k.small); k.err != nil {
			return
		}
	}
	_, k.err = k.large.Write(block)
}

// bytes gives what was written, valid until close. It reports false where
// there was no room, which is no fault of the message.
func (k *keeper) bytes() ([]byte, bool) {
	content := k.small
	if k.large != nil && k.err == nil {
		content, k.err = k.large.Bytes()
	}
	if k.err != nil && k.s.err == nil {
		k.s.err = k.err
	}
	return content, k.err == nil
}

func (k *keeper) close() {
	if k.large != nil {
		if err := k.large.Close(); err != nil && k.s.err == nil {
			k.s.err = err
		}
	}
	if cap(k.small) > 0 && cap(k.small) <= 2*maxSpareBytes {
		k.s.spare = append(k.s.spare, k.small)
	}
}

// decoded decodes text, lets read read it, and gives the flaws of the encoding.
// It does not call read if there is no room for that.
func (s *state) decoded(enc transfer.Encoding, text []byte, read func(content *reader)) transfer.Flaw {
	keep := s.keeper(len(text))
	defer keep.close()
	s.decoder.Reset(enc, text)
	for block := s.decoder.Next(s.block[:]); block != nil; block = s.decoder.Next(s.block[:]) {
		keep.write(block)
	}
	flaws := s.decoder.Flaws()
	if content, ok := keep.bytes(); ok {
		read(&reader{state: s, b: content})
	}
	return flaws
}
