package control

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a unix socket, as it was when it
// connected.
type peer struct {
	uid    uint32
	gid    uint32
	groups []uint32 // supplementary
}

// actor is how the ledger names the peer.
func (p *peer) actor() string { return "unix:" + strconv.FormatUint(uint64(p.uid), 10) }

// name gives the peer's user name, "" where it has none.
func (p *peer) name() string { return userName(p.uid) }

func userName(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}

// in reports whether the peer belongs to the group.
func (p *peer) in(gid uint32) bool { return p.gid == gid || slices.Contains(p.groups, gid) }

// errNoCredentials says that the kernel does not tell who connected.
var errNoCredentials = errors.New("the kernel does not say who connected: not a unix socket")

// peerOf asks the kernel who is at the other end.
func peerOf(c net.Conn) (*peer, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, errNoCredentials
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	var p *peer
	var inner error
	if err := raw.Control(func(fd uintptr) { p, inner = peerOfSocket(int(fd)) }); err != nil {
		return nil, err
	}
	return p, inner
}

func peerOfSocket(fd int) (*peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	// A socket of another family answers too, with nobody.
	if cred.Pid == 0 && cred.Uid == ^uint32(0) {
		return nil, errNoCredentials
	}
	p := &peer{uid: cred.Uid, gid: cred.Gid}
	p.groups, err = peerGroups(fd)
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EINVAL) {
		// Kernels before 4.13 and some sandboxes: what the user database says is
		// what a login would have.
		p.groups, err = loginGroups(p.uid), nil
	}
	return p, err
}

// maxGroups is how many supplementary groups Linux lets a process have
// (NGROUPS_MAX).
const maxGroups = 65536

// peerGroups gives the supplementary groups of the process at the other end.
// Package unix has the option and no function for it.
func peerGroups(fd int) ([]uint32, error) {
	for room := 64; ; room = maxGroups {
		groups := make([]uint32, room)
		size := uint32(len(groups)) * uint32(unsafe.Sizeof(groups[0]))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && room < maxGroups:
			continue
		case errno != 0:
			return nil, fmt.Errorf("SO_PEERGROUPS: %w", errno)
		}
		return groups[:size/uint32(unsafe.Sizeof(groups[0]))], nil
	}
}

func loginGroups(uid uint32) []uint32 {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var groups []uint32
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			groups = append(groups, uint32(n))
		}
	}
	return groups
}
