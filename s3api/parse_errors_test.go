package s3api_test

import (
	"strings"
	"testing"

	. "unistore/s3api" //nolint:revive // the tables are made of its types
)

type rejectTest struct {
	name     string
	line     string
	headers  []string
	code     ErrorCode
	argument string // ArgumentName, or the Header field of NotImplemented
	op       string // name of the operation
}

func runReject(t *testing.T, tests []rejectTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			op, err := parse(t, tt.line, tt.headers...)
			e := wantError(t, tt.line, err, tt.code)
			if arg := field(e, "ArgumentName") + field(e, "Header"); arg != tt.argument {
				t.Errorf("about %q, want %q (%v)", arg, tt.argument, e)
			}
			if op.Name() != tt.op {
				t.Errorf("operation %s, want %s", op.Name(), tt.op)
			}
		})
	}
}

func TestRejectTarget(t *testing.T) {
	long := strings.Repeat("k", MaxKeyLength+1)
	runReject(t, []rejectTest{
		{"no slash", "GET bkt", nil, ErrInvalidURI, "", "ListBuckets"},
		{"asterisk", "GET *", nil, ErrInvalidURI, "", "ListBuckets"},
		{"bad escape", "GET /bkt/a%zz", nil, ErrInvalidURI, "", "GetObject"},
		{"half an escape", "GET /bkt/a%2", nil, ErrInvalidURI, "", "GetObject"},
		{"bare percent", "GET /bkt/%", nil, ErrInvalidURI, "", "GetObject"},
		{"bad escape in the bucket", "GET /b%kt/a", nil, ErrInvalidURI, "", "GetObject"},
		{"not UTF-8", "GET /bkt/%ff", nil, ErrInvalidURI, "", "GetObject"},
		{"overlong UTF-8", "GET /bkt/%c0%af", nil, ErrInvalidURI, "", "GetObject"},
		{"surrogate", "GET /bkt/%ed%a0%80", nil, ErrInvalidURI, "", "GetObject"},
		{"raw byte", "GET /bkt/\xff", nil, ErrInvalidURI, "", "GetObject"},
		{"NUL", "GET /bkt/a%00", nil, ErrInvalidURI, "", "GetObject"},
		{"key too long", "PUT /bkt/" + long, nil, ErrKeyTooLongError, "", "PutObject"},
		{"key too long in bytes", "PUT /bkt/" + strings.Repeat("%C3%A4", 513), nil, ErrKeyTooLongError, "", "PutObject"},
		{"no bucket", "GET //k", nil, ErrInvalidBucketName, "", "GetObject"},
		{"reserved path", "GET /_unistore/v1", nil, ErrInvalidBucketName, "", "GetObject"},
		{"reserved host", "GET /v1", []string{"Host: _unistore.s3.localhost"}, ErrInvalidBucketName, "", "GetObject"},
		{"slash in the bucket", "GET /bkt%2Fa/k", nil, ErrInvalidBucketName, "", "GetObject"},
		{"dots", "GET /../etc/passwd", nil, ErrInvalidBucketName, "", "GetObject"},
		{"encoded dots", "GET /%2e%2e/k", nil, ErrInvalidBucketName, "", "GetObject"},
		{"bad escape in a name", "GET /bkt?pre%fix=a", nil, ErrInvalidURI, "", "ListObjects"},
		{"bad escape in a value", "GET /bkt?prefix=%", nil, ErrInvalidURI, "", "ListObjects"},
		{"query is not UTF-8", "GET /bkt?prefix=%ff", nil, ErrInvalidURI, "", "ListObjects"},
	})
}

func TestCheckBucket(t *testing.T) {
	good := []string{"abc", "a-b", "a.b", "1.2.3", "1.2.3.4a", "my.bucket-1", strings.Repeat("a", 63), "amzn-s3-demo-bucket"}
	for _, name := range good {
		if err := CheckBucket(name); err != nil {
			t.Errorf("CheckBucket(%q) = %v", name, err)
		}
	}
	bad := []string{"", "a", "ab", strings.Repeat("a", 64), "ABC", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "1.2.3.4",
		"192.168.005.4", "xn--abc", "sthree-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap", "abc--x-s3", "abc--table-s3",
		"a b", "a/b", "äbc", "abc\n", "_unistore"}
	for _, name := range bad {
		e := wantError(t, name, CheckBucket(name), ErrInvalidBucketName)
		if field(e, "BucketName") != name {
			t.Errorf("CheckBucket(%q) is about %q", name, field(e, "BucketName"))
		}
	}
}

func TestRejectParameters(t *testing.T) {
	runReject(t, []rejectTest{
		{"repeated", "GET /bkt?prefix=a&prefix=a", nil, ErrInvalidArgument, "prefix", "ListObjects"},
		{"repeated, encoded", "GET /bkt?prefix=a&pref%69x=b", nil, ErrInvalidArgument, "prefix", "ListObjects"},
		{"max-keys", "GET /bkt?max-keys=abc", nil, ErrInvalidArgument, "max-keys", "ListObjects"},
		{"max-keys negative", "GET /bkt?max-keys=-1", nil, ErrInvalidArgument, "max-keys", "ListObjects"},
		{"max-keys overflow", "GET /bkt?max-keys=2147483648", nil, ErrInvalidArgument, "max-keys", "ListObjects"},
		{"max-keys huge", "GET /bkt?list-type=2&max-keys=99999999999999999999", nil, ErrInvalidArgument, "max-keys", "ListObjectsV2"},
		{"max-keys fraction", "GET /bkt?versions&max-keys=1.5", nil, ErrInvalidArgument, "max-keys", "ListObjectVersions"},
		{"max-uploads", "GET /bkt?uploads&max-uploads=x", nil, ErrInvalidArgument, "max-uploads", "ListMultipartUploads"},
		{"max-buckets", "GET /?max-buckets=0", nil, ErrInvalidArgument, "max-buckets", "ListBuckets"},
		{"bucket-region", "GET /?bucket-region=eu", nil, ErrNotImplemented, "", "ListBuckets"},
		{"encoding", "GET /bkt?encoding-type=base64", nil, ErrInvalidArgument, "encoding-type", "ListObjects"},
		{"list type", "GET /bkt?list-type=3", nil, ErrInvalidArgument, "list-type", "ListObjectsV2"},
		{"version marker alone", "GET /bkt?versions&version-id-marker=v", nil, ErrInvalidArgument, "version-id-marker", "ListObjectVersions"},
		{"part 0", "GET /bkt/k?partNumber=0", nil, ErrInvalidArgument, "partNumber", "GetObject"},
		{"part 10001", "HEAD /bkt/k?partNumber=10001", nil, ErrInvalidArgument, "partNumber", "HeadObject"},
		{"part empty", "GET /bkt/k?partNumber", nil, ErrInvalidArgument, "partNumber", "GetObject"},
		{"part and range", "GET /bkt/k?partNumber=1", []string{"Range: bytes=0-1"}, ErrInvalidRequest, "", "GetObject"},
		{"version empty", "GET /bkt/k?versionId=", nil, ErrInvalidArgument, "versionId", "GetObject"},
		{"delete version empty", "DELETE /bkt/k?versionId", nil, ErrInvalidArgument, "versionId", "DeleteObject"},
		{"put version", "PUT /bkt/k?versionId=null", nil, ErrInvalidArgument, "versionId", "PutObject"},
		{"put part without an upload", "PUT /bkt/k?partNumber=1", nil, ErrInvalidArgument, "uploadId", "PutObject"},
		{"delete part without an upload", "DELETE /bkt/k?partNumber=1", nil, ErrInvalidArgument, "uploadId", "DeleteObject"},
		{"upload empty", "PUT /bkt/k?partNumber=1&uploadId=", nil, ErrInvalidArgument, "uploadId", "UploadPart"},
		{"abort empty", "DELETE /bkt/k?uploadId", nil, ErrInvalidArgument, "uploadId", "AbortMultipartUpload"},
		{"complete empty", "POST /bkt/k?uploadId", nil, ErrInvalidArgument, "uploadId", "CompleteMultipartUpload"},
		{"list parts empty", "GET /bkt/k?uploadId", nil, ErrInvalidArgument, "uploadId", "ListParts"},
		{"upload part 0", "PUT /bkt/k?partNumber=0&uploadId=u", nil, ErrInvalidArgument, "partNumber", "UploadPart"},
		{"upload part absent", "PUT /bkt/k?uploadId=u", nil, ErrInvalidArgument, "partNumber", "UploadPart"},
		{"part marker", "GET /bkt/k?uploadId=u&part-number-marker=-1", nil, ErrInvalidArgument, "part-number-marker", "ListParts"},
		{"override with a line feed", "GET /bkt/k?response-content-type=a%0d%0aSet-Cookie:x", nil, ErrInvalidArgument,
			"response-content-type", "GetObject"},
		{"conflict", "GET /bkt?acl&versions", nil, ErrInvalidArgument, "ResourceType", "ListObjectVersions"},
		{"conflict on a write", "PUT /bkt/k?tagging&uploadId=u&partNumber=1", nil, ErrInvalidArgument, "ResourceType", "UploadPart"},
	})
}

func TestRejectHeaders(t *testing.T) {
	tests := []rejectTest{
		{"metadata too large", "PUT /bkt/k", []string{"x-amz-meta-name: " + strings.Repeat("v", 2045)}, ErrMetadataTooLarge, "", "PutObject"},
		{"metadata too large in sum", "POST /bkt/k?uploads", []string{"x-amz-meta-a: " + strings.Repeat("v", 1024),
			"x-amz-meta-a: " + strings.Repeat("v", 1024)}, ErrMetadataTooLarge, "", "CreateMultipartUpload"},
		{"metadata without a name", "PUT /bkt/k", []string{"x-amz-meta-: v"}, ErrInvalidArgument, "x-amz-meta-", "PutObject"},
		{"metadata with a space", "PUT /bkt/k", []string{"x-amz-meta-a b: v"}, ErrInvalidArgument, "x-amz-meta-a b", "PutObject"},
		{"control character", "PUT /bkt/k", []string{"x-amz-meta-a: a\rb"}, ErrInvalidArgument, "x-amz-meta-a", "PutObject"},
		{"metadata in Latin-1", "PUT /bkt/k", []string{"x-amz-meta-a: h\xe4"}, ErrInvalidArgument, "x-amz-meta-a", "PutObject"},
		{"disposition in Latin-1", "PUT /bkt/k", []string{"Content-Disposition: inline; filename=\"\xe4\""}, ErrInvalidArgument,
			"content-disposition", "PutObject"},
		{"control character in a type", "PUT /bkt/k", []string{"Content-Type: a\x00b"}, ErrInvalidArgument, "content-type", "PutObject"},
		{"storage class", "PUT /bkt/k", []string{"x-amz-storage-class: FAST"}, ErrInvalidStorageClass, "", "PutObject"},
		{"directive", "PUT /bkt/k", []string{"x-amz-copy-source: src/a", "x-amz-metadata-directive: MERGE"},
			ErrInvalidArgument, "x-amz-metadata-directive", "CopyObject"},
		{"copy onto itself", "PUT /bkt/a%20b", []string{"x-amz-copy-source: /bkt/a%20b", "Content-Type: a/b"}, ErrInvalidRequest, "", "CopyObject"},
		{"attributes missing", "GET /bkt/k?attributes", nil, ErrInvalidRequest, "", "GetObjectAttributes"},
		{"attributes empty", "GET /bkt/k?attributes", []string{"x-amz-object-attributes: , "}, ErrInvalidRequest, "", "GetObjectAttributes"},
		{"attributes unknown", "GET /bkt/k?attributes", []string{"x-amz-object-attributes: ETag,Owner"}, ErrInvalidArgument,
			"x-amz-object-attributes", "GetObjectAttributes"},
		{"max parts", "GET /bkt/k?attributes", []string{"x-amz-object-attributes: ETag", "x-amz-max-parts: x"}, ErrInvalidArgument,
			"x-amz-max-parts", "GetObjectAttributes"},
		{"algorithm", "POST /bkt/k?uploads", []string{"x-amz-checksum-algorithm: MD5"}, ErrInvalidRequest, "", "CreateMultipartUpload"},
		{"type without an algorithm", "POST /bkt/k?uploads", []string{"x-amz-checksum-type: COMPOSITE"}, ErrInvalidRequest, "", "CreateMultipartUpload"},
		{"type unknown", "POST /bkt/k?uploads", []string{"x-amz-checksum-algorithm: CRC32", "x-amz-checksum-type: HALF"},
			ErrInvalidRequest, "", "CreateMultipartUpload"},
		{"type and algorithm", "POST /bkt/k?uploads", []string{"x-amz-checksum-algorithm: SHA256", "x-amz-checksum-type: FULL_OBJECT"},
			ErrInvalidRequest, "", "CreateMultipartUpload"},
		{"type and CRC64", "POST /bkt/k?uploads", []string{"x-amz-checksum-algorithm: CRC64NVME", "x-amz-checksum-type: COMPOSITE"},
			ErrInvalidRequest, "", "CreateMultipartUpload"},
		{"object size", "POST /bkt/k?uploadId=u", []string{"x-amz-mp-object-size: -1"}, ErrInvalidRequest, "", "CompleteMultipartUpload"},
		{"checksum malformed", "POST /bkt/k?uploadId=u", []string{"x-amz-checksum-crc32: AAAA"}, ErrInvalidRequest, "", "CompleteMultipartUpload"},
		{"checksum parts", "POST /bkt/k?uploadId=u", []string{"x-amz-checksum-crc32: AAAAAA==-x"}, ErrInvalidRequest, "", "CompleteMultipartUpload"},
		{"two checksums", "POST /bkt/k?uploadId=u", []string{"x-amz-checksum-crc32: AAAAAA==", "x-amz-checksum-crc32c: AAAAAA=="},
			ErrInvalidRequest, "", "CompleteMultipartUpload"},
		{"complete type", "POST /bkt/k?uploadId=u", []string{"x-amz-checksum-type: HALF"}, ErrInvalidRequest, "", "CompleteMultipartUpload"},
	}
	for _, source := range []string{"", "/", "src", "src/", "/src/", "//k", "Src/k", "src/%zz", "src/%ff", "src/%00",
		"src/k?versionId=", "src/" + strings.Repeat("k", 1025)} {
		tests = append(tests, rejectTest{"copy source " + source, "PUT /bkt/k", []string{"x-amz-copy-source: " + source},
			ErrInvalidArgument, "x-amz-copy-source", "CopyObject"})
	}
	for _, r := range []string{"", "bytes=5-", "bytes=-5", "bytes=9-5", "0-5", "bytes=0-1,3-4"} {
		tests = append(tests, rejectTest{"copy range " + r, "PUT /bkt/k?uploadId=u&partNumber=1", []string{
			"x-amz-copy-source: src/k", "x-amz-copy-source-range: " + r}, ErrInvalidArgument, "x-amz-copy-source-range", "UploadPartCopy"})
	}
	runReject(t, tests)
}

func TestNotImplementedHeaders(t *testing.T) {
	put := []string{
		"x-amz-acl: public-read", "x-amz-grant-read: id=1", "x-amz-tagging: a=b", "x-amz-object-lock-mode: GOVERNANCE",
		"x-amz-website-redirect-location: /x", "x-amz-server-side-encryption: AES256", "x-amz-server-side-encryption: aws:kms",
		"x-amz-server-side-encryption-customer-algorithm: AES256", "x-amz-write-offset-bytes: 5",
		"x-amz-expected-bucket-owner: 111122223333", "If-None-Match: \"e\"", "If-None-Match: *, \"e\"", "If-Match: *",
		"If-Match: \"a\", \"b\"", "If-Match: W/\"a\"", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
		"If-Modified-Since: x",
	}
	var tests []rejectTest
	add := func(line, header, op string) {
		name, _, _ := strings.Cut(strings.ToLower(header), ":")
		tests = append(tests, rejectTest{line + " " + header, line, []string{header}, ErrNotImplemented, name, op})
	}
	for _, h := range put {
		add("PUT /bkt/k", h, "PutObject")
	}
	for _, h := range []string{"If-None-Match: *", "If-Modified-Since: x", "If-Unmodified-Since: x", "If-Match: a, b",
		"x-amz-if-match-size: 5", "x-amz-if-match-last-modified-time: x"} {
		add("DELETE /bkt/k", h, "DeleteObject")
	}
	add("GET /bkt/k", "x-amz-server-side-encryption-customer-key: x", "GetObject")
	add("HEAD /bkt/k", "x-amz-expected-bucket-owner: 1", "HeadObject")
	add("PUT /bkt", "x-amz-bucket-object-lock-enabled: true", "CreateBucket")
	add("PUT /bkt", "x-amz-object-ownership: ObjectWriter", "CreateBucket")
	add("POST /bkt/k?uploads", "x-amz-tagging: a=b", "CreateMultipartUpload")
	add("PUT /bkt/k?uploadId=u&partNumber=1", "x-amz-server-side-encryption-customer-key-MD5: x", "UploadPart")
	runReject(t, tests)
	_, err := parse(t, "PUT /bkt/k?X-Amz-Tagging=a%3Db")
	wantError(t, "tagging in the query", err, ErrNotImplemented)
	both := []string{"If-Match: \"a\"", "If-None-Match: *"}
	_, err = parse(t, "PUT /bkt/k", both...)
	wantError(t, "both conditions", err, ErrNotImplemented)
	_, err = parse(t, "PUT /bkt/k", "x-amz-copy-source: src/k", "x-amz-tagging-directive: REPLACE")
	wantError(t, "tagging directive", err, ErrNotImplemented)
	_, err = parse(t, "PUT /bkt/k", "x-amz-copy-source: arn:aws:s3:us-west-2:1:accesspoint/p/object/k")
	wantError(t, "access point", err, ErrNotImplemented)
}

func TestNotImplemented(t *testing.T) {
	tests := []struct{ line, name string }{
		{"GET /bkt?acl", "GetBucketAcl"}, {"PUT /bkt?acl=", "PutBucketAcl"}, {"GET /bkt?tagging", "GetBucketTagging"},
		{"DELETE /bkt?tagging", "DeleteBucketTagging"}, {"GET /bkt?policy", "GetBucketPolicy"},
		{"PUT /bkt?lifecycle", "PutBucketLifecycleConfiguration"}, {"GET /bkt?cors", "GetBucketCors"},
		{"PUT /bkt?website", "PutBucketWebsite"}, {"GET /bkt?logging", "GetBucketLogging"},
		{"GET /bkt?notification", "GetBucketNotificationConfiguration"}, {"GET /bkt?replication", "GetBucketReplication"},
		{"GET /bkt?encryption", "GetBucketEncryption"}, {"GET /bkt?object-lock", "GetObjectLockConfiguration"},
		{"GET /bkt?accelerate", "GetBucketAccelerateConfiguration"}, {"GET /bkt?requestPayment", "GetBucketRequestPayment"},
		{"GET /bkt?analytics&id=1", "GetBucketAnalyticsConfiguration"}, {"PUT /bkt?inventory&id=1", "PutBucketInventoryConfiguration"},
		{"GET /bkt?metrics", "GetBucketMetricsConfiguration"}, {"GET /bkt?publicAccessBlock", "GetPublicAccessBlock"},
		{"GET /bkt?ownershipControls", "GetBucketOwnershipControls"}, {"PUT /bkt?versioning", "PutBucketVersioning"},
		{"GET /bkt?session", "CreateSession"}, {"POST /bkt", "PostObject"}, {"GET /bkt/k?acl&versionId=1", "GetObjectAcl"},
		{"PUT /bkt/k?acl", "PutObjectAcl"}, {"GET /bkt/k?tagging", "GetObjectTagging"}, {"PUT /bkt/k?tagging", "PutObjectTagging"},
		{"DELETE /bkt/k?tagging", "DeleteObjectTagging"}, {"PUT /bkt/k?retention", "PutObjectRetention"},
		{"GET /bkt/k?legal-hold", "GetObjectLegalHold"}, {"GET /bkt/k?torrent", "GetObjectTorrent"},
		{"POST /bkt/k?select&select-type=2", "SelectObjectContent"}, {"POST /bkt/k?restore", "RestoreObject"},
		{"PUT /bkt/k?renameObject", "RenameObject"}, {"PUT /bkt/k?encryption", "UpdateObjectEncryption"},
		{"POST /bkt/k?append&position=0", "AppendObject"},
	}
	for _, tt := range tests {
		op, err := parse(t, tt.line)
		e := wantError(t, tt.line, err, ErrNotImplemented)
		if want := tt.name + " is not implemented"; e.Message != want || op.Name() != tt.name {
			t.Errorf("%s: %q, operation %s; want %q", tt.line, e.Message, op.Name(), want)
		}
		if b, _ := op.Target(); b != "bkt" || op.Writes() != !strings.HasPrefix(tt.line, "GET") {
			t.Errorf("%s: bucket %q, writes %v", tt.line, b, op.Writes())
		}
	}
}

func TestMethodNotAllowed(t *testing.T) {
	tests := []struct{ line, resource, allow string }{
		{"POST /", "SERVICE", "GET"}, {"DELETE /", "SERVICE", "GET"}, {"PATCH /bkt", "BUCKET", "DELETE, GET, HEAD, PUT"},
		{"POST /bkt/k", "OBJECT", "DELETE, GET, HEAD, PUT"}, {"get /bkt/k", "OBJECT", "DELETE, GET, HEAD, PUT"},
		{"HEAD /bkt?acl", "ACL", ""}, {"PUT /bkt?location", "LOCATION", "GET"}, {"GET /bkt?delete", "DELETE", "POST"},
		{"DELETE /bkt?uploadId=u", "UPLOADID", ""}, {"PUT /bkt/k?policy", "POLICY", ""}, {"PUT /bkt/k?delete", "DELETE", ""},
		{"GET /bkt/k?versions", "VERSIONS", ""}, {"GET /?list-type=2", "LIST-TYPE", ""}, {"HEAD /bkt/k?uploadId=u", "UPLOADID", "DELETE, GET, POST, PUT"},
		{"DELETE /bkt/k?uploads", "UPLOADS", "POST"},
	}
	for _, tt := range tests {
		_, err := parse(t, tt.line)
		e := wantError(t, tt.line, err, ErrMethodNotAllowed)
		if field(e, "ResourceType") != tt.resource || len(e.Header) != 1 || e.Header[0].Value != tt.allow {
			t.Errorf("%s: %v, header %v; want %s, Allow %q", tt.line, e.Fields, e.Header, tt.resource, tt.allow)
		}
	}
}

func TestPreflight(t *testing.T) {
	_, err := parse(t, "OPTIONS /bkt/k", "Origin: http://a", "Access-Control-Request-Method: PUT")
	if e := wantError(t, "preflight", err, ErrAccessForbidden); e.Code.Status() != 403 || field(e, "Method") != "PUT" {
		t.Errorf("preflight: %v", e)
	}
	_, err = parse(t, "OPTIONS /bkt/k")
	wantError(t, "preflight without an origin", err, ErrBadRequest)
}

func TestErrorTarget(t *testing.T) {
	op, err := parse(t, "PUT /bkt/a%20b", "x-amz-tagging: a=b")
	wantError(t, "tagging", err, ErrNotImplemented)
	if b, k := op.Target(); b != "bkt" || k != "a b" || !op.Writes() {
		t.Errorf("target %q %q, writes %v", b, k, op.Writes())
	}
}
