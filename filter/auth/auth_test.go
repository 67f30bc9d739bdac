package auth

import (
	"reflect"
	"strings"
	"testing"
)

func TestOnlyTheTrustedMilterIsBelieved(t *testing.T) {
	cases := []struct {
		name   string
		fields []string
		want   Results
	}{
		{"all methods", []string{"mx.example; spf=pass smtp.mailfrom=a@b.example; dkim=pass header.d=B.example header.s=x; dkim=fail reason=\"bad body\" header.i=@c.example; dmarc=fail (p=reject) header.from=d.example; arc=none"},
			Results{Present: true, SPF: Result{Value: "pass", Domain: "b.example"}, DMARC: Result{Value: "fail", Domain: "d.example"}, ARC: Result{Value: "none"},
				DKIM: []Result{{Value: "pass", Domain: "b.example"}, {Value: "fail", Domain: "c.example"}}}},
		{"another name", []string{"evil.example; dmarc=pass header.from=bank.example"}, Results{}},
		{"case of the name", []string{"MX.Example; spf=none"}, Results{Present: true, SPF: Result{Value: "none"}}},
		{"version after the name", []string{"mx.example 1; spf=none"}, Results{Present: true, SPF: Result{Value: "none"}}},
		{"nothing done", []string{"mx.example; none"}, Results{Present: true}},
		{"two milters, latest on top", []string{"mx.example; dmarc=fail", "mx.example; spf=pass; dmarc=pass"},
			Results{Present: true, SPF: Result{Value: "pass"}, DMARC: Result{Value: "fail"}}},
		{"a sender's text in a comment", []string{"mx.example; spf=fail (they said; dmarc=pass header.from=x; (nested;) \\) dkim=pass) smtp.mailfrom=a@evil.example"},
			Results{Present: true, SPF: Result{Value: "fail", Domain: "evil.example"}}},
		{"a sender's text in a quoted string", []string{`mx.example; spf=fail smtp.mailfrom="x; dmarc=pass y"@evil.example`},
			Results{Present: true, SPF: Result{Value: "fail", Domain: "evil.example"}}},
		{"a comment that does not end", []string{"mx.example; spf=fail (oops; dmarc=pass"}, Results{Present: true, SPF: Result{Value: "fail"}}},
		{"a fault after the first result", []string{"mx.example; spf=pass; nonsense; dmarc=pass"}, Results{Present: true, SPF: Result{Value: "pass"}}},
		{"the name in a comment", []string{"evil.example (mx.example); dmarc=pass"}, Results{}},
		{"too long", []string{"mx.example; dmarc=pass" + strings.Repeat(" ", maxFieldBytes)}, Results{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := FromFields(c.fields, "mx.example"); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
	if got := FromFields([]string{"; dmarc=pass"}, ""); got.Present {
		t.Error("an empty authserv-id was believed")
	}
}

func FuzzFromFields(f *testing.F) {
	f.Add("mx.example; spf=pass smtp.mailfrom=\"a;b\"@c (x(y)z); dkim=fail")
	f.Fuzz(func(t *testing.T, value string) {
		r := FromFields([]string{value}, "mx.example")
		if !r.Present && (r.SPF.Value != "" || len(r.DKIM) > 0) {
			t.Fatal("results without a trusted field")
		}
		// A comment can never add a result.
		commented := FromFields([]string{"mx.example; (" + strings.NewReplacer("(", "", ")", "", "\\", "").Replace(value) + ")"}, "mx.example")
		if commented.SPF.Value != "" || commented.DMARC.Value != "" || len(commented.DKIM) > 0 {
			t.Fatal("a comment spoke")
		}
	})
}
