package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// mtas runs a test in front of both MTAs.
func mtas(t *testing.T, o options, test func(t *testing.T, s *site)) {
	for _, sendmail := range []bool{false, true} {
		name := "Postfix"
		if sendmail {
			name = "Sendmail"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := o
			o.sendmail = sendmail
			test(t, newSite(t, o))
		})
	}
}

// attachment is a message with a file.
func attachment(subject, name string, content []byte) smtptest.Mail {
	m := letter(subject, "")
	head, _, _ := strings.Cut(string(m.Data), "\r\n\r\n")
	encoded := base64.StdEncoding.EncodeToString(content)
	var lines strings.Builder
	for len(encoded) > 76 {
		lines.WriteString(encoded[:76] + "\r\n")
		encoded = encoded[76:]
	}
	m.Data = []byte(head + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee the file\r\n--b\r\nContent-Type: application/octet-stream; name=\"" +
		name + "\"\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines.String() + encoded + "\r\n--b--\r\n")
	return m
}

func zipped(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCleanMailArrivesWithItsHeadersAndListedMailIsHeld(t *testing.T) {
	malware, inner := []byte("MZ this is malware"), []byte("MZ this is malware in an archive")
	hash := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	blocked := strings.Join([]string{
		"ceo@evil.test", ".evil-domain.test", "https://evil-url.test/pay/*", "hxxp://exact[.]test/a?b=1",
		hash(malware), hash(inner), "/^lottery/i in=subject", "refused.test action=reject", "tagged.test action=tag", "later.test action=tempfail",
		"192.0.2.0/28 # some network", "127.0.0.99",
	}, "\n") + "\n"
	mtas(t, options{lists: map[string]string{"block/local.txt": blocked}}, func(t *testing.T, s *site) {
		r := s.send(letter("clean", "nothing here"))
		if !r.Accepted() {
			t.Fatalf("clean mail: %+v", r)
		}
		got := s.mailbox("alice@lab.test", 1)[0].Raw
		if v := header(got, "X-Weir-Verdict"); !strings.HasPrefix(v, "accept; rule=default; ref=") {
			t.Errorf("verdict %q", v)
		}
		if header(got, "X-Weir-ID") == "" || body(got) != "nothing here\n" {
			t.Errorf("arrived as %q", got)
		}

		from := func(m smtptest.Mail, sender string) smtptest.Mail { m.From = sender; return m }
		for _, c := range []struct {
			what, rule string
			mail       smtptest.Mail
		}{
			{"listed sender", "blocked-sender", from(letter("h1", "x"), "CEO@evil.test")},
			{"listed domain", "blocked-sender", from(letter("h2", "x"), "a@sub.evil-domain.test")},
			{"listed URL prefix", "blocked-url", letter("h3", "go to https://evil-url.test/pay/now?x=1 today")},
			{"listed URL, over https", "blocked-url", letter("h4", "https://exact.test/a?b=1")},
			{"listed domain in a URL", "blocked-url", letter("h5", "<a href=\"http://x.evil-domain.test/\">x</a>")},
			{"listed attachment", "blocked-file", attachment("h6", "invoice.exe", malware)},
			{"listed file in an archive", "blocked-file", attachment("h7", "invoice.zip", zipped(t, "invoice.exe", inner))},
			{"listed subject", "blocked", letter("Lottery", "x")},
		} {
			if r := s.send(c.mail); !r.Accepted() {
				t.Errorf("%s: %+v", c.what, r)
			}
			items := s.items()
			if len(items) == 0 || items[0].Rule != c.rule || items[0].State != "held" || !slices.Equal(items[0].to(), []string{"alice@lab.test"}) {
				t.Errorf("%s: %+v", c.what, items)
			}
		}
		if n := len(s.items()); n != 8 {
			t.Errorf("%d items", n)
		}

		r = s.send(from(letter("r1", "x"), "a@refused.test"))
		if r.Code() != 550 || !strings.Contains(r.Final[0].Text, "it carries something that this site does not accept (ref ") {
			t.Errorf("reject: %+v", r)
		}
		if r := s.send(from(letter("r2", "x"), "a@later.test")); r.Code() != 451 {
			t.Errorf("tempfail: %+v", r)
		}
		if r := s.send(from(letter("t1", "x"), "a@tagged.test")); !r.Accepted() {
			t.Errorf("tag: %+v", r)
		}
		mails := s.mailbox("alice@lab.test", 2)
		tagged := mails[slices.IndexFunc(mails, func(m storedMail) bool { return strings.Contains(header(m.Raw, "Subject"), "t1") })].Raw
		if header(tagged, "Subject") != "[SUSPICIOUS] t1" || !strings.HasPrefix(header(tagged, "X-Weir-Verdict"), "tag; rule=listed-tag") {
			t.Errorf("tagged: %q", tagged)
		}

		// A listed client.
		c := s.clientFrom("192.0.2.5", "127.0.0.99")
		defer func() { _ = c.Close() }()
		if r, err := c.Send(letter("c1", "x")); err != nil || !r.Accepted() {
			t.Errorf("listed client: %+v %v", r, err)
		}
		if i := s.items()[0]; i.Rule != "blocked-client" {
			t.Errorf("listed client: %+v", i)
		}
		s.mailbox("alice@lab.test", 2)
	})
}

func TestSeveralMessagesOnOneConnectionAreEachJudged(t *testing.T) {
	mtas(t, options{lists: map[string]string{"block/local.txt": "evil.test\nrefused.test action=reject\n"}}, func(t *testing.T, s *site) {
		c := s.client(stranger)
		send := func(m smtptest.Mail) smtptest.Result {
			t.Helper()
			r, err := c.Send(m)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		var codes []int
		for i, text := range []string{"one", "http://evil.test/", "http://refused.test/", "two", "http://refused.test/", "http://evil.test/", "three"} {
			codes = append(codes, send(letter(fmt.Sprintf("m%d", i), text)).Code())
		}
		if want := []int{250, 250, 550, 250, 550, 250, 250}; !slices.Equal(codes, want) {
			t.Errorf("answers %v, want %v", codes, want)
		}
		s.mailbox("alice@lab.test", 3)
		items := s.items()
		if len(items) != 2 {
			t.Fatalf("%d items", len(items))
		}
		for _, i := range items {
			if i.Sender != "s@sender.test" || s.postfix != nil && i.Client != "203.0.113.9" {
				t.Errorf("the connection was forgotten: %+v", i)
			}
		}
	})
}

func TestARejectedRecipientAmongGoodOnesLosesNothing(t *testing.T) {
	o := options{lists: map[string]string{"block/local.txt": "evil.test\n"}, recipient: users()}
	s := newSite(t, o)
	c := s.client(stranger)
	for i, text := range []string{"clean", "http://evil.test/"} {
		m := letter(fmt.Sprintf("m%d", i), text, "alice@lab.test", "nobody@lab.test", "bob@lab.test")
		r, err := c.Send(m)
		if err != nil || !r.Accepted() || r.Rcpt[1].Code != 550 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	s.mailbox("alice@lab.test", 1)
	s.mailbox("bob@lab.test", 1)
	if items := s.items(); len(items) != 1 || !slices.Equal(items[0].to(), []string{"alice@lab.test", "bob@lab.test"}) {
		t.Errorf("%+v", items)
	}
}

const boardPolicy = "[[rule]]\nname = 'board'\nwhen = '\"board\" in rcpt.groups'\naction = 'hold'\n"

func TestSomeRecipientsHaveItHeldWhileOthersGetIt(t *testing.T) {
	o := options{policy: boardPolicy, people: "address,groups\nbob@lab.test,board\n"}
	mtas(t, o, func(t *testing.T, s *site) {
		if r := s.send(letter("m", "x", "alice@lab.test", "bob@lab.test", "carol@lab.test")); !r.Accepted() {
			t.Fatalf("%+v", r)
		}
		s.mailbox("alice@lab.test", 1)
		s.mailbox("carol@lab.test", 1)
		s.mailbox("bob@lab.test", 0)
		items := s.items()
		if len(items) != 1 || !slices.Equal(items[0].to(), []string{"bob@lab.test"}) {
			t.Fatalf("%+v", items)
		}
		s.weirCmd("quarantine", "release", items[0].ID, "--override", "--reason", "expected")
		s.mailbox("bob@lab.test", 1)
		s.mailbox("alice@lab.test", 1)
	})
}

func TestARecipientBehindAnAliasIsHeldWhileAnotherIsServed(t *testing.T) {
	o := options{policy: boardPolicy, people: "address,groups\nteam@lab.test,board\n", aliases: map[string]string{"team@lab.test": "bob@lab.test, carol@lab.test"}}
	mtas(t, o, func(t *testing.T, s *site) {
		if r := s.send(letter("m", "x", "Team@lab.test", "alice@lab.test")); !r.Accepted() {
			t.Fatalf("%+v", r)
		}
		s.mailbox("alice@lab.test", 1)
		s.mailbox("bob@lab.test", 0)
		items := s.items()
		if len(items) != 1 || !slices.Equal(items[0].to(), []string{"Team@lab.test"}) {
			t.Fatalf("%+v", items)
		}
		s.weirCmd("quarantine", "release", items[0].ID, "--override", "--reason", "expected")
		s.mailbox("bob@lab.test", 1)
		s.mailbox("carol@lab.test", 1)
		s.mailbox("alice@lab.test", 1)
	})
}

func TestAReleaseArrivesOnceByteForByte(t *testing.T) {
	mtas(t, options{lists: map[string]string{"block/local.txt": "evil.test\n"}}, func(t *testing.T, s *site) {
		m := letter("m", "see http://evil.test/\r\n.\r\n..dots\r\nFrom the start\r\n\r\ntrailing space \r\n=E9 tab\t\r\nlast line")
		m.Data = bytes.Replace(m.Data, []byte("Subject: m"), []byte("Subject: a folded\r\n  subject\r\nX-Odd:  two spaces\r\nX-Empty:"), 1)
		m.From = ""
		if r := s.send(m); !r.Accepted() {
			t.Fatalf("%+v", r)
		}
		s.mailbox("alice@lab.test", 0)
		id := s.items()[0].ID
		out, err := s.try("quarantine", "release", id)
		if code(err) != 4 || !strings.Contains(err.Error(), "evil.test") || !strings.Contains(err.Error(), "--override") {
			t.Fatalf("without an override: %v %s", err, out)
		}
		for range 2 {
			s.weirCmd("quarantine", "release", id, "--override", "--reason", "false positive")
		}
		got := s.mailbox("alice@lab.test", 1)[0].Raw
		if !bytes.HasSuffix(lf(got), lf(m.Data)) {
			t.Errorf("arrived as %q\nsent       %q", lf(got), lf(m.Data))
		}
		if header(got, "Return-Path") != "<>" || header(got, "X-Weir-ID") == "" {
			t.Errorf("header %q", got)
		}
		if i := s.items(); i[0].State != "released" {
			t.Errorf("%+v", i)
		}
		exported := s.weirCmd("quarantine", "export", id)
		if !bytes.Equal(exported, m.Data) {
			t.Errorf("exported %q\nsent     %q", exported, m.Data)
		}
	})
}

func lf(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }

func code(err error) int {
	var e *exitError
	if errorsAs(err, &e) {
		return e.code
	}
	return 0
}

func TestTheSameMessageAgainAfterItsAnswerWasLostIsOneItem(t *testing.T) {
	mtas(t, options{lists: map[string]string{"block/local.txt": "evil.test\n"}}, func(t *testing.T, s *site) {
		m := letter("m", "http://evil.test/")
		if err := s.client(stranger).SendAndDrop(m, true); err != nil {
			t.Fatal(err)
		}
		s.eventually("the first try is held", func() (bool, error) { return len(s.items()) == 1, nil })
		for range 2 {
			if r := s.send(m); !r.Accepted() {
				t.Fatalf("%+v", r)
			}
		}
		items := s.items()
		if len(items) != 1 {
			t.Fatalf("%d items", len(items))
		}
		s.weirCmd("quarantine", "release", items[0].ID, "--override", "--reason", "x")
		s.mailbox("alice@lab.test", 1)
		if r := s.send(m); !r.Accepted() {
			t.Fatalf("%+v", r)
		}
		if n := len(s.items()); n != 1 {
			t.Errorf("a late retry made %d items", n)
		}
		s.mailbox("alice@lab.test", 1)
	})
}

// fromInside lets clients inside, and one user outside, send to anywhere.
func fromInside(p *lab.PostfixOptions) {
	p.Main["mynetworks"] = "127.0.0.0/8 10.0.0.0/8 198.51.100.7/32"
}

func TestReleasedOutboundMailIsSignedByTheMilterBehind(t *testing.T) {
	s := newSite(t, options{dkim: "lab.test", postfix: fromInside, lists: map[string]string{"block/local.txt": "evil.test\n"}})
	m := letter("m", "see http://evil.test/", "partner@elsewhere.test")
	m.From = "alice@lab.test"
	m.Data = bytes.Replace(m.Data, []byte("Sender <s@sender.test>"), []byte("Alice <alice@lab.test>"), 1)
	inside := "ADDR=10.1.2.3 NAME=desk.lab.test HELO=desk.lab.test"
	if r := s.sendAs(inside, m); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	items := s.items()
	if len(items) != 1 || items[0].Direction != "outbound" {
		t.Fatalf("%+v", items)
	}
	s.weirCmd("quarantine", "release", items[0].ID, "--override", "--reason", "x")
	got := s.wentOutside(1)
	if !bytes.HasSuffix(lf(got[0].Data), lf(m.Data)) {
		t.Errorf("arrived as %q", got[0].Data)
	}
	if header(got[0].Data, "X-Weir-Verdict") != "" {
		t.Error("a verdict went outside")
	}
	if err := s.dkim.Verify(t.Context(), got[0].Data); err != nil {
		t.Errorf("the signature: %v in %q", err, got[0].Data)
	}
}

func TestOutboundMailCarriesNoVerdict(t *testing.T) {
	s := newSite(t, options{postfix: fromInside})
	m := letter("m", "x", "partner@elsewhere.test")
	m.From = "alice@lab.test"
	if r := s.sendAs("ADDR=198.51.100.7 NAME=hotel.test LOGIN=alice", m); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	got := s.wentOutside(1)
	if header(got[0].Data, "X-Weir-Verdict") != "" || header(got[0].Data, "X-Weir-ID") == "" {
		t.Errorf("header %q", got[0].Data)
	}
}

func TestBehindATrustedRelayTheClientIsItsAndARejectIsAHold(t *testing.T) {
	s := newSite(t, options{lists: map[string]string{"block/local.txt": "203.0.113.77 action=reject\n"}, noStart: true})
	config := string(s.read("weir.toml"))
	s.write("weir.toml", strings.Replace(config, "[mail]", "[mail]\ntrusted_relays = [\"192.0.2.25\"]", 1))
	s.start()
	relay := "ADDR=192.0.2.25 NAME=mx2.lab.test HELO=mx2.lab.test"
	m := letter("m", "x")
	m.Data = append([]byte("Received: from evil (evil.test [203.0.113.77]) by mx2.lab.test (Postfix) with ESMTP id 4X; Sat, 21 Nov 2026 10:00:00 +0000\r\n"), m.Data...)
	if r := s.sendAs(relay, m); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	items := s.items()
	if len(items) != 1 || items[0].Rule != "listed-reject" || items[0].Client != "203.0.113.77" {
		t.Fatalf("%+v", items)
	}
	// The same client directly is refused.
	if r := s.sendAs("ADDR=203.0.113.77", letter("m2", "x")); r.Code() != 550 {
		t.Errorf("%+v", r)
	}
}

func TestUnusualEnvelopesAndBodiesArriveAndAreReleasedAsTheyWere(t *testing.T) {
	// Dovecot's LMTP knows no SMTPUTF8, so that goes to a domain that is relayed.
	s := newSite(t, options{noStart: true, lists: map[string]string{"block/local.txt": "evil.test\n"},
		postfix: func(p *lab.PostfixOptions) {
			p.Main["relay_domains"], p.Main["relay_transport"] = "relayed.test", p.RelayTo
		}})
	s.write("weir.toml", strings.Replace(string(s.read("weir.toml")), `local_domains = ["lab.test"]`, `local_domains = ["lab.test", "relayed.test"]`, 1))
	s.start()
	utf8 := letter("m1", "grüße http://evil.test/", "jürgen@relayed.test")
	utf8.From, utf8.FromArgs = "märz@sender.test", "SMTPUTF8 BODY=8BITMIME"
	null := letter("m2", "bounce")
	null.From = ""
	eight := letter("m3", "caf\xe9 \xff\x80 latin bytes http://evil.test/")
	eight.FromArgs = "BODY=8BITMIME"
	for _, m := range []smtptest.Mail{utf8, null, eight} {
		if r := s.send(m); !r.Accepted() {
			t.Fatalf("%+v", r)
		}
	}
	if got := s.mailbox("alice@lab.test", 1)[0].Raw; header(got, "Return-Path") != "<>" {
		t.Errorf("null sender: %q", got)
	}
	items := s.items()
	if len(items) != 2 || items[1].Sender != "märz@sender.test" || !slices.Equal(items[1].to(), []string{"jürgen@relayed.test"}) || items[1].Direction != "inbound" {
		t.Fatalf("%+v", items)
	}
	s.weirCmd("quarantine", "release", items[0].ID, items[1].ID, "--override", "--reason", "x")
	if got := s.wentOutside(1)[0]; !bytes.HasSuffix(lf(got.Data), lf(utf8.Data)) || got.From != "märz@sender.test" || !slices.Equal(got.To, []string{"jürgen@relayed.test"}) {
		t.Errorf("SMTPUTF8: %+v", got)
	}
	for _, mail := range s.mailbox("alice@lab.test", 2) {
		if strings.Contains(string(mail.Raw), "latin") && !bytes.HasSuffix(lf(mail.Raw), lf(eight.Data)) {
			t.Errorf("8BITMIME: %q", mail.Raw)
		}
	}
}

func TestALargeMessageIsJudgedWholeAndATooLargeOneIsAnswered(t *testing.T) {
	s := newSite(t, options{lists: map[string]string{"block/local.txt": "evil.test\n"}})
	noise := make([]byte, 22<<20) // 30 MB in base64
	for i := range noise {
		noise[i] = byte(i * 7 >> 3)
	}
	m := attachment("large", "noise.bin", noise)
	if len(m.Data) < 30<<20 {
		t.Fatalf("only %d bytes", len(m.Data))
	}
	if r := s.send(m); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	if got := s.mailbox("alice@lab.test", 1)[0].Raw; !bytes.HasSuffix(lf(got), lf(m.Data)) {
		t.Errorf("%d bytes arrived of %d", len(got), len(m.Data))
	}
	m.Data = append(m.Data, "\r\nhttp://evil.test/ behind it\r\n"...)
	m.Data = bytes.Replace(m.Data, []byte("see the file"), []byte("http://evil.test/"), 1)
	if r := s.send(m); !r.Accepted() || len(s.items()) != 1 {
		t.Fatalf("%+v", r)
	}
	s.weirCmd("quarantine", "release", s.items()[0].ID, "--override", "--reason", "x")
	s.mailbox("alice@lab.test", 2)
	larger := attachment("larger", "noise.bin", append(noise, noise[:9<<20]...)) // 42 MB, above the 40 MiB of the configuration
	r := s.send(larger)
	if r.Code() != 552 || !strings.Contains(r.Final[0].Text, "larger than the mail filter takes") {
		t.Errorf("%v", r.Final)
	}
}

func TestObserveModeDoesNothingButSayWhatItWouldHaveDone(t *testing.T) {
	mtas(t, options{mode: "observe", lists: map[string]string{"block/local.txt": "evil.test\nrefused.test action=reject\n"}}, func(t *testing.T, s *site) {
		for i, text := range []string{"http://evil.test/", "http://refused.test/", "clean"} {
			if r := s.send(letter(fmt.Sprintf("m%d", i), text)); !r.Accepted() {
				t.Errorf("%s: %+v", text, r)
			}
		}
		var verdicts []string
		for _, m := range s.mailbox("alice@lab.test", 3) {
			v, _, _ := strings.Cut(header(m.Raw, "X-Weir-Verdict"), "; ref=")
			verdicts = append(verdicts, v)
			if !strings.HasSuffix(header(m.Raw, "X-Weir-Verdict"), "; mode=observe") {
				t.Errorf("%q", m.Raw)
			}
		}
		slices.Sort(verdicts)
		if want := []string{"accept; rule=default", "hold; rule=blocked-url", "reject; rule=listed-reject"}; !slices.Equal(verdicts, want) {
			t.Errorf("%q", verdicts)
		}
		if n := len(s.items()); n != 0 {
			t.Errorf("%d items", n)
		}
	})
}

func TestAnEditedListHoldsWithinASecond(t *testing.T) {
	s := newSite(t, options{})
	if r := s.send(letter("m1", "http://new.test/")); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	s.mailbox("alice@lab.test", 1)
	s.write("lists/block/new.txt", "new.test\n")
	s.eventually("the entry holds", func() (bool, error) {
		out, err := s.try("list", "test", "--daemon", "--json", "http://new.test/")
		return err == nil && bytes.Contains(out, []byte(`"block"`)), nil
	})
	if r := s.send(letter("m2", "http://new.test/")); !r.Accepted() || len(s.items()) != 1 {
		t.Errorf("%+v", r)
	}
	// A broken edit changes nothing and is named.
	s.write("lists/block/new.txt", "new.test\nhttp://\n")
	s.eventually("the mistake is shown", func() (bool, error) {
		out, _ := s.try("status")
		return bytes.Contains(out, []byte("new.txt:2")), nil
	})
	if r := s.send(letter("m3", "http://new.test/")); !r.Accepted() || len(s.items()) != 2 {
		t.Errorf("%+v", r)
	}
}
