package pull_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

// BenchmarkPull takes 1000 messages of 20 KB out of 100 mailboxes in memory: what it
// costs is the sidecar's own work, and the daemon's digests.
func BenchmarkPull(b *testing.B) {
	const mailboxes, each = 100, 10
	text := strings.Repeat("some text of a letter that is neither long nor short\r\n", 380)
	jobs := make([]job.Job, 0, mailboxes*each)
	raws := make([][]byte, 0, mailboxes*each)
	for i := range mailboxes {
		for n := range each {
			raw := fmt.Appendf(nil, "Message-ID: <target-%d-%d@example.org>\r\nSubject: x\r\n\r\n%s%d %d", i, n, text, i, n)
			raws = append(raws, raw)
			jobs = append(jobs, jobOf(fmt.Sprintf("j%d", i*each+n), login(i), raw))
		}
	}
	for _, together := range []bool{false, true} {
		b.Run(fmt.Sprintf("together=%v", together), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				d, m := pulltest.NewDaemon(), &memory{boxes: map[string][]*mail{}}
				d.Together = together
				for i, j := range jobs {
					if i%each == 0 {
						m.boxes[j.Mailbox] = []*mail{}
					}
					m.add(j.Mailbox, "INBOX", fmt.Sprintf("1/%d", i%each), raws[i])
					d.Add(j)
				}
				b.StartTimer()
				s := run(b, d, m, nil)
				for i := range jobs {
					if r := s.result(i); r.Outcome != job.Pulled {
						b.Fatal(i, pulltest.Was(r), r.Detail)
					}
				}
				s.end()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(jobs)), "µs/message")
		})
	}
}
