package app

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/intel"
)

// letter makes the n-th message of some 10 KB, text and HTML with three URLs;
// no two are alike in what the journal indexes.
func letter(n int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from mail%d.shop.test (mail%d.shop.test [198.51.100.7])\r\n\tby mx.example.org (Postfix) with ESMTPS id 4Y%d\r\n\tfor <a@example.org>; Sat, 21 Nov 2026 10:00:00 +0000 (UTC)\r\n", n, n, n)
	for i := range 8 {
		fmt.Fprintf(&b, "X-Header-%d: some value of a header field that is of no interest to anybody\r\n", i)
	}
	fmt.Fprintf(&b, "From: \"Shop %d\" <news%d@shop%d.test>\r\nTo: a@example.org\r\nReply-To: service@shop%d.test\r\nSubject: News number %d\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d@shop%d.test>\r\n", n, n, n%5000, n%5000, n, n, n%5000)
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	b.WriteString(strings.Repeat("This is some text of a newsletter, which goes on and on and says nothing =\r\nthat anybody would want to read to its end.\r\n", 26))
	fmt.Fprintf(&b, "https://www.shop%d.test/offer/%d?utm_source=3Dmail\r\n--=_b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><head><title>News</title><style>p { margin: 0 }</style></head><body>\r\n", n%5000, n)
	b.WriteString(strings.Repeat("<p class=\"text\" style=\"color:#333\">This is some text of a newsletter, which goes on and on.</p>\r\n", 58))
	fmt.Fprintf(&b, "<a href=\"https://www.shop%d.test/offer/%d\">the offer</a> <img src=\"https://img.shop%d.test/%d.png\">\r\n</body></html>\r\n--=_b--\r\n", n%5000, n, n%5000, n)
	return []byte(b.String())
}

// BenchmarkDaemon measures the whole path over the unix socket, journal and
// index included. The CPU figure includes the driver, which is in the same
// process; make bench measures them apart.
func BenchmarkDaemon(b *testing.B) {
	for _, sessions := range []int{1, 16} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			s := newSite(b, "[log]\nlevel = \"warn\"\n")
			s.start()
			letters := make([][]byte, 20000)
			for i := range letters {
				letters[i] = letter(i)
			}
			b.SetBytes(int64(len(letters[0])))
			b.ReportAllocs()
			before := cpu()
			b.ResetTimer()
			var group sync.WaitGroup
			for n := range sessions {
				group.Go(func() {
					session := s.session()
					defer func() { _ = session.Close() }()
					for i := n; i < b.N; i += sessions {
						r, err := session.Send(&miltertest.Message{QueueID: "4Y1", From: "<news@shop.test>", To: []miltertest.Recipient{{Address: "<a@example.org>"}}, Raw: letters[i%len(letters)]})
						if err != nil || r.Action != intel.ActionAccept {
							b.Error(err, r.Action)
							return
						}
					}
				})
			}
			group.Wait()
			j := s.app.rooms().journal
			if err := j.Wait(b.Context(), j.Last()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
