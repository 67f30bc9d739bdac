package policy

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/weirmail/weir/filter/message"
)

// referenceHead says what a policy is; the table of a rule's keys follows it.
// Here and below two apostrophes stand for a backtick.
const referenceHead = `# Rules

Made from the code by ''weir policy reference''; a test keeps it current.

A policy is a file of rules. They are asked in their order, and the first one whose condition is true decides. Where
none is, the message passes. ''weir policy default'' prints one to start from, ''policy.file'' in the configuration names
yours, ''weir policy check FILE'' says what is wrong with it, and ''weir scan --policy FILE --trace message.eml'' how each
rule was decided.

''''''toml
[[rule]]
name   = "boss-from-outside"
when   = 'direction == "inbound" && from.exists(a, a.name.lowerAscii() == "carla example") && !sender.known'
action = "hold"
''''''

| key | what |
| --- | --- |
`

// referenceRules says what the keys do; the table of the variables follows it.
const referenceRules = `
## Actions

| action | what becomes of the message |
| --- | --- |
| ''accept'' | it passes, and no further rule is asked |
| ''tag'' | it passes, with ''subject_prefix'' before its subject |
| ''hold'' | it goes into the quarantine; to the client it was taken |
| ''discard'' | it is held, and nobody is told of it; an operator can still release it |
| ''reject'' | the client is told that it is refused for good |
| ''tempfail'' | the client is told to come again |

A message has one answer, however many recipients it has. A tempfail for one of them is a tempfail for all, and nothing
is held. A reject counts only if it is for all; else those copies are held. They are held as well where a refusal would
have somebody bounce to a forged sender: mail from a trusted relay, and mail that did not come by SMTP. Of several subject
prefixes that of the rule that stands first is on all copies that are delivered.

## Conditions

A condition is written in [CEL](https://cel.dev), with its macros (''exists'', ''all'', ''filter'', …) and its functions for
strings (''matches'', ''startsWith'', ''lowerAscii'', …). Comparing minds case; ''subject.matches("(?i)invoice")'' does not.

A condition that cannot be decided is taken for true, so that nobody slips past a rule by making it fail; but then a
reject or discard is a hold, and an accept is passed over. ''header["x-list"][0] == "a"'' fails where the field is missing:
write ''"x-list" in header && header["x-list"][0] == "a"''. The first of an empty list fails as well.

## Variables

| name | type | what |
| --- | --- | --- |
`

// Reference gives the page that tells policy authors what a rule is and what its
// condition can speak of, made from the types themselves.
func Reference() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(referenceHead, "''", "`"))
	keys := reflect.TypeFor[fileRule]()
	for i := range keys.NumField() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", keys.Field(i).Tag.Get("toml"), keys.Field(i).Tag.Get("doc"))
	}
	b.WriteString(strings.ReplaceAll(referenceRules, "''", "`"))
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
