package message

import (
	"bytes"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// detectBytes is how much of a file is looked at to tell its type.
const detectBytes = 4096

const (
	typePlain   = "text/plain"
	typeHTML    = "text/html"
	typeSVG     = "image/svg+xml"
	typeMessage = "message/rfc822"
	typePartial = "message/partial"
	typeBinary  = "application/octet-stream"
)

// detect tells a file's type by its first bytes. Text is told apart here, since
// that is what most parts are; for the rest there is a library with many
// signatures, which takes some 10 µs for a text and less for what it knows.
func detect(head []byte, declaredText bool) string {
	head = head[:min(len(head), detectBytes)]
	if len(head) == 0 {
		return ""
	}
	if isBinary(head[:min(len(head), 512)]) {
		return detected(head)
	}
	if t := textType(head); t != "" {
		return t
	}
	if declaredText {
		return typePlain
	}
	return detected(head)
}

// detected asks the library, whose answers may carry parameters.
func detected(head []byte) string {
	t, _, _ := strings.Cut(mimetype.Detect(head).String(), ";")
	return t
}

// isBinary reports whether head holds control characters that no text has.
func isBinary(head []byte) bool {
	for _, c := range head {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b {
			return true
		}
	}
	return false
}

// textType tells the kinds of text apart that matter to mail; "" for others.
func textType(head []byte) string {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xEF\xBB\xBF")), " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte("<")):
		return markupType(head)
	case bytes.HasPrefix(head, []byte("{\\rtf")):
		return "text/rtf"
	case bytes.HasPrefix(head, []byte("%PDF-")):
		return "application/pdf"
	case hasPrefixFold(head, "BEGIN:VCALENDAR"):
		return "text/calendar"
	case hasPrefixFold(head, "BEGIN:VCARD"):
		return "text/vcard"
	case isMessage(head):
		return typeMessage
	}
	return ""
}

// markupType tells what begins with an angle bracket; "" if that is no markup.
func markupType(head []byte) string {
	head = head[:min(len(head), 1024)]
	if hasPrefixFold(head, "<?xml") || hasPrefixFold(head, "<!--") {
		switch {
		case containsFold(head, "<svg"):
			return typeSVG
		case containsFold(head, "<html"), hasPrefixFold(head, "<!--"):
			return typeHTML
		}
		return "text/xml"
	}
	if hasPrefixFold(head, "<svg") {
		return typeSVG
	}
	for _, tag := range []string{
		"<!doctype", "<html", "<head", "<body", "<title", "<script", "<style", "<meta", "<base",
		"<a ", "<div", "<p", "<table", "<br", "<font", "<img", "<iframe", "<form", "<center", "<h1", "<span", "<b>", "<ul",
	} {
		if hasPrefixFold(head, tag) {
			return typeHTML
		}
	}
	return ""
}

// isMessage reports whether text begins with two fields of a mail header.
func isMessage(head []byte) bool {
	found := 0
	for range 8 {
		line, rest, _ := bytes.Cut(head, []byte("\n"))
		i := bytes.IndexByte(line, ':')
		continued := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		switch {
		case continued:
		case i > 0 && isMessageField(line[:i]):
			if found++; found == 2 {
				return true
			}
		case i <= 0 || bytes.IndexByte(line[:i], ' ') >= 0 && !bytes.HasPrefix(line, []byte("From ")):
			return false
		}
		head = rest
	}
	return false
}

func isMessageField(name []byte) bool {
	for _, known := range []string{
		"Received", "Return-Path", "Delivered-To", "From", "To", "Subject", "Date", "Message-ID", "MIME-Version",
		"Content-Type", "Reply-To", "Sender", "DKIM-Signature", "Authentication-Results", "ARC-Seal",
	} {
		if len(name) == len(known) && hasPrefixFold(name, known) {
			return true
		}
	}
	return false
}

// hasPrefixFold is bytes.HasPrefix for ASCII of any case.
func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && strings.EqualFold(string(b[:len(prefix)]), prefix)
}

// containsFold is bytes.Contains for ASCII of any case that begins with "<".
func containsFold(b []byte, tag string) bool {
	for {
		i := bytes.IndexByte(b, '<')
		if i < 0 {
			return false
		}
		if b = b[i:]; hasPrefixFold(b, tag) {
			return true
		}
		b = b[1:]
	}
}
