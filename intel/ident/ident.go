// Package ident says who this node is and gives out identifiers: ULIDs that grow
// with time, and X-Weir-ID texts that only a holder of the node's key can make.
//
// It owns one file in the state folder, "identity", made at the first start and
// never changed: the node's ID and its key. Other keys are derived from that one.
package ident

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/weirmail/weir/intel/disk"
)

const (
	// FileName is the identity in a state folder.
	FileName = "identity"
	maxFile  = 4 << 10
	keySize  = 32

	idSize   = 26 // a ULID as text
	nodeSize = 6
	macBytes = 16 // of HMAC-SHA256: 128 bits, forged by chance once in 2^128 tries
	macSize  = 26 // as text

	// MaxText is the length of an X-Weir-ID text, in bytes.
	MaxText = idSize + 1 + nodeSize + 1 + macSize
)

// Every sync of this package has its site here.
const (
	siteContent disk.Site = "ident.content" // the identity file's content
	siteNames   disk.Site = "ident.names"   // the identity file's name
	siteOpen    disk.Site = "ident.open"    // likewise, when a crashed process made it
)

// ErrIdentity says that the identity file cannot be used; the text says why and
// what to do.
var ErrIdentity = errors.New("identity not usable")

// alphabet is that of Crockford in lower case: no letter looks like a digit.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

func encoding() *base32.Encoding { return base32.NewEncoding(alphabet).WithPadding(base32.NoPadding) }

// Options says where the identity lies and what time it is.
type Options struct {
	FS    disk.FS          // required
	Dir   string           // the state folder; has to be there; required
	Clock func() time.Time // time.Now if nil
	Rand  io.Reader        // crypto/rand if nil
}

// Identity is this node. All methods may be called at the same time.
type Identity struct {
	node  string
	key   [keySize]byte
	clock func() time.Time
	text  *base32.Encoding
	macs  sync.Pool // of *signer

	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
	last    uint64 // milliseconds of the last ID
}

// Open reads the identity of the state folder, or makes one there, durably.
// Errors satisfy ErrIdentity, disk.ErrNoSpace, or come from the file system.
func Open(o Options) (*Identity, error) {
	if o.FS == nil || o.Dir == "" {
		return nil, errors.New("ident: Options.FS or Options.Dir is missing")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	i := &Identity{clock: o.Clock, text: encoding(), entropy: ulid.Monotonic(o.Rand, 0)}
	name := filepath.Join(o.Dir, FileName)
	err := i.load(o.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = i.create(o.FS, name, o.Rand)
	}
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", name, err)
	}
	key := i.Key("x-weir-id")
	i.macs.New = func() any { return &signer{mac: hmac.New(sha256.New, key)} }
	return i, nil
}

const fileHead = `# Who this Weir node is. The key is a secret: whoever has it can forge X-Weir-ID
# and the ledger's head. It belongs in the backup; without it neither can be checked.
`

func (i *Identity) create(fsys disk.FS, name string, random io.Reader) error {
	if _, err := io.ReadFull(random, i.key[:]); err != nil {
		return err
	}
	var node [4]byte
	if _, err := io.ReadFull(random, node[:]); err != nil {
		return err
	}
	i.node = i.text.EncodeToString(node[:])[:nodeSize]
	content := fmt.Sprintf("%snode %s\nkey %x\n", fileHead, i.node, i.key)
	return disk.Replace(fsys, name, []byte(content), 0o600, siteContent, siteNames)
}

func (i *Identity) load(fsys disk.FS, name string) error {
	info, err := fsys.Stat(name)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: others can read it (mode %04o): chmod 600 %s", ErrIdentity, info.Mode().Perm(), name)
	}
	content, err := disk.ReadFile(fsys, name, maxFile)
	if err != nil {
		return err
	}
	if err := i.parse(content); err != nil {
		return err
	}
	// The process that made it may have died before its name was durable.
	return fsys.SyncDir(filepath.Dir(name), siteOpen)
}

func (i *Identity) parse(content []byte) error {
	seen := map[string]bool{}
	for n, line := range strings.Split(string(content), "\n") {
		word, value, _ := strings.Cut(line, " ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case seen[word]:
			return unusable(n, "%q stands twice", word)
		case word == "node":
			if len(value) != nodeSize || strings.Trim(value, alphabet) != "" {
				return unusable(n, "a node ID has %d characters of %s", nodeSize, alphabet)
			}
			i.node = value
		case word == "key":
			key, err := hex.DecodeString(value)
			if err != nil || len(key) != keySize {
				return unusable(n, "a key has %d hex digits", 2*keySize)
			}
			copy(i.key[:], key)
		default:
			return unusable(n, "%.20q is neither node nor key", word)
		}
		seen[word] = true
	}
	if !seen["node"] || !seen["key"] {
		return fmt.Errorf("%w: node or key is missing: restore the file from a backup, or remove it to become a new node", ErrIdentity)
	}
	return nil
}

func unusable(line int, format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s: restore the file from a backup, or remove it to become a new node",
		ErrIdentity, line+1, fmt.Sprintf(format, args...))
}

// Node gives this node's ID: six characters.
func (i *Identity) Node() string { return i.node }

// Key gives the key that is derived from the node's for one purpose, 32 bytes.
// It is the same at every start.
func (i *Identity) Key(purpose string) []byte {
	mac := hmac.New(sha256.New, i.key[:])
	mac.Write([]byte("weir/" + purpose))
	return mac.Sum(nil)
}

// Now gives the time of the injected clock.
func (i *Identity) Now() time.Time { return i.clock() }

// NewID gives a ULID as text, 26 characters. It is larger than every one given
// before since the start, also when the clock goes back.
func (i *Identity) NewID() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = max(i.last, ulid.Timestamp(i.clock()))
	for {
		id, err := ulid.New(i.last, i.entropy)
		if err == nil {
			return id.String()
		}
		if !errors.Is(err, ulid.ErrMonotonicOverflow) {
			panic(err) // the system's random source never fails; it would have ended the process
		}
		i.last++
	}
}

// Sign gives the X-Weir-ID text of an ID that NewID gave: ID, node and MAC,
// separated by dots, MaxText bytes.
func (i *Identity) Sign(id string) string { return i.sign(id, i.node) }

// signer is what making one text takes, kept to be used again.
type signer struct {
	mac hash.Hash
	buf []byte
}

func (i *Identity) sign(id, node string) string {
	s := i.macs.Get().(*signer)
	defer i.macs.Put(s)
	text := append(append(append(s.buf[:0], id...), '.'), node...)
	signed := len(text)
	s.mac.Reset()
	s.mac.Write(text)
	text = s.mac.Sum(text)
	sum := [macBytes]byte(text[signed:])
	text = append(text[:signed], '.')
	text = i.text.AppendEncode(text, sum[:])
	s.buf = text
	return string(text)
}

// Verify reads an X-Weir-ID text that a message came with. It reports whether a
// holder of this node's key made it, and gives the ID and the node that it names.
// Nothing is known of a text that does not verify. It takes constant time for
// texts of the right length.
func (i *Identity) Verify(text string) (id, node string, ok bool) {
	if len(text) != MaxText || text[idSize] != '.' || text[idSize+1+nodeSize] != '.' {
		return "", "", false
	}
	id, node = text[:idSize], text[idSize+1:idSize+1+nodeSize]
	if !hmac.Equal([]byte(i.sign(id, node)), []byte(text)) {
		return "", "", false
	}
	return id, node, true
}

// ParseID gives the time that an ID was made at, to the millisecond, and reports
// whether it is one.
func ParseID(id string) (time.Time, bool) {
	u, err := ulid.ParseStrict(id)
	if err != nil || u.String() != id {
		return time.Time{}, false
	}
	return ulid.Time(u.Time()).UTC(), true
}
