package mta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/weirmail/weir/config"
)

// checkLive tries the sockets of this host.
func (c *checker) checkLive(ctx context.Context) {
	tried := map[socket]bool{}
	for _, d := range append(c.doors[:len(c.doors):len(c.doors)], c.local) {
		for _, i := range d.weir {
			if at := c.at(d, i); !tried[at] && ctx.Err() == nil {
				tried[at] = true
				c.tryMilter(at)
			}
		}
	}
	for _, d := range routes(c.cfg) {
		if c.listenerFound(d) && ctx.Err() == nil {
			c.tryReturn(d)
		}
	}
}

// listenerFound reports whether a listener is there to be tried.
func (c *checker) listenerFound(d direction) bool {
	for _, s := range c.postfix.Services() {
		if found := routeTo(c.cfg, c.queueDir, s); found != nil && found.name == d.name && s.Command == "smtpd" && !s.Private {
			return true
		}
	}
	return false
}

// tryMilter connects to Weir as Postfix's user and negotiates.
func (c *checker) tryMilter(at socket) {
	const id = "milter-answers"
	who, ok := c.identity(id, c.postfix.Value("mail_owner"))
	if !ok {
		return
	}
	conn, err := dial(at, who)
	if err != nil {
		what, cure := c.unreachable(at, who, err)
		c.add(Error, id, "Postfix ("+who.name+") cannot connect to Weir at "+at.String()+": "+what, at.String(), "all mail gets Postfix's default action", cure)
		return
	}
	defer func() { _ = conn.Close() }()
	if err := negotiate(conn); err != nil {
		c.add(Error, id, "What listens on "+at.String()+" does not answer as a milter: "+err.Error(), at.String(), "all mail gets Postfix's default action", "look at Weir's log, and at who listens there: ss -lpn")
		return
	}
	c.add(OK, id, "Weir answers Postfix at "+at.String(), "", "", "")
}

// identity looks a user up, and says so where that fails.
func (c *checker) identity(id, name string) (identity, bool) {
	who, err := c.lookup(name)
	if err != nil {
		c.add(Warning, id, "There is no user "+name+" here, so that it cannot be tried what that user may do", "", "", "name the right one: weir postfix check --user")
		return who, false
	}
	if os.Geteuid() != 0 && os.Geteuid() != who.uid {
		c.add(Warning, id, "Sockets were tried with your own rights, not with those of "+who.name, "", "another user may be let in where you are not, or kept out where you are let in", "run this check as root")
	}
	return who, true
}

// unreachable says why a socket cannot be connected to and what to do.
func (c *checker) unreachable(at socket, who identity, err error) (what, cure string) {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there", "start it, and look into its log"
	case at.network != "unix":
		return err.Error(), "see that the address is right and no firewall is between"
	}
	what = obstacle(at.address, who)
	if what == "" {
		what = err.Error()
	}
	if errors.Is(err, syscall.ENOENT) {
		return what, "start what listens there, and compare the paths"
	}
	return what, "let " + who.name + " in by group and mode; " + snippetCure
}

// The milter protocol's negotiation (SMFIC_OPTNEG), as Postfix begins it: the
// version, the actions and the protocol steps that it offers.
const (
	commandNegotiate = 'O'
	commandQuit      = 'Q'
	offerVersion     = 6
	offerActions     = 0x1ff
	offerSteps       = 0x1fffff
	packetMax        = 64 << 10
)

// negotiate offers a session and ends it when it is accepted.
func negotiate(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(dialWithin)); err != nil {
		return err
	}
	offer := binary.BigEndian.AppendUint32(nil, 13)
	offer = append(offer, commandNegotiate)
	for _, n := range []uint32{offerVersion, offerActions, offerSteps} {
		offer = binary.BigEndian.AppendUint32(offer, n)
	}
	if _, err := conn.Write(offer); err != nil {
		return err
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		return fmt.Errorf("no answer to the negotiation: %w", err)
	}
	if n := binary.BigEndian.Uint32(head); n < 13 || n > packetMax || head[4] != commandNegotiate {
		return errors.New("the answer is no milter's")
	}
	_, err := conn.Write([]byte{0, 0, 0, 1, commandQuit})
	return err
}

// tryReturn greets a listener as Weir's user, and sees that it lets nobody in
// whom its folder should keep out.
func (c *checker) tryReturn(d direction) {
	id := "return-" + d.name + "-answers"
	at := socket{d.route.Address.Network, d.route.Address.Address}
	who, ok := c.identity(id, c.user)
	if !ok {
		return
	}
	conn, err := dial(at, who)
	if err != nil {
		what, cure := c.unreachable(at, who, err)
		if errors.Is(err, syscall.EACCES) {
			cure = shellLine([]string{"usermod", "-a", "-G", c.postfix.Value("setgid_group"), who.name}) + ", and start Weir again"
		}
		c.add(Error, id, "Weir ("+who.name+") cannot connect to "+at.String()+": "+what, "weir.toml: "+d.key+".address", "held "+d.name+" mail cannot be released", cure)
		return
	}
	defer func() { _ = conn.Close() }()
	offered, err := greet(conn)
	if err != nil {
		c.add(Error, id, at.String()+" does not answer as an SMTP server: "+err.Error(), "weir.toml: "+d.key+".address", "held "+d.name+" mail cannot be released", "look into Postfix's log")
		return
	}
	c.compareOffer(id, d, offered)
	if at.network == "unix" && os.Geteuid() == 0 {
		if stranger, err := dial(at, nobody()); err == nil {
			_ = stranger.Close()
			c.add(Error, id, "Every user of this host can connect to "+at.String(), obstacle(at.address, nobody()), "what comes in there is judged by nobody", shellLine([]string{"postfix", "set-permissions"})+", which puts the folder right")
		}
	}
	c.ok(id, "%s answers Weir", at)
}

// compareOffer looks at what the listener offers in its answer to EHLO.
func (c *checker) compareOffer(id string, d direction, offered string) {
	has := func(name string) bool {
		for _, line := range strings.Split(strings.ToUpper(offered), "\n") {
			if word, _, _ := strings.Cut(line, " "); word == name {
				return true
			}
		}
		return false
	}
	where := "weir.toml: " + d.key
	if d.route.TLS == config.TLSStartTLS {
		if !has("STARTTLS") {
			c.add(Error, id, d.route.Address.String()+" offers no STARTTLS", where+".tls", "Weir hands over nothing without it", "see to Postfix's certificate, and its log")
		}
		return // what it offers after that is another matter
	}
	if d.route.Username != "" && !has("AUTH") {
		c.add(Error, id, d.route.Address.String()+" takes no login", where+".username", "Weir hands over nothing without it", "see to smtpd_sasl_path, and Postfix's log")
	}
	for _, name := range []string{"8BITMIME", "DSN"} {
		if !has(name) {
			c.add(Warning, id, d.route.Address.String()+" does not offer "+name, where+".address", "mail that came with it changes when it is released", "look at smtpd_discard_ehlo_keywords")
		}
	}
}

// greet reads the banner, says EHLO and QUIT, and gives the lines of the answer.
func greet(conn net.Conn) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(dialWithin)); err != nil {
		return "", err
	}
	text := textproto.NewConn(struct {
		io.Reader
		io.Writer
		io.Closer
	}{io.LimitReader(conn, packetMax), conn, conn})
	if _, _, err := text.ReadResponse(220); err != nil {
		return "", err
	}
	if err := text.PrintfLine("EHLO localhost"); err != nil {
		return "", err
	}
	_, offered, err := text.ReadResponse(250)
	if err == nil {
		err = text.PrintfLine("QUIT")
	}
	return offered, err
}
