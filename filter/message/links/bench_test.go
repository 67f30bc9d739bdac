package links

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// newsletter is HTML as mail programs write it, of about n bytes with three links.
func newsletter(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`<!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"><style>p{margin:0 0 1em;font-family:Arial,Helvetica,sans-serif}</style></head><body>`)
	b.WriteString(`<img src="https://img.shop.example/logo.png" alt="Shop"><a href="https://www.shop.example/offers?id=1182&amp;c=spring" style="color:#0a0a0a">See the <b>offers</b></a>`)
	for i := 0; b.Len() < n-200; i++ {
		fmt.Fprintf(&b, `<tr><td align="left" style="padding:4px 8px;font-size:14px;color:#333333"><p class="MsoNormal">Paragraph %d: nothing to click here, only words&nbsp;and more words, in sentences. They end, and others begin.</p></td></tr>`+"\r\n", i)
	}
	b.WriteString(`<p>Unsubscribe at <a href="https://www.shop.example/u/%7Ejoe">https://www.shop.example/u/~joe</a></p></body></html>`)
	return b.Bytes()
}

func prose(n int) []byte {
	return []byte(strings.Repeat("It was a dull day, and the men (all four of them) went on with what they had begun: they mended the weir. Nobody spoke much.\r\n", n/124))
}

func BenchmarkLinks(b *testing.B) {
	page, plain := newsletter(6<<10), append(prose(4<<10), "See https://www.shop.example/offers?id=1182 today.\r\n"...)
	none := func(Found) bool { return true }
	// A message of 10 KB, text and HTML.
	b.Run("message/10KB", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(page) + len(plain)))
		for b.Loop() {
			Text(plain, Options{}, none)
			HTML(page, Options{}, none)
		}
	})
	b.Run("text/prose", func(b *testing.B) {
		text := prose(1 << 20)
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			Text(text, Options{}, none)
		}
	})
	big := newsletter(1 << 20)
	b.Run("html/newsletter", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(big)))
		for b.Loop() {
			HTML(big, Options{}, none)
		}
	})
	// The tokenizer alone, which decodes attributes and looks for nothing.
	b.Run("html/newsletter/x-net-tokenizer", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(big)))
		for b.Loop() {
			z := html.NewTokenizer(bytes.NewReader(big))
			for z.Next() != html.ErrorToken {
				for more := true; more; {
					_, _, more = z.TagAttr()
				}
			}
		}
	})
	b.Run("html/prose", func(b *testing.B) {
		text := prose(1 << 20)
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			HTML(text, Options{}, none)
		}
	})
}
