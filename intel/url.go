package intel

import "strings"

// URL canonicalises a link.
func URL(text string) (Value, error) { return Value{KindURL, text}, nil }

func urlHost(canonical string) string {
	_, rest, _ := strings.Cut(canonical, "://")
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}
