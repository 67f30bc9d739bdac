package links

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

// values gives the canonical forms of links, in order.
func values(all []Found) []string {
	var list []string
	for _, f := range all {
		list = append(list, f.Value.String())
	}
	return list
}

func TestLinksInPlainText(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"prose", "It rained (again). At 10:30, or so: the men -- all of them [four] {4} -- left; e.g. by boat, i.e. rowing.", nil},

		{"with a scheme", "Go to http://a.example/x now", []string{"http://a.example/x"}},
		{"in upper case", "HTTPS://A.EXAMPLE/X", []string{"https://a.example/X"}},
		{"of other schemes", `ftp://a.example/x file://a.example/x smb://a.example/x webcal://a.example/x`, []string{"ftp://a.example/x", "file://a.example/x", "smb://a.example/x", "http://a.example/x"}},
		{"of applications", "tg://resolve zoommtg://a.example/x foo://a.example/x C://a.example/ sftp://a.example xfile://a.example myhxxp://a.example", nil},
		{"with nothing behind the scheme", "Type http:// or https:// or ftp:// first. http://. http://, http://)", nil},
		{"with backslashes", `http:\\a.example\x`, []string{"http://a.example/x"}},
		{"as JSON has it", `{"u":"https:\/\/a.example\/x","v":1}`, []string{"https://a.example/x"}},
		{"after a word without a space", "Clickhttp://a.example/x andHTTPS://b.example/", []string{"http://a.example/x", "https://b.example/"}},
		{"to an address", "http://192.0.2.5/x http://[2001:db8::1]:8080/x http://3221225989", []string{"http://192.0.2.5/x", "http://[2001:db8::1]:8080/x", "http://192.0.2.5/"}},
		{"to a short name", "http://intranet/x http://localhost:8080", []string{"http://intranet/x", "http://localhost:8080/"}},
		{"with credentials", "http://bank.example@evil.example/x", []string{"http://evil.example/x"}},

		{"at the end of a sentence", "See http://a.example/x. Or http://a.example/y, http://a.example/z; http://a.example/v! http://a.example/w? http://a.example/u: http://a.example/t...",
			[]string{"http://a.example/x", "http://a.example/y", "http://a.example/z", "http://a.example/v", "http://a.example/w", "http://a.example/u", "http://a.example/t"}},
		{"in brackets", "(http://a.example/x) [http://a.example/y], {http://a.example/z}. (see http://a.example/v)", []string{"http://a.example/x", "http://a.example/y", "http://a.example/z", "http://a.example/v"}},
		{"with brackets of its own", "http://a.example/x_(y) (http://a.example/x_(y)) http://a.example/?a[b]=c", []string{"http://a.example/x_(y)", "http://a.example/x_(y)", "http://a.example/?a[b]=c"}},
		{"in quotes", `"http://a.example/x" 'http://a.example/y' “http://a.example/z” «http://a.example/v» ` + "`http://a.example/w`", []string{"http://a.example/x", "http://a.example/y", "http://a.example/z", "http://a.example/v", "http://a.example/w"}},
		{"with an apostrophe", "http://a.example/joe's", []string{"http://a.example/joe's"}},
		{"emphasised", "*http://a.example/x* **http://a.example/y** _http://a.example/z_ ~~http://a.example/v~~ **hxxp://a.example/u** _webcal://a.example/t_", []string{"http://a.example/x", "http://a.example/y", "http://a.example/z", "http://a.example/v", "http://a.example/u", "http://a.example/t"}},
		{"as Markdown has them", "[here](http://a.example/x) [http://a.example/y](http://a.example/z) ![i](http://a.example/i.png \"t\")", []string{"http://a.example/x", "http://a.example/y", "http://a.example/z", "http://a.example/i.png"}},
		{"one after another", "http://a.example/x,http://b.example/y;http://c.example/z|https://d.example/", []string{"http://a.example/x", "http://b.example/y", "http://c.example/z", "https://d.example/"}},
		{"with commas and semicolons", "http://a.example/x,y;z=1|2", []string{"http://a.example/x,y;z=1|2"}},
		{"that were HTML once", "&lt;http://a.example/x&gt; &quot;http://a.example/y&quot; http://a.example/?a=1&b=2", []string{"http://a.example/x", "http://a.example/y", "http://a.example/?a=1&b=2"}},
		{"at a no-break space", "http://a.example/x\u00a0and\u2003http://a.example/y\u3000z", []string{"http://a.example/x", "http://a.example/y"}},
		{"at a control character", "http://a.example/x\x00y http://a.example/z\x1b[0m", []string{"http://a.example/x", "http://a.example/z"}},

		{"in angle brackets", "<http://a.example/x> <URL:http://a.example/y>", []string{"http://a.example/x", "http://a.example/y"}},
		{"broken across lines in angle brackets", "<http://a.example/long/\r\n  way/to\r\n/go>", []string{"http://a.example/long/", "http://a.example/long/way/to/go"}},
		{"broken after URL:", "<URL:http://a.example/long/\nway>", []string{"http://a.example/long/", "http://a.example/long/way"}},
		{"not closed", "<http://a.example/x\nand more\n>", []string{"http://a.example/x"}},
		{"with an empty line in them", "<http://a.example/x\n\nand>", []string{"http://a.example/x"}},

		{"with www.", "www.example.com, WWW.Example.com/x (www.example.com/y) www.intranet.invalid/x", []string{"http://www.example.com/", "http://www.example.com/x", "http://www.example.com/y", "http://www.intranet.invalid/x"}},
		{"with www. and little more", "www.intranet www. www.. www.x.", nil},
		{"bare", "example.com, mail.example.co.uk! (example.org/pay) example.net:8080/x?y#z example.com?a=b example.com.", []string{"http://example.com/", "http://mail.example.co.uk/", "http://example.org/pay", "http://example.net:8080/x?y", "http://example.com/?a=b", "http://example.com/"}},
		{"bare, emphasised", "*example.com* _example.org_ -example.net =>example.com", []string{"http://example.com/", "http://example.org/", "http://example.net/", "http://example.com/"}},
		{"bare on a private suffix", "joe.github.io x.blogspot.com", []string{"http://joe.github.io/", "http://x.blogspot.com/"}},
		{"bare after a colon", "Web:example.com", []string{"http://example.com/"}},
		{"bare, in capitals", "EXAMPLE.COM", []string{"http://example.com/"}},
		{"a suffix alone", "co.uk and com.au", nil},
		{"unknown names", "foo.invalid a.example foo.bar.example", nil},

		{"mail addresses", "bob@example.com <al@mail.example.com> mailto:joe.doe@example.com?x a.b.example.com@example.org", nil},
		{"file names", "report.pdf setup.py main.rs notes.md run.sh archive.zip clip.mov lib.so script.pl data.tar.gz guide.md#start", nil},
		{"file names of hosts", "example.zip/x http://example.zip", []string{"http://example.zip/x", "http://example.zip/"}},
		{"paths", "/usr/lib/x.com C:\\x.com ../x.com ~x.com src/x.com/y", nil},
		{"code", "obj.name() list.info(x) server.name=3 $this.is @x.is #x.is 100%x.is a.name=b", nil},
		{"versions and amounts", "1.2.3 v1.2.3 3.14 10.000,50 10.0.0.0/8 192.0.2.5 12:30 1.2.3.4:80", nil},
		{"an address with port and path", "192.0.2.5:8080/x.vbs", []string{"http://192.0.2.5:8080/x.vbs"}},
		{"two sentences without a space", "It ends.In the next.It begins.At last", nil},
		{"dots in a row", "example..com ...example.com example.com...", []string{"http://example.com/"}},

		{"defanged", "hxxp://evil[.]example/x hXXps://evil.example h**p[:]//evil{.}example fxp://evil.example hxxp[://]evil.example xxxx://evil.example/",
			[]string{"http://evil.example/x", "https://evil.example/", "http://evil.example/", "ftp://evil.example/", "http://evil.example/", "http://evil.example/"}},
		{"defanged and bare", "evil[.]example[.]com evil(dot)example.com/x[dot]php www[.]example[.]com (example[.]com)", []string{"http://evil.example.com/", "http://evil.example.com/x.php", "http://www.example.com/", "http://example.com/"}},
		{"defanged addresses", "bob[at]example[.]com bob[@]example.com bob(at)mail(dot)example(dot)com al.bo[at]example.com", nil},
		{"brackets that defang nothing", "[dot] a (at) b f(.) x[.] [.]y a[:]b", nil},

		{"international", "bücher.de http://bücher.example/straße президент.рф", []string{"http://xn--bcher-kva.de/", "http://xn--bcher-kva.example/stra%C3%9Fe", "http://xn--d1abbgf6aiiy.xn--p1ai/"}},
		{"in a script without spaces", "访问example.com请点击", []string{"http://xn--example-516un48d.com/", "http://example.com/"}},
		{"after marks of such a script", "ที่example.com bu\u0308cher.de", []string{"http://xn--example-hzwxnwg.com/", "http://example.com/", "http://xn--bcher-kva.de/"}},
		{"with a scheme in a script without spaces", "访问http://example.com请点击 http://example.com/x，请 http://example.com/y。z（http://example.com/v）", []string{"http://example.xn--com-8d2ej91lsf8a/", "http://example.com/", "http://example.com/x", "http://example.com/y", "http://example.com/v"}},
		{"with other dots", "http://evil。example．com/x", []string{"http://evil.example.com/x"}},
		{"in foreign quotes", "„example.com“ ‚example.org‘ …example.net…", []string{"http://example.com/", "http://example.org/", "http://example.net/"}},
		{"with invisible characters", "http://ev\u200bil.example/ exam\u00adple.com", []string{"http://evil.example/", "http://example.com/"}},
		{"not in UTF-8", "\xff http://a.example/\xff\xfe example.com\xff", []string{"http://a.example/%FF%FE", "http://example.com/"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := collect(Text, tt.text)
			if got := values(all); !slices.Equal(got, tt.want) {
				t.Errorf("%q:\n got %q\nwant %q", tt.text, got, tt.want)
			}
			for _, f := range all {
				if f.Where != "text" || f.Text != "" || f.Cut {
					t.Errorf("%+v: not as text has it", f)
				}
			}
		})
	}
}

func TestRawIsTheLinkAsItStandsInTheText(t *testing.T) {
	for _, tt := range []struct{ text, raw string }{
		{"x HTTP://A.example:80/./%41. y", "HTTP://A.example:80/./%41"},
		{"hxxps[://]evil[.]example/x, y", "hxxps[://]evil[.]example/x"},
		{"at Example.com/x#y now", "Example.com/x#y"},
	} {
		if all := collect(Text, tt.text); len(all) != 1 || all[0].Raw != tt.raw {
			t.Errorf("%q: got %+v, want %q", tt.text, all, tt.raw)
		}
	}
}

func TestALongLinkIsCutAndItsValueIsNot(t *testing.T) {
	long := "http://" + strings.Repeat("a", 9000) + "@evil.example/" + strings.Repeat("é", 9000)
	var all []Found
	Text([]byte(long), Options{URLBytes: 100}, func(f Found) bool {
		all = append(all, f)
		return true
	})
	if len(all) != 1 || !all[0].Cut || all[0].Raw != long[:100] || all[0].Value.Host() != "evil.example" || len(all[0].Value.String()) > intel.MaxURL {
		t.Errorf("got %.300v", all)
	}
	for _, f := range collect(HTML, `<a href="`+long+`">x</a>`) {
		if !f.Cut || len(f.Raw) > intel.MaxURL || f.Value.Host() != "evil.example" {
			t.Errorf("got %.300v", f)
		}
	}
	var cut []Found
	Text([]byte("http://a.example/éé"), Options{URLBytes: 18}, func(f Found) bool {
		cut = append(cut, f)
		return true
	})
	if len(cut) != 1 || cut[0].Raw != "http://a.example/" {
		t.Errorf("cut within a character: %+v", cut)
	}
}

func TestNothingIsReportedOnceTheCallerHasEnough(t *testing.T) {
	many := strings.Repeat("http://a.example/?u=http://b.example/ ", 10)
	for name, run := range map[string]func(func(Found) bool){
		"text": func(emit func(Found) bool) { Text([]byte(many), Options{}, emit) },
		"html": func(emit func(Found) bool) {
			HTML([]byte(strings.Repeat(`<a href="http://a.example/" href="http://b.example/" style="background:url(http://c.example)">http://d.example</a><img srcset="http://e.example, http://f.example">`, 10)), Options{}, emit)
		},
	} {
		for enough := 1; enough < 10; enough++ {
			n := 0
			run(func(Found) bool {
				n++
				return n < enough
			})
			if n != enough {
				t.Errorf("%s: %d reported, %d wanted", name, n, enough)
			}
		}
	}
}

func TestTextWithoutLinksCostsNextToNothing(t *testing.T) {
	text := prose(8 << 10)
	if n := testing.AllocsPerRun(50, func() { Text(text, Options{}, func(Found) bool { return true }) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
