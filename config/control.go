package config

import "fmt"

// checkControl checks who may use the control socket, and its listener for other
// hosts.
func (c *Config) checkControl(report reporter) {
	for _, role := range []struct {
		key string
		who []Principal
	}{{"viewers", c.Control.Viewers}, {"operators", c.Control.Operators}, {"admins", c.Control.Admins}} {
		for i, p := range role.who {
			if p.Cert {
				report(fmt.Sprintf("control.%s[%d]", role.key, i), "is the holder of a certificate, who can be nothing but one of control.pullers", `write "user:NAME" or "group:NAME"`)
			}
		}
	}
	if c.Control.RemoteListen == (Listen{}) {
		return
	}
	if c.Control.RemoteListen.Network == "unix" {
		report("control.remote_listen", "is a unix socket, and other hosts are to connect", `write "ADDRESS:PORT" or "systemd:NAME"`)
	}
	for _, f := range []struct {
		key  string
		path Path
		cure string
	}{
		{"remote_cert_file", c.Control.RemoteCertFile, "name the certificate to show, in PEM"},
		{"remote_key_file", c.Control.RemoteKeyFile, "name the certificate's key, in PEM"},
		{"remote_ca_file", c.Control.RemoteCAFile, "name the authorities whose certificates count, in PEM"},
	} {
		if f.path == "" {
			report("control."+f.key, "is missing, and control.remote_listen needs it", "%s", f.cure)
		}
	}
}
