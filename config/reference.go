package config

import _ "embed" // for the pages

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

//go:embed pull.md
var pullReference string

//go:embed pull.toml
var pullSample string

// PullReference gives the page that describes every key of pull.toml, in Markdown.
func PullReference() string { return pullReference }

// PullSample gives a pull.toml in which every key stands as a comment.
func PullSample() string { return pullSample }
