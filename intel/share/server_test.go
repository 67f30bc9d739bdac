package share

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// peers is a server of a site, and what a client sees of it.
type peers struct {
	*site
	server *Server
	http   *httptest.Server
}

const token = "a-token-of-a-peer-that-is-long"

func newPeers(t *testing.T, set ...func(*http.Server)) *peers {
	t.Helper()
	s := &peers{site: newSite(t)}
	var err error
	s.server, err = NewServer(ServerOptions{Share: func() *Share { return s.Share }, Title: "What we found"})
	s.must(err)
	s.server.SetTokens("What we found", []Token{{"acme", token}, {"other", "another-token-that-is-long"}})
	s.http = httptest.NewUnstartedServer(nil)
	s.http.Config = s.server.HTTP()
	for _, f := range set {
		f(s.http.Config)
	}
	s.http.Start()
	t.Cleanup(s.http.Close)
	return s
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (s *peers) ask(method, path string, header map[string]string) answer {
	s.t.Helper()
	r, err := http.NewRequest(method, s.http.URL+path, nil)
	s.must(err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", media)
	for k, v := range header {
		if r.Header.Set(k, v); v == "" {
			r.Header.Del(k)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	s.must(err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	s.must(err)
	a := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	s.must(json.Unmarshal(raw, &a.body))
	if got := resp.Header.Get("Content-Type"); got != media {
		s.t.Errorf("%s %s: it is %s", method, path, got)
	}
	return a
}

func (s *peers) get(path string) answer {
	s.t.Helper()
	a := s.ask(http.MethodGet, path, nil)
	if a.status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", path, a.status, a.raw)
	}
	return a
}

func (a answer) ids() (ids []string) {
	objects, _ := a.body["objects"].([]any)
	for _, o := range objects {
		ids = append(ids, o.(map[string]any)["id"].(string))
	}
	return ids
}

// publish has n domains published and gives the IDs of their objects in order.
func (s *peers) publish(n int) []string {
	s.t.Helper()
	t := Testimony{Case: "1", Says: Confirms}
	for i := range n {
		t.Patterns = append(t.Patterns, fmt.Sprintf("exact|domain|h%d.example", i))
	}
	t.ByPerson = true
	s.hears(t)
	s.settled()
	page, err := s.Page(Query{Limit: 1000})
	s.must(err)
	var ids []string
	for _, o := range page.Objects {
		ids = append(ids, o.ID)
	}
	return ids
}

func TestTheServerSpeaksTAXII(t *testing.T) {
	s := newPeers(t)
	ids := s.publish(5)
	d := s.get("/taxii2/")
	if d.body["title"] != "What we found" || d.body["default"] != s.http.URL+"/api/" || fmt.Sprint(d.body["api_roots"]) != "["+s.http.URL+"/api/]" {
		t.Errorf("discovery: %s", d.raw)
	}
	if a := s.get("/api/"); fmt.Sprint(a.body["versions"]) != "["+media+"]" || a.body["max_content_length"].(float64) < 1 {
		t.Errorf("API root: %s", a.raw)
	}
	one := s.get("/api/collections/").body["collections"].([]any)[0].(map[string]any)
	id := one["id"].(string)
	if one["can_read"] != true || one["can_write"] != false || one["alias"] != Alias || len(id) != 36 || id[14] != '4' {
		t.Errorf("collections: %v", one)
	}
	base := "/api/collections/" + id + "/"
	if a := s.get(base); a.body["id"] != id {
		t.Errorf("collection: %s", a.raw)
	}
	all := s.get(base + "objects/")
	if !slices.Equal(all.ids(), ids) || all.body["more"] != false || all.body["next"] != nil {
		t.Errorf("objects: %s", all.raw)
	}
	first, last := all.header.Get("X-TAXII-Date-Added-First"), all.header.Get("X-TAXII-Date-Added-Last")
	if _, err := time.Parse(stampForm, first); err != nil || first >= last {
		t.Errorf("they were added from %s to %s", first, last)
	}
	m := s.get(CollectionPath + "manifest/")
	record := m.body["objects"].([]any)[4].(map[string]any)
	if !slices.Equal(m.ids(), ids) || record["date_added"] != last || record["media_type"] != mediaSTIX || record["version"] != all.body["objects"].([]any)[4].(map[string]any)["modified"] {
		t.Errorf("manifest: %s", m.raw)
	}
	if a := s.get(base + "objects/" + ids[2] + "/"); !slices.Equal(a.ids(), ids[2:3]) {
		t.Errorf("object: %s", a.raw)
	}
	if a := s.get(base + "objects/" + ids[2] + "/versions/"); len(a.body["versions"].([]any)) != 1 {
		t.Errorf("versions: %s", a.raw)
	}
	// Nothing is left after the last one.
	if a := s.get(base + "objects/?added_after=" + last); a.body["objects"] != nil || a.body["more"] != false || a.header.Get("X-TAXII-Date-Added-Last") != "" {
		t.Errorf("after the last: %s", a.raw)
	}
	// What is added meanwhile comes behind what was there.
	page := s.get(base + "objects/?limit=2")
	got := page.ids()
	for page.body["more"] == true {
		page = s.get(base + "objects/?limit=2&next=" + url.QueryEscape(page.body["next"].(string)))
		got = append(got, page.ids()...)
	}
	if !slices.Equal(got, ids) {
		t.Errorf("in pages: %v", got)
	}
}

func TestFiltersChooseObjects(t *testing.T) {
	s := newPeers(t)
	ids := s.publish(4)
	all := s.get(CollectionPath + "objects/")
	version := all.body["objects"].([]any)[1].(map[string]any)["modified"].(string)
	added := all.header.Get("X-TAXII-Date-Added-First")
	for query, want := range map[string][]string{
		"match[id]=" + ids[3] + "," + ids[1]:  {ids[1], ids[3]},
		"match[id]=indicator--nobody":         nil,
		"match[type]=indicator":               ids,
		"match[type]=malware":                 nil,
		"match[type]=malware,indicator":       ids,
		"match[spec_version]=2.1":             ids,
		"match[spec_version]=2.0":             nil,
		"match[version]=last":                 ids,
		"match[version]=all":                  ids,
		"match[version]=first":                ids,
		"match[version]=2001-01-01T00:00:00Z": nil,
		"added_after=" + added:                ids[1:],
		"added_after=2001-01-01T00:00:00Z":    ids,
		"added_after=9999-12-31T23:59:59Z":    nil,
		"limit=3":                             ids[:3],
		"limit=1000000":                       ids,
		"nobody=knows&match[nobody]=this":     ids,
		"next=9223372036854775807":            nil,
	} {
		if got := s.get(CollectionPath + "objects/?" + query).ids(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
		if got := s.get(CollectionPath + "manifest/?" + query).ids(); !slices.Equal(got, want) {
			t.Errorf("manifest %s: %v, want %v", query, got, want)
		}
	}
	if got := s.get(CollectionPath + "objects/?match[version]=" + version).ids(); !slices.Contains(got, ids[1]) {
		t.Errorf("of version %s: %v", version, got)
	}
	if a := s.get(CollectionPath + "objects/?match[id]=" + ids[0] + "," + ids[1] + "&limit=1"); a.body["more"] != true || len(a.ids()) != 1 {
		t.Errorf("%s", a.raw)
	}
}

func TestWhatCannotBeAnsweredIsSaidSo(t *testing.T) {
	s := newPeers(t)
	ids := s.publish(1)
	objects := CollectionPath + "objects/"
	for _, c := range []struct {
		method, path string
		header       map[string]string
		status       int
	}{
		{"GET", "/", nil, 404}, {"GET", "/taxii2/x/", nil, 404}, {"GET", "/api/x/", nil, 404}, {"GET", "/api/collections/x/", nil, 404},
		{"GET", "/api/status/1/", nil, 404}, {"GET", "/api/collections/x/objects/", nil, 404}, {"GET", objects + "indicator--x/", nil, 404},
		{"GET", objects + "indicator--x/versions/", nil, 404}, {"GET", objects + ids[0] + "/x/", nil, 404}, {"GET", CollectionPath + "x/", nil, 404},
		{"GET", "/taxii2/../api/collections/../../etc/passwd", nil, 404}, {"GET", "/metrics", nil, 404},
		{"POST", objects, nil, 403}, {"DELETE", objects + ids[0] + "/", nil, 403}, {"POST", "/taxii2/", nil, 405}, {"PUT", objects, nil, 405}, {"PATCH", "/", nil, 405},
		{"GET", objects, map[string]string{"Accept": "application/json"}, 406}, {"GET", objects, map[string]string{"Accept": mediaType + ";version=2.0"}, 406},
		{"GET", "/taxii2/", map[string]string{"Accept": "text/html, application/vnd.oasis.stix+json"}, 406}, {"GET", objects, map[string]string{"Accept": "*/*;q=0"}, 406},
		{"GET", objects, map[string]string{"Accept": mediaType}, 200}, {"GET", objects, map[string]string{"Accept": "text/html, */*;q=0.1"}, 200},
		{"GET", objects, map[string]string{"Accept": "application/taxii+json; version=2.1"}, 200}, {"GET", objects, map[string]string{"Accept": `application/taxii+json;version="2.1"`}, 200},
		{"GET", strings.TrimSuffix(objects, "/"), nil, 200},
		{"GET", objects + "?limit=0", nil, 400}, {"GET", objects + "?limit=-1", nil, 400}, {"GET", objects + "?limit=x", nil, 400}, {"GET", objects + "?limit=", nil, 400},
		{"GET", objects + "?limit=99999999999999999999", nil, 400}, {"GET", objects + "?added_after=yesterday", nil, 400}, {"GET", objects + "?next=-1", nil, 400},
		{"GET", objects + "?next=' OR 1=1", nil, 400}, {"GET", objects + "?match[id]=" + strings.Repeat("x,", 200), nil, 400}, {"GET", objects + "?match[id]=", nil, 400},
		{"GET", objects + "?match[version]=newest", nil, 400}, {"GET", objects + "?limit=1&limit=2", nil, 400}, {"GET", objects + "?a=%zz", nil, 400},
		{"GET", objects + "?match[type]=a,,b", nil, 400},
	} {
		a := s.ask(c.method, strings.ReplaceAll(c.path, " ", "%20"), c.header)
		if a.status != c.status {
			t.Errorf("%s %.100s %v: %d, want %d; %s", c.method, c.path, c.header, a.status, c.status, a.raw)
		}
		if c.status != 200 && (a.body["title"] == nil || a.body["http_status"] != fmt.Sprint(c.status) || a.body["objects"] != nil) {
			t.Errorf("%s %.100s: %s", c.method, c.path, a.raw)
		}
	}
}

func TestOnlyPeersAreLetIn(t *testing.T) {
	s := newPeers(t)
	s.publish(1)
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, c := range []struct {
		authorization string
		in            bool
	}{
		{"", false}, {"Bearer", false}, {"Bearer ", false}, {"Bearer wrong", false}, {token, false}, {"Digest " + token, false}, {"Bearer " + token + "x", false},
		{"Bearer " + token[:len(token)-1], false}, {basic("acme", "wrong"), false}, {basic("other", token), false}, {basic("", token), false}, {basic("acme", ""), false},
		{"Basic !!!", false}, {"Bearer " + strings.ToUpper(token), false},
		{"Bearer " + token, true}, {"bearer " + token, true}, {basic("acme", token), true}, {basic("other", "another-token-that-is-long"), true},
	} {
		for _, path := range []string{"/taxii2/", "/api/", CollectionPath + "objects/", "/nowhere"} {
			a := s.ask(http.MethodGet, path, map[string]string{"Authorization": c.authorization})
			if (a.status == http.StatusUnauthorized) == c.in {
				t.Errorf("%s with %q: %d", path, c.authorization, a.status)
			}
			if !c.in && (len(a.header.Values("WWW-Authenticate")) != 2 || strings.Contains(a.raw, "h0.example")) {
				t.Errorf("%s with %q: %v %s", path, c.authorization, a.header, a.raw)
			}
		}
	}
	var names []string
	for _, p := range s.Status().Peers {
		names = append(names, fmt.Sprint(p.Name, p.Requests))
	}
	if !slices.Equal(names, []string{"acme12", "other4"}) {
		t.Errorf("peers: %v", names)
	}
	// An empty token is none.
	s.server.SetTokens("x", []Token{{"nobody", ""}})
	for _, empty := range []string{"Bearer ", "Bearer", basic("nobody", "")} {
		if a := s.ask(http.MethodGet, "/taxii2/", map[string]string{"Authorization": empty}); a.status != http.StatusUnauthorized {
			t.Errorf("%q: %d", empty, a.status)
		}
	}
	// A token that is taken away counts no more.
	s.server.SetTokens("x", nil)
	if a := s.ask(http.MethodGet, "/taxii2/", nil); a.status != http.StatusUnauthorized {
		t.Errorf("a token that was taken away: %d", a.status)
	}
}

func TestAServerWithoutStoresAsksToComeAgain(t *testing.T) {
	s := newPeers(t)
	s.server.o.Share = func() *Share { return nil }
	if a := s.ask(http.MethodGet, "/taxii2/", nil); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

func TestTooManyAtOnceAreSentAway(t *testing.T) {
	s := newPeers(t)
	for range maxAtOnce {
		s.server.slots <- struct{}{}
	}
	if a := s.ask(http.MethodGet, "/taxii2/", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d", a.status)
	}
	<-s.server.slots
	s.get("/taxii2/")
}

// Of what is sent by hand: more than there may be, slowly, and nonsense.
func TestHostileRequestsAreCut(t *testing.T) {
	s := newPeers(t, func(h *http.Server) {
		if h.ReadHeaderTimeout == 0 || h.ReadTimeout == 0 || h.WriteTimeout == 0 || h.IdleTimeout == 0 {
			t.Error("a slow client is waited for for ever")
		}
		h.ReadHeaderTimeout, h.ReadTimeout = 200*time.Millisecond, 200*time.Millisecond
	})
	send := func(text string) string {
		t.Helper()
		c, err := net.Dial("tcp", s.http.Listener.Addr().String())
		s.must(err)
		defer func() { _ = c.Close() }()
		s.must(c.SetDeadline(time.Now().Add(30 * time.Second)))
		go func() { _, _ = io.WriteString(c, text) }()
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	if got := send("GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.Contains(got, "431") {
		t.Errorf("a long path: %q", got)
	}
	if got := send("GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: b\r\n", 10_000) + "\r\n"); !strings.Contains(got, "431") {
		t.Errorf("a long header: %q", got)
	}
	if got := send("GET / HTTP/1.1\r\nHost: a\r\nA:"); got != "" && !strings.Contains(got, "408") {
		t.Errorf("half a header: %q", got)
	}
	if got := send("\x16\x03\x01\x00"); got != "" && !strings.Contains(got, "400") && !strings.Contains(got, "408") {
		t.Errorf("TLS: %q", got)
	}
	s.get("/taxii2/")
}

func TestACertificateLetsAPeerIn(t *testing.T) {
	s := newPeers(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	pool := x509.NewCertPool()
	certificate := func(name string) tls.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
		s.must(err)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	known, stranger := certificate("mx.peer.example\n"), certificate("stranger")
	parsed, err := x509.ParseCertificate(known.Certificate[0])
	s.must(err)
	pool.AddCert(parsed)
	srv := httptest.NewUnstartedServer(s.server)
	srv.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	ask := func(token string, certs ...tls.Certificate) (int, error) {
		c := srv.Client()
		c.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &append(certs, tls.Certificate{})[0], nil // whether the server wants it or not
		}
		c.Transport.(*http.Transport).CloseIdleConnections()
		r, err := http.NewRequest(http.MethodGet, srv.URL+"/taxii2/", nil)
		s.must(err)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := c.Do(r)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	if status, err := ask(""); status != http.StatusUnauthorized {
		t.Errorf("nothing shown: %d, %v", status, err)
	}
	if status, err := ask("", stranger); err == nil {
		t.Errorf("a certificate that nobody signed: %d", status)
	}
	if status, err := ask("", known); status != http.StatusOK {
		t.Errorf("a peer's certificate: %d, %v", status, err)
	}
	if status, err := ask(token); status != http.StatusOK {
		t.Errorf("a token: %d, %v", status, err)
	}
	if status, err := ask("wrong", known); status != http.StatusUnauthorized {
		t.Errorf("a wrong token, with a certificate: %d, %v", status, err)
	}
	if p := s.Status().Peers; len(p) != 2 || p[1].Name != "cert:mx.peer.example?" {
		t.Errorf("peers: %+v", p)
	}
}
