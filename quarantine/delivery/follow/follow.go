// Package follow reads logs as they grow: a file through its rotations, the
// journal of systemd, or what syslog daemons of other hosts send. It gives lines in batches, each with the position behind
// it. Who keeps that position together with what it made of the lines loses none
// of them and takes none twice, however it ends.
//
// It knows nothing of what the lines say.
package follow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Line is one line, or one entry of systemd's journal.
type Line struct {
	// Text is the whole line without its end or, of the journal, the message.
	Text []byte
	// Program and Time are the journal's; of a file they stand in the text.
	Program []byte
	Time    time.Time
}

// Batch is what was read at once. Its lines are valid until Emit returns.
type Batch struct {
	Lines []Line
	// After is the position behind the lines, for Run to go on from. It is opaque,
	// 2 KiB at most.
	After []byte
	// AsOf is a time that no line is younger than: when the file was written to
	// last, or now.
	AsOf time.Time
	// TooLong counts lines beyond MaxLine, which were left out.
	TooLong int
	// Gap is set when what was read last is nowhere to be found, so that lines may
	// be missing before these: it says where reading goes on.
	Gap string
}

// Emit takes a batch. Once it returns nil the batch will not come again. An error
// ends Run, which gives it back.
type Emit func(Batch) error

// Source is a log that is followed. Run reads from a position on, nil for the
// beginning, until the context ends, when it gives nil, or the log cannot be
// read.
type Source interface {
	// Name tells the source as it was configured.
	Name() string
	Run(ctx context.Context, after []byte, emit Emit) error
}

// Bounds on what is read.
const (
	MaxLine = 16 << 10 // bytes of a line
)

// The words that begin a source.
const (
	filePrefix    = "file:"
	journalPrefix = "journald:"
	syslogPrefix  = "syslog:"
)

// Parse reads a source as it is configured: "file:/var/log/mail.log", "journald:"
// for this host's journal, "journald:/folder" for one in a folder, or
// "syslog:tcp:ADDRESS:PORT" (tls, udp) for what other hosts send. Of the options
// all but network and address count.
func Parse(text string, o SyslogOptions) (Source, error) {
	switch {
	case strings.HasPrefix(text, filePrefix+"/"):
		return NewFile(FileOptions{Path: text[len(filePrefix):]})
	case text == journalPrefix, strings.HasPrefix(text, journalPrefix+"/"):
		return NewJournal(JournalOptions{Dir: text[len(journalPrefix):]})
	case strings.HasPrefix(text, syslogPrefix):
		return parseSyslog(text[len(syslogPrefix):], o)
	}
	return nil, fmt.Errorf("%q is neither file:/PATH, nor journald: with or without a folder, nor syslog:NETWORK:ADDRESS:PORT", text)
}

var errNoPath = errors.New("follow: FileOptions.Path is missing")

// sleep waits, and reports whether the context still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
