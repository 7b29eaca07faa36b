package s3api_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"unistore/byterange"
	"unistore/object"
	. "unistore/s3api" //nolint:revive // the tables are made of its types
)

// wire stands in for the network under an SDK client: it parses what the client sends, and answers with
// what answer renders.
type wire struct {
	t      *testing.T
	answer func(op Operation, r *Request) *Response
	op     Operation // of the last request
}

func (w *wire) Do(hr *http.Request) (*http.Response, error) {
	r := &Request{Method: hr.Method, RawPath: hr.URL.EscapedPath(), RawQuery: hr.URL.RawQuery, Host: hr.URL.Host}
	for name, values := range hr.Header {
		for _, v := range values {
			r.Header = append(r.Header, Field{Name: strings.ToLower(name), Value: v})
		}
	}
	if hr.Body != nil {
		r.Body = hr.Body
	}
	var resp *Response
	op, err := Parse(r, nil)
	if w.op = op; err != nil {
		resp = RenderError(err, r, "REQ", "HOST")
	} else {
		resp = w.answer(op, r)
	}
	out := &http.Response{StatusCode: resp.Status, Header: http.Header{}, Body: http.NoBody, ContentLength: resp.Length, Request: hr}
	for _, f := range resp.Header {
		out.Header.Add(f.Name, f.Value)
	}
	if resp.Length >= 0 {
		out.Header.Set("Content-Length", strconv.FormatInt(resp.Length, 10))
	}
	if resp.Body != nil {
		out.Body = resp.Body
	}
	return out, nil
}

func newClient(w *wire) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://127.0.0.1:9000"), UsePathStyle: true, HTTPClient: w, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AK", "SK", ""),
	})
}

// hostile are keys that XML can hold but that are easily spoilt on the way.
var hostile = []string{
	"a", " lead and trail ", "a+b c%20d%2Be", "../../etc/passwd", "/", "//a//b//", ".", "a/./b/..", "é日😀\u200b", "<&>\"'", "a\rb\r\nc\td\n",
	"?x=y&versionId=z#f", "~*'()!$,;:@=", "%", "%zz", "\ufeff\ufffd\uf8ff", strings.Repeat("é", 512),
}

// roundTrip sends an input through the client and returns its output.
func roundTrip[I, O any](t *testing.T, call func(context.Context, I, ...func(*s3.Options)) (O, error), in I) O {
	t.Helper()
	out, err := call(t.Context(), in)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return out
}

func wantOp[O Operation](t *testing.T, w *wire) O {
	t.Helper()
	op, ok := w.op.(O)
	if !ok {
		t.Fatalf("operation %T, want %s", w.op, reflect.TypeFor[O]())
	}
	return op
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, compareSpecs); d != "" {
		t.Errorf("%s, -want +got:\n%s", what, d)
	}
}

// second is a time that headers can hold.
var second = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func TestSDKKeys(t *testing.T) {
	w := &wire{t: t}
	c := newClient(w)
	w.answer = func(op Operation, _ *Request) *Response {
		switch op := op.(type) {
		case HeadObject:
			return &Response{Status: 200, Header: ObjectHeader(object.Attrs{ETag: "e", ModTime: second}, op.Select), Length: 7}
		case CopyObject:
			return RenderCopyObject(object.Attrs{ETag: "e-1", ModTime: day, VersionID: "v"})
		case CreateMultipartUpload:
			return RenderInitiate(op, "u+/=")
		case ListParts:
			return RenderListParts(op, PartsResult{Parts: []PartEntry{{Number: 3, Size: 5, ETag: "p", ModTime: day}}})
		case CompleteMultipartUpload:
			return RenderComplete(op, "http://x/", object.Attrs{ETag: "e-1"})
		}
		return RenderOK()
	}
	for _, key := range hostile {
		k, b := aws.String(key), aws.String("bkt")
		head := roundTrip(t, c.HeadObject, &s3.HeadObjectInput{Bucket: b, Key: k})
		diff(t, key, obj("bkt", key), wantOp[HeadObject](t, w).Object)
		diff(t, key, []any{`"e"`, second, int64(7)}, []any{*head.ETag, *head.LastModified, *head.ContentLength})

		copied := roundTrip(t, c.CopyObject, &s3.CopyObjectInput{Bucket: b, Key: k, CopySource: aws.String("src/" + url.PathEscape(key))})
		diff(t, key, CopySource{Bucket: "src", Key: key}, wantOp[CopyObject](t, w).Source)
		diff(t, key, []any{`"e-1"`, day.UTC().Truncate(time.Millisecond), "v"},
			[]any{*copied.CopyObjectResult.ETag, *copied.CopyObjectResult.LastModified, *copied.VersionId})

		started := roundTrip(t, c.CreateMultipartUpload, &s3.CreateMultipartUploadInput{Bucket: b, Key: k})
		diff(t, key, []string{"bkt", key, "u+/="}, []string{*started.Bucket, *started.Key, *started.UploadId})

		parts := roundTrip(t, c.ListParts, &s3.ListPartsInput{Bucket: b, Key: k, UploadId: started.UploadId})
		diff(t, key, ListParts{Object: obj("bkt", key), UploadID: "u+/=", MaxParts: 1000}, wantOp[ListParts](t, w))
		diff(t, key, []any{key, int32(3), int64(5), `"p"`, false},
			[]any{*parts.Key, *parts.Parts[0].PartNumber, *parts.Parts[0].Size, *parts.Parts[0].ETag, *parts.IsTruncated})

		done := roundTrip(t, c.CompleteMultipartUpload, &s3.CompleteMultipartUploadInput{Bucket: b, Key: k, UploadId: started.UploadId})
		diff(t, key, []string{key, `"e-1"`}, []string{*done.Key, *done.ETag})
	}
}

func TestSDKLists(t *testing.T) {
	res := ListResult{Prefixes: []string{"p +/", "q"}, Truncated: true, Next: "n +&"}
	var uploads UploadsResult
	for i, key := range hostile {
		res.Objects = append(res.Objects, ListedKey{Key: key, Attrs: object.Attrs{Size: int64(i), ETag: "e-1", ModTime: day}})
		uploads.Uploads = append(uploads.Uploads, UploadEntry{Key: key, UploadID: key, Started: day, StorageClass: "GLACIER"})
	}
	uploads.Truncated, uploads.NextKeyMarker, uploads.NextUploadIDMarker, uploads.Prefixes = true, "nk +", "nu +", []string{"p +/"}
	w := &wire{t: t}
	c := newClient(w)
	w.answer = func(op Operation, _ *Request) *Response {
		switch op := op.(type) {
		case ListObjects:
			return RenderListObjects(op, res)
		case ListObjectVersions:
			return RenderListVersions(op, res)
		case ListMultipartUploads:
			return RenderListUploads(op, uploads)
		}
		return RenderError(errors.New("unexpected"), nil, "", "")
	}
	b, odd := aws.String("bkt"), aws.String(" +&%<é")
	for _, encode := range []types.EncodingType{"", types.EncodingTypeUrl} {
		decode := func(s *string) string {
			if encode == "" {
				return *s
			}
			d, err := url.QueryUnescape(*s)
			if err != nil {
				t.Error(err)
			}
			return d
		}
		v2 := roundTrip(t, c.ListObjectsV2, &s3.ListObjectsV2Input{Bucket: b, Prefix: odd, Delimiter: odd, StartAfter: odd,
			ContinuationToken: odd, MaxKeys: aws.Int32(7), EncodingType: encode, FetchOwner: aws.Bool(true)})
		diff(t, "V2", ListObjects{Bucket: bucket("bkt"), V2: true, Prefix: *odd, Delimiter: *odd, After: *odd, Token: *odd, HasToken: true,
			MaxKeys: 7, EncodeURL: encode != "", FetchOwner: true}, wantOp[ListObjects](t, w))
		diff(t, "V2 echo", []any{"bkt", *odd, *odd, *odd, *odd, "n +&", int32(7), int32(len(hostile) + 2), true, encode},
			[]any{*v2.Name, decode(v2.Prefix), decode(v2.Delimiter), decode(v2.StartAfter), *v2.ContinuationToken, *v2.NextContinuationToken,
				*v2.MaxKeys, *v2.KeyCount, *v2.IsTruncated, v2.EncodingType})
		diff(t, "V2 prefixes", res.Prefixes, []string{decode(v2.CommonPrefixes[0].Prefix), decode(v2.CommonPrefixes[1].Prefix)})
		for i, o := range v2.Contents {
			diff(t, "V2 entry", []any{hostile[i], `"e-1"`, int64(i), day.UTC().Truncate(time.Millisecond), types.ObjectStorageClassStandard, "unistore"},
				[]any{decode(o.Key), *o.ETag, *o.Size, *o.LastModified, o.StorageClass, *o.Owner.ID})
		}
		v1 := roundTrip(t, c.ListObjects, &s3.ListObjectsInput{Bucket: b, Prefix: odd, Delimiter: odd, Marker: odd, EncodingType: encode})
		diff(t, "V1", ListObjects{Bucket: bucket("bkt"), Prefix: *odd, Delimiter: *odd, After: *odd, MaxKeys: 1000, EncodeURL: encode != ""},
			wantOp[ListObjects](t, w))
		diff(t, "V1 echo", []any{*odd, "n +&", len(hostile)}, []any{decode(v1.Marker), decode(v1.NextMarker), len(v1.Contents)})
		vs := roundTrip(t, c.ListObjectVersions, &s3.ListObjectVersionsInput{Bucket: b, KeyMarker: odd, EncodingType: encode})
		diff(t, "versions", []any{*odd, "n +&", "null", len(hostile)},
			[]any{decode(vs.KeyMarker), decode(vs.NextKeyMarker), *vs.NextVersionIdMarker, len(vs.Versions)})
		for i, v := range vs.Versions {
			diff(t, "version", []any{hostile[i], "null", true}, []any{decode(v.Key), *v.VersionId, *v.IsLatest})
		}
		us := roundTrip(t, c.ListMultipartUploads, &s3.ListMultipartUploadsInput{Bucket: b, KeyMarker: odd, UploadIdMarker: odd, EncodingType: encode})
		diff(t, "uploads", []any{*odd, *odd, "nk +", "nu +", "p +/", len(hostile)}, []any{decode(us.KeyMarker), *us.UploadIdMarker,
			decode(us.NextKeyMarker), *us.NextUploadIdMarker, decode(us.CommonPrefixes[0].Prefix), len(us.Uploads)})
		for i, u := range us.Uploads {
			diff(t, "upload", []any{hostile[i], hostile[i], types.StorageClassGlacier}, []any{decode(u.Key), *u.UploadId, u.StorageClass})
		}
	}
}

func TestSDKDelete(t *testing.T) {
	var want DeleteRequest
	var in types.Delete
	for _, key := range append(hostile, "\u0085\u2028") {
		want.Objects = append(want.Objects, DeleteTarget{Key: key, VersionID: "null", ETag: "e"})
		in.Objects = append(in.Objects, types.ObjectIdentifier{Key: aws.String(key), VersionId: aws.String("null"), ETag: aws.String(`"e"`)})
	}
	w := &wire{t: t}
	w.answer = func(_ Operation, r *Request) *Response {
		got, err := ReadDelete(r.Body)
		if err != nil {
			t.Error(err)
		}
		diff(t, "request", want, got)
		results := []Deleted{{Key: "denied", Err: &Error{Code: ErrAccessDenied}}}
		for _, o := range got.Objects {
			results = append(results, Deleted{Key: o.Key, VersionID: o.VersionID})
		}
		return RenderDelete(got.Quiet, results)
	}
	out := roundTrip(t, newClient(w).DeleteObjects, &s3.DeleteObjectsInput{Bucket: aws.String("bkt"), Delete: &in})
	wantOp[DeleteObjects](t, w)
	for i, d := range out.Deleted {
		diff(t, "deleted", []string{want.Objects[i].Key, "null"}, []string{*d.Key, *d.VersionId})
	}
	if len(out.Deleted) != len(want.Objects) || len(out.Errors) != 1 || *out.Errors[0].Code != "AccessDenied" || *out.Errors[0].Message != "Access Denied" {
		t.Errorf("%d deleted, errors %v", len(out.Deleted), out.Errors)
	}
}

func TestSDKMultipart(t *testing.T) {
	w := &wire{t: t}
	c := newClient(w)
	var completed []CompletedPart
	w.answer = func(op Operation, r *Request) *Response {
		switch op := op.(type) {
		case CompleteMultipartUpload:
			var err error
			if completed, err = ReadComplete(r.Body); err != nil {
				t.Error(err)
			}
			return RenderComplete(op, "http://x/", object.Attrs{ETag: "e-2", VersionID: "v", Checksums: sums()})
		case UploadPartCopy:
			return RenderCopyPart("p", day, sums())
		case UploadPart:
			return RenderPart("p", sums())
		case CreateMultipartUpload:
			return RenderInitiate(op, "u")
		}
		return RenderNoContent()
	}
	b, k, u := aws.String("bkt"), aws.String("k"), aws.String("u")
	created := roundTrip(t, c.CreateMultipartUpload, &s3.CreateMultipartUploadInput{Bucket: b, Key: k, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		ChecksumType: types.ChecksumTypeFullObject, ContentType: aws.String("a/b"), Metadata: map[string]string{"Name": "v"}})
	diff(t, "create", CreateMultipartUpload{Object: obj("bkt", "k"), ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT",
		Headers: object.Headers{ContentType: "a/b", User: map[string]string{"name": "v"}}}, wantOp[CreateMultipartUpload](t, w))
	diff(t, "created", types.ChecksumTypeFullObject, created.ChecksumType)
	part := roundTrip(t, c.UploadPart, &s3.UploadPartInput{Bucket: b, Key: k, UploadId: u, PartNumber: aws.Int32(2), Body: strings.NewReader("x")})
	diff(t, "part", UploadPart{Object: obj("bkt", "k"), UploadID: "u", PartNumber: 2}, wantOp[UploadPart](t, w))
	diff(t, "part", []string{`"p"`, "AAAAAA=="}, []string{*part.ETag, *part.ChecksumCRC32})
	copied := roundTrip(t, c.UploadPartCopy, &s3.UploadPartCopyInput{Bucket: b, Key: k, UploadId: u, PartNumber: aws.Int32(2),
		CopySource: aws.String("src/s?versionId=v"), CopySourceRange: aws.String("bytes=1-5"), CopySourceIfMatch: aws.String(`"e"`)})
	diff(t, "copy", UploadPartCopy{Object: obj("bkt", "k"), UploadID: "u", PartNumber: 2, Source: CopySource{"src", "s", "v"},
		Range: byterange.Closed(1, 5), SourceConditions: Conditions{IfMatch: []string{"e"}}}, wantOp[UploadPartCopy](t, w))
	diff(t, "copied", []string{`"p"`, "AAAAAA=="}, []string{*copied.CopyPartResult.ETag, *copied.CopyPartResult.ChecksumCRC32})
	done := roundTrip(t, c.CompleteMultipartUpload, &s3.CompleteMultipartUploadInput{Bucket: b, Key: k, UploadId: u, IfNoneMatch: aws.String("*"),
		MpuObjectSize: aws.Int64(9), ChecksumCRC32: aws.String("AAAAAA=="), MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{
			{PartNumber: aws.Int32(1), ETag: aws.String(`"p"`), ChecksumCRC32: aws.String("x")}, {PartNumber: aws.Int32(2), ETag: aws.String("q")}}}})
	diff(t, "complete", CompleteMultipartUpload{Object: obj("bkt", "k"), UploadID: "u", IfNoneMatch: true, Size: 9, Checksum: &sums()[0]},
		wantOp[CompleteMultipartUpload](t, w))
	diff(t, "parts", []CompletedPart{{PartNumber: 1, ETag: "p", Checksums: []object.Checksum{{Algorithm: "CRC32", Value: "x"}}},
		{PartNumber: 2, ETag: "q"}}, completed)
	diff(t, "completed", []any{`"e-2"`, "v", "AAAAAA==", types.ChecksumTypeFullObject}, []any{*done.ETag, *done.VersionId, *done.ChecksumCRC32, done.ChecksumType})
	roundTrip(t, c.AbortMultipartUpload, &s3.AbortMultipartUploadInput{Bucket: b, Key: k, UploadId: u})
	diff(t, "abort", AbortMultipartUpload{Object: obj("bkt", "k"), UploadID: "u"}, wantOp[AbortMultipartUpload](t, w))
}

func TestSDKAttributes(t *testing.T) {
	w := &wire{t: t}
	w.answer = func(op Operation, _ *Request) *Response {
		attrs := object.Attrs{Size: 9, ETag: "e-3", ModTime: second, PartsCount: 3, Checksums: sums()}
		parts := []PartEntry{{Number: 1, Size: 1}, {Number: 2, Size: 2, Checksums: sums()}, {Number: 3, Size: 3}}
		return RenderAttributes(op.(GetObjectAttributes), attrs, parts)
	}
	out := roundTrip(t, newClient(w).GetObjectAttributes, &s3.GetObjectAttributesInput{Bucket: aws.String("bkt"), Key: aws.String("k"),
		MaxParts: aws.Int32(1), PartNumberMarker: aws.String("1"), ObjectAttributes: types.ObjectAttributes("").Values()})
	p := out.ObjectParts
	diff(t, "attributes", []any{"e-3", int64(9), types.StorageClassStandard, "AAAAAA==", types.ChecksumTypeFullObject, second, int32(3), true, "1", "2", int32(1)},
		[]any{*out.ETag, *out.ObjectSize, out.StorageClass, *out.Checksum.ChecksumCRC32, out.Checksum.ChecksumType, *out.LastModified, *p.TotalPartsCount,
			*p.IsTruncated, *p.PartNumberMarker, *p.NextPartNumberMarker, *p.MaxParts})
	if len(p.Parts) != 1 || *p.Parts[0].PartNumber != 2 || *p.Parts[0].Size != 2 || *p.Parts[0].ChecksumCRC32 != "AAAAAA==" {
		t.Errorf("parts %+v", p.Parts)
	}
}

func TestSDKBuckets(t *testing.T) {
	w := &wire{t: t}
	c := newClient(w)
	w.answer = func(op Operation, r *Request) *Response {
		switch op := op.(type) {
		case ListBuckets:
			return RenderListBuckets(op, []BucketEntry{{"bkt", day}}, "next +")
		case CreateBucket:
			if location, err := ReadCreateBucket(r.Body); err != nil || location != "eu-west-1" {
				t.Errorf("location %q, %v", location, err)
			}
			return RenderCreateBucket(op.Bucket.Bucket)
		case GetBucketLocation:
			return RenderLocation("eu-west-1")
		}
		return RenderVersioning()
	}
	b := aws.String("bkt")
	out := roundTrip(t, c.ListBuckets, &s3.ListBucketsInput{Prefix: aws.String("b +"), MaxBuckets: aws.Int32(5), ContinuationToken: aws.String("t +")})
	diff(t, "list", ListBuckets{Prefix: "b +", Token: "t +", MaxKeys: 5}, wantOp[ListBuckets](t, w))
	diff(t, "buckets", []any{"bkt", day.UTC().Truncate(time.Millisecond), "next +", "b +"},
		[]any{*out.Buckets[0].Name, *out.Buckets[0].CreationDate, *out.ContinuationToken, *out.Prefix})
	created := roundTrip(t, c.CreateBucket, &s3.CreateBucketInput{Bucket: b,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraintEuWest1}})
	diff(t, "created", "/bkt", *created.Location)
	location := roundTrip(t, c.GetBucketLocation, &s3.GetBucketLocationInput{Bucket: b})
	diff(t, "location", types.BucketLocationConstraintEuWest1, location.LocationConstraint)
	versioning := roundTrip(t, c.GetBucketVersioning, &s3.GetBucketVersioningInput{Bucket: b})
	diff(t, "versioning", types.BucketVersioningStatus(""), versioning.Status)
}

func TestSDKErrors(t *testing.T) {
	w := &wire{t: t}
	c := newClient(w)
	w.answer = func(_ Operation, r *Request) *Response {
		return RenderError(&Error{Code: ErrNoSuchKey, Fields: []Field{{Name: "Key", Value: "a\x7f<&"}}}, r, "REQ", "HOST")
	}
	b, k := aws.String("bkt"), aws.String("k")
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: b, Key: k})
	missing, ok := errors.AsType[*types.NoSuchKey](err)
	if !ok || missing.ErrorMessage() != ErrNoSuchKey.Message() {
		t.Errorf("GetObject: %v", err)
	}
	_, err = c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: b, Key: k})
	if _, ok := errors.AsType[*types.NotFound](err); !ok {
		t.Errorf("HeadObject: %v", err)
	}
	_, err = c.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: b})
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "NotImplemented" || e.ErrorMessage() != "GetBucketAcl is not implemented" {
		t.Errorf("GetBucketAcl: %v", err)
	}
}
