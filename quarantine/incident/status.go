package incident

import (
	"cmp"
	"slices"
	"time"
)

// Status says what is still to come over all incidents.
type Status struct {
	Incidents int // in which something is still to come
	Waiting   int // deliveries that wait for a person
	Following int // deliveries of which the delivery log may still have news
	Ready     int // jobs that a sidecar could have
	Pausing   int // jobs that are tried again later
	Leased    int // jobs that a sidecar has
	// Oldest is since when the first of the ready jobs could have been done; zero:
	// there is none.
	Oldest   time.Time
	Sidecars []Sidecar // that were heard of since the Desk was made, by name; the last 100
}

// Sidecar is who asked for work.
type Sidecar struct {
	Actor  string
	Heard  time.Time // now, while it is waiting for work
	Leases int       // jobs that it has
}

// Heard gives when a sidecar was heard of last; zero: never.
func (s Status) Heard() time.Time {
	var last time.Time
	for _, c := range s.Sidecars {
		if c.Heard.After(last) {
			last = c.Heard
		}
	}
	return last
}

// Status gives the state at this moment. Until Run has loaded what is not finished
// there is nothing in it.
func (d *Desk) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	s := Status{Incidents: len(d.lives), Ready: d.queue.ready, Pausing: d.queue.pauses.Len(), Leased: len(d.queue.leases)}
	for _, deliveries := range d.lives {
		for _, l := range deliveries {
			switch {
			case l.closed:
			case l.rec.Waits != "":
				s.Waiting++
			case l.rec.followed():
				s.Following++
			}
		}
	}
	for _, b := range d.queue.boxes {
		for _, t := range b.ready.items {
			if b.leased == 0 && (s.Oldest.IsZero() || t.due.Before(s.Oldest)) {
				s.Oldest = t.due
			}
		}
	}
	leases := map[string]int{}
	for _, l := range d.queue.leases {
		leases[l.actor]++
	}
	for actor, p := range d.sidecars {
		c := Sidecar{Actor: actor, Heard: p.heard, Leases: leases[actor]}
		if p.asking > 0 {
			c.Heard = now
		}
		s.Sidecars = append(s.Sidecars, c)
	}
	slices.SortFunc(s.Sidecars, func(a, b Sidecar) int { return cmp.Compare(a.Actor, b.Actor) })
	return s
}

// presence is when a sidecar was heard of.
type presence struct {
	heard  time.Time
	asking int // calls that wait for work
}

// maxSidecars bounds of how many sidecars is known when they were heard of: those
// that were last, and all that are waiting for work.
const maxSidecars = 100

// hear notes that a sidecar asks for work, until left is called.
func (d *Desk) hear(actor string) (left func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.sidecars[actor]
	if p == nil {
		if len(d.sidecars) >= maxSidecars && !d.forgetSidecar() {
			return func() {}
		}
		p = &presence{}
		d.sidecars[actor] = p
	}
	p.asking++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		p.asking--
		p.heard = d.now()
	}
}

// forgetSidecar forgets the sidecar that was heard of longest ago, and reports
// whether there is one that does not wait for work. Desk.mu is held.
func (d *Desk) forgetSidecar() bool {
	oldest := ""
	for actor, p := range d.sidecars {
		if p.asking == 0 && (oldest == "" || p.heard.Before(d.sidecars[oldest].heard)) {
			oldest = actor
		}
	}
	delete(d.sidecars, oldest)
	return oldest != ""
}
