package hunt

import "strings"

// maxMarks bounds the "Re:" and list tags of a subject that are passed over.
const maxMarks = 16

// isForward reports whether a subject says that the message forwards another, as
// mail clients mark that in the languages that they speak.
func isForward(subject string) bool {
	rest := strings.TrimSpace(subject)
	for range maxMarks {
		if tag, ok := strings.CutPrefix(rest, "["); ok { // of a mailing list, or "[Fwd: subject]"
			name, after, ok := strings.Cut(tag, "]")
			word, _, marked := cutMark(name)
			if marks(word, marked) || strings.EqualFold(strings.TrimSpace(name), "fwd") {
				return true
			}
			if !ok {
				return false
			}
			rest = strings.TrimSpace(after)
			continue
		}
		word, after, ok := cutMark(rest)
		if marks(word, ok) {
			return true
		}
		if !ok || !answers(word) {
			break
		}
		rest = strings.TrimSpace(after)
	}
	return strings.HasSuffix(strings.ToLower(rest), "(fwd)")
}

// marks reports whether a word before a colon marks a forward.
func marks(word string, ok bool) bool {
	switch word {
	case "fw", "fwd", // English
		"wg",                     // German
		"tr",                     // French, Romanian
		"i", "inoltra", "inoltr", // Italian
		"rv", "reenv", "reenviado", // Spanish
		"enc",                  // Portuguese
		"doorst",               // Dutch
		"vb",                   // Swedish
		"vs",                   // Danish, Norwegian
		"vl",                   // Finnish
		"pd",                   // Polish
		"ilt",                  // Turkish
		"прд",                  // Russian
		"转发", "轉寄", "転送", "전달": // Chinese, Japanese, Korean
		return ok
	}
	return false
}

// answers reports whether a word before a colon marks an answer.
func answers(word string) bool {
	switch word {
	case "re", "aw", "antw", "antwort", "sv", "ref", "rif", "r", "res", "odp", "vá", "ynt", "回复", "回覆", "返信", "답장":
		return true
	}
	return false
}

// cutMark takes a mark such as "Fwd:", "AW[2]:" or "转发：" from the beginning of
// a subject.
func cutMark(subject string) (word, rest string, ok bool) {
	const longest = 32 // bytes
	end := strings.IndexAny(subject[:min(len(subject), longest)], ":：")
	if end <= 0 {
		return "", "", false
	}
	word = strings.ToLower(strings.TrimSpace(subject[:end]))
	rest = strings.TrimPrefix(strings.TrimPrefix(subject[end:], ":"), "：")
	if i := strings.IndexAny(word, "[(^"); i > 0 { // how many times
		word = strings.TrimSpace(word[:i])
	}
	return word, rest, word != ""
}
