// Package lab runs real mail software for tests and for the bench: Postfix,
// Sendmail, Dovecot, OpenDKIM and rspamd, each with its own configuration,
// folders, log and loopback ports, as many of each as a test wants, beside each
// other and beside what the host itself runs.
//
//	l := lab.Start(t, lab.NeedPostfix, lab.NeedDovecot)
//	mailboxes, err := l.Dovecot(lab.DovecotOptions{Users: []string{"alice@lab.test"}})
//	mta, err := l.Postfix(lab.PostfixOptions{
//		Domains:   []string{"lab.test"},
//		DeliverTo: mailboxes.LMTP(),
//		Milters:   []string{"unix:" + socket},
//	})
//	client, err := smtptest.Dial(ctx, mta.Addr(""), smtptest.Options{})
//	…
//	mails, err := mailboxes.Wait(ctx, "alice@lab.test", "INBOX", 1)
//
// Package smtptest is the SMTP client and the SMTP and LMTP sink; command
// install fetches what is missing. Sockets that a server shall reach lie in
// Lab.Dir: the folders of testing.TB.TempDir are closed to the servers' users, and
// Sendmail sees nothing else of the folder for temporary files.
//
// WEIR_REQUIRE_E2E=1 makes tests fail instead of being skipped when something is
// missing, WEIR_LAB_KEEP=1 keeps the folders of labs, WEIR_LAB_CACHE names the
// folder in which Sendmail is unpacked.
//
// What a lab starts, it ends: when the test is over, when it fails, and when
// the test's process is killed. Each server leads a process group of its own,
// which a small guardian process kills when the test's process is gone;
// Sendmail, whose deliveries leave their group, has a PID namespace that ends
// with it. The test's process becomes a subreaper (prctl(2)), so that what a
// server leaves behind is reaped there and nothing stays as a zombie.
//
// A lab takes a random address in 127.0.0.0/8 and keeps it from other labs by a
// listener; its servers get ports of that address. Tests in several processes
// therefore don't meet, and a port that was free stays free until its server has it.
//
// It needs root, since Postfix does: its parts run under different users. The
// folder's name is short, because the path of a unix socket has room for 107 bytes.
package lab
