package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

// The words that keys of pull.toml with a fixed choice take.
type (
	StoreType     string // store.type
	StoreSecurity string // store.security
	StoreAuth     string // store.auth
)

// The choices; what each does stands with its key.
const (
	StoreIMAP    StoreType = "imap"
	StoreMaildir StoreType = "maildir"

	SecurityTLS       StoreSecurity = "tls"
	SecurityStartTLS  StoreSecurity = "starttls"
	SecurityPlaintext StoreSecurity = "plaintext"

	AuthMaster  StoreAuth = "master"
	AuthPlain   StoreAuth = "plain"
	AuthXOAuth2 StoreAuth = "xoauth2"
	AuthLogin   StoreAuth = "login"
)

// DefaultPull gives the configuration of an empty file, which lacks daemons and
// stores.
func DefaultPull() *Pull {
	return &Pull{
		Limits: PullLimits{
			Memory: 256 << 20, JobTimeout: Duration(30 * time.Minute), Patience: Duration(5 * time.Second),
			Linger: Duration(2 * time.Second), DrainTimeout: Duration(20 * time.Second),
		},
		Log: Log{Format: LogConsole, Level: LogInfo},
	}
}

// freshPull gives a section of pull.toml that may stand several times with its
// defaults.
func freshPull(section string) reflect.Value {
	if section == "daemon" {
		return reflect.ValueOf(PullDaemon{Leases: 256})
	}
	return reflect.ValueOf(PullStore{
		Type: StoreIMAP, Match: []LoginPattern{"*"}, Security: SecurityTLS, Auth: AuthMaster, Separator: "*", DoveadmSecurity: SecurityTLS,
		Timeout: Duration(time.Minute), Connections: 16, MaxMessage: 128 << 20,
	})
}

func (p *Pull) document() *document {
	return &document{root: reflect.ValueOf(p).Elem(), source: &p.source, fields: fieldsOf(reflect.TypeFor[Pull]()), fresh: freshPull}
}

// LoadPull reads and checks the sidecar's configuration file at path. Its error is
// an Errors with every mistake, or wraps what the file system said.
func LoadPull(path string) (*Pull, error) {
	data, err := readFile(path, FileMax)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	return ParsePull(path, data)
}

// ParsePull reads and checks the bytes of the sidecar's configuration file. The
// file's name is for messages, and relative paths are relative to its folder; no
// file is opened. The error is an Errors.
func ParsePull(file string, data []byte) (*Pull, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(data) > FileMax {
		return nil, Errors{{File: file, Line: 1, Column: 1, Problem: "is larger than " + Bytes(FileMax).String(), Cure: "take out what is not needed"}}
	}
	p := DefaultPull()
	p.source = source{file: file, at: map[string]place{}}
	if err := p.document().parse(data, p.check); err != nil {
		return nil, err
	}
	for i := range p.Daemons {
		d := &p.Daemons[i]
		d.Name = cmpOr(d.Name, d.Address.String())
	}
	for i := range p.Stores {
		s := &p.Stores[i]
		s.Name = cmpOr(s.Name, s.place())
	}
	return p, nil
}

func cmpOr(name, fallback string) string {
	if name == "" {
		return fallback
	}
	return name
}

// place says where a store is.
func (s *PullStore) place() string {
	if s.Type == StoreMaildir {
		return string(s.Root)
	}
	return s.Address.String()
}

// Problem makes an error about the value of key, placed where the file sets it;
// the second store's are named "store[1].probe".
func (p *Pull) Problem(key, problem, cure string) *Error {
	return p.document().problem(key, problem, cure)
}

func (p *Pull) check() Errors {
	var errs Errors
	report := func(key, problem, cure string, args ...any) {
		errs = append(errs, p.Problem(key, problem, fmt.Sprintf(cure, args...)))
	}
	p.document().each(func(name string, f field, v reflect.Value) {
		if problem, cure := checkTags(f, v); problem != "" {
			report(name, problem, "%s", cure)
		}
		if path, ok := v.Interface().(Path); ok && strings.ContainsRune(string(path), 0) {
			report(name, "has a NUL in it", "take it out")
		}
	})
	for _, section := range []struct {
		name, problem string
		there         int
	}{{"daemon", "there is nobody to work for", len(p.Daemons)}, {"store", "there are no mailboxes", len(p.Stores)}} {
		if section.there == 0 {
			errs = append(errs, &Error{File: p.source.file, Problem: fmt.Sprintf("has no section [[%s]]: %s", section.name, section.problem),
				Cure: "write one; weir pull reference describes its keys"})
		}
	}
	p.checkDaemons(report)
	p.checkStores(report)
	if l := p.Metrics.Listen; l.Network == "systemd" {
		report("metrics.listen", "is a socket of systemd's, which the sidecar does not take", `write "127.0.0.1:PORT" or "unix:PATH"`)
	} else if l.remote() {
		report("metrics.listen", "can be reached by other hosts, and metrics have no authentication", `write "127.0.0.1:PORT"`)
	} else if l.Network == "unix" && len(l.Address) > unixPathMax {
		report("metrics.listen", fmt.Sprintf("is a path of %d bytes, and a unix socket can have %d", len(l.Address), unixPathMax), "use a shorter path")
	}
	return errs
}

func (p *Pull) checkDaemons(report reporter) {
	names, addresses := map[string]bool{}, map[DaemonAddress]bool{}
	for i := range p.Daemons {
		d := &p.Daemons[i]
		key := func(name string) string { return fmt.Sprintf("daemon[%d].%s", i, name) }
		if d.Address == (DaemonAddress{}) {
			report(key("address"), "is missing", daemonCure)
			continue
		}
		if d.Address.Network == "unix" && len(d.Address.Address) > unixPathMax {
			report(key("address"), fmt.Sprintf("is a path of %d bytes, and a unix socket can have %d", len(d.Address.Address), unixPathMax), "use a shorter path")
		}
		for _, f := range []struct {
			name string
			path Path
		}{{"ca_file", d.CAFile}, {"cert_file", d.CertFile}, {"key_file", d.KeyFile}, {"tls_name", Path(d.TLSName)}} {
			switch {
			case d.Address.Network == "https" && f.path == "" && f.name != "tls_name":
				report(key(f.name), "is missing, and a daemon on another host needs it", "name the file, in PEM")
			case d.Address.Network == "unix" && f.path != "":
				report(key(f.name), "is of no use with a unix socket", "take it out, or write an address with https:")
			}
		}
		if addresses[d.Address] {
			report(key("address"), "is given twice", "take one of the two sections out")
		}
		addresses[d.Address] = true
		if name := cmpOr(d.Name, d.Address.String()); names[name] {
			report(key("name"), "is another daemon's too", "give each its own")
		} else {
			names[name] = true
		}
	}
}

func (p *Pull) checkStores(report reporter) {
	names := map[string]bool{}
	for i := range p.Stores {
		s := &p.Stores[i]
		at := func(key, problem, cure string, args ...any) {
			report(fmt.Sprintf("store[%d].%s", i, key), problem, cure, args...)
		}
		if len(s.Match) == 0 {
			at("match", "is empty: no mailbox is here", `write "*" for all, or take the key out`)
		}
		switch s.Type {
		case StoreIMAP:
			s.checkIMAP(at)
		case StoreMaildir:
			s.checkMaildir(at)
		}
		for _, key := range s.foreign() {
			if _, set := p.source.at[fmt.Sprintf("store[%d].%s", i, key)]; set {
				at(key, "is of no use with type = \""+string(s.Type)+"\"", "take it out")
			}
		}
		if name := cmpOr(s.Name, s.place()); name != "" && names[name] {
			at("name", "is another store's too", "give each its own")
		} else {
			names[name] = true
		}
	}
}

// foreign lists the keys of the other types of stores.
func (s *PullStore) foreign() []string {
	switch s.Type {
	case StoreIMAP:
		return []string{"root", "layout"}
	case StoreMaildir:
		return []string{"address", "security", "ca_file", "tls_name", "auth", "master", "separator", "secret_file", "skip", "timeout",
			"doveadm_address", "doveadm_security", "doveadm_key_file"}
	}
	return nil
}

func (s *PullStore) checkIMAP(report reporter) {
	switch {
	case s.Address == (Endpoint{}):
		report("address", "is missing", `write "imap.example.org:993"`)
	case s.Address.Network != "tcp":
		report("address", "is not a host with a port", `write "imap.example.org:993"`)
	case s.Security == SecurityPlaintext && s.Address.remote():
		report("security", "would send the password in plain text to another host", `write security = "tls" or "starttls"`)
	}
	master := s.Auth == AuthMaster || s.Auth == AuthPlain
	switch {
	case master && s.Master == "":
		report("master", "is missing, and auth = \""+string(s.Auth)+"\" needs it", "name who may log in for all others")
	case !master && s.Master != "":
		report("master", "is of no use with auth = \""+string(s.Auth)+"\"", "take it out, or write auth = \"master\"")
	case strings.ContainsFunc(s.Master, isControl):
		report("master", "has a control character in it", "take it out")
	}
	if s.Auth == AuthMaster && (s.Separator == "" || strings.ContainsFunc(s.Separator, isSpaceOrControl)) {
		report("separator", "is no text between two names", `write what Dovecot has as auth_master_user_separator, such as "*"`)
	}
	if s.SecretFile == "" {
		report("secret_file", "is missing", "name a file with the password alone")
	}
	if s.Probe == "" {
		report("probe", "is missing", "name a mailbox that is surely there: it tells a wrong password from a mailbox that does not exist")
	} else if !s.Serves(s.Probe) {
		report("probe", "is no mailbox of this store's match", "name one that it fits")
	}
	s.checkDoveadm(report)
	for i, folder := range s.Skip {
		if folder == "" {
			report(fmt.Sprintf("skip[%d]", i), "is empty", "name a folder, or take it out")
		}
	}
}

func (s *PullStore) checkDoveadm(report reporter) {
	if s.DoveadmAddress == (Endpoint{}) {
		if s.DoveadmKeyFile != "" {
			report("doveadm_key_file", "is of no use without doveadm_address", "set it, or take the key out")
		}
		return
	}
	switch {
	case s.DoveadmAddress.Network != "tcp":
		report("doveadm_address", "is not a host with a port", `write "imap.example.org:8080"`)
	case s.DoveadmSecurity == SecurityPlaintext && s.DoveadmAddress.remote():
		report("doveadm_security", "would send the key in plain text to another host", `write doveadm_security = "tls"`)
	}
	if s.DoveadmKeyFile == "" {
		report("doveadm_key_file", "is missing, and doveadm_address needs it", "name a file with doveadm_api_key alone")
	}
}

func (s *PullStore) checkMaildir(report reporter) {
	if s.Root == "" {
		report("root", "is missing", "name the folder that holds all mailboxes")
	}
	elements := strings.Split(s.Layout, "/")
	switch {
	case s.Layout == "":
		report("layout", "is missing", `write "%%d/%%n/Maildir" or "%%u/Maildir"`)
	case filepath.IsAbs(s.Layout):
		report("layout", "begins with a slash, and is below root", `write "%%d/%%n/Maildir" or "%%u/Maildir"`)
	case !strings.Contains(s.Layout, "%u") && !strings.Contains(s.Layout, "%n"):
		report("layout", "names no user, and all mailboxes would be one", `write "%%d/%%n/Maildir" or "%%u/Maildir"`)
	default:
		for _, e := range elements {
			if e == "" || e == "." || e == ".." {
				report("layout", "has an element that is no name", `write "%%d/%%n/Maildir" or "%%u/Maildir"`)
				break
			}
		}
	}
	if s.Probe != "" && !s.Serves(s.Probe) {
		report("probe", "is no mailbox of this store's match", "name one that it fits")
	}
}

// Serves reports whether a login's mailbox is in the store.
func (s *PullStore) Serves(login string) bool {
	login = strings.ToLower(login)
	for _, m := range s.Match {
		if m.fits(login) {
			return true
		}
	}
	return false
}

// Warnings gives what is allowed but rarely meant.
func (p *Pull) Warnings() []*Error {
	var errs Errors
	for i := range p.Stores {
		s := &p.Stores[i]
		if s.Auth == AuthLogin && s.Type == StoreIMAP {
			errs = append(errs, p.Problem(fmt.Sprintf("store[%d].auth", i), "logs in everywhere with one password", "use a master user"))
		}
		for j := range i {
			if p.Stores[j].Serves("*") { // fits "*" alone
				errs = append(errs, p.Problem(fmt.Sprintf("store[%d].match", i), fmt.Sprintf("is never reached: store[%d] has every mailbox", j), "put this section before that one"))
				break
			}
		}
	}
	return errs
}

// PullSettings gives every key of pull.toml with its effective value.
func (p *Pull) Settings() []Setting {
	var all []Setting
	d := p.document()
	d.each(func(name string, f field, v reflect.Value) {
		at, set := p.source.at[name]
		all = append(all, Setting{name, tomlValue(v), !set, at.line, f.live()})
	})
	return all
}
