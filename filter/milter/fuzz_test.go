package milter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
)

const (
	fuzzMaxBytes = 5000
	fuzzMaxRcpts = 5
)

// FuzzSession sends packets in any order, and bytes that are no packets, and
// compares what the handler was given with what a plain model of the protocol
// makes of it. No session may hang, panic, keep a buffer or keep more than the
// limits of a message.
func FuzzSession(f *testing.F) {
	f.Add([]byte("M<a>\x00|R<b>\x00|LA\x00 b\x00|N|Bx\r\n|E"), uint16(0), false)
	f.Add([]byte("Ch\x004\x00\x19192.0.2.1\x00|Hx\x00|DMi\x00ID\x00|M<a>\x00|R<b>\x00|A|M<>\x00|R<c>\x00|E|A|A|M<d>\x00|E|Q"), uint16(3), true)
	f.Add([]byte("M<a>\x00|R<b>\x00|LA\x00 b\x00|DMi\x00ID\x00|M<c>\x00|Ey|E|T|U|K|M\x00|B1|B2|H\x00|E"), uint16(1), false)
	f.Add([]byte("M<a>\x00|R1|R2|R3|R4|R5|R6|N|N|B|L|E"), uint16(9), true)
	f.Add([]byte("M<a>\x00|L\x00\n\x00|O12345678901|?|\x00"), uint16(2), true)
	f.Fuzz(func(t *testing.T, script []byte, size uint16, old bool) {
		if len(script) > 50_000 {
			return // nothing new, only slower
		}
		var stream []byte
		var want []call
		m := model{spaced: !old}
		alive := true
		for _, frame := range bytes.Split(script, []byte("|")) {
			stream = binary.BigEndian.AppendUint32(stream, uint32(len(frame)))
			stream = append(stream, frame...)
			if len(frame) == 0 {
				alive = false
			}
			if !alive {
				continue
			}
			var got *call
			if got, alive = m.take(frame[0], frame[1:]); got != nil {
				want = append(want, *got)
			}
		}

		reg := prometheus.NewRegistry()
		ln := newPipes()
		s := serveOn(t, ln, func(o *milter.Options) {
			o.Registerer, o.MaxMessageBytes, o.MaxRecipients = reg, fuzzMaxBytes, fuzzMaxRcpts
		})
		opts := miltertest.Options{}
		if old {
			opts.Offer = miltertest.Version2()
		}
		c, err := miltertest.New(ln.dial(), opts)
		if err != nil {
			t.Fatal(err)
		}
		drained := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, c.Conn())
			close(drained)
		}()
		_ = c.Conn().SetWriteDeadline(time.Now().Add(20 * time.Second))
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			if _, err := c.Conn().Write(rest[:n]); err != nil {
				break // it has hung up, as it should on a broken packet
			}
			rest = rest[n:]
		}
		_ = c.Conn().Close()
		<-drained
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Fatalf("it hangs: %v", err)
		}
		var got []call
		for _, c := range s.take() {
			e := c.envelope
			call := call{from: e.From.Raw, raw: c.raw, size: c.size, tooLarge: c.tooLarge}
			for _, to := range e.To {
				call.to = append(call.to, to.Raw)
			}
			got = append(got, call)
		}
		if !slices.EqualFunc(got, want, call.equal) {
			t.Errorf("the handler saw\n%+v, want\n%+v", got, want)
		}
		if n := gather(t, reg)["errors_total panic"]; n != 0 {
			t.Errorf("%v panics", n)
		}
	})
}

// call is what a handler is to be given.
type call struct {
	from     string
	to       []string
	raw      string
	size     int64
	tooLarge bool
}

func (a call) equal(b call) bool {
	return a.from == b.from && slices.Equal(a.to, b.to) && a.raw == b.raw && a.size == b.size && a.tooLarge == b.tooLarge
}

// model is the protocol in its plainest form.
type model struct {
	spaced bool
	open   bool
	header bool // still
	call   call
}

// take gives the call that a packet leads to, and whether the session goes on.
func (m *model) take(code byte, data []byte) (*call, bool) {
	text := string(data)
	first, rest, terminated := strings.Cut(text, "\x00")
	switch code {
	case 'D':
		if strings.HasPrefix(text, "M") {
			m.open = false
		}
	case 'C':
		m.open = false
		if !terminated || rest == "" || (rest[0] == '4' || rest[0] == '6') && len(rest) < 3 {
			return nil, false
		}
	case 'H', 'A', 'K':
		m.open = false
	case 'M':
		*m = model{spaced: m.spaced, open: true, header: true, call: call{from: first}}
	case 'R':
		m.call.to = append(m.call.to, first)
	case 'L':
		if !terminated {
			return nil, false
		}
		value, _, _ := strings.Cut(rest, "\x00")
		if !m.spaced && value != "" && value[0] != '\n' && value[0] != '\t' {
			value = " " + value
		}
		m.call.raw += first + ":" + strings.ReplaceAll(value, "\n", "\r\n") + "\r\n"
	case 'N', 'B', 'E':
		if m.header {
			m.call.raw += "\r\n"
			m.header = false
		}
		if code != 'N' {
			m.call.raw += text
		}
		if code != 'E' || !m.open {
			break
		}
		m.open = false
		if len(m.call.to) > fuzzMaxRcpts {
			break // answered without the handler
		}
		done := m.call
		done.size = int64(len(done.raw))
		if done.size > fuzzMaxBytes {
			done.raw, done.tooLarge = done.raw[:fuzzMaxBytes], true
		}
		return &done, true
	case 'T', 'U':
	default: // Q, O and what there is no such thing as
		return nil, false
	}
	return nil, true
}

// FuzzStream sends anything at all from the first byte on.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff\x00\x00\x00\x05M<>\x00\x00\x00\x00\x00\x01E"))
	f.Add([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x02\x00\x00\x00\x3f\x00\x00\x00\x7f\x00\x00\x00\x01Q"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		reg := prometheus.NewRegistry()
		ln := newPipes()
		s := serveOn(t, ln, func(o *milter.Options) { o.Registerer, o.MaxMessageBytes = reg, fuzzMaxBytes })
		conn := ln.dial()
		drained := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			close(drained)
		}()
		_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
		_, _ = conn.Write(stream)
		_ = conn.Close()
		<-drained
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Fatalf("it hangs: %v", err)
		}
		for _, c := range s.take() {
			if len(c.raw) > fuzzMaxBytes {
				t.Errorf("%d bytes were kept", len(c.raw))
			}
		}
		if n := gather(t, reg)["errors_total panic"]; n != 0 {
			t.Errorf("%v panics", n)
		}
	})
}
