// Package links finds the links in decoded text and HTML: those that a reader
// can click, those that a mail client fetches by itself, and those that stand
// where only a program looks. It knows nothing of messages or parts, and it
// never fails: what it cannot read as a link is none.
//
// It finds more than any one mail client follows. Clients differ in how they
// mend broken markup and in what they take for a link in plain text, and a
// message is written by somebody who knows how.
//
// Where a link stood:
//
//	text               what the reader sees: plain text, or text between tags
//	ELEMENT@ATTRIBUTE  an attribute in HTML: "a@href", "img@src", "form@action"
//	css                a style sheet or a style attribute
//	script             a script, a javascript: link or an event's attribute; as it
//	                   stands, with its escapes undone, or in base64
//	comment            a comment in HTML, and all that stands in it; a declaration,
//	                   a processing instruction. What a conditional comment holds
//	                   is shown to some readers and is therefore read like the rest.
//	tag                a tag whose name or quotes are broken, read as plain text
//
// To these come /data, for what is in a data: link (or an iframe's srcdoc), and
// /wrapped, for a link that another link holds: a redirect's target, or what
// the rewriters of other mail filters have wrapped (URL Defense, Safe Links).
//
// All of it takes time linear in the text, whatever the text is.
package links

import (
	"bytes"

	"github.com/weirmail/weir/intel"
)

// Found is one link as it stands in a text.
type Found struct {
	Value intel.Value // canonical; always of kind url
	Raw   string      // as it was written, entities and CSS escapes decoded; at most Options.URLBytes
	Where string      // see the package comment
	Text  string      // of a link in <a>: what the reader sees in its place, at most 256 bytes; else empty
	Cut   bool        // the link was longer than Raw. Value is that of the whole, as far as intel.MaxURL goes
}

// Options says how to read a text. Zero fields take defaults.
type Options struct {
	URLBytes int    // bounds one link as written; default and maximum intel.MaxURL
	Base     string // what relative links in HTML go by, as a <base> would say; ignored if it is no absolute link
}

// Text finds the links in plain text in UTF-8: with a scheme, with www., bare
// (evil.example/pay, evil.example), and defanged. It calls emit for each in the
// order in which they stand, duplicates included, until emit gives false.
func Text(text []byte, opts Options, emit func(Found) bool) {
	f := newFinder(opts, emit)
	f.words(text, "text", allLinks)
}

// HTML finds the links in HTML in UTF-8. It calls emit for each, duplicates
// included, about in the order in which they stand, until emit gives false: a
// link in <a> is given when the element ends, one in text when the paragraph does.
func HTML(text []byte, opts Options, emit func(Found) bool) {
	f := newFinder(opts, emit)
	if opts.Base != "" {
		if base, ok := baseOf([]byte(opts.Base)); ok {
			f.bases = []string{base}
		}
	}
	f.html(text, "")
}

// finder is what all parts of one extraction share.
type finder struct {
	emit    func(Found) bool
	max     int      // Options.URLBytes
	stopped bool     // emit said so
	nested  int      // depth of documents in data: links
	work    int      // bytes looked at, by which a test sees that time is linear
	bases   []string // canonical; from around the document
}

func newFinder(opts Options, emit func(Found) bool) *finder {
	if opts.URLBytes <= 0 || opts.URLBytes > intel.MaxURL {
		opts.URLBytes = intel.MaxURL
	}
	return &finder{emit: emit, max: opts.URLBytes}
}

// link reports a link, and those that it wraps, unless meant turns out to be
// none. raw is the link as written, meant the link itself: the two differ where
// it was defanged or relative.
func (f *finder) link(raw, meant, where, text string) {
	f.work += len(meant)
	v, err := intel.URL(meant)
	if err != nil {
		return
	}
	f.found(v, raw, where, text)
	f.unwrap(meant, where, 0)
}

// found reports one link.
func (f *finder) found(v intel.Value, raw, where, text string) {
	if f.stopped {
		return
	}
	cut := len(raw) > f.max
	if cut {
		raw = string(bytes.ToValidUTF8([]byte(raw[:f.max]), nil)) // a copy, so as not to hold on to the rest
	}
	f.stopped = !f.emit(Found{Value: v, Raw: raw, Where: where, Text: text, Cut: cut})
}
