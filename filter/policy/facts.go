package policy

import (
	"slices"
	"strings"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
	"github.com/weirmail/weir/intel/directory"
	"github.com/weirmail/weir/intel/rule"
)

// What conditions speak of. The structs are CEL types: their fields are the
// fields, under the names of their rule tags; doc tags make the reference.
type (
	hitFact struct {
		Kind        string   `rule:"kind" doc:"of the matched value: sha256, sha1, md5, address, domain, url, ip; empty for a regular expression"`
		Value       string   `rule:"value" doc:"the matched value or text"`
		Role        string   `rule:"role" doc:"which part it plays: envelope-from, header-from, reply-to, sender, rcpt, helo, client, auth-user, url, attachment; empty for a regular expression"`
		Place       string   `rule:"place" doc:"where in the message it stood"`
		Disposition string   `rule:"disposition" doc:"block, allow or watch"`
		Action      string   `rule:"action" doc:"what the entry asks for: tag, hold, discard, reject, tempfail; none where it leaves it to the policy"`
		Source      string   `rule:"source" doc:"the list or feed that says so, as list:block/local.txt"`
		Entry       string   `rule:"entry" doc:"the entry as the list has it"`
		ID          string   `rule:"id" doc:"the entry's id="`
		Campaign    string   `rule:"campaign" doc:"the entry's campaign="`
		Confidence  int64    `rule:"confidence" doc:"how sure the list or feed is, 1 to 100; 0 where it does not say"`
		Groups      []string `rule:"groups" doc:"of the feed, as its section has them; none for a list"`
	}
	containFact struct {
		ID     string `rule:"id" doc:"of the containment, as weir contain list shows it"`
		Kind   string `rule:"kind" doc:"what is contained: user or ip"`
		Who    string `rule:"who" doc:"the login, address or range that was contained"`
		Scope  string `rule:"scope" doc:"whose copies it is about: external, internal or all"`
		Action string `rule:"action" doc:"what it asks for: hold or reject"`
		Role   string `rule:"role" doc:"what shows it: auth-user, envelope-from, header-from or client"`
		Value  string `rule:"value" doc:"what stands there"`
	}
	partFact struct {
		Path        string `rule:"path" doc:"number of the part, 1.2; 2/1 is the first file in the archive that is part 2"`
		Type        string `rule:"type" doc:"declared media type, lower case"`
		Detected    string `rule:"detected" doc:"media type by content"`
		Name        string `rule:"name" doc:"file name, decoded"`
		Extension   string `rule:"extension" doc:"what follows the last dot of the name, lower case"`
		Charset     string `rule:"charset" doc:"declared charset, lower case"`
		Disposition string `rule:"disposition" doc:"attachment, inline or empty"`
		SHA256      string `rule:"sha256" doc:"digest of the decoded content, hex"`
		Size        int64  `rule:"size" doc:"bytes of decoded content"`
		Depth       int64  `rule:"depth" doc:"how deep it is nested, 0 for the root"`
		Attachment  bool   `rule:"attachment" doc:"a file that a reader can save"`
		Archived    bool   `rule:"archived" doc:"a file inside an archive"`
		Container   bool   `rule:"container" doc:"others stand inside: multipart, attached message, opened archive"`
	}
	urlFact struct {
		URL    string `rule:"url" doc:"canonical form"`
		Host   string `rule:"host" doc:"host name or IP address"`
		Domain string `rule:"domain" doc:"registrable domain of the host; empty for an IP address"`
		Place  string `rule:"place" doc:"where in the message it stood"`
		Text   string `rule:"text" doc:"what the reader sees in its place; empty where that is the URL itself"`
	}
	addressFact struct {
		Address string `rule:"address" doc:"canonical; <> is the null sender; empty where it cannot be read"`
		Local   string `rule:"local" doc:"what stands before the @"`
		Domain  string `rule:"domain" doc:"what stands after the @"`
		Name    string `rule:"name" doc:"display name, decoded"`
	}
	personFact struct {
		Address string   `rule:"address" doc:"canonical address; <> is the null sender"`
		Local   string   `rule:"local" doc:"what stands before the @"`
		Domain  string   `rule:"domain" doc:"what stands after the @"`
		Name    string   `rule:"name" doc:"from the directory"`
		Groups  []string `rule:"groups" doc:"from the directory"`
		VIP     bool     `rule:"vip" doc:"from the directory"`
		Known   bool     `rule:"known" doc:"the directory has this address"`
	}
	clientFact struct {
		IP            string `rule:"ip" doc:"address of the client that counts: behind a trusted relay, the one that handed it the message"`
		Name          string `rule:"name" doc:"its verified host name as the MTA says it"`
		Helo          string `rule:"helo" doc:"what it called itself"`
		User          string `rule:"user" doc:"the login it authenticated with; empty without"`
		TLS           string `rule:"tls" doc:"TLS version; empty without"`
		Authenticated bool   `rule:"authenticated" doc:"it authenticated"`
		Relay         bool   `rule:"relay" doc:"the message came through a trusted relay"`
		Local         bool   `rule:"local" doc:"the message did not come by SMTP"`
	}
	signatureFact struct {
		Result string `rule:"result" doc:"pass, fail, none, neutral, policy, temperror, permerror"`
		Domain string `rule:"domain" doc:"who signed"`
	}
	authFact struct {
		Present bool            `rule:"present" doc:"the trusted milter before Weir left its results"`
		SPF     string          `rule:"spf" doc:"result for the envelope sender; empty where nothing was said"`
		DMARC   string          `rule:"dmarc" doc:"result for the From domain"`
		ARC     string          `rule:"arc" doc:"result for the chain of forwarders"`
		DKIM    []signatureFact `rule:"dkim" doc:"one result a signature"`
	}
)

// vars declares the variables, in the order of the reference.
func vars() []rule.Var {
	return []rule.Var{
		{Name: "direction", Zero: "", Doc: "inbound, outbound or internal"},
		{Name: "size", Zero: int64(0), Doc: "bytes of the whole message"},
		{Name: "client", Zero: clientFact{}, Doc: "who handed the message over"},
		{Name: "sender", Zero: personFact{}, Doc: "the envelope sender"},
		{Name: "rcpt", Zero: personFact{}, Doc: "one envelope recipient; a rule that speaks of it is decided for each recipient apart"},
		{Name: "rcpts", Zero: []personFact(nil), Doc: "all envelope recipients"},
		{Name: "subject", Zero: "", Doc: "the subject, decoded"},
		{Name: "from", Zero: []addressFact(nil), Doc: "the addresses of the From field; more than one is possible"},
		{Name: "reply_to", Zero: []addressFact(nil), Doc: "the addresses of the Reply-To field"},
		{Name: "header", Zero: map[string][]string(nil), Doc: "header fields: name in lower case to decoded values from the top"},
		{Name: "blocks", Zero: []hitFact(nil), Doc: "what block entries matched"},
		{Name: "allows", Zero: []hitFact(nil), Doc: "what allow entries matched"},
		{Name: "watches", Zero: []hitFact(nil), Doc: "what watch entries matched"},
		{Name: varContained, Zero: []containFact(nil), Doc: "the containments (weir contain) that the message comes under; a rule that speaks of them is decided for each recipient apart, and sees those whose scope has the recipient in it"},
		{Name: "parts", Zero: []partFact(nil), Doc: "the parts of the message and the files in its archives"},
		{Name: "urls", Zero: []urlFact(nil), Doc: "the links"},
		{Name: "defects", Zero: []string(nil), Doc: "the names of the ways in which the message is not as it should be"},
		{Name: "auth", Zero: authFact{}, Doc: "what a milter before Weir found out about its authenticity"},
	}
}

// DefectExpressionLimit stands beside the defects of package message: header
// or file names were longer than regular expressions of lists look at.
const DefectExpressionLimit = "expression-limit"

// facts gives the values of one message's variables, each made when it is
// first asked for.
type facts struct {
	e     *evidence.Evidence
	rcpt  int       // index of the recipient that rcpt speaks of; -1: none
	only  intel.Hit // with one set: the only hit there is
	one   bool
	alone *contain.Hit // with one set: the only containment there is
	cache map[string]any
}

func newFacts(e *evidence.Evidence) *facts {
	return &facts{e: e, rcpt: -1}
}

// withOnly gives the same facts as if h were the only hit.
func (f *facts) withOnly(h *intel.Hit) *facts {
	g := &facts{e: f.e, rcpt: f.rcpt, only: *h, one: true, cache: make(map[string]any, 8)}
	for name, v := range f.cache {
		if dispositionOf(name) == 0 {
			g.cache[name] = v
		}
	}
	return g
}

// withContained gives the same facts as if h were the only containment.
func (f *facts) withContained(h *contain.Hit) *facts {
	g := *f
	g.alone = h
	return &g
}

func dispositionOf(name string) intel.Disposition {
	switch name {
	case "blocks":
		return intel.Block
	case "allows":
		return intel.Allow
	case "watches":
		return intel.Watch
	}
	return 0
}

// hitsUsedBy gives the hits that the condition can see.
func (f *facts) hitsUsedBy(p *rule.Program) []*intel.Hit {
	var hits []*intel.Hit
	for _, name := range []string{"blocks", "watches", "allows"} {
		if !p.Uses(name) {
			continue
		}
		for i := range f.e.Hits {
			if f.e.Hits[i].Indicator.Disposition == dispositionOf(name) {
				hits = append(hits, &f.e.Hits[i])
			}
		}
	}
	return hits
}

// Value implements rule.Values.
func (f *facts) Value(name string) any {
	if name == "rcpt" {
		if f.rcpt < 0 {
			return personFact{}
		}
		r := &f.e.Recipients[f.rcpt]
		return person(r.Value, r.Person)
	}
	if name == varContained {
		return f.contained()
	}
	if v, ok := f.cache[name]; ok {
		return v
	}
	v := f.make(name)
	if f.cache == nil {
		f.cache = make(map[string]any, 8)
	}
	f.cache[name] = v
	return v
}

func (f *facts) rcptName(each bool) string {
	if !each || f.rcpt < 0 {
		return ""
	}
	return f.e.Recipients[f.rcpt].Path.Address()
}

func (f *facts) make(name string) any {
	e := f.e
	switch name {
	case "direction":
		return e.Direction.String()
	case "size":
		return int64(len(e.Message.Raw))
	case "client":
		return f.client()
	case "sender":
		v, _ := intel.Address(e.Envelope.From.Address())
		return person(v, e.Sender)
	case "rcpts":
		all := make([]personFact, len(e.Recipients))
		for i := range e.Recipients {
			all[i] = person(e.Recipients[i].Value, e.Recipients[i].Person)
		}
		return all
	case "subject":
		return e.Message.Subject()
	case "from":
		return addresses(e.Message.From())
	case "reply_to":
		return addresses(e.Message.ReplyTo())
	case "header":
		return f.header()
	case "blocks", "allows", "watches":
		return f.hits(dispositionOf(name))
	case "parts":
		return f.parts()
	case "urls":
		return f.urls()
	case "defects":
		names := make([]string, 0, len(e.Message.Defects))
		for _, d := range e.Message.Defects {
			if !slices.Contains(names, d.Name) {
				names = append(names, d.Name)
			}
		}
		if e.Unseen > 0 {
			names = append(names, DefectExpressionLimit)
		}
		return names
	case "auth":
		return f.auth()
	}
	return nil
}

func (f *facts) client() clientFact {
	env := f.e.Envelope
	c := clientFact{
		Name: f.e.Client.Name, Helo: env.Helo, User: env.AuthUser, TLS: env.TLS,
		Authenticated: env.AuthUser != "", Relay: f.e.Relay, Local: env.Local,
	}
	if f.e.Client.Addr.IsValid() {
		c.IP = f.e.Client.Addr.String()
	}
	return c
}

func (f *facts) header() map[string][]string {
	fields := make(map[string][]string)
	for field := range f.e.Message.Header.All("") {
		name := strings.ToLower(field.Name)
		fields[name] = append(fields[name], field.Value())
	}
	return fields
}

func (f *facts) hits(d intel.Disposition) []hitFact {
	hits := f.e.Hits
	if f.one {
		hits = []intel.Hit{f.only}
	}
	var facts []hitFact
	for i := range hits {
		h := &hits[i]
		if h.Indicator.Disposition != d {
			continue
		}
		fact := hitFact{
			Value: h.Text, Role: string(h.Observable.Role), Place: h.Observable.Place,
			Disposition: d.String(), Action: h.Indicator.Action.String(), Source: h.Indicator.Source,
			Entry: h.Indicator.Pattern.String(), ID: h.Indicator.ID, Campaign: h.Indicator.Campaign,
			Confidence: int64(h.Indicator.Confidence), Groups: f.e.Groups[h.Indicator.Source],
		}
		if v := h.Observable.Value; !v.IsZero() {
			fact.Kind, fact.Value = v.Kind().String(), v.String()
		}
		facts = append(facts, fact)
	}
	return facts
}

// varContained is the variable that depends on the recipient besides rcpt.
const varContained = "contained"

// containments gives those whose scope has the recipient in it, of whom the rules
// are asked; without one, all.
func (f *facts) containments() []*contain.Hit {
	var all []*contain.Hit
	for i := range f.e.Contained {
		h := &f.e.Contained[i]
		if (f.alone == nil || f.alone == h) && (f.rcpt < 0 || h.Containment.Scope.Covers(f.e.Recipients[f.rcpt].Local)) {
			all = append(all, h)
		}
	}
	return all
}

func (f *facts) contained() []containFact {
	var facts []containFact
	for _, h := range f.containments() {
		c := h.Containment
		facts = append(facts, containFact{ID: c.ID, Kind: string(c.Kind), Who: c.Value, Scope: string(c.Scope), Action: c.Action.String(),
			Role: string(h.Role), Value: h.Value})
	}
	return facts
}

func (f *facts) parts() []partFact {
	parts := make([]partFact, len(f.e.Message.Parts))
	for i := range f.e.Message.Parts {
		p := &f.e.Message.Parts[i]
		parts[i] = partFact{
			Path: p.Path, Type: p.Type, Detected: p.Detected, Name: p.Name, Extension: extension(p.Name), Charset: p.Charset,
			Disposition: p.Disposition, Size: p.Size, Depth: int64(p.Depth),
			Attachment: p.Attachment(), Archived: p.Archived, Container: p.Container,
		}
		if p.SHA256 != ([32]byte{}) {
			parts[i].SHA256 = intel.SHA256(p.SHA256).String()
		}
	}
	return parts
}

// extension is what decides on most desktops how a file is opened.
func extension(name string) string {
	name = strings.TrimRight(name, ". \t\u00a0") // Windows drops these
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return ""
	}
	return strings.ToLower(name[dot+1:])
}

func (f *facts) urls() []urlFact {
	urls := make([]urlFact, len(f.e.Message.URLs))
	for i := range f.e.Message.URLs {
		u := &f.e.Message.URLs[i]
		urls[i] = urlFact{URL: u.Value.String(), Host: u.Host, Domain: u.Domain, Place: u.Place, Text: u.Text}
	}
	return urls
}

func (f *facts) auth() authFact {
	r := &f.e.Auth
	fact := authFact{Present: r.Present, SPF: r.SPF.Value, DMARC: r.DMARC.Value, ARC: r.ARC.Value}
	for _, s := range r.DKIM {
		fact.DKIM = append(fact.DKIM, signatureFact{Result: s.Value, Domain: s.Domain})
	}
	return fact
}

func addresses(list []message.Address) []addressFact {
	facts := make([]addressFact, len(list))
	for i := range list {
		facts[i] = addressFact{Address: list[i].Value.String(), Name: list[i].Name}
		facts[i].Local, facts[i].Domain = split(list[i].Value)
	}
	return facts
}

func person(v intel.Value, known *directory.Person) personFact {
	p := personFact{Address: v.String()}
	p.Local, p.Domain = split(v)
	if known != nil {
		p.Name, p.Groups, p.VIP, p.Known = known.Name, known.Groups, known.VIP, true
	}
	return p
}

func split(v intel.Value) (local, domain string) {
	at := strings.LastIndexByte(v.String(), '@')
	if at < 0 {
		return "", ""
	}
	return v.String()[:at], v.String()[at+1:]
}
