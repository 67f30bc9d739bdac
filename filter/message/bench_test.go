package message

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // indicators name files by it
	"crypto/sha1" //nolint:gosec // indicators name files by it
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jhillyerd/enmime/v2"
)

// usualMessage is what most mail looks like: about 10 KB of text and HTML, with
// three links.
func usualMessage() []byte {
	const prose = "The delivery note that you asked for is in the portal, and the remaining boxes follow on Thursday. "
	var text, page strings.Builder
	for i := range 34 {
		text.WriteString(prose + "\r\n")
		page.WriteString("<p style=3D\"margin:0 0 12px 0\">" + prose[:60] + "=\r\n" + prose[60:] + "<br></p>\r\n")
		switch i {
		case 3:
			text.WriteString("See https://portal.example.com/orders/4711?from=mail for the details.\r\n")
			page.WriteString("<a href=3D\"https://portal.example.com/orders/4711?from=3Dmail\">the details</a>\r\n")
		case 9:
			page.WriteString("<img src=3D\"https://static.example.net/logo.png\" width=3D120>\r\n")
		case 20:
			page.WriteString("<a href=3D\"http://www.example.org/imprint\">www.example.org/imprint</a>\r\n")
		}
	}
	return []byte(strings.ReplaceAll(`Received: from mail.example.com (mail.example.com [192.0.2.10])
	by mx.example.org (Postfix) with ESMTPS id 4bXyZ12345
	for <bob@example.org>; Tue, 18 Nov 2025 10:00:01 +0100 (CET)
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=s1;
	h=from:to:subject:date:message-id:mime-version:content-type;
	bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;
	b=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR
Authentication-Results: mx.example.org; dkim=pass header.d=example.com
From: "Alice Example" <alice@example.com>
To: Bob <bob@example.org>, "Carol, Sales" <carol@example.org>
Subject: =?utf-8?Q?Your_order_4711_=E2=80=93_delivery_on_Thursday?=
Date: Tue, 18 Nov 2025 10:00:00 +0100
Message-ID: <4711.1763456400@mail.example.com>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="=_b1_7f3a9c"
X-Mailer: Example Mailer 7.2
List-Unsubscribe: <https://portal.example.com/unsubscribe/abc>

This is a message in MIME format.

--=_b1_7f3a9c
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

`, "\n", "\r\n") + text.String() + strings.ReplaceAll(`
--=_b1_7f3a9c
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

<html><head><meta charset=3D"utf-8"><title>Your order</title></head><body>
`, "\n", "\r\n") + page.String() + "</body></html>\r\n\r\n--=_b1_7f3a9c--\r\n")
}

// attachmentMessage has one attachment of about 1 MB of base64.
func attachmentMessage() (raw, encoded []byte) {
	content := make([]byte, 57*13796)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	var b bytes.Buffer
	for len(content) > 0 {
		b.WriteString(base64.StdEncoding.EncodeToString(content[:57]) + "\r\n")
		content = content[57:]
	}
	encoded = b.Bytes()
	raw = append([]byte(strings.ReplaceAll(`From: alice@example.com
To: bob@example.org
Subject: the file
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Here it is.
--b
Content-Type: application/octet-stream; name=data.bin
Content-Disposition: attachment; filename=data.bin
Content-Transfer-Encoding: base64

`, "\n", "\r\n")), encoded...)
	return append(raw, "--b--\r\n"...), encoded
}

func benchmarkParse(b *testing.B, raw []byte) {
	p, err := NewParser(Limits{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		p.Parse(raw, nil)
	}
}

func benchmarkEnmime(b *testing.B, raw []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := enmime.ReadEnvelope(bytes.NewReader(raw)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUsualMessage(b *testing.B) {
	raw := usualMessage()
	b.Run("parse", func(b *testing.B) { benchmarkParse(b, raw) })
	b.Run("enmime", func(b *testing.B) { benchmarkEnmime(b, raw) })
	b.Run("digests alone", func(b *testing.B) {
		hashes := []hash.Hash{sha256.New(), sha256.New(), sha1.New(), md5.New()} //nolint:gosec // as above
		b.SetBytes(int64(len(raw)))
		var sum [64]byte
		for b.Loop() {
			for _, h := range hashes {
				h.Reset()
				h.Write(raw)
				h.Sum(sum[:0])
			}
		}
	})
}

func BenchmarkOneMegabyteAttachment(b *testing.B) {
	raw, encoded := attachmentMessage()
	b.Run("parse", func(b *testing.B) { benchmarkParse(b, raw) })
	b.Run("enmime", func(b *testing.B) { benchmarkEnmime(b, raw) })
	b.Run("digests and base64 alone", func(b *testing.B) {
		hashes := []hash.Hash{sha256.New(), sha1.New(), md5.New()} //nolint:gosec // as above
		out := make([]byte, len(encoded))
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			n, err := base64.StdEncoding.Decode(out, encoded)
			if err != nil {
				b.Fatal(err)
			}
			for _, h := range hashes {
				h.Reset()
				h.Write(out[:n])
				h.Sum(nil)
			}
		}
	})
}
