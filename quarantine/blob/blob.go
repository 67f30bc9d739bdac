// Package blob keeps message bytes, named by what they are.
//
// It owns the bytes and nothing that is known of them. What is put twice is kept
// once. Store is the interface, with a conformance suite in package blobtest;
// Folder keeps blobs as files of this node.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

// Errors of a Store, besides disk.ErrNoSpace and those of the context.
var (
	// ErrNotFound says that there is no such blob.
	ErrNotFound = errors.New("no such blob")
	// ErrDamaged says that what is kept is not what was put. Putting the same
	// content again mends it.
	ErrDamaged = errors.New("blob damaged")
	// ErrRecent says that a blob was put too recently to be deleted.
	ErrRecent = errors.New("blob was put recently")
	// ErrFull says that the store holds as much as it may. It satisfies
	// disk.ErrNoSpace.
	ErrFull = fmt.Errorf("the store holds as much as it may: %w", disk.ErrNoSpace)
	// ErrRef says that a text is not a Ref.
	ErrRef = errors.New("not a blob reference")
)

// Ref names a blob: the SHA-256 of its content.
type Ref [sha256.Size]byte

// RefOf gives the Ref of a content.
func RefOf(content []byte) Ref { return sha256.Sum256(content) }

// String gives r in lower-case hex.
func (r Ref) String() string { return hex.EncodeToString(r[:]) }

// ParseRef reads what String gave. The error satisfies ErrRef.
func ParseRef(text string) (Ref, error) {
	var r Ref
	if n, err := hex.Decode(r[:], []byte(text[:min(len(text), 2*len(r))])); err != nil || n != len(r) || r.String() != text {
		return Ref{}, fmt.Errorf("%w: %.80q", ErrRef, text)
	}
	return r, nil
}

// MarshalText implements encoding.TextMarshaler.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Ref) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRef(string(text))
	return err
}

// Info describes a blob.
type Info struct {
	Ref    Ref
	Stored int64     // bytes that it takes, compressed
	Put    time.Time // when it was last put
}

// Content is what a blob holds, to be read from its beginning.
type Content interface {
	io.ReadCloser
	// Size gives the length of the content in bytes.
	Size() int64
}

// Store keeps blobs. All methods may be called at the same time, for the same
// blob too.
type Store interface {
	// Put keeps a content and returns when it is durable. The content is not
	// changed and not kept. Putting what is there already is no error, makes it
	// durable anew, and counts as putting. Errors satisfy disk.ErrNoSpace, among
	// others.
	Put(ctx context.Context, content []byte) (Ref, error)
	// Open gives a blob. All of it was read and compared with its name before Open
	// returns, so nothing wrong is ever given. Errors satisfy ErrNotFound or
	// ErrDamaged, among others.
	Open(ctx context.Context, ref Ref) (Content, error)
	// Stat describes a blob without reading it. Errors satisfy ErrNotFound, among
	// others.
	Stat(ctx context.Context, ref Ref) (Info, error)
	// Delete removes a blob durably, unless it was put at the given time or later:
	// then the error is ErrRecent. Whoever puts a blob and then records that he
	// needs it takes a bounded time for that. So who wants to remove what nobody
	// needs first notes the time, less that bound; then sees that no record needs
	// the blob; then deletes it with the time he noted. An absent blob gives
	// ErrNotFound.
	Delete(ctx context.Context, ref Ref, before time.Time) error
	// All describes every blob, in the order of their names. What is put or deleted
	// meanwhile may be given or not. The loop ends after an error.
	All(ctx context.Context) iter.Seq2[Info, error]
}

// Read gives a blob's content as a whole. Errors are those of Store.Open, and
// an error when the content has more than limit bytes.
func Read(ctx context.Context, s Store, ref Ref, limit int64) ([]byte, error) {
	c, err := s.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if c.Size() > limit {
		return nil, fmt.Errorf("blob %s has %d bytes, more than %d", ref, c.Size(), limit)
	}
	content := make([]byte, c.Size())
	if _, err := io.ReadFull(c, content); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", ref, err)
	}
	return content, nil
}
