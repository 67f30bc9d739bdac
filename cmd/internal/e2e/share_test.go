package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// authority signs certificates of one hour.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "peers"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign completes a certificate and signs it, the first one itself.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.n), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

// give writes a certificate for a name and an address, its key and the authority into
// a site's folder.
func (a *authority) give(s *site, name, address string) (cert, key, ca string) {
	s.t.Helper()
	host, _, err := net.SplitHostPort(address)
	s.must(err)
	signed, private := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.ParseIP(host)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(private)
	s.must(err)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	cert, ca = s.write(name+".pem", block("CERTIFICATE", signed.Raw)), s.write("ca.pem", block("CERTIFICATE", a.cert.Raw))
	key = s.write(name+".key", block("PRIVATE KEY", der))
	s.must(os.Chown(key, nobody, nobody))
	s.must(os.Chmod(key, 0o600))
	return cert, key, ca
}

// add puts sections at the end of the configuration.
func (s *site) add(format string, args ...any) {
	s.t.Helper()
	s.write("weir.toml", string(s.read("weir.toml"))+fmt.Sprintf(format, args...))
}

// Two organisations on one machine, each with its own Postfix, Dovecot and sidecar. What
// a person confirms at one is out of the mailboxes of the other within seconds, and its
// next message is held there; what the one takes back passes again.
func TestWhatOneConfirmsIsBlockedAndPulledAtItsPeer(t *testing.T) {
	t.Parallel()
	a, b := newSite(t, forPulls(options{})), newSite(t, forPulls(options{}))
	peers := newAuthority(t)
	listen := a.freeAddr()
	cert, key, ca := peers.give(a, "a.example.org", listen)
	a.add("[share]\nlisten = %q\ncert_file = %q\nkey_file = %q\nclient_ca_file = %q\n[incident]\nautomatic = []\n", listen, cert, key, ca)
	cert, key, ca = peers.give(b, "b.example.org", listen)
	b.add("[[feed]]\nname = \"a\"\nurl = %q\nformat = \"taxii\"\nevery = \"2s\"\nallow_private = true\nca_file = %q\ncert_file = %q\nkey_file = %q\n[incident]\nautomatic = [\"feed:a\"]\n",
		"https://"+listen+"/api/collections/confirmed/", ca, cert, key)
	a.startPulls(viaIMAP())
	b.startPulls(viaIMAP())

	bad := func(s *site, subject string) smtptest.Result {
		return s.send(letter(subject, "pay at https://evil.test/pay/"+subject, "alice@lab.test", "bob@lab.test"))
	}
	for _, s := range []*site{a, b} {
		bad(s, "invoice")
		s.send(letter("lunch", "at https://good.test/menu", "alice@lab.test"))
		s.mailbox("alice@lab.test", 2)
		s.mailbox("bob@lab.test", 1)
	}
	// What a list finds at A is not confirmed, and nobody's business but A's.
	a.write("lists/block/late.txt", "https://evil.test/pay/*\n.evil-below.test\n")
	i := a.settled(a.onlyIncident().ID)
	if i.Waits != 2 {
		t.Fatalf("at A: %+v", i)
	}
	b.eventually("B has read the empty collection", func() (bool, error) {
		return bytes.Contains(a.weirCmd("status"), []byte("cert:b.example.org")), nil
	})
	if all := b.incidents(); len(all) != 0 {
		t.Fatalf("B knows already: %+v", all)
	}

	began := time.Now()
	a.weirCmd("incident", "approve", i.ID, "--reason", "it is phishing")
	b.eventually("the incident at B is done", func() (bool, error) {
		all := b.incidents()
		return len(all) == 1 && all[0].Counts["pulled"] == 2, nil
	})
	t.Logf("from A's approval until B's mailboxes were clean: %s", time.Since(began).Round(100*time.Millisecond))
	for _, user := range []string{"alice@lab.test", "bob@lab.test"} {
		if left := b.carrying(user, "evil.test"); len(left) != 0 {
			t.Errorf("B's %s still has %v", user, left)
		}
	}
	if left := b.carrying("alice@lab.test", "good.test"); len(left) != 1 {
		t.Errorf("B's alice has %v of other mail", left)
	}
	bad(b, "second")
	b.eventually("the next message is held at B", func() (bool, error) { return len(b.items("--kind", "held")) == 1, nil })
	var status struct {
		Share struct {
			Published int
			Peers     []struct {
				Name     string
				Requests int
			}
		}
	}
	a.must(json.Unmarshal(a.weirCmd("status", "--json"), &status))
	if s := status.Share; s.Published != 1 || len(s.Peers) != 1 || s.Peers[0].Name != "cert:b.example.org" {
		t.Errorf("A's status: %+v", s)
	}

	// A false alarm is taken back at B, too.
	a.weirCmd("incident", "close", i.ID, "--false-alarm", "--reason", "the bank did send it")
	b.eventually("B lets such mail pass again", func() (bool, error) {
		out, err := b.try("list", "test", "--daemon", "https://evil.test/pay/x")
		return err == nil && !strings.Contains(string(out), "feed:a"), nil
	})
	bad(b, "third")
	b.mailbox("alice@lab.test", 2) // lunch and the third

	// Nobody without a certificate gets anything; all of it is on record.
	if log := string(a.weirCmd("audit", "show", "--json")); !strings.Contains(log, `"published"`) || !strings.Contains(log, `"revoked"`) || !strings.Contains(log, "was nothing bad") {
		t.Error("the ledger does not tell what was published and taken back")
	}
	if _, err := os.Stat(filepath.Join(a.dir, "state")); err != nil {
		t.Error(err)
	}
}
