package list

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/weirmail/weir/intel"
)

var block = Options{File: "block/local.txt", Disposition: intel.Block, Source: "list:block/local.txt"}

func readAll(text string, o Options) (entries []Entry, problems []string) {
	for e, err := range Read(strings.NewReader(text), o) {
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		entries = append(entries, e)
	}
	return entries, problems
}

func TestFormSaysWhatAnEntryIs(t *testing.T) {
	for _, c := range []struct {
		text string
		kind intel.Kind
		form intel.Form
		want string
	}{
		{"evil.example", intel.KindDomain, intel.FormExact, "evil.example"},
		{"Evil.Example.", intel.KindDomain, intel.FormExact, "evil.example"},
		{"_dmarc.evil.example", intel.KindDomain, intel.FormExact, "_dmarc.evil.example"},
		{"bücher.example", intel.KindDomain, intel.FormExact, "xn--bcher-kva.example"},
		{"evil[.]example", intel.KindDomain, intel.FormExact, "evil.example"},
		{"evil(dot)example", intel.KindDomain, intel.FormExact, "evil.example"},
		{".evil.example", intel.KindDomain, intel.FormBelow, ".evil.example"},
		{"[.]evil[.]example", intel.KindDomain, intel.FormBelow, ".evil.example"},
		{".example", intel.KindDomain, intel.FormBelow, ".example"},
		{"domain:localhost", intel.KindDomain, intel.FormExact, "localhost"},
		{"DOMAIN:.localhost", intel.KindDomain, intel.FormBelow, ".localhost"},
		{"ceo@evil.example", intel.KindAddress, intel.FormExact, "ceo@evil.example"},
		{"<CEO@evil.example>", intel.KindAddress, intel.FormExact, "ceo@evil.example"},
		{"ceo[@]evil[.]example", intel.KindAddress, intel.FormExact, "ceo@evil.example"},
		{"<>", intel.KindAddress, intel.FormExact, "<>"},
		{"address:a/b@evil.example", intel.KindAddress, intel.FormExact, "a/b@evil.example"},
		{"https://evil.example/pay", intel.KindURL, intel.FormExact, "https://evil.example/pay"},
		{"hxxp://evil[.]example/pay#x", intel.KindURL, intel.FormExact, "http://evil.example/pay"},
		{"hxxps[:]//evil.example/a,b;c@d", intel.KindURL, intel.FormExact, "https://evil.example/a,b;c@d"},
		{"hxxp://evil.example/a[.]php", intel.KindURL, intel.FormExact, "http://evil.example/a.php"},
		{"http://evil.example/a[.]php", intel.KindURL, intel.FormExact, "http://evil.example/a[.]php"},
		{"https://evil.example/pay/*", intel.KindURL, intel.FormPrefix, "https://evil.example/pay/*"},
		{"url:evil.example/pay", intel.KindURL, intel.FormExact, "http://evil.example/pay"},
		{"url:evil.example:8080/pay*", intel.KindURL, intel.FormPrefix, "http://evil.example:8080/pay*"},
		{"198.51.100.7", intel.KindIP, intel.FormExact, "198.51.100.7"},
		{"198[.]51[.]100[.]7", intel.KindIP, intel.FormExact, "198.51.100.7"},
		{"198.51.100.0/24", intel.KindIP, intel.FormRange, "198.51.100.0/24"},
		{"198.51.100.7/32", intel.KindIP, intel.FormExact, "198.51.100.7"},
		{"2001:DB8::7", intel.KindIP, intel.FormExact, "2001:db8::7"},
		{"2001:db8::/32", intel.KindIP, intel.FormRange, "2001:db8::/32"},
		{"::ffff:198.51.100.0/120", intel.KindIP, intel.FormRange, "198.51.100.0/24"},
		{"ip:198.51.100.7", intel.KindIP, intel.FormExact, "198.51.100.7"},
		{"44D88612fea8a8f36de82e1278abb02f", intel.KindMD5, intel.FormExact, "44d88612fea8a8f36de82e1278abb02f"},
		{"md5:44d88612fea8a8f36de82e1278abb02f", intel.KindMD5, intel.FormExact, "44d88612fea8a8f36de82e1278abb02f"},
		{"3395856ce81f2b7382dee72602f798b642f14140", intel.KindSHA1, intel.FormExact, "3395856ce81f2b7382dee72602f798b642f14140"},
		{"sha256:275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f", intel.KindSHA256, intel.FormExact, "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"},
		{"/invoice/ in=subject", 0, intel.FormRegexp, "/invoice/"},
		{`/pay \/ now # "x"/i in=subject,file-name`, 0, intel.FormRegexp, `/pay \/ now # "x"/i`},
		{`regexp:/a\\/ in=header:X-Mailer`, 0, intel.FormRegexp, `/a\\/`},
	} {
		entries, problems := readAll(c.text+"\n", block)
		if len(problems) > 0 || len(entries) != 1 {
			t.Errorf("%s: %v", c.text, problems)
			continue
		}
		if p := entries[0].Pattern; p.Kind() != c.kind || p.Form() != c.form || p.String() != c.want {
			t.Errorf("%s: got %s, kind %s, form %d", c.text, p, p.Kind(), p.Form())
		}
	}
}

func TestOptionsAreRead(t *testing.T) {
	entries, problems := readAll("\ufeff# a list\r\n"+
		"\tevil.example\t in=URL,header-from,url action=reject  until=2026-12-31 dir=inbound id=T-118 campaign=\"late fish\" note=\"seen in \\\"case\\\" 118 \\\\ # no comment\" # a comment\r\n"+
		"\r\n"+
		"  # another comment\r\n"+
		"good.example until=2026-12-31T18:00:00+01:00 note=plain#text confidence=80 tlp=AMBER+STRICT", block)
	if len(problems) > 0 || len(entries) != 2 {
		t.Fatalf("%v", problems)
	}
	e := entries[0]
	if !slices.Equal(e.Roles, []intel.Role{intel.RoleHeaderFrom, intel.RoleURL}) || e.Action != intel.ActionReject || e.Direction != intel.Inbound ||
		!e.Until.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) || e.ID != "T-118" || e.Campaign != "late fish" || e.Note != `seen in "case" 118 \ # no comment` {
		t.Errorf("got %+v", e)
	}
	if e.Line != 2 || e.Column != 2 || e.Text != "evil.example" || e.Source != "list:block/local.txt" || e.Disposition != intel.Block {
		t.Errorf("got %+v", e)
	}
	if e := entries[1]; e.Line != 5 || !e.Until.Equal(time.Date(2026, 12, 31, 17, 0, 0, 0, time.UTC)) || e.Note != "plain#text" || e.Confidence != 80 || e.TLP != intel.TLPAmberStrict {
		t.Errorf("got %+v", e)
	}
}

func TestEntryIsInForceThroughTheDayThatUntilNames(t *testing.T) {
	entries, _ := readAll("evil.example until=2026-12-31", block)
	last := time.Date(2026, 12, 31, 23, 59, 59, 999, time.UTC)
	if !entries[0].InForce("", 0, last) || entries[0].InForce("", 0, last.Add(time.Second)) {
		t.Error("it is not")
	}
}

func TestProblemsNameLineColumnValueAndCure(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		// forms
		{"evil..example", `1:1: "evil..example" has an empty label; an entry is a domain,`},
		{"localhost", `1:1: "localhost" is a name of one label; write domain:localhost if that is meant, .localhost for a whole top level`},
		{"44d88612fea8a8f36de82e1278abb02", `1:1: "44d88612fea8a8f36de82e1278abb02" is a name of one label; if it is meant as a digest: it has 31 digits, and MD5 has 32`},
		{"10.1.2", `1:1: "10.1.2" ends in a number, as no domain does; write an IP address with all its parts`},
		{"https://*.evil.example/pay", `1:1: "https://*.evil.example/pay" has a * in its host; a * can only stand at the end of a URL; .evil.example covers`},
		{"*.evil.example", `1:1: "*.evil.example" has no form of an entry; write .evil.example, which covers`},
		{"evil.example*", `1:1: "evil.example*" has no form of an entry; only a URL can end in *`},
		{"ev*il.example", `1:1: "ev*il.example" has no form of an entry; a * can only stand at the end of a URL`},
		{"@evil.example", `1:1: "@evil.example" has nothing before the @; for every address there write evil.example in=envelope-from,header-from`},
		{"mailto:ceo@", `1:1: "mailto:ceo@" its domain is empty; leave mailto: out`},
		{"||evil.example^", `1:1: "||evil.example^" has no form of an entry; lists for ad blockers are written otherwise`},
		{"evil.example/pay", `1:1: "evil.example/pay" has no form of an entry; a URL needs its scheme: write https://evil.example/pay, which covers http as well`},
		{"evil.example:8080", `1:1: "evil.example:8080" has a character that no host name has at byte 13; a port is part of a URL: write https://evil.example:8080/*`},
		{"evil.example,malware", `1:1: "evil.example,malware" has a character that no host name has at byte 13; one entry a line, without other columns`},
		{"evil.example#note", `1:1: "evil.example#note" has a character that no host name has at byte 13; put a space before the # of a comment`},
		{"doman:evil.example", `1:1: "doman:evil.example" has a character that no host name has at byte 6; did you mean domain:?`},
		{"hash:44d8", `1:1: "hash:44d8" has a character that no host name has at byte 5; did you mean sha256:?`},
		{"javascript://evil", `1:1: "javascript://evil" has a scheme that is none of`},
		{"https://", `1:1: "https://" has no host; a URL has a scheme, a host and a path, as in`},
		{"https://evil.example*", `1:1: "https://evil.example*" has to reach into the path`},
		{"198.51.100.7/24", `1:1: "198.51.100.7/24" has host bits set; the block is 198.51.100.0/24`},
		{"198.51.100.0/33", `1:1: "198.51.100.0/33" is no address range; write the first address`},
		{"10/8", `1:1: "10/8" is no address range`},
		{"fe80::1%eth0", `1:1: "fe80::1%eth0" has a zone`},
		{"[2001:db8::1]", `1:1: "[2001:db8::1]" has a character that no host name has at byte 1; write an IP address without brackets`},
		{"\u200bevil.example", `1:1: "\u200bevil.example" has an invisible character, U+200B; remove it`},
		{"evil.example\u00a0note=x", `1:13: "evil.example\u00a0note=x" has an invisible character, U+00A0; remove it`},
		// forced kinds
		{"domain: evil.example", `1:1: "domain:" has nothing behind it; write the entry right behind the colon`},
		{"sha1:44d88612fea8a8f36de82e1278abb02f", `1:6: "44d88612fea8a8f36de82e1278abb02f" has 32 digits, as a md5 has; leave sha1: out`},
		{"md5:44d8", `1:5: "44d8" has to be 32, 40 or 64 hex digits; without md5: the form decides`},
		{"domain:198.51.100.7", `1:8: "198.51.100.7" is an IP address; leave domain: out`},
		{"ip:evil.example", `1:4: "evil.example" is no IP address; write it as`},
		{"address:evil.example", `1:9: "evil.example" has no @; without address: the form decides`},
		{"regexp:x in=subject", `1:1: "x" has no slash behind the colon; write regexp:/EXPRESSION/`},
		// regular expressions
		{"/izuku.sh", `1:1: "/izuku.sh" begins with a slash, as a regular expression does, and has no second one`},
		{"/usr/bin in=subject", `1:6: "bin" is not the flag i`},
		{"/x/", `1:1: "/x/" names no field to look at; add in=subject`},
		{"// a comment", `1:1: "//" is an empty regular expression; a comment begins with #`},
		{"/(/ in=subject", `1:2: "(" missing closing ): (; the syntax is that of RE2`},
		{`/(?=x)/ in=subject`, `1:2: "(?=x)" invalid or unsupported Perl syntax: (?=; the syntax is that of RE2`},
		{"/x/ in=url", `1:8: "url" is a role, and a regular expression looks at fields`},
		{"/x/ in=subjet", `1:8: "subjet" is no field; did you mean subject?`},
		{"/x/ in=header:a@b:c", `1:2: "x" is none of subject, file-name, header, header:NAME`},
		{"/a b/c d/ in=subject", `1:6: "c" is not the flag i`},
		{"/a/ b/ in=subject", `1:5: "b/" is no option; write a slash within a regular expression as \/`},
		// options
		{"evil.example hello", `1:14: "hello" is no option; one entry a line`},
		{"0.0.0.0 evil.example", `1:9: "evil.example" follows an address, as in a hosts file; keep the name only`},
		{"evil.example // why", `1:14: "//" is no option; a comment begins with #`},
		{"evil.example in = url", `1:14: "in" is no option; one entry a line; options are name=value without spaces around the =`},
		{"evil.example untl=2026-01-01", `1:14: "untl" is no option; did you mean until=?`},
		{"evil.example confidence=0", `1:25: "0" is no confidence; write a number from 1, hardly sure, to 100, or leave the option out`},
		{"evil.example confidence=101", `1:25: "101" is no confidence; write a number from 1, hardly sure, to 100, or leave the option out`},
		{"evil.example confidence=+5", `1:25: "+5" is no confidence; write a number from 1, hardly sure, to 100, or leave the option out`},
		{"evil.example tlp=ambr", `1:18: "ambr" is no marking of TLP 2.0; did you mean amber?`},
		{"evil.example tlp=x", `1:18: "x" is no marking of TLP 2.0; markings are clear, green, amber, amber+strict, red`},
		{"evil.example colour=red", `1:14: "colour" is no option; options are in, action, until, dir, id, campaign, confidence, tlp, note`},
		{"evil.example =red", `1:14: is no option;`},
		{"evil.example id=", `1:14: "id" has no value`},
		{"evil.example id=a id=b", `1:19: "id" stands there twice`},
		{"evil.example in=subject", `1:17: "subject" is a field, which only a regular expression looks at; name roles:`},
		{"evil.example in=url,form", `1:21: "form" is no role; roles are envelope-from,`},
		{"evil.example in=header-form", `1:17: "header-form" is no role; did you mean header-from?`},
		{"evil.example in=url,,helo", `1:17: "url,,helo" has an empty name in it`},
		{"evil.example action=refuse", `1:21: "refuse" is no action; actions are tag,`},
		{"evil.example action=rejct", `1:21: "rejct" is no action; did you mean reject?`},
		{"evil.example action=accept", `1:21: "accept" contradicts an entry that blocks; move the entry`},
		{"evil.example action=none", `1:21: "none" is no action`},
		{"evil.example dir=in", `1:18: "in" is no direction; directions are inbound, outbound, internal`},
		{"evil.example until=31.12.2026", `1:20: "31.12.2026" is no date; write 2026-12-31`},
		{"evil.example until=0001-01-01T00:00:00Z", `1:20: "0001-01-01T00:00:00Z" is no date`},
		{"evil.example until=1026-12-31", `1:20: "1026-12-31" is no date`},
		{"evil.example until=2026-02-30", `1:20: "2026-02-30" is no date`},
		{`evil.example note="open`, `1:19: "\"open" has no closing quote`},
		{`evil.example note="a"b`, `1:22: "b" follows a closing quote`},
		{"evil.example id=" + strings.Repeat("x", 129), `1:17: "` + strings.Repeat("x", 80) + `…" is longer than the 128 bytes of id=`},
		// characters
		{"evil.example note=\xfc", `1:19: is not UTF-8 here; save the file as UTF-8`},
		{"evil.example\x00", `1:13: "\x00" is a control character; remove it`},
		{"# comment\revil.example", `1:10: "\r" is a line end of its own; end lines in LF or CRLF`},
		// files
		{"\xff\xfee\x00", `1: is UTF-16; save the file as UTF-8`},
		{"\x1f\x8b\x08", `1: is a compressed file; unpack it`},
	} {
		entries, problems := readAll(c.text, block)
		if len(entries) > 0 || len(problems) != 1 {
			t.Errorf("%q: %d entries, problems %q", c.text, len(entries), problems)
			continue
		}
		if got := strings.TrimPrefix(problems[0], "block/local.txt:"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

func TestActionHasToFitTheFolder(t *testing.T) {
	for _, c := range []struct {
		disposition intel.Disposition
		action      string
		wrong       string
	}{
		{intel.Block, "hold", ""},
		{intel.Block, "DISCARD", ""},
		{intel.Allow, "accept", ""},
		{intel.Allow, "reject", "contradicts an entry that allows"},
		{intel.Watch, "tag", "asks for an action where entries are only noted"},
		{intel.Watch, "accept", "asks for an action where entries are only noted"},
	} {
		_, problems := readAll("evil.example action="+c.action, Options{Disposition: c.disposition})
		if (len(problems) == 0) != (c.wrong == "") || len(problems) > 0 && !strings.Contains(problems[0], c.wrong) {
			t.Errorf("%s of a list under %s: %q", c.action, c.disposition, problems)
		}
	}
}

func TestAllProblemsOfALineAndOfAFileAreFound(t *testing.T) {
	_, problems := readAll("evil..example action=x dir=y\ngood.example\nbad..example\n", block)
	want := []string{"block/local.txt:1:1: ", "block/local.txt:1:22: ", "block/local.txt:1:28: ", "block/local.txt:3:1: "}
	if len(problems) != len(want) {
		t.Fatalf("got %q", problems)
	}
	for i, p := range problems {
		if !strings.HasPrefix(p, want[i]) {
			t.Errorf("got %q, want %q", p, want[i])
		}
	}
}

func TestProblemsOfAFileAreBounded(t *testing.T) {
	entries, problems := readAll(strings.Repeat("evil..example\n", 1000), Options{File: "f", Disposition: intel.Block, MaxProblems: 5})
	if len(entries) != 0 || len(problems) != 6 || !strings.Contains(problems[5], "only 5 problems of a file are shown") {
		t.Errorf("got %q", problems)
	}
}

func TestLinesAndFilesAreBounded(t *testing.T) {
	long := strings.Repeat("x", MaxLine+1)
	for _, c := range []struct {
		name, text string
		o          Options
		entries    int
		want       string
	}{
		{"longest line", "evil.example #" + strings.Repeat("x", MaxLine-14) + "\r\nb.example\n", block, 2, ""},
		{"line too long", "a.example\n" + long + "\nb.example\n", block, 2, "block/local.txt:2: is a line of more than 16384 bytes"},
		{"line far too long", strings.Repeat(long, 10) + "\nb.example\n", block, 1, "block/local.txt:1: is a line of more than 16384 bytes"},
		{"endless line", strings.Repeat(long, 10), block, 0, "block/local.txt:1: is a line of more than 16384 bytes"},
		{"file too large", strings.Repeat("a.example\n", 10), Options{Disposition: intel.Block, MaxBytes: 95}, 9, ":10: is larger than a list may be"},
		{"line beyond the file's size", "a.example\n" + long + "\n", Options{Disposition: intel.Block, MaxBytes: 100}, 1, ":2: is larger than a list may be"},
		{"as large as may be", strings.Repeat("a.example\n", 10), Options{Disposition: intel.Block, MaxBytes: 100}, 10, ""},
		{"too many entries", strings.Repeat("a.example\n", 10), Options{Disposition: intel.Block, MaxEntries: 3}, 3, ":4: is more than the 3 entries that a list may have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries, problems := readAll(c.text, c.o)
			got := strings.Join(problems, "\n")
			if len(entries) != c.entries || len(problems) > 1 || !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("%d entries, %q", len(entries), got)
			}
		})
	}
}

func TestReadersErrorEndsReading(t *testing.T) {
	broken := errors.New("broken")
	var errs []error
	for _, err := range Read(io.MultiReader(strings.NewReader("a.example\n"), iotest.ErrReader(broken)), block) {
		errs = append(errs, err)
	}
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], broken) || !strings.Contains(errs[1].Error(), "block/local.txt") {
		t.Errorf("got %v", errs)
	}
}

func TestUnusableOptionsAreAnError(t *testing.T) {
	for _, o := range []Options{{}, {Disposition: 9}, {Disposition: intel.Block, MaxBytes: -1}, {Disposition: intel.Block, MaxEntries: -1}, {Disposition: intel.Block, MaxProblems: -1}} {
		if entries, problems := readAll("a.example\n", o); len(entries) != 0 || len(problems) != 1 {
			t.Errorf("%+v: %v, %v", o, entries, problems)
		}
		if _, err := Format(strings.NewReader(""), o); err == nil {
			t.Errorf("%+v: Format accepts them", o)
		}
	}
}

func TestReadingStopsWhenNobodyWantsMore(t *testing.T) {
	n := 0
	for _, err := range Read(strings.NewReader("a.example\nevil..example\nb.example\n"), block) {
		if n++; err != nil {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d", n)
	}
}

func TestValueIsReadAsAnEntryWritesIt(t *testing.T) {
	for text, want := range map[string]string{
		"Evil[.]example":          "domain evil.example",
		"domain:localhost":        "domain localhost",
		"hxxp://evil.example/a#b": "url http://evil.example/a",
		"<>":                      "address <>",
		"198.51.100.7/32":         "ip 198.51.100.7",
	} {
		v, err := ParseValue(text)
		if err != nil || v.Kind().String()+" "+v.String() != want {
			t.Errorf("%s: got %s %s, %v", text, v.Kind(), v, err)
		}
	}
	for text, want := range map[string]string{
		"":                           `is not one value; give an address`,
		".evil.example":              `: ".evil.example" stands for more than one value; give one that it would match`,
		"https://evil.example/*":     `stands for more than one value`,
		"198.51.100.0/24":            `stands for more than one value`,
		"/x/ in=subject":             `is not one value`,
		"evil.example in=url":        `is not one value`,
		"evil.example # comment":     `is not one value`,
		"evil..example":              `has an empty label`,
		"evil.example other.example": `is no option`,
	} {
		if v, err := ParseValue(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %s, %v", text, v, err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&text, "host%d.evil%d.example\n", i, i)
		case 1:
			fmt.Fprintf(&text, "https://site%d.example/login/%d\n", i, i)
		case 2:
			fmt.Fprintf(&text, "%032x # sample\n", i)
		case 3:
			fmt.Fprintf(&text, "10.0.%d.%d until=2026-12-31 id=T-%d\n", i>>8&255, i&255, i)
		}
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range Read(strings.NewReader(text.String()), block) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 10_000 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/entry")
}
