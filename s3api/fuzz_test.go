package s3api_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "unistore/s3api" //nolint:revive // as in the tables
)

// FuzzParse: whatever comes, Parse answers; what it accepts has a legal target, what it refuses has a
// code of the table, and the request is as before.
func FuzzParse(f *testing.F) {
	f.Add("GET", "/bkt/a%20b", "versionId=1&partNumber=2", "localhost", "Range: bytes=0-1\nIf-Match: \"a\", W/\"b\"")
	f.Add("PUT", "/k", "uploadId=u&partNumber=1", "bkt.s3.localhost:9000", "x-amz-copy-source: /src/k%2B?versionId=3\nx-amz-copy-source-range: bytes=1-2")
	f.Add("PUT", "/bkt/k", "X-Amz-Meta-A=b", "", "x-amz-meta-a: b\nx-amz-storage-class: GLACIER\ncontent-encoding: gzip,aws-chunked")
	f.Add("GET", "/bkt", "list-type=2&max-keys=-1&encoding-type=url&prefix=%2", "", "")
	f.Add("POST", "/bkt", "delete", "", "x-amz-checksum-crc32: AAAAAA==")
	f.Add("POST", "/bkt/k", "uploadId=u", "", "x-amz-checksum-crc32: AAAAAA==-2\nx-amz-mp-object-size: 1")
	f.Add("GET", "/bkt/k", "attributes&=&&%", "[::1]", "x-amz-object-attributes: ETag,,ObjectParts")
	f.Add("OPTIONS", "*", "", ".s3.localhost", "origin: x\nif-none-match: \"\n")
	f.Fuzz(func(t *testing.T, method, path, query, host, headers string) {
		r := &Request{Method: method, RawPath: path, RawQuery: query, Host: host, Header: ParseHeader(headers)}
		before := slices.Clone(r.Header)
		op, err := Parse(r, baseDomains)
		if !slices.Equal(before, r.Header) {
			t.Fatal("Parse changed the header")
		}
		if op == nil || op.Name() == "" {
			t.Fatalf("operation %v", op)
		}
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Code.Status() < 400 || e.Code.Status() == 500 {
				t.Fatalf("error %v", err)
			}
			if resp := RenderError(err, r, "r", "h"); resp.Body != nil {
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			return
		}
		bucket, key := op.Target()
		_, isService := op.(ListBuckets)
		if isService != (bucket == "") || bucket != "" && CheckBucket(bucket) != nil || key != "" && CheckKey(key) != nil {
			t.Fatalf("%s of %q %q", op.Name(), bucket, key)
		}
		if reads := method == "GET" || method == "HEAD"; reads == op.Writes() {
			t.Fatalf("%s by %s writes: %v", op.Name(), method, op.Writes())
		}
	})
}

// FuzzReadDelete: what is read once is read again from what RenderDelete writes.
func FuzzReadDelete(f *testing.F) {
	f.Add(keyDoc("a&#x1;&amp;\uf8ff<![CDATA[&#1;]]>"))
	f.Add(keyDoc("&#xD800;"))
	f.Add("<Delete><Quiet>true</Quiet><Object><VersionId>v</VersionId><Key>\r\n</Key></Object></Delete>")
	f.Add("<!DOCTYPE x><Delete/>")
	f.Add("\x00<")
	f.Fuzz(func(t *testing.T, doc string) {
		got, err := ReadDelete(strings.NewReader(doc))
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Code.Status()/100 != 4 && e.Code != ErrNotImplemented {
				t.Fatalf("error %v", err)
			}
			return
		}
		var results []Deleted
		for i := range got.Objects {
			got.Objects[i].ETag, got.Objects[i].VersionID = "", ""
			results = append(results, Deleted{Key: got.Objects[i].Key})
		}
		rendered := body(t, RenderDelete(false, results))
		rendered = strings.NewReplacer("<DeleteResult", "<Delete", "</DeleteResult", "</Delete", "Deleted>", "Object>").Replace(rendered)
		again, err := ReadDelete(strings.NewReader(rendered))
		if err != nil {
			t.Fatalf("%v: %s", err, rendered)
		}
		if diff := cmp.Diff(got.Objects, again.Objects); diff != "" {
			t.Fatalf("-first +again:\n%s", diff)
		}
	})
}

// FuzzReadComplete: what is accepted is a legal list of parts.
func FuzzReadComplete(f *testing.F) {
	f.Add("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;e&quot;</ETag></Part></CompleteMultipartUpload>")
	f.Add("<CompleteMultipartUpload><Part><ETag>e</ETag><PartNumber>+1</PartNumber><ChecksumSHA1>x</ChecksumSHA1></Part></CompleteMultipartUpload>")
	f.Fuzz(func(t *testing.T, doc string) {
		parts, err := ReadComplete(strings.NewReader(doc))
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error %v", err)
			}
			return
		}
		last := 0
		for _, p := range parts {
			if p.PartNumber <= last || p.PartNumber > 10000 || p.ETag == "" {
				t.Fatalf("parts %v", parts)
			}
			last = p.PartNumber
		}
		if last == 0 {
			t.Fatal("no parts")
		}
	})
}
