package s3api

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"unistore/checksum"
)

// wantBody reads r's body in pieces of random size and fails unless it is data, or fails with code before the last byte of data
// came. It returns the error.
func wantBody(t *testing.T, a *Auth, r *Request, data string, code ErrorCode, text string) *Error {
	t.Helper()
	var got bytes.Buffer
	b, err := a.Body(r)
	if err == nil {
		seed := uint64(time.Now().UnixNano())
		rnd := rand.New(rand.NewPCG(seed, 2))
		for err == nil {
			p := make([]byte, 1+rnd.IntN(1+rnd.IntN(9000)))
			var n int
			n, err = b.Read(p)
			got.Write(p[:n])
			if n == 0 && err == nil {
				t.Fatal("Read of nothing without an error")
			}
		}
		if _, again := b.Read(make([]byte, 1)); again != err {
			t.Errorf("error %v, then %v (seed %d)", err, again, seed)
		}
	}
	if code == "" {
		if err != io.EOF || got.String() != data {
			t.Fatalf("%d bytes of %d, %v", got.Len(), len(data), err)
		}
		if b.Size >= 0 && b.Size != int64(len(data)) {
			t.Errorf("size %d of %d bytes", b.Size, len(data))
		}
		return nil
	}
	if err == io.EOF {
		t.Fatalf("%d bytes were read without an error, want %s", got.Len(), code)
	}
	if got.Len() > 0 && got.Len() >= len(data) {
		t.Errorf("all %d bytes were delivered before %v", got.Len(), err)
	}
	return wantError(t, err, code, text)
}

func sumOf(alg, s string) string {
	h, _ := checksum.New(alg)
	h.Write([]byte(s))
	return checksum.Encode(h)
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestBodyPlain(t *testing.T) {
	for _, size := range []int{0, 1, 2, 4095, 4096, 100000} {
		data := strings.Repeat("0123456789", size/10+1)[:size]
		wrong := "x" + data
		tests := []struct {
			name, hash, header, value string
			code                      ErrorCode
		}{
			{"unsigned", unsignedPayload, "", "", ""},
			{"hash", sha256Hex(data), "", "", ""},
			{"wrong hash", sha256Hex(wrong), "", "", ErrXAmzContentSHA256Mismatch},
			{"MD5", unsignedPayload, "Content-MD5", md5Of(data), ""},
			{"wrong MD5", unsignedPayload, "Content-MD5", md5Of(wrong), ErrBadDigest},
			{"hash and SHA256", sha256Hex(data), "x-amz-checksum-sha256", sumOf("SHA256", data), ""},
			{"hash and wrong SHA256", sha256Hex(data), "x-amz-checksum-sha256", sumOf("SHA256", wrong), ErrBadDigest},
		}
		for _, alg := range checksum.Algorithms {
			tests = append(tests, struct {
				name, hash, header, value string
				code                      ErrorCode
			}{alg, unsignedPayload, checksum.Header(alg), sumOf(alg, data), ""}, struct {
				name, hash, header, value string
				code                      ErrorCode
			}{"wrong " + alg, unsignedPayload, checksum.Header(alg), sumOf(alg, wrong), ErrBadDigest})
		}
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.name, " ", size), func(t *testing.T) {
				var headers []string
				if tt.header != "" {
					headers = []string{tt.header + ": " + tt.value}
				}
				r, a := signedPut(t, data, tt.hash, headers...)
				wantBody(t, a, r, data, tt.code, "")
				r = withBody(r, data)
				r.ContentLength = -1 // Transfer-Encoding: chunked
				wantBody(t, a, r, data, tt.code, "")
			})
		}
	}
}

func TestBodyFields(t *testing.T) {
	r, a := signedPut(t, "abc", unsignedPayload, "x-amz-checksum-crc32: "+sumOf("CRC32", "abc"), "Content-MD5: "+md5Of("abc"))
	b, err := a.Body(r)
	if err != nil {
		t.Fatal(err)
	}
	if b.Size != 3 || b.MD5 != md5Of("abc") || b.Checksum == nil || b.Checksum.Algorithm != "CRC32" ||
		b.Checksum.Value != sumOf("CRC32", "abc") || b.Trailing() != nil || b.TrailingAlgorithm != "" {
		t.Errorf("%+v", b)
	}
	r, a = signedPut(t, "", unsignedPayload)
	r.Body, r.ContentLength = nil, -1
	if b, err := a.Body(r); err != nil || b.Size != 0 || b.Checksum != nil || b.MD5 != "" {
		t.Errorf("%+v, %v", b, err)
	}
}

// An empty body is verified although nobody may read it.
func TestBodyEmptyIsVerifiedAtOnce(t *testing.T) {
	r, a := signedPut(t, "", sha256Hex("not empty"))
	_, err := a.Body(r)
	wantError(t, err, ErrXAmzContentSHA256Mismatch, "")
	w := &chunkWriter{}
	r, a = signedPut(t, w.chunk("").trailer("x-amz-checksum-crc32", sumOf("CRC32", "x")).end(),
		"STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length: 0", "x-amz-trailer: x-amz-checksum-crc32")
	_, err = a.Body(r)
	wantError(t, err, ErrBadDigest, "")
}

func TestBodyBadHeaders(t *testing.T) {
	crc := "x-amz-checksum-crc32: " + sumOf("CRC32", "abc")
	tests := []struct {
		name    string
		headers []string
		code    ErrorCode
		text    string
	}{
		{"MD5 not base64", []string{"Content-MD5: !!"}, ErrInvalidDigest, ""},
		{"MD5 empty", []string{"Content-MD5: "}, ErrInvalidDigest, ""},
		{"MD5 short", []string{"Content-MD5: AAAA"}, ErrInvalidDigest, ""},
		{"CRC not base64", []string{"x-amz-checksum-crc32: !!"}, ErrInvalidRequest, "Value for x-amz-checksum-crc32 header is invalid."},
		{"CRC of wrong length", []string{"x-amz-checksum-crc32: AAAAAAAAAAA="}, ErrInvalidRequest, "Value for x-amz-checksum-crc32"},
		{"unknown algorithm", []string{"x-amz-checksum-foo: AAAA"}, ErrInvalidRequest, "The algorithm type you specified"},
		{"two", []string{crc, "x-amz-checksum-sha1: " + sumOf("SHA1", "abc")}, ErrInvalidRequest, "Expecting a single"},
		{"the same twice", []string{crc, crc}, ErrInvalidRequest, "Expecting a single"},
		{"trailer without streaming", []string{"x-amz-trailer: x-amz-checksum-crc32"}, ErrInvalidRequest, "x-amz-trailer"},
		{"declared algorithm unknown", []string{crc, "x-amz-sdk-checksum-algorithm: FOO"}, ErrInvalidRequest, "x-amz-sdk-checksum-algorithm header is invalid"},
		{"declared algorithm another", []string{crc, "x-amz-sdk-checksum-algorithm: SHA1"}, ErrInvalidRequest, "x-amz-sdk-checksum-algorithm header is invalid"},
		{"declared and missing", []string{"x-amz-sdk-checksum-algorithm: CRC32"}, ErrInvalidRequest, "no corresponding"},
		{"declared", []string{crc, "x-amz-sdk-checksum-algorithm: CRC32"}, "", ""},
		{"other headers of the prefix", []string{crc, "x-amz-checksum-type: FULL_OBJECT", "x-amz-checksum-algorithm: CRC32"}, "", ""},
		{"aws-chunked in Content-Encoding only", []string{"Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 1"}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, a := signedPut(t, "abc", unsignedPayload, tt.headers...)
			wantBody(t, a, r, "abc", tt.code, tt.text)
		})
	}
}

// The checksum of CompleteMultipartUpload is the object's; that of DeleteObjects is the body's.
func TestBodyChecksumOfObject(t *testing.T) {
	const xml = "<Complete/>"
	headers := []string{"x-amz-checksum-crc32: " + sumOf("CRC32", "the object"), "Content-MD5: " + md5Of(xml)}
	r, a := signedRequest(t, "POST", "/b/k?uploadId=1", xml, sha256Hex(xml), headers...)
	wantBody(t, a, r, xml, "", "")
	r, a = signedRequest(t, "POST", "/b?delete", xml, sha256Hex(xml), headers...)
	wantBody(t, a, r, xml, ErrBadDigest, "CRC32")
	r, a = signedRequest(t, "PUT", "/b/k?partNumber=1&uploadId=1", xml, sha256Hex(xml), headers...)
	wantBody(t, a, r, xml, ErrBadDigest, "CRC32")
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestBodyReadErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code ErrorCode
	}{
		{"short", nil, ErrIncompleteBody},
		{"unexpected EOF", io.ErrUnexpectedEOF, ErrIncompleteBody},
		{"reset", errors.New("connection reset by peer"), ErrIncompleteBody},
		{"wrapped EOF", fmt.Errorf("broken chunk: %w", io.EOF), ErrIncompleteBody},
		{"deadline", os.ErrDeadlineExceeded, ErrRequestTimeout},
		{"timeout", fmt.Errorf("read: %w", timeoutError{}), ErrRequestTimeout},
		{"ours", &Error{Code: ErrSlowDown, Close: true}, ErrSlowDown},
	}
	const data = "0123456789"
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, length := range []int64{10, -1} {
				if length < 0 && tt.err == nil {
					continue
				}
				r, a := signedPut(t, "", unsignedPayload)
				r.Body, r.ContentLength = &pieces{s: data[:7], err: tt.err}, length
				b, err := a.Body(r)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(b)
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Code != tt.code || !e.Close || string(got) != data[:len(got)] {
					t.Errorf("length %d: %q, %+v", length, got, err)
				}
			}
		})
	}
}

// While anything is wrong or missing, the last byte does not come, for any size of Read.
func TestBodyHoldsLastByte(t *testing.T) {
	data := strings.Repeat("z", 20000)
	w := &chunkWriter{}
	w.chunk(data[:10000]).chunk(data[10000:]).chunk("").trailer("x-amz-checksum-crc32", sumOf("CRC32", data+"!"))
	bodies := []struct {
		name, hash, body string
		length           int64
		headers          []string
	}{
		{"hash", sha256Hex("other"), data, 20000, nil},
		{"hash, length not known", sha256Hex("other"), data, -1, nil},
		{"trailer", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", w.end(), int64(w.Len()),
			[]string{"x-amz-decoded-content-length: 20000", "x-amz-trailer: x-amz-checksum-crc32"}},
	}
	for _, tt := range bodies {
		for _, step := range []int{1, 2, 3, 4096, 9999, 10000, 19999, 20000, 50000} {
			r, a := signedPut(t, tt.body, tt.hash, tt.headers...)
			r.ContentLength = tt.length
			b, err := a.Body(r)
			if err != nil {
				t.Fatal(err)
			}
			got, buf := 0, make([]byte, step)
			for err == nil {
				var n int
				n, err = b.Read(buf)
				got += n
			}
			if err == io.EOF || got >= len(data) {
				t.Errorf("%s by %d: %d bytes, %v", tt.name, step, got, err)
			}
		}
	}
}

// A reader that stops at the right length, as drivers do, has verified bytes.
func TestBodyStopAtLength(t *testing.T) {
	for _, body := range []string{"right", "wrong"} {
		r, a := signedPut(t, body, sha256Hex("right"), "x-amz-checksum-crc32c: "+sumOf("CRC32C", "right"))
		b, err := a.Body(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadFull(b, make([]byte, b.Size))
		if (err == nil) != (body == "right") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestBodyFlippedBytes(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 40)
	for i := 0; i < len(data); i += 13 {
		bad := data[:i] + string(data[i]^1) + data[i+1:]
		r, a := signedPut(t, bad, sha256Hex(data))
		wantBody(t, a, r, bad, ErrXAmzContentSHA256Mismatch, "")
	}
}
