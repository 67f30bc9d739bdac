package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// DeliveryLog is a log that tells of deliveries. Its text is "file:PATH",
// "journald:" or "journald:PATH", the paths absolute.
type DeliveryLog string

// UnmarshalText reads the text form.
func (l *DeliveryLog) UnmarshalText(text []byte) error {
	const cure = `write "file:/var/log/mail.log" or "journald:"`
	kind, path, ok := strings.Cut(string(text), ":")
	switch {
	case !ok || kind != "file" && kind != "journald":
		return bad("is neither a file nor systemd's journal", cure)
	case kind == "file" && path == "":
		return bad("names no file", cure)
	case path != "" && !filepath.IsAbs(path):
		return bad("is not an absolute path", cure)
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }):
		return bad("has a control character in its path", cure)
	}
	if path != "" {
		path = filepath.Clean(path)
	}
	*l = DeliveryLog(kind + ":" + path)
	return nil
}

// MarshalText gives the text form.
func (l DeliveryLog) MarshalText() ([]byte, error) { return []byte(l), nil }

// String gives the text form.
func (l DeliveryLog) String() string { return string(l) }

func (c *Config) checkDelivery(report reporter) {
	seen := map[DeliveryLog]bool{}
	for i, l := range c.Delivery.Logs {
		if seen[l] {
			report(fmt.Sprintf("delivery.logs[%d]", i), "is given twice", "take one of the two away")
		}
		seen[l] = true
	}
}
