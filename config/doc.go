// Package config owns Weir's configuration file: its keys, their types,
// defaults, checks, and the pages that describe them. The daemon and every
// command read the same file through it.
//
// The file is TOML (https://toml.io/en/v1.0.0). A key that Weir does not know
// is an error, and so is a value that is out of its range: a slip in a file
// that decides about mail must not pass in silence. All mistakes are reported
// at once, each with file, line, column, key, value and cure; only after a
// mistake in the TOML itself nothing more can be read. Nothing is expanded from
// the environment and no other file is included.
//
//   - A relative path is relative to the folder of the configuration file, so
//     that a folder with configuration, lists and policy can be moved as one.
//   - A duration has units: "30s", "5m", "36h", "30d", "2w".
//   - A size has units: "64KiB", "20MiB", "1GiB" (powers of 1024), "10MB"
//     (powers of 1000); a number without quotes is in bytes.
//   - A file mode is octal, in quotes: "0660".
//   - No key holds a secret. Passwords and keys stand in files of their own, so
//     that the configuration can be shown and shared.
//
// The struct types of this package are the one source: their doc comments and
// tags make reference.md and weir.toml (go generate), their tags are what
// Validate checks, and the tag live says whether a running daemon takes a key's
// new value at reload.
//
// The package looks at nothing but the bytes it is given and the files that
// they name as part of the configuration (mail.local_domains_file). Whether a
// group exists or a socket can be made is for the daemon to find out;
// Config.Problem lets it say so in the same form.
package config
