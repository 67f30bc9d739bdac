package milter

import (
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"github.com/weirmail/weir/filter/verdict"
)

// maxReplyText is the longest text of a reply in bytes: a reply line has 512
// (RFC 5321 section 4.5.3.1.5), and MTAs put things around the text.
const maxReplyText = 400

// response is SMFIR_REPLYCODE with a reply of the given class, 4 or 5. What of r
// does not fit is replaced: a code of another class, 421 (the MTA would hang up
// and harm the client's next messages), an enhanced code of another class or
// form, bytes that don't belong into a line of ASCII.
func response(class int, r verdict.Reply) gomilter.Response {
	return gomilter.NewResponseStr(byte(gomilter.ActReplyCode), replyLine(class, r))
}

func replyLine(class int, r verdict.Reply) string {
	byDefault := verdict.Reply{Code: 451, Enhanced: "4.7.1", Text: "Service unavailable, try again later"}
	if class == 5 {
		byDefault = verdict.Reply{Code: 550, Enhanced: "5.7.1", Text: "Message refused"}
	}
	if r.Code/100 != class || r.Code == 421 {
		r.Code = byDefault.Code
	}
	if !isEnhanced(r.Enhanced, class) {
		r.Enhanced = byDefault.Enhanced
	}
	text := replyText(r.Text)
	if text == "" {
		text = byDefault.Text
	}
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, strings.ReplaceAll(text, "%", "%%"))
}

// isEnhanced says whether s is an enhanced status code (RFC 3463 section 2) of
// the class.
func isEnhanced(s string, class int) bool {
	first, rest, _ := strings.Cut(s, ".")
	subject, detail, _ := strings.Cut(rest, ".")
	return first == fmt.Sprint(class) && isUpTo3Digits(subject) && isUpTo3Digits(detail)
}

func isUpTo3Digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 3
}

// replyText makes one line of printable ASCII of s.
func replyText(s string) string {
	b := make([]byte, 0, min(len(s), maxReplyText))
	for _, c := range s {
		if len(b) == maxReplyText {
			break
		}
		switch {
		case c == '\r' || c == '\n' || c == '\t':
			b = append(b, ' ')
		case c < ' ' || c > '~':
			b = append(b, '?')
		default:
			b = append(b, byte(c))
		}
	}
	return strings.TrimSpace(string(b))
}
