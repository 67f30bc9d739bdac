package contain

import (
	"fmt"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

// BenchmarkMatch is what a message of an authenticated user costs, who is not
// contained.
func BenchmarkMatch(b *testing.B) {
	site := siteWith(b, people)
	now := time.Unix(0, 0)
	client, err := intel.IP(siteWith(b, "").Internal[0].Addr().Next())
	if err != nil {
		b.Fatal(err)
	}
	shown := []intel.Observable{
		{Value: client, Role: intel.RoleClient}, {Value: address(b, "carla@example.org"), Role: intel.RoleEnvelopeFrom}, {Value: address(b, "carla@example.org"), Role: intel.RoleHeaderFrom},
	}
	for _, n := range []int{0, 1, MaxInForce} {
		var all []*Containment
		for i := range n {
			c := &Containment{ID: fmt.Sprint(i), Kind: User, Value: fmt.Sprint("user", i), Scope: All, Until: now.Add(time.Hour)}
			if i%2 == 1 {
				c.Kind, c.Value = Client, fmt.Sprintf("10.1.%d.%d", i/250, i%250)
			}
			all = append(all, c)
		}
		s := newSnapshot(all, &site)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if hits := s.Match("csmith", shown, true, now); len(hits) > 0 {
					b.Fatal(hits)
				}
			}
		})
	}
}
