package s3

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"unistore/upstream"
)

// A service that says which checksum it has found is believed to look after bodies, until it says nothing; when it says
// another one, that is Corrupted, and what is there is told.
func TestEchoesOfOurChecksum(t *testing.T) {
	var answer string // right, wrong, none
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if strings.Contains(r.URL.RawQuery, "unistore-probe") {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<Error><Code>NoSuchUpload</Code></Error>")
			return
		}
		_, trailer, _ := strings.Cut(string(text), "x-amz-checksum-crc32:")
		switch answer {
		case "right":
			w.Header().Set("X-Amz-Checksum-Crc32", strings.TrimSpace(trailer))
		case "wrong":
			w.Header().Set("X-Amz-Checksum-Crc32", "AAAAAA==")
		}
		w.Header().Set("ETag", `"e"`)
	})
	b.frames.Store(framingUnknown)
	at := upstream.Loc{Bucket: "bucket", Key: "k"}
	for i, step := range []struct {
		answer   string
		part     bool
		promised bool // the caller has a checksum of its own
		corrupt  bool
		verifies bool // afterwards
	}{
		{"right", false, true, false, false},
		{"right", false, false, false, true},
		{"wrong", false, false, true, true},
		{"wrong", true, false, true, true},
		{"wrong", false, true, false, true}, // that is upstream.Store's to see
		{"right", true, false, false, true},
		{"none", false, true, false, true},
		{"none", true, false, false, false},
		{"right", false, false, false, false},
	} {
		answer = step.answer
		algorithm := ""
		if step.promised {
			algorithm = "CRC32"
		}
		var err error
		var etag string
		if step.part {
			var p upstream.Part
			p, err = b.UploadPart(t.Context(), upstream.Upload{Loc: at, ID: "u"}, 1,
				upstream.PartRequest{Body: strings.NewReader("body"), Size: 4, TrailingAlgorithm: algorithm})
			etag = p.ETag
		} else {
			attrs, failed := b.Put(t.Context(), at, upstream.PutRequest{Body: strings.NewReader("body"), Size: 4, TrailingAlgorithm: algorithm})
			err, etag = failed, attrs.ETag
		}
		if errors.Is(err, upstream.Corrupted) != step.corrupt || (err != nil) != step.corrupt || etag != "e" || b.VerifiesBodies() != step.verifies {
			t.Errorf("step %d, %+v: ETag %q, %v, verifies %v", i, step, etag, err, b.VerifiesBodies())
		}
	}
}
