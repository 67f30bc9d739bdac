package postconf

// builtin gives the default of a parameter, as "postconf -d" of Postfix 3.7
// prints it, where it is not empty: it stands in for what "postconf -n" leaves
// out. What differs between versions is left unknown; Read gets it from Postfix.
func builtin(name string) string {
	switch name {
	case "compatibility_level", "smtpd_client_connection_rate_limit", "smtpd_client_message_rate_limit":
		return "0"
	case "queue_directory":
		return "/var/spool/postfix"
	case "mail_owner":
		return "postfix"
	case "setgid_group":
		return "postdrop"
	case "inet_interfaces":
		return "all"
	case "default_process_limit":
		return "100"
	case "cleanup_service_name":
		return "cleanup"
	case "message_size_limit":
		return "10240000"
	case "header_size_limit":
		return "102400"
	case "milter_protocol":
		return "6"
	case "milter_connect_timeout", "milter_command_timeout":
		return "30s"
	case "milter_content_timeout":
		return "300s"
	case "mime_header_checks", "nested_header_checks":
		return "$header_checks"
	case "local_header_rewrite_clients":
		return "permit_inet_interfaces"
	case "smtpd_timeout":
		return "${stress?{10}:{300}}s"
	case "smtpd_recipient_limit":
		return "1000"
	case "smtpd_relay_restrictions":
		return "${{$compatibility_level} <level {1} ? {} : {permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}"
	case "smtputf8_enable":
		return "${{$compatibility_level} <level {1} ? {no} : {yes}}"
	case "enable_original_recipient", "smtpd_delay_reject", "smtpd_reject_unlisted_recipient":
		return "yes"
	case "enable_long_queue_ids", "smtpd_sasl_auth_enable", "smtpd_tls_auth_only", "smtpd_use_tls", "smtpd_enforce_tls",
		"smtpd_tls_wrappermode", "smtpd_tls_ask_ccert", "smtpd_tls_req_ccert":
		return "no"
	}
	return ""
}
