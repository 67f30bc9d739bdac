package quarantine

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// MarshalJSON keeps every byte: JSON strings hold UTF-8 alone, and encoding/json
// would replace what is not.
func (o Octets) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(o)) {
		return json.Marshal(string(o))
	}
	return json.Marshal(struct {
		Base64 []byte `json:"base64"`
	}{[]byte(o)})
}

// UnmarshalJSON reads what MarshalJSON gave.
func (o *Octets) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		err := json.Unmarshal(data, &s)
		*o = Octets(s)
		return err
	}
	var raw struct {
		Base64 []byte `json:"base64"`
	}
	err := json.Unmarshal(data, &raw)
	*o = Octets(raw.Base64)
	return err
}

// legible gives text for people: valid UTF-8, at most so many bytes.
func legible(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
