package config

import (
	"net/netip"
	"path/filepath"
	"time"
)

const day = 24 * time.Hour

// Default gives the configuration of an empty file. Its relative paths are
// relative to a folder that is not known yet; Parse and Load make them absolute.
func Default() *Config {
	c := &Config{
		State: State{
			Dir:     "/var/lib/weir",
			MinFree: 1 << 30,
		},
		Milter: Milter{
			Listen:             []Listen{{Network: "unix", Address: "/var/spool/postfix/weir/weir.sock"}},
			SocketGroup:        "postfix",
			SocketMode:         0o660,
			MaxSessions:        500,
			MaxRecipients:      10_000,
			MessageSizeLimit:   128 << 20,
			Oversize:           OversizeReject,
			IdleTimeout:        Duration(10 * time.Minute),
			TransactionTimeout: Duration(2*time.Hour + 10*time.Second), // as in libmilter
			ReadTimeout:        Duration(10 * time.Minute),
			WriteTimeout:       Duration(30 * time.Second),
			AnswerTimeout:      Duration(4 * time.Minute),
			ProgressInterval:   Duration(5 * time.Second),
			DrainTimeout:       Duration(30 * time.Second),
			MemoryPerMessage:   4 << 20,
			MemoryTotal:        256 << 20,
		},
		Control: Control{
			Listen:     Listen{Network: "unix", Address: "/run/weir/control.sock"},
			SocketMode: 0o660,
		},
		Metrics: Metrics{
			Listen: Listen{Network: "tcp", Address: "127.0.0.1:9490"},
		},
		Log: Log{Format: LogConsole, Level: LogInfo},
		Mail: Mail{
			InternalNetworks: []Prefix{
				{netip.MustParsePrefix("127.0.0.0/8")},
				{netip.MustParsePrefix("::1/128")},
			},
			RecipientDelimiter: "+",
		},
		Lists: Lists{Dir: "lists"},
		Policy: Policy{
			Mode:      PolicyEnforce,
			OnError:   OnErrorTempfail,
			CostLimit: 1_000_000,
		},
		Quarantine: Quarantine{
			Retention: Duration(30 * day),
			MaxSize:   20 << 30,
		},
		Journal: Journal{
			Retention: Duration(60 * day),
			Lookback:  Duration(30 * day),
			MaxSize:   20 << 30,
		},
		Incident: Incident{
			Automatic:     []SourcePattern{"list:*", "operator:*"},
			MaxDeliveries: 500,
			MaxHourly:     2000,
			ApprovalFor:   Duration(day),
			Mailbox:       "%u",
			QueueLifetime: Duration(5 * day),
		},
		Share: Share{
			Title: "Confirmed by Weir", TLP: "green", MaxTLP: "green", Expiry: Duration(90 * day), Lists: []string{"block/operator.txt"},
		},
		Reinject: Reinject{
			Timeout: Duration(10 * time.Minute),
			Inbound: Route{
				Address: Endpoint{Network: "unix", Address: "/var/spool/postfix/public/weir-inbound"},
				TLS:     TLSOff,
			},
			Outbound: Route{
				Address: Endpoint{Network: "unix", Address: "/var/spool/postfix/public/weir-outbound"},
				TLS:     TLSOff,
			},
		},
		Limits: Limits{
			HeaderBytes:   1 << 20,
			HeaderFields:  2000,
			Depth:         64,
			Parts:         2000,
			URLs:          4096,
			URLBytes:      8192,
			TextBytes:     32 << 20,
			ArchiveFiles:  1000,
			ArchiveBytes:  256 << 20,
			ArchiveRatio:  200,
			Defects:       256,
			AddressFields: 1000,
		},
	}
	c.derive()
	return c
}

// derive fills in what follows from other keys where it is not set itself.
func (c *Config) derive() {
	if c.Milter.SpoolDir == "" {
		c.Milter.SpoolDir = Path(filepath.Join(string(c.State.Dir), "spool"))
	}
}
