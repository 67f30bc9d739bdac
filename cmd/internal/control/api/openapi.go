package api

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"strings"
	"time"
)

// OpenAPI gives the document that describes the socket (OpenAPI 3.1.0), made
// from the operations and the types of this package.
func OpenAPI() ([]byte, error) {
	d := document{schemas: map[string]any{}}
	paths := map[string]map[string]any{}
	for _, o := range Operations() {
		path := Version + o.Path
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(o.Method)] = d.operation(o)
	}
	return json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title":       "Weir control socket",
			"version":     strings.TrimPrefix(Version, "/v"),
			"description": "What weir's daemon offers on its control socket: HTTP/1.1 over a unix socket (control.listen in the configuration). The credentials of the connecting process give the caller, the configuration its role; x-weir-role names the role that an operation needs. Unknown parameters and keys are errors. Later versions may add operations, optional parameters and keys of answers.",
			"license":     map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []any{map[string]any{"url": "http://weir", "description": "any host name does: the connection goes to the unix socket"}},
		"paths":      paths,
		"components": map[string]any{"schemas": d.schemas},
	}, "", "  ")
}

// document collects the schemas on the way.
type document struct{ schemas map[string]any }

func (d *document) operation(o Operation) map[string]any {
	op := map[string]any{
		"operationId": o.Name,
		"summary":     o.Summary,
		"x-weir-role": o.Role.String(),
		"responses":   d.responses(o),
	}
	t := reflect.TypeOf(o.Input)
	var params []any
	for i := range t.NumField() {
		f := t.Field(i)
		name, in := f.Tag.Get("path"), "path"
		if name == "" {
			name, in = f.Tag.Get("query"), "query"
		}
		if name == "" {
			continue
		}
		_, required := f.Tag.Lookup("required")
		params = append(params, map[string]any{
			"name": name, "in": in, "required": required || in == "path",
			"description": f.Tag.Get("doc"), "schema": d.field(f, false),
		})
	}
	if params != nil {
		op["parameters"] = params
	}
	if o.Takes != "" {
		op["requestBody"] = map[string]any{"required": true, "content": map[string]any{o.Takes: map[string]any{"schema": map[string]any{}}},
			"description": "1 to 32 copies, each as one line of JSON (Handed), a line feed, and its bytes, as many as that line says."}
		d.define(reflect.TypeFor[Handed]())
	}
	if hasBody(t) {
		op["requestBody"] = map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": d.schema(t)}}}
	}
	return op
}

func (d *document) responses(o Operation) map[string]any {
	media, schema := "application/json", map[string]any{}
	switch {
	case o.Stream != "":
		media = o.Stream
	case o.Name == OpDocument:
		schema["type"] = "object"
	default:
		schema = d.schema(reflect.TypeOf(o.Output))
	}
	all := map[string]any{
		"200": map[string]any{"description": "Done", "content": map[string]any{media: map[string]any{"schema": schema}}},
	}
	meanings := map[int][]string{}
	for _, code := range append([]Code{BadRequest, Forbidden, Failed}, o.Codes...) {
		info := code.Info()
		meanings[info.Status] = append(meanings[info.Status], fmt.Sprintf("%s: %s", code, info.Meaning))
	}
	for status, texts := range meanings {
		all[fmt.Sprint(status)] = map[string]any{
			"description": http.StatusText(status) + ". " + strings.Join(texts, " "),
			"content":     map[string]any{"application/json": map[string]any{"schema": d.schema(reflect.TypeFor[Error]())}},
		}
	}
	return all
}

// schema gives a reference to the schema of a struct, or the schema itself of
// anything else.
func (d *document) schema(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case t == reflect.TypeFor[Role]():
		return map[string]any{"type": "string", "enum": []string{Nobody.String(), Viewer.String(), Operator.String(), Admin.String(), Puller.String()}}
	case t == reflect.TypeFor[Code]():
		var all []string
		for _, c := range Codes() {
			all = append(all, string(c.Code))
		}
		return map[string]any{"type": "string", "enum": all}
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Struct:
		d.define(t)
		return map[string]any{"$ref": "#/components/schemas/" + nameOf(t)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return map[string]any{"type": "integer", "format": "int64"}
	}
	return map[string]any{"type": "string"}
}

// nameOf gives the name of a type's schema. Types of other packages have their
// package's before it.
func nameOf(t reflect.Type) string {
	if t.PkgPath() == reflect.TypeFor[Operation]().PkgPath() {
		return t.Name()
	}
	pkg := path.Base(t.PkgPath())
	return strings.ToUpper(pkg[:1]) + pkg[1:] + t.Name()
}

// define writes the schema of a struct, once.
func (d *document) define(t reflect.Type) {
	if _, known := d.schemas[nameOf(t)]; known {
		return
	}
	properties := map[string]any{}
	schema := map[string]any{"type": "object", "properties": properties}
	d.schemas[nameOf(t)] = schema
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, optional, ok := jsonName(f)
		if !ok {
			continue
		}
		properties[name] = d.field(f, true)
		if !optional {
			required = append(required, name)
		}
	}
	if required != nil {
		schema["required"] = required
	}
}

// field gives the schema of a field with what its tags say.
func (d *document) field(f reflect.StructField, described bool) map[string]any {
	s := d.schema(f.Type)
	if words := strings.Fields(f.Tag.Get("enum")); len(words) > 0 {
		s["enum"] = words
	}
	if least, most := bounds(f); most > 0 {
		s["minimum"], s["maximum"] = least, most
	}
	if doc := f.Tag.Get("doc"); doc != "" && described {
		s["description"] = doc // beside a $ref too, since OpenAPI 3.1
	}
	return s
}
