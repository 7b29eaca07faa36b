package s3

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"unistore/upstream/internal/wire"
)

// documents is the RoundTripper that takes nothing but a listing for one. The SDK reads any document under 200 OK, the page of
// a proxy say, and an empty body, too, as a listing of nothing.
type documents struct{ next http.RoundTripper }

// prolog bounds what may come before the first element of a listing.
const prolog = 4 << 10

// RoundTrip implements http.RoundTripper.
func (d documents) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK || req.Method != http.MethodGet || !lists(req.URL) {
		return resp, err
	}
	r := bufio.NewReaderSize(resp.Body, prolog)
	head, _ := r.Peek(prolog) // an error comes again when the document is read
	if root := wire.Root(head); !strings.HasPrefix(root, "List") || !strings.HasSuffix(root, "Result") {
		_ = resp.Body.Close() // the answer is void
		return nil, fmt.Errorf("the answer is 200, its document no listing: it begins with %.60q", head)
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{r, resp.Body}
	return resp, nil
}

// lists reports whether a GET is answered by a listing: of objects, uploads, parts or buckets.
func lists(u *url.URL) bool {
	q := u.Query()
	return q.Has("list-type") || q.Has("uploads") || q.Has("uploadId") || q.Get("x-id") == "ListBuckets"
}
