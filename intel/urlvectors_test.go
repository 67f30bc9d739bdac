package intel

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// vector is one line of the Safe Browsing vectors. Their strings are bytes, one
// a character.
type vector struct {
	Input  string  `json:"input"`
	Expect *string `json:"expect"`
}

func (v vector) bytes() string {
	var b strings.Builder
	for _, r := range v.Input {
		b.WriteByte(byte(r))
	}
	return b.String()
}

func (v vector) expect() string {
	if v.Expect == nil {
		return ""
	}
	return *v.Expect
}

// Why we differ from a vector.
const (
	keepsQuery  = "the query is part of the link"
	keepsPort   = "another port is another server"
	noBrowser   = "no browser opens it"
	oneMoreForm = "an application's convention, not a link that anything follows"
	isHost      = "browsers take what follows any number of slashes for the host"
)

// safeBrowsingDifferences gives for each input that comes out otherwise what
// comes out ("" for an error) and why.
var safeBrowsingDifferences = map[string]struct{ got, why string }{
	"http://host%23.com/%257Ea%2521b%2540c%2523d%2524e%25f%255E00%252611%252A22%252833%252944_55%252B": {"", noBrowser},
	"http://www.google.com/q?r?":     {"http://www.google.com/q?r?", keepsQuery},
	"http://www.google.com/q?r?s":    {"http://www.google.com/q?r?s", keepsQuery},
	"http://evil.com/foo?bar;":       {"http://evil.com/foo?bar;", keepsQuery},
	"http://www.google.com/q?r?s%3F": {"http://www.google.com/q?r?s?", keepsQuery},
	"http://www.gotaport.com:1234/":  {"http://www.gotaport.com:1234/", keepsPort},
	"http://\x01\x80.com/":           {"", noBrowser},
	"http:// leadingspace.com/":      {"", noBrowser},
	"http://%20leadingspace.com/":    {"", noBrowser},
	"%20leadingspace.com/":           {"", noBrowser},
	"http://some%1bhost.com/%1b":     {"", noBrowser},
	"http://W!eird<>Ho$^.com/":       {"", noBrowser},
	"http%3A%2F%2Fwackyurl.com:80/":  {"", oneMoreForm},
	"http:///blah#ref":               {"http://blah/", isHost},
	"http:///blah?query#ref":         {"http://blah/?query", isHost},
	"http:///blah;param":             {"http://blah;param/", isHost},
	"http:///blah;param?query#ref":   {"http://blah;param/?query", isHost},
	"http://[::192.9.5.5]/ipng":      {"http://[::c009:505]/ipng", "the same address, as RFC 5952 writes it"},
	"276.2.3":                        {"", noBrowser},
	"10.192.95.89 xy":                {"", noBrowser},
	"1.2.3.00x0":                     {"http://1.2.3.00x0/", "a name for browsers, since its last label is no number"},
	"http://%31%36%38%2e%31%38%38%2e%39%39%2e%32%36/%2E%73%65%63%75%72%65/%77%77%77%2E%65%62%61%79%2E%63%6F%6D/?query#fragment": {"http://168.188.99.26/.secure/www.ebay.com/?query", keepsQuery},
}

func TestSafeBrowsingVectors(t *testing.T) {
	for file, part := range map[string]func(Value) string{
		"gsb_canonical.jsonl": Value.String,
		"gsb_host.jsonl":      Value.Host,
		"gsb_ip.jsonl":        Value.Host,
		"gsb_path.jsonl":      func(v Value) string { return "/" + strings.SplitN(v.String(), "/", 4)[3] },
	} {
		for _, vec := range sampleLines[vector](t, "url", file) {
			v, err := URL(vec.bytes())
			if diff, ok := safeBrowsingDifferences[vec.bytes()]; ok {
				if v.String() != diff.got {
					t.Errorf("%s %q: got %q, %v, want %q: %s", file, vec.bytes(), v, err, diff.got, diff.why)
				}
				continue
			}
			got := ""
			if err == nil {
				got = part(v)
			}
			if got != vec.expect() {
				t.Errorf("%s %q: got %q, %v, want %q", file, vec.bytes(), got, err, vec.expect())
			}
		}
	}
}

// Safe Browsing looks up generalisations of a link. Ours are made elsewhere;
// here it matters that each expression of theirs is a prefix or parent of ours.
func TestSafeBrowsingPatternsAreGeneralisationsOfTheLink(t *testing.T) {
	type patterns struct {
		Input  string   `json:"input"`
		Expect []string `json:"expect"`
	}
	for _, vec := range sampleLines[patterns](t, "url", "gsb_patterns.jsonl") {
		v, err := URL(vec.Input)
		if err != nil {
			t.Errorf("%q: %v", vec.Input, err)
			continue
		}
		_, path, _ := strings.Cut(v.matchText(), "/")
		for _, expect := range vec.Expect {
			host, prefix, _ := strings.Cut(expect, "/")
			host = strings.Trim(host, "[]")
			if host != v.Host() && !strings.HasSuffix(v.Host(), "."+host) || !strings.HasPrefix(path, prefix) {
				t.Errorf("%q: %q is no generalisation of %q", vec.Input, expect, v)
			}
		}
	}
}

type webVector struct {
	Input    string  `json:"input"`
	Base     *string `json:"base"`
	Failure  bool    `json:"failure"`
	Href     string  `json:"href"`
	Protocol string  `json:"protocol"`
	Hostname string  `json:"hostname"`
}

// webDifferences gives what comes out of inputs that browsers refuse, and "" for
// one that they take and we don't.
var webDifferences = map[string]struct{ got, why string }{
	"http://./":             {"", "the root of DNS is nobody's host"},
	"http://../":            {"", "the root of DNS is nobody's host"},
	"http://foo.09..":       {"", "its dots removed it ends in a number; it does not resolve with them either"},
	"http://0..0x300/":      {"http://0.0.3.0/", "surplus dots are removed, as Safe Browsing does"},
	"http://0..0x300./":     {"http://0.0.3.0/", "surplus dots are removed, as Safe Browsing does"},
	"http://[::1%eth0]/":    {"http://[::1]/", "a zone is dropped"},
	"http://[fe80::1%25en]": {"http://[fe80::1]/", "a zone is dropped"},
}

func TestWebPlatformURLVectors(t *testing.T) {
	tried := 0
	for _, vec := range sampleArray[webVector](t, "url", "urltestdata.json") {
		scheme, _, _ := strings.Cut(strings.ToLower(strings.TrimLeft(vec.Input, "\x00 \t\r\n")), ":")
		if vec.Base != nil || scheme != "http" && scheme != "https" && scheme != "ftp" {
			continue // relative ones are tested where references are resolved
		}
		tried++
		v, err := URL(vec.Input)
		if diff, ok := webDifferences[vec.Input]; ok {
			if v.String() != diff.got {
				t.Errorf("%q: got %q, %v, want %q: %s", vec.Input, v, err, diff.got, diff.why)
			}
			continue
		}
		if vec.Failure {
			if err == nil {
				t.Errorf("%q: got %q, browsers refuse it", vec.Input, v)
			}
			continue
		}
		// What the browser makes of it has to be the same link for us.
		same, err2 := URL(vec.Href)
		if err != nil || err2 != nil || v != same {
			t.Errorf("%q: got %q, %v; of %q %q, %v", vec.Input, v, err, vec.Href, same, err2)
			continue
		}
		if host := strings.Trim(vec.Hostname, "[]."); !strings.Contains(host, "::ffff:") && v.Host() != host {
			t.Errorf("%q: host %q, want %q", vec.Input, v.Host(), host)
		}
	}
	if tried < 250 {
		t.Errorf("only %d vectors tried", tried)
	}
}

// Percent-encoding of characters by charset: in UTF-8, in which all text
// reaches us, browsers and we write the same.
func TestWebPlatformPercentEncodingVectors(t *testing.T) {
	type encoding struct {
		Input  string            `json:"input"`
		Output map[string]string `json:"output"`
	}
	for _, vec := range sampleArray[encoding](t, "url", "percent-encoding.json") {
		v, err := URL("http://example.com/?" + vec.Input)
		want, ok := vec.Output["utf-8"]
		if _, got, _ := strings.Cut(v.String(), "?"); ok && (err != nil || got != want) {
			t.Errorf("%q: got %q, %v, want %q", vec.Input, got, err, want)
		}
	}
}

const (
	shown    = "a format character, which no reader sees, is left out"
	anyLabel = "no name has an empty label or more than 253 bytes"
)

var asciiDifferences = map[string]struct{ got, why string }{
	"x..xn--zca":            {"", anyLabel},
	"x..ß":                  {"", anyLabel},
	"\u200d.example":        {"xn--1ug.example", "a joiner out of place is let pass: the name exists in DNS or it doesn't"},
	"look\u06ddout.net":     {"lookout.net", shown},
	"look\ufffaout.net":     {"lookout.net", shown},
	"look\u202eout.net":     {"lookout.net", shown},
	"look\U000e0001out.net": {"lookout.net", shown},
	"look\U000e0020out.net": {"lookout.net", shown},
	"\U0002f868.com":        {"", "the tables compiled in are older than this ideograph's correction"},
}

func TestWebPlatformToASCIIVectors(t *testing.T) {
	type toASCII struct {
		Input  string  `json:"input"`
		Output *string `json:"output"`
	}
	for _, vec := range sampleArray[toASCII](t, "url", "toascii.json") {
		v, err := Domain(vec.Input)
		want := ""
		if vec.Output != nil && len(*vec.Output) <= MaxDomain {
			want = *vec.Output
		}
		if diff, ok := asciiDifferences[vec.Input]; ok {
			want = diff.got
		}
		if v.String() != want {
			t.Errorf("%q: got %q, %v, want %q", vec.Input, v, err, want)
		}
	}
}

func TestPublicSuffixVectors(t *testing.T) {
	file, err := os.Open(sample(t, "url", "test_psl.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	tried := 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// checkPublicSuffix('www.example.com', 'example.com');
		call, ok := strings.CutPrefix(lines.Text(), "checkPublicSuffix(")
		if !ok {
			continue
		}
		input, want, _ := strings.Cut(strings.TrimSuffix(call, ");"), ", ")
		input, want = strings.Trim(input, "'"), strings.Trim(want, "'")
		if want == "null" {
			want = ""
		}
		if d, err := Domain(want); err == nil {
			want = d.String()
		}
		tried++
		host, err := Domain(input)
		if err != nil {
			if want != "" {
				t.Errorf("%q: %v", input, err)
			}
			continue
		}
		if got := RegistrableDomain(host.String()); got != want {
			t.Errorf("%q: got %q, want %q", input, got, want)
		}
		if (want == "") != (IsPublicSuffix(host.String()) || !strings.Contains(host.String(), ".")) {
			t.Errorf("%q: registrable domain %q, public suffix %v", input, want, IsPublicSuffix(host.String()))
		}
	}
	if tried < 50 {
		t.Errorf("only %d vectors tried", tried)
	}
}
