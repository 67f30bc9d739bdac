package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// dkimSelector names the key of every lab.
const dkimSelector = "lab"

// OpenDKIM is a running OpenDKIM: a milter that signs what it sees from one domain.
type OpenDKIM struct {
	lab     *Lab
	dir     string
	domain  string
	addr    string
	process *process
}

// OpenDKIM starts a milter that signs mail from a domain with a key of its own.
func (l *Lab) OpenDKIM(domain string) (*OpenDKIM, error) {
	dir, err := l.room("opendkim")
	if err != nil {
		return nil, err
	}
	o := &OpenDKIM{lab: l, dir: dir, domain: domain}
	if o.addr, err = l.FreeAddr(); err != nil {
		return nil, err
	}
	if err := o.setUp(); err != nil {
		return nil, fmt.Errorf("lab: opendkim: %w", err)
	}
	if o.process, err = l.launch(spec{
		name: "opendkim",
		args: []string{"/usr/sbin/opendkim", "-f", "-x", filepath.Join(dir, "sign.conf")},
		dir:  dir, output: filepath.Join(dir, "output"),
		network: "tcp", address: o.addr,
	}); err != nil {
		return nil, err
	}
	l.keep(o)
	return o, nil
}

// Stop ends the milter. It may be called again.
func (o *OpenDKIM) Stop() error { return o.process.stop() }

// Kill ends the milter by SIGKILL.
func (o *OpenDKIM) Kill() error { return o.process.kill() }

// Milter gives the milter as Postfix writes it: "inet:ADDRESS:PORT".
func (o *OpenDKIM) Milter() string { return "inet:" + o.addr }

func (o *OpenDKIM) logs() []string { return []string{filepath.Join(o.dir, "output")} }

// Verify checks the DKIM signature of a message with OpenDKIM itself and the
// lab's key. The error says what is wrong with it, or that there is none.
func (o *OpenDKIM) Verify(ctx context.Context, message []byte) error {
	cmd := exec.CommandContext(ctx, "/usr/sbin/opendkim", "-x", filepath.Join(o.dir, "verify.conf"), "-t", "-")
	cmd.Stdin = bytes.NewReader(message)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("opendkim: %w: %s", err, out)
	}
	// "opendkim: (stdin): verification (s=lab, d=lab.test, 2048-bit key) succeeded"
	if !bytes.Contains(out, []byte("(s="+dkimSelector+", d="+o.domain+",")) || !bytes.Contains(out, []byte(") succeeded")) {
		return fmt.Errorf("no DKIM signature of %s that verifies: %s", o.domain, bytes.TrimSpace(out))
	}
	return nil
}

func (o *OpenDKIM) setUp() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	keyFile := filepath.Join(o.dir, "private.pem")
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	record := fmt.Sprintf("%s._domainkey.%s v=DKIM1; k=rsa; p=%s\n", dkimSelector, o.domain, base64.StdEncoding.EncodeToString(public))
	host, port, err := net.SplitHostPort(o.addr)
	if err != nil {
		return err
	}
	sign := fmt.Sprintf("Mode s\nRequireSafeKeys no\nDomain %s\nSelector %s\nKeyFile %s\nSocket inet:%s@%s\nInternalHosts 0.0.0.0/0\nCanonicalization relaxed/simple\nSyslog no\nPidFile %s\n",
		o.domain, dkimSelector, keyFile, port, host, filepath.Join(o.dir, "pid"))
	verify := fmt.Sprintf("Mode v\nRequireSafeKeys no\nTestPublicKeys %s\nSyslog no\n", filepath.Join(o.dir, "keys"))
	return errors.Join(
		os.WriteFile(keyFile, private, 0o600),
		write(filepath.Join(o.dir, "keys"), record),
		write(filepath.Join(o.dir, "sign.conf"), sign),
		write(filepath.Join(o.dir, "verify.conf"), verify),
	)
}
