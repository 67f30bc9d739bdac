package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/weirmail/weir/filter/milter/miltertest"
)

// The letters that are sent: some 10 KB of text and HTML with three URLs, 21 or
// 22 header fields and one to three recipients, as a shop's newsletter has them.
// The n-th letter is always the same, and no two are alike in what a filter that
// remembers has to index: sender, Message-ID, queue ID, URLs, bodies.
const (
	shops     = 5000 // sending domains
	mailboxes = 2000 // recipients
	domain    = "example.org"
)

// wish is what shall be special about a letter. The zero wish is a letter that
// nobody has anything against.
type wish struct {
	sender     string // envelope and header sender
	host       string // of the picture
	link       string // instead of the offer's URL
	attachment []byte
}

// pen writes letters into a buffer of its own. It is for one goroutine.
type pen struct {
	message miltertest.Message
	date    string
}

func newPen() *pen {
	return &pen{date: time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700")}
}

// write gives the n-th letter, valid until the next call.
func (p *pen) write(n uint64, w wish) *miltertest.Message {
	r := random(n)
	shop := strconv.Itoa(int(r.next() % shops))
	number := strconv.FormatUint(n, 10)
	sender, host, link := w.sender, w.host, w.link
	if sender == "" {
		sender = "news-" + number + "@shop" + shop + ".test"
	}
	if host == "" {
		host = "img.shop" + shop + ".test"
	}
	if link == "" {
		link = "https://www.shop" + shop + ".test/offer/" + number
	}
	m := &p.message
	m.QueueID = "4c" + strconv.FormatUint(0x10000000+n, 32)
	m.From = "<" + sender + ">"
	m.To = m.To[:0]
	first := r.next()
	for i := range 1 + n%3 {
		m.To = append(m.To, miltertest.Recipient{Address: "<user" + strconv.Itoa(int((first+i)%mailboxes)) + "@" + domain + ">"})
	}

	b := draft{m.Raw[:0], r}
	b.header(p.date, shop, number, sender, m, w.attachment != nil)
	if w.attachment != nil {
		b.add("--=_m_", number, "\r\nContent-Type: multipart/alternative; boundary=\"=_b_", number, "\"\r\n\r\n")
	}
	b.add("--=_b_", number, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
		"Dear customer, this is issue ", number, " =E2=80=93 have a pleasant read.\r\n\r\n")
	for range 40 {
		b.add(b.line(), "\r\n")
	}
	b.add("\r\n", link, "\r\n")
	b.add("--=_b_", number, "\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n",
		"<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Issue ", number, "</title>\r\n",
		"<style>p { margin: 0 0 12px 0; font-family: Arial, Helvetica, sans-serif }</style></head><body>\r\n",
		"<table width=\"600\"><tr><td><img src=\"https://", host, "/issue/", number, ".png\" width=\"600\" alt=\"\"></td></tr>\r\n")
	for range 36 {
		b.add("<tr><td align=\"left\"><p class=\"text\" style=\"color:#333333\">", b.line(), "</p></td></tr>\r\n")
	}
	b.add("<tr><td><a href=\"", link, "\" style=\"color:#0a58ca\">See the <b>offer</b></a> or ",
		"<a href=\"https://www.shop", shop, ".test/leave?c=", number, "&amp;l=news\">leave the list</a></td></tr></table>\r\n</body></html>\r\n",
		"--=_b_", number, "--\r\n")
	if w.attachment != nil {
		b.add("--=_m_", number, "\r\nContent-Type: application/octet-stream; name=\"data.bin\"\r\nContent-Disposition: attachment; filename=\"data.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		b.attach(w.attachment)
		b.add("--=_m_", number, "--\r\n")
	}
	m.Raw = b.raw
	return m
}

// draft is a letter being written.
type draft struct {
	raw []byte
	random
}

func (b *draft) add(parts ...string) {
	for _, p := range parts {
		b.raw = append(b.raw, p...)
	}
}

func (b *draft) header(date, shop, number, sender string, m *miltertest.Message, attached bool) {
	id := number + "." + strconv.FormatUint(b.next(), 36) + "@mta.shop" + shop + ".test"
	b.add("Received: from mta1.shop", shop, ".test (mta1.shop", shop, ".test [192.0.2.10])\r\n\tby relay.shop", shop, ".test (Postfix) with ESMTPS id 4b", number, "\r\n\tfor ", m.To[0].Address, "; ", date, "\r\n",
		"Received: from app.shop", shop, ".test (app [10.1.2.3])\r\n\tby mta1.shop", shop, ".test (Postfix) with ESMTP id 4a", number, ";\r\n\t", date, "\r\n",
		"Received: by app.shop", shop, ".test (newsletter, from userid 33)\r\n\tid ", number, "; ", date, "\r\n",
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=shop", shop, ".test; s=s1;\r\n\th=from:to:subject:date:message-id:mime-version:content-type;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=")
	for range 8 {
		b.add(strconv.FormatUint(b.next(), 36))
	}
	b.add("\r\nFrom: \"Shop ", shop, "\" <", sender, ">\r\nTo: ", m.To[0].Address[1:len(m.To[0].Address)-1], "\r\n")
	if len(m.To) > 1 {
		b.add("Cc: ", m.To[1].Address, "\r\n")
	}
	b.add("Reply-To: service@shop", shop, ".test\r\nSender: mailer@shop", shop, ".test\r\n",
		"Subject: =?utf-8?Q?News_no._", number, "_=E2=80=93_what_is_new_this_week?=\r\nDate: ", date, "\r\nMessage-ID: <", id, ">\r\n",
		"List-Id: News of shop ", shop, " <news.shop", shop, ".test>\r\nList-Unsubscribe: <mailto:leave@shop", shop, ".test>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nPrecedence: bulk\r\n",
		"Feedback-ID: ", number, ":news:shop", shop, "\r\nOrganization: Shop ", shop, "\r\nX-Mailer: Newsletter 7.2\r\nX-Campaign: ", number, "\r\nContent-Language: en\r\nMIME-Version: 1.0\r\n")
	kind, boundary := "alternative", "=_b_"
	if attached {
		kind, boundary = "mixed", "=_m_"
	}
	b.add("Content-Type: multipart/", kind, "; boundary=\"", boundary, number, "\"\r\n\r\n")
}

// attach writes base64 in lines of 76 characters.
func (b *draft) attach(content []byte) {
	for len(content) > 0 {
		n := min(57, len(content))
		b.raw = base64.StdEncoding.AppendEncode(b.raw, content[:n])
		b.raw = append(b.raw, '\r', '\n')
		content = content[n:]
	}
}

// line gives a line of text, one of so many thousands that no two bodies are
// alike.
func (b *draft) line() string { return sentences[b.next()%uint64(len(sentences))] }

// random is a small generator of numbers (splitmix64): the letters of a number
// are the same in every process and every run.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// knownBad is what the lists name, n entries of each kind. Letters have nothing
// of it, unless they are wished to.
type knownBad struct{ n int }

func (k knownBad) domain(i int) string { return fmt.Sprintf("bad%06d.test", i%k.n) }
func (k knownBad) sender(i int) string { return fmt.Sprintf("ceo@imposter%06d.test", i%k.n) }
func (k knownBad) urlHost(i int) string {
	return fmt.Sprintf("login%06d.test", i%k.n)
}
func (k knownBad) url(i int) string { return "https://" + k.urlHost(i) + "/pay/now" }

// content is the attachment whose digest is listed.
func (k knownBad) content(i int) []byte {
	return fmt.Appendf(nil, "This is the malicious file number %06d.\n", i%k.n)
}

func (k knownBad) digest(i int) string {
	sum := sha256.Sum256(k.content(i))
	return hex.EncodeToString(sum[:])
}

// all gives the n entries of one kind.
func (k knownBad) all(entry func(int) string) []string {
	list := make([]string, k.n)
	for i := range list {
		list[i] = entry(i)
	}
	return list
}
