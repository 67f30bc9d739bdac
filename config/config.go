package config

// Config is the whole configuration. Make one with Default, Parse or Load; the
// zero Config is not valid.
//
// The comments below are the reference that users read. Tags: toml is the key;
// range the least and greatest value; oneof the words allowed; live marks a key
// whose new value a running daemon takes at reload; example is a TOML value;
// default describes a default that is made from another key.
type Config struct {
	// Where Weir keeps what it must not lose.
	State State `toml:"state"`

	// The socket to which the MTA connects, and what one message may cost there.
	Milter Milter `toml:"milter"`

	// The socket on which the command line and other programs speak to the daemon, and who may do what there.
	Control Control `toml:"control"`

	// Prometheus metrics and health endpoints.
	Metrics Metrics `toml:"metrics"`

	// The daemon's log, on standard error. Lines are written up to 100 ms late, many at once;
	// a warning or an error, and what is before it, at once.
	Log Log `toml:"log"`

	// What is ours: domains, networks and hosts. The direction of a message follows from it.
	Mail Mail `toml:"mail"`

	// The list files.
	Lists Lists `toml:"lists"`

	// What others publish and is fetched on a schedule: indicators that count beside the lists. There may be any number: write one section for each.
	Feeds []Feed `toml:"feed"`

	// The rules that turn what is known of a message into a verdict.
	Policy Policy `toml:"policy"`

	// People: names, groups, who is worth impersonating.
	Directory Directory `toml:"directory"`

	// Messages that are held.
	Quarantine Quarantine `toml:"quarantine"`

	// What was seen and let through, so that it can be found again.
	Journal Journal `toml:"journal"`

	// Where each copy of a message really went: the logs of MTA and mailbox server.
	Delivery Delivery `toml:"delivery"`

	// What happens when mail that was let through turns out to be bad: which copies are pulled out of mailboxes at once, which wait for a person, and which are never touched. The work in the mailboxes is done by `weir pull`, a process of its own; without one, incidents only say what would be pulled.
	Incident Incident `toml:"incident"`

	// Who may allow what is blocked.
	Unblock Unblock `toml:"unblock"`

	// Who is told by mail what became of a request to unblock: whoever named an address with it (`weir intel unblock --request --notify ADDRESS`), once it is approved or refused.
	Notify Notify `toml:"notify"`

	// What is confirmed here, for peers: indicators that incidents rest on, as a collection of TAXII 2.1 that they read as a feed. Never more than the indicator: no note, no case, no mail; and nothing that is ours: no domain, network or person of `mail` and `directory`, no link that carries an address.
	Share Share `toml:"share"`

	// How a released message goes back to the MTA.
	Reinject Reinject `toml:"reinject"`

	// What one message may contain before Weir stops looking. What a limit cuts off is a defect that the policy sees; the message is judged all the same.
	Limits Limits `toml:"limits"`

	source source
}

// State is the section [state].
type State struct {
	// The folder of the logs, the held messages, the indexes and the keys. It belongs to the user that the daemon runs as, lies on a local disk, and serves one daemon at a time.
	Dir Path `toml:"dir"`

	// When less than this is free on the disk of `state.dir`, mail gets the answer of `policy.on_error`. Half of it is left for what operators do to make room, and for indexes, which write in the background.
	MinFree Bytes `toml:"min_free" range:"1GiB..1TiB"`
}

// Milter is the section [milter].
type Milter struct {
	// Where the MTA connects: `unix:PATH`, `ADDRESS:PORT`, or `systemd:NAME` for a socket that systemd hands over (`FileDescriptorName=NAME`). A unix socket is several times faster than TCP and lets only its group in; milter over TCP has no authentication at all. The default lies inside the chroot of Debian's smtpd, which calls it `unix:weir/weir.sock`.
	Listen []Listen `toml:"listen" example:"[\"unix:/var/spool/postfix/weir/weir.sock\", \"127.0.0.1:8891\"]"`

	// The group that may connect to the unix sockets. Empty: the group of the daemon.
	SocketGroup string `toml:"socket_group"`

	// The mode of the unix sockets.
	SocketMode Mode `toml:"socket_mode" range:"0600..0777"`

	// Connections served at once. On those beyond it, up to twice the number, every message is answered with 451; further ones are closed. Above the number of the MTA's smtpd processes (Postfix: `default_process_limit`) it is never reached.
	MaxSessions int `toml:"max_sessions" range:"1..100000"`

	// Recipients of one message; one with more is answered with 452, since none of them may be forgotten.
	MaxRecipients int `toml:"max_recipients" range:"1..1000000"`

	// The largest message that Weir looks at. It should not be smaller than what the MTA takes (Postfix: `message_size_limit`).
	MessageSizeLimit Bytes `toml:"message_size_limit" range:"64KiB..2GiB"`

	// What becomes of a larger message: `reject` tells the sender that it is too big, `tempfail` lets it come again until the sender's MTA gives up, `accept` lets it pass unseen. It cannot be held, since its exact bytes were not kept.
	Oversize Oversize `toml:"oversize" oneof:"accept tempfail reject"`

	// How long the MTA may say nothing between two messages of a session. Keep it above the MTA's own SMTP timeout (Postfix: `smtpd_timeout`, 300s): an MTA that finds its session gone does what its default action says.
	IdleTimeout Duration `toml:"idle_timeout" range:"10s..24h"`

	// How long the MTA may say nothing between the sender of a message and its content. It is silent there while the SMTP client sends, which can take long.
	TransactionTimeout Duration `toml:"transaction_timeout" range:"10s..24h"`

	// How long the MTA may say nothing while it hands over the content of a message.
	ReadTimeout Duration `toml:"read_timeout" range:"1s..1h"`

	// How long the MTA may take to read an answer.
	WriteTimeout Duration `toml:"write_timeout" range:"1s..1h"`

	// How long judging and storing a message may take; after that it is answered with 451. Keep it below what the MTA waits (Postfix: `milter_content_timeout`, 300s).
	AnswerTimeout Duration `toml:"answer_timeout" range:"1s..1h"`

	// How often the MTA is told that work on a message goes on, so that it keeps waiting. Sendmail gives up after ten seconds without a word (`T=R:10s`).
	ProgressInterval Duration `toml:"progress_interval" range:"100ms..5m"`

	// At shutdown: how long sessions in the middle of a message may go on before they are cut.
	DrainTimeout Duration `toml:"drain_timeout" range:"0s..1h"`

	// Memory for the content of one message; what is beyond it goes to a file in `milter.spool_dir`.
	MemoryPerMessage Bytes `toml:"memory_per_message" range:"16KiB..1GiB"`

	// Memory for the content of all messages together. When it is used up, messages go to files from their first byte.
	MemoryTotal Bytes `toml:"memory_total" range:"1MiB..1TiB"`

	// The folder of the spool files. They have no names and are gone when the daemon ends; nothing in them has to survive.
	SpoolDir Path `toml:"spool_dir" default:"the folder spool in state.dir"`
}

// Control is the section [control].
type Control struct {
	// The socket: `unix:PATH` or `systemd:NAME`. The command line finds it here too.
	Listen Listen `toml:"listen"`

	// The group that may connect; the user that the daemon runs as has to be a member of it, too. Empty: the group of the daemon. What somebody may do there is decided by the roles below, not by this.
	SocketGroup string `toml:"socket_group" example:"\"mailops\""`

	// The mode of the socket.
	SocketMode Mode `toml:"socket_mode" range:"0600..0777"`

	// Who may look at lists, verdicts and listings, but not at held messages: `user:NAME` or `group:NAME`.
	Viewers []Principal `toml:"viewers" live:"" example:"[\"group:helpdesk\"]"`

	// Who may also look at held messages, release and delete them, search the journal and read the ledger.
	Operators []Principal `toml:"operators" live:"" example:"[\"user:alice\", \"group:mailops\"]"`

	// Who may do everything: reload, back up and verify the ledger as well. Root and the user that the daemon runs as always may.
	Admins []Principal `toml:"admins" live:"" example:"[\"user:alice\"]"`

	// Who may do the work in mailboxes (`weir pull`): fetch jobs, hand over what was pulled, get what goes back, and report; and nothing else. `cert:NAME` is who shows a certificate with this common name to `control.remote_listen`.
	Pullers []Principal `toml:"pullers" live:"" example:"[\"user:weir-pull\", \"cert:imap1.example.org\"]"`

	// Where `weir pull` on other hosts connects: `ADDRESS:PORT` (`192.0.2.10:9491`) or `systemd:NAME`, over TLS with certificates on both sides. Nothing but the work in mailboxes is offered there. Empty: nowhere.
	RemoteListen Listen `toml:"remote_listen"`

	// The certificate that is shown there, in PEM. It is read anew when the file changes.
	RemoteCertFile Path `toml:"remote_cert_file" example:"\"/etc/weir/control.pem\""`

	// Its key, in PEM.
	RemoteKeyFile Path `toml:"remote_key_file" example:"\"/etc/weir/control.key\""`

	// The authorities whose certificates `weir pull` has to show there, in PEM. Best is one of your own that signs nothing else.
	RemoteCAFile Path `toml:"remote_ca_file" example:"\"/etc/weir/pull-ca.pem\""`
}

// Metrics is the section [metrics].
type Metrics struct {
	// Where `/metrics`, `/healthz` and `/readyz` are served: `ADDRESS:PORT`, `unix:PATH` or `systemd:NAME`. Empty: nowhere.
	Listen Listen `toml:"listen"`

	// Metrics have no authentication; an address that other hosts can reach is refused unless this is true.
	AllowRemote bool `toml:"allow_remote"`
}

// Log is the section [log]. The log goes to standard error.
type Log struct {
	// `console` is for reading, `json` for machines.
	Format LogFormat `toml:"format" oneof:"console json"`

	// The least important lines that are written.
	Level LogLevel `toml:"level" oneof:"debug info warn error" live:""`
}

// Mail is the section [mail].
type Mail struct {
	// The domains whose mailboxes are here or behind this host. `.example.org` stands for the domain and all below it.
	LocalDomains []Domain `toml:"local_domains" live:"" example:"[\"example.org\", \".example.net\"]"`

	// A file with more of them, one a line; what follows a domain on its line is left alone, so that a Postfix map (`example.org OK`) serves. `#` begins a comment.
	LocalDomainsFile Path `toml:"local_domains_file" live:"" example:"\"/etc/postfix/virtual_domains\""`

	// Networks whose hosts send our own mail without authentication, as Postfix's `mynetworks`. What comes from there, from a client that has authenticated or from this host itself is outbound, or internal when all its recipients are local.
	InternalNetworks []Prefix `toml:"internal_networks" live:"" example:"[\"127.0.0.0/8\", \"::1\", \"10.0.0.0/8\"]"`

	// Hosts that hand on the mail of others: a backup MX, a load balancer, fetchmail. The client that counts is read from the Received line that they wrote, and what would be refused is held instead, since a refusal would make them send backscatter.
	TrustedRelays []Prefix `toml:"trusted_relays" live:"" example:"[\"192.0.2.25\", \"2001:db8::/64\"]"`

	// Whose Authentication-Results fields are believed: the authserv-id of the milter before Weir, which is the MTA's host name unless it was told otherwise. That milter must remove the fields of this name that come in from outside (RFC 8601 section 5). Empty: none is believed.
	AuthservID string `toml:"authserv_id" live:"" example:"\"mx.example.org\""`

	// The characters that part a mailbox from its extension in an address (alice+shop@example.org), as Postfix's `recipient_delimiter`. Empty: there are no extensions.
	RecipientDelimiter string `toml:"recipient_delimiter" live:""`
}

// Lists is the section [lists].
type Lists struct {
	// The folder with `block/`, `allow/` and `watch/`, in which list files stand. They are read again whenever they change.
	Dir Path `toml:"dir"`
}

// Policy is the section [policy].
type Policy struct {
	// The file with the rules. Empty: the policy that Weir comes with.
	File Path `toml:"file" live:"" example:"\"policy.toml\""`

	// `enforce` does what the rules say. `observe` judges and logs, adds the headers that say what would have been done, and touches nothing else.
	Mode PolicyMode `toml:"mode" oneof:"enforce observe" live:""`

	// The answer when Weir itself fails: a full disk, a store that does not answer, no time left. `tempfail` lets the sender come again; `accept` lets mail through unseen, except what a rule had already decided to hold or refuse. What is accepted so is counted and logged.
	OnError OnError `toml:"on_error" oneof:"tempfail accept" live:""`

	// How much one rule may compute for one message, in CEL cost units. A rule that needs more has failed.
	CostLimit int `toml:"cost_limit" range:"1000..1000000000" live:""`
}

// Directory is the section [directory].
type Directory struct {
	// The file with addresses, names and groups (CSV). Its first line names the columns, in any order: `address`, of which there may be several, parted by spaces, and `@example.org` for a whole domain; `name`; `groups`, parted by spaces; `vip`, yes or no; `mailbox`, the login where it is not the address. All but `address` may be missing. A semicolon may part the columns instead of a comma, and `#` begins a comment line. Rules see it in `sender`, `rcpt` and `rcpts`. Empty: there is none.
	File Path `toml:"file" live:"" example:"\"directory.csv\""`
}

// Quarantine is the section [quarantine].
type Quarantine struct {
	// How long a held message is kept.
	Retention Duration `toml:"retention" range:"1h..3650d" live:""`

	// How much room held messages may take on disk. When it is used up nothing more is held, and mail that should be gets 451. `0` sets no bound but `state.min_free`.
	MaxSize Bytes `toml:"max_size" range:"0..1PiB"`
}

// Journal is the section [journal].
type Journal struct {
	// How long is remembered what was delivered.
	Retention Duration `toml:"retention" range:"1d..3650d" live:""`

	// How far back new knowledge is looked for in delivered mail. Nothing within it is dropped to save room.
	Lookback Duration `toml:"lookback" range:"1h..3650d" live:""`

	// How much room the journal may take on disk. Beyond it the oldest entries go, but none within `journal.lookback`: then mail gets the answer of `policy.on_error`. `0` sets no bound but `state.min_free`.
	MaxSize Bytes `toml:"max_size" range:"0..1PiB"`
}

// Delivery is the section [delivery].
type Delivery struct {
	// The logs that tell of deliveries: `file:PATH`, of which rotations by renaming or by copying and truncating are followed, or `journald:` for what systemd's journal has under the facility mail (`journald:/FOLDER` for a journal kept elsewhere). Or `syslog:tcp:ADDRESS:PORT` listens for what the syslog daemons of other hosts send (RFC 5424, and the older form), with `tls` or `udp` instead of `tcp`: let each send by a disk queue, since what comes while Weir is down is theirs to keep. Postfix, Sendmail and Dovecot's LMTP, LDA, Sieve and POP3 are understood. The daemon's user must be able to read them (Debian: group `adm`; journal: `systemd-journal`). Empty: nothing is known but the recipients of the envelope.
	Logs []DeliveryLog `toml:"logs" example:"[\"file:/var/log/mail.log\", \"journald:\"]"`

	// The hosts that may send syslog. Empty: this host alone.
	SyslogFrom []Prefix `toml:"syslog_from" example:"[\"192.0.2.25\"]"`

	// The certificate that the syslog listener shows over TLS, in PEM.
	SyslogCertFile Path `toml:"syslog_cert_file" example:"\"/etc/weir/syslog.pem\""`

	// Its key, in PEM.
	SyslogKeyFile Path `toml:"syslog_key_file" example:"\"/etc/weir/syslog.key\""`

	// The authorities whose certificates senders have to show over TLS, in PEM. Empty: senders need none.
	SyslogCAFile Path `toml:"syslog_ca_file" example:"\"/etc/weir/syslog-ca.pem\""`
}

// Incident is the section [incident].
type Incident struct {
	// The sources whose entries pull mail without a person: `list:` and the file's path below `lists.dir`, `feed:` and its name, `operator:` and who it was; a `*` stands for anything. What is not named here waits for approval.
	Automatic []SourcePattern `toml:"automatic" live:"" example:"[\"list:block/*\", \"operator:*\"]"`

	// How sure a source of `automatic` has to be of an entry, of 100, for it to pull mail without a person. An entry of which it does not say (`confidence=` in a list, `confidence` of a feed) is judged by its source alone.
	MinConfidence int `toml:"min_confidence" range:"0..100" live:""`

	// How many deliveries of one incident are pulled without a person; all of it waits for approval beyond. Above it, what a person opened needs the approval of a second one.
	MaxDeliveries int `toml:"max_deliveries" range:"1..100000" live:""`

	// How many deliveries of all incidents together are pulled without a person in an hour of the clock.
	MaxHourly int `toml:"max_hourly" range:"1..1000000" live:""`

	// How long an approval holds for what could not be tried. After that it waits for a person again.
	ApprovalFor Duration `toml:"approval_for" range:"1m..365d" live:""`

	// Mailboxes that are never touched, by address: the abuse desk, a legal hold.
	Protected []string `toml:"protected" live:"" example:"[\"abuse@example.org\", \"@legal.example.org\"]"`

	// Groups of the directory whose mailboxes are never touched.
	ProtectedGroups []string `toml:"protected_groups" live:"" example:"[\"legal-hold\"]"`

	// Groups of the directory whose copies wait for a person. `vip` also means those whom the directory marks as such.
	ApproveGroups []string `toml:"approve_groups" live:"" example:"[\"vip\"]"`

	// The login that a mailbox has where neither the delivery log nor the directory says it: `%u` is the address without its extension, `%n` its local part and `%d` its domain.
	Mailbox MailboxTemplate `toml:"mailbox" live:""`

	// How long a message can wait in the MTA's queue (Postfix: `maximal_queue_lifetime`). So long, and a day more, a copy that no log confirms is looked for.
	QueueLifetime Duration `toml:"queue_lifetime" range:"1h..365d" live:""`
}

// Unblock is the section [unblock].
type Unblock struct {
	// Who wants a value allowed does not allow it himself: he asks for it (`weir intel unblock --request`), and another operator approves it. Entries that allow something cannot be added then in any other way but by editing the lists.
	SecondPerson bool `toml:"second_person" live:""`
}

// Notify is the section [notify].
type Notify struct {
	// The address that such mail comes from, with a name before it or without. It goes to local domains by `reinject.inbound` and to all others by `reinject.outbound`, with an empty envelope sender, so that nothing answers it. What the MTA does not take is tried again for five days. Empty: nobody is written to, and no request can name an address.
	From string `toml:"from" live:"" example:"\"Weir <weir@example.org>\""`
}

// Reinject is the section [reinject].
type Reinject struct {
	// The name that Weir says in EHLO. Empty: the host's name.
	Helo string `toml:"helo" live:"" example:"\"weir.example.org\""`

	// How long the MTA may take to connect, and for each reply. RFC 5321 section 4.5.3.2 asks for ten minutes after a message.
	Timeout Duration `toml:"timeout" range:"1s..1h" live:""`

	// Where inbound and internal mail goes back: a listener without milters and without content filter.
	Inbound Route `toml:"inbound"`

	// Where outbound mail goes back: a listener whose only milter is the one that signs (DKIM).
	Outbound Route `toml:"outbound"`
}

// Route is a listener of the MTA that takes released mail from Weir and from
// nobody else: the sections [reinject.inbound] and [reinject.outbound].
type Route struct {
	// The listener: `unix:PATH` or `HOST:PORT`. It must let nobody in but Weir. Postfix's smtpd also listens on a unix socket (`weir-inbound unix n - n - - smtpd` in master.cf makes the default), which only members of the group postdrop can reach: no password is needed. Over TCP, use a password or a client certificate. Empty: mail of this direction cannot be released.
	Address Endpoint `toml:"address" live:"" example:"\"127.0.0.1:10026\""`

	// `starttls` encrypts the session and verifies the certificate of the listener.
	TLS TLSMode `toml:"tls" oneof:"off starttls" live:""`

	// The name that the listener's certificate must have. Empty: the host in the address.
	TLSName string `toml:"tls_name" live:"" example:"\"mx.example.org\""`

	// The certificates of the authorities to believe, in PEM. Empty: the system's.
	TLSCAFile Path `toml:"tls_ca_file" live:"" example:"\"/etc/weir/ca.pem\""`

	// A client certificate, in PEM, by which the listener knows Weir.
	TLSCertFile Path `toml:"tls_cert_file" live:"" example:"\"/etc/weir/client.pem\""`

	// The key of the client certificate, in PEM. Only the daemon's user should be able to read it.
	TLSKeyFile Path `toml:"tls_key_file" live:"" example:"\"/etc/weir/client.key\""`

	// The login for SMTP AUTH. Empty: none.
	Username string `toml:"username" live:"" example:"\"weir\""`

	// The file whose first line is the password. Only the daemon's user should be able to read it.
	PasswordFile Path `toml:"password_file" live:"" example:"\"/etc/weir/reinject.password\""`
}

// Limits is the section [limits].
type Limits struct {
	// Of one header, the message's own or a part's.
	HeaderBytes Bytes `toml:"header_bytes" range:"4KiB..64MiB" live:""`

	// Fields in one header.
	HeaderFields int `toml:"header_fields" range:"10..1000000" live:""`

	// Nesting: multiparts, attached messages and archives together.
	Depth int `toml:"depth" range:"1..1000" live:""`

	// Parts of one message, files in archives included.
	Parts int `toml:"parts" range:"1..1000000" live:""`

	// Distinct URLs kept of one message.
	URLs int `toml:"urls" range:"1..1000000" live:""`

	// Of one URL as written.
	URLBytes Bytes `toml:"url_bytes" range:"256..1MiB" live:""`

	// Decoded text in which URLs are looked for, of one message.
	TextBytes Bytes `toml:"text_bytes" range:"64KiB..2GiB" live:""`

	// Files in one archive.
	ArchiveFiles int `toml:"archive_files" range:"1..1000000" live:""`

	// What the archives of one message may inflate to.
	ArchiveBytes Bytes `toml:"archive_bytes" range:"64KiB..64GiB" live:""`

	// Inflated to packed size of one archived file beyond its first MiB.
	ArchiveRatio int `toml:"archive_ratio" range:"2..100000" live:""`

	// Defects noted of one message.
	Defects int `toml:"defects" range:"16..100000" live:""`

	// Addresses read from one header field.
	AddressFields int `toml:"address_fields" range:"1..1000000" live:""`
}
