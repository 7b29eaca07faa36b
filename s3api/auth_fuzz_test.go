package s3api

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// fuzzError fails unless err is an answer to a client.
func fuzzError(t *testing.T, err error) ErrorCode {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if e.Code.Status() >= 500 {
		t.Fatalf("status %d: %v", e.Code.Status(), err)
	}
	return e.Code
}

// FuzzVerify: no request makes Verify panic or fail otherwise than with an answer, and what it accepts is
// authenticated.
func FuzzVerify(f *testing.F) {
	const scope = "Credential=" + exampleAccess + "/" + exampleScope
	good := "Host: examplebucket.s3.amazonaws.com\nx-amz-date: 20130524T000000Z\nRange: bytes=0-9\nx-amz-content-sha256: " +
		emptySHA256 + "\nAuthorization: AWS4-HMAC-SHA256 " + scope + ",SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
		"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
	f.Add("GET", "/test.txt", "", good)
	f.Add("GET", "/test.txt", query, "Host: examplebucket.s3.amazonaws.com")
	f.Add("GET", "/test.txt", query+"&%", good)
	f.Add("PUT", "/%", "a=%&=&&+=%2", strings.Replace(good, "host;", ";;HOST;", 1))
	f.Add("GET", "", "X-Amz-Expires=&X-Amz-Signature", "")
	f.Add("GET", "/", "Signature=&AWSAccessKeyId", "Authorization: AWS4-HMAC-SHA256 Credential=////,SignedHeaders=,Signature=")
	f.Add("GET", "/", "", "Authorization:\nAuthorization: AWS a:b\n:\nx-amz-date: Fri, 24 May 2013 00:00:00 GMT")
	v := exampleVerifier(exampleTime)
	f.Fuzz(func(t *testing.T, method, path, query, header string) {
		r := exampleRequest(method, path, strings.Split(header, "\n")...)
		r.RawQuery = query
		a, err := v.Verify(r)
		if err != nil {
			fuzzError(t, err)
			return
		}
		if a.AccessKey != exampleAccess || a.Anonymous || r.Method != "GET" || string(appendPath(nil, r.RawPath)) != "/test.txt" {
			t.Fatalf("%+v of %+v", a, r)
		}
	})
}

// FuzzChunked: no body makes the decoder panic, hang or deliver more than was announced; how it is read does not
// matter; and a body that fails never is delivered whole.
func FuzzChunked(f *testing.F) {
	for _, c := range streamModes(strings.Repeat("fuzz", 3000), minChunk) {
		_, _, body := c.build(f)
		f.Add(body, int64(12000), uint8(len(c.mode)))
	}
	for _, body := range []string{"", "0\r\n\r\n", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n", "3\r\nab", "\r\n\r\n",
		"3;chunk-signature=\r\nabc\r\n", "FFFFFFFFFFFFFFF\r\nabc", "3\r\nabc\r\n0\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"} {
		for mode := range uint8(3) {
			f.Add(body, int64(3), mode)
			f.Add(body, int64(0), mode)
		}
	}
	read := func(body string, length int64, mode payloadMode, step int) (string, error) {
		a := &Auth{AccessKey: exampleAccess, payload: payload{mode: mode}, chain: chain{
			key: deriveKey(exampleSecret, "20130524", "us-east-1"), timestamp: "20130524T000000Z", scope: exampleScope, seed: emptySHA256}}
		r := withBody(&Request{Method: "PUT"}, body)
		r.Header = Header{{headerDecodedLength, strconv.FormatInt(length, 10)}}
		if mode.trailer() {
			r.Header = append(r.Header, Field{headerTrailer, "x-amz-checksum-crc32"})
		}
		b, err := a.Body(r)
		var got strings.Builder
		for p := make([]byte, step); err == nil; {
			var n int
			n, err = b.Read(p)
			got.Write(p[:n])
		}
		return got.String(), err
	}
	f.Fuzz(func(t *testing.T, body string, length int64, m uint8) {
		mode := payloadSigned + payloadMode(m%3)
		if length < 0 {
			return
		}
		got, err := read(body, length, mode, 1<<16)
		other, err2 := read(body, length, mode, 1)
		if err == io.EOF {
			if int64(len(got)) != length || err2 != io.EOF || other != got {
				t.Fatalf("%d bytes of %d, then %d bytes, %v", len(got), length, len(other), err2)
			}
			return
		}
		if err2 == io.EOF || fuzzError(t, err) != fuzzError(t, err2) {
			t.Fatalf("%v, then %v", err, err2)
		}
		if n := int64(max(len(got), len(other))); n >= length && n > 0 {
			t.Fatalf("%d bytes of %d were delivered before %v", n, length, err)
		}
	})
}
