package filter

import (
	"strings"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
)

// observables lists what a message shows that an indicator could name, the
// most telling first: whoever keeps only some of them keeps the first ones. to has
// the address of each recipient, zero where that is none.
func observables(env *message.Envelope, to []intel.Value, client message.Client, m *message.Message) []intel.Observable {
	c := collector{all: make([]intel.Observable, 0, 16+len(m.URLs)+3*len(m.Parts)+len(env.To))}
	c.client(env, client)
	c.address(env.From.Address(), intel.RoleEnvelopeFrom, "envelope")
	c.addresses(m.From(), intel.RoleHeaderFrom, "header/From")
	c.addresses(m.Sender(), intel.RoleSender, "header/Sender")
	c.addresses(m.ReplyTo(), intel.RoleReplyTo, "header/Reply-To")
	for i := range m.Parts {
		c.part(&m.Parts[i])
	}
	for i := range m.URLs {
		c.add(m.URLs[i].Value, intel.RoleURL, m.URLs[i].Place)
	}
	for i, v := range to {
		if v.IsZero() {
			c.address(env.To[i].Address(), intel.RoleRcpt, "envelope")
		} else {
			c.add(v, intel.RoleRcpt, "envelope")
		}
	}
	return c.all
}

type collector struct{ all []intel.Observable }

func (c *collector) add(v intel.Value, role intel.Role, place string) {
	c.all = append(c.all, intel.Observable{Value: v, Role: role, Place: place})
}

func (c *collector) client(env *message.Envelope, client message.Client) {
	if v, err := intel.IP(client.Addr); err == nil {
		c.add(v, intel.RoleClient, "envelope")
	}
	c.host(client.Name, intel.RoleClient)
	c.host(env.Helo, intel.RoleHelo)
	if strings.Contains(env.AuthUser, "@") {
		c.address(env.AuthUser, intel.RoleAuthUser, "envelope")
	}
}

// host adds a host name; "unknown" and address literals are none.
func (c *collector) host(name string, role intel.Role) {
	if name == "" || name == "unknown" || name[0] == '[' {
		return
	}
	if v, err := intel.Domain(name); err == nil {
		c.add(v, role, "envelope")
	}
}

func (c *collector) address(text string, role intel.Role, place string) {
	v, err := intel.Address(text)
	if err != nil {
		v, err = domainOf(text)
	}
	if err == nil {
		c.add(v, role, place)
	}
}

func (c *collector) addresses(list []message.Address, role intel.Role, place string) {
	for i := range list {
		v := list[i].Value
		if v.IsZero() {
			v, _ = domainOf(list[i].Raw)
		}
		if !v.IsZero() {
			c.add(v, role, place)
		}
	}
}

// domainOf gives the domain of what is no address that could be listed, because
// its local part is too long or holds what none holds: MTAs take such senders,
// and their domain is known all the same.
func domainOf(text string) (intel.Value, error) {
	i := strings.LastIndexByte(text, '@')
	if i < 0 {
		i = len(text) - 1
	}
	return intel.Domain(text[i+1:])
}

// part adds the digests of what a client could save, and the SHA-256 of bodies:
// a campaign may repeat one to the byte, but nobody lists bodies by older sums.
// A file that was sent as text has the line ends of mail, and may have had others
// where its digest was taken.
func (c *collector) part(p *message.Part) {
	if p.SHA256 == ([32]byte{}) {
		return
	}
	if !p.File() {
		c.add(intel.SHA256(p.SHA256), intel.RoleBody, p.Path)
		return
	}
	c.add(intel.SHA256(p.SHA256), intel.RoleAttachment, p.Path)
	c.add(intel.SHA1(p.SHA1), intel.RoleAttachment, p.Path)
	c.add(intel.MD5(p.MD5), intel.RoleAttachment, p.Path)
	if p.Encoding != "base64" && p.Fingerprint != p.SHA256 && p.Fingerprint != ([32]byte{}) {
		c.add(intel.SHA256(p.Fingerprint), intel.RoleAttachment, p.Path)
	}
}
