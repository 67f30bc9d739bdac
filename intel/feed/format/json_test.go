package format

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// A document that comes byte by byte is walked as encoding/json reads it whole.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e3,"x\"\\\u00e4",null,true],"b":{"c":[]},"":0}`, `[]`, ` {"a" : [ ] , "b":"" } `, `{"a":1`, `{"a":[}`, `"x"`, `{"a":1,}`, `[1]x`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want []string
		valid := json.Valid([]byte(text)) && utf8.ValidString(text) && len(text) < maxName && strings.Count(text, "[")+strings.Count(text, "{") < 64
		whole := strings.TrimSpace(text)
		if valid && strings.HasPrefix(whole, "[") {
			var elements []json.RawMessage
			if err := json.Unmarshal([]byte(whole), &elements); err != nil {
				t.Fatal(err)
			}
			for _, e := range elements {
				want = append(want, string(e))
			}
		}
		var got []string
		d := &document{r: iotest.OneByteReader(strings.NewReader(text)), buf: make([]byte, 7), max: 1 << 16, depth: 64}
		err := walk(d, &got)
		if valid && err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want != nil && !equalValues(got, want) {
			t.Fatalf("%q: %q, want %q", text, got, want)
		}
		// In one piece it is the same.
		var again []string
		d = &document{r: strings.NewReader(text), buf: make([]byte, 32<<10), max: 1 << 16, depth: 64}
		if errAgain := walk(d, &again); (err == nil) != (errAgain == nil) || err == nil && strings.Join(got, "\n") != strings.Join(again, "\n") {
			t.Fatalf("%q: %v, %v", text, err, errAgain)
		}
	})
}

func walk(d *document, got *[]string) error {
	take := func() error {
		raw, err := d.value()
		if err == nil {
			*got = append(*got, string(raw))
		}
		return err
	}
	c, err := d.peek()
	switch {
	case err != nil:
	case c == '[':
		err = d.array(take)
	case c == '{':
		err = d.object(func(string) error { return d.skip() })
	default:
		err = take()
	}
	if err != nil {
		return err
	}
	if _, err = d.peek(); err == io.EOF {
		return nil
	}
	return io.ErrNoProgress
}

func equalValues(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if !bytes.Equal([]byte(got[i]), []byte(want[i])) {
			return false
		}
	}
	return true
}
