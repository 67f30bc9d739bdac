package postconf

import (
	"fmt"
	"strconv"
	"strings"
)

// Bounds on each of the two texts and on one logical line, in bytes. Large sites
// have some hundred kilobytes in lines of some thousand.
const (
	textMax = 8 << 20
	lineMax = 256 << 10
)

// Config is the configuration of one Postfix instance. It does not change.
type Config struct {
	params   map[string]string // as written, not expanded
	explicit map[string]bool   // set in main.cf
	services []*Service
	warnings []string
}

// Parse reads the output of "postconf -n" (or plain "postconf") and of
// "postconf -M". A text larger than 8 MiB, a line longer than 256 KiB and a line
// that is no parameter or no service are errors, which name the line.
func Parse(main, master string) (*Config, error) {
	c := &Config{params: map[string]string{}, explicit: map[string]bool{}}
	err := eachLine("main.cf", main, func(line string) error {
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || !isName(name) {
			return fmt.Errorf("%q is not \"name = value\"", clip(line))
		}
		c.params[name] = strings.TrimSpace(value)
		c.explicit[name] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = eachLine("master.cf", master, func(line string) error {
		s, err := parseService(line)
		c.services = append(c.services, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// eachLine calls do with each logical line: comments and empty lines are left
// out, and a line that begins with white space continues the one before.
func eachLine(file, text string, do func(line string) error) error {
	if len(text) > textMax {
		return fmt.Errorf("%s: %d bytes are more than the %d that are read; give the output of postconf -n and postconf -M", file, len(text), textMax)
	}
	var logical strings.Builder
	start, n := 0, 0
	flush := func() error {
		if logical.Len() == 0 {
			return nil
		}
		line := logical.String()
		logical.Reset()
		if err := do(line); err != nil {
			return fmt.Errorf("%s, line %d: %w", file, start, err)
		}
		return nil
	}
	for line := range strings.Lines(text) {
		n++
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if logical.Len() == 0 {
				return fmt.Errorf("%s, line %d: %q continues nothing", file, n, clip(trimmed))
			}
			logical.WriteByte(' ')
		} else {
			if err := flush(); err != nil {
				return err
			}
			start = n
		}
		logical.WriteString(trimmed)
		if logical.Len() > lineMax {
			return fmt.Errorf("%s, line %d: longer than the %d bytes that are read", file, start, lineMax)
		}
	}
	return flush()
}

// Set reports whether main.cf itself sets a parameter.
func (c *Config) Set(name string) bool { return c.explicit[name] }

// Value gives a parameter as main.cf has it, or its default, expanded. What is
// not known is empty.
func (c *Config) Value(name string) string { return c.In(nil, name) }

// In gives a parameter as a service sees it, expanded. A nil service is main.cf.
func (c *Config) In(s *Service, name string) string { return c.Expand(s, c.Raw(s, name)) }

// Raw gives a parameter as a service sees it, as it is written.
func (c *Config) Raw(s *Service, name string) string {
	if s != nil {
		if v, ok := s.Option(name); ok {
			return v
		}
		if name == "service_name" {
			return s.Name
		}
	}
	if v, ok := c.params[name]; ok {
		return v
	}
	return builtin(name)
}

// Bool reports whether a parameter is "yes" for a service, which may be nil.
func (c *Config) Bool(s *Service, name string) bool {
	return strings.EqualFold(c.In(s, name), "yes")
}

// Services gives the services of master.cf in their order.
func (c *Config) Services() []*Service { return c.services }

// Service finds a service by name and type; nil when there is none.
func (c *Config) Service(name, kind string) *Service {
	for _, s := range c.services {
		if s.Name == name && s.Type == kind {
			return s
		}
	}
	return nil
}

// Chrooted reports whether a service runs in the queue directory as its root:
// what its chroot column says, or the default, which was yes before Postfix 3.0
// (compatibility_level 0).
func (c *Config) Chrooted(s *Service) bool {
	switch s.chroot {
	case "y":
		return true
	case "n":
		return false
	}
	return compareLevels(c.Value("compatibility_level"), "1") < 0
}

// Warnings gives what postconf said to standard error, one line each.
func (c *Config) Warnings() []string { return c.warnings }

// Version is Postfix's version. The zero Version is an unknown one.
type Version struct{ Major, Minor int }

// Version gives the version from mail_version ("3.7.11"), which "postconf -n"
// does not print.
func (c *Config) Version() Version {
	major, rest, _ := strings.Cut(c.params["mail_version"], ".")
	minor, _, _ := strings.Cut(rest, ".")
	minor, _, _ = strings.Cut(minor, "-") // "3.11-20251126"
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil || a < 0 || b < 0 {
		return Version{}
	}
	return Version{a, b}
}

// Known reports whether v is a version at all.
func (v Version) Known() bool { return v != Version{} }

// Before reports whether v is known and older than major.minor.
func (v Version) Before(major, minor int) bool {
	return v.Known() && (v.Major < major || v.Major == major && v.Minor < minor)
}

// String gives "3.7", or "of unknown version".
func (v Version) String() string {
	if !v.Known() {
		return "of unknown version"
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

// isName admits what Postfix takes as the name of a parameter.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
				return false
			}
		}
	}
	return s != ""
}

// clip shortens what an error repeats of a text.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
