package api

import "time"

// IntelAdd asks for entries of the operators' list of one disposition.
type IntelAdd struct {
	Disposition string       `json:"disposition" enum:"block allow watch"`
	Entries     []IntelEntry `json:"entries" doc:"10 000 at most; more belong into a list of their own, or into a feed"`
	Reason      string       `json:"reason" doc:"why, for the ledger, and for the note of entries that have none"`
	Wide        bool         `json:"wide,omitempty" doc:"also what is too wide: a public suffix with all below it, a huge range, the null sender, and blocks of domains and networks that are yours; without it such an entry refuses them all"`
	DryRun      bool         `json:"dry_run,omitempty" doc:"say what would change, and change nothing"`
}

// IntelEntry is one entry that is to be listed.
type IntelEntry struct {
	Value      string    `json:"value" doc:"as in a list file, without options; no regular expression"`
	Until      time.Time `json:"until,omitzero" doc:"when it ends; what allows has to end within a year"`
	Confidence int       `json:"confidence,omitempty" doc:"1 to 100; 0 says nothing"`
	TLP        string    `json:"tlp,omitempty" doc:"how far it may be passed on: clear, green, amber, amber+strict or red"`
	Note       string    `json:"note,omitempty"`
	Campaign   string    `json:"campaign,omitempty"`
	ID         string    `json:"id,omitempty" doc:"a case or ticket"`
}

// IntelRemove asks for a value to be taken out of the operators' lists.
type IntelRemove struct {
	Value       string `json:"value" doc:"as in a list file, without options; no regular expression"`
	Disposition string `json:"disposition,omitempty" doc:"of the list: block, allow or watch; without it, of whichever has it"`
	Reason      string `json:"reason" doc:"why, for the ledger"`
}

// IntelChanged says what came of a change of operators' lists.
type IntelChanged struct {
	Changes  []IntelChange `json:"changes" doc:"in the order in which they were asked for"`
	DryRun   bool          `json:"dry_run,omitempty" doc:"nothing was changed"`
	Reloaded *Reloaded     `json:"reloaded,omitempty" doc:"what reading the lists again found"`
	Warnings []Problem     `json:"warnings,omitempty" doc:"entries that are probably not meant so"`
	Answer   string        `json:"answer,omitempty" doc:"of one value: what decides about it now: block, allow or none"`
	Listed   []Candidate   `json:"listed,omitempty" doc:"of one value: every entry that matches it now, the most specific first"`
}

// IntelChange is one entry that a change is about.
type IntelChange struct {
	Value   string `json:"value" doc:"canonical"`
	Outcome string `json:"outcome" enum:"added replaced unchanged removed"`
	File    string `json:"file"`
	Line    int    `json:"line" doc:"where it stands, or stood"`
	Entry   string `json:"entry" doc:"the line"`
	Was     string `json:"was,omitempty" doc:"the line that it replaces"`
}

// IntelValue names a value.
type IntelValue struct {
	Value string `query:"value" required:"" doc:"as in a list file, without options; no regular expression"`
}

// IntelShown is all that is known of a value.
type IntelShown struct {
	Value   string      `json:"value" doc:"canonical"`
	Kind    string      `json:"kind"`
	Answer  string      `json:"answer" enum:"block allow none" doc:"what decides about it"`
	Listed  []Candidate `json:"listed" doc:"every entry that matches it, the most specific first"`
	Counted time.Time   `json:"counted,omitzero" doc:"since when hits are counted"`
	History []Event     `json:"history" doc:"what operators did about it and about the patterns that cover it, the newest last; 20 at most"`
	// TakenOut is derived: nothing records an edit by hand.
	TakenOut []TakenOut `json:"taken_out" doc:"entries that operators added and that no longer stand in the list: somebody edited it by hand"`
}

// TakenOut is an entry that somebody took out of an operators' list by hand.
type TakenOut struct {
	Entry string `json:"entry" doc:"the line as it was written"`
	File  string `json:"file"`
}

// IntelHistory is what operators did about a value.
type IntelHistory struct {
	Value    string     `json:"value" doc:"canonical"`
	Events   []Event    `json:"events" doc:"about the value and the patterns that cover it, the newest last"`
	TakenOut []TakenOut `json:"taken_out" doc:"entries that operators added and that no longer stand in the list: somebody edited it by hand"`
}

// Hits says what an entry did.
type Hits struct {
	Count  int          `json:"count" doc:"messages that it hit"`
	First  time.Time    `json:"first"`
	Last   time.Time    `json:"last"`
	Recent []HitMessage `json:"recent" doc:"the last ones, the newest first; five at most"`
}

// HitMessage is a message that an entry hit.
type HitMessage struct {
	Time    time.Time `json:"time"`
	ID      string    `json:"id" doc:"of the item in quarantine or of the journal entry; of what was refused, the reference that the client was told"`
	Verdict string    `json:"verdict"`
}

// IntelSearch asks for indicators that hold a text.
type IntelSearch struct {
	Text          string `query:"text" doc:"part of the value, note, campaign, ID or source, in upper or lower case"`
	Source        string `query:"source" doc:"a list or feed, as list:block/local.txt; with a * at its end, what begins so"`
	Kind          string `query:"kind" enum:"sha256 sha1 md5 address domain url ip regexp"`
	Disposition   string `query:"disposition" enum:"block allow watch"`
	Campaign      string `query:"campaign" doc:"exactly this one"`
	MinConfidence int    `query:"min_confidence" min:"0" max:"100" doc:"only those whose source is as sure"`
	MaxTLP        string `query:"max_tlp" doc:"nothing that is marked more strictly: clear, green, amber, amber+strict, red"`
	After         string `query:"after" doc:"the cursor of the page before"`
	Limit         int    `query:"limit" min:"1" max:"1000" doc:"of the page; 100 without it"`
}

// IntelPage is a part of what a search finds.
type IntelPage struct {
	Found   []Indicator `json:"found"`
	Scanned int         `json:"scanned" doc:"patterns that this page looked at"`
	Cursor  string      `json:"cursor,omitempty" doc:"where the next page begins; without it there is none. A page may be empty and have one"`
}

// Indicator is one entry of a list or feed.
type Indicator struct {
	Entry       string    `json:"entry" doc:"as a list has it"`
	Kind        string    `json:"kind"`
	Disposition string    `json:"disposition" enum:"block allow watch"`
	Source      string    `json:"source"`
	Line        int       `json:"line,omitempty"`
	Added       time.Time `json:"added,omitzero" doc:"when the source first said so; without it, longer ago than is remembered"`
	Until       time.Time `json:"until,omitzero"`
	Roles       []string  `json:"roles,omitempty" doc:"that the entry speaks of"`
	Direction   string    `json:"direction,omitempty" doc:"that the entry speaks of"`
	Action      string    `json:"action,omitempty" doc:"what the entry asks for"`
	Confidence  int       `json:"confidence,omitempty"`
	TLP         string    `json:"tlp,omitempty"`
	Note        string    `json:"note,omitempty"`
	ID          string    `json:"id,omitempty"`
	Campaign    string    `json:"campaign,omitempty"`
	Hits        *Hits     `json:"hits,omitempty"`
}

// IntelExport asks for indicators in a format of others.
type IntelExport struct {
	Format        string `query:"format" required:"" enum:"stix misp csv plain domains urls ips rpz postfix-senders postfix-clients"`
	Source        string `query:"source" doc:"a list or feed, as list:block/local.txt; with a * at its end, what begins so"`
	Kind          string `query:"kind" enum:"sha256 sha1 md5 address domain url ip regexp"`
	Disposition   string `query:"disposition" enum:"block allow watch" doc:"of which entries; block without it"`
	Campaign      string `query:"campaign" doc:"exactly this one"`
	MinConfidence int    `query:"min_confidence" min:"0" max:"100" doc:"only those whose source is as sure"`
	MaxTLP        string `query:"max_tlp" doc:"nothing that is marked more strictly: clear, green, amber, amber+strict, red"`
	Title         string `query:"title" doc:"of the document"`
	Producer      string `query:"producer" doc:"who says so, for stix and misp"`
	Bare          bool   `query:"bare" doc:"without notes, IDs, campaigns and sources, which may name people and cases here"`
}

// TrailerExport is the HTTP trailer of an export: what became of the entries, as a
// JSON document, ExportReport.
const TrailerExport = "Weir-Export"

// ExportReport says what became of the entries of an export.
type ExportReport struct {
	Written int           `json:"written"`
	Left    []ExportTally `json:"left_out" doc:"that the format cannot say, or that are not to be passed on"`
	Lost    []ExportTally `json:"lost" doc:"that are there without something that is known of them"`
}

// ExportTally counts entries for one reason.
type ExportTally struct {
	Why     string `json:"why"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

// ListUnused asks for entries of list files that hit nothing.
type ListUnused struct {
	Days   int    `query:"days" min:"1" max:"3650" doc:"for how long; 90 without it"`
	Source string `query:"source" doc:"one list, as list:block/local.txt; without it, all"`
	After  string `query:"after" doc:"the cursor of the page before"`
	Limit  int    `query:"limit" min:"1" max:"1000" doc:"of the page; 100 without it"`
}

// UnusedPage is a part of the entries that hit nothing.
type UnusedPage struct {
	Since   time.Time   `json:"since" doc:"nothing was hit since then"`
	Counted time.Time   `json:"counted" doc:"since when hits are counted; if that is later, nobody knows what was hit before"`
	Unused  []Indicator `json:"unused" doc:"entries that were listed by then, as far as that is remembered, and hit nothing since"`
	Cursor  string      `json:"cursor,omitempty" doc:"where the next page begins; without it there is none. A page may be empty and have one"`
}
