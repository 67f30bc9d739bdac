// Package unblock keeps requests to allow a value that is blocked wrongly: who asks,
// for what and why, who decides, and what came of it.
//
// A request is an entity of the ledger, unblock/ID, with these events:
//
//	unblock-requested  somebody asks
//	unblock-approving  somebody approves, and the list is about to be written
//	unblock-approved   the entry stands in the list
//	unblock-failed     it could not be written, and the request is open again
//	unblock-refused    somebody says no
//
// It decides nothing of the matter: what depends on the value, whether a feed lists
// it and how the list is written belong to who asks it. It sees to it that a request
// is decided once, and where that is wanted, by another person than the one who
// asked. Telling who asked is package notify's: the decision's event has the address.
package unblock
