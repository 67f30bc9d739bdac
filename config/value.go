package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A badValue is what is wrong with a value and what would be right. The
// decoder adds where it stands.
type badValue struct{ problem, cure string }

func (b *badValue) Error() string { return b.problem + "; " + b.cure }

func bad(problem, cure string, args ...any) error {
	return &badValue{problem, fmt.Sprintf(cure, args...)}
}

// Duration is a length of time. Its text has one or more numbers with units:
// ms, s, m, h, d (24 hours), w (7 days): "90s", "1h30m", "30d".
type Duration time.Duration

const durationCure = `write a number with a unit, such as "30s", "5m", "12h", "30d" or "2w"`

// durationUnits is ordered so that String picks the largest that fits.
var durationUnits = [...]struct {
	name string
	size time.Duration
}{
	{"w", 7 * day}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// UnmarshalText reads the text form. Negative durations and fractions are
// errors: no key has a use for them.
func (d *Duration) UnmarshalText(text []byte) error {
	rest := string(text)
	if rest == "" {
		return bad("is empty", durationCure)
	}
	var sum time.Duration
	for rest != "" {
		digits := leadingDigits(rest)
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return bad("is not a duration", durationCure)
		}
		rest = rest[len(digits):]
		end := strings.IndexAny(rest, "0123456789")
		if end < 0 {
			end = len(rest)
		}
		size := durationUnit(rest[:end])
		if size == 0 {
			return bad("is not a duration", durationCure)
		}
		if n > (math.MaxInt64-int64(sum))/int64(size) {
			return bad("is too long a duration", durationCure)
		}
		sum += time.Duration(n) * size
		rest = rest[end:]
	}
	*d = Duration(sum)
	return nil
}

func durationUnit(name string) time.Duration {
	for _, u := range durationUnits {
		if u.name == name {
			return u.size
		}
	}
	return 0
}

// MarshalText gives the shortest text that reads as d: "30d", "1h30m", "0s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String gives the text form.
func (d Duration) String() string {
	rest := time.Duration(d)
	if rest <= 0 {
		return "0s"
	}
	// 30 days are "30d", not "4w2d".
	if rest%day == 0 && rest%(7*day) != 0 {
		return strconv.FormatInt(int64(rest/day), 10) + "d"
	}
	var b strings.Builder
	for _, u := range durationUnits {
		if n := rest / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			rest -= n * u.size
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// Bytes is a size in bytes. Its text is a whole number with a unit: B, KiB, MiB,
// GiB, TiB, PiB by 1024, kB, MB, GB, TB by 1000; in the file it may also be a
// bare number.
type Bytes int64

const bytesCure = `write a whole number with a unit, such as "512KiB", "64MiB" or "20GiB"`

// bytesUnits has the binary units first, largest first, for String.
var bytesUnits = [...]struct {
	name string
	size int64
}{
	{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// UnmarshalText reads the text form.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := string(text)
	digits := leadingDigits(s)
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return bad("is not a size", bytesCure)
	}
	unit := strings.TrimLeft(s[len(digits):], " ")
	for _, u := range bytesUnits {
		if u.name != unit {
			continue
		}
		if n > math.MaxInt64/u.size {
			return bad("is too large", bytesCure)
		}
		*b = Bytes(n * u.size)
		return nil
	}
	return bad("is not a size", bytesCure)
}

// MarshalText gives the shortest exact text: "64MiB", "1500B", "0".
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String gives the text form.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	for _, u := range bytesUnits {
		if int64(b)%u.size == 0 && int64(b)/u.size != 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Mode is the permission bits of a file. Its text is octal: "0660".
type Mode uint32

// UnmarshalText reads the text form.
func (m *Mode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 || len(text) < 3 || len(text) > 4 {
		return bad("is not a file mode", `write three or four octal digits in quotes, such as "0660"`)
	}
	*m = Mode(n)
	return nil
}

// MarshalText gives four octal digits.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// String gives four octal digits.
func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// Path names a file or folder. Empty means none. In a configuration from Parse
// or Load it is absolute.
type Path string

// The words that keys with a fixed choice take. Validate admits no other.
type (
	Oversize   string // milter.oversize
	LogFormat  string // log.format
	LogLevel   string // log.level
	PolicyMode string // policy.mode
	OnError    string // policy.on_error
	TLSMode    string // reinject.*.tls
)

// The choices; what each does stands with its key.
const (
	OversizeAccept   Oversize = "accept"
	OversizeTempfail Oversize = "tempfail"
	OversizeReject   Oversize = "reject"

	LogConsole LogFormat = "console"
	LogJSON    LogFormat = "json"

	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"

	PolicyEnforce PolicyMode = "enforce"
	PolicyObserve PolicyMode = "observe"

	OnErrorTempfail OnError = "tempfail"
	OnErrorAccept   OnError = "accept"

	TLSOff      TLSMode = "off"
	TLSStartTLS TLSMode = "starttls"
)

func leadingDigits(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return s
	}
	return s[:end]
}
