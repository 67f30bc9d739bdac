package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write reference.md and weir.toml anew")

// The pages are made here rather than in the program, so that the program
// carries the text and not the machinery.
func TestThePagesAreMadeFromTheTypes(t *testing.T) {
	docs := fieldDocs(t)
	for name, made := range map[string]string{"reference.md": makeReference(docs), "weir.toml": makeSample(docs)} {
		if *update {
			if err := os.WriteFile(name, []byte(made), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != made {
			t.Errorf("config/%s is not what the types say: run go generate ./config", name)
		}
	}
}

func TestTheSampleSetsNothing(t *testing.T) {
	c, err := Parse("/etc/weir/weir.toml", []byte(Sample()))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings() {
		if !s.Default {
			t.Errorf("%s is set", s.Key)
		}
	}
}

func TestTheSampleUncommentedEqualsTheDefaults(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(Sample()) {
		if key, ok := strings.CutPrefix(line, "#"); ok && key[0] != ' ' && key[0] != '\n' {
			line = key
		}
		b.WriteString(line)
	}
	c, err := Parse("/etc/weir/weir.toml", []byte(b.String()))
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, b.String())
	}
	defaults, err := Parse("/etc/weir/weir.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	live, restart := Changed(defaults, c)
	if len(live)+len(restart) > 0 {
		t.Errorf("differs in %v %v", live, restart)
	}
	for _, s := range c.Settings() {
		if s.Default {
			t.Errorf("%s does not stand in the sample", s.Key)
		}
	}
}

func TestTheReferenceHasEveryKey(t *testing.T) {
	for _, f := range fields() {
		if !strings.Contains(Reference(), "\n### "+f.key+"\n") {
			t.Errorf("%s is not described", f.key)
		}
	}
}

func TestEveryExampleLoads(t *testing.T) {
	for _, f := range fields() {
		example, ok := f.tag.Lookup("example")
		if !ok {
			continue
		}
		doc := fmt.Sprintf("%s = %s\n", f.key, example)
		_, err := Parse("weir.toml", []byte(doc))
		for _, e := range asErrors(err) {
			// A client certificate or a login needs its counterpart.
			if !strings.Contains(e.Problem, "belong together") && !strings.Contains(e.Problem, "without TLS") {
				t.Errorf("%s: %v", doc, e)
			}
		}
	}
}

func TestEveryTagIsUsable(t *testing.T) {
	c := Default()
	for _, f := range fields() {
		v := f.of(c)
		if _, ranged := f.tag.Lookup("range"); ranged {
			if low, high, ok := bounds(f, v.Type()); !ok || low > high {
				t.Errorf("%s: range %q cannot be read", f.key, f.tag.Get("range"))
			}
		}
		switch v.Interface().(type) {
		case int, Bytes, Duration, Mode:
			if f.tag.Get("range") == "" {
				t.Errorf("%s has no range", f.key)
			}
		case string, bool, Path, Listen, Endpoint, []Listen, []Prefix, []Domain, []Principal, []DeliveryLog, []SourcePattern, []string, MailboxTemplate:
		default:
			if f.tag.Get("oneof") == "" {
				t.Errorf("%s: %s is a type that this test does not know", f.key, v.Type())
			}
		}
	}
}

// fieldDocs gives the doc comments of the struct types in config.go, by
// "Type.Field", each as one line.
func fieldDocs(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			for _, name := range f.Names {
				docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
			}
		}
		return false
	})
	return docs
}

// walk calls section for each section and key for each key, in order.
func walk(docs map[string]string, section func(name, doc string), key func(f field, doc string)) {
	t := reflect.TypeFor[Config]()
	seen := map[string]bool{}
	for _, f := range fields() {
		owner := t.FieldByIndex(f.index[:1])
		for i := 1; i < len(f.index); i++ {
			name := strings.Join(strings.Split(f.key, ".")[:i], ".")
			holder := t
			if i > 1 {
				holder = t.FieldByIndex(f.index[:i-1]).Type
				owner = t.FieldByIndex(f.index[:i])
			}
			if !seen[name] {
				seen[name] = true
				section(name, docs[holder.Name()+"."+owner.Name])
			}
		}
		holder := t.FieldByIndex(f.index[:len(f.index)-1]).Type
		key(f, docs[holder.Name()+"."+t.FieldByIndex(f.index).Name])
	}
}

func makeReference(docs map[string]string) string {
	defaults := Default()
	var b strings.Builder
	b.WriteString(`# weir.toml

Every key of the configuration file. This page is made from the types of
package config; ` + "`weir config reference`" + ` prints it, ` + "`weir config show`" + ` prints the values in
force, and ` + "`weir config check`" + ` names every mistake in a file.

The file is [TOML](https://toml.io/en/v1.0.0). A key that is not here is an
error. Relative paths are relative to the folder of the file. A duration has
units (` + "`\"30s\"`, `\"5m\"`, `\"12h\"`, `\"30d\"`, `\"2w\"`, `\"1h30m\"`" + `), and so has a size
(` + "`\"64KiB\"`, `\"20MiB\"`, `\"1GiB\"` by 1024, `\"10MB\"` by 1000; a bare number is in bytes" + `).
No key holds a secret. Nothing is read from the environment.

*Live* keys take their new value when a running daemon reloads (SIGHUP, or a
change of the file); the others need a restart.
`)
	walk(docs, func(name, doc string) {
		fmt.Fprintf(&b, "\n## [%s]\n\n%s\n", name, doc)
	}, func(f field, doc string) {
		fmt.Fprintf(&b, "\n### %s\n\n%s · default %s · %s\n\n%s\n", f.key, typeText(f, defaults), defaultText(f, defaults), liveText(f), doc)
		if example, ok := f.tag.Lookup("example"); ok {
			fmt.Fprintf(&b, "\nExample: `%s = %s`\n", f.key[strings.LastIndexByte(f.key, '.')+1:], example)
		}
	})
	return b.String()
}

func liveText(f field) string {
	if f.live() {
		return "live"
	}
	return "restart"
}

func defaultText(f field, c *Config) string {
	if text, ok := f.tag.Lookup("default"); ok {
		return text
	}
	return "`" + tomlValue(f.of(c)) + "`"
}

func typeText(f field, c *Config) string {
	between := ""
	if low, high, ok := strings.Cut(f.tag.Get("range"), ".."); ok {
		between = " from " + low + " to " + high
	}
	switch f.of(c).Interface().(type) {
	case int:
		return "whole number" + between
	case bool:
		return "true or false"
	case string:
		return "text"
	case Duration:
		return "duration" + between
	case Bytes:
		return "size" + between
	case Mode:
		return "file mode" + between
	case Path:
		return "path"
	case Listen:
		return "socket address"
	case []Listen:
		return "list of socket addresses"
	case Endpoint:
		return "socket address or host and port"
	case []Prefix:
		return "list of addresses and networks"
	case []Domain:
		return "list of domains"
	case []Principal:
		return "list of users and groups"
	case []DeliveryLog:
		return "list of logs"
	case []SourcePattern:
		return "list of sources"
	case []string:
		return "list of texts"
	case MailboxTemplate:
		return "template"
	}
	words := strings.Fields(f.tag.Get("oneof"))
	return "`" + strings.Join(words[:len(words)-1], "`, `") + "` or `" + words[len(words)-1] + "`"
}

func makeSample(docs map[string]string) string {
	defaults := Default()
	var b strings.Builder
	b.WriteString(`# The configuration of Weir. Every key stands here as a comment with its
# default; take the # away to set it. Relative paths are relative to the folder
# of this file. "weir config reference" describes each key in full, and
# "weir config check" looks for mistakes.
`)
	walk(docs, func(name, doc string) {
		b.WriteByte('\n')
		writeComment(&b, doc)
		fmt.Fprintf(&b, "[%s]\n", name)
	}, func(f field, doc string) {
		b.WriteByte('\n')
		name := f.key[strings.LastIndexByte(f.key, '.')+1:]
		example, ok := f.tag.Lookup("example")
		if ok {
			example = fmt.Sprintf("# Example: %s = %s\n", name, example)
		}
		writeComment(&b, doc)
		b.WriteString(example)
		fmt.Fprintf(&b, "#%s = %s\n", name, tomlValue(f.of(defaults)))
	})
	return b.String()
}

// writeComment wraps text at 78 columns.
func writeComment(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(strings.ReplaceAll(text, "`", "")) {
		if len(line)+1+len(word) > 78 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
