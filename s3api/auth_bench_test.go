package s3api

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func BenchmarkVerify(b *testing.B) {
	hr, err := http.NewRequestWithContext(b.Context(), "GET", "http://127.0.0.1:9000/warehouse/db/table/part-00000-2f1c.parquet", nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, value := range map[string]string{"Range": "bytes=1048576-2097151", "User-Agent": "aws-sdk-go-v2/1.41", "Accept-Encoding": "identity",
		"Amz-Sdk-Invocation-Id": "8b2f6f6e-1d56-44d2-a5b5-1a2f6c9a4d11", "Amz-Sdk-Request": "attempt=1; max=3"} {
		hr.Header.Set(name, value)
	}
	header := signHTTP(b, hr, emptySHA256, exampleTime)
	query := presign(b, "GET", "/warehouse/db/table/part-00000-2f1c.parquet?X-Amz-Expires=600", exampleAWS, nil)
	for name, r := range map[string]*Request{"header": header, "presigned": query} {
		b.Run(name, func(b *testing.B) {
			v := exampleVerifier(exampleTime)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBody(b *testing.B) {
	data := strings.Repeat("0123456789abcdef", 64<<10/16*128) // 8 MiB
	chunks := func(size int) (sizes []int) {
		for range len(data)/size - 1 {
			sizes = append(sizes, size)
		}
		return sizes
	}
	plain := func(hash string, headers ...string) (*Request, *Auth, string) {
		r, a := signedPut(b, "", hash, headers...)
		return r, a, data
	}
	stream := func(c streamCase) (*Request, *Auth, string) { return c.build(b) }
	type made func() (*Request, *Auth, string)
	for _, bb := range []struct {
		name string
		made made
	}{
		{"unsigned", func() (*Request, *Auth, string) { return plain(unsignedPayload) }},
		{"sha256", func() (*Request, *Auth, string) { return plain(sha256Hex(data)) }},
		{"crc64nvme", func() (*Request, *Auth, string) {
			return plain(unsignedPayload, "x-amz-checksum-crc64nvme: "+sumOf("CRC64NVME", data))
		}},
		{"signed-chunks-64KiB", func() (*Request, *Auth, string) { return stream(streamCase{modeSigned, data, chunks(64 << 10), ""}) }},
		{"signed-chunks-1MiB", func() (*Request, *Auth, string) { return stream(streamCase{modeSigned, data, chunks(1 << 20), ""}) }},
		{"unsigned-trailer-crc32", func() (*Request, *Auth, string) {
			return stream(streamCase{modeUnsignedTrailer, data, chunks(64 << 10), "CRC32"})
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r, a, body := bb.made()
			r.ContentLength = int64(len(body))
			buf := make([]byte, 256<<10)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r.Body = strings.NewReader(body)
				got, err := a.Body(r)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, got, buf)
				if err != nil || n != int64(len(data)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
