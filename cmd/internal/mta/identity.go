package mta

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// identity is a user with whose rights a socket is tried.
type identity struct {
	name     string
	uid, gid int
	groups   []int
}

// nobody has no rights but those that all have.
func nobody() identity { return identity{"nobody", 65534, 65534, nil} }

// lookupIdentity finds a user by name or number.
func lookupIdentity(name string) (identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		var byID error
		if u, byID = user.LookupId(name); byID != nil {
			return identity{}, err
		}
	}
	id := identity{name: u.Username}
	groups, err := u.GroupIds()
	for _, g := range append([]string{u.Uid, u.Gid}, groups...) {
		n, bad := strconv.Atoi(g)
		err = errors.Join(err, bad)
		id.groups = append(id.groups, n)
	}
	if err != nil {
		return identity{}, fmt.Errorf("user %s: %w", name, err)
	}
	id.uid, id.gid, id.groups = id.groups[0], id.groups[1], id.groups[2:]
	return id, nil
}

// dialWithin bounds how long one connection may take.
const dialWithin = 5 * time.Second

// dial connects to a socket; to a unix socket with the rights of id, as far as
// this process may take them, which only root may.
func dial(s socket, id identity) (net.Conn, error) {
	if s.network == "unix" && os.Geteuid() == 0 && id.uid != 0 {
		return dialAs(id, s.address)
	}
	return net.DialTimeout(s.network, s.address, dialWithin)
}

// mayEnter is the permission to pass through a folder, mayWrite that to connect
// to a socket.
const (
	mayEnter = 1
	mayWrite = 2
)

// obstacle says which folder on the way to a unix socket, or that the socket
// itself, keeps id away; empty when none does by owner, group and mode.
func obstacle(path string, id identity) string {
	parts := strings.Split(filepath.Clean(path), "/")
	for i := 1; i <= len(parts); i++ {
		at := "/" + strings.Join(parts[1:i], "/")
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return at + " does not exist"
		}
		if err != nil {
			return err.Error()
		}
		need := fs.FileMode(mayEnter)
		if i == len(parts) {
			if need = mayWrite; info.Mode().Type() != fs.ModeSocket {
				return at + " is no socket"
			}
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && !id.may(need, info.Mode(), stat) {
			return fmt.Sprintf("%s is %s, owner %s, group %s", at, info.Mode(), ownerName(stat.Uid), groupName(stat.Gid))
		}
	}
	return ""
}

// may reports whether the mode of a file gives id a permission.
func (id identity) may(need, mode fs.FileMode, stat *syscall.Stat_t) bool {
	switch {
	case id.uid == 0:
		return true
	case int(stat.Uid) == id.uid:
		mode >>= 6
	case int(stat.Gid) == id.gid || slices.Contains(id.groups, int(stat.Gid)):
		mode >>= 3
	}
	return mode&need == need
}

func ownerName(uid uint32) string {
	if u, err := user.LookupId(fmt.Sprint(uid)); err == nil {
		return u.Username
	}
	return fmt.Sprint(uid)
}

func groupName(gid uint32) string {
	if g, err := user.LookupGroupId(fmt.Sprint(gid)); err == nil {
		return g.Name
	}
	return fmt.Sprint(gid)
}
