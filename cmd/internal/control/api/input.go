package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds on a request.
const (
	MaxBody = 64 << 10 // bytes of a JSON body
	maxText = 4 << 10  // bytes of one parameter
	maxID   = 256      // bytes of one part of a path
)

// Match finds the operation for a method and an escaped path, and what stands in
// the path for its {name}s. The error is an *Error with the code UnknownRoute or
// BadRequest; allow then lists the methods that the path has.
func Match(all []Operation, method, path string) (o Operation, params map[string]string, allow []string, err error) {
	rest, ok := strings.CutPrefix(path, Version+"/")
	if ok {
		segments := strings.Split(rest, "/")
		for _, o := range all {
			params, err := matchPath(o.Path, segments)
			switch {
			case err != nil:
				return Operation{}, nil, nil, err
			case params == nil:
			case o.Method == method:
				return o, params, nil, nil
			default:
				allow = append(allow, o.Method)
			}
		}
	}
	if allow != nil {
		return Operation{}, nil, allow, Errorf(UnknownRoute, "%s takes %s, not %s", path, strings.Join(allow, " or "), shorten(method))
	}
	return Operation{}, nil, nil, &Error{Code: UnknownRoute, Text: "there is no " + shorten(path), Cure: Version + "/openapi.json lists what there is"}
}

// matchPath gives what stands for the {name}s of a pattern, nil where the path
// is another one.
func matchPath(pattern string, segments []string) (map[string]string, error) {
	rest := pattern
	for _, segment := range segments {
		part, ok := nextPart(&rest)
		if _, isParam := paramName(part); !ok || !isParam && part != segment {
			return nil, nil
		}
	}
	if rest != "" {
		return nil, nil
	}
	params := map[string]string{}
	for i, part := range strings.Split(pattern[1:], "/") {
		name, isParam := paramName(part)
		if !isParam {
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil || value == "" || len(value) > maxID || !isText(value) {
			return nil, Errorf(BadRequest, "%s cannot be %q", name, shorten(segments[i]))
		}
		params[name] = value
	}
	return params, nil
}

// nextPart takes the first part of a path off it.
func nextPart(path *string) (part string, ok bool) {
	rest, ok := strings.CutPrefix(*path, "/")
	if !ok {
		return "", false
	}
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	*path = rest[end:]
	return rest[:end], true
}

func paramName(part string) (string, bool) {
	if name, ok := strings.CutPrefix(part, "{"); ok {
		return strings.TrimSuffix(name, "}"), true
	}
	return "", false
}

// Decode fills input, a pointer to a struct of the operation's input type, from
// a request. The error is an *Error with the code BadRequest.
func (o *Operation) Decode(params map[string]string, rawQuery string, body []byte, input any) error {
	v := reflect.ValueOf(input).Elem()
	if err := o.decodeBody(body, input, v.Type()); err != nil {
		return err
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return Errorf(BadRequest, "the query cannot be read: %v", err)
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name, ok := f.Tag.Lookup("path"); ok {
			v.Field(i).SetString(params[name])
		}
		name, ok := f.Tag.Lookup("query")
		if !ok {
			continue
		}
		values := query[name]
		delete(query, name)
		if len(values) > 1 {
			return Errorf(BadRequest, "%s= stands %d times", name, len(values))
		}
		text := ""
		if len(values) == 1 {
			text = values[0]
		}
		if err := setField(f, v.Field(i), name, text); err != nil {
			return err
		}
	}
	for name := range query {
		return &Error{Code: BadRequest, Text: fmt.Sprintf("%s takes no parameter %q", o.Name, shorten(name)), Cure: takes(v.Type())}
	}
	return nil
}

func takes(t reflect.Type) string {
	var names []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("query"); name != "" {
			names = append(names, name)
		}
	}
	if names == nil {
		return ""
	}
	return "it takes " + strings.Join(names, ", ")
}

func (o *Operation) decodeBody(body []byte, input any, t reflect.Type) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return requireJSON(t, input)
	}
	if !hasBody(t) {
		return Errorf(BadRequest, "%s takes no body", o.Name)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(input)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something stands behind it")
		}
	}
	if err != nil {
		return Errorf(BadRequest, "the body is not the JSON that %s takes: %s", o.Name, strings.TrimPrefix(err.Error(), "json: "))
	}
	return requireJSON(t, input)
}

// requireJSON makes sure that what a body has to say it says.
func requireJSON(t reflect.Type, input any) error {
	v := reflect.ValueOf(input).Elem()
	for i := range t.NumField() {
		name, optional, ok := jsonName(t.Field(i))
		if ok && !optional && v.Field(i).IsZero() {
			return Errorf(BadRequest, "%s is missing", name)
		}
	}
	return nil
}

func hasBody(t reflect.Type) bool {
	for i := range t.NumField() {
		if _, _, ok := jsonName(t.Field(i)); ok {
			return true
		}
	}
	return false
}

// jsonName gives the key of a field in JSON, and whether it may be absent.
func jsonName(f reflect.StructField) (name string, optional, ok bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, strings.HasPrefix(options, "omit"), name != "" && name != "-"
}

// setField reads a parameter; "" is one that is absent.
func setField(f reflect.StructField, v reflect.Value, name, text string) error {
	if text == "" {
		if _, required := f.Tag.Lookup("required"); required {
			return Errorf(BadRequest, "%s= is missing", name)
		}
		return nil
	}
	if len(text) > maxText || !isText(text) {
		return Errorf(BadRequest, "%s= is too long, or no UTF-8, or has a NUL", name)
	}
	if words := strings.Fields(f.Tag.Get("enum")); len(words) > 0 && !slices.Contains(words, text) {
		return Errorf(BadRequest, "%s=%s is none of %s", name, shorten(text), strings.Join(words, ", "))
	}
	switch v.Addr().Interface().(type) {
	case *time.Time:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return Errorf(BadRequest, "%s=%s is not a time as in RFC 3339", name, shorten(text))
		}
		v.Set(reflect.ValueOf(t))
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return Errorf(BadRequest, "%s=%s is neither true nor false", name, shorten(text))
		}
		v.SetBool(b)
	case *int:
		n, err := strconv.Atoi(text)
		least, most := bounds(f)
		if err != nil || n < least || n > most {
			return Errorf(BadRequest, "%s=%s is not a number from %d to %d", name, shorten(text), least, most)
		}
		v.SetInt(int64(n))
	default:
		v.SetString(text)
	}
	return nil
}

func bounds(f reflect.StructField) (least, most int) {
	least, _ = strconv.Atoi(f.Tag.Get("min"))
	most, _ = strconv.Atoi(f.Tag.Get("max"))
	return least, most
}

// isText reports what can be searched for and logged.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// shorten bounds what an error repeats of a request.
func shorten(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Encode gives the request for an operation with this input, which is a struct
// of the operation's input type: the path with its query, and the body.
func (o *Operation) Encode(input any) (target string, body []byte, err error) {
	v := reflect.ValueOf(input)
	if v.Type() != reflect.TypeOf(o.Input) {
		return "", nil, fmt.Errorf("%s takes a %T, not a %T", o.Name, o.Input, input)
	}
	target, query := Version+o.Path, url.Values{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name, ok := f.Tag.Lookup("path"); ok {
			if v.Field(i).String() == "" {
				return "", nil, Errorf(BadRequest, "the %s is empty", name)
			}
			target = strings.Replace(target, "{"+name+"}", url.PathEscape(v.Field(i).String()), 1)
		}
		if name, ok := f.Tag.Lookup("query"); ok && !v.Field(i).IsZero() {
			query.Set(name, parameter(v.Field(i)))
		}
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if hasBody(v.Type()) {
		body, err = json.Marshal(input)
	}
	return target, body, err
}

func parameter(v reflect.Value) string {
	if t, ok := v.Interface().(time.Time); ok {
		return t.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v.Interface())
}
