package milter

import (
	gomilter "github.com/emersion/go-milter"
)

// A macro is a value that the MTA attaches to a stage of the session.
type macro int

const (
	macroQueueID macro = iota
	macroAuthUser
	macroAuthMech
	macroTLS
	macroDaemon
	macroDaemonPort
	macroCount
)

// macroNamed gives the macro that we keep under a name. One-letter names come
// with or without braces.
func macroNamed(name []byte) (macro, bool) {
	switch string(name) {
	case "i", "{i}":
		return macroQueueID, true
	case "{auth_authen}":
		return macroAuthUser, true
	case "{auth_type}":
		return macroAuthMech, true
	case "{tls_version}":
		return macroTLS, true
	case "{daemon_name}":
		return macroDaemon, true
	case "{daemon_port}":
		return macroDaemonPort, true
	}
	return 0, false
}

// The stages, in the order in which they follow each other.
const (
	stageConnect = iota
	stageHelo
	stageMail
	stageRcpt
	stageContent
	stageEnd
	stageCount
)

// macros keeps macro values by stage. A stage's packet replaces what that stage
// had, and no other; the latest stage that has a value is right.
type macros [stageCount][macroCount]string

// set takes an SMFIC_MACRO packet: the command it belongs to, then names and
// values in turn, each ended by NUL.
func (m *macros) set(data []byte) {
	if len(data) == 0 {
		return
	}
	stage := stageOf(gomilter.Code(data[0]))
	if stage < 0 {
		return
	}
	var had [macroCount]bool
	for rest := data[1:]; len(rest) > 0; {
		var name, value []byte
		name, rest = cutNUL(rest)
		value, rest = cutNUL(rest)
		if k, ok := macroNamed(name); ok {
			had[k] = true
			if old := &m[stage][k]; *old != string(value) { // the same value comes with each header field
				*old = string(value)
			}
		}
	}
	for k, had := range had {
		if !had {
			m[stage][k] = ""
		}
	}
}

// get gives the value that counts; "" where there is none.
func (m *macros) get(k macro) string {
	for stage := stageCount - 1; stage >= 0; stage-- {
		if v := m[stage][k]; v != "" {
			return v
		}
	}
	return ""
}

// forget clears the given stage and those after it.
func (m *macros) forget(stage int) {
	for ; stage < stageCount; stage++ {
		m[stage] = [macroCount]string{}
	}
}

func stageOf(code gomilter.Code) int {
	switch code {
	case gomilter.CodeConn:
		return stageConnect
	case gomilter.CodeHelo:
		return stageHelo
	case gomilter.CodeMail:
		return stageMail
	case gomilter.CodeRcpt:
		return stageRcpt
	case gomilter.CodeData, gomilter.CodeHeader, gomilter.CodeEOH, gomilter.CodeBody:
		return stageContent
	case gomilter.CodeEOB:
		return stageEnd
	}
	return -1
}
