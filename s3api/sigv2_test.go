package s3api

import (
	"errors"
	"strings"
	"testing"
	"time"
)

type v2Keys struct{}

func (v2Keys) Lookup(accessKey string) (Credential, bool) {
	if accessKey != "AKIAIOSFODNN7EXAMPLE" {
		return Credential{}, false
	}
	return Credential{AccessKey: accessKey, SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}, true
}

// URLs that botocore 1.44 presigned (HmacV1QueryAuth), and what must break them.
func TestPresignedVersion2(t *testing.T) {
	const (
		key  = "AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE"
		good = key + "&Signature=tORkXNJJpLbjXsB7DEe85ibvFFY%3D&Expires=1175139620"
		path = "/photos/puppy%20%2B%C3%A9.jpg"
		host = "awsexamplebucket1.s3.us-west-1.amazonaws.com"
	)
	before := time.Unix(1175139600, 0)
	for _, c := range []struct {
		name, method, path, query, host string
		now                             time.Time
		want                            ErrorCode
	}{
		{"virtual host", "GET", path, good, host, before, ""},
		{"path style", "GET", "/awsexamplebucket1" + path, good, "s3.us-west-1.amazonaws.com", before, ""},
		{"subresources", "GET", "/awsexamplebucket1/k", "response-content-type=text%2Fplain&versionId=null&" + key +
			"&Signature=8%2BQ%2Br5eejhe6QzsPrJbmKiUKNsU%3D&Expires=1175139620", "s3.us-west-1.amazonaws.com", before, ""},
		{"expired", "GET", path, good, host, time.Unix(1175139621, 0), ErrAccessDenied},
		{"other method", "PUT", path, good, host, before, ErrSignatureDoesNotMatch},
		{"other key", "GET", path + "x", good, host, before, ErrSignatureDoesNotMatch},
		{"other bucket", "GET", path, good, "b2.s3.us-west-1.amazonaws.com", before, ErrSignatureDoesNotMatch},
		{"longer life", "GET", path, strings.Replace(good, "1175139620", "2175139620", 1), host, before, ErrSignatureDoesNotMatch},
		{"a subresource added", "GET", path, good + "&uploadId=1", host, before, ErrSignatureDoesNotMatch},
		{"an override added", "GET", path, good + "&response-content-type=text/html", host, before, ErrSignatureDoesNotMatch},
		{"x-amz added", "GET", path, good + "&x-amz-acl=public-read", host, before, ErrSignatureDoesNotMatch},
		{"unknown key", "GET", path, strings.Replace(good, "AKIA", "AKIB", 1), host, before, ErrInvalidAccessKeyId},
		{"no signature", "GET", path, key + "&Expires=1175139620", host, before, ErrAccessDenied},
		{"no expiry", "GET", path, key + "&Signature=x", host, before, ErrAccessDenied},
		{"bad expiry", "GET", path, key + "&Signature=x&Expires=soon", host, before, ErrAccessDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := NewVerifier(v2Keys{}, VerifierConfig{Region: "us-west-1",
				BaseDomains: []string{"s3.us-west-1.amazonaws.com"}, Now: func() time.Time { return c.now }})
			auth, err := v.Verify(&Request{Method: c.method, RawPath: c.path, RawQuery: c.query, Host: c.host})
			if c.want == "" {
				if err != nil || !auth.Presigned || auth.AccessKey != "AKIAIOSFODNN7EXAMPLE" {
					t.Fatalf("%+v, %v", auth, err)
				}
				return
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
