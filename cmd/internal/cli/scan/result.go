package scan

import (
	"fmt"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// Result is what was found out about a message, and what becomes of it. Its
// JSON is a contract: keys stay what they are, later versions may add others.
// Lists are never null.
type Result struct {
	File          string       `json:"file" doc:"as it was named; - is standard input"`
	Verdict       string       `json:"verdict" doc:"what becomes of the message: accept, tag, hold, discard, reject or tempfail"`
	Rule          string       `json:"rule" doc:"the rule that decided; default where none did"`
	Reasons       []Reason     `json:"reasons" doc:"what that rule found"`
	Reply         string       `json:"reply,omitempty" doc:"what the SMTP client is told, of reject and tempfail"`
	SubjectPrefix string       `json:"subject_prefix,omitempty" doc:"what is put before the subject of copies that are delivered"`
	Observe       bool         `json:"observe,omitempty" doc:"policy.mode is observe: nothing of this would be done"`
	Recipients    []Recipient  `json:"recipients" doc:"what becomes of each recipient's copy"`
	Direction     string       `json:"direction" doc:"inbound, outbound or internal"`
	Envelope      Envelope     `json:"envelope" doc:"the SMTP transaction that was assumed"`
	Subject       string       `json:"subject" doc:"decoded"`
	From          []Address    `json:"from" doc:"the addresses of the From field"`
	MessageID     string       `json:"message_id" doc:"without angle brackets"`
	Size          int64        `json:"size" doc:"bytes of the message, with CRLF line ends"`
	SHA256        string       `json:"sha256" doc:"of these bytes"`
	Truncated     bool         `json:"truncated,omitempty" doc:"the message is larger than milter.message_size_limit, and only its beginning was looked at"`
	Header        []Field      `json:"header" doc:"the message's own header fields from the top"`
	Parts         []Part       `json:"parts" doc:"the parts of the message and the files in its archives, in the order in which they stand"`
	URLs          []URL        `json:"urls" doc:"the distinct links"`
	Hits          []Hit        `json:"hits" doc:"what lists know of it"`
	Auth          Auth         `json:"auth" doc:"what a trusted milter before Weir found out about its authenticity"`
	Defects       []Defect     `json:"defects" doc:"in which ways the message is not as it should be"`
	Observables   []Observable `json:"observables" doc:"all that an indicator could name"`
	Trace         []Step       `json:"trace,omitempty" doc:"how each rule was decided, in order (--trace)"`
	Config        string       `json:"config" doc:"the configuration file that was used; empty: none"`
	Policy        string       `json:"policy" doc:"the policy file that was used; default.toml is the one that Weir comes with"`
	Lists         []List       `json:"lists" doc:"the list files that were used"`
}

// Reason is one link from a verdict back to what caused it.
type Reason struct {
	Rule   string `json:"rule" doc:"the rule that spoke"`
	Source string `json:"source,omitempty" doc:"the list behind it; absent when the rule looked at facts alone"`
	Line   int    `json:"line,omitempty" doc:"in the list"`
	Entry  string `json:"entry,omitempty" doc:"as the list has it"`
	Kind   string `json:"kind,omitempty" doc:"of the matched value; absent for a regular expression"`
	Value  string `json:"value,omitempty" doc:"the matched value or text"`
	Role   string `json:"role,omitempty" doc:"which part it plays in the message"`
	Place  string `json:"place,omitempty" doc:"where it stood"`
	Note   string `json:"note,omitempty" doc:"the entry's note"`
}

// Recipient is the verdict for one recipient.
type Recipient struct {
	Address string   `json:"address"`
	Action  string   `json:"action" doc:"what the rules ask for this recipient, before the answers were merged"`
	Held    bool     `json:"held" doc:"the copy is held; otherwise it goes the message's way"`
	Rule    string   `json:"rule" doc:"that decided"`
	Reasons []Reason `json:"reasons" doc:"what that rule found"`
}

// Envelope is a transaction.
type Envelope struct {
	From       string   `json:"from" doc:"the sender; empty is the null sender, or that nothing is known"`
	FromSource string   `json:"from_source" doc:"where it comes from: option (--envelope-from), return-path (the field), mailbox (the From line of an mbox file), unknown"`
	To         []string `json:"to" doc:"the recipients"`
	Client     string   `json:"client" doc:"IP address of the client that counts: behind a trusted relay, the one that its Received line names; empty: not known"`
	ClientName string   `json:"client_name" doc:"its host name"`
	Relay      bool     `json:"relay" doc:"the client is a trusted relay"`
	Helo       string   `json:"helo" doc:"what the client called itself"`
	AuthUser   string   `json:"auth_user" doc:"the login it authenticated with"`
}

// Address is an address with its name.
type Address struct {
	Name    string `json:"name" doc:"decoded"`
	Address string `json:"address" doc:"canonical; empty where it cannot be read"`
}

// Field is a header field.
type Field struct {
	Name  string `json:"name" doc:"as written"`
	Value string `json:"value" doc:"unfolded and decoded"`
}

// Part is a part of the message.
type Part struct {
	Path        string `json:"path" doc:"its number as IMAP counts them; 2/1 is the first file in the archive that is part 2"`
	Type        string `json:"type" doc:"declared media type"`
	Detected    string `json:"detected" doc:"media type by content; empty for multiparts and what is empty"`
	Name        string `json:"name" doc:"file name, decoded; empty where it has none"`
	Size        int64  `json:"size" doc:"bytes of the decoded content"`
	SHA256      string `json:"sha256" doc:"of the decoded content; empty for multiparts and what cannot be read"`
	SHA1        string `json:"sha1" doc:"likewise"`
	MD5         string `json:"md5" doc:"likewise"`
	Charset     string `json:"charset,omitempty" doc:"declared"`
	Encoding    string `json:"encoding,omitempty" doc:"declared transfer encoding"`
	Disposition string `json:"disposition,omitempty" doc:"attachment or inline"`
	Attachment  bool   `json:"attachment,omitempty" doc:"a file that a reader can save"`
	Archived    bool   `json:"archived,omitempty" doc:"a file inside an archive"`
	Container   bool   `json:"container,omitempty" doc:"others stand inside"`
	Encrypted   bool   `json:"encrypted,omitempty" doc:"a file that its archive encrypts"`
}

// URL is a link.
type URL struct {
	Canonical string `json:"canonical" doc:"the form by which lists know it"`
	Host      string `json:"host" doc:"host name or IP address"`
	Domain    string `json:"domain" doc:"registrable domain of the host; empty where there is none"`
	Place     string `json:"place" doc:"where it stands first: 1/text is the text of part 1, 2/a@href an attribute in the HTML of part 2"`
	Text      string `json:"text" doc:"what the reader sees in its place; empty where that is the URL itself or nothing"`
	Raw       string `json:"raw" doc:"as it was written"`
}

// Hit is something that a list entry matched.
type Hit struct {
	Disposition string `json:"disposition" doc:"block, allow or watch"`
	Kind        string `json:"kind" doc:"of the value; empty for a regular expression"`
	Value       string `json:"value" doc:"the matched value or text"`
	Role        string `json:"role" doc:"which part it plays in the message; empty for a regular expression"`
	Place       string `json:"place" doc:"where it stood"`
	Source      string `json:"source" doc:"the list"`
	Line        int    `json:"line" doc:"in the list"`
	Entry       string `json:"entry" doc:"as the list has it"`
	Action      string `json:"action" doc:"what the entry asks for; none leaves it to the policy"`
	Note        string `json:"note,omitempty"`
	ID          string `json:"id,omitempty" doc:"a case or ticket"`
	Campaign    string `json:"campaign,omitempty"`
}

// Auth is what is known of a message's authenticity.
type Auth struct {
	Present bool        `json:"present" doc:"the trusted milter left its results (mail.authserv_id)"`
	SPF     string      `json:"spf" doc:"pass, fail, softfail … (RFC 8601); empty where nothing was said"`
	DMARC   string      `json:"dmarc" doc:"likewise"`
	ARC     string      `json:"arc" doc:"likewise"`
	DKIM    []Signature `json:"dkim"`
}

// Signature is the result for one DKIM signature.
type Signature struct {
	Result string `json:"result"`
	Domain string `json:"domain" doc:"who signed"`
}

// Defect is one way in which a message is not as it should be.
type Defect struct {
	Name   string `json:"name" doc:"one of those that weir policy reference lists"`
	Place  string `json:"place"`
	Detail string `json:"detail" doc:"for people"`
}

// Observable is something that an indicator could name.
type Observable struct {
	Kind  string `json:"kind" doc:"sha256, sha1, md5, address, domain, url or ip"`
	Value string `json:"value" doc:"canonical"`
	Role  string `json:"role" doc:"envelope-from, header-from, sender, reply-to, rcpt, helo, client, auth-user, url, attachment or body"`
	Place string `json:"place"`
}

// Step says how one rule was decided.
type Step struct {
	Rule      string `json:"rule"`
	Recipient string `json:"recipient,omitempty" doc:"for whom; absent where the rule does not speak of one"`
	True      bool   `json:"true" doc:"its condition held"`
	Error     string `json:"error,omitempty" doc:"why the condition could not be decided"`
}

// List is a list file.
type List struct {
	File     string   `json:"file"`
	Entries  int      `json:"entries" doc:"in force; none of a file with problems"`
	Problems []string `json:"problems,omitempty" doc:"for which it was left out"`
}

func resultOf(e *evidence.Evidence, v *verdict.Verdict) *Result {
	m := e.Message
	r := &Result{
		Verdict: v.Action.String(), Rule: v.Rule, Reasons: reasonsOf(v.Reasons), SubjectPrefix: v.Tag.SubjectPrefix,
		Recipients: []Recipient{}, Direction: e.Direction.String(), Envelope: envelopeOf(e),
		Subject: m.Subject(), From: []Address{}, MessageID: m.MessageID(), Size: int64(len(m.Raw)),
		Header: []Field{}, Parts: []Part{}, URLs: []URL{}, Hits: []Hit{}, Auth: authOf(e), Defects: []Defect{}, Observables: []Observable{}, Lists: []List{},
	}
	if v.Reply.Code != 0 {
		r.Reply = fmt.Sprintf("%d %s %s", v.Reply.Code, v.Reply.Enhanced, v.Reply.Text)
	}
	for i := range v.Recipients {
		to := &v.Recipients[i]
		r.Recipients = append(r.Recipients, Recipient{Address: to.Address, Action: to.Action.String(), Held: to.Hold, Rule: to.Rule, Reasons: reasonsOf(to.Reasons)})
	}
	for _, a := range m.From() {
		r.From = append(r.From, Address{Name: a.Name, Address: a.Value.String()})
	}
	for f := range m.Header.All("") {
		r.Header = append(r.Header, Field{Name: f.Name, Value: f.Value()})
	}
	for i := range m.Parts {
		r.Parts = append(r.Parts, partOf(&m.Parts[i]))
	}
	for i := range m.URLs {
		u := &m.URLs[i]
		r.URLs = append(r.URLs, URL{Canonical: u.Value.String(), Host: u.Host, Domain: u.Domain, Place: u.Place, Text: u.Text, Raw: u.Raw})
	}
	for i := range e.Hits {
		r.Hits = append(r.Hits, hitOf(&e.Hits[i]))
	}
	for _, d := range m.Defects {
		r.Defects = append(r.Defects, Defect(d))
	}
	if e.Unseen > 0 {
		r.Defects = append(r.Defects, Defect{Name: policy.DefectExpressionLimit, Detail: fmt.Sprintf("%d bytes were not looked at", e.Unseen)})
	}
	for i := range e.Observables {
		o := &e.Observables[i]
		r.Observables = append(r.Observables, Observable{Kind: o.Value.Kind().String(), Value: o.Value.String(), Role: string(o.Role), Place: o.Place})
	}
	return r
}

func reasonsOf(reasons []verdict.Reason) []Reason {
	list := make([]Reason, len(reasons))
	for i, r := range reasons {
		list[i] = Reason(r)
	}
	return list
}

func envelopeOf(e *evidence.Evidence) Envelope {
	env := e.Envelope
	x := Envelope{From: env.From.Address(), To: []string{}, ClientName: e.Client.Name, Relay: e.Relay, Helo: env.Helo, AuthUser: env.AuthUser}
	if e.Client.Addr.IsValid() {
		x.Client = e.Client.Addr.String()
	}
	for i := range env.To {
		x.To = append(x.To, env.To[i].Address())
	}
	return x
}

func partOf(p *message.Part) Part {
	part := Part{
		Path: p.Path, Type: p.Type, Detected: p.Detected, Name: p.Name, Size: p.Size, Charset: p.Charset, Encoding: p.Encoding, Disposition: p.Disposition,
		Attachment: p.Attachment(), Archived: p.Archived, Container: p.Container, Encrypted: p.Encrypted,
	}
	if p.SHA256 != ([32]byte{}) {
		part.SHA256, part.SHA1, part.MD5 = intel.SHA256(p.SHA256).String(), intel.SHA1(p.SHA1).String(), intel.MD5(p.MD5).String()
	}
	return part
}

func hitOf(h *intel.Hit) Hit {
	r := policy.ReasonOf("", h)
	ind := h.Indicator
	return Hit{
		Disposition: ind.Disposition.String(), Kind: r.Kind, Value: r.Value, Role: r.Role, Place: r.Place, Source: r.Source, Line: r.Line,
		Entry: r.Entry, Action: ind.Action.String(), Note: ind.Note, ID: ind.ID, Campaign: ind.Campaign,
	}
}

func authOf(e *evidence.Evidence) Auth {
	a := Auth{Present: e.Auth.Present, SPF: e.Auth.SPF.Value, DMARC: e.Auth.DMARC.Value, ARC: e.Auth.ARC.Value, DKIM: []Signature{}}
	for _, s := range e.Auth.DKIM {
		a.DKIM = append(a.DKIM, Signature{Result: s.Value, Domain: s.Domain})
	}
	return a
}

func stepsOf(steps []policy.Step) []Step {
	list := []Step{}
	for _, s := range steps {
		step := Step{Rule: s.Rule, Recipient: s.Recipient, True: s.True}
		if s.Err != nil {
			step.Error = s.Err.Error()
		}
		list = append(list, step)
	}
	return list
}
