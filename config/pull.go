package config

// Pull is the whole configuration of the sidecar, weir pull: a file of its own,
// pull.toml, since the sidecar may run on another host and under another user than
// the daemon. Make one with DefaultPull, ParsePull or LoadPull.
//
// The comments below are the reference that users read; for the tags see Config.
type Pull struct {
	// A daemon whose jobs are done. There may be any number: write one section for each, two MX are two daemons.
	Daemons []PullDaemon `toml:"daemon"`

	// A mail store in which mailboxes are. There may be any number: the first one whose match fits a mailbox has it.
	Stores []PullStore `toml:"store"`

	// What the work may cost, and how long it may take.
	Limits PullLimits `toml:"limits"`

	// Prometheus metrics and health endpoints.
	Metrics PullMetrics `toml:"metrics"`

	// The sidecar's log.
	Log Log `toml:"log"`

	source source
}

// PullDaemon is a section [[daemon]].
type PullDaemon struct {
	// What it is called in logs and metrics. Empty: its address.
	Name string `toml:"name" example:"\"mx1\""`

	// Where it is reached: `unix:PATH` is its control socket (`control.listen` in weir.toml, which has to name the sidecar's user in `control.pullers`), `https://HOST:PORT` is its listener for other hosts (`control.remote_listen`).
	Address DaemonAddress `toml:"address" example:"\"unix:/run/weir/control.sock\"" default:"none; it is needed"`

	// The authorities that may have signed the daemon's certificate, in PEM. Needed with `https:`.
	CAFile Path `toml:"ca_file"`

	// The sidecar's certificate, in PEM. Needed with `https:`. It is read anew when the file changes.
	CertFile Path `toml:"cert_file"`

	// Its key, in PEM, in a file that only the sidecar's user can read.
	KeyFile Path `toml:"key_file"`

	// The name in the daemon's certificate. Empty: that of the address.
	TLSName string `toml:"tls_name"`

	// Jobs that are fetched at once, most of which wait for a connection. Those for one mailbox are done one after the other, on one connection where the next one comes in time: so this is best more than the number of mailboxes that have jobs at a time.
	Leases int `toml:"leases" range:"1..1000"`
}

// PullStore is a section [[store]].
type PullStore struct {
	// What it is called in logs and metrics. Empty: its address or root.
	Name string `toml:"name" example:"\"imap1\""`

	// How mailboxes are reached: `imap` is a server, `maildir` are folders on the local disk.
	Type StoreType `toml:"type" oneof:"imap maildir"`

	// The mailboxes that are here, by the name with which their owners log in; `*` stands for any text. Upper and lower case are one.
	Match []LoginPattern `toml:"match" example:"[\"*@example.org\", \"*@example.net\"]"`

	// imap: the server, `HOST:PORT`.
	Address Endpoint `toml:"address" example:"\"imap.example.org:993\""`

	// imap: `tls` from the first byte on (port 993), `starttls` before anything else (port 143), or `plaintext`, which a loopback address alone may have.
	Security StoreSecurity `toml:"security" oneof:"tls starttls plaintext"`

	// imap: the authorities that may have signed the server's certificate, in PEM. Empty: the system's.
	CAFile Path `toml:"ca_file"`

	// imap: the name in the server's certificate. Empty: that of the address.
	TLSName string `toml:"tls_name"`

	// imap: how the sidecar gets into a mailbox. `master` is LOGIN as `user*master` (a master user of Dovecot), `plain` is AUTHENTICATE PLAIN with the mailbox's owner as the identity to act as, `xoauth2` is a token, and `login` is LOGIN as the owner, with one password for all.
	Auth StoreAuth `toml:"auth" oneof:"master plain xoauth2 login"`

	// imap: who logs in for all others, with `master` and `plain`.
	Master string `toml:"master" example:"\"weir-pull\""`

	// imap: what stands between owner and master with `master` (Dovecot: `auth_master_user_separator`).
	Separator string `toml:"separator"`

	// imap: a file with the password, or the token, alone, which only the sidecar's user can read. It is read anew at every login.
	SecretFile Path `toml:"secret_file" example:"\"/etc/weir/pull.secret\""`

	// imap: a mailbox that is surely there. A server says the same of a wrong password and of a mailbox that does not exist: this one tells them apart. With `maildir` it is for `weir pull check` alone.
	Probe string `toml:"probe" example:"\"weir-probe@example.org\""`

	// imap: folders that are left out, each with all below it: those that the server makes of what lies in others and does not say so (Dovecot's virtual plugin).
	Skip []string `toml:"skip" example:"[\"virtual\"]"`

	// imap: how long the server may take for the answer to one command.
	Timeout Duration `toml:"timeout" range:"1s..30m"`

	// imap: doveadm's HTTP API of the same Dovecot, `HOST:PORT`. With it, a mailbox is searched by one request rather than folder by folder; all else goes by IMAP all the same. Empty: not used.
	DoveadmAddress Endpoint `toml:"doveadm_address"`

	// imap: `tls` or, which a loopback address alone may have, `plaintext`. `ca_file` and `tls_name` count here, too.
	DoveadmSecurity StoreSecurity `toml:"doveadm_security" oneof:"tls plaintext"`

	// imap: a file with doveadm_api_key alone, which only the sidecar's user can read.
	DoveadmKeyFile Path `toml:"doveadm_key_file"`

	// maildir: the folder that holds all mailboxes.
	Root Path `toml:"root" example:"\"/var/vmail\""`

	// maildir: where below it a mailbox is; `%u` is the whole name, `%n` the part before the @, `%d` the part after it.
	Layout string `toml:"layout" example:"\"%d/%n/Maildir\""`

	// Mailboxes that are open at once. With imap they are connections (Dovecot: `process_limit` of `service imap` has to leave room for the users themselves).
	Connections int `toml:"connections" range:"1..1000"`

	// The largest message that is taken out or put back.
	MaxMessage Bytes `toml:"max_message" range:"64KiB..2GiB"`
}

// PullLimits is the section [limits].
type PullLimits struct {
	// Memory for messages on their way, all jobs together. Reading a message takes about as much again, and small ones are read a quarter of a megabyte ahead on each IMAP connection. A larger message has it alone.
	Memory Bytes `toml:"memory" range:"1MiB..1TiB"`

	// How long one job may take. One whose time is up counts as unreachable, and is tried again.
	JobTimeout Duration `toml:"job_timeout" range:"10s..24h"`

	// How long a job waits for a mail store, or a daemon, that does not answer. A store is left alone for a while that grows to a minute; jobs that would have to wait longer are reported as unreachable at once.
	Patience Duration `toml:"patience" range:"100ms..5m"`

	// How long a connection stays open for the next job in the same mailbox.
	Linger Duration `toml:"linger" range:"0s..10m"`

	// At shutdown: how long jobs may take to end the step that they are at.
	DrainTimeout Duration `toml:"drain_timeout" range:"0s..1h"`
}

// PullMetrics is the section [metrics] of pull.toml.
type PullMetrics struct {
	// Where `/metrics` and `/healthz` are served, to this host alone: `127.0.0.1:PORT` or `unix:PATH`. Empty: nowhere.
	Listen Listen `toml:"listen" example:"\"127.0.0.1:9492\""`
}
