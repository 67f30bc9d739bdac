package config

import _ "embed" // for the two pages

//go:generate go test -run TestThePagesAreMadeFromTheTypes -update

//go:embed reference.md
var reference string

//go:embed weir.toml
var sample string

// Reference gives the page that describes every key, in Markdown. It is made
// from the types of this package (go generate).
func Reference() string { return reference }

// Sample gives a configuration file that sets nothing: every key stands in it
// as a comment with its default. It is made from the types of this package.
func Sample() string { return sample }
