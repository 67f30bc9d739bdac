package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// TLP is a marking of the Traffic Light Protocol 2.0, as keys take it.
type TLP string

// strictness orders markings; below 0: it is none.
func (t TLP) strictness() int {
	return slices.Index([]TLP{"clear", "green", "amber", "amber+strict", "red"}, t)
}

// Share is the section [share].
type Share struct {
	// Where peers read: `0.0.0.0:9443` for instance, or `systemd:NAME`. The collection is at `/api/collections/confirmed/` there. Empty: nothing is shared. Without a certificate it has to be an address of this host alone, for a proxy.
	Listen Listen `toml:"listen"`

	// The certificate to show, in PEM; it is read again when it changes.
	CertFile Path `toml:"cert_file" example:"\"/etc/weir/share.pem\""`

	// Its key.
	KeyFile Path `toml:"key_file" example:"\"/etc/weir/share.key\""`

	// The authorities whose certificates let a peer in, in PEM. Any that they have signed does: take authorities that sign for peers alone. Empty: none does.
	ClientCAFile Path `toml:"client_ca_file" example:"\"/etc/weir/peers-ca.pem\""`

	// The tokens that let a peer in, in a file that only the daemon's user can read: in each line the peer's name, a space, and its token of at least 20 characters; `#` begins a comment. Peers send it as `Bearer TOKEN`, or with their name as user and password. An edit counts at once.
	TokensFile Path `toml:"tokens_file" live:"" example:"\"/etc/weir/peers.tokens\""`

	// What the collection is called.
	Title string `toml:"title" live:""`

	// The marking (TLP 2.0) of what nobody has marked: how far peers may pass it on. It must not be stricter than `max_tlp`, or nothing of that would be published. Whoever shares with a small circle sets both, to `amber` for instance.
	TLP TLP `toml:"tlp" live:"" oneof:"clear green amber amber+strict"`

	// What is marked more strictly, by a list of ours or a feed that has it too, is not published; `weir share list --withheld` shows it.
	MaxTLP TLP `toml:"max_tlp" live:"" oneof:"clear green amber amber+strict red"`

	// What a list is less sure of, of 100, is not published, where it says how sure it is.
	MinConfidence int `toml:"min_confidence" live:"" range:"0..100"`

	// How long an incident speaks for its indicators. After that peers do not count them any more, unless it goes on.
	Expiry Duration `toml:"expiry" live:"" range:"1d..3650d"`

	// Lists whose entries are published although no incident rests on them, if they have a `tlp=` that `max_tlp` lets through: the files' paths below `lists.dir`.
	Lists []string `toml:"lists" live:""`
}

func (c *Config) checkShare(report reporter) {
	s := &c.Share
	for i, l := range s.Lists {
		if folder, file := path.Split(l); folder != "block/" || file == "" || strings.ContainsRune(l, '\\') {
			report(fmt.Sprintf("share.lists[%d]", i), "is no list that blocks", `write "block/operator.txt", the path below lists.dir`)
		}
	}
	if strings.TrimSpace(s.Title) == "" {
		report("share.title", "is empty", "write what peers are to see, or take the key out for the default")
	}
	// A word that is none is reported already.
	if limit := s.MaxTLP.strictness(); limit >= 0 && s.TLP.strictness() > limit {
		report("share.tlp", fmt.Sprintf("is stricter than share.max_tlp, %q: what nobody has marked would not be published", s.MaxTLP), fmt.Sprintf("write %q, or raise share.max_tlp", s.MaxTLP))
	}
	if s.Listen == (Listen{}) {
		return
	}
	switch {
	case s.Listen.Network == "unix":
		report("share.listen", "is a unix socket, and peers are on other hosts", `write "ADDRESS:PORT" or "systemd:NAME"`)
	case s.CertFile == "" && (s.Listen.Network == "systemd" || s.Listen.remote()):
		report("share.cert_file", "is missing, and what is shared and its tokens would go in clear", "name a certificate in PEM, or listen on 127.0.0.1 for a proxy on this host")
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		report("share.key_file", "and share.cert_file belong together", "give both, or none of them")
	}
	switch {
	case s.ClientCAFile != "" && s.CertFile == "":
		report("share.client_ca_file", "is of no use without share.cert_file", "name a certificate, or take it out")
	case s.ClientCAFile == "" && s.TokensFile == "":
		report("share.tokens_file", "is missing, and nobody could read what is shared", "name a file with tokens, or with share.client_ca_file the authorities of peers' certificates")
	}
}
