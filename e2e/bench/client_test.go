//go:build e2e

package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"golang.org/x/sync/errgroup"
)

// client speaks as much S3 as the benchmarks need, at the least cost: what it costs takes from both sides.
type client struct {
	endpoint
	http  *http.Client
	admin string // host and port of the admin listener, of a gateway where it is needed
	sums  bool   // bodies are sent with their CRC32, as SDKs do by default over plain HTTP: in a header
}

func newClient(e endpoint) *client {
	return &client{endpoint: e, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 64, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10, DisableCompression: true,
	}}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// do sends a signed request, whose payload is not, and returns header and body of a 2xx answer.
func (c *client) do(ctx context.Context, method, path string, body io.Reader, size int64) (http.Header, []byte, error) {
	res, err := c.send(ctx, method, path, body, size, "")
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	return res.Header, text, err
}

// send is do without the answer's body; a range is sent unless it is "".
func (c *client) send(ctx context.Context, method, path string, body io.Reader, size int64, ranges string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	if c.sums && size > 0 && method == http.MethodPut {
		req.Header.Set("X-Amz-Checksum-Crc32", sumOf(size))
		req.Header.Set("X-Amz-Sdk-Checksum-Algorithm", "CRC32")
	}
	const payload = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", payload)
	keys := aws.Credentials{AccessKeyID: c.access, SecretAccessKey: c.secret}
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, payload, "s3", "us-east-1", time.Now()); err != nil {
		return nil, err
	}
	return c.http.Do(req)
}

// get reads n bytes of an object from off on, all of which must come.
func (c *client) get(ctx context.Context, path string, off, n int64) error {
	res, err := c.send(ctx, http.MethodGet, path, nil, 0, fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.Copy(io.Discard, res.Body)
	if err == nil && (got != n || res.StatusCode != http.StatusPartialContent) {
		err = fmt.Errorf("%s at %d: status %d, %d bytes", path, off, res.StatusCode, got)
	}
	return err
}

// noise is bytes that no server can make smaller.
var noise = func() []byte {
	b := make([]byte, 16<<20)
	r := rand.NewChaCha8([32]byte{4})
	_, _ = r.Read(b)
	return b
}()

// noiseOf is a body of that many bytes.
func noiseOf(size int64) io.Reader {
	if size <= int64(len(noise)) {
		return bytes.NewReader(noise[:size])
	}
	var all []io.Reader
	for ; size > 0; size -= int64(len(noise)) {
		all = append(all, bytes.NewReader(noise[:min(size, int64(len(noise)))]))
	}
	return io.MultiReader(all...)
}

// sums are the CRC32 sums of noise bodies that were sent, by size.
var sums sync.Map

func sumOf(size int64) string {
	if known, ok := sums.Load(size); ok {
		return known.(string)
	}
	h := crc32.NewIEEE()
	_, _ = io.Copy(h, noiseOf(size))
	sum := base64.StdEncoding.EncodeToString(h.Sum(nil))
	sums.Store(size, sum)
	return sum
}

// put writes an object with one PUT.
func (c *client) put(ctx context.Context, path string, size int64) error {
	_, _, err := c.do(ctx, http.MethodPut, path, noiseOf(size), size)
	return err
}

// multipart writes an object in parts, so many at a time.
func (c *client) multipart(ctx context.Context, path string, parts int, size int64, parallel int) error {
	_, text, err := c.do(ctx, http.MethodPost, path+"?uploads=", nil, 0)
	if err != nil {
		return err
	}
	var created struct{ UploadId string }
	if err := xml.Unmarshal(text, &created); err != nil {
		return err
	}
	etags := make([]string, parts)
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range parts {
		group.Go(func() error {
			header, _, err := c.do(ctx2, http.MethodPut, fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, i+1, created.UploadId), noiseOf(size), size)
			etags[i] = header.Get("ETag")
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var list strings.Builder
	list.WriteString("<CompleteMultipartUpload>")
	for i, etag := range etags {
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag)
	}
	list.WriteString("</CompleteMultipartUpload>")
	_, text, err = c.do(ctx, http.MethodPost, path+"?uploadId="+created.UploadId, strings.NewReader(list.String()), int64(list.Len()))
	if err == nil && !bytes.Contains(text, []byte("<ETag>")) {
		err = fmt.Errorf("complete: %s", text)
	}
	return err
}
