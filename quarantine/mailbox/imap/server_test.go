package imap

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is an IMAP server that says what a test wants.
type server struct {
	addr     string
	greeting string
	caps     string
	// answer gives what is said to a command, TAG standing for its tag; "": the
	// usual. Literals stand in the command as they came.
	answer func(command string) string
	tls    *tls.Config // offered by STARTTLS

	mu       sync.Mutex
	commands []string
}

const usualCaps = "IMAP4rev1 LITERAL+ UIDPLUS ESEARCH NAMESPACE AUTH=PLAIN AUTH=XOAUTH2"

func serve(t *testing.T, s *server) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	s.addr = ln.Addr().String()
	if s.caps == "" {
		s.caps = usualCaps
	}
	if s.greeting == "" {
		s.greeting = "* OK [CAPABILITY " + s.caps + "] ready\r\n"
	}
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { s.session(conn) })
		}
	})
	return s
}

var asked = regexp.MustCompile(`\{([0-9]+)(\+?)\}\r\n$`)

func (s *server) session(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, s.greeting); err != nil {
		return
	}
	for {
		command := ""
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			command += line
			size := asked.FindStringSubmatch(line)
			if size == nil {
				break
			}
			n, _ := strconv.Atoi(size[1])
			if size[2] == "" {
				_, _ = io.WriteString(conn, "+ go\r\n")
			}
			content := make([]byte, n)
			if _, err := io.ReadFull(r, content); err != nil {
				return
			}
			command += string(content)
		}
		tag, rest, _ := strings.Cut(strings.TrimSuffix(command, "\r\n"), " ")
		s.mu.Lock()
		s.commands = append(s.commands, rest)
		s.mu.Unlock()
		said := ""
		if s.answer != nil {
			said = s.answer(rest)
		}
		if said == "" {
			said = s.usual(rest)
		}
		said = strings.ReplaceAll(strings.ReplaceAll(said, "TAG", tag), "("+tag+" ", "(TAG ") // ESEARCH says both
		if _, err := io.WriteString(conn, said); err != nil {
			return
		}
		if s.tls != nil && rest == "STARTTLS" {
			conn = tls.Server(conn, s.tls)
			r = bufio.NewReader(conn)
		}
	}
}

func (s *server) usual(command string) string {
	verb, _, _ := strings.Cut(command, " ")
	ok := "TAG OK done\r\n"
	switch verb {
	case "CAPABILITY":
		return "* CAPABILITY " + s.caps + "\r\n" + ok
	case "LOGIN", "AUTHENTICATE":
		return "TAG OK [CAPABILITY " + s.caps + "] in\r\n"
	case "NAMESPACE":
		return `* NAMESPACE (("" "/")) NIL NIL` + "\r\n" + ok
	case "LIST":
		return `* LIST () "/" INBOX` + "\r\n" + ok
	case "SELECT", "EXAMINE":
		return "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n" + ok
	}
	return ok
}

// said gives the commands of a kind that came.
func (s *server) said(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.commands), func(c string) bool { return !strings.HasPrefix(c, prefix) })
}

func backend(t *testing.T, s *server, change func(*Options)) *Backend {
	t.Helper()
	o := Options{
		Address: s.addr, Security: Plaintext, Timeout: 5 * time.Second,
		Secret: func(context.Context, string) (string, error) { return "a secret", nil },
	}
	if change != nil {
		change(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// certified makes a certificate for 127.0.0.1, and the configurations of both sides.
func certified(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

// message gives the answer to a FETCH that describes or gives a message.
func fetched(command string, uid int, date, raw string) string {
	if strings.Contains(command, "HEADER") {
		head, _, _ := strings.Cut(raw, "\r\n\r\n")
		head += "\r\n\r\n"
		return fmt.Sprintf("* 1 FETCH (UID %d FLAGS () INTERNALDATE \"%s\" RFC822.SIZE %d BODY[HEADER.FIELDS (MESSAGE-ID X-WEIR-ID)]<0> {%d}\r\n%s)\r\nTAG OK done\r\n",
			uid, date, len(raw), len(head), head)
	}
	if strings.Contains(command, "BODY") {
		return fmt.Sprintf("* 1 FETCH (UID %d BODY[]<0> {%d}\r\n%s)\r\nTAG OK done\r\n", uid, len(raw), raw)
	}
	return fmt.Sprintf("* 1 FETCH (UID %d)\r\nTAG OK done\r\n", uid)
}
