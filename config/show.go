package config

import (
	"fmt"
	"reflect"
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
	c.document().each(func(name string, f field, v reflect.Value) {
		at, set := c.source.at[name]
		all = append(all, Setting{name, tomlValue(v), !set, at.line, f.live()})
	})
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
			if name := keyOf(section); name != section {
				fmt.Fprintf(&b, "\n[[%s]]\n", name)
			} else {
				fmt.Fprintf(&b, "\n[%s]\n", section)
			}
		}
		fmt.Fprintf(&b, "%s = %s", s.Key[len(section)+1:], s.Value)
		if s.Default {
			b.WriteString(" # default")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// listOf gives the sections of a key that may stand several times.
func listOf(f field, c *Config) any {
	return reflect.ValueOf(c).Elem().FieldByIndex(f.list).Interface()
}

// Changed gives the keys whose values differ: those that a running daemon
// takes at reload, and those that need a restart. A changed file of local
// domains counts as a change of its key.
func Changed(old, new *Config) (live, needRestart []string) {
	sections := map[string]bool{}
	for _, f := range fields() {
		if f.list != nil { // they have no names of their own: the sections changed, or none did
			if !sections[f.section] {
				sections[f.section] = true
				if !reflect.DeepEqual(listOf(f, old), listOf(f, new)) {
					live = append(live, f.section)
				}
			}
			continue
		}
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
