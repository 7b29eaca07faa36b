package s3api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/byterange"
	"unistore/object"
	. "unistore/s3api" //nolint:revive // the tables are made of its types
)

type parseTest struct {
	name    string
	line    string // METHOD TARGET
	headers []string
	want    Operation
}

func runParse(t *testing.T, tests []parseTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(t, tt.line, tt.headers...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, compareSpecs); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func bucket(name string) Bucket     { return Bucket{Bucket: name} }
func obj(bucket, key string) Object { return Object{Bucket: bucket, Key: key} }

func get(bucket, key string) GetObject { return GetObject{Object: obj(bucket, key)} }

func TestParseTarget(t *testing.T) {
	long := strings.Repeat("k", MaxKeyLength)
	runParse(t, []parseTest{
		{"path style", "GET /bkt/a/b", nil, get("bkt", "a/b")},
		{"host style", "GET /a/b", []string{"Host: bkt.s3.localhost"}, get("bkt", "a/b")},
		{"host style with a port, upper case", "GET /a", []string{"Host: BKT.S3.LocalHost:9000"}, get("bkt", "a")},
		{"host style, final dot", "GET /a", []string{"Host: bkt.s3.localhost.:9000"}, get("bkt", "a")},
		{"host style, dots in the name", "GET /a", []string{"Host: my.bkt.s3.localhost"}, get("my.bkt", "a")},
		{"longest domain", "GET /a", []string{"Host: bkt.deep.s3.localhost"}, get("bkt", "a")},
		{"host style, bucket", "HEAD /", []string{"Host: bkt.s3.localhost"}, HeadBucket{Bucket: bucket("bkt")}},
		{"host style, slash", "GET //", []string{"Host: bkt.s3.localhost"}, get("bkt", "/")},
		{"the domain itself", "GET /bkt/a", []string{"Host: s3.localhost:9000"}, get("bkt", "a")},
		{"a domain in a domain", "GET /bkt/a", []string{"Host: deep.s3.localhost"}, get("bkt", "a")},
		{"another domain", "GET /bkt/a", []string{"Host: bkts3.localhost"}, get("bkt", "a")},
		{"IPv6", "GET /bkt/a", []string{"Host: [::1]:9000"}, get("bkt", "a")},
		{"IPv6 without a port", "GET /bkt/a", []string{"Host: [::1]"}, get("bkt", "a")},
		{"service", "GET /", nil, ListBuckets{}},
		{"bucket", "HEAD /bkt", nil, HeadBucket{Bucket: bucket("bkt")}},
		{"bucket with a slash", "HEAD /bkt/", nil, HeadBucket{Bucket: bucket("bkt")}},
		{"key is a slash", "GET /bkt//", nil, get("bkt", "/")},
		{"slashes are kept", "GET /bkt//a//b//", nil, get("bkt", "/a//b//")},
		{"dots are kept", "GET /bkt/../a/./../b/.", nil, get("bkt", "../a/./../b/.")},
		{"encoded slashes and dots", "GET /bkt/%2e%2E%2fa%2F", nil, get("bkt", "../a/")},
		{"decoded once", "GET /bkt/a%2520b", nil, get("bkt", "a%20b")},
		{"plus is plus", "GET /bkt/a+b%2Bc%20d", nil, get("bkt", "a+b+c d")},
		{"question mark", "GET /bkt/a%3Fb%23c", nil, get("bkt", "a?b#c")},
		{"raw bytes", "GET /bkt/äöü~*'()", nil, get("bkt", "äöü~*'()")},
		{"encoded UTF-8", "GET /bkt/%E6%97%A5%f0%9f%98%80", nil, get("bkt", "日😀")},
		{"control characters", "GET /bkt/%01%0a%7F", nil, get("bkt", "\x01\n\x7f")},
		{"longest key", "GET /bkt/" + long, nil, get("bkt", long)},
		{"longest key, encoded", "GET /bkt/" + strings.Repeat("%6B", MaxKeyLength), nil, get("bkt", long)},
	})
}

func TestParseBucket(t *testing.T) {
	list := ListObjects{Bucket: bucket("bkt"), MaxKeys: 1000}
	v2 := list
	v2.V2 = true
	full := ListObjects{
		Bucket: bucket("bkt"), V2: true, Prefix: "a b+c/", Delimiter: "/", After: "x y", Token: "t=/", HasToken: true,
		MaxKeys: 2, EncodeURL: true, FetchOwner: true,
	}
	empty := v2
	empty.HasToken = true
	runParse(t, []parseTest{
		{"ListBuckets", "GET /?prefix=p&continuation-token=t&max-buckets=7&x-id=ListBuckets", nil,
			ListBuckets{Prefix: "p", Token: "t", MaxKeys: 7}},
		{"CreateBucket", "PUT /bkt", []string{"x-amz-acl: private", "x-amz-object-ownership: BucketOwnerEnforced"},
			CreateBucket{Bucket: bucket("bkt")}},
		{"DeleteBucket", "DELETE /bkt/", nil, DeleteBucket{Bucket: bucket("bkt")}},
		{"GetBucketLocation", "GET /bkt?location", nil, GetBucketLocation{Bucket: bucket("bkt")}},
		{"GetBucketLocation, =", "GET /bkt/?location=", nil, GetBucketLocation{Bucket: bucket("bkt")}},
		{"GetBucketVersioning", "GET /bkt?versioning", nil, GetBucketVersioning{Bucket: bucket("bkt")}},
		{"DeleteObjects", "POST /bkt?delete", nil, DeleteObjects{Bucket: bucket("bkt")}},
		{"ListObjects", "GET /bkt", nil, list},
		{"ListObjects, unknown parameters", "GET /bkt?foo=1&&=&bar", nil, list},
		{"ListObjects, all", "GET /bkt?prefix=a%2Fb&delimiter=%2F&marker=a%2Fc&max-keys=0&encoding-type=url", nil,
			ListObjects{Bucket: bucket("bkt"), Prefix: "a/b", Delimiter: "/", After: "a/c", EncodeURL: true}},
		{"ListObjects, clamped", "GET /bkt?max-keys=2147483647", nil, list},
		{"ListObjects, empty values", "GET /bkt?max-keys=&encoding-type=&prefix=&marker=", nil, list},
		{"ListObjectsV2", "GET /bkt?list-type=2", nil, v2},
		{"ListObjectsV2, empty token", "GET /bkt?list-type=2&continuation-token=", nil, empty},
		{"ListObjectsV2, all", "GET /bkt?prefix=a+b%2Bc%2F&list-type=2&delimiter=/&start-after=x%20y&max-keys=2" +
			"&continuation-token=t%3D/&fetch-owner=true&encoding-type=url&X-Amz-Signature=1&X-Amz-Signature=2", nil, full},
		{"ListObjectVersions", "GET /bkt?versions&prefix=p&key-marker=k&version-id-marker=null&max-keys=5&delimiter=d", nil,
			ListObjectVersions{Bucket: bucket("bkt"), Prefix: "p", Delimiter: "d", KeyMarker: "k", VersionIDMarker: "null",
				MaxKeys: 5}},
		{"ListMultipartUploads", "GET /bkt?uploads&prefix=p&key-marker=k&upload-id-marker=u&max-uploads=5&encoding-type=url",
			nil, ListMultipartUploads{Bucket: bucket("bkt"), Prefix: "p", KeyMarker: "k", UploadIDMarker: "u", MaxUploads: 5,
				EncodeURL: true}},
	})
}

func TestParseRead(t *testing.T) {
	day := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	ranged := func(s byterange.Spec) GetObject {
		op := get("bkt", "k")
		op.Range, op.HasRange = s, true
		return op
	}
	cond := get("bkt", "k")
	cond.Conditions = Conditions{IfMatch: []string{"a", "b,c", "W/d", "e"}, IfNoneMatch: []string{"*", "x"},
		IfModifiedSince: day, IfUnmodifiedSince: day}
	ansi := get("bkt", "k")
	ansi.Conditions = Conditions{IfModifiedSince: day}
	sel := HeadObject{Object: obj("bkt", "k")}
	sel.Select = Selectors{VersionID: "null", PartNumber: 10000, ChecksumMode: true, Overrides: Header{
		{Name: "Cache-Control", Value: "no-cache"}, {Name: "Content-Disposition", Value: `attachment; filename="a b.txt"`},
		{Name: "Content-Encoding", Value: "gzip"}, {Name: "Content-Language", Value: "de"},
		{Name: "Content-Type", Value: "text/plain"}, {Name: "Expires", Value: "0"},
	}}
	runParse(t, []parseTest{
		{"plain", "GET /bkt/k?x-id=GetObject&foo", nil, get("bkt", "k")},
		{"closed range", "GET /bkt/k", []string{"Range: bytes=0-9"}, ranged(byterange.Closed(0, 9))},
		{"open range", "GET /bkt/k", []string{"Range: bytes=5-"}, ranged(byterange.From(5))},
		{"suffix range", "GET /bkt/k", []string{"Range: bytes=-5"}, ranged(byterange.Suffix(5))},
		{"several ranges", "GET /bkt/k", []string{"Range: bytes=0-1,4-5"}, get("bkt", "k")},
		{"two Range lines", "GET /bkt/k", []string{"Range: bytes=0-1", "Range: bytes=4-5"}, get("bkt", "k")},
		{"bad range", "GET /bkt/k", []string{"Range: bytes=5-2"}, get("bkt", "k")},
		{"bad range with a part", "HEAD /bkt/k?partNumber=1", []string{"Range: lines=5-7"},
			HeadObject{Object: obj("bkt", "k"), Select: Selectors{PartNumber: 1}}},
		{"If-Range", "GET /bkt/k", []string{"Range: bytes=0-1", `If-Range: "a"`}, get("bkt", "k")},
		{"conditions", "GET /bkt/k", []string{
			`If-Match: "a" , "b,c",W/"d"`, "If-Match: e", `If-None-Match: *, W/"x"`,
			"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
		}, cond},
		{"asctime", "GET /bkt/k", []string{"If-Modified-Since: Sun Nov  6 08:49:37 1994", "If-Unmodified-Since: soon",
			"If-Match:", "If-None-Match: ,"}, ansi},
		{"selectors", "HEAD /bkt/k?versionId=null&partNumber=10000&response-content-type=text/plain&response-expires=0" +
			"&response-content-language=de&response-content-encoding=gzip&response-cache-control=no-cache" +
			"&response-content-disposition=attachment%3B%20filename%3D%22a+b.txt%22", []string{"x-amz-checksum-mode: enabled"}, sel},
		{"GetObjectAttributes", "GET /bkt/k?attributes&versionId=v", []string{
			"x-amz-object-attributes: ETag,Checksum, ObjectParts", "x-amz-object-attributes: StorageClass,ObjectSize",
			"x-amz-max-parts: 2000", "x-amz-part-number-marker: 3",
		}, GetObjectAttributes{Object: obj("bkt", "k"), VersionID: "v", ETag: true, Checksum: true, ObjectParts: true,
			StorageClass: true, Length: true, MaxParts: 1000, PartMarker: 3}},
		{"GetObjectAttributes, one", "GET /bkt/k?attributes=", []string{"x-amz-object-attributes: ETag", "x-amz-max-parts: 7"},
			GetObjectAttributes{Object: obj("bkt", "k"), ETag: true, MaxParts: 7}},
	})
}

func TestParseWrite(t *testing.T) {
	meta := strings.Repeat("v", 2048-len("name"))
	headers := object.Headers{
		ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentLanguage: "de, en",
		ContentDisposition: `attachment; filename="ä"`, CacheControl: "no-store", Expires: "never",
		User: map[string]string{"a": "1,2", "b": "=?UTF-8?Q?=C3=A4?=", "empty": ""},
	}
	lines := []string{
		"Content-Type: text/plain; charset=utf-8", "Content-Encoding: AWS-chunked, gzip", "Content-Language: de",
		"Content-Language: en", `Content-Disposition: attachment; filename="ä"`, "Cache-Control: no-store", "Expires: never",
		"x-amz-meta-A: 1", "X-Amz-Meta-a: 2", "x-amz-meta-b: =?UTF-8?Q?=C3=A4?=", "x-amz-meta-empty:",
	}
	runParse(t, []parseTest{
		{"plain", "PUT /bkt/k?x-id=PutObject", nil, PutObject{Object: obj("bkt", "k")}},
		{"headers", "PUT /bkt/k", append(lines, "x-amz-storage-class: STANDARD_IA", "x-amz-acl: bucket-owner-full-control",
			"x-amz-tagging:", "x-amz-request-payer: requester", "Unistore-Query: q"),
			PutObject{Object: obj("bkt", "k"), Headers: headers, StorageClass: "STANDARD_IA"}},
		{"only aws-chunked", "PUT /bkt/k", []string{"Content-Encoding: aws-chunked"}, PutObject{Object: obj("bkt", "k")}},
		{"encodings verbatim", "PUT /bkt/k", []string{"Content-Encoding: gzip,  br"},
			PutObject{Object: obj("bkt", "k"), Headers: object.Headers{ContentEncoding: "gzip,  br"}}},
		{"2 KiB of metadata", "PUT /bkt/k", []string{"x-amz-meta-name: " + meta},
			PutObject{Object: obj("bkt", "k"), Headers: object.Headers{User: map[string]string{"name": meta}}}},
		{"create only", "PUT /bkt/k", []string{"If-None-Match: *"}, PutObject{Object: obj("bkt", "k"), IfNoneMatch: true}},
		{"replace only", "PUT /bkt/k", []string{`If-Match: "e-2"`}, PutObject{Object: obj("bkt", "k"), IfMatch: "e-2"}},
		{"replace only, no quotes", "PUT /bkt/k", []string{"If-Match: e"}, PutObject{Object: obj("bkt", "k"), IfMatch: "e"}},
		{"headers in the query", "PUT /bkt/k?X-Amz-Meta-A=b+c&x-amz-storage-class=GLACIER&X-Amz-Date=1&X-Amz-Date=2",
			[]string{"x-amz-storage-class: STANDARD"}, PutObject{Object: obj("bkt", "k"), StorageClass: "STANDARD",
				Headers: object.Headers{User: map[string]string{"a": "b c"}}}},
		{"DeleteObject", "DELETE /bkt/k?versionId=null", []string{`If-Match: "e"`},
			DeleteObject{Object: obj("bkt", "k"), VersionID: "null", IfMatch: "e"}},
		{"DeleteObject if it is there", "DELETE /bkt/k", []string{"If-Match: *"},
			DeleteObject{Object: obj("bkt", "k"), IfMatch: "*"}},
	})
}

func TestParseCopy(t *testing.T) {
	from := func(bucket, key, version string) CopyObject {
		return CopyObject{Object: obj("bkt", "k"), Source: CopySource{Bucket: bucket, Key: key, VersionID: version}}
	}
	replace := from("bkt", "k", "")
	replace.Replace, replace.Headers = true, object.Headers{ContentType: "a/b", User: map[string]string{"x": "y"}}
	class := from("bkt", "k", "")
	class.StorageClass, class.HasOtherChange = "STANDARD", true
	sum := from("bkt", "k", "")
	sum.ChecksumAlgorithm, sum.HasOtherChange = "CRC32", true
	day := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	cond := from("src", "a", "")
	cond.IfNoneMatch = true
	cond.SourceConditions = Conditions{IfMatch: []string{"a"}, IfNoneMatch: []string{"b"}, IfModifiedSince: day,
		IfUnmodifiedSince: day}
	runParse(t, []parseTest{
		{"plain", "PUT /bkt/k", []string{"x-amz-copy-source: src/a/b"}, from("src", "a/b", "")},
		{"slash", "PUT /bkt/k", []string{"x-amz-copy-source: /src//a"}, from("src", "/a", "")},
		{"encoded", "PUT /bkt/k", []string{"x-amz-copy-source: %2Fsrc%2Fa%20b%252B%3FversionId=1+2"}, from("src", "a b%2B?versionId=1+2", "")},
		{"not encoded", "PUT /bkt/k", []string{"x-amz-copy-source: src/a b?c+ä"}, from("src", "a b?c+ä", "")},
		{"version", "PUT /bkt/k", []string{"x-amz-copy-source: src/a?versionId=v%2B1"}, from("src", "a", "v+1")},
		{"older version of itself", "PUT /bkt/k", []string{"x-amz-copy-source: bkt/k?versionId=v"}, from("bkt", "k", "v")},
		{"headers are not replaced", "PUT /bkt/k", []string{"x-amz-copy-source: src/a", "x-amz-metadata-directive: COPY",
			"Content-Type: a/b", "x-amz-tagging-directive: COPY"}, from("src", "a", "")},
		{"itself, replaced", "PUT /bkt/k", []string{"x-amz-copy-source: bkt/k", "x-amz-metadata-directive: REPLACE",
			"Content-Type: a/b", "x-amz-meta-x: y"}, replace},
		{"itself, class", "PUT /bkt/k", []string{"x-amz-copy-source: bkt/k", "x-amz-storage-class: STANDARD"}, class},
		{"itself, checksum", "PUT /bkt/k", []string{"x-amz-copy-source: bkt/k", "x-amz-checksum-algorithm: crc32"}, sum},
		{"conditions", "PUT /bkt/k", []string{"x-amz-copy-source: src/a", `x-amz-copy-source-if-match: "a"`,
			`x-amz-copy-source-if-none-match: W/"b"`, "x-amz-copy-source-if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT",
			"x-amz-copy-source-if-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT", "If-None-Match: *"}, cond},
		{"UploadPartCopy", "PUT /bkt/k?partNumber=7&uploadId=u", []string{"x-amz-copy-source: src/a",
			"x-amz-copy-source-range: bytes=5-9"}, UploadPartCopy{Object: obj("bkt", "k"), UploadID: "u", PartNumber: 7,
			Source: CopySource{Bucket: "src", Key: "a"}, Range: byterange.Closed(5, 9)}},
		{"UploadPartCopy of itself", "PUT /bkt/k?partNumber=7&uploadId=u", []string{"x-amz-copy-source: bkt/k"},
			UploadPartCopy{Object: obj("bkt", "k"), UploadID: "u", PartNumber: 7, Source: CopySource{Bucket: "bkt", Key: "k"}}},
	})
}

func TestParseUpload(t *testing.T) {
	create := func(alg, typ string) CreateMultipartUpload {
		return CreateMultipartUpload{Object: obj("bkt", "k"), ChecksumAlgorithm: alg, ChecksumType: typ}
	}
	full := create("", "")
	full.StorageClass, full.Headers = "GLACIER", object.Headers{ContentType: "a/b"}
	complete := CompleteMultipartUpload{Object: obj("bkt", "k"), UploadID: "u", Size: -1}
	promised := complete
	promised.Size, promised.IfMatch = 5, "e"
	promised.Checksum = &object.Checksum{Algorithm: "CRC32", Value: "AAAAAA==", Type: "FULL_OBJECT"}
	composite := complete
	composite.IfNoneMatch = true
	composite.Checksum = &object.Checksum{Algorithm: "CRC32C", Value: "AAAAAA==-3", Type: "COMPOSITE"}
	runParse(t, []parseTest{
		{"create", "POST /bkt/k?uploads", nil, create("", "")},
		{"create with headers", "POST /bkt/k?uploads=", []string{"Content-Type: a/b", "x-amz-storage-class: GLACIER"}, full},
		{"create CRC32", "POST /bkt/k?uploads", []string{"x-amz-checksum-algorithm: CRC32"}, create("CRC32", "COMPOSITE")},
		{"create CRC32 full", "POST /bkt/k?uploads", []string{"x-amz-checksum-algorithm: crc32",
			"x-amz-checksum-type: FULL_OBJECT"}, create("CRC32", "FULL_OBJECT")},
		{"create CRC64NVME", "POST /bkt/k?uploads", []string{"x-amz-checksum-algorithm: CRC64NVME"}, create("CRC64NVME", "FULL_OBJECT")},
		{"part", "PUT /bkt/k?uploadId=u%2B1&partNumber=10000&x-id=UploadPart", nil,
			UploadPart{Object: obj("bkt", "k"), UploadID: "u+1", PartNumber: 10000}},
		{"list parts", "GET /bkt/k?uploadId=u&max-parts=2&part-number-marker=4", nil,
			ListParts{Object: obj("bkt", "k"), UploadID: "u", MaxParts: 2, PartMarker: 4}},
		{"list parts, defaults", "GET /bkt/k?uploadId=u", nil, ListParts{Object: obj("bkt", "k"), UploadID: "u", MaxParts: 1000}},
		{"abort", "DELETE /bkt/k?uploadId=u", nil, AbortMultipartUpload{Object: obj("bkt", "k"), UploadID: "u"}},
		{"complete", "POST /bkt/k?uploadId=u", nil, complete},
		{"complete, promises", "POST /bkt/k?uploadId=u", []string{"x-amz-mp-object-size: 5", "x-amz-checksum-crc32: AAAAAA==",
			"x-amz-checksum-type: FULL_OBJECT", `If-Match: "e"`}, promised},
		{"complete, composite", "POST /bkt/k?uploadId=u", []string{"x-amz-checksum-crc32c: AAAAAA==-3", "If-None-Match: *"}, composite},
	})
}
