// Package postconf reads how a Postfix is configured, as its own postconf(1)
// tells it: the parameters of main.cf with their defaults, and the services of
// master.cf with their overrides. It judges nothing.
//
// The text comes from the postconf of this host (Read) or from a file that
// somebody brings from elsewhere (Parse); main.cf and master.cf themselves are
// understood too. Values are given as a daemon sees them: "-o" overrides, then
// main.cf, then the default, with $name, ${name?text} and the like expanded.
// Parse knows the defaults of the parameters that matter for a milter and for
// re-injection; Read asks Postfix for all of them.
package postconf
