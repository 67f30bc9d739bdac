package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weirmail/weir/intel"
)

// namespace is that of all identifiers that this package makes (RFC 9562 section
// 5.5). It is Weir's own: STIX 2.1 section 2.9 keeps one for objects of another
// sort. Changing it gives every object another name.
const namespace = "6d7c2b52-8a43-4c43-9d0e-6f1c9a6f6c11"

// identifier gives the identifier of an object of STIX.
func identifier(sort, name string) string {
	return sort + "--" + uuid.NewSHA1(uuid.MustParse(namespace), []byte(sort+" "+name)).String()
}

// Object is an indicator as STIX 2.1 section 4.7 has it.
type Object struct {
	Type           string              `json:"type"`
	SpecVersion    string              `json:"spec_version"`
	ID             string              `json:"id"`
	CreatedBy      string              `json:"created_by_ref,omitempty"`
	Created        string              `json:"created"`
	Modified       string              `json:"modified"`
	Name           string              `json:"name,omitempty"`
	IndicatorTypes []string            `json:"indicator_types"`
	Pattern        string              `json:"pattern"`
	PatternType    string              `json:"pattern_type"`
	ValidFrom      string              `json:"valid_from"`
	ValidUntil     string              `json:"valid_until,omitempty"`
	Confidence     int                 `json:"confidence,omitempty"`
	Labels         []string            `json:"labels,omitempty"`
	References     []ExternalReference `json:"external_references,omitempty"`
	Markings       []string            `json:"object_marking_refs,omitempty"`
}

// ExternalReference names an entry elsewhere (STIX 2.1 section 2.5).
type ExternalReference struct {
	SourceName string `json:"source_name"`
	ExternalID string `json:"external_id"`
}

// ObjectOptions says what an Object says besides what its indicator does.
type ObjectOptions struct {
	Created  time.Time // when it was known first
	Modified time.Time // when what is known of it changed; Created unless it is said
	Producer string    // the name of an Identity; nobody if it is empty
	Bare     bool      // without note, ID and campaign, which may name people and cases here
}

// UnsaidError says why an indicator cannot be said in STIX.
type UnsaidError struct{ Why string }

// Error gives the reason.
func (e *UnsaidError) Error() string { return "cannot be said in STIX: " + e.Why }

// NewObject gives an indicator as an object of STIX. What it is called follows
// from the pattern and the disposition alone. The error is an *UnsaidError.
func NewObject(ind *intel.Indicator, o ObjectOptions) (Object, error) {
	if o.Modified.IsZero() {
		o.Modified = o.Created
	}
	pattern, why := stixPattern(ind.Pattern)
	if why == "" {
		why = restricted(ind)
	}
	if why == "" && !ind.Until.IsZero() && !ind.Until.After(o.Created) {
		why = "has expired"
	}
	if why != "" {
		return Object{}, &UnsaidError{why}
	}
	obj := Object{
		Type: "indicator", SpecVersion: "2.1", ID: identifier("indicator", ind.Disposition.String()+" "+pattern),
		Created: stixTime(o.Created), Modified: stixTime(o.Modified), ValidFrom: stixTime(o.Created),
		IndicatorTypes: []string{indicatorType(ind.Disposition)}, Pattern: pattern, PatternType: "stix", Confidence: ind.Confidence,
	}
	if o.Producer != "" {
		obj.CreatedBy = NewIdentity(o.Producer).ID
	}
	if !ind.Until.IsZero() {
		obj.ValidUntil = stixTime(ind.Until)
	}
	if ind.TLP != intel.TLPNone {
		obj.Markings = []string{NewMarking(ind.TLP).ID}
	}
	if o.Bare {
		return obj, nil
	}
	obj.Name = ind.Note
	if ind.Campaign != "" {
		obj.Labels = []string{"campaign:" + ind.Campaign}
	}
	if ind.ID != "" {
		obj.References = []ExternalReference{{SourceName: "weir", ExternalID: ind.ID}}
	}
	return obj, nil
}

// indicatorType gives the word of the vocabulary indicator-type-ov.
func indicatorType(d intel.Disposition) string {
	switch d {
	case intel.Allow:
		return "benign"
	case intel.Watch:
		return "anomalous-activity"
	}
	return "malicious-activity"
}

// stixTime gives a timestamp (STIX 2.1 section 3.2) with the milliseconds that
// created and modified need.
func stixTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// stixPattern says a pattern in the patterning language (STIX 2.1 section 9).
func stixPattern(p intel.Pattern) (pattern, why string) {
	quoted := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
	}
	text := p.Text()
	ipPath := "ipv4-addr:value"
	if strings.Contains(text, ":") {
		ipPath = "ipv6-addr:value"
	}
	switch p.Form() {
	case intel.FormBelow:
		if strings.ContainsAny(text, "%_") { // wildcards of LIKE
			return "", unsaid(p) + ` and has a "_"`
		}
		return "[domain-name:value = " + quoted(text) + " OR domain-name:value LIKE " + quoted("%."+text) + "]", ""
	case intel.FormPrefix:
		if strings.ContainsAny(text, "%_") {
			return "", unsaid(p) + ` and has a "%" or "_"`
		}
		return "[url:value LIKE " + quoted(text+"%") + "]", ""
	case intel.FormRange:
		return "[" + ipPath + " ISSUBSET " + quoted(text) + "]", ""
	case intel.FormExact:
	default:
		return "", unsaid(p)
	}
	path := ""
	switch p.Kind() {
	case intel.KindSHA256:
		path = "file:hashes.'SHA-256'"
	case intel.KindSHA1:
		path = "file:hashes.'SHA-1'"
	case intel.KindMD5:
		path = "file:hashes.MD5"
	case intel.KindAddress:
		if isNullSender(p) {
			return "", nullSender
		}
		path = "email-addr:value"
	case intel.KindDomain:
		path = "domain-name:value"
	case intel.KindURL:
		if strings.HasSuffix(text, "*") {
			return "", unreadable
		}
		path = "url:value"
	case intel.KindIP:
		path = ipPath
	}
	return "[" + path + " = " + quoted(text) + "]", ""
}

// Identity says who made objects (STIX 2.1 section 4.5).
type Identity struct {
	Type          string `json:"type"`
	SpecVersion   string `json:"spec_version"`
	ID            string `json:"id"`
	Created       string `json:"created"`
	Modified      string `json:"modified"`
	Name          string `json:"name"`
	IdentityClass string `json:"identity_class"`
}

// always is when what nobody remembers the beginning of is said to have begun: an
// object's created never changes (STIX 2.1 section 3.2).
func always() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// NewIdentity gives the identity of an organisation, which follows from its name.
func NewIdentity(name string) Identity {
	return Identity{Type: "identity", SpecVersion: "2.1", ID: identifier("identity", name), Created: stixTime(always()), Modified: stixTime(always()), Name: name, IdentityClass: "organization"}
}

// Marking is a definition of a marking of TLP 2.0, as the extension of OASIS
// fixes it, extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d.
type Marking struct {
	Type        string                   `json:"type"`
	SpecVersion string                   `json:"spec_version"`
	ID          string                   `json:"id"`
	Created     string                   `json:"created"`
	Name        string                   `json:"name"`
	Extensions  map[string]tlpDefinition `json:"extensions"`
}

type tlpDefinition struct {
	ExtensionType string `json:"extension_type"`
	TLP           string `json:"tlp_2_0"`
}

// NewMarking gives the definition of a marking; an indicator names its ID. One of
// TLPNone does not exist.
func NewMarking(t intel.TLP) Marking {
	id := map[intel.TLP]string{
		intel.TLPClear:       "94868c89-83c2-464b-929b-a1a8aa3c8487",
		intel.TLPGreen:       "bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
		intel.TLPAmber:       "55d920b0-5e8b-4f79-9ee9-91f868d9b421",
		intel.TLPAmberStrict: "939a9414-2ddd-4d32-a0cd-375ea402b003",
		intel.TLPRed:         "e828b379-4e03-4974-9ac4-e53a884c97c1",
	}[t]
	return Marking{
		Type: "marking-definition", SpecVersion: "2.1", ID: "marking-definition--" + id, Created: "2022-10-01T00:00:00.000Z",
		Name: "TLP:" + strings.ToUpper(t.String()),
		Extensions: map[string]tlpDefinition{"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {
			ExtensionType: "property-extension", TLP: t.String(),
		}},
	}
}

// stix writes a bundle (STIX 2.1 section 8). Markings that were used are defined
// at its end, where it is known which they are.
func (d *document) stix() form {
	used := map[intel.TLP]bool{}
	first := true
	object := func(o any) {
		if !first {
			d.print(",")
		}
		first = false
		d.print("\n")
		d.json(o)
	}
	return form{
		begin: func() {
			d.print(fmt.Sprintf(`{"type":"bundle","id":%q,"objects":[`, identifier("bundle", d.Disposition.String()+" "+d.Title)))
			if d.Producer != "" {
				object(NewIdentity(d.Producer))
			}
		},
		add: func(ind *intel.Indicator) string {
			created := d.added
			if created.IsZero() {
				created = always()
			}
			o, err := NewObject(ind, ObjectOptions{Created: created, Producer: d.Producer, Bare: d.Bare})
			var unsaid *UnsaidError
			if errors.As(err, &unsaid) {
				return unsaid.Why
			}
			if ind.Action != intel.ActionNone {
				d.lose("the action it asks for", ind)
			}
			used[ind.TLP] = true
			object(o)
			return ""
		},
		end: func() {
			for _, t := range intel.TLPs() {
				if used[t] {
					object(NewMarking(t))
				}
			}
			d.print("\n]}\n")
		},
	}
}

// json writes a value that can always be written.
func (d *document) json(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("export: %T: %v", v, err)) // no value of ours is such
	}
	_, _ = d.w.Write(text) // Flush gives the error
}
