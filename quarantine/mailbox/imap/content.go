package imap

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// listBatch is how many messages are listed by one command.
const listBatch = 2000

// candidate is a message that may have the content looked for.
type candidate struct {
	folder   int
	validity uint32
	uid      imap.UID
	size     int64
	distance time.Duration
}

// byContent reads the messages of all folders whose size allows it, each once for
// all targets, those first that came when one of them did.
func (f *finder) byContent(ctx context.Context, contents *mailbox.Contents) {
	var all []candidate
	for i, folder := range f.folders {
		if folder.state.empty() {
			continue
		}
		found, err := f.candidates(ctx, i, contents)
		if err != nil && !f.fail(err) {
			return
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, func(x, y candidate) int { return cmp.Compare(x.distance, y.distance) })
	for _, at := range all {
		copies, err := f.holds(ctx, at, contents)
		if err != nil && !f.fail(err) {
			return
		}
		for _, c := range copies {
			if !f.give(c) {
				return
			}
		}
	}
}

// candidates lists the messages of a folder that can have the content.
func (f *finder) candidates(ctx context.Context, i int, contents *mailbox.Contents) ([]candidate, error) {
	name := f.folders[i].name
	if err := f.open(ctx, name, false); err != nil {
		return nil, err
	}
	var all []candidate
	messages := uint64(f.messages)
	for first := uint64(1); first <= messages; first += listBatch {
		var set imap.SeqSet
		set.AddRange(uint32(first), uint32(min(messages, first+listBatch-1)))
		err := f.do(ctx, 0, func() error {
			list, err := f.client.Fetch(set, &imap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true}).Collect()
			for _, b := range list {
				if b.UID != 0 && b.RFC822Size <= f.o.MaxBytes && contents.Plausible(b.RFC822Size) {
					all = append(all, candidate{i, f.validity, b.UID, b.RFC822Size, contents.Distance(b.InternalDate)})
				}
			}
			return err
		})
		if err != nil {
			return all, fmt.Errorf("list folder %.80q: %w", name, err)
		}
	}
	return all, nil
}

// holds describes a candidate for every target whose content it has. One that is
// gone meanwhile has none.
func (f *finder) holds(ctx context.Context, which candidate, contents *mailbox.Contents) ([]mailbox.Found, error) {
	folder := f.folders[which.folder]
	raw, err := f.read(ctx, mailbox.Copy{Folder: folder.name, ID: makeID(which.validity, which.uid), Size: which.size})
	if err != nil {
		return nil, ignoreGone(err)
	}
	held := contents.Held(f.parser, raw)
	if len(held) == 0 {
		return nil, nil
	}
	var all []mailbox.Found
	for c, err := range f.describe(ctx, at{folder: folder.name}, which.validity, []imap.UID{which.uid}) {
		if err != nil {
			return nil, err
		}
		c.Role, c.By = folder.role, mailbox.ByContent
		for _, target := range held {
			all = append(all, mailbox.Found{Target: target, Copy: c})
		}
	}
	return all, nil
}
