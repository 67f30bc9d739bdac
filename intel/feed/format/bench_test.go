package format_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/feed/format"
)

// BenchmarkRead reads feeds of entries that are all different; ns/op and
// allocs/op are those of one entry.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name   string
		format format.Format
		begin  string
		entry  func(i int) string
		end    string
	}{
		{"plain domains", format.Plain, "", func(i int) string { return fmt.Sprintf("host%d.evil.example\n", i) }, ""},
		{"plain addresses", format.Plain, "", func(i int) string { return fmt.Sprintf("198.%d.%d.%d\t5\n", 51+i>>16&3, i>>8&255, i&255) }, ""},
		{"plain URLs", format.Plain, "", func(i int) string { return fmt.Sprintf("https://evil.example/pay/%d\n", i) }, ""},
		{"plain digests", format.Plain, "", func(i int) string { return fmt.Sprintf("%064x\n", i) }, ""},
		{"hosts", format.Hosts, "", func(i int) string { return fmt.Sprintf("0.0.0.0 host%d.evil.example\n", i) }, ""},
		{"urlhaus", format.URLhaus, "# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n", func(i int) string {
			return fmt.Sprintf("\"%d\",\"2026-11-20 11:40:07\",\"http://evil.example/%d/bin.sh\",\"online\",\"2026-11-20 11:40:07\",\"malware_download\",\"32-bit,elf\",\"https://urlhaus.example/url/%d/\",\"anna\"\n", i, i, i)
		}, ""},
		{"stix", format.STIX, `{"objects":[{"type":"identity"}`, func(i int) string {
			return fmt.Sprintf(`,{"type":"indicator","spec_version":"2.1","id":"indicator--8a2f7f3e-0d6f-4d9b-9a53-%012d","created":"2026-11-01T09:00:00.000Z","modified":"2026-11-02T09:00:00.123456Z","name":"Pay page","indicator_types":["malicious-activity"],"pattern":"[url:value = 'https://evil.example/pay/%d']","pattern_type":"stix","valid_from":"2026-11-01T09:00:00Z"}`, i, i)
		}, `]}`},
		{"misp", format.MISP, `{"Event":{"Attribute":[{"type":"text"}`, func(i int) string {
			return fmt.Sprintf(`,{"type":"url","category":"Network activity","to_ids":true,"uuid":"5b8d9d56-0f4c-43bc-b789-%012d","timestamp":"1794960000","comment":"pay page","deleted":false,"value":"https://evil.example/pay/%d"}`, i, i)
		}, `]}}`},
		{"warninglist", format.Warninglist, `{"type":"hostname","list":["first.example"`, func(i int) string { return fmt.Sprintf(`,"host%d.good.example"`, i) }, `]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			const entries = 10_000
			var text strings.Builder
			text.WriteString(c.begin)
			for i := range entries {
				text.WriteString(c.entry(i))
			}
			text.WriteString(c.end)
			f, err := format.New(with(format.Options{Format: c.format, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text.String())), nil }}))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			for n < b.N {
				for _, err := range f.Entries {
					if err != nil {
						b.Fatal(err)
					}
					if n++; n == b.N {
						break
					}
				}
			}
			b.SetBytes(int64(text.Len() / entries))
		})
	}
}
