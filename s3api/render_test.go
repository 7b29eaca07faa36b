package s3api_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/object"
	. "unistore/s3api" //nolint:revive // the tables are made of its types
)

var update = flag.Bool("update", false, "write testdata/*.xml from what is rendered")

var day = time.Date(2024, 5, 6, 7, 8, 9, 123456789, time.FixedZone("x", 3600))

// body reads the body of a response and checks Length.
func body(t *testing.T, resp *Response) string {
	t.Helper()
	if resp.Body == nil {
		return ""
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Length != int64(len(b)) {
		t.Errorf("length %d, body of %d bytes", resp.Length, len(b))
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return string(b)
}

func headerMap(h Header) map[string]string {
	m := make(map[string]string)
	for _, f := range h {
		m[f.Name] = f.Value
	}
	return m
}

// listing has keys of every awkward kind that XML can hold, and some that it can not.
func listing() ListResult {
	attrs := object.Attrs{Size: 12, ETag: "abc-2", ModTime: day}
	glacier := attrs
	glacier.StorageClass = "GLACIER"
	glacier.Checksums = []object.Checksum{{Algorithm: "CRC32", Value: "x", Type: "COMPOSITE"}}
	return ListResult{
		Objects: []ListedKey{
			{Key: "a b+c%20d/~*'()&<>\"é日😀", Attrs: attrs}, {Key: "ctl\x00\x01\t\n\r\x1f\x7f\ufffe\ufffd", Attrs: glacier},
			{Key: "bad\xffutf8", Attrs: attrs},
		},
		Prefixes: []string{"p q/", "r+/"}, Truncated: true, Next: "next +&",
	}
}

func sums() []object.Checksum {
	return []object.Checksum{{Algorithm: "CRC32", Value: "AAAAAA==", Type: "FULL_OBJECT"}}
}

// rendered are the documents of testdata.
func rendered() map[string]*Response {
	parts := []PartEntry{
		{Number: 1, Size: 5 << 20, ETag: "p1", ModTime: day, Checksums: []object.Checksum{{Algorithm: "SHA256", Value: "s1"}}},
		{Number: 2, Size: 7, ETag: "p2", ModTime: day}, {Number: 4, Size: 9, ETag: "p4", ModTime: day},
	}
	attrs := object.Attrs{Size: 99, ETag: "e-3", ModTime: day, VersionID: "v1", PartsCount: 3,
		Checksums: []object.Checksum{{Algorithm: "CRC32C", Value: "AAAAAA==-3", Type: "COMPOSITE"}}}
	target := obj("bkt", "a&\x01b")
	uploads := UploadsResult{
		Uploads:  []UploadEntry{{Key: "a b&", UploadID: "u/1", Started: day}, {Key: "c", UploadID: "u2", Started: day, StorageClass: "GLACIER"}},
		Prefixes: []string{"p +/"}, Truncated: true, NextKeyMarker: "c +", NextUploadIDMarker: "u2",
	}
	v1 := ListObjects{Bucket: bucket("bkt"), Prefix: "a b&", Delimiter: "/", After: "m +", MaxKeys: 3}
	v2 := v1
	v2.V2, v2.Token, v2.HasToken, v2.FetchOwner, v2.EncodeURL = true, "t +", true, true, true
	versions := ListObjectVersions{Bucket: bucket("bkt"), KeyMarker: "k +", VersionIDMarker: "null", MaxKeys: 3, EncodeURL: true, Delimiter: "/"}
	listed := ListMultipartUploads{Bucket: bucket("bkt"), Prefix: "a ", Delimiter: "/", KeyMarker: "k +", UploadIDMarker: "u", MaxUploads: 2, EncodeURL: true}
	all := GetObjectAttributes{Object: target, ETag: true, Checksum: true, ObjectParts: true, StorageClass: true, Length: true, MaxParts: 1, PartMarker: 1}
	req := newRequest("PUT /bkt/a%26b?x=y")
	return map[string]*Response{
		"list-v1":       RenderListObjects(v1, listing()),
		"list-v2":       RenderListObjects(v2, listing()),
		"list-v1-empty": RenderListObjects(ListObjects{Bucket: bucket("bkt")}, ListResult{}),
		"list-v2-empty": RenderListObjects(ListObjects{Bucket: bucket("bkt"), V2: true, HasToken: true, MaxKeys: 1000}, ListResult{}),
		"versions":      RenderListVersions(versions, listing()),
		"buckets":       RenderListBuckets(ListBuckets{Prefix: "b"}, []BucketEntry{{"bkt", day}, {"bkt2", day}}, "next"),
		"buckets-empty": RenderListBuckets(ListBuckets{}, nil, ""),
		"location":      RenderLocation("eu-west-1"),
		"location-none": RenderLocation("us-east-1"),
		"versioning":    RenderVersioning(),
		"uploads":       RenderListUploads(listed, uploads),
		"parts": RenderListParts(ListParts{Object: target, UploadID: "u&", MaxParts: 3, PartMarker: 0},
			PartsResult{Parts: parts, Truncated: true, StorageClass: "GLACIER"}),
		"initiate":   RenderInitiate(CreateMultipartUpload{Object: target, ChecksumAlgorithm: "CRC32", ChecksumType: "COMPOSITE"}, "u&1"),
		"complete":   RenderComplete(CompleteMultipartUpload{Object: target}, "http://h/bkt/a%26b", attrs),
		"copy":       RenderCopyObject(attrs),
		"copy-part":  RenderCopyPart("p1", day, sums()),
		"attributes": RenderAttributes(all, attrs, parts),
		"attributes-plain": RenderAttributes(GetObjectAttributes{Object: target, ObjectParts: true, Length: true, Checksum: true},
			object.Attrs{Size: 5, ETag: "e"}, nil),
		"delete": RenderDelete(false, []Deleted{{Key: "a&\x01", VersionID: "null"}, {Key: "b"},
			{Key: "c", VersionID: "v", Err: &Error{Code: ErrAccessDenied}}, {Key: "d", Err: &Error{Code: ErrSlowDown, Message: "later <"}}}),
		"delete-quiet": RenderDelete(true, []Deleted{{Key: "a"}, {Key: "c", Err: &Error{Code: ErrInternalError}}}),
		"error": RenderError(&Error{Code: ErrInvalidArgument, Message: "bad <x>",
			Fields: []Field{{Name: "ArgumentName", Value: "max-keys"}, {Name: "ArgumentValue", Value: "a&\x01"}}}, req, "REQ", "HOST"),
		"error-internal": RenderError(errors.New("dial 10.0.0.1: secret"), req, "REQ", "HOST"),
	}
}

func TestGolden(t *testing.T) {
	for name, resp := range rendered() {
		t.Run(name, func(t *testing.T) {
			got := body(t, resp)
			if h := headerMap(resp.Header); h["Content-Type"] != "application/xml" {
				t.Errorf("Content-Type %q", h["Content-Type"])
			}
			file := filepath.Join("testdata", name+".xml")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestURLEncoding: with encoding-type=url every key comes back byte for byte from any XML parser.
func TestURLEncoding(t *testing.T) {
	res := listing()
	doc := body(t, RenderListObjects(ListObjects{Bucket: bucket("bkt"), EncodeURL: true}, res))
	var parsed struct {
		Contents []struct{ Key string }
	}
	if err := xml.Unmarshal([]byte(doc), &parsed); err != nil {
		t.Fatal(err)
	}
	if len(parsed.Contents) != len(res.Objects) {
		t.Fatalf("%d keys, want %d", len(parsed.Contents), len(res.Objects))
	}
	for i, c := range parsed.Contents {
		if got, err := url.QueryUnescape(c.Key); err != nil || got != res.Objects[i].Key {
			t.Errorf("key %q: %q, %v", res.Objects[i].Key, got, err)
		}
	}
}

// TestMarkers: which of the markers stand in which pages.
func TestMarkers(t *testing.T) {
	full := ListResult{Objects: []ListedKey{{Key: "a"}}, Truncated: true, Next: "a"}
	onlyPrefixes := ListResult{Prefixes: []string{"p/"}, Truncated: true, Next: "p/"}
	v1, delim := ListObjects{MaxKeys: 1}, ListObjects{MaxKeys: 1, Delimiter: "/"}
	tests := []struct {
		name, element string
		resp          *Response
		want          bool
	}{
		{"V1 without a delimiter", "NextMarker", RenderListObjects(v1, full), false},
		{"V1 with a delimiter", "NextMarker", RenderListObjects(delim, full), true},
		{"V1 of prefixes", "NextMarker", RenderListObjects(delim, onlyPrefixes), true},
		{"V1, last page", "NextMarker", RenderListObjects(delim, ListResult{Next: "a"}), false},
		{"V1 owner", "Owner", RenderListObjects(v1, full), true},
		{"V2 owner", "Owner", RenderListObjects(ListObjects{V2: true}, full), false},
		{"V2", "NextContinuationToken", RenderListObjects(ListObjects{V2: true}, full), true},
		{"V2, last page", "NextContinuationToken", RenderListObjects(ListObjects{V2: true}, ListResult{Next: "a"}), false},
		{"V2 token, not given", "ContinuationToken", RenderListObjects(ListObjects{V2: true}, full), false},
		{"V2 marker", "Marker", RenderListObjects(ListObjects{V2: true}, full), false},
		{"V1 marker", "Marker", RenderListObjects(v1, full), true},
		{"parts, last page", "NextPartNumberMarker", RenderListParts(ListParts{}, PartsResult{Parts: []PartEntry{{Number: 3}}}), false},
	}
	for _, tt := range tests {
		if got := strings.Contains(body(t, tt.resp), "<"+tt.element+">"); got != tt.want {
			t.Errorf("%s: %s is there: %v", tt.name, tt.element, got)
		}
	}
}

func TestObjectHeader(t *testing.T) {
	attrs := object.Attrs{
		Size: 5, ETag: "e-2", VersionID: "v", ModTime: day, StorageClass: "STANDARD", PartsCount: 2, Checksums: sums(),
		Headers: object.Headers{ContentType: "text/plain", ContentEncoding: "gzip", CacheControl: "no-store", Expires: "0",
			User: map[string]string{"b": "2", "a": "1", "empty": "", "mail": "=?UTF-8?B?w6Q=?=", "utf-8": "gr\u00fcn \u20ac"}},
	}
	plain := Header{
		{Name: "Last-Modified", Value: "Mon, 06 May 2024 06:08:09 GMT"}, {Name: "ETag", Value: `"e-2"`},
		{Name: "Accept-Ranges", Value: "bytes"}, {Name: "Cache-Control", Value: "no-store"}, {Name: "Content-Encoding", Value: "gzip"},
		{Name: "Content-Type", Value: "text/plain"}, {Name: "Expires", Value: "0"}, {Name: "x-amz-meta-a", Value: "1"},
		{Name: "x-amz-meta-b", Value: "2"}, {Name: "x-amz-meta-empty", Value: ""},
		{Name: "x-amz-meta-mail", Value: "=?UTF-8?B?w6Q=?="}, {Name: "x-amz-meta-utf-8", Value: "=?UTF-8?b?Z3LDvG4g4oKs?="},
		{Name: "x-amz-version-id", Value: "v"},
	}
	if diff := cmp.Diff(plain, ObjectHeader(attrs, Selectors{})); diff != "" {
		t.Errorf("plain, -want +got:\n%s", diff)
	}
	got := headerMap(ObjectHeader(attrs, Selectors{ChecksumMode: true, Overrides: Header{
		{Name: "Content-Type", Value: "a/b"}, {Name: "Content-Language", Value: "de"}, {Name: "expires", Value: "1"},
	}}))
	for name, want := range map[string]string{"Content-Type": "a/b", "Content-Language": "de", "Expires": "1", "Content-Encoding": "gzip",
		"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT"} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	part := headerMap(ObjectHeader(attrs, Selectors{ChecksumMode: true, PartNumber: 1}))
	if part["x-amz-mp-parts-count"] != "2" || part["x-amz-checksum-crc32"] != "" {
		t.Errorf("part: %v", part)
	}
	bare := headerMap(ObjectHeader(object.Attrs{ETag: "e", StorageClass: "GLACIER"}, Selectors{PartNumber: 1}))
	want := map[string]string{"ETag": `"e"`, "Accept-Ranges": "bytes", "Content-Type": "binary/octet-stream", "x-amz-storage-class": "GLACIER"}
	if diff := cmp.Diff(want, bare); diff != "" {
		t.Errorf("bare, -want +got:\n%s", diff)
	}
}

func TestRenderPlain(t *testing.T) {
	tests := []struct {
		name   string
		resp   *Response
		status int
		length int64
		header map[string]string
	}{
		{"put", RenderPut(object.Attrs{ETag: "e", VersionID: "v"}, sums()), 200, 0, map[string]string{"ETag": `"e"`,
			"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-type": "FULL_OBJECT", "x-amz-version-id": "v"}},
		{"part", RenderPart("e", sums()), 200, 0, map[string]string{"ETag": `"e"`, "x-amz-checksum-crc32": "AAAAAA=="}},
		{"no content", RenderNoContent(), 204, -1, map[string]string{}},
		{"ok", RenderOK(), 200, 0, map[string]string{}},
		{"bucket", RenderCreateBucket("bkt"), 200, 0, map[string]string{"Location": "/bkt"}},
		{"head error", RenderError(&Error{Code: ErrNoSuchKey}, newRequest("HEAD /bkt/k"), "r", "h"), 404, -1,
			map[string]string{"Content-Type": "application/xml"}},
		{"not modified", RenderError(fmt.Errorf("x: %w", Conditions{IfNoneMatch: []string{"e"}}.Check("e", day)),
			newRequest("GET /bkt/k"), "r", "h"), 304, -1, map[string]string{"ETag": `"e"`, "Last-Modified": "Mon, 06 May 2024 06:08:09 GMT"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.resp.Status != tt.status || tt.resp.Length != tt.length || tt.resp.Body != nil {
				t.Errorf("status %d, length %d, body %v; want %d, %d", tt.resp.Status, tt.resp.Length, tt.resp.Body, tt.status, tt.length)
			}
			if diff := cmp.Diff(tt.header, headerMap(tt.resp.Header)); diff != "" {
				t.Errorf("header, -want +got:\n%s", diff)
			}
		})
	}
}

func TestRenderError(t *testing.T) {
	wrapped := fmt.Errorf("getting: %w", &Error{Code: ErrSlowDown, Resource: "/other", Header: Header{{Name: "Retry-After", Value: "1"}}, Close: true})
	resp := RenderError(wrapped, nil, "r", "h")
	want := map[string]string{"Content-Type": "application/xml", "Retry-After": "1", "Connection": "close"}
	if diff := cmp.Diff(want, headerMap(resp.Header)); resp.Status != 503 || diff != "" {
		t.Errorf("status %d, -want +got:\n%s", resp.Status, diff)
	}
	if doc := body(t, resp); !strings.Contains(doc, "<Resource>/other</Resource>") || strings.Contains(doc, "getting") {
		t.Errorf("document %s", doc)
	}
	var none *Error
	for _, err := range []error{none, errors.New("x"), io.EOF, &Error{Code: "Odd"}} {
		if resp := RenderError(err, nil, "r", "h"); resp.Status != 500 || !strings.Contains(body(t, resp), "internal error") {
			t.Errorf("%v: status %d", err, resp.Status)
		}
	}
}

func TestCodes(t *testing.T) {
	statuses := map[ErrorCode]int{ErrNoSuchKey: 404, ErrInvalidRange: 416, ErrNotModified: 304, ErrPreconditionFailed: 412,
		ErrMissingContentLength: 411, ErrGatewayTimeout: 504, ErrInsufficientStorage: 507, ErrNotImplemented: 501,
		ErrMethodNotAllowed: 405, ErrSlowDown: 503, ErrInternalError: 500, ErrInvalidAccessKeyId: 403, "Odd": 500}
	for code, want := range statuses {
		if code.Status() != want || code.Message() == "" {
			t.Errorf("%s: %d %q, want %d", code, code.Status(), code.Message(), want)
		}
	}
}
