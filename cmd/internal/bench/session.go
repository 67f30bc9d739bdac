package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weirmail/weir/cmd/internal/bench/load"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/intel"
)

// client is the SMTP client of the n-th session that is open at once.
func client(n int) (name string, addr netip.Addr) {
	return fmt.Sprintf("relay%d.shop.test", n), netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + n%250)})
}

// content says what the letter of a number is like, and whether the milter has to
// stop it.
type content func(n uint64) (w wish, stopped bool)

func harmless(uint64) (wish, bool) { return wish{}, false }

// milterSession speaks the milter protocol.
type milterSession struct {
	*miltertest.Session
	pen     *pen
	content content
}

func openMilter(socket string, n int, c content) (load.Session, error) {
	s, err := miltertest.Dial("unix", socket, miltertest.Options{})
	if err != nil {
		return nil, err
	}
	name, addr := client(n)
	if err := s.Connect(miltertest.Client{Name: name, Addr: netip.AddrPortFrom(addr, 40001), Helo: name,
		Macros: []string{"j", "mx." + domain, "{daemon_name}", "mx." + domain, "{daemon_port}", "25", "v", "Postfix 3.7.11"}}); err != nil {
		_ = s.Close()
		return nil, err
	}
	return &milterSession{s, newPen(), c}, nil
}

// Send implements load.Session.
func (s *milterSession) Send(n uint64) error {
	w, stop := s.content(n)
	answer, err := s.Session.Send(s.pen.write(n, w))
	if err != nil {
		return err
	}
	if stopped := answer.Action != intel.ActionAccept; stopped != stop {
		return fmt.Errorf("message %d was answered with %s %s", n, answer.Action, answer.Reply)
	}
	return nil
}

// smtpSession speaks SMTP with Postfix, as a client from outside.
type smtpSession struct {
	*smtptest.Client
	pen  *pen
	mail smtptest.Mail
}

func openSMTP(address string, n int) (load.Session, error) {
	name, addr := client(n)
	c, err := smtptest.Dial(context.Background(), address, smtptest.Options{Helo: name,
		XClient: fmt.Sprintf("ADDR=%s NAME=%s HELO=%s PROTO=ESMTP", addr, name, name)})
	if err != nil {
		return nil, err
	}
	return &smtpSession{Client: c, pen: newPen()}, nil
}

// Send implements load.Session. No line of a letter begins with a dot.
func (s *smtpSession) Send(n uint64) error {
	letter := s.pen.write(n, wish{})
	m := &s.mail
	m.From = strings.Trim(letter.From, "<>")
	m.To = m.To[:0]
	for _, to := range letter.To {
		m.To = append(m.To, strings.Trim(to.Address, "<>"))
	}
	m.Data = append(append(m.Data[:0], letter.Raw...), ".\r\n"...)
	m.Raw, m.Pipeline = true, true
	r, err := s.Client.Send(*m)
	if err != nil {
		return err
	}
	if !r.Accepted() {
		return fmt.Errorf("message %d was refused: %+v", n, r)
	}
	return nil
}

// Close implements load.Session.
func (s *smtpSession) Close() error { return s.Quit() }
