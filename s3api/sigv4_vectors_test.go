package s3api

import (
	"io"
	"strings"
	"testing"
)

// The examples of the S3 API reference: sig-v4-header-based-auth, sigv4-query-string-auth.
func TestExamplesOfReference(t *testing.T) {
	auth := func(headers, signature string) string {
		return "Authorization: AWS4-HMAC-SHA256 Credential=" + exampleAccess + "/" + exampleScope +
			",SignedHeaders=" + headers + ",Signature=" + signature
	}
	const (
		host  = "Host: examplebucket.s3.amazonaws.com"
		date  = "x-amz-date: 20130524T000000Z"
		empty = "x-amz-content-sha256: " + emptySHA256
	)
	tests := []struct {
		name string
		r    *Request
	}{
		{"GET object", exampleRequest("GET", "/test.txt", host, date, empty, "Range: bytes=0-9",
			auth("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"))},
		{"PUT object", exampleRequest("PUT", "/test$file.text", host, date, "Date: Fri, 24 May 2013 00:00:00 GMT",
			"x-amz-storage-class: REDUCED_REDUNDANCY",
			"x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			auth("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
				"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"))},
		{"GET lifecycle", exampleRequest("GET", "/?lifecycle", host, date, empty,
			auth("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"))},
		{"list", exampleRequest("GET", "/?max-keys=2&prefix=J", host, date, empty,
			auth("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"))},
		{"presigned", exampleRequest("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"+
			"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"+
			"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
			"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", host)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := exampleVerifier(exampleTime).Verify(tt.r)
			if err != nil {
				t.Fatal(err)
			}
			if a.AccessKey != exampleAccess || a.Anonymous || a.Presigned != (tt.name == "presigned") {
				t.Errorf("Auth %+v", a)
			}
		})
	}
}

// The escaped and the raw form of a path are one.
func TestExamplePutEscaped(t *testing.T) {
	r := exampleRequest("PUT", "/test%24file.text", "Host: examplebucket.s3.amazonaws.com",
		"x-amz-date: 20130524T000000Z", "Date: Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class: REDUCED_REDUNDANCY",
		"x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
		"Authorization: AWS4-HMAC-SHA256 Credential="+exampleAccess+"/"+exampleScope+
			",SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class"+
			",Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
	a, err := exampleVerifier(exampleTime).Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := a.Body(withBody(r, "Welcome to Amazon S3."))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(body); err != nil || string(got) != "Welcome to Amazon S3." {
		t.Errorf("body %q, %v", got, err)
	}
}

// exampleStreams are those of sigv4-streaming and sigv4-streaming-trailers: 65536 and 1024 letters.
var exampleStreams = []struct {
	name, mode, signed, seed string
	extra                    []string
	chunks                   [3]string
	trailer                  string
}{
	{
		name: "chunks", mode: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
		signed: "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
		seed:   "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		extra:  []string{"Content-Length: 66824"},
		chunks: [3]string{"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
			"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
			"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"},
		trailer: "\r\n",
	},
	{
		name: "trailer", mode: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
		signed: "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
		seed:   "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
		extra:  []string{"x-amz-trailer: x-amz-checksum-crc32c"},
		chunks: [3]string{"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
			"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
			"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"},
		trailer: "x-amz-checksum-crc32c:sOO8/Q==\r\n" +
			"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
	},
}

func TestExampleStreams(t *testing.T) {
	for _, tt := range exampleStreams {
		t.Run(tt.name, func(t *testing.T) {
			data := strings.Repeat("a", 66560)
			body := "10000;chunk-signature=" + tt.chunks[0] + "\r\n" + data[:65536] + "\r\n" +
				"400;chunk-signature=" + tt.chunks[1] + "\r\n" + data[65536:] + "\r\n" +
				"0;chunk-signature=" + tt.chunks[2] + "\r\n" + tt.trailer
			r := exampleRequest("PUT", "/examplebucket/chunkObject.txt", append([]string{
				"Host: s3.amazonaws.com", "x-amz-date: 20130524T000000Z", "x-amz-storage-class: REDUCED_REDUNDANCY",
				"Authorization: AWS4-HMAC-SHA256 Credential=" + exampleAccess + "/" + exampleScope + ", SignedHeaders=" +
					tt.signed + ", Signature=" + tt.seed,
				"x-amz-content-sha256: " + tt.mode, "Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 66560",
			}, tt.extra...)...)
			a, err := exampleVerifier(exampleTime).Verify(withBody(r, body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := a.Body(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(b)
			if err != nil || string(got) != data || b.Size != 66560 {
				t.Errorf("%d bytes of size %d, %v", len(got), b.Size, err)
			}
			if sums := b.Trailing(); (len(sums) == 1) != (tt.name == "trailer") ||
				len(sums) == 1 && (sums[0].Algorithm != "CRC32C" || sums[0].Value != "sOO8/Q==") {
				t.Errorf("trailing %+v", sums)
			}
		})
	}
}
