package api

import (
	"slices"
)

// Operation is one thing that the socket offers.
type Operation struct {
	Name    string // unique; the document's operationId
	Method  string
	Path    string // with {name} for parts that the input's path tags name
	Role    Role   // that a caller has to have
	Summary string
	Input   any    // a struct: what stands in path, query or body
	Output  any    // a struct; nil where Stream is set
	Takes   string // media type of a body that is no JSON document
	MaxBody int64  // bytes of a JSON body; MaxBody if 0
	Stream  string // media type of an answer that is no JSON document
	Codes   []Code // of errors, besides those that every operation has
}

// The names of the operations.
const (
	OpStatus   = "status"
	OpReload   = "reload"
	OpConfig   = "config"
	OpPolicy   = "policy"
	OpLists    = "lists"
	OpListTest = "list-test"

	OpFeeds       = "feed-list"
	OpFeedRefresh = "feed-refresh"
	OpFeedApprove = "feed-approve"
	OpShared      = "share-list"
	OpWithheld    = "share-withheld"

	OpContain       = "contain"
	OpContained     = "contain-list"
	OpContainLift   = "contain-lift"
	OpContainExport = "contain-export"

	OpItems      = "quarantine-list"
	OpItem       = "quarantine-get"
	OpPreview    = "quarantine-preview"
	OpMessage    = "quarantine-message"
	OpRelease    = "quarantine-release"
	OpDelete     = "quarantine-delete"
	OpJournal    = "journal-search"
	OpJournalGet = "journal-get"
	OpEvents     = "audit-events"
	OpHead       = "audit-head"
	OpVerify     = "audit-verify"
	OpBackup     = "backup"
	OpDocument   = "openapi"

	OpIncidentOpen       = "incident-open"
	OpIncidents          = "incident-list"
	OpIncident           = "incident-get"
	OpIncidentDeliveries = "incident-deliveries"
	OpIncidentTimeline   = "incident-timeline"
	OpIncidentApprove    = "incident-approve"
	OpIncidentNote       = "incident-note"
	OpIncidentAssign     = "incident-assign"
	OpIncidentClose      = "incident-close"
	OpIncidentRestore    = "incident-restore"

	OpUnblockPlan = "unblock-plan"
	OpUnblock     = "unblock"

	OpUnblockAsk      = "unblock-request"
	OpUnblockRequests = "unblock-requests"
	OpUnblockCase     = "unblock-case"
	OpUnblockApprove  = "unblock-approve"
	OpUnblockRefuse   = "unblock-refuse"

	OpIntelAdd     = "intel-add"
	OpIntelRemove  = "intel-remove"
	OpIntelShow    = "intel-show"
	OpIntelSearch  = "intel-search"
	OpIntelExport  = "intel-export"
	OpIntelHistory = "intel-history"
	OpListUnused   = "list-unused"

	OpJobLease   = "job-lease"
	OpJobRenew   = "job-renew"
	OpJobKeep    = "job-keep"
	OpJobContent = "job-content"
	OpJobReport  = "job-report"
)

// Version begins the path of every operation.
const Version = "/v1"

// Operations lists all of them, in the order of the document.
func Operations() []Operation {
	return slices.Concat(daemonOperations(), containOperations(), incidentOperations(), intelOperations(), jobOperations())
}

func daemonOperations() []Operation {
	return []Operation{
		{Name: OpStatus, Method: "GET", Path: "/status", Role: Viewer, Input: None{}, Output: Status{},
			Summary: "How the daemon is"},
		{Name: OpReload, Method: "POST", Path: "/reload", Role: Admin, Input: None{}, Output: Reloaded{}, Codes: []Code{Unavailable},
			Summary: "Read configuration, policy, directory and lists again"},
		{Name: OpConfig, Method: "GET", Path: "/config", Role: Admin, Input: None{}, Output: Config{},
			Summary: "The configuration in force"},
		{Name: OpPolicy, Method: "GET", Path: "/policy", Role: Viewer, Input: None{}, Output: Policy{}, Codes: []Code{Unavailable},
			Summary: "The rules in force"},
		{Name: OpLists, Method: "GET", Path: "/lists", Role: Viewer, Input: None{}, Output: Lists{}, Codes: []Code{Unavailable},
			Summary: "The lists in force, and what is wrong with their files"},
		{Name: OpListTest, Method: "GET", Path: "/lists/test", Role: Viewer, Input: ListTest{}, Output: ListTested{}, Codes: []Code{Unavailable},
			Summary: "What the lists in force know of a value, and why"},
		{Name: OpFeeds, Method: "GET", Path: "/feeds", Role: Viewer, Input: None{}, Output: Feeds{}, Codes: []Code{Unavailable},
			Summary: "The feeds, and how they are"},
		{Name: OpFeedRefresh, Method: "POST", Path: "/feeds/{name}/refresh", Role: Operator, Input: FeedName{}, Output: FeedRefreshed{}, Codes: []Code{Unavailable, NotFound},
			Summary: "Refresh a feed now; what fails leaves what was fetched before in force"},
		{Name: OpFeedApprove, Method: "POST", Path: "/feeds/{name}/approve", Role: Operator, Input: FeedApprove{}, Output: Feed{}, Codes: []Code{Unavailable, NotFound, Nothing, NoSpace},
			Summary: "Let a feed count that was held because it had changed too much"},
		{Name: OpShared, Method: "GET", Path: "/share", Role: Viewer, Input: SharedQuery{}, Output: SharedPage{}, Codes: []Code{Unavailable},
			Summary: "What is published to peers, and why"},
		{Name: OpWithheld, Method: "GET", Path: "/share/withheld", Role: Viewer, Input: WithheldQuery{}, Output: WithheldPage{}, Codes: []Code{Unavailable},
			Summary: "What is confirmed, or listed for peers, and not published, and why; of very many the first 10,000"},
		{Name: OpItems, Method: "GET", Path: "/quarantine", Role: Viewer, Input: ItemQuery{}, Output: ItemPage{}, Codes: []Code{Unavailable},
			Summary: "List messages in quarantine"},
		{Name: OpItem, Method: "GET", Path: "/quarantine/{id}", Role: Viewer, Input: ItemID{}, Output: Item{}, Codes: []Code{Unavailable, NotFound, Ambiguous},
			Summary: "One message in quarantine"},
		{Name: OpPreview, Method: "GET", Path: "/quarantine/{id}/preview", Role: Operator, Input: ItemID{}, Output: Preview{}, Codes: []Code{Unavailable, NotFound, Ambiguous, Gone, NoSpace},
			Summary: "Look at a message without opening it; the ledger records that somebody did"},
		{Name: OpMessage, Method: "GET", Path: "/quarantine/{id}/message", Role: Operator, Input: ItemID{}, Stream: "message/rfc822", Codes: []Code{Unavailable, NotFound, Ambiguous, Gone, NoSpace},
			Summary: "A message's exact bytes; the ledger records that somebody took them"},
		{Name: OpRelease, Method: "POST", Path: "/quarantine/{id}/release", Role: Operator, Input: Release{}, Output: Released{},
			Codes:   []Code{Unavailable, NotFound, Ambiguous, Gone, Blocked, Uncertain, Busy, NoSpace},
			Summary: "Deliver held copies after all; asking twice delivers once"},
		{Name: OpDelete, Method: "POST", Path: "/quarantine/{id}/delete", Role: Operator, Input: Delete{}, Output: Item{}, Codes: []Code{Unavailable, NotFound, Ambiguous, Gone, Busy, NoSpace},
			Summary: "Take a message away for good; its record stays"},
		{Name: OpJournal, Method: "GET", Path: "/journal", Role: Operator, Input: JournalQuery{}, Output: JournalPage{}, Codes: []Code{Unavailable, NoSpace},
			Summary: "Find messages that were let through; the ledger records the search, once for all of its pages"},
		{Name: OpJournalGet, Method: "GET", Path: "/journal/{id}", Role: Operator, Input: JournalID{}, Output: JournalEntry{}, Codes: []Code{Unavailable, NotFound, NoSpace},
			Summary: "All that is remembered of a message that was let through; the ledger records that somebody looked"},
		{Name: OpEvents, Method: "GET", Path: "/audit/events", Role: Operator, Input: EventQuery{}, Output: EventPage{}, Codes: []Code{Unavailable},
			Summary: "Events of the ledger"},
		{Name: OpHead, Method: "GET", Path: "/audit/head", Role: Viewer, Input: None{}, Output: Head{}, Codes: []Code{Unavailable},
			Summary: "The name of the ledger's last record, to be kept elsewhere"},
		{Name: OpVerify, Method: "POST", Path: "/audit/verify", Role: Admin, Input: Verify{}, Output: Verified{}, Codes: []Code{Unavailable, Busy},
			Summary: "Check every link of the ledger"},
		{Name: OpBackup, Method: "POST", Path: "/backup", Role: Admin, Input: None{}, Stream: "application/x-tar", Codes: []Code{Unavailable, Busy, NoSpace},
			Summary: "Everything that the daemon must not lose, as a tar archive; the ledger records that somebody took it. A connection that breaks off before its end says that it failed"},
		{Name: OpDocument, Method: "GET", Path: "/openapi.json", Role: Viewer, Input: None{}, Output: Document{},
			Summary: "This document"},
	}
}

func containOperations() []Operation {
	return []Operation{
		{Name: OpContain, Method: "POST", Path: "/containments", Role: Operator, Input: Contain{}, Output: Contained{}, Codes: []Code{Unavailable, Refused, NoSpace},
			Summary: "Stop what a user or a client of ours sends, for a time; it holds for the next message"},
		{Name: OpContained, Method: "GET", Path: "/containments", Role: Viewer, Input: None{}, Output: Containments{}, Codes: []Code{Unavailable},
			Summary: "Who is contained"},
		{Name: OpContainLift, Method: "POST", Path: "/containments/{name}/lift", Role: Operator, Input: ContainLift{}, Output: Containment{}, Codes: []Code{Unavailable, NotFound, Ambiguous, NoSpace},
			Summary: "End a containment before its time"},
		{Name: OpContainExport, Method: "GET", Path: "/containments/export", Role: Viewer, Input: ContainExport{}, Stream: "text/plain", Codes: []Code{Unavailable, Refused},
			Summary: "Who is contained, in a form for firewalls, proxies and MTAs"},
	}
}

func incidentOperations() []Operation {
	return []Operation{
		{Name: OpIncidentOpen, Method: "POST", Path: "/incidents", Role: Operator, Input: IncidentOpen{}, Output: IncidentOpened{}, MaxBody: maxOpening,
			Codes: []Code{Unavailable, NotFound, NoSpace}, Summary: "Open an incident about messages that were let through, or in a dry run say what it would pull"},
		{Name: OpIncidents, Method: "GET", Path: "/incidents", Role: Viewer, Input: IncidentQuery{}, Output: IncidentPage{}, Codes: []Code{Unavailable},
			Summary: "List incidents"},
		{Name: OpIncident, Method: "GET", Path: "/incidents/{id}", Role: Viewer, Input: IncidentID{}, Output: Incident{}, Codes: []Code{Unavailable, NotFound, Ambiguous},
			Summary: "One incident"},
		{Name: OpIncidentDeliveries, Method: "GET", Path: "/incidents/{id}/deliveries", Role: Operator, Input: IncidentDeliveryQuery{}, Output: IncidentDeliveries{},
			Codes: []Code{Unavailable, NotFound, Ambiguous}, Summary: "The copies that an incident is about, what became of each, and who had read, answered or forwarded it"},
		{Name: OpIncidentTimeline, Method: "GET", Path: "/incidents/{id}/timeline", Role: Operator, Input: IncidentID{}, Output: IncidentTimeline{},
			Codes: []Code{Unavailable, NotFound, Ambiguous}, Summary: "All that was done in an incident"},
		{Name: OpIncidentApprove, Method: "POST", Path: "/incidents/{id}/approve", Role: Operator, Input: IncidentApprove{}, Output: IncidentChanged{}, MaxBody: maxOpening,
			Codes: []Code{Unavailable, NotFound, Ambiguous, SecondPerson, Closed, Nothing, NoSpace}, Summary: "Let deliveries be pulled that wait for a person"},
		{Name: OpIncidentNote, Method: "POST", Path: "/incidents/{id}/note", Role: Operator, Input: IncidentNote{}, Output: IncidentChanged{},
			Codes: []Code{Unavailable, NotFound, Ambiguous, NoSpace}, Summary: "Add a note to an incident"},
		{Name: OpIncidentAssign, Method: "POST", Path: "/incidents/{id}/assign", Role: Operator, Input: IncidentAssign{}, Output: IncidentChanged{},
			Codes: []Code{Unavailable, NotFound, Ambiguous, Closed, NoSpace}, Summary: "Give an incident to somebody"},
		{Name: OpIncidentClose, Method: "POST", Path: "/incidents/{id}/close", Role: Operator, Input: IncidentClose{}, Output: IncidentChanged{},
			Codes: []Code{Unavailable, NotFound, Ambiguous, Closed, Busy, NoSpace}, Summary: "End an incident; what was not pulled by then stays where it is"},
		{Name: OpIncidentRestore, Method: "POST", Path: "/incidents/{id}/restore", Role: Operator, Input: IncidentRestore{}, Output: IncidentChanged{}, MaxBody: maxOpening,
			Codes: []Code{Unavailable, NotFound, Ambiguous, Gone, Blocked, Busy, Nothing, NoSpace}, Summary: "Put what was pulled back into its mailboxes, and do not pull it for the same reason again"},
		{Name: OpUnblockPlan, Method: "GET", Path: "/unblock", Role: Operator, Input: UnblockPlan{}, Output: Unblocking{}, Codes: []Code{Unavailable, NoSpace},
			Summary: "What an unblocking would let through; the ledger records the search"},
		{Name: OpUnblock, Method: "POST", Path: "/unblock", Role: Operator, Input: Unblock{}, Output: Unblocked{}, Codes: []Code{Unavailable, SecondPerson, Busy, NoSpace},
			Summary: "Allow a value for a time, by an entry in lists/allow/operator.txt"},
	}
}

func intelOperations() []Operation {
	return []Operation{
		{Name: OpUnblockAsk, Method: "POST", Path: "/unblock/requests", Role: Viewer, Input: UnblockAsk{}, Output: UnblockAsked{}, Codes: []Code{Unavailable, NotFound, Ambiguous, Busy, Refused, NoSpace},
			Summary: "Ask for a value to be allowed; for one value there is one open request"},
		{Name: OpUnblockRequests, Method: "GET", Path: "/unblock/requests", Role: Viewer, Input: UnblockQuery{}, Output: UnblockPage{}, Codes: []Code{Unavailable},
			Summary: "The requests for values to be allowed, and what became of them"},
		{Name: OpUnblockCase, Method: "GET", Path: "/unblock/requests/{id}", Role: Operator, Input: UnblockID{}, Output: UnblockCase{}, Codes: []Code{Unavailable, NotFound, Ambiguous, NoSpace},
			Summary: "A request, what depends on its value, and what speaks against allowing it; the ledger records the search"},
		{Name: OpUnblockApprove, Method: "POST", Path: "/unblock/requests/{id}/approve", Role: Operator, Input: UnblockApprove{}, Output: UnblockApproved{},
			Codes: []Code{Unavailable, NotFound, Ambiguous, SecondPerson, Closed, Blocked, NoSpace}, Summary: "Allow what was asked for, for a time, unless a feed lists it today or an incident has come up since"},
		{Name: OpUnblockRefuse, Method: "POST", Path: "/unblock/requests/{id}/refuse", Role: Operator, Input: UnblockRefuse{}, Output: UnblockRequest{},
			Codes: []Code{Unavailable, NotFound, Ambiguous, Closed, NoSpace}, Summary: "Refuse a request"},
		{Name: OpIntelAdd, Method: "POST", Path: "/intel/add", Role: Operator, Input: IntelAdd{}, Output: IntelChanged{}, MaxBody: maxOpening, Codes: []Code{Unavailable, SecondPerson, Refused, NoSpace},
			Summary: "Write entries into the operators' list of a disposition, lists/DISPOSITION/operator.txt, or in a dry run say what would change"},
		{Name: OpIntelRemove, Method: "POST", Path: "/intel/remove", Role: Operator, Input: IntelRemove{}, Output: IntelChanged{}, Codes: []Code{Unavailable, NotFound, NoSpace},
			Summary: "Take a value out of the operators' lists"},
		{Name: OpIntelShow, Method: "GET", Path: "/intel/show", Role: Viewer, Input: IntelValue{}, Output: IntelShown{}, Codes: []Code{Unavailable},
			Summary: "All that is known of a value: who lists it, what that hit, what operators did about it"},
		{Name: OpIntelSearch, Method: "GET", Path: "/intel/search", Role: Viewer, Input: IntelSearch{}, Output: IntelPage{}, Codes: []Code{Unavailable},
			Summary: "Find indicators by a part of their value, note, campaign, ID or source"},
		{Name: OpIntelExport, Method: "GET", Path: "/intel/export", Role: Viewer, Input: IntelExport{}, Stream: "application/octet-stream", Codes: []Code{Unavailable, NotFound},
			Summary: "Indicators in a format of others. The trailer Weir-Export says what the format could not say; a connection that breaks off before its end says that it failed"},
		{Name: OpIntelHistory, Method: "GET", Path: "/intel/history", Role: Viewer, Input: IntelValue{}, Output: IntelHistory{}, Codes: []Code{Unavailable},
			Summary: "What operators did about a value"},
		{Name: OpListUnused, Method: "GET", Path: "/lists/unused", Role: Viewer, Input: ListUnused{}, Output: UnusedPage{}, Codes: []Code{Unavailable, NotFound},
			Summary: "Entries of list files that have hit nothing for so many days"},
	}
}

func jobOperations() []Operation {
	return []Operation{
		{Name: OpJobLease, Method: "POST", Path: "/jobs/lease", Role: Puller, Input: Lease{}, Output: Leases{}, Codes: []Code{Unavailable, NoSpace},
			Summary: "Get work in mailboxes, or wait for it"},
		{Name: OpJobRenew, Method: "POST", Path: "/jobs/renew", Role: Puller, Input: Renew{}, Output: Renewed{}, Codes: []Code{Unavailable},
			Summary: "Keep leases for longer"},
		{Name: OpJobKeep, Method: "POST", Path: "/jobs/copies", Role: Puller, Input: None{}, Takes: CopiesType, Output: Keeping{}, Codes: []Code{Unavailable, TooLarge, Busy},
			Summary: "Hand over copies that are to be removed from a mailbox: those that the answer says are kept are durable"},
		{Name: OpJobContent, Method: "GET", Path: "/jobs/{lease}/content", Role: Puller, Input: LeaseID{}, Stream: "application/octet-stream", Codes: []Code{Unavailable, LeaseLost, Gone},
			Summary: "The bytes that go back into a mailbox; the ledger records it"},
		{Name: OpJobReport, Method: "POST", Path: "/jobs/reports", Role: Puller, Input: Reports{}, Output: Reported{}, MaxBody: MaxReports, Codes: []Code{Unavailable},
			Summary: "Say what became of jobs, which ends their leases"},
	}
}

// maxOpening bounds the body of what names many messages or deliveries, in bytes.
const maxOpening = 16 << 20

// OperationNamed gives an operation by its name; ok is false where there is none.
func OperationNamed(name string) (o Operation, ok bool) {
	for _, o := range Operations() {
		if o.Name == name {
			return o, true
		}
	}
	return Operation{}, false
}
