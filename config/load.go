package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// FileMax is the largest configuration file, and the largest file of local
// domains, in bytes.
const (
	FileMax        = 256 << 10
	DomainsFileMax = 64 << 20
)

// Load reads and checks the configuration file at path, and the file of local
// domains that it names. Its error is an Errors with every mistake, or wraps
// what the file system said when the file itself cannot be read.
func Load(path string) (*Config, error) {
	data, err := readFile(path, FileMax)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		// What an editor or a failed copy leaves, and not a wish for the defaults.
		return nil, Errors{{File: path, Line: 1, Column: 1, Problem: "is empty", Cure: "write what differs from the defaults, at least mail.local_domains; weir config sample prints all keys"}}
	}
	c, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	if err := c.readDomains(); err != nil {
		return nil, err
	}
	return c, nil
}

func readFile(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s: larger than %s", path, Bytes(limit))
	}
	return data, nil
}

// LocalDomains gives the domains of mail.local_domains and, in a configuration
// from Load, those of mail.local_domains_file.
func (c *Config) LocalDomains() []Domain {
	return append(c.Mail.LocalDomains[:len(c.Mail.LocalDomains):len(c.Mail.LocalDomains)], c.source.domains...)
}

func (c *Config) readDomains() error {
	const key = "mail.local_domains_file"
	path := string(c.Mail.LocalDomainsFile)
	if path == "" {
		return nil
	}
	data, err := readFile(path, DomainsFileMax)
	if err != nil {
		return Errors{c.Problem(key, "cannot be read: "+cause(err), "make the file, or take the key out")}
	}
	c.source.domains, err = parseDomains(path, key, data)
	return err
}

// parseDomains reads one domain a line.
func parseDomains(path, key string, data []byte) ([]Domain, error) {
	var domains []Domain
	var errs Errors
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text, _, _ := strings.Cut(string(line), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		var d Domain
		if err := d.UnmarshalText([]byte(words[0])); err != nil {
			column := strings.Index(text, words[0]) + 1
			errs = append(errs, newError(err, Error{File: path, Line: n, Column: column, Key: key, Value: quoteValue(words[0])}))
			if len(errs) == errorsMax {
				break
			}
			continue
		}
		domains = append(domains, d)
	}
	return domains, errs.orNil()
}

// newError completes e with what err says is wrong.
func newError(err error, e Error) *Error {
	var b *badValue
	if errors.As(err, &b) {
		e.Problem, e.Cure = b.problem, b.cure
	} else {
		e.Problem = err.Error()
	}
	return &e
}

// cause gives what the file system said, without the path that the message has already.
func cause(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// Problem makes an error about the value of key, placed where the file sets it.
// The daemon uses it for what only the running system can tell: a group that
// does not exist, a policy file that cannot be read. An element of a list is
// named "milter.listen[1]", from 0.
func (c *Config) Problem(key, problem, cure string) *Error {
	return c.document().problem(key, problem, cure)
}

func (d *document) problem(key, problem, cure string) *Error {
	e := &Error{File: d.source.file, Key: key, Problem: problem, Cure: cure}
	for _, name := range []string{key, keyOf(key)} {
		if at, ok := d.source.at[name]; ok {
			e.Line, e.Column, e.Value = at.line, at.column, at.raw
			return e
		}
	}
	if at, ok := d.source.at[parent(key)]; ok { // what a section lacks that may stand several times
		e.Line, e.Column = at.line, at.column
		return e
	}
	d.each(func(name string, _ field, v reflect.Value) {
		if name == keyOf(key) {
			e.Value = quoteValue(tomlValue(v))
		}
	})
	return e
}

// source is where a configuration came from.
type source struct {
	file    string
	at      map[string]place // keys, and elements of lists, that the file sets
	domains []Domain         // from mail.local_domains_file
}

// place is where a value stands in the file.
type place struct {
	line, column int
	raw          string // the value as written, for people
}

// absolute makes relative paths start from dir.
func (d *document) absolute(dir string) {
	abs := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	d.each(func(_ string, _ field, v reflect.Value) {
		switch v := v.Addr().Interface().(type) {
		case *Path:
			*v = Path(abs(string(*v)))
		case *Listen:
			if v.Network == "unix" {
				v.Address = abs(v.Address)
			}
		case *[]Listen:
			for i := range *v {
				if (*v)[i].Network == "unix" {
					(*v)[i].Address = abs((*v)[i].Address)
				}
			}
		case *Endpoint:
			if v.Network == "unix" {
				v.Address = abs(v.Address)
			}
		case *DaemonAddress:
			if v.Network == "unix" {
				v.Address = abs(v.Address)
			}
		}
	})
}
