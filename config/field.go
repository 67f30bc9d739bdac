package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// A field is one key of a configuration, as the struct types describe it.
type field struct {
	key     string // "milter.listen"
	section string // "milter"
	list    []int  // of a section that may stand several times: where its list is in the document
	index   []int  // for reflect.Value.FieldByIndex on the document, or on an element of its list
	tag     reflect.StructTag
}

// A document is a file that is read: what its keys go into, and where they stood.
type document struct {
	root   reflect.Value // of a struct
	source *source
	fields []field
	// fresh gives a section that may stand several times with its defaults.
	fresh func(section string) reflect.Value
}

// each visits every key with its value; those of the second [[store]] are named
// "store[1].type".
func (d *document) each(visit func(name string, f field, v reflect.Value)) {
	for _, f := range d.fields {
		if f.list == nil {
			visit(f.key, f, d.root.FieldByIndex(f.index))
			continue
		}
		list := d.root.FieldByIndex(f.list)
		for i := range list.Len() {
			visit(elementKey(f, i), f, list.Index(i).FieldByIndex(f.index))
		}
	}
}

// elementKey names a key of the section's element i.
func elementKey(f field, i int) string {
	return fmt.Sprintf("%s[%d]%s", f.section, i, f.key[len(f.section):])
}

// keyOf gives the key of an element of its list: "milter.listen" of
// "milter.listen[1]".
func keyOf(name string) string {
	if strings.HasSuffix(name, "]") {
		return name[:strings.LastIndexByte(name, '[')]
	}
	return name
}

func (f field) live() bool {
	_, ok := f.tag.Lookup("live")
	return ok
}

func (f field) of(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(f.index) }

// fields lists all keys in the order of the struct types.
func fields() []field { return fieldsOf(reflect.TypeFor[Config]()) }

func fieldsOf(t reflect.Type) []field { return appendFields(nil, t, "", nil) }

func appendFields(all []field, t reflect.Type, section string, index []int) []field {
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() {
			continue
		}
		key := sf.Tag.Get("toml")
		if section != "" {
			key = section + "." + key
		}
		at := append(index[:len(index):len(index)], i)
		if isSection(sf.Type) {
			all = appendFields(all, sf.Type, key, at)
			continue
		}
		if sf.Type.Kind() == reflect.Slice && isSection(sf.Type.Elem()) {
			from := len(all)
			all = appendFields(all, sf.Type.Elem(), key, nil)
			for i := range all[from:] {
				all[from+i].list = at
			}
			continue
		}
		all = append(all, field{key: key, section: section, index: at, tag: sf.Tag})
	}
	return all
}

// isSection reports whether t holds keys rather than being a value. Values that
// are structs have a text form.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// tomlValue writes v, the value of a field, as TOML.
func tomlValue(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return `""`
		}
		return tomlString(string(text))
	}
	switch v.Kind() {
	case reflect.String:
		return tomlString(v.String())
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Slice:
		elems := make([]string, v.Len())
		for i := range elems {
			elems[i] = tomlValue(v.Index(i))
		}
		return "[" + strings.Join(elems, ", ") + "]"
	}
	return `""`
}

// tomlString writes s as a basic string (TOML 1.0, "String").
func tomlString(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\u00`)
			b.WriteByte(hex[r>>4])
			b.WriteByte(hex[r&15])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
