package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmail/weir/filter/message/charset"
	"github.com/weirmail/weir/filter/message/transfer"
)

// samples gives the folder with messages that others made, which lies beside
// the repository where there is one.
func samples(t testing.TB, folder string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the package")
		}
	}
	path := filepath.Join(dir, "..", "shared", "samples", folder)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the samples are not there: %v", err)
	}
	return path
}

// jsonLines decodes each line of a file.
func jsonLines[T any](t testing.TB, path string) []T {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for line := range bytes.Lines(data) {
		var one T
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// leafContent decodes a leaf of the MIME tree; false for one inside of encoded
// content.
func leafContent(raw []byte, p *Part) ([]byte, bool) {
	if p.end == 0 {
		return nil, false
	}
	out, _ := transfer.Append(nil, p.encoding, raw[p.start:p.end])
	return out, true
}

// differences gives how our reading of a sample may differ from another
// program's: one line of reason each.
type differences map[string]string

// check reports the differences that are not known, and the known ones that
// are none.
func (d differences) check(t *testing.T, found map[string][]string) {
	t.Helper()
	for id, what := range found {
		if d[id] == "" {
			t.Errorf("%s: %s", id, strings.Join(what, "\n\t"))
		}
	}
	for id := range d {
		if found[id] == nil {
			t.Errorf("%s: no longer differs", id)
		}
	}
}

func TestMime4jFindsNothingThatIsNotFoundHere(t *testing.T) {
	known := differences{
		"testmsgs/malformedHeader-noheader.msg":             "text without a header is shown, not taken for a header without fields",
		"testmsgs/malformedHeaderStartsBody-nocrlfcrlf.msg": "fields follow the bad line, so that it is in the header; links in it are found raw",
		"testmsgs/malformedHeaderStartsBody-noheader.msg":   "the body is all of the text, not all but its first line",
		"testmsgs/missing-inner-boundary.msg":               "a multipart without parts is shown as text",
		"mimetools-testmsgs/frag.msg":                       "base64 that lacks its padding is read to the end, as Thunderbird does",
		"mimetools-testmsgs/multi-frag.msg":                 "base64 that lacks its padding is read to the end, as Thunderbird does",
	}
	dir := samples(t, "mime")
	type body struct {
		Part   string `json:"part"`
		SHA256 string `json:"sha256"`
		LF     string `json:"sha256_lf"`
	}
	type sample struct {
		ID     string `json:"id"`
		Bodies []body `json:"leaf_bodies"`
	}
	agreed, total := 0, 0
	found := map[string][]string{}
	for _, s := range jsonLines[sample](t, filepath.Join(dir, "mime4j_bodies.jsonl")) {
		raw, err := os.ReadFile(filepath.Join(dir, s.ID))
		if err != nil {
			t.Fatal(err)
		}
		m := Parse(raw, Options{})
		have := map[string]bool{}
		for i := range m.Parts {
			p := &m.Parts[i]
			have[hex.EncodeToString(p.SHA256[:])] = true
			have[hex.EncodeToString(p.Fingerprint[:])] = true
		}
		for _, b := range s.Bodies {
			total++
			if have[b.SHA256] || have[b.LF] {
				agreed++
			} else {
				found[s.ID] = append(found[s.ID], "part "+b.Part+" is not among ours: "+describe(m))
			}
		}
	}
	known.check(t, found)
	t.Logf("%d of %d bodies are the same", agreed, total)
}

// describe gives the leaves of a message for people.
func describe(m *Message) string {
	var b strings.Builder
	for i := range m.Parts {
		if p := &m.Parts[i]; !p.Container {
			fmt.Fprintf(&b, "%s %s %d bytes; ", p.Path, p.Type, p.Size)
		}
	}
	return b.String()
}

// stalwartMessage is a message as Stalwart's parser reads it.
type stalwartMessage struct {
	Parts []struct {
		Headers []struct {
			Name  any `json:"name"`
			Value any `json:"value"`
		} `json:"headers"`
		Body any `json:"body"`
	} `json:"parts"`
}

// leaves calls yield for each leaf: its text, or its bytes.
func (sm *stalwartMessage) leaves(t *testing.T, yield func(kind string, content []byte)) {
	for _, p := range sm.Parts {
		body, ok := p.Body.(map[string]any)
		if !ok {
			t.Fatalf("body %v", p.Body)
		}
		for kind, v := range body {
			switch kind {
			case "Text", "Html":
				yield(kind, []byte(v.(string)))
			case "Binary", "InlineBinary":
				var b []byte
				for _, n := range v.([]any) {
					b = append(b, byte(n.(float64)))
				}
				yield(kind, b)
			case "Message":
				again, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				var inner stalwartMessage
				if err := json.Unmarshal(again, &inner); err != nil {
					t.Fatal(err)
				}
				inner.leaves(t, yield)
			}
		}
	}
}

// names lists the addresses in a header field.
func stalwartAddresses(v any) []string {
	var all []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			if _, ok := v["address"]; ok {
				name, _ := v["name"].(string)
				address, _ := v["address"].(string)
				all = append(all, name+" <"+address+">")
				return
			}
			for _, key := range []string{"Address", "List", "Group", "addresses"} {
				if one, ok := v[key]; ok {
					walk(one)
				}
			}
		}
	}
	walk(v)
	return all
}

func TestStalwartReadsMessagesAlike(t *testing.T) {
	known := differences{
		"thirdparty/002.eml": "base64 that can hardly be any is decoded all the same",
		"thirdparty/005.eml": "a delimiter begins a line",
		"rfc/000.eml":        "base64 that can hardly be any is decoded all the same",
		"malformed/009.eml":  "a delimiter of the outer multipart ends the inner one",
		"malformed/011.eml":  "a delimiter of the outer multipart ends the inner one",
		"malformed/012.eml":  "a delimiter of the outer multipart ends the inner one",
		"malformed/016.eml":  "a delimiter of the outer multipart ends the inner ones",
	}
	dir := samples(t, "mime/stalwart")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.eml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages: %v", err)
	}
	found := map[string][]string{}
	leaves, agreed := 0, 0
	plain := func(b []byte) string {
		return strings.Trim(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
	}
	for _, file := range files {
		id, _ := filepath.Rel(dir, file)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var want stalwartMessage
		data, err := os.ReadFile(strings.TrimSuffix(file, ".eml") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		m := Parse(raw, Options{})
		have := map[string]bool{}
		for i := range m.Parts {
			p := &m.Parts[i]
			have[hex.EncodeToString(p.SHA256[:])] = true
			if content, ok := leafContent(raw, p); ok {
				text, _ := charset.ToUTF8(p.Charset, content)
				have[plain(text)] = true
				have[plain(content)] = true
			}
		}
		want.leaves(t, func(kind string, content []byte) {
			leaves++
			sum := sha256.Sum256(content)
			crlf := sha256.Sum256(bytes.ReplaceAll(content, []byte("\n"), []byte("\r\n")))
			if have[plain(content)] || have[hex.EncodeToString(sum[:])] || have[hex.EncodeToString(crlf[:])] {
				agreed++
				return
			}
			found[id] = append(found[id], fmt.Sprintf("%s %.100q is not among ours: %s", kind, content, describe(m)))
		})
		for _, h := range want.Parts[0].Headers {
			name, _ := h.Name.(string)
			switch name {
			case "subject":
				v, _ := h.Value.(map[string]any)
				if text, _ := v["Text"].(string); m.Subject() != strings.TrimSpace(text) {
					found[id] = append(found[id], fmt.Sprintf("subject %q, ours %q", text, m.Subject()))
				}
			case "from", "to", "cc":
				var ours []string
				for _, a := range m.Header.Addresses(name, 0) {
					ours = append(ours, a.Name+" <"+a.Raw+">")
				}
				if want := stalwartAddresses(h.Value); strings.Join(want, "|") != strings.Join(ours, "|") {
					found[id] = append(found[id], fmt.Sprintf("%s %q, ours %q", name, want, ours))
				}
			}
		}
	}
	known.check(t, found)
	t.Logf("%d of %d leaves are the same", agreed, leaves)
}
