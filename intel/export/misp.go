package export

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/weirmail/weir/intel"
)

// mispEvent is what an event says of itself, in MISP's core format; Attribute
// follows it.
type mispEvent struct {
	UUID          string    `json:"uuid"`
	Info          string    `json:"info"`
	Date          string    `json:"date"`
	Timestamp     string    `json:"timestamp"`
	Published     bool      `json:"published"`
	Analysis      string    `json:"analysis"`
	ThreatLevelID string    `json:"threat_level_id"`
	Distribution  string    `json:"distribution"`
	Orgc          *mispOrgc `json:"Orgc,omitempty"`
}

type mispOrgc struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
}

type mispAttribute struct {
	UUID         string    `json:"uuid"`
	Type         string    `json:"type"`
	Category     string    `json:"category"`
	Value        string    `json:"value"`
	ToIDs        bool      `json:"to_ids"`
	Comment      string    `json:"comment,omitempty"`
	Timestamp    string    `json:"timestamp"`
	Distribution string    `json:"distribution"`
	Tag          []mispTag `json:"Tag,omitempty"`
}

type mispTag struct {
	Name string `json:"name"`
}

// misp writes an event. The same title of the same producer is the same event, so
// that taking it in again updates it.
func (d *document) misp() form {
	const (
		completed, undefinedThreat = "2", "4"
		yourOrganisation, inherit  = "0", "5" // of distribution
	)
	timestamp := strconv.FormatInt(d.Now.Unix(), 10)
	id := func(name string) string {
		return uuid.NewSHA1(uuid.MustParse(namespace), []byte("misp "+d.Producer+" "+d.Title+" "+name)).String()
	}
	first := true
	return form{
		begin: func() {
			event := mispEvent{
				UUID: id(""), Info: d.Title, Date: d.Now.Format("2006-01-02"), Timestamp: timestamp,
				Analysis: completed, ThreatLevelID: undefinedThreat, Distribution: yourOrganisation,
			}
			if d.Producer != "" {
				event.Orgc = &mispOrgc{Name: d.Producer, UUID: strings.TrimPrefix(NewIdentity(d.Producer).ID, "identity--")}
			}
			text, _ := json.Marshal(event) // a struct of strings
			d.print(`{"Event":`, strings.TrimSuffix(string(text), "}"), `,"Attribute":[`)
		},
		add: func(ind *intel.Indicator) string {
			a := mispAttribute{ToIDs: ind.Disposition == intel.Block, Comment: ind.Note, Timestamp: timestamp, Distribution: inherit}
			if why := a.set(ind); why != "" {
				return why
			}
			a.UUID = id(a.Type + " " + a.Value)
			d.loseToMISP(ind)
			if ind.TLP != intel.TLPNone {
				a.Tag = []mispTag{{"tlp:" + ind.TLP.String()}}
			}
			if !first {
				d.print(",")
			}
			first = false
			d.print("\n")
			d.json(a)
			return ""
		},
		end: func() { d.print("\n]}}\n") },
	}
}

// loseToMISP counts what an attribute has no place for.
func (d *document) loseToMISP(ind *intel.Indicator) {
	for _, lost := range []struct {
		what  string
		there bool
	}{
		{"the names below it", ind.Pattern.Form() == intel.FormBelow},
		{"its end", !ind.Until.IsZero()},
		{"its confidence", ind.Confidence != 0},
		{"its campaign", ind.Campaign != ""},
		{"its ID", ind.ID != ""},
		{"the action it asks for", ind.Action != intel.ActionNone},
	} {
		if lost.there {
			d.lose(lost.what, ind)
		}
	}
}

// set gives an attribute its value and type, or says why MISP has none for it.
func (a *mispAttribute) set(ind *intel.Indicator) (why string) {
	p := ind.Pattern
	a.Value = p.Text()
	a.Category = "Network activity"
	switch p.Kind() {
	case intel.KindSHA256, intel.KindSHA1, intel.KindMD5:
		a.Type, a.Category = p.Kind().String(), "Payload delivery"
	case intel.KindAddress:
		a.Type, a.Category = "email-src", "Payload delivery"
		// Where stolen mail goes, as package format reads it.
		if ind.Direction == intel.Outbound && slices.Equal(ind.Roles, []intel.Role{intel.RoleRcpt}) {
			a.Type, a.Category = "email-dst", "Network activity"
			return ""
		}
	case intel.KindDomain:
		a.Type = "hostname"
		if intel.RegistrableDomain(p.Text()) == p.Text() {
			a.Type = "domain"
		}
	case intel.KindURL:
		a.Type = "url"
	case intel.KindIP:
		a.Type = "ip-dst"
	}
	switch {
	case p.Form() == intel.FormRegexp, p.Form() == intel.FormPrefix:
		return unsaid(p)
	case isNullSender(p):
		return nullSender
	case p.Kind() == intel.KindURL && strings.HasSuffix(p.Text(), "*"):
		return unreadable
	}
	return restricted(ind)
}
