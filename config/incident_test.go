package config

import (
	"strings"
	"testing"
)

func TestAMailboxTemplateFillsInItsLettersOnce(t *testing.T) {
	for template, want := range map[MailboxTemplate]string{
		"%u": "a%d@example.org", "%n": "a%d", "%d/%n": "example.org/a%d", "%%%n": "%a%d",
	} {
		if got := template.Login("a%d", "example.org"); got != want {
			t.Errorf("%s: %s, want %s", template, got, want)
		}
	}
}

func TestMistakesInTheIncidentSectionNameTheirCure(t *testing.T) {
	for text, want := range map[string]string{
		`automatic = ["lists:x"]`:            "names no kind of source",
		`mailbox = "all"`:                    "everybody the same mailbox",
		`mailbox = "%x"`:                     "%u, %n, %d and",
		`protected = ["abuse"]`:              "incident.protected[0]",
		"max_deliveries = 9\nmax_hourly = 8": "incident.max_hourly",
	} {
		_, err := Parse("weir.toml", []byte("[incident]\n"+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestASyslogListenerSaysWhoMaySend(t *testing.T) {
	for text, want := range map[string]string{
		`logs = ["syslog:tcp:127.0.0.1:6514"]`:                              "",
		`logs = ["syslog:tcp:0.0.0.0:6514"]`:                                "delivery.syslog_from = [] (default) is empty",
		"logs = [\"syslog:udp:[::]:6514\"]\nsyslog_from = [\"192.0.2.25\"]": "",
		`logs = ["syslog:tls:127.0.0.1:6514"]`:                              "and delivery.logs takes syslog over TLS",
		`logs = ["syslog:127.0.0.1:6514"]`:                                  "no way to take syslog",
		`logs = ["syslog:tcp:host:6514"]`:                                   "no address and port",
		`syslog_cert_file = "/a.pem"`:                                       "belong together",
	} {
		_, err := Parse("weir.toml", []byte("[delivery]\n"+text+"\n"))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
