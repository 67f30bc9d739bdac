package directory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
)

const sample = "\ufeff# who is who\r\n" +
	"Address;Name;Groups;VIP;Mailbox\r\n" +
	"CEO@Example.ORG c.e.o@example.org;Carla Example;Board staff board;yes;carla\r\n" +
	"\r\n" +
	"  # an indented comment\r\n" +
	"bob@example.org;\"Bob \"\"the; builder\"\"\";;;\r\n" +
	";;;;\r\n" +
	"bob+vip@example.org;Bob's other self;\"staff,builders;crew\";no;\r\n" +
	"@Bücher.example;;shop;;\r\n"

func read(t *testing.T, text string, o Options) *Directory {
	t.Helper()
	d, err := Read(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func address(t *testing.T, text string) intel.Value {
	t.Helper()
	v, err := intel.Address(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAddressIsLookedUpAsItStandsThenWithoutExtensionThenByDomain(t *testing.T) {
	d := read(t, sample, Options{File: "people.csv", Delimiters: "+-"})
	for _, c := range []struct{ address, name, groups string }{
		{"ceo@example.org", "Carla Example", "board staff"},
		{"<C.E.O@example.org>", "Carla Example", "board staff"},
		{"ceo+list@example.org", "Carla Example", "board staff"},
		{"ceo-list+x@example.org", "Carla Example", "board staff"},
		{"bob@example.org", `Bob "the; builder"`, ""},
		{"bob+vip@example.org", "Bob's other self", "builders crew staff"},
		{"bob+vip+x@example.org", `Bob "the; builder"`, ""},
		{"anyone@xn--bcher-kva.example", "", "shop"},
		{"any+one@bücher.example", "", "shop"},
	} {
		p := d.Lookup(address(t, c.address))
		if p == nil {
			t.Errorf("%s: nobody", c.address)
			continue
		}
		if p.Name != c.name || strings.Join(p.Groups, " ") != c.groups {
			t.Errorf("%s: got %q in %v, want %q in %s", c.address, p.Name, p.Groups, c.name, c.groups)
		}
	}
	for _, nobody := range []string{"eve@example.org", "+ceo@example.org", "ceo@sub.example.org", "x@sub.bücher.example", "<>"} {
		if p := d.Lookup(address(t, nobody)); p != nil {
			t.Errorf("%s: got %+v, want nobody", nobody, p)
		}
	}
	if p := d.Lookup(intel.Value{}); p != nil {
		t.Errorf("the zero Value: got %+v", p)
	}
	domain, _ := intel.Domain("example.org")
	if p := d.Lookup(domain); p != nil {
		t.Errorf("a domain: got %+v", p)
	}
}

func TestExtensionCountsAsPartOfTheAddressWithoutDelimiters(t *testing.T) {
	d := read(t, sample, Options{})
	if p := d.Lookup(address(t, "ceo+x@example.org")); p != nil {
		t.Errorf("got %+v, want nobody", p)
	}
}

func TestEveryFieldOfAPersonIsRead(t *testing.T) {
	d := read(t, sample, Options{})
	p := d.Lookup(address(t, "ceo@example.org"))
	if !p.VIP || p.Mailbox != "carla" || !slices.Equal(p.Addresses, []string{"ceo@example.org", "c.e.o@example.org"}) {
		t.Errorf("got %+v", p)
	}
	if !p.In("board") || p.In("Board") || p.In("shop") {
		t.Errorf("groups of %+v", p)
	}
	if got := strings.Join(d.Groups(), " "); got != "board builders crew shop staff" {
		t.Errorf("groups: %s", got)
	}
	if d.Len() != 4 || len(slices.Collect(d.People())) != 4 {
		t.Errorf("%d people", d.Len())
	}
	if p := d.Lookup(address(t, "x@bücher.example")); len(p.Addresses) != 0 {
		t.Errorf("a whole domain has addresses: %+v", p)
	}
}

func TestNobodyIsKnownWithoutADirectory(t *testing.T) {
	var d *Directory
	if d.Lookup(address(t, "ceo@example.org")) != nil || d.Len() != 0 || d.Groups() != nil || len(slices.Collect(d.People())) != 0 {
		t.Error("a nil directory knows somebody")
	}
	if new(Directory).Lookup(address(t, "ceo+x@example.org")) != nil {
		t.Error("an empty directory knows somebody")
	}
	var p *Person
	if p.In("staff") {
		t.Error("nobody is in a group")
	}
}

func TestColumnsMayStandInAnyOrderWithEitherDelimiter(t *testing.T) {
	for _, text := range []string{
		"vip,address\nx,ceo@example.org\n",
		"vip;address\n1;ceo@example.org\n",
		"address\nceo@example.org",
		"name,address,vip\n\"Example, Carla\",ceo@example.org,TRUE",
	} {
		d := read(t, text, Options{})
		if p := d.Lookup(address(t, "ceo@example.org")); p == nil || p.VIP == (strings.HasPrefix(text, "address")) {
			t.Errorf("%q: got %+v", text, p)
		}
	}
}

func TestProblemsNameFileLineColumnValueAndCure(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown column", "address,group\n", `p.csv:1:9: "group": is no column; columns are address, name, groups, vip, mailbox; the first line has to name them`},
		{"no header", "ceo@example.org\n", `p.csv:1:1: "ceo@example.org": is no column;`},
		{"nameless column", "address,\n", `p.csv:1:9: is a column without a name;`},
		{"column twice", "address,name,Name\n", `p.csv:1:14: "Name": is named twice;`},
		{"no address column", "name,vip\n", `p.csv:1:1: no column is called address;`},
		{"empty file", "# nothing\n\n", `p.csv: has no line that names the columns; begin it with: address,name,groups,vip,mailbox`},
		{"field count", "address,name\nceo@example.org,Example, Carla\n", `p.csv:2:1: has 3 fields where the first line has 2; leave a field empty`},
		{"no address", "address,name\n,Carla\n", `p.csv:2:1: names no address; write one, or remove the line`},
		{"bad address", "name,address\nCarla,ceo@exam..ple\n", `p.csv:2:7: "ceo@exam..ple": its domain has an empty label; write addresses as local@example.org`},
		{"name with address", "address\nCarla <ceo@example.org>\n", `p.csv:2:1: "Carla": has no @;`},
		{"null sender", "address\n<>\n", `p.csv:2:1: "<>": is nobody's address;`},
		{"bad domain", "address\n@exa mple.org\n", `p.csv:2:1: "mple.org": has no @;`},
		{"bad whole domain", "address\n@-..x\n", `p.csv:2:1: "@-..x": has an empty label; write a whole domain as @example.org`},
		{"vip", "address,vip\nceo@example.org,maybe\n", `p.csv:2:17: "maybe": is neither yes nor no;`},
		{"twice", "address\nceo@example.org\n\nx@example.org CEO@example.org\n", `p.csv:4:1: "CEO@example.org": belongs to line 2 already;`},
		{"domain twice", "address\n@example.org\n@EXAMPLE.org.\n", `p.csv:3:1: "@EXAMPLE.org.": belongs to line 2 already;`},
		{"bare quote", "address,name\nceo@example.org,the \"boss\"\n", `p.csv:2:21: has a quote inside a field that does not begin with one;`},
		{"open quote", "address,name\nceo@example.org,\"the boss\n", `p.csv:2:27: has a quoted field that does not end as it should;`},
		{"line break", "address,name\nceo@example.org,\"the\nboss\"\n", `p.csv:2:17: "the\nboss": has a control character or a line break;`},
		{"latin-1", "address,name\nceo@example.org,J\xf6rg\n", `p.csv:2:17: "J\xf6rg": is not UTF-8;`},
		{"utf-16", "\xff\xfea\x00", `p.csv:1:1: is UTF-16; save it as UTF-8`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Read(strings.NewReader(c.text), Options{File: "p.csv"})
			if d != nil {
				t.Error("a directory was loaded all the same")
			}
			problems, ok := err.(Problems)
			if !ok || len(problems) != 1 {
				t.Fatalf("got %v, want one problem", err)
			}
			if got := problems[0].String(); !strings.HasPrefix(got, c.want) {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAllProblemsAreReportedUpToABound(t *testing.T) {
	text := "address,vip\n" + strings.Repeat("nobody,perhaps\n", 10)
	_, err := Read(strings.NewReader(text), Options{File: "p.csv"})
	if n := len(err.(Problems)); n != 20 {
		t.Errorf("got %d problems, want 20", n)
	}
	_, err = Read(strings.NewReader(text), Options{File: "p.csv", MaxProblems: 7})
	if n := len(err.(Problems)); n != 7 {
		t.Errorf("got %d problems, want 7", n)
	}
}

func TestLimitsBoundTheFile(t *testing.T) {
	text := "address\n" + strings.Repeat("# padding\n", 10) + "a@example.org\nb@example.org\nc@example.org\n"
	for want, o := range map[string]Options{
		"p.csv: is larger than 100 bytes":    {File: "p.csv", MaxBytes: 100},
		"p.csv:13:1: is more than 1 entries": {File: "p.csv", MaxPeople: 1},
	} {
		if _, err := Read(strings.NewReader(text), o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	long := "address\n" + strings.Repeat("x", 1000) + "\n"
	_, err := Read(strings.NewReader(long), Options{})
	if got := err.(Problems)[0].Value; len(got) > 100 {
		t.Errorf("the value in the problem has %d bytes", len(got))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{MaxBytes: -1}, {MaxPeople: -1}, {MaxProblems: -1}, {Delimiters: "+@"}, {Delimiters: "a"}, {Delimiters: " "}} {
		if _, err := Read(strings.NewReader("address\n"), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestFileIsLoadedUnderTheNameThatTheAdministratorGave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "people.csv")
	if err := os.WriteFile(path, []byte("address\nnobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, Options{}); err == nil || !strings.HasPrefix(err.Error(), path+":2:1: ") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(path, Options{File: "conf/people.csv"}); err == nil || !strings.HasPrefix(err.Error(), "conf/people.csv:2:1: ") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(path+".gone", Options{}); !os.IsNotExist(unwrap(err)) {
		t.Errorf("got %v", err)
	}
}

func unwrap(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

func FuzzReadNeverPanicsAndFindsWhomItListed(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("address,name\n\"a@b.c\",\"x\n"))
	f.Add([]byte("address;vip\r\n@a.b c@d.e;x\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read(strings.NewReader(string(data)), Options{File: "f", Delimiters: "+", MaxProblems: 5})
		if err != nil {
			if d != nil {
				t.Fatal("a directory and an error")
			}
			if ps, ok := err.(Problems); !ok || len(ps) == 0 || len(ps) > 5 {
				t.Fatalf("not problems: %#v", err)
			}
			_ = err.Error()
			return
		}
		for p := range d.People() {
			for _, a := range p.Addresses {
				v, err := intel.Address(a)
				if err != nil || v.String() != a {
					t.Fatalf("%q is not canonical: %v %v", a, v, err)
				}
				if d.Lookup(v) != p {
					t.Fatalf("%q does not find its own entry", a)
				}
			}
			if !slices.IsSorted(p.Groups) {
				t.Fatalf("groups out of order: %q", p.Groups)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	var text strings.Builder
	text.WriteString("address,groups\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "user%d@example.org,staff\n", i)
	}
	d, err := Read(strings.NewReader(text.String()), Options{Delimiters: "+"})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, address string }{
		{"exact", "user5000@example.org"}, {"extension", "user5000+list@example.org"}, {"nobody", "somebody.else@example.net"},
	} {
		b.Run(c.name, func(b *testing.B) {
			v, _ := intel.Address(c.address)
			b.ReportAllocs()
			for b.Loop() {
				d.Lookup(v)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	var text strings.Builder
	text.WriteString("address,name,groups,vip\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "user%d@example.org,User Number %d,staff sales,no\n", i, i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(strings.NewReader(text.String()), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAPipeInThePlaceOfTheFileHoldsUpNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.csv")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, Options{}); !errors.Is(err, disk.ErrNotRegular) {
		t.Error(err)
	}
}
