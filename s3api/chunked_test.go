package s3api

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"unistore/checksum"
)

// The streaming modes.
const (
	modeSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	modeSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	modeUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// streamCase is a PUT in a streaming mode.
type streamCase struct {
	mode   string
	data   string
	chunks []int // sizes; the rest is a last chunk
	alg    string
}

// build makes the signed request and its body.
func (c streamCase) build(t testing.TB, headers ...string) (*Request, *Auth, string) {
	t.Helper()
	headers = append(headers, "Content-Encoding: aws-chunked", "x-amz-decoded-content-length: "+strconv.Itoa(len(c.data)))
	if c.alg != "" {
		headers = append(headers, "x-amz-trailer: "+checksum.Header(c.alg), "x-amz-sdk-checksum-algorithm: "+c.alg)
	}
	r, a := signedPut(t, "", c.mode, headers...)
	w := &chunkWriter{}
	if c.mode != modeUnsignedTrailer {
		w.previous = signatureOf(r)
	}
	rest := c.data
	for _, n := range c.chunks {
		w.chunk(rest[:n])
		rest = rest[n:]
	}
	if rest != "" {
		w.chunk(rest)
	}
	w.chunk("")
	if c.alg != "" {
		w.trailer(checksum.Header(c.alg), sumOf(c.alg, c.data))
	}
	return r, a, w.end()
}

// streamModes is one case of each mode.
func streamModes(data string, chunks ...int) []streamCase {
	return []streamCase{
		{modeSigned, data, chunks, ""},
		{modeSignedTrailer, data, chunks, "CRC32"},
		{modeUnsignedTrailer, data, chunks, "CRC64NVME"},
	}
}

func TestChunkedRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	for range 40 {
		data := make([]byte, rnd.IntN(200000))
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		var chunks []int
		for left := len(data); left > minChunk && rnd.IntN(6) > 0; {
			n := minChunk + rnd.IntN(left-minChunk)
			chunks = append(chunks, n)
			left -= n
		}
		for _, c := range streamModes(string(data), chunks...) {
			if c.alg != "" {
				c.alg = checksum.Algorithms[rnd.IntN(len(checksum.Algorithms))]
			}
			r, a, body := c.build(t)
			wantBody(t, a, withBody(r, body), c.data, "", "")
			if rnd.IntN(2) == 0 { // over Transfer-Encoding: chunked
				withBody(r, body).ContentLength = -1
				wantBody(t, a, r, c.data, "", "")
			}
		}
	}
}

func TestChunkedTrailerOfNothing(t *testing.T) {
	for _, alg := range checksum.Algorithms {
		r, a, body := streamCase{modeUnsignedTrailer, "", nil, alg}.build(t)
		b, err := a.Body(withBody(r, body))
		if err != nil {
			t.Fatal(err)
		}
		if b.Size != 0 || b.Checksum == nil || b.Checksum.Algorithm != alg || b.Checksum.Value != sumOf(alg, "") ||
			b.TrailingAlgorithm != "" || b.Trailing() != nil {
			t.Errorf("%s: %+v, %+v", alg, b, b.Checksum)
		}
	}
}

func TestChunkedTrailing(t *testing.T) {
	for _, alg := range checksum.Algorithms {
		r, a, body := streamCase{modeUnsignedTrailer, "abc", nil, alg}.build(t, "Content-MD5: "+md5Of("abc"))
		b, err := a.Body(withBody(r, body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(b); err != nil {
			t.Fatal(err)
		}
		if b.TrailingAlgorithm != alg {
			t.Errorf("the trailer is said to hold %q, want %q", b.TrailingAlgorithm, alg)
		}
		if got := b.Trailing(); len(got) != 1 || got[0].Algorithm != alg || got[0].Value != sumOf(alg, "abc") {
			t.Errorf("%s: %+v", alg, got)
		}
		if b.Checksum != nil || b.MD5 == "" {
			t.Errorf("%+v", b)
		}
	}
}

// The other shapes in which known clients send the end of a body.
func TestChunkedEnds(t *testing.T) {
	const crc = "x-amz-checksum-crc32:"
	sum := sumOf("CRC32", "abc")
	for _, body := range []string{
		"3\r\nabc\r\n0\r\n" + crc + sum + "\r\n\r\n",
		"3\r\nabc\r\n0\r\n" + crc + sum + "\r\n",         // no last CRLF
		"3\r\nabc\r\n0\r\n" + crc + sum + "\n\r\n",       // minio-go
		"3\r\nabc\r\n0\r\n\r\n" + crc + sum + "\r\n\r\n", // an empty line first
		"3\r\nabc\r\n0\r\nX-Amz-Checksum-CRC32: " + sum + " \r\n\r\n",
		"000003\r\nabc\r\n000\r\n" + crc + sum + "\r\n\r\n",
	} {
		r, a, _ := streamCase{modeUnsignedTrailer, "abc", nil, "CRC32"}.build(t)
		wantBody(t, a, withBody(r, body), "abc", "", "")
	}
	for _, body := range []string{"3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n"} { // no trailer was promised
		r, a, _ := streamCase{modeUnsignedTrailer, "abc", nil, ""}.build(t)
		wantBody(t, a, withBody(r, body), "abc", "", "")
	}
	// minio-go signs a trailer with LF CRLF in it.
	c := streamCase{modeSignedTrailer, "abc", nil, "CRC32"}
	r, a, body := c.build(t)
	wantBody(t, a, withBody(r, strings.Replace(body, sum+"\r\n", sum+"\n\r\n", 1)), "abc", "", "")
}

func TestChunkedMalformed(t *testing.T) {
	crc := "x-amz-checksum-crc32:" + sumOf("CRC32", "abc") + "\r\n\r\n"
	big := strings.Repeat("b", minChunk)
	tests := []struct {
		name, body string
		code       ErrorCode
		text       string
	}{
		{"nothing", "", ErrIncompleteBody, ""},
		{"no framing", "abc", ErrIncompleteBody, ""},
		{"no hex", "g\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "no valid size"},
		{"signed hex", "+3\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "no valid size"},
		{"prefixed hex", "0x3\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "no valid size"},
		{"empty size", "\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "no valid size"},
		{"spaces", "3 \r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "no valid size"},
		{"huge size", "ffffffffffffffff\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "no valid size"},
		{"size beyond the length", "7fffffffffffff\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, ""},
		{"LF only", "3\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "CRLF"},
		{"extension", "3;a=b\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "extension"},
		{"signature in an unsigned stream", "3;chunk-signature=" + emptySHA256 + "\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "extension"},
		{"long line", strings.Repeat("0", maxChunkLine) + "3\r\nabc\r\n0\r\n" + crc, ErrIncompleteBody, "too long"},
		{"endless line", strings.Repeat("0", 1<<20), ErrIncompleteBody, "too long"},
		{"chunk longer than its size", "3\r\nabcd\r\n0\r\n" + crc, ErrIncompleteBody, ""},
		{"no CRLF after data", "3\r\nabc0\r\n" + crc, ErrIncompleteBody, ""},
		{"more than the length", "3\r\nabc\r\n1\r\nd\r\n0\r\n" + crc, ErrIncompleteBody, ""},
		{"less than the length", "2\r\nab\r\n0\r\n" + crc, ErrIncompleteBody, ""},
		{"no last chunk", "3\r\nabc\r\n", ErrIncompleteBody, ""},
		{"small chunk", "1\r\na\r\n2\r\nbc\r\n0\r\n" + crc, ErrInvalidChunkSizeError, ""},
		{"no trailer", "3\r\nabc\r\n0\r\n\r\n", ErrMalformedTrailerError, ""},
		{"no colon", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32\r\n\r\n", ErrMalformedTrailerError, ""},
		{"empty value", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:\r\n\r\n", ErrMalformedTrailerError, ""},
		{"another trailer", "3\r\nabc\r\n0\r\nx-amz-checksum-sha1:" + sumOf("SHA1", "abc") + "\r\n\r\n", ErrMalformedTrailerError, ""},
		{"one more before", "3\r\nabc\r\n0\r\nx-amz-meta-a:b\r\n" + crc, ErrMalformedTrailerError, ""},
		{"one more after", "3\r\nabc\r\n0\r\n" + crc[:len(crc)-2] + "x-amz-meta-a:b\r\n\r\n", ErrIncompleteBody, "after the end"},
		{"trailer signature", "3\r\nabc\r\n0\r\n" + crc[:len(crc)-2] + "x-amz-trailer-signature:00\r\n\r\n", ErrIncompleteBody, "after the end"},
		{"long trailer", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:" + strings.Repeat("A", maxChunkLine) + "\r\n\r\n", ErrMalformedTrailerError, ""},
		{"empty lines", "3\r\nabc\r\n0\r\n" + strings.Repeat("\r\n", 100) + crc, ErrMalformedTrailerError, ""},
		{"bad checksum", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:" + sumOf("CRC32", "x") + "\r\n\r\n", ErrBadDigest, "CRC32"},
		{"no checksum", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n", ErrInvalidRequest, "Value for x-amz-checksum-crc32 trailing header is invalid."},
		{"data after the end", "3\r\nabc\r\n0\r\n" + crc + "x", ErrIncompleteBody, "after the end"},
		{"a body after the end", "3\r\nabc\r\n0\r\n" + crc + big, ErrIncompleteBody, "after the end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, a, _ := streamCase{modeUnsignedTrailer, "abc", nil, "CRC32"}.build(t)
			e := wantBody(t, a, withBody(r, tt.body), "abc", tt.code, tt.text)
			if strings.HasSuffix(tt.name, "length") && e.field("NumberBytesExpected") != "3" {
				t.Errorf("fields %+v", e.Fields)
			}
		})
	}
}

func TestChunkedBadHeaders(t *testing.T) {
	const length = "x-amz-decoded-content-length: 3"
	tests := []struct {
		name, mode string
		headers    []string
		code       ErrorCode
		text       string
	}{
		{"no length", modeSigned, nil, ErrMissingContentLength, ""},
		{"length not a number", modeSigned, []string{"x-amz-decoded-content-length: x"}, ErrInvalidArgument, ""},
		{"negative length", modeSigned, []string{"x-amz-decoded-content-length: -1"}, ErrInvalidArgument, ""},
		{"signed length", modeSigned, []string{"x-amz-decoded-content-length: +3"}, ErrInvalidArgument, ""},
		{"endless length", modeSigned, []string{"x-amz-decoded-content-length: 99999999999999999999"}, ErrInvalidArgument, ""},
		{"more than was sent", modeSigned, []string{"x-amz-decoded-content-length: 1000000"}, ErrIncompleteBody, ""},
		{"trailer in a mode without", modeSigned, []string{length, "x-amz-trailer: x-amz-checksum-crc32"}, ErrInvalidRequest, "x-amz-trailer"},
		{"no trailer in the signed mode", modeSignedTrailer, []string{length}, ErrMalformedTrailerError, ""},
		{"trailer that is no checksum", modeUnsignedTrailer, []string{length, "x-amz-trailer: x-amz-meta-a"}, ErrInvalidRequest, "not supported"},
		{"two trailers", modeUnsignedTrailer, []string{length, "x-amz-trailer: x-amz-checksum-crc32,x-amz-checksum-sha1"}, ErrInvalidRequest, "Expecting a single"},
		{"trailer and header", modeUnsignedTrailer, []string{length, "x-amz-trailer: x-amz-checksum-crc32", "x-amz-checksum-sha1: " + sumOf("SHA1", "abc")}, ErrInvalidRequest, "Expecting a single"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, a := signedPut(t, "3\r\nabc\r\n0\r\n\r\n", tt.mode, tt.headers...)
			_, err := a.Body(r)
			wantError(t, err, tt.code, tt.text)
		})
	}
}

// No byte of a signed body may change, wherever it stands; and none of an unsigned one that is data or checksum.
func TestChunkedFlippedBytes(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", (minChunk+100)/16)
	for _, c := range streamModes(data, minChunk) {
		r, a, body := c.build(t)
		for at := 0; at < len(body); at += 1 + at%89 {
			for _, flip := range []byte{1, 0x20} {
				bad := body[:at] + string(rune(body[at]^flip)) + body[at+1:]
				if strings.EqualFold(bad, body) && flip == 0x20 {
					continue // case of hex digits and of trailer names does not matter
				}
				b, err := a.Body(withBody(r, bad))
				var got []byte
				if err == nil {
					got, err = io.ReadAll(b)
				}
				if err == nil || len(got) >= len(data) {
					t.Fatalf("%s: byte %d of %d changed (%q): %d bytes, %v", c.mode, at, len(body), bad[max(0, at-20):at+5], len(got), err)
				}
			}
		}
	}
}

func TestChunkedTruncated(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", (minChunk+100)/16)
	for _, c := range streamModes(data, minChunk) {
		r, a, body := c.build(t)
		for cut := 0; cut < len(body); cut += 1 + cut%97 {
			withBody(r, body[:cut]).ContentLength = int64(len(body))
			e := wantBody(t, a, r, data, ErrIncompleteBody, "")
			if !e.Close {
				t.Errorf("cut at %d: the connection stays open", cut)
			}
		}
		// Also when the length of the whole is not known, but for the last CRLF.
		for cut := 0; cut < len(body)-2; cut += 1 + cut%97 {
			withBody(r, body[:cut]).ContentLength = -1
			b, err := a.Body(r)
			if err == nil {
				_, err = io.ReadAll(b)
			}
			if err == nil {
				t.Errorf("%s cut at %d of %d is whole", c.mode, cut, len(body))
			}
		}
	}
}

// A signed chunk cannot be left out, doubled, moved or taken from another request.
func TestChunkedReplay(t *testing.T) {
	chunks := []string{strings.Repeat("a", minChunk), strings.Repeat("b", minChunk)}
	c := streamCase{modeSigned, chunks[0] + chunks[1], []int{minChunk}, ""}
	r, a, body := c.build(t)
	second := strings.Index(body, "\r\n2000;") + 2
	first, last := body[:second], body[strings.LastIndex(body, "0;"):]
	rest := body[second : len(body)-len(last)]
	for name, bad := range map[string]string{
		"swapped": rest + first + last, "doubled": first + first + last, "second twice": rest + rest + last,
	} {
		t.Run(name, func(t *testing.T) {
			e := wantBody(t, a, withBody(r, bad), c.data, ErrSignatureDoesNotMatch, "")
			if e.field("StringToSign") == "" {
				t.Errorf("%+v", e)
			}
		})
	}
	_, _, other := streamCase{modeSigned, c.data, []int{2 * minChunk}, ""}.build(t)
	wantBody(t, a, withBody(r, other), c.data, "", "") // same seed: same request
	r2, a2, _ := c.build(t, "x-amz-meta-a: b")
	wantBody(t, a2, withBody(r2, body), c.data, ErrSignatureDoesNotMatch, "")
}

// A chunk is larger than any buffer, in one read or many.
func TestChunkedLargeChunk(t *testing.T) {
	data := strings.Repeat("x", 5<<20)
	for _, c := range streamModes(data) {
		r, a, body := c.build(t)
		wantBody(t, a, withBody(r, body), data, "", "")
		r.Body, r.ContentLength = strings.NewReader(body), int64(len(body))
		b, err := a.Body(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(b); err != nil || string(got) != data {
			t.Errorf("%s: %d bytes, %v", c.mode, len(got), err)
		}
	}
}

func TestChunkedPresigned(t *testing.T) {
	w := &chunkWriter{}
	body := w.chunk("abc").chunk("").trailer("x-amz-checksum-crc32", sumOf("CRC32", "abc")).end()
	r := presign(t, "PUT", "/b/k?X-Amz-Expires=600", exampleAWS, map[string][]string{
		"X-Amz-Content-Sha256": {modeUnsignedTrailer}, "X-Amz-Decoded-Content-Length": {"3"}, "X-Amz-Trailer": {"x-amz-checksum-crc32"}})
	a, err := exampleVerifier(exampleTime).Verify(withBody(r, body))
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", r.RawQuery, err))
	}
	wantBody(t, a, r, "abc", "", "")
}
