package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// errContent says that the bytes to be put back are not those that were kept.
var errContent = errors.New("what the daemon gives is not what was kept")

// restore puts one copy back. A Backend puts nothing there twice, so this may be
// cut off and done again.
func (w *work) restore() (r job.Result, err error) {
	item := &w.l.Job.Item
	leave, err := w.v.p.room.enter(w.v.soft, item.Bytes)
	if err != nil {
		return r, err
	}
	defer leave()
	raw, err := w.content(item)
	if err != nil {
		return r, err
	}
	var put mailbox.Restored
	err = w.v.at(func(a mailbox.Account) error {
		err := w.step()
		if err == nil {
			put, err = a.Restore(w.v.ctx, mailbox.Return{Raw: raw, Was: item.Copy, Besides: w.l.Job.Besides})
		}
		return err
	})
	if err != nil {
		return r, err
	}
	r = job.Result{Outcome: job.Restored, Folder: put.Copy.Folder, Existed: put.Existed, Placed: put.Copy}
	if put.Copy.Folder != item.Copy.Folder {
		r.Detail = fmt.Sprintf("folder %.80q is gone: it was put into %.80q", item.Copy.Folder, put.Copy.Folder)
	}
	return r, nil
}

// content gives the bytes that were kept.
func (w *work) content(item *job.Kept) ([]byte, error) {
	var raw limited
	err := w.ask(func(ctx context.Context) error {
		raw = limited{left: item.Bytes}
		return w.l.d.Jobs.Content(ctx, w.l.ID, &raw)
	})
	if err != nil {
		return nil, err
	}
	if sum := job.Digest(sha256.Sum256(raw.Bytes())); sum != item.SHA256 {
		return nil, fmt.Errorf("%w: %d bytes with SHA-256 %s instead of %d with %s", errContent, raw.Len(), sum, item.Bytes, item.SHA256)
	}
	return raw.Bytes(), nil
}

// limited is a buffer that takes so many bytes.
type limited struct {
	bytes.Buffer
	left int64
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errContent
	}
	return l.Buffer.Write(p)
}
