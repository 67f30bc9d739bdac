package quarantine

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/weirmail/weir/filter/message"
)

// Preview is what a person needs to decide about a message without opening it:
// plain text, nothing fetched, links that nothing turns into a link again.
type Preview struct {
	Header  []Field  `json:"header"`
	Text    string   `json:"text"`          // of the first text part, HTML as text
	Cut     bool     `json:"cut,omitempty"` // there is more text
	Parts   []Part   `json:"parts"`
	Links   []Link   `json:"links,omitempty"`
	Defects []string `json:"defects,omitempty"`
}

// Field is a header field as a mail client would show it.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Part is a part of the message.
type Part struct {
	Path     string `json:"path"`
	Type     string `json:"type"`
	Detected string `json:"detected,omitempty"`
	Name     string `json:"name,omitempty"`
	Size     int64  `json:"size"`
}

// Link is a link in the message, written so that it is none: hxxps://evil[.]example/.
type Link struct {
	Defanged string `json:"defanged"`
	Text     string `json:"text,omitempty"` // what the reader sees in its place
	Place    string `json:"place"`
}

// Bounds on a preview.
const (
	maxPreviewSource = 256 << 10 // bytes of a text part that are looked at
	maxPreviewText   = 16 << 10
	maxPreviewList   = 100
)

func previewFields() []string {
	return []string{"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "List-Id", "X-Mailer"}
}

// Preview shows an item's message, once it is recorded that somebody looks.
// Errors are those of Message.
func (q *Quarantine) Preview(ctx context.Context, id, actor string) (*Item, *Preview, error) {
	item, content, err := q.Message(ctx, id, actor, "preview")
	if err != nil {
		return item, nil, err
	}
	_ = content.Close()
	scratch := q.o.Scratch()
	defer func() { _ = scratch.Close() }()
	raw, err := q.load(ctx, item, scratch)
	if err != nil {
		return item, nil, err
	}
	return item, previewOf(q.current().Parser.Parse(raw, scratch)), nil
}

func previewOf(m *message.Message) *Preview {
	p := &Preview{}
	for _, name := range previewFields() {
		for f := range m.Header.All(name) {
			if len(p.Header) < maxPreviewList {
				p.Header = append(p.Header, Field{name, legible(defangText(f.Value()), maxText)})
			}
		}
	}
	for i := range m.Parts {
		part := &m.Parts[i]
		if len(p.Parts) < maxPreviewList {
			p.Parts = append(p.Parts, Part{part.Path, part.Type, part.Detected, legible(part.Name, maxText), part.Size})
		}
		if p.Text != "" || part.Attachment() {
			continue
		}
		if text, ok := m.Text(i, maxPreviewSource); ok {
			if part.Type == "text/html" || part.Detected == "text/html" {
				text = htmlAsText(text)
			}
			text = strings.TrimSpace(text)
			p.Text = legible(defangText(text), maxPreviewText)
			p.Cut = len(text) > maxPreviewText
		}
	}
	for i := range m.URLs {
		if u := &m.URLs[i]; len(p.Links) < maxPreviewList {
			p.Links = append(p.Links, Link{Defang(u.Value.String()), legible(defangText(u.Text), maxText), u.Place})
		}
	}
	for _, d := range m.Defects {
		if len(p.Defects) < maxPreviewList {
			p.Defects = append(p.Defects, strings.TrimSpace(fmt.Sprintf("%s at %s %s", d.Name, d.Place, legible(d.Detail, maxText))))
		}
	}
	return p
}

// Defang writes a URL so that no program makes a link of it.
func Defang(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return strings.ReplaceAll(url, ".", "[.]")
	}
	host, path, slash := strings.Cut(rest, "/")
	host = strings.ReplaceAll(host, ".", "[.]")
	if slash {
		path = "/" + path
	}
	return strings.Replace(scheme, "tt", "xx", 1) + "://" + host + path
}

// linkInText is how terminals and mail programs find links in running text.
var linkInText = regexp.MustCompile(`(?i)\b(?:https?://|ftps?://|www\.)`)

// defangText writes links in running text so that no program makes links of them.
func defangText(s string) string {
	return linkInText.ReplaceAllStringFunc(s, func(found string) string {
		switch found[0] | 0x20 {
		case 'h':
			return found[:1] + "xx" + found[3:]
		case 'f':
			return found[:1] + "x" + found[2:]
		}
		return found[:3] + "[.]"
	})
}

// htmlAsText gives what a reader would see, roughly: no styles or scripts, a
// line for each block.
func htmlAsText(source string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(source))
	hidden := 0
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return squeeze(b.String())
		case html.TextToken:
			if hidden == 0 {
				b.Write(z.Text())
			}
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			switch tag := atom.Lookup(name); tag {
			case atom.Script, atom.Style, atom.Head, atom.Title:
				switch kind {
				case html.StartTagToken:
					hidden++
				case html.EndTagToken:
					hidden = max(0, hidden-1)
				}
			case atom.Br, atom.P, atom.Div, atom.Tr, atom.Li, atom.H1, atom.H2, atom.H3, atom.H4, atom.Table, atom.Hr, atom.Blockquote:
				b.WriteByte('\n')
			case atom.Td:
				b.WriteByte(' ')
			}
		}
	}
}

// squeeze makes one space of white space within a line and one empty line of many.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" || len(lines) > 0 && lines[len(lines)-1] != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
