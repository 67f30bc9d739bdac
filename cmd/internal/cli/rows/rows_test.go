package rows

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestRowsAreReadFromWhatPeopleHave(t *testing.T) {
	one := []Row{{2, "a@x.example", "alice@example.org"}}
	for name, tt := range map[string]struct {
		text string
		want []Row
	}{
		"headings":                 {"Message-ID,Recipient\n<a@x.example>,alice@example.org\n", one},
		"other spellings":          {"rcpt_to;MESSAGE_ID;Subject\nalice@example.org;a@x.example;hi; there\n", one},
		"of Exchange":              {"\"Received\",\"SenderAddress\",\"RecipientAddress\",\"Internet Message ID\"\n\"1\",\"s@x\",\"alice@example.org\",\"<a@x.example>\"\n", one},
		"a byte order mark, CRLF":  {"\xef\xbb\xbfmessage id\tto\r\n<a@x.example>\talice@example.org\r\n", one},
		"quotes":                   {"subject,message-id,to\n\"hello, \"\"you\"\"\nthere\",<a@x.example>,\"Alice, A. <alice@example.org>\"\n", nil},
		"a name before":            {"message-id,to\n<a@x.example>,Alice <alice@example.org>\n", one},
		"lines of CR alone":        {"message-id,to\r<a@x.example>,alice@example.org\r", one},
		"no headings":              {"<a@x.example>,alice@example.org\nb@x.example\n", []Row{{1, "a@x.example", "alice@example.org"}, {2, "b@x.example", ""}}},
		"white space":              {"message_id , to\n\n  <a@x.example> , alice@example.org \n,,\n", []Row{{3, "a@x.example", "alice@example.org"}}},
		"several recipients":       {"message_id,recipients\na@x.example,alice@example.org; bob@example.org\n", []Row{{2, "a@x.example", "alice@example.org"}, {2, "a@x.example", "bob@example.org"}}},
		"no recipient":             {"subject,message_id\nx,a@x.example\n", []Row{{2, "a@x.example", ""}}},
		"an empty recipient":       {"message_id,to\na@x.example,\n", []Row{{2, "a@x.example", ""}}},
		"a row that is too short":  {"subject,message_id,to\nx,a@x.example\n", []Row{{2, "a@x.example", ""}}},
		"as a spreadsheet escapes": {"message_id\n'-a@x.example\n", []Row{{2, "-a@x.example", ""}}},
	} {
		rows, bad, err := Read(strings.NewReader(tt.text))
		if tt.want == nil {
			if len(bad) != 1 || bad[0].Line != 2 {
				t.Errorf("%s: %v %v", name, bad, err)
			}
			continue
		}
		if err != nil || len(bad) > 0 || !reflect.DeepEqual(rows, tt.want) {
			t.Errorf("%s: %v %v %v", name, rows, bad, err)
		}
	}
}

func TestABadRowIsNamedWithItsLineAndTheOthersAreRead(t *testing.T) {
	rows, bad, err := Read(strings.NewReader("message_id,to\n<a@x.example>,alice@example.org\n,bob@example.org\n<b@x.example>,bob\n<c @x.example>,\n\"x\"y,z\n<d@x.example>,dave@example.org\n" + strings.Repeat("i", 999) + ",\n"))
	if err != nil || len(rows) != 2 || rows[1] != (Row{7, "d@x.example", "dave@example.org"}) {
		t.Errorf("%v %v", rows, err)
	}
	var got []string
	for i := range bad {
		got = append(got, bad[i].Error())
	}
	for i, want := range []string{"line 3: has no Message-ID", `line 4: "bob" is not an address`, `line 5: "<c @x.example>" has white space`, "line 6: is not CSV", "line 8: "} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) || !strings.Contains(got[i], "; ") {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

func TestWhatIsNoListOfMessagesIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "names no message",
		"\n \n":                            "names no message",
		"message_id,to\n":                  "names no message",
		"subject,to\nx,y@z.example\n":      "no column is called Message-ID",
		"message_id,Message-ID\na@x,b@x\n": "two columns",
		"\xff\xfem\x00e\x00":               "UTF-16",
		"PK\x03\x04rest":                   "workbook",
		"message_id\na\x00@x\n":            "NUL",
		"message_id\n" + strings.Repeat("a@x.example\n", MaxRows+1): "more than 50000 rows",
	} {
		if _, _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
	if _, _, err := Read(io.LimitReader(endless{}, MaxBytes+10)); err == nil || !strings.Contains(err.Error(), "split it") {
		t.Errorf("got %v", err)
	}
	if _, _, err := Read(broken{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzRead(f *testing.F) {
	for _, text := range []string{"message_id,to\n<a@x>,b@y\n", "a;b\n\"\n", "\xef\xbb\xbfMessage-ID\r\nx\r\n", "<a@b>\tc@d;e@f\r", "'=x,'"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		rows, bad, _ := Read(strings.NewReader(string(content)))
		for _, r := range rows {
			if r.MessageID == "" || r.Line < 1 || len(r.MessageID) > maxID || strings.ContainsAny(r.MessageID, "<> \n\x00") || r.Recipient != "" && !strings.Contains(r.Recipient, "@") {
				t.Fatalf("%+v", r)
			}
		}
		for i := range bad {
			if bad[i].Line < 1 || bad[i].Reason == "" || bad[i].Cure == "" {
				t.Fatalf("%+v", bad[i])
			}
		}
	})
}
