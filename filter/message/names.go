package message

import (
	"slices"
	"strings"
	"unicode"
)

// maxName bounds a file name, in bytes; file systems stop at 255.
const maxName = 1024

// nameFlaw says what a file name does that no honest one does; a set of bits.
type nameFlaw uint8

const (
	nameControl  nameFlaw = 1 << iota // control characters, NUL included
	nameBidi                          // characters that turn the direction of text
	namePath                          // a path to somewhere: "../", "/etc/", "C:\"
	nameConflict                      // several names, of which clients show different ones
	nameLong                          // longer than maxName; the end is kept, since it says what opens the file
)

// fileNames gives the file names that the fields of a part give it, the one
// that most clients show first: Content-Disposition's, then Content-Type's.
func fileNames(disposition, contentType params) ([]string, nameFlaw) {
	var names []string
	var flaws nameFlaw
	for _, raw := range append(disposition.get("filename"), contentType.get("name")...) {
		name, flaw := cleanName(raw)
		flaws |= flaw
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
		// Some clients cut a name at its first NUL.
		if cut, _, ok := strings.Cut(raw, "\x00"); ok && cut != "" {
			if name, _ := cleanName(cut); name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) > 1 {
		flaws |= nameConflict
	}
	return names, flaws
}

// cleanName takes control characters and the space around it out of a name
// that a stranger chose, and says what was wrong with it. Folders in it stay.
func cleanName(name string) (string, nameFlaw) {
	var flaws nameFlaw
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[len(name)-maxName:], "")
		flaws |= nameLong
	}
	if strings.IndexFunc(name, isOddRune) >= 0 {
		name = strings.Map(func(r rune) rune {
			switch {
			case r < ' ' || r == 0x7f:
				flaws |= nameControl
				return -1
			case isBidi(r):
				flaws |= nameBidi
			}
			return r
		}, name)
	}
	name = strings.TrimSpace(name)
	slashed := strings.ReplaceAll(name, `\`, "/")
	if strings.HasPrefix(slashed, "/") || slashed == ".." || strings.HasPrefix(slashed, "../") ||
		strings.Contains(slashed, "/../") || len(slashed) > 2 && slashed[1:3] == ":/" {
		flaws |= namePath
	}
	return name, flaws
}

func isOddRune(r rune) bool { return r < ' ' || r == 0x7f || isBidi(r) }

// isBidi reports whether r changes the direction of what follows (Unicode
// Standard Annex 9), so that "exe.fdp" reads as "pdf.exe".
func isBidi(r rune) bool { return r > 0x7f && unicode.Is(unicode.Bidi_Control, r) }

// extension gives what follows the last dot of a name in lower case, without
// the dots and spaces at its end that Windows drops.
func extension(name string) string {
	name = strings.TrimRight(name, ". ")
	i := strings.LastIndexByte(name, '.')
	if i < 0 || len(name)-i > 16 {
		return ""
	}
	return strings.ToLower(name[i+1:])
}
