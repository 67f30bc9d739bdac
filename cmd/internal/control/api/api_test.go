package api

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

func TestEveryOperationIsDescribedWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Operations() {
		if o.Summary == "" || o.Role == Nobody || o.Input == nil || (o.Output == nil) == (o.Stream == "") {
			t.Errorf("%s is not described whole", o.Name)
		}
		for _, key := range []string{o.Name, o.Method + " " + o.Path} {
			if seen[key] {
				t.Errorf("%s stands twice", key)
			}
			seen[key] = true
		}
		if named, ok := OperationNamed(o.Name); !ok || named.Path != o.Path {
			t.Errorf("%s is not found by its name", o.Name)
		}
		in := reflect.TypeOf(o.Input)
		for i := range in.NumField() {
			f := in.Field(i)
			if f.Tag.Get("doc") == "" && f.Tag.Get("enum") == "" {
				t.Errorf("%s of %s is not described", f.Name, o.Name)
			}
			if f.Type.Kind() == reflect.Int && f.Tag.Get("max") == "" {
				t.Errorf("%s of %s has no bounds", f.Name, o.Name)
			}
			if name := f.Tag.Get("path"); name != "" && !strings.Contains(o.Path, "{"+name+"}") {
				t.Errorf("%s of %s stands in no path", f.Name, o.Name)
			}
		}
	}
}

func TestEveryCodeIsDescribedOnce(t *testing.T) {
	seen := map[Code]bool{}
	for _, c := range Codes() {
		if seen[c.Code] || c.Status < 400 || c.Exit < 1 || c.Exit > 4 || c.Meaning == "" {
			t.Errorf("%+v", c)
		}
		seen[c.Code] = true
	}
	if got := Code("of-a-later-version").Info(); got.Status != 500 || got.Exit != exitFailed {
		t.Errorf("an unknown code: %+v", got)
	}
}

func TestInputsComeThroughAsTheyWereSent(t *testing.T) {
	at := time.Date(2026, 5, 1, 8, 0, 0, 123456789, time.UTC)
	for name, input := range map[string]any{
		OpItems:      ItemQuery{ID: "01", Since: at, Sender: "a+b@x.example", Subject: "ü & = ?", Hash: "00000000", State: "held", Direction: "inbound", Limit: 1000},
		OpItem:       ItemID{ID: "01/..%2f"},
		OpRelease:    Release{ID: "01", Recipients: []string{"a@x.example", "\u202e"}, Reason: "x\ny", Override: true},
		OpDelete:     Delete{ID: "01", Reason: "<>"},
		OpJournal:    JournalQuery{Value: "https://x.example/?a=b&c", As: "url", Until: at},
		OpJournalGet: JournalID{ID: "01"},
		OpEvents:     EventQuery{Entity: "item/*", Last: true, After: "1-2"},
		OpVerify:     Verify{Head: "1:00"},
		OpListTest:   ListTest{Value: "x", In: "subject", Direction: "internal"},
		OpStatus:     None{},

		OpIncidentOpen:       IncidentOpen{Reason: "r", Search: &IncidentSearch{Subject: "ü", Since: at}, Messages: []MessageName{{"a@b", "c@d"}}, DryRun: true},
		OpIncidentDeliveries: IncidentDeliveryQuery{ID: "01", Outcome: "pulled", Waiting: true},
		OpIncidentRestore:    IncidentRestore{ID: "01", Items: []string{"02"}, Reason: "r", Override: true},
		OpJobLease:           Lease{Max: 7, Wait: 30},
		OpJobReport:          Reports{Reports: []Report{{Lease: "01", Result: job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Fate: job.Removed, Body: job.Digest{1}, Copy: mailbox.Copy{Folder: "Ü", Date: at}}}}}}},
		OpUnblock:            Unblock{Value: ".x.example", Reason: "r", Until: at},
	} {
		o, _ := OperationNamed(name)
		target, body, err := o.Encode(input)
		if err != nil {
			t.Fatal(err)
		}
		path, query, _ := strings.Cut(target, "?")
		found, params, _, err := Match(Operations(), o.Method, path)
		if err != nil || found.Name != name {
			t.Errorf("%s came to %s: %v", target, found.Name, err)
			continue
		}
		got := reflect.New(reflect.TypeOf(input))
		if err := found.Decode(params, query, body, got.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), input) {
			t.Errorf("%s: %+v %v", target, got.Elem(), err)
		}
	}
	o, _ := OperationNamed(OpItems)
	if _, _, err := o.Encode(None{}); err == nil {
		t.Error("an operation takes the input of another one")
	}
}

func TestRolesHaveTheirWords(t *testing.T) {
	for r := Nobody; r <= Puller; r++ {
		text, err := json.Marshal(r)
		var back Role
		if err != nil || json.Unmarshal(text, &back) != nil || back != r {
			t.Errorf("%s is read as %s", text, back)
		}
	}
	var r Role
	if err := r.UnmarshalText([]byte("root")); err == nil {
		t.Error("root is a role")
	}
}

func TestTheDocumentSpeaksOfEveryOperationAndError(t *testing.T) {
	text, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Paths      map[string]map[string]struct{ Responses map[string]any }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	for _, o := range Operations() {
		op, ok := d.Paths[Version+o.Path][strings.ToLower(o.Method)]
		if !ok || op.Responses["200"] == nil || op.Responses["403"] == nil {
			t.Errorf("%s is not in the document whole", o.Name)
		}
	}
	// Whatever is referred to is there.
	for _, part := range strings.Split(string(text), `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if d.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
}

// FuzzRequest sends anything at all to every operation: what is taken comes
// through again as it was, and what is refused is an error of the request.
func FuzzRequest(f *testing.F) {
	for _, o := range Operations() {
		f.Add(o.Method, Version+o.Path, "", "")
	}
	f.Add("GET", "/v1/quarantine", "since=2026-05-01T00:00:00Z&limit=7&state=all&subject=%C3%BC", "")
	f.Add("POST", "/v1/quarantine/01A%2Fb/release", "", `{"recipients":["a"],"reason":"r","override":true,"again":false}`)
	f.Add("POST", "/v1/quarantine/%00/delete", "x=1;y", `{"reason":[]}`)
	f.Add("GET", "/v1/journal", "value=%ff&value=b", "{}")
	all := Operations()
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		o, params, _, err := Match(all, method, path)
		if err != nil {
			mustBeTold(t, err, UnknownRoute, BadRequest)
			return
		}
		input := reflect.New(reflect.TypeOf(o.Input))
		if err := o.Decode(params, query, []byte(body), input.Interface()); err != nil {
			mustBeTold(t, err, BadRequest)
			return
		}
		target, again, err := o.Encode(input.Elem().Interface())
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatalf("%q is no target: %v", target, err)
		}
		o2, params, _, err := Match(all, o.Method, u.EscapedPath())
		if err != nil || o2.Name != o.Name {
			t.Fatalf("%q leads to %q: %v", target, o2.Name, err)
		}
		second := reflect.New(reflect.TypeOf(o.Input))
		if err := o.Decode(params, u.RawQuery, again, second.Interface()); err != nil {
			t.Fatalf("%q %q: %v", target, again, err)
		}
		first, _ := json.Marshal(input.Interface())
		last, _ := json.Marshal(second.Interface())
		if string(first) != string(last) {
			t.Fatalf("%s is %s the second time", first, last)
		}
	})
}

func mustBeTold(t *testing.T, err error, codes ...Code) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !slices.Contains(codes, e.Code) || e.Text == "" {
		t.Fatalf("refused with %v", err)
	}
	if text, err := json.Marshal(e); err != nil || strings.Contains(string(text), `\ufffd\ufffd\ufffd\ufffd\ufffd`) && len(text) > 2000 {
		t.Fatalf("the error is no JSON: %v", err)
	}
}
