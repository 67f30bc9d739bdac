package scan

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestAMessageFileIsReadAsMeant(t *testing.T) {
	const date = " Fri May  1 10:00:00 2026\n"
	for name, c := range map[string]struct {
		in, want, sender string
		more             bool
	}{
		"lines that end in LF":                  {in: "Subject: a\n\nx\n", want: "Subject: a\r\n\r\nx\r\n"},
		"lines that end in CRLF":                {in: "Subject: a\r\n\r\nx\r\n", want: "Subject: a\r\n\r\nx\r\n"},
		"both stay, as they are a trap":         {in: "Subject: a\r\n\r\nx\ny\r\n", want: "Subject: a\r\n\r\nx\ny\r\n"},
		"a line that ends in CRLF among others": {in: "Subject: a\n\nx\r\ny\n", want: "Subject: a\r\n\r\nx\r\ny\r\n"},
		"a mailbox's line":                      {in: "From a@b.example" + date + "Subject: a\n\nx\n", want: "Subject: a\r\n\r\nx\r\n", sender: "a@b.example"},
		"a mailbox's line with a zone":          {in: "From a@b.example Fri May  1 10:00:00 2026 +0200\nSubject: a\n", want: "Subject: a\r\n", sender: "a@b.example"},
		"a mailbox of two": {in: "From a@b.example" + date + "Subject: a\n\nx\n\nFrom c@d.example" + date + "Subject: b\n\ny\n",
			want: "Subject: a\r\n\r\nx\r\n", sender: "a@b.example", more: true},
		"a mailbox with CRLF": {in: "From a@b.example Fri May  1 10:00:00 2026\r\nSubject: a\r\n\r\nx\r\n\r\nFrom c@d.example Fri May  1 10:00:00 2026\r\nSubject: b\r\n",
			want: "Subject: a\r\n\r\nx\r\n", sender: "a@b.example", more: true},
		"a body that begins a line with From":         {in: "Subject: a\n\nFrom c@d.example" + date, want: "Subject: a\r\n\r\nFrom c@d.example Fri May  1 10:00:00 2026\r\n"},
		"a text in a mailbox that only looks like it": {in: "From a@b.example" + date + "Subject: a\n\nFrom the start it went well\n", want: "Subject: a\r\n\r\nFrom the start it went well\r\n", sender: "a@b.example"},
		"a From line without a date is a defect":      {in: "From nobody\nSubject: a\n", want: "From nobody\r\nSubject: a\r\n"},
		"no line end":                                 {in: "Subject: a", want: "Subject: a"},
	} {
		f, err := Read("f", strings.NewReader(c.in), 1000)
		if err != nil || string(f.Raw) != c.want || f.Sender != c.sender || f.More != c.more || f.Cut {
			t.Errorf("%s: %q from %q, more %v, cut %v, %v", name, f.Raw, f.Sender, f.More, f.Cut, err)
		}
	}
	for _, in := range []string{"", "\n", " \r\n\r\n", "From a@b.example" + date} {
		if _, err := Read("f", strings.NewReader(in), 1000); !errors.Is(err, ErrEmpty) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if f, err := Read("f", strings.NewReader("Subject: abc"), 11); err != nil || string(f.Raw) != "Subject: ab" || !f.Cut {
		t.Errorf("%+v %v", f, err)
	}
	if f, err := Read("f", strings.NewReader("Subject: abc"), 12); err != nil || f.Cut {
		t.Errorf("%+v %v", f, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("From a@b Fri May  1 10:00:00 2026\nSubject: a\n\nx\n\nFrom c@d Fri May  1 10:00:00 2026\n\n"))
	f.Add([]byte("From \n"))
	f.Add([]byte("a\r\nb\n\nFrom "))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := Read("f", bytes.NewReader(in), 1<<16)
		if err != nil {
			return
		}
		if got.Cut != (len(in) > 1<<16) {
			t.Error("cut is wrong")
		}
		if len(got.Raw) > 2*len(in) {
			t.Errorf("%d bytes became %d", len(in), len(got.Raw))
		}
		if got.Sender == "" && !bytes.Equal(bytes.ReplaceAll(got.Raw, []byte("\r\n"), []byte("\n")), bytes.ReplaceAll(in[:min(len(in), 1<<16)], []byte("\r\n"), []byte("\n"))) {
			t.Error("content changed")
		}
	})
}
