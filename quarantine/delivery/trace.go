package delivery

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// Bounds on one answer.
const (
	maxDepth      = 4      // queue IDs that follow on each other
	maxDeliveries = 20_000 // more are left out; a message has at most 10 000 recipients
	maxTwins      = 64     // journal entries with one Message-ID that are looked at
)

// tracer puts one answer together.
type tracer struct {
	ctx     context.Context
	v       *view
	journal Journal
	entry   *journal.Entry
	out     []Delivery
	seen    map[string]bool // queue IDs that were followed
}

func trace(ctx context.Context, v *view, j Journal, e *journal.Entry) ([]Delivery, error) {
	t := &tracer{ctx: ctx, v: v, journal: j, entry: e, seen: map[string]bool{e.QueueID: true}}
	own, err := t.life(e.QueueID, func(l *life) bool { return l.holds(e.Time) })
	if err != nil {
		return nil, err
	}
	if own != nil {
		if err := t.follow(own, "", ByQueueID, 0); err != nil {
			return nil, err
		}
		if err := t.followMessageID(); err != nil {
			return nil, err
		}
	}
	t.missing(own)
	order := map[string]int{}
	for i, to := range e.To {
		if _, twice := order[fold(to)]; !twice {
			order[fold(to)] = i
		}
	}
	place := func(d *Delivery) int {
		if i, ok := order[fold(d.Recipient)]; ok {
			return i
		}
		return len(e.To)
	}
	slices.SortStableFunc(t.out, func(a, b Delivery) int { return cmp.Compare(place(&a), place(&b)) })
	return t.out, nil
}

// life gives what happened under a queue ID in the lives that are wanted, nil if
// nothing did.
func (t *tracer) life(queueID string, wanted func(*life) bool) (*life, error) {
	if queueID == "" {
		return nil, nil
	}
	events, err := t.v.ofQueueID(queueID)
	if err != nil {
		return nil, err
	}
	var found *life
	for _, l := range lives(queueID, events) {
		if !wanted(&l) {
			continue
		}
		if found == nil {
			found = &l
			continue
		}
		// The same lines read twice look like two lives at one time.
		found.events = append(found.events, l.events...)
		found.expired, found.ended, found.deleted = found.expired || l.expired, found.ended || l.ended, found.deleted || l.deleted
	}
	return found, nil
}

// follow adds what became of the copies of a life.
func (t *tracer) follow(l *life, parent string, known Known, depth int) error {
	if err := context.Cause(t.ctx); err != nil {
		return err
	}
	copies := l.copies()
	gone := map[int]bool{}
	for i := range copies {
		if copies[i].Outcome != logline.Sent || copies[i].NextID == "" || gone[i] {
			continue
		}
		child, err := t.nextLife(l, copies[i].NextID, depth)
		if err != nil {
			return err
		}
		if child == nil {
			continue
		}
		before := len(t.out)
		next := ByNextID
		if known != ByQueueID {
			next = known // the weakest link
		}
		if err := t.follow(child, l.queueID, next, depth+1); err != nil {
			return err
		}
		for k := range copies { // one transaction may have taken several
			if copies[k].NextID == copies[i].NextID {
				gone[k] = adopt(&copies[k], t.out[before:])
			}
		}
	}
	for i := range copies {
		if gone[i] || len(t.out) >= maxDeliveries {
			continue
		}
		d := deliveryOf(l, &copies[i], parent, known)
		if d.Status != Mailbox && d.Status != Relayed {
			t.out = append(t.out, d)
			continue
		}
		if err := t.inMailbox(l, &copies[i], d); err != nil {
			return err
		}
	}
	return nil
}

// nextLife finds the message that went on under another queue ID of this MTA:
// its Message-ID is the same and it began after the first one. Any server may
// claim a queue ID.
func (t *tracer) nextLife(l *life, id string, depth int) (*life, error) {
	if depth >= maxDepth || t.seen[id] || l.messageID == "" {
		return nil, nil
	}
	child, err := t.life(id, func(c *life) bool {
		return plainID(c.messageID) == plainID(l.messageID) && !c.began().Before(l.began().Add(-slack))
	})
	if child != nil {
		t.seen[id] = true
	}
	return child, err
}

// adopt gives the copies of a next queue ID the recipient of the copy that they
// came from, and reports whether there are any.
func adopt(c *logline.Event, children []Delivery) bool {
	found := false
	for i := range children {
		if d := &children[i]; fold(d.Recipient) == fold(c.Address) {
			d.Recipient = forWhom(c)
			if d.Through == "" {
				d.Through = c.Through
			}
			found = true
		}
	}
	return found
}

// deliveryOf says what the MTA's line tells of a copy.
func deliveryOf(l *life, c *logline.Event, parent string, known Known) Delivery {
	d := Delivery{Recipient: forWhom(c), Address: c.Address, Through: c.Through, Relay: c.Relay, DSN: c.DSN, Reply: c.Reply,
		QueueID: l.queueID, Parent: parent, Time: c.Time, Known: known}
	switch c.Outcome {
	case logline.Bounced:
		d.Status = Bounced
	case logline.Discarded:
		d.Status = Discarded
	case logline.Deferred:
		switch {
		case l.expired:
			d.Status, d.Time = Expired, l.to
		case l.ended && l.deleted:
			d.Status, d.Time = Removed, l.to
		default:
			d.Status = InTransit
		}
	default:
		d.Status = Relayed
		if isMailbox(c) {
			d.Status = Mailbox
		}
	}
	return d
}

// isMailbox reports whether the agent that took a copy puts it into a mailbox.
// LMTP is for final delivery (RFC 2033); a program may do anything.
func isMailbox(c *logline.Event) bool {
	switch c.Agent {
	case "lmtp", "virtual":
		return true
	case "local":
		return c.Reply == "delivered to mailbox" || c.Reply == "delivered to maildir" || strings.HasPrefix(c.Reply, "delivered to file")
	}
	mailer, ok := strings.CutPrefix(c.Agent, logline.SendmailAgent)
	return ok && (mailer == "local" || strings.Contains(mailer, "lmtp") || strings.HasPrefix(mailer, "cyrus"))
}

// inMailbox adds a copy that was taken, with what Dovecot tells of it: once for
// each folder and each address that Sieve sent it on to.
func (t *tracer) inMailbox(l *life, c *logline.Event, d Delivery) error {
	told, by, err := t.dovecot(l, c)
	if err != nil {
		return err
	}
	if len(told) == 0 {
		t.out = append(t.out, d)
		return nil
	}
	before := len(t.out)
	var dropped *Delivery
	done := map[[2]string]bool{} // Dovecot's lines may have been read twice
	for i := range told {
		e := &told[i]
		one := d
		one.Mailbox, one.Session, one.Time, one.Known = e.User, e.Session, e.Time, by
		if d.Known != ByQueueID {
			one.Known = d.Known // the weakest link
		}
		switch e.Kind {
		case logline.Stored:
			one.Status, one.Folder = Mailbox, e.Folder
		case logline.Forward:
			one.Status, one.Address, one.Mailbox = Forwarded, e.Address, ""
		case logline.Rejected:
			one.Status, one.Reply, one.Mailbox = Bounced, "rejected by the user's Sieve script", ""
		case logline.Dropped:
			one.Status, one.Reply, one.Mailbox = Discarded, "discarded by the user's Sieve script", ""
			dropped = &one
			continue
		}
		key := [2]string{string(one.Status), one.Folder + "\x00" + fold(one.Address)}
		if !done[key] {
			done[key] = true
			t.out = append(t.out, one)
		}
	}
	if len(t.out) == before { // nothing kept it
		if dropped == nil {
			dropped = &d
		}
		t.out = append(t.out, *dropped)
	}
	return nil
}

// Times between the MTA's line of a copy and Dovecot's, where no session joins
// them.
const (
	beforeCopy = 10 * time.Minute // an LMTP server may take its time to answer
	afterCopy  = 10 * time.Second
)

// dovecot finds Dovecot's lines of a copy: by the session, which only its LMTP
// gives, else by Message-ID, user and time.
func (t *tracer) dovecot(l *life, c *logline.Event) ([]logline.Event, Known, error) {
	if c.Session != "" {
		told, err := t.v.ofSession(c.Session)
		return told, BySession, err
	}
	if c.Agent == "smtp" || c.Agent == "discard" || l.messageID == "" {
		return nil, "", nil
	}
	all, err := t.v.storedAs(l.messageID)
	if err != nil {
		return nil, "", err
	}
	var told []logline.Event
	for _, e := range all {
		if isUser(e.User, c.Address) && !e.Time.Before(c.Time.Add(-beforeCopy)) && !e.Time.After(c.Time.Add(afterCopy)) && plainID(e.MessageID) == plainID(l.messageID) {
			told = append(told, e)
		}
	}
	for i := range told {
		if told[i].Session != told[0].Session {
			return nil, "", nil // two messages with one Message-ID at one time
		}
	}
	return told, ByMessageID, nil
}

// isUser reports whether an address is a user's: the login is the address, with
// or without extension, or its local part.
func isUser(user, address string) bool {
	user, address = fold(user), fold(address)
	local, domain, _ := cutLast(address, "@")
	base, _, _ := strings.Cut(local, "+")
	return user == address || user == local || user == base || user == base+"@"+domain
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// followMessageID follows messages with the entry's Message-ID that went under
// other queue IDs and have no entry of their own: what a Sieve script redirected,
// and what a list server sent anew, where nothing else has the Message-ID.
func (t *tracer) followMessageID() error {
	if plainID(t.entry.MessageID) == "" {
		return nil
	}
	alone, err := isAlone(t.journal, t.entry)
	if err != nil {
		return err
	}
	if !alone && !slices.ContainsFunc(t.out, func(d Delivery) bool { return d.Status == Forwarded }) {
		return nil
	}
	ids, err := t.v.queueIDs(t.entry.MessageID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if t.seen[id] {
			continue
		}
		l, err := t.life(id, func(l *life) bool {
			return plainID(l.messageID) == plainID(t.entry.MessageID) && !l.began().Before(t.entry.Time.Add(-slack))
		})
		if err != nil {
			return err
		}
		if l == nil {
			continue
		}
		own, err := entryOf(t.journal, l)
		if err != nil {
			return err
		}
		parent, redirected := t.redirectedTo(l)
		if own != nil || !redirected && !alone {
			continue
		}
		t.seen[id] = true
		known := ByMessageID
		if redirected {
			known = ByRedirect
		} else {
			parent = t.entry.QueueID
		}
		if err := t.follow(l, parent, known, 1); err != nil {
			return err
		}
	}
	return nil
}

// redirectedTo finds the forward that a life carries out: one of its copies goes
// where a Sieve script sent the message.
func (t *tracer) redirectedTo(l *life) (parent string, ok bool) {
	for _, c := range l.copies() {
		for i := range t.out {
			d := &t.out[i]
			if d.Status == Forwarded && (fold(d.Address) == fold(c.Address) || fold(d.Address) == fold(c.Through)) &&
				!l.began().Before(d.Time.Add(-slack)) && l.began().Before(d.Time.Add(slack)) {
				return d.QueueID, true
			}
		}
	}
	return "", false
}

// isAlone reports whether no other entry of the journal has this entry's
// Message-ID.
func isAlone(j Journal, e *journal.Entry) (bool, error) {
	n := 0
	for r, err := range j.Lookup(journal.KeyOfMessageID(e.MessageID)) {
		if err != nil {
			return false, err
		}
		if r.Entry.MessageID == e.MessageID && r.Entry.ID != e.ID {
			return false, nil
		}
		if n++; n == maxTwins {
			return false, nil
		}
	}
	return true, nil
}

// entryOf finds the entry that the journal has of a life's own, nil if it has
// none.
func entryOf(j Journal, l *life) (*journal.Entry, error) {
	n := 0
	for r, err := range j.Lookup(journal.KeyOfQueueID(l.queueID)) {
		if err != nil {
			return nil, err
		}
		// Of so many that the time does not tell them apart, any one.
		if n++; r.Entry.QueueID == l.queueID && (l.holds(r.Entry.Time) || n == maxTwins) {
			return r.Entry, nil
		}
	}
	return nil, nil
}

// missing adds the envelope's recipients of whom no line tells.
func (t *tracer) missing(own *life) {
	told := map[string]bool{}
	for i := range t.out {
		if d := &t.out[i]; d.Parent == "" || d.Known == ByNextID {
			told[fold(d.Recipient)], told[fold(d.Address)] = true, true
		}
	}
	for _, to := range t.entry.To {
		if told[fold(to)] {
			continue
		}
		told[fold(to)] = true
		d := Delivery{Recipient: to, Address: to, Status: Unconfirmed, QueueID: t.entry.QueueID, Time: t.entry.Time, Known: ByEnvelope}
		switch {
		case own == nil || len(t.out) >= maxDeliveries:
		case own.refused != nil:
			d.Status, d.Reply, d.Time, d.Known = Refused, own.refused.Reply, own.refused.Time, ByQueueID
		case own.ended && own.deleted:
			d.Status, d.Time, d.Known = Removed, own.to, ByQueueID
		case own.expired:
			d.Status, d.Time, d.Known = Expired, own.to, ByQueueID
		case !own.ended:
			d.Status, d.Known = InTransit, ByQueueID
		}
		t.out = append(t.out, d)
	}
}
