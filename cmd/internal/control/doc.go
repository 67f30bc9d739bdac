// Package control serves the control socket: who connects, what he may do, and
// the operations of package api over what the daemon keeps. It wires nothing and
// decides nothing about mail; the client is package client.
//
// Who connects is known from the kernel: user, group and supplementary groups of
// the process at the moment of its connect (SO_PEERCRED and SO_PEERGROUPS of
// unix(7)). Root and the daemon's own user are admins; others have the role that
// the configuration gives them or one of their groups, and without one nothing
// at all. Whatever changes something or looks at mail is recorded under
// unix:UID.
package control

import (
	_ "embed" // for the document
)

//go:generate go test -run TestTheDocumentIsMadeFromTheOperations -update

//go:embed openapi.json
var document []byte
