//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// trouble is what happens to one write. The keys of its writes end in its name.
type trouble struct {
	name string
	// faults are arguments of "unistore faults set", narrowed to the keys.
	faults [][]string
	// client is what the client does in the middle of its body: leave, stall, or lie about the MD5; empty: it behaves, and
	// gives up after a while.
	client string
	// may is what may come of it.
	may fate
}

type fate int

const (
	succeeds   fate = iota // always
	fails                  // always, and leaves no object
	either                 // as the answer says
	unanswered             // the answer is lost: after a failure the object may be there, whole
)

func fault(args ...string) [][]string { return [][]string{args} }

// long is a delay that outlives every client here.
const long = "delay=1h"

// troublesOfPut are those of bodies that go up in one request.
var troublesOfPut = []trouble{
	{name: "none"},
	{name: "put-500", faults: fault("upstream.error", "operation=Put", "status=500"), may: fails},
	{name: "put-503", faults: fault("upstream.error", "operation=Put", "status=503"), may: fails},
	{name: "put-full", faults: fault("upstream.error", "operation=Put", "status=507"), may: fails},
	{name: "put-reset", faults: fault("upstream.reset", "operation=Put", "after=100"), may: fails},
	{name: "put-lost", faults: fault("upstream.reset", "operation=Put", "after=1000000000000"), may: unanswered},
	{name: "put-cut", faults: fault("upstream.truncate", "operation=Put", "after=100"), may: fails},
	{name: "put-stall", faults: fault("upstream.latency", "operation=Put", long), may: fails},
	{name: "leaves", client: "leave", may: fails},
	{name: "stalls", client: "stall", may: fails},
	{name: "lies", client: "lie", may: fails},
}

// troublesOfParts are those of bodies that go up in parts.
var troublesOfParts = []trouble{
	{name: "none"},
	{name: "create-500", faults: fault("upstream.error", "operation=CreateUpload", "status=500"), may: fails},
	{name: "create-lost", faults: fault("upstream.reset", "operation=CreateUpload"), may: fails},
	{name: "create-stall", faults: fault("upstream.latency", "operation=CreateUpload", long), may: fails},
	{name: "part-500", faults: fault("upstream.error", "operation=UploadPart", "status=500", "skip=1"), may: either},
	{name: "part-some", faults: fault("upstream.error", "operation=UploadPart", "status=500", "probability=0.4"), may: either},
	{name: "part-full", faults: fault("upstream.error", "operation=UploadPart", "status=507"), may: fails},
	{name: "part-reset", faults: fault("upstream.reset", "operation=UploadPart", "after=100000"), may: fails},
	{name: "part-lost", faults: fault("upstream.reset", "operation=UploadPart", "after=1000000000000"), may: fails},
	{name: "part-cut", faults: fault("upstream.truncate", "operation=UploadPart", "after=100000"), may: fails},
	{name: "part-corrupt", faults: fault("upstream.corrupt", "operation=UploadPart", "after=1000"), may: fails},
	{name: "part-stall", faults: fault("upstream.latency", "operation=UploadPart", long), may: fails},
	{name: "part-error", faults: fault("upload.part-error"), may: either},
	{name: "last-first", faults: fault("upload.last-part-first")},
	{name: "complete-500", faults: fault("upstream.error", "operation=CompleteUpload", "status=500"), may: fails},
	{name: "complete-lost", faults: fault("upstream.reset", "operation=CompleteUpload"), may: unanswered},
	{name: "complete-stall", faults: fault("upstream.latency", "operation=CompleteUpload", long), may: fails},
	{name: "complete-error", faults: fault("upload.complete-error"), may: either},
	{name: "abort-500", faults: [][]string{
		{"upstream.error", "operation=UploadPart", "status=507"}, {"upstream.error", "operation=AbortUpload", "status=500", "count=40"},
	}, may: fails},
	{name: "abort-lost", faults: [][]string{
		{"upstream.error", "operation=CompleteUpload", "status=507"}, {"upstream.reset", "operation=AbortUpload", "count=40"},
	}, may: fails},
	{name: "leaves", client: "leave", may: fails},
	{name: "stalls", client: "stall", may: fails},
}

// inject makes the faults of troubles active.
func (g *gatewayProcess) inject(troubles []trouble, seed uint64) {
	g.t.Helper()
	for _, tr := range troubles {
		for _, f := range tr.faults {
			g.fault(f[0], append(f[1:], "match=*/*-"+tr.name, fmt.Sprintf("seed=%d", seed))...)
		}
	}
}

// patience is how long the client waits for an answer: not long where it is known that none will come.
func (tr trouble) patience() time.Duration {
	for _, f := range tr.faults {
		if slices.Contains(f, long) {
			return 4 * time.Second
		}
	}
	return 2 * time.Minute
}

var errLeft = errors.New("the client left")

// troubledBody is a body whose client leaves or stalls half-way, or has changed its mind about a byte.
type troubledBody struct {
	*contentReader
	ctx    context.Context
	client string
	left   bool
}

// Read implements io.Reader.
func (b *troubledBody) Read(p []byte) (int, error) {
	half := b.size / 2
	if b.client == "leave" || b.client == "stall" {
		if b.at >= half {
			if b.client == "leave" {
				b.left = true
				return 0, errLeft
			}
			<-b.ctx.Done() // the answer, or patience
			return 0, b.ctx.Err()
		}
		p = p[:min(int64(len(p)), half-b.at)]
	}
	return b.contentReader.Read(p)
}

// troubledPut sends one PUT, of a known length or not.
func (g *gatewayProcess) troubledPut(ctx context.Context, c *http.Client, path string, what content, known bool, tr trouble) error {
	ctx, cancel := context.WithTimeout(ctx, tr.patience())
	defer cancel()
	body := &troubledBody{contentReader: what.reader(), ctx: ctx, client: tr.client}
	req, err := signed(ctx, http.MethodPut, g.url()+path, struct{ io.Reader }{body})
	if err != nil {
		return err
	}
	req.ContentLength = -1
	if known {
		req.ContentLength = what.size
	}
	if tr.client == "lie" {
		sum := md5.Sum([]byte("something else"))
		req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	return answered(c, req)
}

// answered sends a request and returns nil after a 2xx answer.
func answered(c *http.Client, req *http.Request) error {
	_, err := exchange(c, req)
	return err
}

func exchange(c *http.Client, req *http.Request) ([]byte, error) {
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = statusError{res.StatusCode, string(text)}
	}
	return text, err
}

// troubledParts sends a client's own multipart upload, in parts of 5 MiB. After a failure it aborts, or leaves the upload
// where it is.
func (g *gatewayProcess) troubledParts(ctx context.Context, c *http.Client, path string, what content, tr trouble, aborts bool) error {
	ctx, cancel := context.WithTimeout(ctx, tr.patience())
	defer cancel()
	text, err := g.send(ctx, c, http.MethodPost, path+"?uploads=", nil, 0)
	if err != nil {
		return err
	}
	var created struct{ UploadId string }
	if err := xml.Unmarshal(text, &created); err != nil {
		return err
	}
	if err = g.sendParts(ctx, c, path, what, created.UploadId, tr); err != nil && aborts {
		_, _ = g.send(context.WithoutCancel(ctx), c, http.MethodDelete, path+"?uploadId="+created.UploadId, nil, 0)
	}
	return err
}

func (g *gatewayProcess) sendParts(ctx context.Context, c *http.Client, path string, what content, id string, tr trouble) error {
	const part = 5 << 20
	all := what.bytes()
	var list bytes.Buffer
	list.WriteString("<CompleteMultipartUpload>")
	for i, n := int64(0), 1; i < what.size; i, n = i+part, n+1 {
		piece := all[i:min(i+part, what.size)]
		var body io.Reader = bytes.NewReader(piece)
		if tr.client != "" && i > 0 {
			half := io.Reader(bytes.NewReader(piece[:len(piece)/2]))
			rest := &troubledBody{contentReader: content{}.reader(), ctx: ctx, client: tr.client}
			body = io.MultiReader(half, rest)
		}
		if _, err := g.send(ctx, c, http.MethodPut, fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, n, id), body, int64(len(piece))); err != nil {
			return err
		}
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%x</ETag></Part>", n, md5.Sum(piece))
	}
	list.WriteString("</CompleteMultipartUpload>")
	text, err := g.send(ctx, c, http.MethodPost, path+"?uploadId="+id, bytes.NewReader(list.Bytes()), int64(list.Len()))
	if err == nil && !strings.Contains(string(text), "<ETag>") { // a failure after the status line
		err = statusError{http.StatusOK, string(text)}
	}
	return err
}

func (g *gatewayProcess) send(ctx context.Context, c *http.Client, method, path string, body io.Reader, size int64) ([]byte, error) {
	req, err := signed(ctx, method, g.url()+path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	return exchange(c, req)
}
