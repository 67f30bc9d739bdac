package config

import (
	"fmt"
	"slices"
	"strings"
)

// Setting is one key and the value in force.
type Setting struct {
	Key     string
	Value   string // as TOML
	Default bool   // the file does not set it
	Line    int    // in the file, from 1; 0 for a default
	Live    bool   // a running daemon takes a new value at reload
}

// Settings gives every key with its effective value: defaults filled in, paths
// absolute, names canonical. There are no secrets among them.
func (c *Config) Settings() []Setting {
	all := make([]Setting, 0, 80)
	for _, f := range fields() {
		at, set := c.source.at[f.key]
		all = append(all, Setting{f.key, tomlValue(f.of(c)), !set, at.line, f.live()})
	}
	return all
}

// Show gives the effective configuration as a TOML document that means the
// same wherever it lies. A comment marks what is default.
func (c *Config) Show() string {
	var b strings.Builder
	if c.source.file != "" {
		fmt.Fprintf(&b, "# In force by %s.\n", quoteValue(c.source.file))
	}
	section := ""
	for _, s := range c.Settings() {
		if p := parent(s.Key); p != section {
			section = p
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		fmt.Fprintf(&b, "%s = %s", s.Key[len(section)+1:], s.Value)
		if s.Default {
			b.WriteString(" # default")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Changed gives the keys whose values differ: those that a running daemon
// takes at reload, and those that need a restart. A changed file of local
// domains counts as a change of its key.
func Changed(old, new *Config) (live, needRestart []string) {
	for _, f := range fields() {
		same := tomlValue(f.of(old)) == tomlValue(f.of(new))
		if f.key == "mail.local_domains_file" {
			same = same && slices.Equal(old.source.domains, new.source.domains)
		}
		switch {
		case same:
		case f.live():
			live = append(live, f.key)
		default:
			needRestart = append(needRestart, f.key)
		}
	}
	return live, needRestart
}
