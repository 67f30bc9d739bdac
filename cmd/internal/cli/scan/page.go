package scan

import (
	"fmt"
	"reflect"
	"strings"
)

// Page gives the page that describes the JSON of a Result, in Markdown, made
// from the types.
func Page() string {
	var b strings.Builder
	b.WriteString("# What weir scan --json prints\n\nOne JSON object. Keys stay what they are; later versions may add others, so readers pass over what they do not know.\nA key marked *optional* is absent where it has nothing to say; lists are never null. Texts are as the message has them, decoded:\nwho shows them to people escapes them. Made from the code by `go generate ./cmd/weir`; a test keeps it current.\n")
	types := []reflect.Type{reflect.TypeFor[Result]()}
	for i := 0; i < len(types); i++ {
		t := types[i]
		if i == 0 {
			b.WriteString("\n## The object\n")
		} else {
			fmt.Fprintf(&b, "\n## %s\n", t.Name())
		}
		b.WriteString("\n| key | type | what |\n| --- | --- | --- |\n")
		for n := range t.NumField() {
			f := t.Field(n)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			what := f.Tag.Get("doc")
			if options != "" {
				what = strings.TrimSpace("*optional* " + what)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, typeName(f.Type, &types), what)
		}
	}
	return b.String()
}

func typeName(t reflect.Type, types *[]reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), types)
	case reflect.Struct:
		known := false
		for _, k := range *types {
			known = known || k == t
		}
		if !known {
			*types = append(*types, t)
		}
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "number"
	}
	return "text"
}
