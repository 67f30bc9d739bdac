package control_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
)

// leased opens an incident with one copy and leases its job.
func leased(t *testing.T, h *controltest.House, jobs *client.Jobs) job.Lease {
	t.Helper()
	cl := client.New(h.Socket)
	defer cl.Close()
	deliver(t, h, "one@bank.example", "Your invoice", "https://evil.example/", "pay@bank.example", "alice@example.org")
	if _, err := cl.OpenIncident(ctx, api.IncidentOpen{Observables: []string{"evil.example"}, Reason: "x", Pull: true}); err != nil {
		t.Fatal(err)
	}
	leases, err := jobs.Lease(ctx, 1, 5*time.Second)
	if err != nil || len(leases) != 1 || leases[0].Job.Mailbox != "alice@example.org" || leases[0].Job.Target.MessageID != "one@bank.example" || leases[0].Job.Target.Body.IsZero() {
		t.Fatalf("%+v %v", leases, err)
	}
	return leases[0]
}

func newJobs(t *testing.T, h *controltest.House) *client.Jobs {
	jobs := client.NewJobs(h.Socket)
	t.Cleanup(jobs.Close)
	return jobs
}

func someCopy() mailbox.Copy {
	return mailbox.Copy{Folder: "INBOX", ID: "1/2", MessageID: strings.Repeat("i", 300<<10), Date: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), Keywords: []string{"a\nb", "ü"}}
}

func keepOne(jobs *client.Jobs, lease string, c mailbox.Copy, raw []byte) (job.Kept, error) {
	s := jobs.Keep(ctx, []pull.Upload{{Lease: lease, Copy: c, Raw: raw}})[0]
	return s.Kept, s.Err
}

func reportOne(jobs *client.Jobs, lease string, r job.Result) error {
	return jobs.Report(ctx, []pull.Report{{Lease: lease, Result: r}})[0]
}

func TestACopyIsHandedOverAsItIs(t *testing.T) {
	h := controltest.New(t, control.Access{})
	jobs := newJobs(t, h)
	l := leased(t, h, jobs)
	var raw []byte
	for i := range 256 {
		raw = append(raw, byte(i))
	}
	raw = bytes.Repeat(append([]byte("Subject: x\r\n\r\n"), raw...), 5000)
	for range 2 {
		kept, err := keepOne(jobs, l.ID, someCopy(), raw)
		if err != nil || kept.Bytes != int64(len(raw)) {
			t.Fatalf("%+v %v", kept, err)
		}
		_, content, err := h.Quarantine.Message(ctx, kept.Item, "unix:0", "test")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, content.Size())
		if n, _ := content.Read(got); n == 0 || !bytes.Equal(got[:n], raw[:n]) || content.Size() != int64(len(raw)) {
			t.Errorf("other bytes are kept")
		}
		_ = content.Close()
	}
	if lost, err := jobs.Renew(ctx, []string{l.ID, "unknown"}); err != nil || len(lost) != 1 || lost[0] != "unknown" {
		t.Errorf("%v %v", lost, err)
	}
}

func TestWhatIsNoCopyIsRefused(t *testing.T) {
	h := controltest.New(t, control.Access{})
	jobs := newJobs(t, h)
	l := leased(t, h, jobs)
	h.SetLimits(control.Limits{MessageSize: 10 << 10})
	_, err := keepOne(jobs, l.ID, mailbox.Copy{Folder: "INBOX", ID: "1/2"}, make([]byte, 10<<10+3<<20))
	if !errors.Is(err, mailbox.ErrTooLarge) || errors.Is(err, pull.ErrLease) {
		t.Errorf("too large: %v", err)
	}
	if _, err := keepOne(jobs, "unknown", someCopy(), []byte("x")); !errors.Is(err, pull.ErrLease) {
		t.Errorf("no such lease: %v", err)
	}
	if err := reportOne(jobs, "unknown", job.Result{Outcome: job.Pulled}); !errors.Is(err, pull.ErrLease) {
		t.Errorf("no such lease: %v", err)
	}
	if err := jobs.Content(ctx, "unknown", &bytes.Buffer{}); !errors.Is(err, pull.ErrLease) {
		t.Errorf("no such lease: %v", err)
	}
	for name, tt := range map[string][2]string{
		"not declared": {"application/json", "{}\n"}, "no line": {api.CopiesType, "{}"}, "no JSON": {api.CopiesType, "x\ny"}, "nothing": {api.CopiesType, ""},
		"less than it says": {api.CopiesType, `{"bytes":2}` + "\nx"}, "less than nothing": {api.CopiesType, `{"bytes":-1}` + "\nx"}, "more than it says": {api.CopiesType, `{"bytes":1}` + "\nxy"},
		"too many": {api.CopiesType, strings.Repeat("{}\n", api.MaxTogether+1)},
	} {
		status, text := request(t, dial(t, h), "POST", "/v1/jobs/copies", tt[0], tt[1])
		if status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	c := dial(t, h)
	_, _ = fmt.Fprintf(c, "POST /v1/jobs/copies HTTP/1.1\r\nHost: weir\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n0\r\n\r\n", api.CopiesType)
	answer := make([]byte, 12)
	if _, err := c.Read(answer); err != nil || string(answer) != "HTTP/1.1 400" {
		t.Errorf("without a length: %q %v", answer, err)
	}
	if leases, err := jobs.Lease(ctx, 0, 0); err == nil {
		t.Errorf("no jobs at all are leased: %v", leases)
	}
}

// Some of a request are wrong, and the rest is done.
func TestWhatIsWrongWithOneCopyOrReportHoldsUpNoOther(t *testing.T) {
	h := controltest.New(t, control.Access{})
	jobs := newJobs(t, h)
	l := leased(t, h, jobs)
	h.SetLimits(control.Limits{MessageSize: 10 << 10})
	place := func(n int) mailbox.Copy { return mailbox.Copy{Folder: "INBOX", ID: fmt.Sprintf("1/%d", n)} }
	stored := jobs.Keep(ctx, []pull.Upload{
		{Lease: l.ID, Copy: place(1), Raw: []byte("Subject: 1\r\n\r\n")},
		{Lease: "unknown", Copy: place(2), Raw: []byte("Subject: 2\r\n\r\n")},
		{Lease: l.ID, Copy: place(3), Raw: make([]byte, 10<<10+1<<20+1)},
		{Lease: l.ID, Copy: mailbox.Copy{Folder: "INBOX", ID: "1/4", Date: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, Raw: []byte("x")}, // JSON has no such year
		{Lease: l.ID, Copy: mailbox.Copy{Folder: "INBOX"}, Raw: []byte("no ID")},
		{Lease: l.ID, Copy: place(6), Raw: []byte("Subject: 6\r\n\r\n")},
	})
	for i, want := range []error{nil, pull.ErrLease, mailbox.ErrTooLarge, errAny, errAny, nil} {
		s := stored[i]
		switch {
		case want == nil && (s.Err != nil || s.Kept.Copy.ID != place(i+1).ID || s.Kept.Item == ""):
			t.Errorf("copy %d: %+v %v", i, s.Kept, s.Err)
		case want == errAny && s.Err == nil, want != nil && want != errAny && !errors.Is(s.Err, want):
			t.Errorf("copy %d: %v, want %v", i, s.Err, want)
		}
	}
	errs := jobs.Report(ctx, []pull.Report{
		{Lease: "unknown", Result: job.Result{Outcome: job.Pulled}},
		{Lease: l.ID, Result: job.Result{Outcome: "nonsense"}},
		{Lease: l.ID, Result: job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: mailbox.Copy{Date: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}}}},
		{Lease: l.ID, Result: job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Fate: job.Removed, Item: stored[0].Kept.Item, Copy: place(1)}}}},
	})
	if !errors.Is(errs[0], pull.ErrLease) || errs[1] == nil || errs[2] == nil || errs[3] != nil {
		t.Errorf("reports: %v", errs)
	}
	if errs := jobs.Report(ctx, []pull.Report{{Lease: l.ID, Result: job.Result{Outcome: job.Failed}}}); errs[0] != nil {
		t.Errorf("a report that is given again: %v", errs)
	}
}

var errAny = errors.New("any error")

// A request has so many copies, reports and bytes: the client asks several times.
func TestMoreThanOneRequestTakesIsAskedInSeveral(t *testing.T) {
	h := controltest.New(t, control.Access{})
	jobs := newJobs(t, h)
	l := leased(t, h, jobs)
	var uploads []pull.Upload
	var reports []pull.Report
	for n := range 2*api.MaxTogether + 1 {
		raw := fmt.Appendf(nil, "Subject: %d\r\n\r\n%s", n, strings.Repeat("x", n<<11))
		uploads = append(uploads, pull.Upload{Lease: l.ID, Copy: mailbox.Copy{Folder: "INBOX", ID: fmt.Sprintf("1/%d", n)}, Raw: raw})
		reports = append(reports, pull.Report{Lease: fmt.Sprintf("unknown-%d", n), Result: job.Result{Outcome: job.Failed, Detail: strings.Repeat("x", 200<<10)}})
	}
	for n, s := range jobs.Keep(ctx, uploads) {
		if s.Err != nil || s.Kept.Copy.ID != uploads[n].Copy.ID || s.Kept.Bytes != int64(len(uploads[n].Raw)) {
			t.Errorf("copy %d: %+v %v", n, s.Kept, s.Err)
		}
	}
	for n, err := range jobs.Report(ctx, reports) {
		if !errors.Is(err, pull.ErrLease) || !strings.Contains(err.Error(), reports[n].Lease) {
			t.Errorf("report %d: %v", n, err)
		}
	}
	if status, text := request(t, dial(t, h), "POST", "/v1/jobs/reports", "application/json", `{"reports":[]}`); status != http.StatusBadRequest {
		t.Errorf("no report: %d %s", status, text)
	}
}

func TestWhoGoesAwayWaitsNoLongerAndTakesNoWorkWithHim(t *testing.T) {
	h := controltest.New(t, control.Access{})
	gone, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := newJobs(t, h).Lease(gone, 1, time.Minute)
		done <- err
	}()
	time.Sleep(50 * time.Millisecond) // it waits, or is about to: both are to end alike
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	began := time.Now()
	leased(t, h, newJobs(t, h))
	if time.Since(began) > 20*time.Second {
		t.Error("the job went to who had gone")
	}
}

func TestTheDaemonEndsAlthoughSomebodyWaitsForWork(t *testing.T) {
	h := controltest.New(t, control.Access{})
	done := make(chan error, 1)
	go func() {
		_, err := newJobs(t, h).Lease(ctx, 1, time.Minute)
		done <- err
	}()
	time.Sleep(50 * time.Millisecond)
	end, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := h.Server.Shutdown(end); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("there was work")
	}
}

// authority signs certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: name}}, name)
	return a
}

// sign makes NAME.pem and NAME.key.
func (a *authority) sign(c *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	must := func(err error) {
		if err != nil {
			a.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	must(os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	cert, err := x509.ParseCertificate(der)
	must(err)
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) server(name string) {
	a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, name)
}

// client gives settings that show a certificate with a name.
func (a *authority) client(name string, trust *authority) *tls.Config {
	a.t.Helper()
	a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, name)
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(trust.cert)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
}

// remote serves a house to other hosts.
func remote(t *testing.T, h *controltest.House, ours *authority) string {
	t.Helper()
	ours.server("weir")
	settings, err := control.RemoteTLS(ours.file("weir.pem"), ours.file("weir.key"), ours.file("ours.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = h.Server.ServeRemote(ln, settings) }() // ends with the server
	return ln.Addr().String()
}

func TestOtherHostsDoTheWorkInMailboxesAndNothingElse(t *testing.T) {
	h := controltest.New(t, roles())
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	address := remote(t, h, ours)
	open := func(settings *tls.Config) *client.Jobs {
		jobs, err := client.NewRemoteJobs(address, settings)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(jobs.Close)
		return jobs
	}
	jobs := open(ours.client("imap1", ours))
	l := leased(t, h, jobs)
	kept, err := keepOne(jobs, l.ID, mailbox.Copy{Folder: "INBOX", ID: "1/2"}, []byte("Subject: x\r\n\r\nx"))
	if err != nil {
		t.Fatal(err)
	}
	if err := reportOne(jobs, l.ID, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Fate: job.Removed, Item: kept.Item, Copy: mailbox.Copy{Folder: "INBOX", ID: "1/2"}}}}); err != nil {
		t.Fatal(err)
	}
	s, err := h.Ledger.State("item/" + kept.Item)
	if err != nil || s.Events[0].Actor != "cert:imap1" {
		t.Errorf("%+v %v", s, err)
	}

	// A holder of a certificate that nobody has named, and one of another authority.
	if _, err := open(ours.client("imap2", ours)).Lease(ctx, 1, 0); codeOf(err) != api.Forbidden || !strings.Contains(err.Error(), `"cert:imap2"`) {
		t.Errorf("imap2: %v", err)
	}
	if _, err := open(theirs.client("imap1", ours)).Lease(ctx, 1, 0); err == nil || codeOf(err) != "" {
		t.Errorf("of another authority: %v", err)
	}
	if _, err := open(ours.client("imap1", theirs)).Lease(ctx, 1, 0); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a daemon that is not trusted: %v", err)
	}
	if _, err := client.NewRemoteJobs(address, &tls.Config{}); err == nil {
		t.Error("no certificate is shown")
	}
	transport := &http.Transport{TLSClientConfig: ours.client("imap1", ours)}
	defer transport.CloseIdleConnections()
	for _, op := range api.Operations() {
		path := strings.NewReplacer("{id}", "01XXXX", "{lease}", "01XXXX").Replace(op.Path)
		r, err := http.NewRequest(op.Method, "https://"+address+api.Version+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", op.Name, err)
		}
		_ = answer.Body.Close()
		if offered := answer.StatusCode != http.StatusNotFound; offered != (op.Role == api.Puller) {
			t.Errorf("%s: %d", op.Name, answer.StatusCode)
		}
	}
}

func TestARenewedCertificateIsShownWithoutARestart(t *testing.T) {
	ours := newAuthority(t, "ours")
	ours.server("weir")
	settings, err := control.RemoteTLS(ours.file("weir.pem"), ours.file("weir.key"), ours.file("ours.pem"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := settings.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	ours.server("weir")
	second, err := settings.GetCertificate(nil)
	if err != nil || bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Errorf("the old one is shown: %v", err)
	}
	if err := os.WriteFile(ours.file("weir.pem"), []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := settings.GetCertificate(nil)
	if err != nil || !bytes.Equal(second.Certificate[0], third.Certificate[0]) {
		t.Errorf("a broken one is taken: %v", err)
	}
	for _, files := range [][3]string{{"none.pem", "weir.key", "ours.pem"}, {"ours.pem", "weir.key", "ours.pem"}, {"ours.pem", "ours.key", "none.pem"}, {"ours.pem", "ours.key", "weir.key"}} {
		if _, err := control.RemoteTLS(ours.file(files[0]), ours.file(files[1]), ours.file(files[2])); err == nil || !strings.Contains(err.Error(), ours.dir) {
			t.Errorf("%v: %v", files, err)
		}
	}
}
