package s3api_test

import (
	"testing"

	. "unistore/s3api" //nolint:revive // as in the tables
)

// BenchmarkParseGet is the read of an engine: a ranged GET as an SDK sends it.
func BenchmarkParseGet(b *testing.B) {
	r := newRequest("GET /warehouse/db/table/part-00000-1f6.c000.snappy.parquet?x-id=GetObject", "Host: 127.0.0.1:9000",
		"Range: bytes=4194304-12582911", "amz-sdk-invocation-id: 1", "User-Agent: x", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
		"x-amz-date: 20240506T070809Z", "x-amz-checksum-mode: ENABLED", "Authorization: AWS4-HMAC-SHA256 Credential=x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(r, baseDomains); err != nil {
			b.Fatal(err)
		}
	}
}
