package config

import (
	"fmt"
	"strings"
)

// suggest says what may have been meant by name in a section, where it is
// neither key nor section. The names are those of all keys and sections, sorted.
func suggest(section, name string, names []string, isField func(string) bool) string {
	var here, elsewhere []string // names in this section; sections that have a key of this name
	for _, n := range names {
		last := n[strings.LastIndexByte(n, '.')+1:]
		if parent(n) == section {
			here = append(here, last)
		} else if last == name && isField(n) {
			elsewhere = append(elsewhere, "["+parent(n)+"]")
		}
	}
	near := nearest(name, here)
	switch {
	case len(elsewhere) > 0:
		return "the key of this name stands in " + strings.Join(elsewhere, " or ")
	case near != "":
		return fmt.Sprintf("did you mean %s?", near)
	case section == "":
		return "the sections are " + strings.Join(here, ", ")
	}
	return fmt.Sprintf("the keys of [%s] are %s", section, strings.Join(here, ", "))
}

// nearest gives the word that differs least from name, "" when none is near
// enough to be a slip of it.
func nearest(name string, words []string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	best, least := "", max(1, len(name)/3)+1
	if len(name) > 64 {
		return ""
	}
	for _, w := range words {
		if n := distance(name, w); n < least {
			best, least = w, n
		}
	}
	return best
}

// distance counts the insertions, deletions and substitutions of a byte and the
// swaps of two neighbours that make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
