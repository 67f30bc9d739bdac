package format_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed/format"
)

func TestAnEventGivesItsAttributesForDetection(t *testing.T) {
	all, report, err := read(t, format.Options{Format: format.MISP, Open: testdata("event.json"), MaxAge: 365 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "url https://evil.example/pay", "domain c2.evil.example", "ip 203.0.113.9", "address ceo@evil.example", "address drop@evil.example",
		"md5 44d88612fea8a8f36de82e1278abb02f", "sha256 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f")
	wantReport(t, report, "7 entries; passed over: 1 expired, 1 internal, 1 not to detect, 2 revoked, 2 unsupported (type filename 1, type regkey 1)")
	first := all[0]
	if first.ID != "5b8d9d56-0f4c-43bc-b789-02720a010000" || first.Campaign != "Invoices in November" || first.Note != "pay page" || first.TLP != intel.TLPGreen || !first.Until.Equal(time.Unix(1794960000, 0).Add(365*24*time.Hour)) {
		t.Errorf("the first is %+v", first)
	}
	if all[1].Note != "" || all[1].TLP != intel.TLPRed {
		t.Errorf("the stricter marking of an attribute is lost: %q", all[1].Note)
	}
	if drop := all[4]; drop.Direction != intel.Outbound || !slices.Equal(drop.Roles, []intel.Role{intel.RoleRcpt}) {
		t.Errorf("a recipient is %+v", drop)
	}
}

func TestEventsComeAloneInAListAndInAResponse(t *testing.T) {
	event := func(uuid, value string) string {
		return `{"Event":{"Attribute":[{"type":"domain","to_ids":true,"value":"` + value + `"}],"uuid":"` + uuid + `"}}`
	}
	for _, text := range []string{
		`[` + event("1", "a.example") + `,` + event("2", "b.example") + `]`,
		`{"response":[` + event("1", "a.example") + `,` + event("2", "b.example") + `]}`,
		` {"x":1,"response": {"Event":{"uuid":"1","Attribute":[{"type":"domain","to_ids":1,"value":"a.example"}],"Object":[]},"Event":{"Attribute":[{"type":"domain","to_ids":true,"value":"b.example"}],"uuid":2}}} `,
	} {
		all, _, err := read(t, format.Options{Format: format.MISP, Open: from(text)})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		wantPatterns(t, all, "domain a.example", "domain b.example")
		if all[0].ID != "1" || all[1].ID != "2" {
			t.Errorf("%s: the IDs are %q and %q", text, all[0].ID, all[1].ID)
		}
	}
	for _, text := range []string{`[]`, `{"response":[]}`, `{"Event":{"info":"nothing yet"}}`} {
		if all, _, err := read(t, format.Options{Format: format.MISP, Open: from(text)}); err != nil || len(all) != 0 {
			t.Errorf("%s: %v, %v", text, all, err)
		}
	}
}

func TestAManifestNamesItsEvents(t *testing.T) {
	r, err := testdata("manifest.json")()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var all []format.ManifestEvent
	for ev, err := range format.Manifest(r, format.Options{Source: "feed:misp"}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev)
	}
	if want := []format.ManifestEvent{
		{UUID: "5b8d9d56-0f4c-43bc-b789-02720a010000", Timestamp: time.Unix(1794960000, 0).UTC(), Info: "Invoices in November", Org: "Some CERT", TLP: intel.TLPGreen},
		{UUID: "5b8d9d56-0f4c-43bc-b789-02720a010001", Timestamp: time.Unix(1794870000, 0).UTC(), Info: "Parcels", Org: "Some CERT"},
	}; !slices.Equal(all, want) {
		t.Errorf("got %+v", all)
	}
}

func TestAManifestLeadsNowhereElse(t *testing.T) {
	for _, text := range []string{
		`{"../../etc/passwd":{}}`, `{"5b8d9d56-0f4c-43bc-b789-02720a01000g":{}}`, `{"5b8d9d56_0f4c-43bc-b789-02720a010000":{}}`, `{"error":"login"}`,
		`{"5b8d9d56-0f4c-43bc-b789-02720a010000":[]}`, `[]`, ``, `{"5b8d9d56-0f4c-43bc-b789-02720a010000":{}`,
		`{"5b8d9d56-0f4c-43bc-b789-02720a010000":{"info":"` + strings.Repeat("x", 2<<20) + `"}}`,
	} {
		var last error
		for _, err := range format.Manifest(strings.NewReader(text), format.Options{Source: "feed:misp"}) {
			last = err
		}
		var e *format.Error
		if !errors.As(last, &e) || !strings.HasPrefix(e.Error(), "feed:misp: byte ") {
			t.Errorf("%.80s: %v", text, last)
		}
	}
	n, last := 0, error(nil)
	for _, err := range format.Manifest(strings.NewReader(`{"5b8d9d56-0f4c-43bc-b789-02720a010000":{},"5b8d9d56-0f4c-43bc-b789-02720a010001":{}}`), format.Options{MaxEntries: 1}) {
		n, last = n+1, err
	}
	if n != 2 || last == nil {
		t.Errorf("%d of one event: %v", n, last)
	}
}

func TestAWarninglistIsReadByItsType(t *testing.T) {
	all, report, err := read(t, format.Options{Format: format.Warninglist, Disposition: intel.Allow, Open: testdata("warninglist.json"), MaxMalformed: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	wantPatterns(t, all, "domain .bank.example", "domain .safe.example", "domain .shop.co.uk")
	wantReport(t, report, "3 entries; passed over: 2 too wide (a public suffix with all below it 2)")
	for _, c := range []struct{ text, want, report string }{
		{`{"type":"string","list":["evil.example","44d88612fea8a8f36de82e1278abb02f","8.8.8.8","https://a.example/x"]}`, "domain evil.example,md5 44d88612fea8a8f36de82e1278abb02f,ip 8.8.8.8,url https://a.example/x", "4 entries"},
		{`{"list":["198.51.100.0/24","8.8.8.8","2001:db8::/32","10.0.0.0/8"],"type":"cidr"}`, "ip 198.51.100.0/24,ip 8.8.8.8,ip 2001:db8::/32", "3 entries; passed over: 1 internal"},
		{`{"list":["mail.example","x"],"type":"substring"}`, "", "0 entries; passed over: 2 unsupported (a list of type substring 2)"},
		{`{"list":["^a"],"type":"regex"}`, "", "0 entries; passed over: 1 unsupported (a list of type regex 1)"},
		{`{"list":["a.example",{"x":1},null,"b.example","c.example"],"type":"string"}`, "domain a.example,domain b.example,domain c.example", "3 entries; passed over: 2 malformed (is empty 1, is no such JSON: a list or an object stands for a text 1)"},
	} {
		all, report, err := read(t, format.Options{Format: format.Warninglist, Disposition: intel.Allow, Open: from(c.text)})
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := strings.Join(patterns(all), ","); got != c.want || report.String() != c.report {
			t.Errorf("%s\n\tgives %s; %s", c.text, got, report)
		}
	}
}
