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

var update = flag.Bool("update", false, "write the reference and sample pages anew")

// The pages are made here rather than in the program, so that the program
// carries the text and not the machinery.
func TestThePagesAreMadeFromTheTypes(t *testing.T) {
	docs := docsOf(t, "config.go", "feed.go", "pull.go", "share.go")
	main, pull := &page{Default().document(), docs}, &page{DefaultPull().document(), docs}
	for _, p := range []*page{main, pull} {
		p.walk(func(name, doc string) {
			if doc == "" {
				t.Errorf("%s is not described", name)
			}
		}, func(f field, _ reflect.Value, doc string) {
			if doc == "" {
				t.Errorf("%s is not described", f.key)
			}
		})
	}
	for name, made := range map[string]string{
		"reference.md": referenceHead + main.reference(), "weir.toml": sampleHead + main.sample(),
		"pull.md": pullReferenceHead + pull.reference(), "pull.toml": pullSampleHead + pull.sample(),
	} {
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
	if len(c.Feeds) != 1 {
		t.Errorf("%d feeds", len(c.Feeds))
	}
	c.Feeds = nil // what is shown of one is one
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
		if f.list != nil {
			doc = fmt.Sprintf("[[%s]]\n%s = %s\n", f.section, strings.TrimPrefix(f.key, f.section+"."), example)
		}
		_, err := Parse("weir.toml", []byte(doc))
		for _, e := range asErrors(err) {
			// A client certificate or a login needs its counterpart.
			if !strings.Contains(e.Problem, "belong together") && !strings.Contains(e.Problem, "without TLS") && e.Problem != "is missing" {
				t.Errorf("%s: %v", doc, e)
			}
		}
	}
}

func TestEveryTagIsUsable(t *testing.T) {
	c := Default()
	c.Feeds = make([]Feed, 1)
	c.document().each(func(_ string, f field, v reflect.Value) {
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
	})
}

// page makes the pages of a document.
type page struct {
	of   *document
	docs map[string]string // doc comments by "Type.Field", each as one line
}

// docsOf reads the doc comments of the struct types in files.
func docsOf(t *testing.T, names ...string) map[string]string {
	t.Helper()
	docs := map[string]string{}
	var all []ast.Decl
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, file.Decls...)
	}
	for _, n := range all {
		ast.Inspect(n, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return false
			}
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			return false
		})
	}
	return docs
}

// walk calls section for each section, "[name]" or "[[name]]", and key for each
// key with its default, in order.
func (p *page) walk(section func(name, doc string), key func(f field, v reflect.Value, doc string)) {
	seen := map[string]bool{}
	for _, f := range p.of.fields {
		root := p.of.root
		if f.list != nil {
			if name := "[[" + f.section + "]]"; !seen[name] {
				seen[name] = true
				section(name, p.docs[root.Type().Name()+"."+root.Type().FieldByIndex(f.list).Name])
			}
			root = p.of.fresh(f.section)
		}
		holder := root.Type()
		for i, at := range f.index {
			sf := holder.Field(at)
			doc := p.docs[holder.Name()+"."+sf.Name]
			if i == len(f.index)-1 {
				key(f, root.FieldByIndex(f.index), doc)
				break
			}
			if name := "[" + strings.Join(strings.Split(f.key, ".")[:i+1], ".") + "]"; !seen[name] {
				seen[name] = true
				section(name, doc)
			}
			holder = sf.Type
		}
	}
}

const referenceHead = `# weir.toml

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
`

const pullReferenceHead = `# pull.toml

Every key of the sidecar's configuration file. This page is made from the types
of package config; ` + "`weir pull reference`" + ` prints it, ` + "`weir pull sample`" + ` prints a file to start
from, and ` + "`weir pull check`" + ` names every mistake in a file and tries what it says.

The file is [TOML](https://toml.io/en/v1.0.0). A key that is not here is an
error. Relative paths are relative to the folder of the file. Durations and
sizes are written as in [weir.toml](reference.md). A section in double brackets
may stand several times. No key holds a secret. A change needs a restart of the
sidecar, which does no harm at any moment.
`

func (p *page) reference() string {
	var b strings.Builder
	p.walk(func(name, doc string) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", name, doc)
	}, func(f field, v reflect.Value, doc string) {
		fmt.Fprintf(&b, "\n### %s\n\n%s · default %s · %s\n\n%s\n", f.key, typeText(f, v), defaultText(f, v), liveText(f), doc)
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

func defaultText(f field, v reflect.Value) string {
	if text, ok := f.tag.Lookup("default"); ok {
		return text
	}
	return "`" + tomlValue(v) + "`"
}

func typeText(f field, v reflect.Value) string {
	between := ""
	if low, high, ok := strings.Cut(f.tag.Get("range"), ".."); ok {
		between = " from " + low + " to " + high
	}
	switch v.Interface().(type) {
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
	case DaemonAddress:
		return "socket address or URL"
	case []LoginPattern:
		return "list of patterns"
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

const sampleHead = `# The configuration of Weir. Every key stands here as a comment with its
# default; take the # away to set it. Relative paths are relative to the folder
# of this file. "weir config reference" describes each key in full, and
# "weir config check" looks for mistakes.
`

const pullSampleHead = `# The configuration of the sidecar, weir pull. Every key stands here as a comment
# with its default, or with an example where a section may stand several times;
# take the # away to set it. Relative paths are relative to the folder of this
# file. "weir pull reference" describes each key in full, and "weir pull check"
# looks for mistakes and tries what the file says.
`

func (p *page) sample() string {
	var b strings.Builder
	p.walk(func(name, doc string) {
		b.WriteByte('\n')
		writeComment(&b, doc)
		if strings.HasPrefix(name, "[[") {
			name = "#" + name // it would be a section that lacks something
		}
		fmt.Fprintf(&b, "%s\n", name)
	}, func(f field, v reflect.Value, doc string) {
		b.WriteByte('\n')
		name := f.key[strings.LastIndexByte(f.key, '.')+1:]
		value := tomlValue(v)
		writeComment(&b, doc)
		if example, ok := f.tag.Lookup("example"); ok && f.list == nil {
			fmt.Fprintf(&b, "# Example: %s = %s\n", name, example)
		} else if ok {
			value = example
		}
		fmt.Fprintf(&b, "#%s = %s\n", name, value)
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
