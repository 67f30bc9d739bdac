package mta

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab"
)

// wired makes a Postfix with the snippet's lines and gives the folder of its
// configuration, and what of weir.toml goes with it.
func wired(t *testing.T) (configDir, toml string) {
	t.Helper()
	l := lab.Start(t, lab.NeedPostfix)
	mta := must(l.Postfix(lab.PostfixOptions{Domains: []string{"lab.test"}, Main: map[string]string{"smtpd_milters": "unix:opendmarc/s", "message_size_limit": "10240000"}}))(t)
	toml = weirTOML(mta.QueueDir(), "authserv_id = \"mx.lab.test\"\nrecipient_delimiter = \"+\"\n"+unixRoutes(mta.QueueDir()))
	snippet := must(PostfixSnippet(PostfixOptions{Config: parse(t, toml), Postfix: read(t, mta.ConfigDir()), Signer: "inet:127.0.0.1:8891"}))(t)
	for _, c := range append(commands(snippet, "postconf"), []string{"postconf", "-e", "inet_interfaces=all"}) {
		run(t, append([]string{"postconf", "-c", mta.ConfigDir()}, c[1:]...)...)
		age(t, mta.ConfigDir())
	}
	front := read(t, mta.ConfigDir()).Services()[0]
	master := filepath.Join(mta.ConfigDir(), "master.cf")
	text := strings.Replace(string(must(os.ReadFile(master))(t)), front.Name, "smtp", 1)
	if err := os.WriteFile(master, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return mta.ConfigDir(), toml
}

// found gives what a check says that is not right, as "severity id".
func found(findings []Finding) []string {
	var all []string
	for _, f := range findings {
		if f.Severity != OK {
			all = append(all, string(f.Severity)+" "+f.ID)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestTheCheckFindsWhatIsWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	dir, toml := wired(t)
	weir := "-e weir_milter={ unix:weir/weir.sock, "
	submission := "-M submission/inet=submission inet n - n - - smtpd -o milter_macro_daemon_name=ORIGINATING"
	for _, c := range []struct {
		name string
		do   []string // postconf's arguments: the option, a space, what it sets
		toml string   // "old => new" in weir.toml
		want []string // errors and warnings
	}{
		{"nothing", nil, "", nil},

		{"a parameter set twice", []string{"+milter_default_action = accept"}, "", []string{"warning set-twice"}},
		{"no milter at all", []string{"-e smtpd_milters=", "-e non_smtpd_milters="}, "", []string{"error milter-missing", "error milter-none", "warning local-mail"}},
		{"only other milters", []string{"-e smtpd_milters=unix:opendmarc/s"}, "", []string{"error milter-missing", "error milter-none"}},
		{"submission names others", []string{submission + " -o smtpd_milters=inet:127.0.0.1:8891"}, "", []string{"warning milter-missing"}},
		{"submission names none", []string{submission + " -o smtpd_milters="}, "", []string{"warning milter-missing"}},
		{"submission has Weir by the parameter", []string{submission}, "", nil},
		{"port 25 names others", []string{"-P smtp/inet/smtpd_milters=unix:opendmarc/s"}, "", []string{"error milter-missing", "error milter-none"}},
		{"only submission has Weir", []string{"-P smtp/inet/smtpd_milters=unix:opendmarc/s", submission}, "", []string{"error milter-missing"}},
		{"postscreen in front", []string{"-MX smtp/inet", "-M smtp/inet=smtp inet n - n - 1 postscreen", "-M smtpd/pass=smtpd pass - - n - - smtpd"}, "", nil},
		{"postscreen in front of none", []string{"-MX smtp/inet", "-M smtp/inet=smtp inet n - n - 1 postscreen -o smtpd_milters=$weir_milter", "-M smtpd/pass=smtpd pass - - n - - smtpd -o smtpd_milters="}, "",
			[]string{"error milter-missing", "error milter-none", "warning milter-unread"}},
		{"no smtpd", []string{"-MX smtp/inet"}, "", []string{"error milter-missing"}},
		{"loopback service without Weir", []string{"-M 127.0.0.1:10025/inet=127.0.0.1:10025 inet n - n - - smtpd -o smtpd_milters="}, "", nil},
		{"absolute path below the queue directory, with chroot", []string{"-F smtp/inet/chroot=y", "-e weir_milter={ unix:@QUEUE@/weir/weir.sock, protocol=6 }"}, "",
			[]string{"error milter-address", "error milter-none"}},
		{"absolute path, without chroot", []string{"-e weir_milter={ unix:@QUEUE@/weir/weir.sock, protocol=6, default_action=tempfail }"}, "", nil},
		{"relative path, with chroot", []string{"-F smtp/inet/chroot=y"}, "", nil},
		{"socket outside the chroot", []string{"-F smtp/inet/chroot=y", "-e weir_milter=unix:/run/weir/weir.sock"}, "unix:@QUEUE@/weir/weir.sock => unix:/run/weir/weir.sock",
			[]string{"error milter-address", "error milter-none"}},
		{"another port", []string{"-e weir_milter={ inet:192.0.2.1:8899, default_action=tempfail }"}, "unix:@QUEUE@/weir/weir.sock => 127.0.0.1:8899", []string{"error milter-address", "error milter-none"}},
		{"the right port", []string{"-e weir_milter={ inet:localhost:8899, default_action=tempfail }"}, "unix:@QUEUE@/weir/weir.sock => 127.0.0.1:8899", nil},
		{"Sendmail's way to write it", []string{"-e weir_milter=inet:8899@localhost"}, "unix:@QUEUE@/weir/weir.sock => 127.0.0.1:8899", []string{"error milter-missing", "error milter-none", "error milter-syntax", "warning local-mail"}},
		{"a setting that there is not", []string{weir + "timeout=3s }"}, "", []string{"error milter-syntax"}},
		{"the same milter twice", []string{"-e smtpd_milters=unix:opendmarc/s, $weir_milter, unix:weir/weir.sock"}, "", []string{"warning milter-repeated"}},

		{"no_milters at the door", []string{"-P smtp/inet/receive_override_options=no_milters"}, "", []string{"error milter-bypass"}},
		{"no_milters for all", []string{"-e receive_override_options=no_milters"}, "", []string{"error milter-bypass", "warning local-mail"}},
		{"smtpd_milter_maps", []string{"-e smtpd_milter_maps=inline:{ {192.0.2.1 = DISABLE} }"}, "", []string{"warning milter-bypass"}},
		{"proxy filter", []string{"-P smtp/inet/smtpd_proxy_filter=127.0.0.1:10024"}, "", []string{"error proxy-filter"}},
		{"content filter that returns by SMTP to Weir", []string{"-P smtp/inet/content_filter=smtp:[127.0.0.1]:10024", "-M 127.0.0.1:10025/inet=127.0.0.1:10025 inet n - n - - smtpd -o content_filter="}, "",
			[]string{"warning judged-twice"}},
		{"content filter that returns past Weir", []string{"-P smtp/inet/content_filter=smtp:[127.0.0.1]:10024", "-M 127.0.0.1:10025/inet=127.0.0.1:10025 inet n - n - - smtpd -o receive_override_options=no_milters"}, "", nil},
		{"content filter by pipe", []string{"-P smtp/inet/content_filter=filter:", "-M filter/unix=filter unix - n n - 10 pipe user=nobody argv=/bin/true"}, "", []string{"warning local-mail"}},
		{"content filter by pipe, without Weir behind it", []string{"-P smtp/inet/content_filter=filter:", "-M filter/unix=filter unix - n n - 10 pipe user=nobody argv=/bin/true", "-e non_smtpd_milters="}, "", nil},
		{"content filter for all", []string{"-e content_filter=smtp:[127.0.0.1]:10024"}, "", nil},
		{"local mail unseen", []string{"-e non_smtpd_milters="}, "", []string{"warning local-mail"}},
		{"local mail past milters", []string{"-P pickup/unix/receive_override_options=no_milters"}, "", []string{"warning local-mail"}},
		{"bounces judged", []string{"-e internal_mail_filter_classes=bounce"}, "", []string{"warning local-mail"}},
		{"milters of local mail on smtpd", []string{"-P smtp/inet/non_smtpd_milters=$weir_milter"}, "", []string{"warning milter-unread"}},

		{"accept while down", []string{weir + "default_action=accept }"}, "", []string{"warning milter-action"}},
		{"accept by the parameter", []string{"-e milter_default_action=accept", "-e weir_milter=unix:weir/weir.sock"}, "", []string{"warning milter-action"}},
		{"accept for others only", []string{"-e milter_default_action=accept"}, "", nil},
		{"quarantine while down", []string{weir + "default_action=quarantine }"}, "", []string{"warning milter-action"}},
		{"reject while down", []string{weir + "default_action=reject }"}, "", []string{"error milter-action"}},
		{"shutdown before 3.11", []string{weir + "default_action=shutdown }"}, "", []string{"warning milter-action"}},
		{"an action that there is not", []string{weir + "default_action=defer }"}, "", []string{"warning milter-action"}},
		{"protocol 2", []string{weir + "default_action=tempfail, protocol=2 }"}, "", []string{"warning milter-protocol"}},
		{"protocol 7", []string{weir + "default_action=tempfail, protocol=7 }"}, "", []string{"error milter-protocol"}},
		{"protocol by the parameter", []string{"-e milter_protocol=3", "-e weir_milter=unix:weir/weir.sock"}, "", []string{"warning milter-protocol"}},
		{"impatient", []string{weir + "default_action=tempfail, content_timeout=40s }"}, "", []string{"warning milter-time"}},
		{"too impatient", []string{weir + "default_action=tempfail, content_timeout=1s }"}, "", []string{"error milter-time"}},
		{"no time", []string{weir + "default_action=tempfail, content_timeout=soon }"}, "", []string{"error milter-time"}},
		{"no time for commands", []string{weir + "default_action=tempfail, command_timeout=0s }"}, "", []string{"error milter-time"}},
		{"sessions that Weir ends first", []string{"-e smtpd_timeout=1h"}, "", []string{"warning milter-time"}},
		{"sessions under stress", []string{"-e smtpd_timeout=${stress?{10}:{1h}}"}, "", []string{"warning milter-time"}},
		{"more processes than sessions", []string{"-e default_process_limit=5000"}, "", []string{"warning milter-sessions"}},
		{"no limit of its own", []string{"-F smtp/inet/process_limit=5000"}, "", []string{"warning milter-sessions"}},

		{"verifier after Weir", []string{"-e smtpd_milters=$weir_milter, unix:opendmarc/s"}, "", []string{"error auth-results", "warning milter-order"}},
		{"unknown milter after Weir", []string{"-e smtpd_milters=unix:opendmarc/s, $weir_milter, inet:127.0.0.1:7357"}, "", []string{"warning milter-order"}},
		{"signer before Weir on submission", []string{submission + " -o { smtpd_milters = inet:127.0.0.1:8891, $weir_milter }"}, "", []string{"warning milter-order"}},
		{"signer after Weir on submission", []string{submission + " -o { smtpd_milters = $weir_milter, inet:127.0.0.1:8891 }"}, "", nil},
		{"nobody verifies what is believed", []string{"-e smtpd_milters=$weir_milter"}, "", []string{"error auth-results"}},
		{"results that are not believed", nil, "authserv_id = \"mx.lab.test\" => ", []string{"warning auth-results"}},

		{"aliases forget the recipient", []string{"-e enable_original_recipient=no"}, "", []string{"error original-recipient"}},
		{"aliases forget it in cleanup", []string{"-P cleanup/unix/enable_original_recipient=no"}, "", []string{"error original-recipient"}},
		{"short queue IDs", []string{"-e enable_long_queue_ids=no"}, "", []string{"warning queue-ids"}},
		{"copies", []string{"-e always_bcc=archive@lab.test"}, "", []string{"warning auto-bcc"}},
		{"copies by recipient", []string{"-e recipient_bcc_maps=static:archive@lab.test"}, "", []string{"warning auto-bcc"}},
		{"larger mail than Weir looks at", []string{"-e message_size_limit=999999999"}, "", []string{"warning size-limit"}},
		{"mail of any size", []string{"-e message_size_limit=0"}, "", []string{"warning size-limit"}},
		{"long header fields", []string{"-e header_size_limit=9999999"}, "", []string{"warning header-size"}},
		{"more recipients than Weir takes", []string{"-e smtpd_recipient_limit=99999999"}, "", []string{"warning recipient-limit"}},
		{"another delimiter", []string{"-e recipient_delimiter=-"}, "", []string{"warning recipient-delimiter"}},
		{"made-up logins", []string{"-e milter_macro_defaults=auth_authen=nobody"}, "", []string{"error macro-defaults"}},
		{"harmless macro defaults", []string{"-e milter_macro_defaults={daemon_name=x}"}, "", nil},
		{"rules on added fields", []string{"-e milter_header_checks=static:IGNORE"}, "", []string{"warning header-edits"}},

		{"no listener", []string{"-MX weir-inbound/unix"}, "", []string{"error return-inbound"}},
		{"private listener", []string{"-F weir-inbound/unix/private=y"}, "", []string{"error return-inbound"}},
		{"a listener that is no smtpd", []string{"-F weir-outbound/unix/command=qmqpd"}, "", []string{"error return-outbound"}},
		{"no way back", nil, "[reinject.outbound]\naddress = \"unix:@QUEUE@/public/weir-outbound\" => [reinject.outbound]\naddress = \"\"", []string{"warning return-outbound"}},
		{"Weir on the listener", []string{"-PX weir-inbound/unix/smtpd_milters", "-P weir-inbound/unix/receive_override_options=no_header_body_checks"}, "", []string{"error return-inbound", "warning return-inbound"}},
		{"a milter map on the listener", []string{"-e smtpd_milter_maps=static:DISABLE", "-PX weir-outbound/unix/smtpd_milter_maps"}, "", []string{"error return-outbound", "warning milter-bypass"}},
		{"no signer on the listener", []string{"-P weir-outbound/unix/smtpd_milters="}, "", []string{"warning return-outbound"}},
		{"a filter on the listener", []string{"-P weir-inbound/unix/content_filter=smtp:[127.0.0.1]:10024"}, "", []string{"error return-inbound"}},
		{"no aliases", []string{"-P weir-inbound/unix/receive_override_options=no_milters,no_address_mappings"}, "", []string{"error return-inbound"}},
		{"unknown recipients", []string{"-P weir-inbound/unix/receive_override_options=no_milters,no_unknown_recipient_checks"}, "", []string{"warning return-inbound"}},
		{"header checks again", []string{"-e header_checks=static:DUNNO", "-P weir-inbound/unix/receive_override_options=no_milters"}, "", []string{"warning return-inbound"}},
		{"a limit on size", []string{"-P weir-cleanup/unix/message_size_limit=1000"}, "", []string{"warning return-inbound", "warning return-outbound"}},
		{"a limit on size at the door", []string{"-P weir-inbound/unix/message_size_limit=1000"}, "", []string{"warning return-inbound"}},
		{"no cleanup", []string{"-MX weir-cleanup/unix"}, "", []string{"error return-inbound", "error return-outbound"}},
		{"fields rewritten", []string{"-P weir-inbound/unix/local_header_rewrite_clients=permit_mynetworks"}, "", []string{"warning return-inbound"}},
		{"hidden extensions", []string{"-P weir-inbound/unix/smtpd_discard_ehlo_keywords=dsn"}, "", []string{"warning return-inbound"}},
		{"forwarded clients", []string{"-P weir-inbound/unix/smtpd_authorized_xforward_hosts=127.0.0.0/8"}, "", []string{"warning return-inbound"}},
		{"Weir is refused", []string{"-P weir-inbound/unix/smtpd_relay_restrictions=permit_sasl_authenticated,reject"}, "", []string{"error return-inbound"}},
		{"Weir is not in mynetworks", []string{"-P weir-inbound/unix/mynetworks=10.0.0.0/8"}, "", []string{"error return-inbound"}},
		{"TLS where Weir has none", []string{"-P weir-inbound/unix/smtpd_tls_security_level=encrypt"}, "", []string{"error return-inbound"}},
		{"TLS from the first byte", []string{"-P weir-inbound/unix/smtpd_tls_wrappermode=yes"}, "", []string{"error return-inbound"}},
		{"listener by TCP that believes XCLIENT", []string{"-M 127.0.0.1:10026/inet=127.0.0.1:10026 inet n - n - - smtpd -o smtpd_milters= -o smtpd_relay_restrictions=check_sasl_access,static:permit,reject -o smtpd_sasl_auth_enable=yes -o local_header_rewrite_clients= -o cleanup_service_name=weir-cleanup"},
			"address = \"unix:@QUEUE@/public/weir-inbound\" => address = \"127.0.0.1:10026\"\nusername = \"weir\"\npassword_file = \"p\"", []string{"error return-inbound"}},
		{"listener by TCP", []string{"-M 127.0.0.1:10026/inet=127.0.0.1:10026 inet n - n - - smtpd -o smtpd_milters= -o smtpd_relay_restrictions=check_sasl_access,static:permit,reject -o smtpd_sasl_auth_enable=yes -o local_header_rewrite_clients= -o cleanup_service_name=weir-cleanup -o smtpd_authorized_xclient_hosts="},
			"address = \"unix:@QUEUE@/public/weir-inbound\" => address = \"127.0.0.1:10026\"\nusername = \"weir\"\npassword_file = \"p\"", nil},
		{"strangers by TCP", []string{"-e smtpd_authorized_xclient_hosts=", "-M 127.0.0.1:10026/inet=127.0.0.1:10026 inet n - n - - smtpd -o smtpd_milters= -o smtpd_relay_restrictions=permit_mynetworks,reject -o local_header_rewrite_clients= -o cleanup_service_name=weir-cleanup"},
			"unix:@QUEUE@/public/weir-inbound => 127.0.0.1:10026", []string{"error return-inbound"}},
		{"strangers with logins", []string{"-e smtpd_authorized_xclient_hosts=", "-M 127.0.0.1:10026/inet=127.0.0.1:10026 inet n - n - - smtpd -o smtpd_milters= -o smtpd_relay_restrictions=permit_sasl_authenticated,reject -o smtpd_sasl_auth_enable=yes -o local_header_rewrite_clients= -o cleanup_service_name=weir-cleanup"},
			"address = \"unix:@QUEUE@/public/weir-inbound\" => address = \"127.0.0.1:10026\"\nusername = \"weir\"\npassword_file = \"p\"", []string{"warning return-inbound"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			etc, text := copied(t, dir), toml
			queue := read(t, etc).Value("queue_directory")
			for _, do := range c.do {
				if line, ok := strings.CutPrefix(do, "+"); ok {
					appendTo(t, filepath.Join(etc, "main.cf"), line+"\n")
					age(t, etc)
					continue
				}
				flag, what, _ := strings.Cut(strings.ReplaceAll(do, "@QUEUE@", queue), " ")
				args := []string{"postconf", "-c", etc}
				for _, letter := range flag[1:] {
					args = append(args, "-"+string(letter))
				}
				run(t, append(args, what)...)
				age(t, etc)
			}
			if old, to, ok := strings.Cut(strings.ReplaceAll(c.toml, "@QUEUE@", queue), " => "); ok {
				if text = strings.Replace(text, old, to, 1); text == toml {
					t.Fatalf("weir.toml has no %q:\n%s", old, toml)
				}
			}
			findings := must(CheckPostfix(t.Context(), CheckOptions{Config: parse(t, text), Postfix: read(t, etc)}))(t)
			if got := found(findings); !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
				for _, f := range findings {
					t.Log(f)
				}
			}
			for _, f := range findings {
				if f.What == "" || f.Severity != OK && (f.Where == "" || f.Why == "" && f.ID != "milter-none" || f.Cure == "") {
					t.Errorf("says too little: %+v", f)
				}
			}
		})
	}
}

// copied copies the files of a folder into a new one.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	age(t, to)
	return to
}
