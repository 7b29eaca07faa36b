package gateway

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"unistore/checksum"
	"unistore/config"
	"unistore/faults"
)

// smallParts lets parts have one byte, and puts buckets that begin with other- into a second store.
func smallParts(dir string) func(*config.Config) {
	return func(c *config.Config) {
		c.EnableFaults = true
		c.Upstreams = map[string]config.Upstream{
			"disk":  {Type: "local", Root: filepath.Join(dir, "objects"), MinPart: 1},
			"other": {Type: "local", Root: filepath.Join(dir, "other"), MinPart: 1},
		}
		rest := c.Buckets[0]
		other := rest
		other.Name, other.Upstream = "other-*", "other"
		below := rest
		below.Name, below.Bucket, below.Prefix = "below", "data", "deep/"
		c.Buckets = []config.Route{below, other, rest}
	}
}

func (g *testGateway) create(bucket, key string, alg types.ChecksumAlgorithm, typ types.ChecksumType) string {
	g.t.Helper()
	out, err := g.client.CreateMultipartUpload(g.t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: &bucket, Key: &key, ChecksumAlgorithm: alg, ChecksumType: typ,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return *out.UploadId
}

// TestPartsInAnyOrder: every part twice, gaps, all listed in pages, and the object is the parts in order. The numbers
// reach to 10,000; that many parts are sent with UNISTORE_E2E_FULL=1.
func TestPartsInAnyOrder(t *testing.T) {
	total := 500
	if os.Getenv("UNISTORE_E2E_FULL") == "1" {
		total = 10_000
	}
	dir := t.TempDir()
	g := startGateway(t, dir, smallParts(dir))
	g.bucket("data")
	id := g.create("data", "k", "", "")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var numbers []int // with gaps; the first and the last number are there
	for n := 1; n <= 10_000; n += 10_000 / total {
		if n == 1 || r.IntN(100) > 2 {
			numbers = append(numbers, n)
		}
	}
	if last := len(numbers) - 1; numbers[last] != 10_000 {
		numbers = append(numbers, 10_000)
	}
	body := func(n, pass int) string { return fmt.Sprintf("%d.%d;", n, pass) }
	etags := make(map[int]string, len(numbers))
	for pass := range 2 {
		order := slices.Clone(numbers)
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		var mu sync.Mutex
		var wg sync.WaitGroup
		work := make(chan int)
		for range 8 {
			wg.Go(func() {
				for n := range work {
					out, err := g.client.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("data"), Key: aws.String("k"),
						UploadId: &id, PartNumber: aws.Int32(int32(n)), Body: strings.NewReader(body(n, pass))})
					if err != nil {
						t.Errorf("part %d: %v", n, err)
						continue
					}
					mu.Lock()
					etags[n] = *out.ETag
					mu.Unlock()
				}
			})
		}
		for _, n := range order {
			work <- n
		}
		close(work)
		wg.Wait()
	}
	if t.Failed() {
		return
	}
	var want strings.Builder
	var parts []types.CompletedPart
	for _, n := range numbers {
		want.WriteString(body(n, 1))
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(n)), ETag: aws.String(etags[n])})
	}
	listed := g.listedParts("data", "k", id, 97)
	if len(listed) != len(numbers) {
		t.Fatalf("%d parts are listed, want %d", len(listed), len(numbers))
	}
	for i, p := range listed {
		if n := numbers[i]; int(*p.PartNumber) != n || *p.ETag != etags[n] || *p.Size != int64(len(body(n, 1))) {
			t.Fatalf("part %d: listed as %d, %s, %d bytes", n, *p.PartNumber, *p.ETag, *p.Size)
		}
	}
	etag, err := g.complete("data", "k", id, parts, aws.Int64(int64(want.Len())))
	if err != nil || !strings.HasSuffix(etag, fmt.Sprintf("-%d\"", len(parts))) {
		t.Fatalf("%s, %v", etag, err)
	}
	if got, _, err := g.get("data", "k", ""); err != nil || string(got) != want.String() {
		t.Errorf("%d bytes, %v; want %d", len(got), err, want.Len())
	}
	t.Logf("%d parts, each sent twice", len(parts))
}

func (g *testGateway) listedParts(bucket, key, id string, page int32) []types.Part {
	g.t.Helper()
	var all []types.Part
	in := &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: &id, MaxParts: &page}
	for {
		out, err := g.client.ListParts(g.t.Context(), in)
		if err != nil {
			g.t.Fatal(err)
		}
		all = append(all, out.Parts...)
		if !aws.ToBool(out.IsTruncated) {
			return all
		}
		if len(out.Parts) != int(page) {
			g.t.Fatalf("a page of %d parts is cut at %d", page, len(out.Parts))
		}
		in.PartNumberMarker = out.NextPartNumberMarker
	}
}

// TestUploadsAreListedInPages: by key, then by start, with the ids that clients know.
func TestUploadsAreListedInPages(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, smallParts(dir))
	g.bucket("data")
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("k/%02d", i/2)
		want = append(want, key+" "+g.create("data", key, "", ""))
	}
	below := g.create("below", "k", "", "") // in the same bucket of the store, under a prefix
	in := &s3.ListMultipartUploadsInput{Bucket: aws.String("data"), Prefix: aws.String("k/"), MaxUploads: aws.Int32(4)}
	var got []string
	for {
		out, err := g.client.ListMultipartUploads(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range out.Uploads {
			got = append(got, *u.Key+" "+*u.UploadId)
		}
		if !aws.ToBool(out.IsTruncated) {
			break
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	out, err := g.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("below")})
	if err != nil || len(out.Uploads) != 1 || *out.Uploads[0].Key != "k" || *out.Uploads[0].UploadId != below {
		t.Errorf("below the prefix: %+v, %v", out, err)
	}
}

// sumOf is the checksum of data by an algorithm.
func sumOf(t *testing.T, alg string, data []byte) string {
	t.Helper()
	h, ok := checksum.New(alg)
	if !ok {
		t.Fatalf("no algorithm %q", alg)
	}
	_, _ = h.Write(data)
	return checksum.Encode(h)
}

// TestChecksumsOfUploads: created, in the parts, in listings, verified at the end, and in what is said of the object.
func TestChecksumsOfUploads(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, smallParts(dir))
	g.bucket("data")
	for _, c := range []struct{ alg, typ string }{
		{"CRC32", "COMPOSITE"}, {"CRC32C", "COMPOSITE"}, {"SHA1", "COMPOSITE"}, {"SHA256", "COMPOSITE"},
		{"CRC32", "FULL_OBJECT"}, {"CRC32C", "FULL_OBJECT"}, {"CRC64NVME", "FULL_OBJECT"},
	} {
		t.Run(c.alg+" "+c.typ, func(t *testing.T) { g.checksumUpload(t, c.alg, c.typ) })
	}
}

func (g *testGateway) checksumUpload(t *testing.T, alg, typ string) {
	key := alg + typ
	path := "/data/" + key
	header := checksum.Header(alg)
	_, body := g.call("POST", path+"?uploads", "", "x-amz-checksum-algorithm: "+alg, "x-amz-checksum-type: "+typ)
	id := between(body, "<UploadId>", "</UploadId>")
	var whole []byte
	var values []string
	var list strings.Builder
	for n := 1; n <= 3; n++ {
		data := bytesOf(uint64(n), 100*n)
		value := sumOf(t, alg, data)
		at := fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, n, id)
		if res, text := g.call("PUT", at, string(data), header+": "+sumOf(t, alg, []byte("other"))); res.StatusCode != 400 || !strings.Contains(text, "<Code>BadDigest</Code>") {
			t.Errorf("a wrong checksum: %d %s", res.StatusCode, text)
		}
		res, text := g.call("PUT", at, string(data), header+": "+value)
		if res.StatusCode != 200 || res.Header.Get(header) != value {
			t.Fatalf("part %d: %d %v %s", n, res.StatusCode, res.Header, text)
		}
		whole, values = append(whole, data...), append(values, value)
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag><Checksum%s>%s</Checksum%s></Part>", n, res.Header.Get("ETag"), alg, value, alg)
	}
	if _, text := g.call("GET", path+"?uploadId="+id, ""); strings.Count(text, "<Checksum"+alg+">") != 3 {
		t.Errorf("listed: %s", text)
	}
	want := sumOf(t, alg, whole)
	if typ == "COMPOSITE" {
		var err error
		if want, err = checksum.Composite(alg, values); err != nil {
			t.Fatal(err)
		}
	}
	doc := "<CompleteMultipartUpload>" + list.String() + "</CompleteMultipartUpload>"
	wrong := strings.Replace(want, want[:1], map[bool]string{true: "B", false: "A"}[want[0] == 'A'], 1)
	if res, text := g.call("POST", path+"?uploadId="+id, doc, header+": "+wrong, "x-amz-checksum-type: "+typ); res.StatusCode != 400 || !strings.Contains(text, "<Code>BadDigest</Code>") {
		t.Errorf("a wrong checksum of the object: %d %s", res.StatusCode, text)
	}
	if res, text := g.call("POST", path+"?uploadId="+id, strings.Replace(doc, values[1], values[0], 1)); res.StatusCode != 400 || !strings.Contains(text, "<Code>InvalidPart</Code>") {
		t.Errorf("a wrong checksum in the list: %d %s", res.StatusCode, text)
	}
	res, text := g.call("POST", path+"?uploadId="+id, doc, header+": "+want, "x-amz-checksum-type: "+typ)
	if res.StatusCode != 200 || !strings.Contains(text, "<Checksum"+alg+">"+want) || !strings.Contains(text, "<ChecksumType>"+typ) {
		t.Fatalf("complete: %d %s", res.StatusCode, text)
	}
	for _, method := range []string{"HEAD", "GET"} {
		res, _ := g.call(method, path, "", "x-amz-checksum-mode: ENABLED")
		if res.Header.Get(header) != want || res.Header.Get("x-amz-checksum-type") != typ {
			t.Errorf("%s: %v", method, res.Header)
		}
	}
	if _, text := g.call("GET", path+"?attributes", "", "x-amz-object-attributes: Checksum,ETag"); !strings.Contains(text, "<Checksum"+alg+">"+want) {
		t.Errorf("attributes: %s", text)
	}
	if got, _, err := g.get("data", key, ""); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// TestPartsCopied: within a store and from another one, with ranges and conditions, and what must be refused.
func TestPartsCopied(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, func(c *config.Config) {
		smallParts(dir)(c)
		c.Credentials = append(c.Credentials, config.Credential{AccessKey: "AKELSE", SecretKey: config.NewSecret("secret"), Buckets: []string{"data"}})
	})
	for _, b := range []string{"data", "other-b"} {
		g.bucket(b)
	}
	src := bytesOf(5, 300_000)
	for _, b := range []string{"data", "other-b", "below"} {
		g.put(b, "a key+1%", src)
	}
	etag := base64.StdEncoding.EncodeToString([]byte("x"))
	for _, from := range []string{"data", "other-b", "below"} {
		t.Run(from, func(t *testing.T) {
			id := g.create("data", "copy", "", "")
			source := "x-amz-copy-source: /" + from + "/a%20key%2B1%25"
			at := func(n int) string { return fmt.Sprintf("/data/copy?partNumber=%d&uploadId=%s", n, id) }
			for _, c := range []struct {
				name   string
				lines  []string
				status int
				code   string
			}{
				{"past the end", []string{source, "x-amz-copy-source-range: bytes=0-300000"}, 400, "InvalidArgument"},
				{"outside", []string{source, "x-amz-copy-source-range: bytes=300000-300001"}, 400, "InvalidArgument"},
				{"open range", []string{source, "x-amz-copy-source-range: bytes=5-"}, 400, "InvalidArgument"},
				{"no range", []string{source, "x-amz-copy-source-range: 0-5"}, 400, "InvalidArgument"},
				{"backwards", []string{source, "x-amz-copy-source-range: bytes=5-4"}, 400, "InvalidArgument"},
				{"no such key", []string{"x-amz-copy-source: /" + from + "/none"}, 404, "NoSuchKey"},
				{"no such bucket", []string{"x-amz-copy-source: /nobody/k"}, 404, "NoSuchBucket"},
				{"no key", []string{"x-amz-copy-source: /" + from}, 400, "InvalidArgument"},
				{"another version", []string{source, `x-amz-copy-source-if-match: "` + etag + `"`}, 412, "PreconditionFailed"},
				{"changed since", []string{source, "x-amz-copy-source-if-unmodified-since: Wed, 21 Oct 2015 07:28:00 GMT"}, 412, "PreconditionFailed"},
				{"an unknown version", []string{source + "?versionId=v1"}, 404, "NoSuchVersion"},
			} {
				if res, text := g.call("PUT", at(1), "", c.lines...); res.StatusCode != c.status || !strings.Contains(text, "<Code>"+c.code+"</Code>") {
					t.Errorf("%s: %d %s", c.name, res.StatusCode, text)
				}
			}
			if res, text := g.call("PUT", fmt.Sprintf("/data/copy?partNumber=1&uploadId=%sA", id), "", source); res.StatusCode != 404 || !strings.Contains(text, "<Code>NoSuchUpload</Code>") {
				t.Errorf("another upload: %d %s", res.StatusCode, text)
			}
			var parts []types.CompletedPart
			for i, c := range []struct{ lines []string }{
				{[]string{source, "x-amz-copy-source-range: bytes=100-199999"}}, {[]string{source}}, {[]string{source, "x-amz-copy-source-range: bytes=299999-299999"}},
			} {
				res, text := g.call("PUT", at(i+1), "", c.lines...)
				if res.StatusCode != 200 || !strings.Contains(text, "<CopyPartResult") || !strings.Contains(text, "<LastModified>2") {
					t.Fatalf("part %d: %d %s", i+1, res.StatusCode, text)
				}
				parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)),
					ETag: aws.String(html.UnescapeString(between(text, "<ETag>", "</ETag>")))})
			}
			want := slices.Concat(src[100:200_000], src, src[299_999:])
			if _, err := g.complete("data", "copy", id, parts, aws.Int64(int64(len(want)))); err != nil {
				t.Fatal(err)
			}
			if got, _, err := g.get("data", "copy", ""); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
			}
		})
	}
	id := g.create("data", "denied", "", "")
	o := g.client.Options()
	o.Credentials = aws.CredentialsProviderFunc(staticKeys("AKELSE", "secret"))
	_, err := s3.New(o).UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: aws.String("data"), Key: aws.String("denied"),
		UploadId: &id, PartNumber: aws.Int32(1), CopySource: aws.String("other-b/a%20key%2B1%25")})
	if codeOfS3(err) != "AccessDenied" {
		t.Errorf("a copy from a bucket that its caller may not read: %v", err)
	}
}

// TestHostileUploads: what no honest client sends gets an S3 error, and changes nothing.
func TestHostileUploads(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, smallParts(dir))
	g.bucket("data")
	g.bucket("data2")
	g.bucket("other-b")
	g.put("data", "k", []byte("precious"))
	id := g.create("data", "k", "", "")
	var etags []string
	for n := 1; n <= 2; n++ {
		res, text := g.call("PUT", fmt.Sprintf("/data/k?partNumber=%d&uploadId=%s", n, id), "part")
		if res.StatusCode != 200 {
			t.Fatal(text)
		}
		etags = append(etags, res.Header.Get("ETag"))
	}
	part := func(n, etag string) string {
		return "<Part><PartNumber>" + n + "</PartNumber><ETag>" + etag + "</ETag></Part>"
	}
	doc := func(parts ...string) string {
		return "<CompleteMultipartUpload>" + strings.Join(parts, "") + "</CompleteMultipartUpload>"
	}
	one, two := part("1", etags[0]), part("2", etags[1])
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code                     string
	}{
		{"part 0", "PUT", "/data/k?partNumber=0&uploadId=" + id, "x", 400, "InvalidArgument"},
		{"part 10001", "PUT", "/data/k?partNumber=10001&uploadId=" + id, "x", 400, "InvalidArgument"},
		{"part -1", "PUT", "/data/k?partNumber=-1&uploadId=" + id, "x", 400, "InvalidArgument"},
		{"part x", "PUT", "/data/k?partNumber=x&uploadId=" + id, "x", 400, "InvalidArgument"},
		{"part number alone", "PUT", "/data/k?partNumber=1", "x", 400, "InvalidArgument"},
		{"no part number", "PUT", "/data/k?uploadId=" + id, "x", 400, "InvalidArgument"},
		{"empty id", "PUT", "/data/k?partNumber=1&uploadId=", "x", 400, "InvalidArgument"},
		{"id of no upload", "PUT", "/data/k?partNumber=1&uploadId=..%2F..%2Fx", "x", 404, "NoSuchUpload"},
		{"id of another key", "PUT", "/data/k2?partNumber=1&uploadId=" + id, "x", 404, "NoSuchUpload"},
		{"id of another bucket", "PUT", "/data2/k?partNumber=1&uploadId=" + id, "x", 404, "NoSuchUpload"},
		{"id of another store", "PUT", "/other-b/k?partNumber=1&uploadId=" + id, "x", 404, "NoSuchUpload"},
		{"id of another route", "PUT", "/below/k?partNumber=1&uploadId=" + id, "x", 404, "NoSuchUpload"},
		{"listing of another bucket's", "GET", "/data2/k?uploadId=" + id, "", 404, "NoSuchUpload"},
		{"abort of another bucket's", "DELETE", "/data2/k?uploadId=" + id, "", 404, "NoSuchUpload"},
		{"completion of another bucket's", "POST", "/data2/k?uploadId=" + id, doc(one, two), 404, "NoSuchUpload"},
		{"a bucket that is not there", "PUT", "/nobody/k?partNumber=1&uploadId=" + id, "x", 404, "NoSuchBucket"},
		{"no list", "POST", "/data/k?uploadId=" + id, "", 400, "InvalidRequest"},
		{"empty list", "POST", "/data/k?uploadId=" + id, doc(), 400, "MalformedXML"},
		{"descending", "POST", "/data/k?uploadId=" + id, doc(two, one), 400, "InvalidPartOrder"},
		{"twice", "POST", "/data/k?uploadId=" + id, doc(one, one), 400, "InvalidPartOrder"},
		{"a part that is not there", "POST", "/data/k?uploadId=" + id, doc(one, part("3", etags[0])), 400, "InvalidPart"},
		{"an ETag with markup", "POST", "/data/k?uploadId=" + id, doc(part("1", "&lt;/ETag&gt;&lt;ETag&gt;")), 400, "InvalidPart"},
		{"an ETag that is a path", "POST", "/data/k?uploadId=" + id, doc(part("1", "../../x")), 400, "InvalidPart"},
		{"an entity", "POST", "/data/k?uploadId=" + id, `<!DOCTYPE x [<!ENTITY e "boom">]>` + doc(part("1", "&e;")), 400, "MalformedXML"},
		{"nested deep", "POST", "/data/k?uploadId=" + id, strings.Repeat("<a>", 100_000), 400, "MalformedXML"},
		{"no XML", "POST", "/data/k?uploadId=" + id, "{}", 400, "MalformedXML"},
		{"huge", "POST", "/data/k?uploadId=" + id, doc(part("1", strings.Repeat("a", 9<<20))), 400, "MaxMessageLengthExceeded"},
		{"10001 parts", "POST", "/data/k?uploadId=" + id, doc(manyParts(10_001)), 400, "MalformedXML"},
		{"bad marker", "GET", "/data/k?part-number-marker=-1&uploadId=" + id, "", 400, "InvalidArgument"},
		{"bad page", "GET", "/data/k?max-parts=x&uploadId=" + id, "", 400, "InvalidArgument"},
		{"a checksum that none can have", "POST", "/data/k?uploads&x=sha", "", 400, "InvalidRequest"},
	} {
		var lines []string
		if strings.HasSuffix(c.path, "x=sha") {
			lines = []string{"x-amz-checksum-algorithm: SHA256", "x-amz-checksum-type: FULL_OBJECT"}
		}
		if res, text := g.call(c.method, c.path, c.body, lines...); res.StatusCode != c.status || !strings.Contains(text, "<Code>"+c.code+"</Code>") {
			t.Errorf("%s: %d %s", c.name, res.StatusCode, text[:min(len(text), 300)])
		}
	}
	for size, code := range map[string]string{"7": "InvalidRequest", "x": "InvalidRequest", "-8": "InvalidRequest"} {
		if res, text := g.call("POST", "/data/k?uploadId="+id, doc(one, two), "x-amz-mp-object-size: "+size); !strings.Contains(text, "<Code>"+code+"</Code>") {
			t.Errorf("size %s: %d %s", size, res.StatusCode, text)
		}
	}
	if got, _, err := g.get("data", "k", ""); string(got) != "precious" {
		t.Errorf("%q, %v", got, err)
	}
	if res, text := g.call("POST", "/data/k?uploadId="+id, doc(one, two), "x-amz-mp-object-size: 8"); res.StatusCode != 200 {
		t.Errorf("the right list: %d %s", res.StatusCode, text)
	}
	if got, _, err := g.get("data", "k", ""); string(got) != "partpart" {
		t.Errorf("%q, %v", got, err)
	}
}

func manyParts(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("<Part><PartNumber>" + strconv.Itoa(i+1) + "</PartNumber><ETag>e</ETag></Part>")
	}
	return b.String()
}

// TestCorruptedOnTheWay: bytes that change between the gateway and its store are never called stored.
func TestCorruptedOnTheWay(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, smallParts(dir))
	g.bucket("data")
	const data = "0123456789"
	sum := md5.Sum([]byte(data))
	promises := map[string][]string{
		"nothing":   nil,
		"MD5":       {"Content-MD5: " + base64.StdEncoding.EncodeToString(sum[:])},
		"CRC32":     {"x-amz-checksum-crc32: " + sumOf(t, "CRC32", []byte(data))},
		"CRC64NVME": {"x-amz-checksum-crc64nvme: " + sumOf(t, "CRC64NVME", []byte(data))},
		"SHA256":    {"x-amz-checksum-sha256: " + sumOf(t, "SHA256", []byte(data))},
	}
	for _, warm := range []bool{false, true} {
		for name, lines := range promises {
			id := g.create("data", "k", "", "")
			at := "/data/k?partNumber=1&uploadId=" + id
			if err := g.faults.Put(faults.Fault{Name: faults.UpstreamCorrupt, After: 3}); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/data/k", at} {
				res, text := g.call("PUT", path, data, lines...)
				if res.StatusCode != 503 || !strings.Contains(text, "<Code>ServiceUnavailable</Code>") || res.Header.Get("Retry-After") == "" {
					t.Errorf("%s, warm %v: %d %s", name, warm, res.StatusCode, text)
				}
			}
			g.faults.Clear()
			if got, _, err := g.get("data", "k", ""); codeOfS3(err) != "NoSuchKey" {
				t.Errorf("%s: the object is there: %q, %v", name, got, err)
			}
			for _, path := range []string{"/data/k", at} {
				if res, text := g.call("PUT", path, data, lines...); res.StatusCode != 200 {
					t.Errorf("%s: sent again: %d %s", name, res.StatusCode, text)
				}
			}
			if got, _, err := g.get("data", "k", ""); string(got) != data {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			g.call("DELETE", "/data/k", "")
		}
	}
}

// TestConditionsWhoseAnswerIsLost: the store has acted and its answer is lost: no conflict with oneself is reported.
func TestConditionsWhoseAnswerIsLost(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, smallParts(dir))
	g.bucket("data")
	lose := func(op string) {
		if err := g.faults.Put(faults.Fault{Name: faults.UpstreamReset, Operation: op, After: 1 << 20, Count: 1}); err != nil {
			t.Fatal(err)
		}
	}
	lose("Put")
	res, text := g.call("PUT", "/data/k", "first", "If-None-Match: *")
	if res.StatusCode != 200 {
		t.Fatalf("create: %d %s", res.StatusCode, text)
	}
	first := res.Header.Get("ETag")
	lose("Put")
	if res, text = g.call("PUT", "/data/k", "second", "If-Match: "+first); res.StatusCode != 200 {
		t.Fatalf("replace: %d %s", res.StatusCode, text)
	}
	lose("Put")
	if res, text = g.call("PUT", "/data/k", "third", "If-None-Match: *"); res.StatusCode != 503 {
		t.Errorf("an object of another is there: %d %s", res.StatusCode, text)
	}
	if res, text = g.call("PUT", "/data/k", "third", "If-None-Match: *"); res.StatusCode != 412 {
		t.Errorf("an answer that is not lost: %d %s", res.StatusCode, text)
	}
	id := g.create("data", "k", "", "")
	res, _ = g.call("PUT", "/data/k?partNumber=1&uploadId="+id, "whole")
	doc := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + res.Header.Get("ETag") + "</ETag></Part></CompleteMultipartUpload>"
	head, _ := g.call("HEAD", "/data/k", "")
	lose("CompleteUpload")
	if res, text = g.call("POST", "/data/k?uploadId="+id, doc, "If-Match: "+head.Header.Get("ETag")); res.StatusCode != 200 {
		t.Errorf("complete: %d %s", res.StatusCode, text)
	}
	if got, _, err := g.get("data", "k", ""); string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCopiesOfTooMuch: a copy, and a part that is copied, have 5 GiB at most, as S3's.
func TestCopiesOfTooMuch(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, smallParts(dir))
	g.bucket("data")
	g.bucket("other-b")
	f, err := os.Create(filepath.Join(dir, "objects", "data", "big")) // with holes: it takes no space
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(6<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	id := g.create("data", "k", "", "")
	part := "/data/k?partNumber=1&uploadId=" + id
	for _, c := range []struct {
		path, rng string
		ok        bool
	}{
		{path: "/data/k"},
		{path: "/other-b/k"},
		{path: part},
		{path: part, rng: "bytes=0-5368709120"},
		{path: part, rng: "bytes=6442450942-6442450943", ok: true},
	} {
		lines := []string{"x-amz-copy-source: /data/big"}
		if c.rng != "" {
			lines = append(lines, "x-amz-copy-source-range: "+c.rng)
		}
		res, text := g.call("PUT", c.path, "", lines...)
		refused := res.StatusCode == 400 && strings.Contains(text, "<Code>InvalidRequest</Code>") && strings.Contains(text, "5368709120")
		if c.ok != (res.StatusCode == 200) || !c.ok && !refused {
			t.Errorf("%+v: %d %s", c, res.StatusCode, text)
		}
	}
}
