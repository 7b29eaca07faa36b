package s3

import (
	"net/http"
	"testing"
)

func TestMD5ETag(t *testing.T) {
	const sum = "d41d8cd98f00b204e9800998ecf8427e"
	for _, tt := range []struct {
		etag, header, value string
		amazon              bool
		want                bool
	}{
		{etag: sum, want: true},
		{etag: "D41D8CD98F00B204E9800998ECF8427E", want: true},
		{etag: sum + "-1", want: true},
		{etag: sum + "-10000", want: true},
		{etag: sum, header: "X-Amz-Server-Side-Encryption", value: "AES256", amazon: true, want: true},
		{etag: sum, header: "X-Amz-Server-Side-Encryption", value: "AES256"},
		{etag: sum, header: "X-Amz-Server-Side-Encryption", value: "aws:kms"},
		{etag: sum, header: "X-Amz-Server-Side-Encryption", value: "aws:kms:dsse"},
		{etag: sum, header: "X-Amz-Server-Side-Encryption-Customer-Algorithm", value: "AES256"},
		{etag: ""}, {etag: "-1"}, {etag: sum + "-"}, {etag: sum + "-0"}, {etag: sum + "-x"}, {etag: sum[1:]}, {etag: sum + "00"},
		{etag: "x41d8cd98f00b204e9800998ecf8427e"},
	} {
		h := http.Header{}
		if tt.header != "" {
			h.Set(tt.header, tt.value)
		}
		if got := (&Backend{exact: tt.amazon}).md5ETag(h, tt.etag); got != tt.want {
			t.Errorf("%q with %s: %s is %v", tt.etag, tt.header, tt.value, got)
		}
	}
}
