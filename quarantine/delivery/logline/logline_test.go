package logline

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// asOf is when the lines of these tests are read.
var asOf = time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)

func parse(line string) []Event {
	p := Parser{Location: time.UTC}
	return p.Parse(nil, []byte(line), asOf)
}

func at(h, m, s int) time.Time { return time.Date(2026, 11, 22, h, m, s, 0, time.UTC) }

// The lines are as Postfix 3.7, Sendmail 8.17 and Dovecot 2.3 wrote them in a lab.
func TestLinesTellWhatBecameOfACopy(t *testing.T) {
	const mx = "Nov 22 01:11:00 mx "
	time1 := at(1, 11, 0)
	relay := "192.0.2.7[192.0.2.7]:24"
	sent := func(e Event) Event {
		e.Kind, e.Time, e.Outcome, e.DSN = Copy, time1, Sent, "2.0.0"
		return e
	}
	for name, c := range map[string]struct {
		line string
		want []Event
	}{
		"a client": {mx + "postfix/smtpd[27261]: 4jX9xc2YzNz1Vkhj: client=mail.sender.test[203.0.113.9]",
			[]Event{{Kind: Started, Time: time1, QueueID: "4jX9xc2YzNz1Vkhj"}}},
		"submission": {mx + "postfix/submission/smtpd[1]: 0F5383D: client=a.lab.test[192.0.2.1], sasl_method=PLAIN, sasl_username=x, message-id=<y>",
			[]Event{{Kind: Started, Time: time1, QueueID: "0F5383D"}}},
		"local mail": {mx + "postfix/pickup[27258]: 4jX9xc3h8Vz1Vkk8: uid=0 from=<root>",
			[]Event{{Kind: Started, Time: time1, QueueID: "4jX9xc3h8Vz1Vkk8"}}},
		"a Message-ID": {mx + "postfix/cleanup[27284]: 4jX9xc2YzNz1Vkhj: message-id=<alias@sender.test>",
			[]Event{{Kind: Named, Time: time1, QueueID: "4jX9xc2YzNz1Vkhj", MessageID: "alias@sender.test"}}},
		"a Message-ID that plays a delivery": {mx + "postfix/cleanup[27284]: 4jX9xc30M1z1Vkjn: message-id=<a, to=<bob@lab.test>, relay=local, status=sent (250 ok)@x>",
			[]Event{{Kind: Named, Time: time1, QueueID: "4jX9xc30M1z1Vkjn", MessageID: "a, to=<bob@lab.test>, relay=local, status=sent (250 ok)@x"}}},
		"no Message-ID": {mx + "postfix/cleanup[27284]: 4104E3D: message-id=<>",
			[]Event{{Kind: Named, Time: time1, QueueID: "4104E3D"}}},
		"an alias's copy by LMTP": {mx + "postfix/lmtp[27286]: 4jX9xc2YzNz1Vkhj: to=<bob@lab.test>, orig_to=<team@lab.test>, relay=" + relay + ", delay=0.06, delays=0/0.02/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 <bob@lab.test> +MivFiRBAmt2agAAg+zDdQ:R2 Saved)",
			[]Event{sent(Event{QueueID: "4jX9xc2YzNz1Vkhj", Agent: "lmtp", Address: "bob@lab.test", Through: "team@lab.test", Relay: relay,
				Reply: "250 2.0.0 <bob@lab.test> +MivFiRBAmt2agAAg+zDdQ:R2 Saved", Session: "+MivFiRBAmt2agAAg+zDdQ:R2"})}},
		"a used connection, two suffixes": {mx + "postfix/lmtp[27294]: 4jX9xc3Cvmz1Vkjy: to=<alice@lab.test>, relay=" + relay + ", conn_use=2, delay=0.02, delays=0/0/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 <alice@lab.test> 0Ed9GiRBAmudagAAg+zDdQ:T2:R2 Saved)",
			[]Event{sent(Event{QueueID: "4jX9xc3Cvmz1Vkjy", Agent: "lmtp", Address: "alice@lab.test", Relay: relay,
				Reply: "250 2.0.0 <alice@lab.test> 0Ed9GiRBAmudagAAg+zDdQ:T2:R2 Saved", Session: "0Ed9GiRBAmudagAAg+zDdQ:T2:R2"})}},
		"a recipient that plays a delivery": {mx + `postfix/lmtp[27290]: 4jX9xc2n6wz1Vkhs: to=<"x>, relay=a, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (ok) y"@lab.test>, relay=` + relay + `, conn_use=2, delay=0.07, delays=0.01/0.05/0/0.01, dsn=5.1.1, status=bounced (host said: 550 5.1.1 User doesn't exist (in reply to RCPT TO command))`,
			[]Event{{Kind: Copy, Time: time1, QueueID: "4jX9xc2n6wz1Vkhs", Agent: "lmtp", Outcome: Bounced, DSN: "5.1.1", Relay: relay,
				Address: `"x>, relay=a, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (ok) y"@lab.test`, Reply: "host said: 550 5.1.1 User doesn't exist (in reply to RCPT TO command)"}}},
		"a quote in a quoted recipient": {mx + `postfix/error[1]: 0F5383D: to=<"a\">, x"@lab.test>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (no)`,
			[]Event{{Kind: Copy, Time: time1, QueueID: "0F5383D", Agent: "error", Outcome: Bounced, DSN: "5.1.1", Relay: "none", Address: `"a\">, x"@lab.test`, Reply: "no"}}},
		"a recipient that is not quoted as it should be": {mx + "postfix/lmtp[1]: 0F5383D: to=<a, relay=x, delay=0, dsn=2.0.0, status=sent (y@lab.test>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (no)", nil},
		"a deferral": {mx + "postfix/smtp[27295]: 4jX9xc3P7Zz1Vkjy: to=<x@slow.test>, relay=none, delay=0.01, delays=0.01/0/0/0, dsn=4.4.1, status=deferred (connect to 192.0.2.9[192.0.2.9]:1: Connection refused)",
			[]Event{{Kind: Copy, Time: time1, QueueID: "4jX9xc3P7Zz1Vkjy", Agent: "smtp", Outcome: Deferred, DSN: "4.4.1", Relay: "none", Address: "x@slow.test", Reply: "connect to 192.0.2.9[192.0.2.9]:1: Connection refused"}}},
		"soft_bounce": {mx + "postfix/smtp[1]: 0F5383D: to=<x@slow.test>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=SOFTBOUNCE (no)",
			[]Event{{Kind: Copy, Time: time1, QueueID: "0F5383D", Agent: "smtp", Outcome: Deferred, DSN: "5.1.1", Relay: "none", Address: "x@slow.test", Reply: "no"}}},
		"a probe": {mx + "postfix/smtp[1]: 0F5383D: to=<x@slow.test>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=deliverable (ok)", nil},
		"a content filter": {mx + "postfix/smtp[1]: 7EE668039: to=<admin@lab.test>, relay=127.0.0.1[127.0.0.1]:2525, delay=3.6, delays=0.2/0.02/0.04/3.3, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 153053D)",
			[]Event{sent(Event{QueueID: "7EE668039", Agent: "smtp", Address: "admin@lab.test", Relay: "127.0.0.1[127.0.0.1]:2525", Reply: "250 2.0.0 Ok: queued as 153053D", NextID: "153053D"})}},
		"a relay that plays a session": {mx + "postfix/smtp[1]: 7EE668039: to=<a@out.test>, relay=mx.out.test[203.0.113.1]:25, delay=1, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 <a@out.test> +MivFiRBAmt2agAAg+zDdQ Saved)",
			[]Event{sent(Event{QueueID: "7EE668039", Agent: "smtp", Address: "a@out.test", Relay: "mx.out.test[203.0.113.1]:25", Reply: "250 2.0.0 <a@out.test> +MivFiRBAmt2agAAg+zDdQ Saved"})}},
		"a forward file": {mx + "postfix/local[1]: 7EE668039: to=<here@mx.lab.test>, relay=local, delay=1, delays=0/0/0/0, dsn=2.0.0, status=sent (forwarded as 153053D)",
			[]Event{sent(Event{QueueID: "7EE668039", Agent: "local", Address: "here@mx.lab.test", Relay: "local", Reply: "forwarded as 153053D", NextID: "153053D"})}},
		"a program": {mx + "postfix/pipe[8689]: 4jXBCT0RmMz1VYGt: to=<p@pipe.test>, relay=mypipe, delay=0.01, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered via mypipe service)",
			[]Event{sent(Event{QueueID: "4jXBCT0RmMz1VYGt", Agent: "pipe", Address: "p@pipe.test", Relay: "mypipe", Reply: "delivered via mypipe service"})}},
		"thrown away": {mx + "postfix/discard[27313]: 4jX9xc3Rs8z1VkkD: to=<x@disc.test>, relay=none, delay=0.01, delays=0.01/0.01/0/0, dsn=2.0.0, status=sent (thrown)",
			[]Event{{Kind: Copy, Time: time1, QueueID: "4jX9xc3Rs8z1VkkD", Agent: "discard", Outcome: Discarded, DSN: "2.0.0", Relay: "none", Address: "x@disc.test", Reply: "thrown"}}},
		"gone": {mx + "postfix/qmgr[27259]: 4jX9xc3QL0z1VkkB: removed", []Event{{Kind: Ended, Time: time1, QueueID: "4jX9xc3QL0z1VkkB", Agent: "qmgr"}}},
		"deleted by an operator": {mx + "postfix/postsuper[3]: 4jX9xc3QL0z1VkkB: removed",
			[]Event{{Kind: Ended, Time: time1, QueueID: "4jX9xc3QL0z1VkkB", Agent: "postsuper"}}},
		"queued": {mx + "postfix/qmgr[27259]: 4jX9xc3QxZz1VkkC: from=<>, size=2564, nrcpt=1 (queue active)", nil},
		"given up": {mx + "postfix/qmgr[8640]: 4jXBCT0NsQz1VYGr: from=<s@sender.test>, status=expired, returned to sender",
			[]Event{{Kind: Expired, Time: time1, QueueID: "4jXBCT0NsQz1VYGr"}}},
		"a notification": {mx + "postfix/bounce[27302]: 4jX9xc2kQrz1Vkhr: sender non-delivery notification: 4jX9xc3QL0z1VkkB",
			[]Event{{Kind: Notice, Time: time1, QueueID: "4jX9xc2kQrz1Vkhr", NextID: "4jX9xc3QL0z1VkkB"}}},
		"another milter's discard": {mx + "postfix/cleanup[27284]: 4jX9xc3ZN2z1VkjS: milter-discard: END-OF-MESSAGE from mail.sender.test[203.0.113.9]: milter triggers DISCARD action; from=<s@sender.test> to=<alice@lab.test> proto=ESMTP helo=<mail.sender.test>",
			[]Event{{Kind: Refused, Time: time1, QueueID: "4jX9xc3ZN2z1VkjS", Reply: "milter-discard: END-OF-MESSAGE from mail.sender.test[203.0.113.9]: milter triggers DISCARD action; from=<s@sender.test> to=<alice@lab.test> proto=ESMTP helo=<mail.sender.test>"}}},
		"a refused recipient":            {mx + "postfix/smtpd[27285]: 4jX9xc3Rs8z1VkkD: reject: RCPT from localhost[127.0.0.1]: 550 5.1.1 <y@err.test>: Recipient address rejected: no such thing, status=sent (250 ok); from=<s@sender.test> to=<y@err.test>", nil},
		"a subject that plays a line":    {mx + "postfix/cleanup[1]: D8B07E3DB6: warning: header Subject: to=<a@b>, relay=x, delay=0, dsn=2.0.0, status=sent (ok) from a.test[203.0.113.1]; from=<a@b> to=<c@d> proto=ESMTP", nil},
		"a client's name that plays one": {mx + "postfix/smtpd[1]: connect from 4jX9xc3ZN2z1VkjS: client=a[203.0.113.1]", nil},
		"a warning":                      {mx + "postfix/lmtp[1]: warning: to=<a@b>, relay=x, delay=0, delays=0, dsn=2.0.0, status=sent (ok)", nil},
		"another program":                {mx + "logger: postfix/qmgr[1]: 4jX9xc3QL0z1VkkB: removed", nil},

		"Sendmail takes a message": {"Nov 22 01:11:00 mx2 sendmail[27]: 6AM1B9rp000027: from=<s@sender.test>, size=139, class=0, nrcpts=1, msgid=<plain@sender.test>, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]",
			[]Event{{Kind: Started, Time: time1, QueueID: "6AM1B9rp000027", MessageID: "plain@sender.test"}}},
		"a Message-ID that plays Sendmail": {"Nov 22 01:11:00 mx2 sm-mta[41]: 6AM1B9gZ000041: from=<s@sender.test>, size=75, class=0, nrcpts=1, msgid=<a, to=<bob@lab.test>, proto=ESMTP, relay=x, stat=Sent (250 ok)@x>, bodytype=8BITMIME, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]",
			[]Event{{Kind: Started, Time: time1, QueueID: "6AM1B9gZ000041", MessageID: "a, to=<bob@lab.test>, proto=ESMTP, relay=x, stat=Sent (250 ok)@x"}}},
		"copies by Sendmail": {"Nov 22 01:11:00 mx2 sendmail[32]: 6AM1B9AH000030: to=<carol@lab.test>,alice@lab.test, delay=00:00:00, xdelay=00:00:00, mailer=lmtp, pri=90458, relay=[192.0.2.7] [192.0.2.7], dsn=2.0.0, stat=Sent",
			[]Event{
				sent(Event{QueueID: "6AM1B9AH000030", Agent: "sendmail/lmtp", Address: "carol@lab.test", Relay: "[192.0.2.7] [192.0.2.7]", Reply: "Sent"}),
				sent(Event{QueueID: "6AM1B9AH000030", Agent: "sendmail/lmtp", Address: "alice@lab.test", Relay: "[192.0.2.7] [192.0.2.7]", Reply: "Sent"})}},
		"an alias of Sendmail's": {"Nov 22 01:11:00 mx2 sendmail[32]: 6AM1B9AH000030: to=<alice@lab.test>, ctladdr=<team@lab.test> (8/0), delay=00:00:00, xdelay=00:00:00, mailer=local, pri=1, dsn=2.0.0, stat=Sent",
			[]Event{sent(Event{QueueID: "6AM1B9AH000030", Agent: "sendmail/local", Address: "alice@lab.test", Through: "team@lab.test", Reply: "Sent"})}},
		"refused at Sendmail's other side": {`Nov 22 01:11:00 mx2 sendmail[46]: 6AM1B9Md000044: to=<"a, stat=Sent"@lab.test>, delay=00:00:00, xdelay=00:00:00, mailer=lmtp, pri=30150, relay=[192.0.2.7] [192.0.2.7], dsn=5.1.1, reply=550 5.1.1 <"a, stat=Sent"@lab.test> User doesn't exist: a, stat=Sent@lab.test, stat=User unknown`,
			[]Event{{Kind: Copy, Time: time1, QueueID: "6AM1B9Md000044", Agent: "sendmail/lmtp", Outcome: Bounced, DSN: "5.1.1", Relay: "[192.0.2.7] [192.0.2.7]", Address: `"a, stat=Sent"@lab.test`,
				Reply: `550 5.1.1 <"a, stat=Sent"@lab.test> User doesn't exist: a, stat=Sent@lab.test, stat=User unknown`}}},
		"Sendmail defers": {"Nov 22 01:11:00 mx2 sendmail[51]: 6AM1BAxA000049: to=<alice@lab.test>, delay=00:00:00, xdelay=00:00:00, mailer=lmtp, pri=30145, relay=[192.0.2.7] [192.0.2.7], dsn=4.4.1, stat=Deferred: Connection refused by [192.0.2.7]",
			[]Event{{Kind: Copy, Time: time1, QueueID: "6AM1BAxA000049", Agent: "sendmail/lmtp", Outcome: Deferred, DSN: "4.4.1", Relay: "[192.0.2.7] [192.0.2.7]", Address: "alice@lab.test", Reply: "Deferred: Connection refused by [192.0.2.7]"}}},
		"Sendmail hands on": {"Nov 22 01:11:00 mx2 sendmail[37]: 6AM1B9FY000035: to=<x@outside.test>, delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=30135, relay=mx.outside.test. [203.0.113.1], dsn=2.0.0, stat=Sent (6AM1B9jS000034 Message accepted for delivery)",
			[]Event{sent(Event{QueueID: "6AM1B9FY000035", Agent: "sendmail/esmtp", Address: "x@outside.test", Relay: "mx.outside.test. [203.0.113.1]", Reply: "Sent (6AM1B9jS000034 Message accepted for delivery)", NextID: "6AM1B9jS000034"})}},
		"a milter of Sendmail's discards": {"Nov 22 01:11:00 mx2 sendmail[47]: 6AM1B9UU000047: milter=filter1, discard",
			[]Event{{Kind: Refused, Time: time1, QueueID: "6AM1B9UU000047", Reply: "milter=filter1, discard"}}},
		"and says so of each": {"Nov 22 01:11:00 mx2 sendmail[47]: 6AM1B9UU000047: to=<alice@lab.test>, delay=00:00:00, pri=30160, stat=discarded",
			[]Event{{Kind: Copy, Time: time1, QueueID: "6AM1B9UU000047", Agent: "sendmail/", Outcome: Discarded, Address: "alice@lab.test", Reply: "discarded"}}},
		"a milter of Sendmail's refuses a recipient": {"Nov 22 01:11:00 mx2 sendmail[47]: 6AM1B9UU000047: milter=filter1, action=rcpt, reject=550 5.7.1 no", nil},
		"Sendmail is done":                           {"Nov 22 01:11:00 mx2 sendmail[43]: 6AM1B9gZ000041: done; delay=00:00:00, ntries=1", []Event{{Kind: Ended, Time: time1, QueueID: "6AM1B9gZ000041"}}},
		"a notification of Sendmail's":               {"Nov 22 01:11:00 mx2 sendmail[34]: 6AM1B9jS000031: 6AM1B9jS000034: DSN: User unknown", []Event{{Kind: Notice, Time: time1, QueueID: "6AM1B9jS000031", NextID: "6AM1B9jS000034"}}},

		"Dovecot stores": {"2026-11-22 01:11:00 lmtp(alice@lab.test)<27523><6BbOLS1BAmuDawAAg+zDdQ:R2>: Info: msgid=<alias@sender.test>: saved mail to INBOX",
			[]Event{{Kind: Stored, Time: time1, MessageID: "alias@sender.test", User: "alice@lab.test", Session: "6BbOLS1BAmuDawAAg+zDdQ:R2", Folder: "INBOX"}}},
		"Dovecot stores, by syslog": {"Nov 22 01:11:00 mx dovecot: lmtp(alice@lab.test)<27523><6BbOLS1BAmuDawAAg+zDdQ>: msgid=<alias@sender.test>: saved mail to INBOX",
			[]Event{{Kind: Stored, Time: time1, MessageID: "alias@sender.test", User: "alice@lab.test", Session: "6BbOLS1BAmuDawAAg+zDdQ", Folder: "INBOX"}}},
		"Sieve keeps": {"2026-11-22 01:11:00 lmtp(bob@lab.test)<8687><UsoCBPVDAmvvIQAAg+zDdQ>: Info: sieve: msgid=<two@sender.test>: stored mail into mailbox 'INBOX'",
			[]Event{{Kind: Stored, Time: time1, MessageID: "two@sender.test", User: "bob@lab.test", Session: "UsoCBPVDAmvvIQAAg+zDdQ", Folder: "INBOX"}}},
		"Sieve files": {"Nov 22 01:11:00 lmtp(alice@lab.test)<27291><J9DFFyRBAmubagAAg+zDdQ>: Info: sieve: msgid=<news@sender.test>: fileinto action: stored mail into mailbox 'Lists/News, to=<x> '",
			[]Event{{Kind: Stored, Time: time1, MessageID: "news@sender.test", User: "alice@lab.test", Session: "J9DFFyRBAmubagAAg+zDdQ", Folder: "Lists/News, to=<x> "}}},
		"a Message-ID that plays a folder": {`Nov 22 01:11:00 lmtp(alice@lab.test)<27291><J9D>: Info: sieve: msgid=<"x>: forwarded to <a@b>: stored mail into mailbox 'Trash'"@s>: stored mail into mailbox 'INBOX'`,
			[]Event{{Kind: Stored, Time: time1, MessageID: `"x>: forwarded to <a@b>: stored mail into mailbox 'Trash'"@s`, User: "alice@lab.test", Session: "J9D", Folder: "INBOX"}}},
		"a login with brackets": {`Nov 22 01:11:00 lmtp(a)<b)<1><x>: @lab.test)<27291><J9D>: Info: msgid=unspecified: saved mail to INBOX`, nil},
		"Sieve sends on": {"2026-11-22 01:11:00 lmtp(bob@lab.test)<8674><xrv+AfVDAmviIQAAg+zDdQ>: Info: sieve: msgid=<away@sender.test>: redirect action: forwarded to <bob@outside.test>",
			[]Event{{Kind: Forward, Time: time1, MessageID: "away@sender.test", User: "bob@lab.test", Session: "xrv+AfVDAmviIQAAg+zDdQ", Address: "bob@outside.test"}}},
		"Sieve refuses": {"2026-11-22 01:11:00 lmtp(bob@lab.test)<8684><Yq+GA/VDAmvsIQAAg+zDdQ>: Info: sieve: msgid=<rej@sender.test>: reject action: rejected message from <s@sender.test> (reject)",
			[]Event{{Kind: Rejected, Time: time1, MessageID: "rej@sender.test", User: "bob@lab.test", Session: "Yq+GA/VDAmvsIQAAg+zDdQ"}}},
		"Sieve discards": {"2026-11-22 01:11:00 lmtp(bob@lab.test)<27254><6NlkGiRBAmt2agAAg+zDdQ>: Info: sieve: msgid=<drop@sender.test>: discard action: Marked message to be discarded if not explicitly delivered (discard action)",
			[]Event{{Kind: Dropped, Time: time1, MessageID: "drop@sender.test", User: "bob@lab.test", Session: "6NlkGiRBAmt2agAAg+zDdQ"}}},
		"a vacation":        {"2026-11-22 01:11:00 lmtp(carol@lab.test)<8684><sAH>: Info: sieve: msgid=<vac@sender.test>: vacation action: sent vacation response to <s@sender.test>", nil},
		"a failed redirect": {"2026-11-22 01:11:00 lmtp(bob@lab.test)<27350><sLB>: Error: sieve: msgid=<copy@sender.test>: redirect action: failed to redirect message to <bob@outside.test>: Sendmail program returned error (temporary failure)", nil},
		"POP3 takes": {"2026-11-22 01:11:00 pop3(popper@lab.test)<8687><UsoCBPVDAmvvIQAAg+zDdQ>: Info: Disconnected: Logged out top=0/0, retr=2/1424, del=5/6, size=4300",
			[]Event{{Kind: Taken, Time: time1, User: "popper@lab.test", Session: "UsoCBPVDAmvvIQAAg+zDdQ"}}},
		"POP3 takes, by syslog": {"Nov 22 01:11:00 mx dovecot: pop3(pop)<8687><Uso>: Disconnected: Logged out top=0/0, retr=0/0, del=12/12, size=4300",
			[]Event{{Kind: Taken, Time: time1, User: "pop", Session: "Uso"}}},
		"POP3 leaves it":       {"2026-11-22 01:11:00 pop3(pop)<8687><Uso>: Info: Disconnected: Logged out top=0/0, retr=2/1424, del=0/6, size=4300", nil},
		"POP3 ends in between": {"2026-11-22 01:11:00 pop3(pop)<8687><Uso>: Info: Disconnected: Connection closed top=0/0, retr=2/1424, del=5/6, size=4300", nil},
		"POP3 as it likes":     {"2026-11-22 01:11:00 pop3(pop)<8687><Uso>: Info: Disconnected: Logged out deleted 5", nil},
		"an LMTP that plays":   {"2026-11-22 01:11:00 lmtp(pop)<8687><Uso>: Info: Disconnected: Logged out top=0/0, retr=2/1424, del=5/6, size=4300", nil},
		"mail_log":             {"2026-11-22 01:11:00 lmtp(bob@lab.test)<8687><Uso>: Info: save: box=A, uid=1, msgid=<two@sender.test>: saved mail to X, size=712, from=Sender <s@sender.test>, subject=two", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(c.line); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s\ngot  %+v\nwant %+v", c.line, got, c.want)
			}
		})
	}
}

func TestEveryUsualFrontOfALineIsRead(t *testing.T) {
	const message = "4jX9xc3QL0z1VkkB: removed"
	for line, want := range map[string]time.Time{
		"Nov 22 01:11:00 mx postfix/qmgr[1]: ":                                                       at(1, 11, 0),
		"Nov  2 01:11:00 mx postfix/qmgr[1]: ":                                                       time.Date(2026, 11, 2, 1, 11, 0, 0, time.UTC),
		"<22>Nov 22 01:11:00 mx postfix/qmgr[1]: ":                                                   at(1, 11, 0),
		"2026-11-22T01:11:00.123456+01:30 mx postfix/qmgr[1]: ":                                      at(1, 11, 0).Add(-90*time.Minute + 123456*time.Microsecond),
		"2026-11-22T01:11:00Z mx postfix/qmgr[1]: ":                                                  at(1, 11, 0),
		"2026-11-22T01:11:00-08:00 mx postfix-out/qmgr[1]: ":                                         at(9, 11, 0),
		"2026-11-22 01:11:00 mx postfix/qmgr[1]: ":                                                   at(1, 11, 0),
		"<22>1 2026-11-22T01:11:00.5Z mx postfix/qmgr 12 - - ":                                       at(1, 11, 0).Add(time.Second / 2),
		`<22>1 2026-11-22T01:11:00Z mx postfix/qmgr 12 id [a b="x] \"y"][c d="e"] ` + "\xef\xbb\xbf": at(1, 11, 0),
		"Dec 31 23:59:59 mx postfix/qmgr[1]: ":                                                       time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC),
		"Nov 23 01:11:00 mx postfix/qmgr[1]: ":                                                       at(25, 11, 0),
		"\x00\x00Nov 22 01:11:00 mx postfix/qmgr[1]: ":                                               at(1, 11, 0),
	} {
		got := parse(line + message)
		if len(got) != 1 || got[0].Kind != Ended || !got[0].Time.Equal(want) {
			t.Errorf("%q: %+v, want one at %s", line, got, want)
		}
	}
	for _, line := range []string{"", "<", "<22>", "Nov 22 01:11", "Nov 22 01:11:00", "Nov 22 01:11:00 mx", "Foo 22 01:11:00 mx postfix/qmgr[1]: ", "Nov 32 01:11:00 mx postfix/qmgr[1]: ", "Nov 22 25:11:00 mx postfix/qmgr[1]: ",
		"2026-13-22T01:11:00Z mx postfix/qmgr[1]: ", "<22>1 2026-11-22T01:11:00Z mx postfix/qmgr 12 - [", "Nov 22 01:11:00 mx a b postfix/qmgr[1]: ", "Nov 22 01:11:00 mx postfix/qmgr[1] "} {
		if got := parse(line + message); got != nil {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

func TestDecemberIsLastYearsInJanuary(t *testing.T) {
	p := Parser{Location: time.UTC}
	line := []byte("Dec 31 23:59:59 mx postfix/qmgr[1]: 0F5383D: removed")
	for asOf, year := range map[time.Time]int{
		time.Date(2027, 1, 1, 0, 0, 5, 0, time.UTC):     2026,
		time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC): 2026, // a clock that is a little behind
		time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC):   2025,
	} {
		if got := p.Parse(nil, line, asOf); len(got) != 1 || got[0].Time.Year() != year {
			t.Errorf("as of %s: %+v, want the year %d", asOf, got, year)
		}
	}
}

func TestALineThatIsTooLongIsNoEvent(t *testing.T) {
	line := "Nov 22 01:11:00 mx postfix/cleanup[1]: 0F5383D: message-id=<" + strings.Repeat("a", MaxLine) + ">"
	if got := parse(line); got != nil {
		t.Errorf("%d events", len(got))
	}
}

// The samples are others' lines without the program's name.
func TestSampleLinesOfPostfixAreRead(t *testing.T) {
	dir := "../../../../shared/samples/logs/postfix-grok"
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Skip("shared/samples is not there")
	}
	events := 0
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		agent, _, _ := strings.Cut(filepath.Base(name), "_")
		if agent == "relay" || agent == "tls" {
			agent = "smtp"
		}
		for line := range strings.Lines(string(content)) {
			data, ok := strings.CutPrefix(line, `data: "`)
			if !ok {
				continue
			}
			data = strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(data), `"`), `\"`, `"`)
			got := ParseMessage(nil, asOf, []byte("postfix/"+agent), []byte(data))
			events += len(got)
			if strings.Contains(data, ": to=<") && strings.Contains(data, "status=") && !strings.Contains(data, "undeliverable") && strings.Contains(data, "relay=") && len(got) != 1 {
				t.Errorf("%s: %d events in %s", filepath.Base(name), len(got), data)
			}
		}
	}
	if events < 20 {
		t.Errorf("only %d events", events)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"Nov 22 01:11:00 mx postfix/lmtp[27286]: 4jX9xc2YzNz1Vkhj: to=<bob@lab.test>, orig_to=<team@lab.test>, relay=a[192.0.2.1]:24, conn_use=2, delay=0.06, delays=0/0.02/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 <bob@lab.test> +Miv:R2 Saved)",
		"Nov 22 01:11:00 mx2 sendmail[32]: 6AM1B9AH000030: to=<carol@lab.test>,alice@lab.test, ctladdr=<a@b> (8/0), delay=00:00:00, xdelay=00:00:00, mailer=lmtp, pri=90458, relay=[192.0.2.7] [192.0.2.7], dsn=2.0.0, stat=Sent",
		"Nov 22 01:11:00 mx2 sendmail[27]: 6AM1B9rp000027: from=<s@sender.test>, size=139, class=0, nrcpts=1, msgid=<plain@sender.test>, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]",
		"2026-11-22 01:11:00 lmtp(bob@lab.test)<8674><xrv>: Info: sieve: msgid=<away@sender.test>: redirect action: forwarded to <bob@outside.test>",
		`<22>1 2026-11-22T01:11:00Z mx postfix/qmgr 12 id [a b="x] \"y"][c d="e"] 0F5383D: removed`,
		"Nov 22 01:11:00 mx postfix/lmtp[1]: 0F5383D: to=<\"",
		"Nov 22 01:11:00 mx postfix/lmtp[1]: 0F5383D: to=<a>, relay=x, delay=0, dsn=2.0.0, status=sent (250 2.0.0 < Saved)",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		p := Parser{Location: time.UTC}
		before := bytes.Clone(line)
		for _, e := range p.Parse(nil, line, asOf) {
			if e.Kind == 0 || e.QueueID == "" && e.User == "" && e.Session == "" && e.Kind < Stored {
				t.Errorf("an event of nothing: %+v", e)
			}
			if e.Kind == Copy && (e.Outcome == 0 || e.Agent == "") {
				t.Errorf("a copy without outcome: %+v", e)
			}
			if e.NextID != "" && !isQueueID(e.NextID) {
				t.Errorf("%q is no queue ID", e.NextID)
			}
			if len(e.Reply) > MaxReply {
				t.Errorf("a reply of %d bytes", len(e.Reply))
			}
			// Outside quotes an address cannot hold what would look like a field.
			if a := e.Address; e.Kind == Copy && !strings.HasPrefix(e.Agent, SendmailAgent) && !strings.HasPrefix(a, `"`) && strings.ContainsAny(a, " <>,") {
				t.Errorf("an address %q", a)
			}
		}
		if !bytes.Equal(before, line) {
			t.Error("the line was changed")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, line := range map[string]string{
		"Copy":    "Nov 22 01:11:00 mx postfix/lmtp[27286]: 4jX9xc2YzNz1Vkhj: to=<bob@lab.test>, orig_to=<team@lab.test>, relay=192.0.2.7[192.0.2.7]:24, delay=0.06, delays=0/0.02/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 <bob@lab.test> +MivFiRBAmt2agAAg+zDdQ:R2 Saved)",
		"Connect": "Nov 22 01:11:00 mx postfix/smtpd[27261]: disconnect from mail.sender.test[203.0.113.9] ehlo=2 xclient=0/1 mail=1 rcpt=1 data=1 commands=5/6",
		"Other":   "Nov 22 01:11:00 mx kernel: eth0: link is up",
	} {
		b.Run(name, func(b *testing.B) {
			p := Parser{Location: time.UTC}
			raw, dst := []byte(line), make([]Event, 0, 1)
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				dst = p.Parse(dst[:0], raw, asOf)
			}
		})
	}
}
