package blob

import (
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/weirmail/weir/intel/disk"
)

// window bounds what compressing and decompressing one blob keep in memory.
const window = 512 << 10

// codecs makes zstd encoders and decoders and keeps them to be used again.
type codecs struct {
	encoders sync.Pool // of *zstd.Encoder
	decoders sync.Pool // of *decoder
}

type decoder struct{ *zstd.Decoder }

// bound is the most that n bytes can take: zstd keeps what it cannot compress as
// it is, in blocks of up to 128 KiB with a header of three bytes.
func (*codecs) bound(n int) int { return n + 3*(n/(64<<10)+1) + 32 }

// compress writes one zstd frame, with the content's length and checksum.
func (c *codecs) compress(w io.Writer, content []byte) error {
	enc, ok := c.encoders.Get().(*zstd.Encoder)
	if !ok {
		var err error
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true),
			// Mail is mostly base64: few repetitions, but six bits in a byte.
			zstd.WithAllLitEntropyCompression(true), zstd.WithZeroFrames(true))
		if err != nil {
			return err
		}
	}
	defer c.encoders.Put(enc)
	enc.ResetContentSize(w, int64(len(content)))
	if _, err := enc.Write(content); err != nil {
		return err
	}
	return enc.Close()
}

// decompress reads a blob's file from its beginning and gives the length that it
// says its content has, or -1. The decoder is to be given back.
func (c *codecs) decompress(file disk.File) (*decoder, int64, error) {
	size, err := contentSize(file)
	if err != nil {
		return nil, 0, err
	}
	stored, err := file.Size()
	if err != nil {
		return nil, 0, err
	}
	dec, ok := c.decoders.Get().(*decoder)
	if !ok {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
		if err != nil {
			return nil, 0, err
		}
		dec = &decoder{d}
	}
	if err := dec.Reset(io.NewSectionReader(file, 0, stored)); err != nil {
		return nil, 0, err
	}
	return dec, size, nil
}

func (c *codecs) giveBack(dec *decoder) {
	if dec.Reset(nil) == nil { // lets go of the file
		c.decoders.Put(dec)
	}
}

// unsaid bounds the contents whose length a frame leaves out, in bytes.
const unsaid = 255

// contentSize reads the length of the content from the frame's header. It gives
// -1 when that does not say, as for the shortest contents.
func contentSize(file disk.File) (int64, error) {
	head := make([]byte, zstd.HeaderMaxSize)
	n, err := file.ReadAt(head, 0)
	if n == 0 && err != nil && err != io.EOF {
		return 0, err
	}
	var h zstd.Header
	switch err := h.Decode(head[:n]); {
	case err != nil:
		return 0, fmt.Errorf("%w: it does not begin as a blob does: %w", ErrDamaged, err)
	case !h.HasFCS:
		return -1, nil
	case h.FrameContentSize > 1<<40:
		return 0, fmt.Errorf("%w: it claims to hold %d bytes", ErrDamaged, h.FrameContentSize)
	}
	return int64(h.FrameContentSize), nil
}
