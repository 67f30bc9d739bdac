package imap

import (
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// state is what a server tells of a folder that is not open.
type state struct {
	validity uint32
	next     imap.UID
	messages uint32
}

// stateOf gives what was told, if it was all that was asked for.
func stateOf(s *imap.StatusData) *state {
	if s == nil || s.NumMessages == nil || s.UIDNext == 0 || s.UIDValidity == 0 {
		return nil
	}
	return &state{s.UIDValidity, s.UIDNext, *s.NumMessages}
}

// empty reports whether there is no mail for sure.
func (s *state) empty() bool { return s != nil && s.messages == 0 }

// look is what a search of a folder has shown. What came in since has a UID of at
// least next (RFC 9051 section 2.3.1.1), and what was there then has the header that
// it had: it is not searched again.
type look struct {
	validity uint32
	next     imap.UID   // 0: the server did not tell
	uids     []imap.UID // that have what was searched for, as far as the server knows
}

// unchanged reports whether a folder in this state can hold nothing that is searched
// for.
func (l *look) unchanged(now *state) bool {
	return now != nil && len(l.uids) == 0 && l.next == now.next && l.validity == now.validity
}

// looks is what has been seen of folders on a connection.
type looks struct {
	terms map[term]bool   // what was searched for
	at    map[string]look // by folder
}

// begin begins a search. What was seen before counts if all that is searched for
// was searched for then.
func (l *looks) begin(terms []term) {
	if !slices.ContainsFunc(terms, func(t term) bool { return !l.terms[t] }) {
		return
	}
	*l = looks{map[term]bool{}, map[string]look{}}
	for _, t := range terms {
		l.terms[t] = true
	}
}

// forget takes messages that are gone out of what was seen.
func (l *looks) forget(folder string, validity uint32, gone map[imap.UID]bool) {
	old, ok := l.at[folder]
	if !ok || old.validity != validity {
		return
	}
	var uids []imap.UID
	for _, uid := range old.uids {
		if !gone[uid] {
			uids = append(uids, uid)
		}
	}
	old.uids = uids
	l.at[folder] = old
}

// term is what a header field has as a part.
type term struct{ field, needle string }

// maxQuery bounds a search command, in bytes: servers take lines of 8 KB (RFC 7162
// section 4).
const maxQuery = 7000

// queries makes searches for messages that have one of some terms, as few as can be:
// each goes over all messages.
func queries(terms []term) []imap.SearchCriteria {
	const around = len(`OR (HEADER "" "") () `)
	var all []imap.SearchCriteria
	for len(terms) > 0 {
		n, bytes := 0, 0
		for n < len(terms) && (n == 0 || bytes < maxQuery) {
			bytes += len(terms[n].field) + len(terms[n].needle) + around
			n++
		}
		all = append(all, anyOf(terms[:n]))
		terms = terms[n:]
	}
	return all
}

// anyOf halves the terms, so that alternatives are not nested deeply.
func anyOf(terms []term) imap.SearchCriteria {
	if len(terms) == 1 {
		return imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: terms[0].field, Value: terms[0].needle}}}
	}
	half := len(terms) / 2
	return imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{anyOf(terms[:half]), anyOf(terms[half:])}}}
}

// visit is one folder that was searched.
type visit struct {
	folder folder
	look
	err error
}

// maxCommands bounds how many commands are sent in one piece.
const maxCommands = 64

// visit searches some folders, all in one piece, and keeps what it saw. An error
// is that of the connection, or of ctx.
func (a *Account) visit(ctx context.Context, folders []folder, queries []imap.SearchCriteria) ([]visit, error) {
	visits := make([]visit, len(folders))
	closed := make([]error, len(folders))
	err := a.doSome(ctx, len(folders)*(1+len(queries)), 0, func() error {
		take := make([]func(*visit) error, len(folders))
		a.conn.hold()
		for i, f := range folders {
			visits[i].folder = f
			if visits[i].err = nameable(f.name); visits[i].err == nil {
				take[i] = a.sendVisit(f.name, queries)
			}
		}
		a.conn.release()
		for i := range visits {
			if take[i] == nil {
				continue
			}
			if closed[i] = take[i](&visits[i]); closed[i] != nil && !answered(closed[i]) {
				return closed[i]
			}
			if err := visits[i].err; err != nil && !answered(err) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var again []int
	for i := range visits {
		v := &visits[i]
		old := a.looks.at[v.folder.name]
		delete(a.looks.at, v.folder.name)
		switch {
		case closed[i] != nil:
			v.err = a.whyClosed(ctx, v.folder.name, meant(closed[i]))
		case v.err != nil:
			v.err = fmt.Errorf("search folder %.80q: %w", v.folder.name, meant(v.err))
		case old.next != 0 && (old.validity != v.validity || old.next > v.next):
			again = append(again, i) // the UIDs that its search was limited to are others now
		default:
			if old.next != 0 { // else all of it was searched
				v.uids = append(v.uids, old.uids...)
			}
			slices.Sort(v.uids)
			v.uids = slices.Compact(v.uids)
			a.looks.at[v.folder.name] = v.look
		}
	}
	for _, i := range again {
		anew, err := a.visit(ctx, folders[i:i+1], queries)
		if err != nil {
			return nil, err
		}
		visits[i] = anew[0]
	}
	return visits, nil
}

// sendVisit sends what opens and searches a folder: all of it, or what came in since
// the last look. It gives what takes the answers.
func (a *Account) sendVisit(name string, queries []imap.SearchCriteria) (take func(*visit) (closed error)) {
	var since []imap.UIDSet
	if old := a.looks.at[name]; old.next != 0 {
		since = []imap.UIDSet{{{Start: old.next, Stop: 0}}}
	}
	opening := a.client.Select(name, &imap.SelectOptions{ReadOnly: true})
	searches := make([]*imapclient.SearchCommand, len(queries))
	for i, q := range queries {
		q.UID = since
		searches[i] = a.sendSearch(&q)
	}
	return func(v *visit) error {
		a.conn.again(a.o.Timeout)
		closed := a.opened(name, false, opening)
		v.validity, v.next = a.validity, a.next
		for _, s := range searches {
			a.conn.again(a.o.Timeout)
			uids, err := takeSearch(s)
			v.uids = append(v.uids, uids...)
			if v.err == nil {
				v.err = err
			}
		}
		return closed
	}
}
