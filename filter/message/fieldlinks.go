package message

import "strings"

// fieldLinks looks for the link in a field of a part by which Thunderbird opens
// something else than the part when its user asks for that.
func (s *state) fieldLinks(f Field, in *nest) {
	if len(f.Name) < len("X-Mozilla-") || f.Name[0]|0x20 != 'x' {
		return
	}
	for _, name := range [...]string{"X-Mozilla-Cloud-Part", "X-Mozilla-External-Attachment-URL"} {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		text := f.Unfolded()
		place := in.field(name)
		if _, ps, _ := cutParams(text); !s.urlParameter(ps, place) {
			s.headerLinks(text, place)
		}
	}
}

// urlParameter looks for the link in the parameter called url (RFC 2017), and
// says whether there is one. White space in it stands for nothing.
func (s *state) urlParameter(ps params, place string) bool {
	all := ps.get("url")
	for _, link := range all {
		s.headerLinks(withoutSpace(link), place)
	}
	return len(all) > 0
}

// withoutSpace takes white space out of a link, or a list of links, in a header
// field: it stands there where the line became too long.
func withoutSpace(text string) string {
	if strings.IndexByte(text, ' ') < 0 && strings.IndexByte(text, '\t') < 0 {
		return text
	}
	return strings.Join(strings.Fields(text), "")
}

// headerLinks looks for links in the text of a field; place is that of the field.
func (s *state) headerLinks(text, place string) {
	s.linksIn(s.within(&s.textLeft, []byte(text), place), false, place, true)
}
