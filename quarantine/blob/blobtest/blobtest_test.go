package blobtest

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/quarantine/blob"
)

// spoilt is a store that breaks the contract in one way.
type spoilt struct {
	blob.Store
	how string
}

func (s *spoilt) Put(ctx context.Context, content []byte) (blob.Ref, error) {
	switch s.how {
	case "changes the caller's bytes":
		defer clear(content)
	case "names contents as it likes":
		content = append(bytes.Clone(content), 'x')
	case "takes no notice of the context":
		ctx = context.Background()
	case "does not count putting again":
		if info, err := s.Stat(ctx, blob.RefOf(content)); err == nil {
			return info.Ref, nil
		}
	}
	return s.Store.Put(ctx, content)
}

func (s *spoilt) Open(ctx context.Context, ref blob.Ref) (blob.Content, error) {
	c, err := s.Store.Open(ctx, ref)
	if err == nil && s.how == "gives too little" {
		return &short{c, io.LimitReader(c, max(0, c.Size()-1))}, nil
	}
	return c, err
}

type short struct {
	blob.Content
	r io.Reader
}

func (s *short) Read(p []byte) (int, error) { return s.r.Read(p) }

func (s *spoilt) Delete(ctx context.Context, ref blob.Ref, before time.Time) error {
	switch s.how {
	case "deletes what was put recently":
		before = later()
	case "does not delete":
		_, err := s.Stat(ctx, ref)
		return err
	}
	return s.Store.Delete(ctx, ref, before)
}

func (s *spoilt) All(ctx context.Context) iter.Seq2[blob.Info, error] {
	if s.how != "lists in disorder" {
		return s.Store.All(ctx)
	}
	return func(yield func(blob.Info, error) bool) {
		var list []blob.Info
		for info, err := range s.Store.All(ctx) {
			if err != nil {
				yield(info, err)
				return
			}
			list = append(list, info)
		}
		for _, info := range slices.Backward(list) {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func TestTheSuiteFindsEachBreach(t *testing.T) {
	for how, where := range map[string]string{
		"gives too little":               "what is put is given back, byte for byte",
		"names contents as it likes":     "what is put is given back, byte for byte",
		"changes the caller's bytes":     "the caller's bytes stay as they are, and are the caller's",
		"does not count putting again":   "a blob put recently is not deleted",
		"deletes what was put recently":  "a blob put recently is not deleted",
		"does not delete":                "a deleted blob is gone and can be put again",
		"lists in disorder":              "every blob is listed once, in order",
		"takes no notice of the context": "an ended context ends the work",
	} {
		store, err := blob.OpenFolder(blob.Options{FS: faulty.New("/state", 1), Dir: "/state/blobs"})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(checks(), func(c check) bool { return c.name == where })
		if err := checks()[i].run(&spoilt{Store: store, how: how}); err == nil {
			t.Errorf("a store that %s passes", how)
		}
	}
}
