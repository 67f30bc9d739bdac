package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Parse reads and checks the bytes of a configuration file. The file's name is
// for messages, and relative paths are relative to its folder; it is not
// opened, and neither is any other file. The error is an Errors.
func Parse(file string, data []byte) (*Config, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark, which editors add and TOML forbids
	if len(data) > FileMax {
		return nil, Errors{{File: file, Line: 1, Column: 1, Problem: "is larger than " + Bytes(FileMax).String(), Cure: "move lists into list files"}}
	}
	c := Default()
	c.Milter.SpoolDir = "" // derived again below
	c.source = source{file: file, at: map[string]place{}}
	err := c.document().parse(data, func() Errors {
		c.derive()
		return c.check()
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) document() *document {
	return &document{root: reflect.ValueOf(c).Elem(), source: &c.source, fields: fields(), fresh: freshFeed}
}

// parse reads a file's bytes into the document, and has it checked.
func (doc *document) parse(data []byte, check func() Errors) error {
	d := newDecoder(doc, data)
	if err := d.syntax(); err != nil {
		return Errors{err}
	}
	d.document()

	dir, err := filepath.Abs(filepath.Dir(doc.source.file))
	if err != nil {
		return Errors{{File: doc.source.file, Problem: "its folder is not known: " + err.Error(), Cure: "name it by an absolute path"}}
	}
	doc.absolute(dir)
	for _, e := range check() {
		if !d.failed[keyOf(e.Key)] { // what could not be read holds its default, of which nothing needs saying
			d.errs = append(d.errs, e)
		}
	}
	return d.errs.orNil()
}

// A decoder walks the expressions of a TOML document and sets its fields. It decodes itself, over the library's parser, because the library
// stops at the first value that does not fit and people want to see them all.
type decoder struct {
	into     *document
	doc      []byte
	lines    []int // offset of the first byte of each line
	parser   unstable.Parser
	fields   map[string]field
	sections map[string]bool
	lists    map[string][]int // where the sections are that may stand several times
	names    []string         // of fields and sections, sorted
	skipped  map[string]bool  // unknown names already reported
	failed   map[string]bool  // keys whose value could not be read
	errs     Errors
}

func newDecoder(into *document, data []byte) *decoder {
	d := &decoder{
		into: into, doc: data, lines: []int{0},
		fields: map[string]field{}, sections: map[string]bool{"": true},
		skipped: map[string]bool{}, failed: map[string]bool{}, lists: map[string][]int{},
	}
	for i, b := range data {
		if b == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	for _, f := range into.fields {
		d.fields[f.key] = f
		d.names = append(d.names, f.key)
		if f.list != nil {
			d.lists[f.section] = f.list
		}
		for s := f.section; !d.sections[s]; s = parent(s) {
			d.sections[s] = true
			d.names = append(d.names, s)
		}
	}
	slices.Sort(d.names)
	return d
}

// syntax reports what makes the document no TOML: the library stops there, and
// it also finds keys and tables that are defined twice.
func (d *decoder) syntax() *Error {
	var tree map[string]any
	err := toml.Unmarshal(d.doc, &tree)
	if err == nil {
		return nil
	}
	e := &Error{File: d.into.source.file, Line: 1, Column: 1, Problem: strings.TrimPrefix(err.Error(), "toml: ")}
	var de *toml.DecodeError
	if errors.As(err, &de) {
		e.Line, e.Column = de.Position()
	}
	e.Cure = d.syntaxCure(e.Line)
	if strings.Contains(e.Problem, "already") { // defined, exists
		e.Cure = "take one of the two out"
	}
	e.Problem = "cannot be read as TOML: " + e.Problem
	return e
}

// syntaxCure guesses the commonest slip: a text value without quotes.
func (d *decoder) syntaxCure(line int) string {
	const general = "see https://toml.io/en/v1.0.0 for the format"
	if line < 1 || line > len(d.lines) {
		return general
	}
	text, _, _ := bytes.Cut(d.doc[d.lines[line-1]:], []byte("\n"))
	key, value, ok := strings.Cut(string(text), "=")
	value, _, _ = strings.Cut(value, " #")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || !isWord(key) || value == "" || strings.ContainsAny(value, "\"'[]{}") {
		return general
	}
	return fmt.Sprintf("put text in double quotes: %s = %s", key, quoteValue(tomlString(value)))
}

func (d *decoder) document() {
	d.parser.Reset(d.doc)
	var table []string
	known := true // keys of an unknown section are passed over
	for d.parser.NextExpression() {
		expr := d.parser.Expression()
		switch expr.Kind {
		case unstable.Table, unstable.ArrayTable:
			var at unstable.Range
			table, at = keyPath(nil, expr.Key())
			known = d.table(expr.Kind, table, at)
		case unstable.KeyValue:
			if known {
				d.keyValue(table, expr)
			}
		}
	}
}

// keyPath appends the parts of a dotted key to table and says where the first
// of them stands.
func keyPath(table []string, parts unstable.Iterator) (path []string, at unstable.Range) {
	path = table[:len(table):len(table)]
	for first := true; parts.Next(); first = false {
		if first {
			at = parts.Node().Raw
		}
		path = append(path, string(parts.Node().Data))
	}
	return path, at
}

// table checks the header of a section and reports whether its keys are worth
// reading.
func (d *decoder) table(kind unstable.Kind, path []string, at unstable.Range) bool {
	key := joinKey(path)
	switch {
	case d.lists[key] != nil && kind == unstable.ArrayTable:
		list := d.into.root.FieldByIndex(d.lists[key])
		d.note(fmt.Sprintf("%s[%d]", key, list.Len()), at, "")
		list.Set(reflect.Append(list, d.into.fresh(key)))
		return true
	case d.lists[key] != nil:
		d.report(key, at, "", "can stand several times", fmt.Sprintf("write [[%s]]", key))
		return false
	case d.sections[key]:
		if kind == unstable.ArrayTable {
			d.report(key, at, "", "stands once, not as a list of sections", fmt.Sprintf("write [%s]", key))
		}
		return true
	case d.isField(key):
		d.report(key, at, "", "is a key, not a section", fmt.Sprintf("write %s = … in section [%s]", key[strings.LastIndexByte(key, '.')+1:], parent(key)))
	default:
		d.unknown(path, at)
	}
	return false
}

func (d *decoder) keyValue(table []string, expr *unstable.Node) {
	path, at := keyPath(table, expr.Key())
	key := joinKey(path)
	value := expr.Value()
	switch {
	case d.lists[key] != nil || d.isField(key) && d.fields[key].list != nil && !slices.Equal(table, path[:len(path)-1]):
		section := key
		if d.isField(key) {
			section = d.fields[key].section
		}
		d.report(key, at, "", "stands outside of its section", fmt.Sprintf("write it under [[%s]]", section))
	case d.isField(key):
		d.set(d.fields[key], at, value)
	case value.Kind == unstable.InlineTable:
		if !d.sections[key] {
			d.unknown(path, at)
			return
		}
		for it := value.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				d.keyValue(path, it.Node())
			}
		}
	case d.sections[key]:
		d.report(key, at, "", "is a section, not a key", fmt.Sprintf("write its keys under [%s]", key))
	default:
		d.unknown(path, at)
	}
}

func (d *decoder) isField(key string) bool {
	_, ok := d.fields[key]
	return ok
}

// unknown reports the first part of path that is not known, once.
func (d *decoder) unknown(path []string, at unstable.Range) {
	if len(d.errs) == errorsMax {
		return
	}
	for i := range path {
		key := joinKey(path[:i+1])
		if d.skipped[key] {
			return
		}
		if d.sections[key] {
			continue
		}
		d.skipped[key] = true
		if d.isField(key) { // a key below a key: state.dir.x
			d.report(key, at, "", "is a key and has none below it", fmt.Sprintf("write %s = …", key))
			return
		}
		d.report(key, at, "", "is not known", suggest(joinKey(path[:i]), path[i], d.names, d.isField))
		return
	}
}

// set reads the value of a field. Errors leave the field as it is.
func (d *decoder) set(f field, at unstable.Range, node *unstable.Node) {
	if node.Raw.Length > 0 {
		at = node.Raw
	}
	key, holder := f.key, d.into.root
	if f.list != nil {
		list := d.into.root.FieldByIndex(f.list)
		key, holder = elementKey(f, list.Len()-1), list.Index(list.Len()-1)
	}
	d.note(key, at, d.raw(node))
	into := holder.FieldByIndex(f.index)
	fresh := reflect.New(into.Type()).Elem()
	before := len(d.errs)
	if into.Kind() == reflect.Slice {
		d.list(key, at, node, fresh)
	} else {
		d.scalar(key, at, node, fresh)
	}
	if len(d.errs) == before {
		into.Set(fresh)
	} else {
		d.failed[key] = true
	}
}

func (d *decoder) list(key string, at unstable.Range, node *unstable.Node, into reflect.Value) {
	if node.Kind != unstable.Array {
		d.report(key, at, d.raw(node), "is not a list", "put it in brackets: ["+d.raw(node)+"]")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), 0, 0))
	for it, i := node.Children(), 0; it.Next(); {
		elem := it.Node()
		name := fmt.Sprintf("%s[%d]", key, i)
		where := at
		if elem.Raw.Length > 0 {
			where = elem.Raw
		}
		d.note(name, where, d.raw(elem))
		v := reflect.New(into.Type().Elem()).Elem()
		d.scalar(name, where, elem, v)
		into.Set(reflect.Append(into, v))
		i++
	}
}

func (d *decoder) scalar(key string, at unstable.Range, node *unstable.Node, into reflect.Value) {
	raw := d.raw(node)
	if node.Kind == unstable.Array || node.Kind == unstable.InlineTable {
		d.report(key, at, raw, "is not a single value", "write one value, without brackets around it")
		return
	}
	if u, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		text := string(node.Data)
		_, isSize := u.(*Bytes)
		bare := node.Kind != unstable.String
		if bare && isSize && node.Kind == unstable.Integer {
			text, bare = strings.ReplaceAll(text, "_", ""), false
		}
		if err := u.UnmarshalText([]byte(text)); err != nil {
			d.add(newError(err, d.errorAt(key, at, raw)))
		} else if bare {
			d.report(key, at, raw, "is not text", "put it in double quotes")
		}
		return
	}
	switch into.Kind() {
	case reflect.String:
		if node.Kind != unstable.String {
			d.report(key, at, raw, "is not text", "put it in double quotes")
			return
		}
		into.SetString(string(node.Data))
	case reflect.Int:
		n, err := strconv.ParseInt(string(node.Data), 0, strconv.IntSize)
		if node.Kind != unstable.Integer || err != nil {
			d.report(key, at, raw, "is not a whole number", "write digits without quotes")
			return
		}
		into.SetInt(n)
	case reflect.Bool:
		if node.Kind != unstable.Bool {
			d.report(key, at, raw, "is neither true nor false", "write true or false without quotes")
			return
		}
		into.SetBool(string(node.Data) == "true")
	}
}

// raw gives a value as the file writes it. The parser keeps no range for lists
// and inline tables.
func (d *decoder) raw(node *unstable.Node) string {
	switch node.Kind {
	case unstable.InlineTable:
		return "{…}"
	case unstable.Array:
		list := "["
		for it := node.Children(); it.Next() && len(list) <= valueMax; {
			if len(list) > 1 {
				list += ", "
			}
			if it.Node().Kind == unstable.Array {
				list += "[…]"
			} else {
				list += d.raw(it.Node())
			}
		}
		return quoteValue(list + "]")
	}
	return quoteValue(string(d.parser.Raw(node.Raw)))
}

func (d *decoder) note(key string, at unstable.Range, raw string) {
	line, column := d.position(at)
	d.into.source.at[key] = place{line, column, raw}
}

func (d *decoder) report(key string, at unstable.Range, raw, problem, cure string) {
	e := d.errorAt(key, at, raw)
	e.Problem, e.Cure = problem, cure
	d.add(&e)
}

func (d *decoder) add(e *Error) {
	if len(d.errs) < errorsMax {
		d.errs = append(d.errs, e)
	}
}

func (d *decoder) errorAt(key string, at unstable.Range, raw string) Error {
	line, column := d.position(at)
	return Error{File: d.into.source.file, Line: line, Column: column, Key: quoteValue(key), Value: raw}
}

func (d *decoder) position(at unstable.Range) (line, column int) {
	offset := int(at.Offset)
	line = sort.SearchInts(d.lines, offset+1)
	return line, offset - d.lines[line-1] + 1
}

// joinKey writes a path as a dotted key. A part that must be quoted stays
// quoted, so that "milter.listen" in quotes is not taken for the key.
func joinKey(path []string) string {
	parts := slices.Clone(path)
	for i, p := range parts {
		if strings.ContainsFunc(p, func(r rune) bool { return r > 0x7f }) || !isWord(strings.TrimLeft(p, "-")) {
			parts[i] = strconv.Quote(p)
		}
	}
	return strings.Join(parts, ".")
}

func parent(key string) string { return key[:max(0, strings.LastIndexByte(key, '.'))] }
