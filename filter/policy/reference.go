package policy

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/weirmail/weir/filter/message"
)

// Reference gives the page that tells policy authors what conditions can speak
// of, made from the types themselves.
func Reference() string {
	var b strings.Builder
	b.WriteString("# What a rule can speak of\n\nMade from the code by `weir policy reference`; a test keeps it current.\n\n## Variables\n\n| name | type | what |\n| --- | --- | --- |\n")
	var structs []reflect.Type
	for _, v := range vars() {
		t := reflect.TypeOf(v.Zero)
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, typeName(t, &structs), v.Doc)
	}
	for i := 0; i < len(structs); i++ {
		t := structs[i]
		fmt.Fprintf(&b, "\n## %s\n\n| field | type | what |\n| --- | --- | --- |\n", structName(t))
		for f := range t.NumField() {
			field := t.Field(f)
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", field.Tag.Get("rule"), typeName(field.Type, &structs), field.Tag.Get("doc"))
		}
	}
	b.WriteString("\n## Defects\n\nThe names that `defects` can hold.\n\n| name | what |\n| --- | --- |\n")
	for _, d := range message.Defects() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", d.Name, d.Meaning)
	}
	fmt.Fprintf(&b, "| `%s` | Header or file names are longer than regular expressions of lists look at. |\n", DefectExpressionLimit)
	return b.String()
}

func structName(t reflect.Type) string { return strings.TrimSuffix(t.Name(), "Fact") }

func typeName(t reflect.Type, structs *[]reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), structs)
	case reflect.Map:
		return "map of " + typeName(t.Key(), structs) + " to " + typeName(t.Elem(), structs)
	case reflect.Struct:
		known := false
		for _, s := range *structs {
			known = known || s == t
		}
		if !known {
			*structs = append(*structs, t)
		}
		return "[" + structName(t) + "](#" + structName(t) + ")"
	case reflect.Int64:
		return "int"
	}
	return t.Kind().String()
}
