package filter

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
)

func observablesOf(raw, from string) []intel.Observable {
	env := &message.Envelope{From: message.Path{Raw: from}, To: []message.Path{{Raw: "<a@example.org>"}}}
	to := make([]intel.Value, len(env.To))
	for i := range env.To {
		to[i], _ = intel.Address(env.To[i].Address())
	}
	return observables(env, to, env.Client, message.Parse([]byte(raw), message.Options{}))
}

func shows(all []intel.Observable, value intel.Value, role intel.Role) bool {
	return slices.ContainsFunc(all, func(o intel.Observable) bool { return o.Value == value && o.Role == role })
}

func TestTheDomainOfASenderIsSeenWhateverStandsBeforeIt(t *testing.T) {
	evil, err := intel.Domain("evil.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, local := range map[string]string{
		"too long":      strings.Repeat("x", 300),
		"far too long":  strings.Repeat("x", 60_000),
		"with controls": "a\x1b[31mb",
		"with NUL":      "a\x00b",
	} {
		address := local + "@evil.example"
		if all := observablesOf("From: a@good.example\r\n\r\n", "<"+address+">"); !shows(all, evil, intel.RoleEnvelopeFrom) {
			t.Errorf("%s, in the envelope: %v", name, all)
		}
		if all := observablesOf("From: Bob <"+address+">\r\n\r\n", "<>"); !strings.Contains(name, "NUL") && !shows(all, evil, intel.RoleHeaderFrom) {
			t.Errorf("%s, in the header: %v", name, all)
		}
	}
	for _, text := range []string{"", "<>", "bob", "<evil.example>"} {
		if all := observablesOf("From: "+text+"\r\n\r\n", text); shows(all, evil, intel.RoleEnvelopeFrom) || shows(all, evil, intel.RoleHeaderFrom) {
			t.Errorf("%q shows %v", text, all)
		}
	}
}

func TestAFileThatWasSentAsTextIsKnownByItsDigestWithOtherLineEnds(t *testing.T) {
	const script = "echo 1\necho 2\n"
	unix := intel.SHA256(sha256.Sum256([]byte(script)))
	dos := intel.SHA256(sha256.Sum256([]byte(strings.ReplaceAll(script, "\n", "\r\n"))))
	sent := func(header string) []intel.Observable {
		return observablesOf("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"+header+"\r\n\r\n"+
			strings.ReplaceAll(script, "\n", "\r\n")+"\r\n--b--\r\n", "<>")
	}
	for _, encoding := range []string{"7bit", "quoted-printable"} {
		all := sent("Content-Type: text/x-sh; name=a.sh\r\nContent-Transfer-Encoding: " + encoding)
		if !shows(all, unix, intel.RoleAttachment) || !shows(all, dos, intel.RoleAttachment) {
			t.Errorf("%s: %v", encoding, all)
		}
	}
	if all := sent("Content-Type: text/plain"); shows(all, unix, intel.RoleBody) || !shows(all, dos, intel.RoleBody) {
		t.Errorf("a body: %v", all)
	}
}
