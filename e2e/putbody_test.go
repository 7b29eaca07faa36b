//go:build e2e

package e2e

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// gatewayPart is the size of the parts that the gateway cuts bodies into, as docs/writes.md has it.
const gatewayPart = 16 << 20

// contentReader reads a content from its beginning.
type contentReader struct {
	content
	at int64
}

func (c content) reader() *contentReader { return &contentReader{content: c} }

// Read implements io.Reader.
func (r *contentReader) Read(p []byte) (int, error) {
	if r.at == r.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), r.size-r.at))
	r.fill(p[:n], r.at)
	r.at += int64(n)
	return n, nil
}

// wholeETag is S3's ETag of an object made by one PUT, in quotes.
func (c content) wholeETag() string {
	sum := md5.New()
	_, _ = io.Copy(sum, c.reader())
	return fmt.Sprintf(`"%x"`, sum.Sum(nil))
}

// cutETag is S3's ETag of an object made of parts of that size, in quotes.
func (c content) cutETag(part int64) string {
	all, r := md5.New(), c.reader()
	n := 0
	for ; r.at < c.size; n++ {
		one := md5.New()
		_, _ = io.Copy(one, io.LimitReader(r, part))
		all.Write(one.Sum(nil))
	}
	return fmt.Sprintf(`"%x-%d"`, all.Sum(nil), n)
}

// signed is a request with the keys of the test, whose payload is not signed.
func signed(ctx context.Context, method, url string, body io.Reader) (*http.Request, error) {
	return signedWith(ctx, method, url, body, nil)
}

// signedWith is signed with header lines besides.
func signedWith(ctx context.Context, method, url string, body io.Reader, lines map[string]string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	for name, value := range lines {
		req.Header.Set(name, value)
	}
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	return req, v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).
		SignHTTP(ctx, creds, req, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
}

// statusError is an answer that is not 2xx.
type statusError struct {
	status int
	text   string
}

func (e statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.text) }

// put sends body in one PUT. size is its length, or -1: then it goes with Transfer-Encoding: chunked, which is how a
// client sends what it does not know the length of.
func (g *gatewayProcess) put(ctx context.Context, c *http.Client, path string, body io.Reader, size int64) (etag string, err error) {
	// No method but Read, so that net/http learns nothing of the length.
	req, err := signed(ctx, http.MethodPut, g.url()+path, struct{ io.Reader }{body})
	if err != nil {
		return "", err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", statusError{res.StatusCode, string(text)}
	}
	return res.Header.Get("ETag"), nil
}

// errNoObject is the answer to a read of what is not there.
var errNoObject = errors.New("no such object")

// check reads an object whole and compares it with what it should hold. It returns its ETag.
func (g *gatewayProcess) check(ctx context.Context, c *http.Client, path string, what content) (etag string, err error) {
	req, err := signed(ctx, http.MethodGet, g.url()+path, nil)
	if err != nil {
		return "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return "", errNoObject
	case res.StatusCode != http.StatusOK:
		text, _ := io.ReadAll(res.Body)
		return "", statusError{res.StatusCode, string(text)}
	case res.ContentLength != what.size:
		return "", errCorrupt{fmt.Sprintf("%d bytes, want %d", res.ContentLength, what.size)}
	}
	n, err := what.compare(res.Body, 0)
	if wrong, ok := errors.AsType[errWrongBytes](err); ok {
		return "", errCorrupt{wrong.Error()}
	}
	if err != nil || n != what.size {
		return "", fmt.Errorf("%d bytes of %d: %w", n, what.size, err)
	}
	return res.Header.Get("ETag"), nil
}

// errCorrupt is an object that holds something else than was ever written whole.
type errCorrupt struct{ what string }

func (e errCorrupt) Error() string { return "corruption: " + e.what }
