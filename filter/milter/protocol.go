package milter

import (
	"encoding/binary"
	"errors"

	gomilter "github.com/emersion/go-milter"
)

// The protocol as Sendmail's libmilter defines it (mfdef.h, mfapi.h); the
// library has most of its constants.
const (
	codeUnknown = gomilter.Code('U') // SMFIC_UNKNOWN, a command that the MTA does not know
	actProgress = 'p'                // SMFIR_PROGRESS

	minVersion = 2
	maxVersion = 6

	headBytes = 4 // the length in front of each packet
)

// How long a packet may be: what carries content as much as the library takes,
// any other what a command line with all its macros can need.
const (
	maxContentPacket = 1 << 20
	maxCommandPacket = 64 << 10
)

// wantActions is what answers need of the MTA, and what tells it which macros we
// need.
const wantActions = gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptRemoveRcpt |
	gomilter.OptSetSymList

// wantProtocol asks for silence wherever nothing is answered, since waiting for
// replies costs the MTA most of the time that a milter costs, and for header
// values as they stand.
const wantProtocol = gomilter.OptNoConnReply | gomilter.OptNoHeloReply | gomilter.OptNoMailReply |
	gomilter.OptNoRcptReply | gomilter.OptNoDataReply | gomilter.OptNoHeaderReply |
	gomilter.OptNoEOHReply | gomilter.OptNoBodyReply | gomilter.OptNoUnknownReply |
	gomilter.OptNoUnknown | gomilter.OptNoData | gomilter.OptHeaderLeadingSpace

// wantedMacros gives the macros to ask for. Each stage is listed: an MTA may
// send none for one that is not. Postfix sends its own list then, so that the queue
// ID which comes again with each header field cannot be saved.
func wantedMacros() map[gomilter.Stage][]string {
	queueID := []string{"i"}
	return map[gomilter.Stage][]string{
		gomilter.StageConnect:  {"{daemon_name}", "{daemon_port}"},
		gomilter.StageHelo:     {"{tls_version}"},
		gomilter.StageMailFrom: {"i", "{auth_authen}", "{auth_type}", "{tls_version}"},
		gomilter.StageRcptTo:   queueID,
		gomilter.StageData:     queueID,
		gomilter.StageEOH:      queueID,
		gomilter.StageEOM:      queueID,
	}
}

// terms is what the MTA offers, or what was agreed on.
type terms struct {
	version  uint32
	actions  gomilter.OptAction
	protocol gomilter.OptProtocol
}

// parseOffer reads the MTA's SMFIC_OPTNEG.
func parseOffer(data []byte) (terms, error) {
	if len(data) < 12 {
		return terms{}, errors.New("the offer is shorter than three numbers")
	}
	t := terms{
		version:  binary.BigEndian.Uint32(data),
		actions:  gomilter.OptAction(binary.BigEndian.Uint32(data[4:])),
		protocol: gomilter.OptProtocol(binary.BigEndian.Uint32(data[8:])),
	}
	if t.version < minVersion {
		return terms{}, errors.New("the MTA speaks a milter protocol older than version 2")
	}
	return t, nil
}

// accept gives what is wanted of an offer, and nothing else: an MTA may drop a
// milter that asks for more than it offered. A session that has to refuse mail
// keeps its voice at MAIL.
func (t terms) accept(refusing bool) terms {
	agreed := terms{
		version:  min(t.version, maxVersion),
		actions:  t.actions & wantActions,
		protocol: t.protocol & wantProtocol,
	}
	if refusing {
		agreed.protocol &^= gomilter.OptNoMailReply
	}
	return agreed
}

// silent says whether the MTA expects no reply to a command.
func (t terms) silent(code gomilter.Code) bool {
	var flag gomilter.OptProtocol
	switch code {
	case gomilter.CodeConn:
		flag = gomilter.OptNoConnReply
	case gomilter.CodeHelo:
		flag = gomilter.OptNoHeloReply
	case gomilter.CodeMail:
		flag = gomilter.OptNoMailReply
	case gomilter.CodeRcpt:
		flag = gomilter.OptNoRcptReply
	case gomilter.CodeData:
		flag = gomilter.OptNoDataReply
	case codeUnknown:
		flag = gomilter.OptNoUnknownReply
	case gomilter.CodeHeader:
		flag = gomilter.OptNoHeaderReply
	case gomilter.CodeEOH:
		flag = gomilter.OptNoEOHReply
	case gomilter.CodeBody:
		flag = gomilter.OptNoBodyReply
	case gomilter.CodeMacro, gomilter.CodeQuitNewConn, gomilter.CodeAbort:
		return true
	}
	return t.protocol&flag != 0
}
