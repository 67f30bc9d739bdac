package api

import "time"

// Lists are the lists in force.
type Lists struct {
	Generation uint64    `json:"generation" doc:"counts the changes of all of them together"`
	Loaded     time.Time `json:"loaded,omitzero" doc:"when the files were last read"`
	Lists      []List    `json:"lists"`
}

// List is one list.
type List struct {
	Name       string    `json:"name" doc:"of the source, such as list:block/local.txt"`
	File       string    `json:"file,omitempty"`
	State      string    `json:"state" enum:"current outdated refused" doc:"outdated: the file was refused and an earlier version is in force; refused: nothing of it is"`
	Entries    int       `json:"entries" doc:"in force"`
	Changed    time.Time `json:"changed,omitzero" doc:"when what is in force changed last"`
	Generation uint64    `json:"generation,omitempty" doc:"in which it changed last"`
	Problems   []Problem `json:"problems,omitempty" doc:"for which the file was refused"`
}

// ListTest asks what the lists in force know of a value or a text.
type ListTest struct {
	Value     string `query:"value" required:"" doc:"an address, a domain, a URL, an IP address or a digest; a kind before it forces one (domain:localhost); with in=subject, file-name or header:NAME a text"`
	In        string `query:"in" doc:"a role (envelope-from, url …) that entries have to speak of, or the field that a text stands in"`
	Direction string `query:"direction" enum:"inbound outbound internal" doc:"of the message; without it, any"`
}

// ListTested says what is known of a value.
type ListTested struct {
	Kind       string      `json:"kind" doc:"of the value; text for a text"`
	Value      string      `json:"value" doc:"canonical"`
	Place      string      `json:"place,omitempty" doc:"where it stood, of a message that was tried"`
	Role       string      `json:"role,omitempty" doc:"which part it plays"`
	Answer     string      `json:"answer" enum:"block allow none" doc:"what decides"`
	Candidates []Candidate `json:"candidates" doc:"every entry that matches, the most specific first"`
	Generation uint64      `json:"generation,omitempty" doc:"of the lists that were asked"`
}

// Candidate is one entry that matches, and what became of it.
type Candidate struct {
	Disposition string    `json:"disposition" enum:"block allow watch"`
	Entry       string    `json:"entry" doc:"as the list has it"`
	Source      string    `json:"source"`
	Line        int       `json:"line,omitempty"`
	Outcome     string    `json:"outcome" doc:"decides, noted, less specific, allowed, expired, other role, other direction"`
	Explanation string    `json:"explanation" doc:"all of it in one sentence"`
	Action      string    `json:"action,omitempty" doc:"what the entry asks for"`
	Roles       []string  `json:"roles,omitempty" doc:"that the entry speaks of"`
	Direction   string    `json:"direction,omitempty" doc:"that the entry speaks of"`
	Until       time.Time `json:"until,omitzero"`
	Note        string    `json:"note,omitempty"`
	ID          string    `json:"id,omitempty"`
	Campaign    string    `json:"campaign,omitempty"`
	Confidence  int       `json:"confidence,omitempty" doc:"1 to 100, how sure its source is"`
	TLP         string    `json:"tlp,omitempty" doc:"how far it may be passed on"`
	Added       time.Time `json:"added,omitzero" doc:"when its source first said so; only where all of a value is shown, and not of what is longer ago than is remembered"`
	Hits        *Hits     `json:"hits,omitempty" doc:"what it did; only where all of a value is shown"`
}
