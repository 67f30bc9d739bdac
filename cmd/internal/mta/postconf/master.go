package postconf

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Service is one line of master.cf (master(5)).
type Service struct {
	Name    string // "smtp", "127.0.0.1:10025", "weir-inbound"
	Type    string // "inet", "unix", "fifo", "pass", "unix-dgram"
	Private bool   // its socket lies in private/, not in public/
	Command string // the program without its folder: "smtpd"
	Options []Option

	// MaxProc is how many processes there may be: 0 for as many as needed, and
	// -1 where the column is "-" and default_process_limit decides.
	MaxProc int

	chroot string // "y", "n" or "-"
}

// Option is an override, "-o name=value".
type Option struct{ Name, Value string }

// Key gives the name as postconf -P writes it: "smtp/inet".
func (s *Service) Key() string { return s.Name + "/" + s.Type }

// Option gives an override as it is written; of several the last counts.
func (s *Service) Option(name string) (string, bool) {
	for i := len(s.Options) - 1; i >= 0; i-- {
		if s.Options[i].Name == name {
			return s.Options[i].Value, true
		}
	}
	return "", false
}

// parseService reads one logical line.
func parseService(line string) (*Service, error) {
	words := split(line, " \t")
	if len(words) < 8 {
		return nil, fmt.Errorf("%q is not a service: it has %d of 8 columns", clip(line), len(words))
	}
	s := &Service{
		Name: words[0], Type: words[1], Private: words[2] != "n",
		Command: path.Base(words[7]), MaxProc: -1, chroot: words[4],
	}
	if words[6] != "-" {
		n, err := strconv.Atoi(words[6])
		if err != nil || n < 0 {
			return nil, fmt.Errorf("service %s has %q where the number of processes stands", clip(s.Key()), clip(words[6]))
		}
		s.MaxProc = n
	}
	s.Options = parseOptions(words[8:])
	return s, nil
}

// parseOptions reads the overrides among a command's arguments, which end at
// the first that is no flag: behind it stand things like pipe(8)'s own.
func parseOptions(args []string) []Option {
	var options []Option
	for i := 0; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
		text, ok := strings.CutPrefix(args[i], "-o")
		if !ok {
			continue
		}
		if text == "" {
			if i++; i == len(args) {
				break
			}
			text = args[i]
		}
		name, value, _ := strings.Cut(unbrace(text), "=")
		options = append(options, Option{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return options
}

// Words splits a value at white space and commas, as Postfix does with lists;
// what stands in braces stays together.
func Words(value string) []string { return split(value, " \t\r\n,") }

// split cuts at separators that are not within braces.
func split(text, separators string) []string {
	var words []string
	start, depth := -1, 0
	for i := range len(text) {
		c := text[i]
		if depth == 0 && strings.IndexByte(separators, c) >= 0 {
			if start >= 0 {
				words = append(words, text[start:i])
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
		}
		switch {
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		}
	}
	if start >= 0 {
		words = append(words, text[start:])
	}
	return words
}

// unbrace takes one pair of braces off a word that stands in them.
func unbrace(word string) string {
	if inner, ok := strings.CutPrefix(word, "{"); ok {
		if inner, ok = strings.CutSuffix(inner, "}"); ok {
			return strings.TrimSpace(inner)
		}
	}
	return word
}
