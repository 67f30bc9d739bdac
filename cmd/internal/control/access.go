package control

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/config"
)

// Access says who has which role, as the configuration has it. Names are looked
// up when somebody connects: a user or group that is made later counts from then
// on, and one that does not exist is nobody.
type Access struct {
	Viewers   []config.Principal
	Operators []config.Principal
	Admins    []config.Principal
	Pullers   []config.Principal
}

// caller says who a peer is.
func (a *Access) caller(p *peer) api.Caller {
	return api.Caller{Actor: p.actor(), Name: p.name(), Role: a.role(p), Puller: isAny(p, a.Pullers)}
}

// holder says who the holder of a certificate is.
func (a *Access) holder(name string) api.Caller {
	is := slices.ContainsFunc(a.Pullers, func(who config.Principal) bool { return who.Cert && who.Name == name })
	return api.Caller{Actor: schemeCert + name, Puller: is}
}

// schemeCert begins the actor that the holder of a certificate is.
const schemeCert = "cert:"

// role gives the highest role of a peer.
func (a *Access) role(p *peer) api.Role {
	if p.uid == 0 || p.uid == uint32(os.Geteuid()) {
		return api.Admin
	}
	for _, r := range []struct {
		role api.Role
		who  []config.Principal
	}{{api.Admin, a.Admins}, {api.Operator, a.Operators}, {api.Viewer, a.Viewers}} {
		if isAny(p, r.who) {
			return r.role
		}
	}
	return api.Nobody
}

func isAny(p *peer, all []config.Principal) bool {
	return slices.ContainsFunc(all, func(who config.Principal) bool { return isPrincipal(p, who) })
}

func isPrincipal(p *peer, who config.Principal) bool {
	id, ok := idOf(who)
	if !ok {
		return false
	}
	if who.Group {
		return p.in(id)
	}
	return p.uid == id
}

// idOf gives the number of a user or group; a number is its own. The holder of a
// certificate has none.
func idOf(who config.Principal) (uint32, bool) {
	text := who.Name
	if who.Cert {
		return 0, false
	}
	if _, err := strconv.ParseUint(text, 10, 32); err != nil {
		if who.Group {
			g, err := user.LookupGroup(who.Name)
			if err != nil {
				return 0, false
			}
			text = g.Gid
		} else {
			u, err := user.Lookup(who.Name)
			if err != nil {
				return 0, false
			}
			text = u.Uid
		}
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}

// unknown lists principals that name nobody.
func (a *Access) unknown() []string {
	var names []string
	for _, who := range slices.Concat(a.Viewers, a.Operators, a.Admins, a.Pullers) {
		if _, ok := idOf(who); !ok && !who.Cert {
			names = append(names, who.String())
		}
	}
	return names
}

// refusal tells a caller what he lacks.
func refusal(c *api.Caller, o *api.Operation) *api.Error {
	who, principal := c.Actor, c.Actor
	if uid, ok := strings.CutPrefix(c.Actor, "unix:"); ok {
		principal = "user:" + uid
	}
	if c.Name != "" {
		principal = "user:" + c.Name
		who = fmt.Sprintf("%s (%s)", c.Name, c.Actor)
	}
	has := "no role"
	switch {
	case c.Role != api.Nobody:
		has = "the role " + c.Role.String()
	case c.Puller:
		has = "the role " + api.Puller.String()
	}
	cure := fmt.Sprintf("an administrator adds %q, or a group of yours, to control.%ss in the configuration and reloads it", principal, o.Role)
	if strings.HasPrefix(c.Actor, schemeCert) {
		cure = fmt.Sprintf("an administrator adds %q to control.%ss in the configuration and reloads it", principal, o.Role)
	}
	return &api.Error{Code: api.Forbidden, Text: fmt.Sprintf("%s needs the role %s; %s has %s", o.Name, o.Role, who, has), Cure: cure}
}
