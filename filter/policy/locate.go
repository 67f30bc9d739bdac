package policy

import (
	"bytes"

	"github.com/pelletier/go-toml/v2/unstable"
)

// place is a line and column of the policy file, both from 1; 0 is unknown.
type place struct{ line, column int }

// places says where the parts of one rule stand in its file.
type places struct {
	rule    place            // its [[rule]] line
	values  map[string]place // where each key's value begins
	when    place            // where the condition's own text begins
	escaped bool             // the condition has escapes, so columns in it cannot be told
}

// key gives the place of the first of the keys that the rule has, else of the rule.
func (p places) key(names ...string) place {
	for _, n := range names {
		if at, ok := p.values[n]; ok {
			return at
		}
	}
	return p.rule
}

// inWhen turns a line and column of the condition into those of the file.
func (p places) inWhen(line, column int) place {
	if p.when.line == 0 {
		return p.key("when")
	}
	at := place{line: p.when.line + line - 1, column: column}
	if line == 1 {
		at.column += p.when.column - 1
	}
	if p.escaped {
		at.column = 0
	}
	return at
}

// locate finds where each [[rule]] of a valid file and its values stand.
func locate(data []byte) []places {
	var all []places
	var parser unstable.Parser
	parser.Reset(data)
	for parser.NextExpression() {
		node := parser.Expression()
		switch node.Kind {
		case unstable.ArrayTable:
			key := node.Key()
			if key.Next() && string(key.Node().Data) == "rule" && key.IsLast() {
				start := parser.Shape(parser.Range(key.Node().Data)).Start
				all = append(all, places{rule: place{start.Line, 1}, values: map[string]place{}})
			}
		case unstable.KeyValue:
			key := node.Key()
			if len(all) == 0 || !key.Next() || !key.IsLast() {
				continue
			}
			name, value := string(key.Node().Data), node.Value()
			raw := value.Raw
			if raw.Length == 0 { // numbers carry no range of their own
				raw = parser.Range(key.Node().Data)
			}
			start := parser.Shape(raw).Start
			p := &all[len(all)-1]
			p.values[name] = place{start.Line, start.Column}
			if name == "when" {
				p.locateWhen(data[raw.Offset:raw.Offset+raw.Length], place{start.Line, start.Column})
			}
		}
	}
	return all
}

// locateWhen finds where the text of a TOML string begins behind its quotes; a
// newline right after opening triple quotes does not belong to it.
func (p *places) locateWhen(raw []byte, at place) {
	quotes := 1
	if bytes.HasPrefix(raw, []byte(`'''`)) || bytes.HasPrefix(raw, []byte(`"""`)) {
		quotes = 3
	}
	if len(raw) < quotes {
		return
	}
	p.escaped = raw[0] == '"' && bytes.IndexByte(raw, '\\') >= 0
	p.when = place{at.line, at.column + quotes}
	if rest := raw[quotes:]; quotes == 3 && (bytes.HasPrefix(rest, []byte("\n")) || bytes.HasPrefix(rest, []byte("\r\n"))) {
		p.when = place{at.line + 1, 1}
	}
}
