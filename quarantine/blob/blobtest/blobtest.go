// Package blobtest is the conformance suite of blob.Store: what every store has
// to do, wherever it keeps the bytes. That they survive a power cut is for each
// store to test in its own way.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/quarantine/blob"
)

// Test runs the suite. fresh gives a store that is empty.
func Test(t *testing.T, fresh func(t *testing.T) blob.Store) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(fresh(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

type check struct {
	name string
	run  func(blob.Store) error
}

func checks() []check {
	return []check{
		{"what is put is given back, byte for byte", roundTrip},
		{"what is put twice is kept once", twice},
		{"what is not there is not found", notFound},
		{"a blob put recently is not deleted", recent},
		{"a deleted blob is gone and can be put again", deleteAndPut},
		{"every blob is listed once, in order", list},
		{"a content can be read in pieces, and given up", pieces},
		{"the caller's bytes stay as they are, and are the caller's", bytesAreTheCallers},
		{"an ended context ends the work", endedContext},
		{"many at once get what they put", manyAtOnce},
		{"a put that returns outlives every delete with an earlier time", putAgainstDelete},
	}
}

// contents gives contents of many lengths and sorts.
func contents() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	text := strings.Repeat("Received: from somewhere by somewhere else\r\n", 1000)
	return map[string][]byte{
		"nothing":          {},
		"one byte":         {0},
		"255 bytes":        noise(255),
		"256 bytes":        noise(256),
		"zeros":            make([]byte, 100_000),
		"a short text":     []byte("Subject: hello\r\n\r\nhello\r\n"),
		"a text":           []byte(text),
		"noise":            noise(10_000),
		"a block of noise": noise(128 << 10),
		"one MiB":          noise(1 << 20),
		"a bit more":       noise(1<<20 + 1),
		"a large text":     []byte(strings.Repeat(text, 100)),
	}
}

func put(s blob.Store, content []byte) (blob.Ref, error) {
	ref, err := s.Put(context.Background(), content)
	if err != nil {
		return ref, fmt.Errorf("put: %w", err)
	}
	if ref != blob.RefOf(content) {
		return ref, fmt.Errorf("the name is %s, not the SHA-256 of the content", ref)
	}
	return ref, nil
}

// holds says how a blob differs from what it should be.
func holds(s blob.Store, ref blob.Ref, content []byte) error {
	c, err := s.Open(context.Background(), ref)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if c.Size() != int64(len(content)) {
		return fmt.Errorf("the size is %d, not %d", c.Size(), len(content))
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, content) {
		return fmt.Errorf("%d bytes came back, of %d, and they are the same: %v (%v)", len(got), len(content), bytes.Equal(got, content), err)
	}
	if err := c.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	info, err := s.Stat(context.Background(), ref)
	if err != nil || info.Ref != ref || info.Stored < 0 || info.Put.IsZero() {
		return fmt.Errorf("stat: %+v, %v", info, err)
	}
	return nil
}

func all(s blob.Store) ([]blob.Info, error) {
	var list []blob.Info
	for info, err := range s.All(context.Background()) {
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		list = append(list, info)
	}
	return list, nil
}

func roundTrip(s blob.Store) error {
	for name, content := range contents() {
		ref, err := put(s, content)
		if err == nil {
			err = holds(s, ref, content)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if got, err := blob.Read(context.Background(), s, ref, int64(len(content))); err != nil || !bytes.Equal(got, content) {
			return fmt.Errorf("%s: Read: %v", name, err)
		}
		if _, err := blob.Read(context.Background(), s, ref, int64(len(content))-1); err == nil {
			return fmt.Errorf("%s: Read gave more than its limit", name)
		}
	}
	return nil
}

func twice(s blob.Store) error {
	content := []byte("the same")
	for range 3 {
		ref, err := put(s, content)
		if err != nil {
			return err
		}
		if err := holds(s, ref, content); err != nil {
			return err
		}
	}
	if list, err := all(s); err != nil || len(list) != 1 {
		return fmt.Errorf("%d blobs, %v", len(list), err)
	}
	return nil
}

func notFound(s blob.Store) error {
	ref := blob.RefOf([]byte("never put"))
	_, openErr := s.Open(context.Background(), ref)
	_, statErr := s.Stat(context.Background(), ref)
	deleteErr := s.Delete(context.Background(), ref, time.Now().Add(time.Hour))
	for what, err := range map[string]error{"open": openErr, "stat": statErr, "delete": deleteErr} {
		if !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if list, err := all(s); err != nil || len(list) != 0 {
		return fmt.Errorf("%d blobs, %v", len(list), err)
	}
	return nil
}

func recent(s blob.Store) error {
	content := []byte("fresh")
	ref, err := put(s, content)
	if err != nil {
		return err
	}
	first, err := s.Stat(context.Background(), ref)
	if err != nil {
		return err
	}
	for _, before := range []time.Time{first.Put, first.Put.Add(-time.Hour)} {
		if err := s.Delete(context.Background(), ref, before); !errors.Is(err, blob.ErrRecent) {
			return fmt.Errorf("deleted, or worse: %w", err)
		}
	}
	// Putting it again counts.
	time.Sleep(20 * time.Millisecond)
	if _, err := put(s, content); err != nil {
		return err
	}
	again, err := s.Stat(context.Background(), ref)
	if err != nil || !again.Put.After(first.Put) {
		return fmt.Errorf("put at %v, and again at %v, %v", first.Put, again.Put, err)
	}
	if err := s.Delete(context.Background(), ref, again.Put); !errors.Is(err, blob.ErrRecent) {
		return fmt.Errorf("deleted after it was put again: %w", err)
	}
	return holds(s, ref, content)
}

// later is a time before which everything was put.
func later() time.Time { return time.Now().Add(time.Hour) }

func deleteAndPut(s blob.Store) error {
	content, other := []byte("to be deleted"), []byte("to be kept")
	keep, err := put(s, other)
	if err != nil {
		return err
	}
	for range 2 {
		ref, err := put(s, content)
		if err != nil {
			return err
		}
		if err := holds(s, ref, content); err != nil {
			return err
		}
		if err := s.Delete(context.Background(), ref, later()); err != nil {
			return err
		}
		if _, err := s.Open(context.Background(), ref); !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("a deleted blob: %w", err)
		}
		if list, err := all(s); err != nil || len(list) != 1 || list[0].Ref != keep {
			return fmt.Errorf("left: %v, %v", list, err)
		}
	}
	return holds(s, keep, other)
}

func list(s blob.Store) error {
	want := map[blob.Ref]bool{}
	for i := range 100 {
		ref, err := put(s, fmt.Appendf(nil, "blob %d", i))
		if err != nil {
			return err
		}
		want[ref] = true
	}
	got, err := all(s)
	if err != nil {
		return err
	}
	if !slices.IsSortedFunc(got, func(a, b blob.Info) int { return bytes.Compare(a.Ref[:], b.Ref[:]) }) {
		return errors.New("not in order")
	}
	for _, info := range got {
		if !want[info.Ref] {
			return fmt.Errorf("%s was not put, or is there twice", info.Ref)
		}
		delete(want, info.Ref)
	}
	if len(want) > 0 {
		return fmt.Errorf("%d are missing", len(want))
	}
	for _, err := range s.All(context.Background()) {
		return err // leaving early is fine
	}
	return nil
}

func pieces(s blob.Store) error {
	for name, content := range contents() {
		ref, err := put(s, content)
		if err != nil {
			return err
		}
		c, err := s.Open(context.Background(), ref)
		if err != nil {
			return err
		}
		var got []byte
		buf := make([]byte, 1013)
		for err == nil && len(got) < 5*len(buf) {
			var n int
			n, err = c.Read(buf)
			got = append(got, buf[:n]...)
		}
		if err != nil && !errors.Is(err, io.EOF) || !bytes.HasPrefix(content, got) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := c.Close(); err != nil {
			return fmt.Errorf("%s: close in the middle: %w", name, err)
		}
		if err := holds(s, ref, content); err != nil {
			return fmt.Errorf("%s: after that: %w", name, err)
		}
	}
	return nil
}

func bytesAreTheCallers(s blob.Store) error {
	content := []byte(strings.Repeat("mine ", 1000))
	before := bytes.Clone(content)
	ref, err := put(s, content)
	if err != nil {
		return err
	}
	if !bytes.Equal(content, before) {
		return errors.New("the bytes were changed by Put")
	}
	clear(content)
	return holds(s, ref, before)
}

func endedContext(s blob.Store) error {
	content := []byte("x")
	ref, err := put(s, content)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	_, putErr := s.Put(ctx, []byte("y"))
	_, openErr := s.Open(ctx, ref)
	_, statErr := s.Stat(ctx, ref)
	errs := map[string]error{"put": putErr, "open": openErr, "stat": statErr, "delete": s.Delete(ctx, ref, later())}
	for _, err := range s.All(ctx) {
		errs["list"] = err
	}
	for _, what := range []string{"put", "open", "stat", "delete", "list"} {
		if !errors.Is(errs[what], why) {
			return fmt.Errorf("%s: %w", what, errs[what])
		}
	}
	if list, err := all(s); err != nil || len(list) != 1 {
		return fmt.Errorf("%d blobs, %v", len(list), err)
	}
	return holds(s, ref, content)
}

// together runs f at the same time n times.
func together(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func manyAtOnce(s blob.Store) error {
	list := slices.Collect(func(yield func([]byte) bool) {
		for _, c := range contents() {
			if !yield(c) {
				return
			}
		}
	})
	return together(8, func(i int) error {
		for n := range 10 {
			content := list[(i+n)%len(list)]
			ref, err := put(s, content)
			if err != nil {
				return err
			}
			if err := holds(s, ref, content); err != nil {
				return err
			}
		}
		return nil
	})
}

func putAgainstDelete(s blob.Store) error {
	content := []byte("wanted and unwanted")
	ref := blob.RefOf(content)
	done := make(chan struct{})
	deleted := make(chan error, 1)
	go func() {
		for {
			select {
			case <-done:
				deleted <- nil
				return
			default:
			}
			// What was put before this moment is not needed any more.
			err := s.Delete(context.Background(), ref, time.Now().Add(-30*time.Millisecond))
			if err != nil && !errors.Is(err, blob.ErrNotFound) && !errors.Is(err, blob.ErrRecent) {
				deleted <- err
				return
			}
		}
	}()
	err := together(4, func(int) error {
		for range 20 {
			began := time.Now()
			if _, err := put(s, content); err != nil {
				return err
			}
			if err := holds(s, ref, content); err != nil && time.Since(began) < 20*time.Millisecond {
				return fmt.Errorf("just put: %w", err)
			}
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	})
	close(done)
	return errors.Join(err, <-deleted)
}
