package config

import (
	"errors"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(Default().Show()))
	f.Add([]byte("[milter]\nlisten = [\"unix:/a\", '[::1]:25',\n # c\n \"\"\"x:\\\n1\"\"\"]\nsocket_mode = 0o660\nmax_sessions = 0x_1\n"))
	f.Add([]byte("reinject = { inbound = { address = \"mx:25\", tls = \"starttls\" } }\n\"a.b\".'c' = 1979-05-27T07:32:00Z\n[[x]]\n[x.y]\n"))
	f.Add([]byte("state.min_free = 1_000\nlog.level = \"\\u001b\"\nmilter.idle_timeout = 1e3\n[a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("weir.toml", data)
		if err != nil {
			errs := asErrors(err)
			if len(errs) == 0 {
				t.Fatalf("not a list of errors: %v", err)
			}
			isTOML := toml.Unmarshal(data, new(map[string]any)) == nil
			for _, e := range errs {
				if e.Problem == "" || e.Cure == "" || e.File != "weir.toml" {
					t.Errorf("incomplete: %#v", e)
				}
				if !isTOML && (e.Line < 1 || e.Column < 1) {
					t.Errorf("wrong syntax has no line: %v", e)
				}
				if e.Line == 0 && e.Key == "" {
					t.Errorf("neither line nor key: %v", e)
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("loads but is not valid: %v", err)
		}
		c.Warnings()
		again, err := Parse("elsewhere/weir.toml", []byte(c.Show()))
		if err != nil {
			t.Fatalf("what Show gives does not load: %v\n%s", err, c.Show())
		}
		if live, restart := Changed(c, again); len(live)+len(restart) > 0 {
			t.Errorf("what Show gives differs in %v %v", live, restart)
		}
	})
}

func FuzzDomains(f *testing.F) {
	f.Add([]byte("example.org OK\n.example.net # x\n\nbücher.example\r\n*.x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		domains, err := parseDomains("domains", "mail.local_domains_file", data)
		var errs Errors
		if err != nil && !errors.As(err, &errs) {
			t.Fatal(err)
		}
		for _, e := range errs {
			if e.Line < 1 || e.Column < 1 || e.Cure == "" {
				t.Errorf("incomplete: %#v", e)
			}
		}
		for _, d := range domains {
			var again Domain
			if err := again.UnmarshalText([]byte(d)); err != nil || again != d {
				t.Errorf("%q is not canonical: %q, %v", d, again, err)
			}
		}
	})
}
