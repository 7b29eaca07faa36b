//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// model is what the objects of a bucket may hold: for each key its writes in order, by one writer at a time.
type model struct {
	bucket string
	keys   []*modelKey
	mu     struct {
		sync.Mutex
		refusals []string // the answers of 5xx
	}
}

type modelKey struct {
	name string
	mu   struct {
		sync.Mutex
		writes []modelWrite // the first stands for "never written"
		low    int          // no earlier write can be seen any more: a later one was answered, or was read
		why    string       // what has settled low
	}
}

// modelWrite is one write; without an ETag it is a delete.
type modelWrite struct {
	content
	tag string
}

func newModel(bucket string, keys int) *model {
	m := &model{bucket: bucket}
	for i := range keys {
		k := &modelKey{name: fmt.Sprintf("dir %d/object-%d", i%3, i)}
		k.mu.writes = []modelWrite{{}}
		m.keys = append(m.keys, k)
	}
	return m
}

// begin notes a write that is about to be sent, and returns its number.
func (k *modelKey) begin(w modelWrite) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.writes = append(k.mu.writes, w)
	return len(k.mu.writes) - 1
}

// settle says that write n was answered, or was seen by a reader: nothing older may be seen from now on.
func (k *modelKey) settle(n int, why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n > k.mu.low {
		k.mu.low, k.mu.why = n, why
	}
}

// stale describes an answer that shows write n, or none at all when n is negative.
func (k *modelKey) stale(low, n int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprintf("it is number %d, when at least number %d was to be seen; by now number %d is (%s), of %d",
		n, low, k.mu.low, k.mu.why, len(k.mu.writes)-1)
}

func (k *modelKey) low() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.low
}

// find returns the first write from number low on that ok accepts: of several deletes it may have been that one.
func (k *modelKey) find(low int, ok func(modelWrite) bool) (int, modelWrite, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for n := low; n < len(k.mu.writes); n++ {
		if ok(k.mu.writes[n]) {
			return n, k.mu.writes[n], true
		}
	}
	return 0, modelWrite{}, false
}

// outcome is what one operation of a client came to.
type outcome int

const (
	done    outcome = iota
	lost            // no answer: the process is gone
	cut             // the body ended early, and what came of it was right
	refused         // an answer of 5xx
)

// put overwrites a key. The error is a wrong result.
func (m *model) put(ctx context.Context, c *s3.Client, k *modelKey, what content) (outcome, error) {
	body := what.bytes()
	w := modelWrite{content: what, tag: what.etag()}
	n := k.begin(w)
	out, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &m.bucket, Key: &k.name, Body: bytes.NewReader(body)})
	if err != nil {
		return m.unanswered(err)
	}
	if got := aws.ToString(out.ETag); got != w.tag {
		return done, fmt.Errorf("PUT %s: ETag %s, want %s", k.name, got, w.tag)
	}
	k.settle(n, "by the answer to PUT")
	return done, nil
}

func (m *model) remove(ctx context.Context, c *s3.Client, k *modelKey) (outcome, error) {
	n := k.begin(modelWrite{})
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &m.bucket, Key: &k.name}); err != nil {
		return m.unanswered(err)
	}
	k.settle(n, "by the answer to DELETE")
	return done, nil
}

// unanswered sorts an error without an answer from an answer that should not be.
func (m *model) unanswered(err error) (outcome, error) {
	if res, ok := errors.AsType[*awshttp.ResponseError](err); ok && res.HTTPStatusCode() != 0 {
		if res.HTTPStatusCode() >= 500 {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.mu.refusals = append(m.mu.refusals, err.Error())
			return refused, nil
		}
		return done, err
	}
	return lost, nil
}

// get reads a random range of a key and checks what comes against every write that it may show.
func (m *model) get(ctx context.Context, c *s3.Client, r *rand.Rand, k *modelKey) (outcome, error) {
	low := k.low()
	off := int64(0)
	_, w, ok := k.find(low, func(w modelWrite) bool { return w.tag != "" })
	if ok && r.IntN(4) > 0 {
		off = r.Int64N(w.size)
	}
	length := 1 + r.Int64N(1<<uint(10+r.IntN(13))) // 1 KiB to 4 MiB
	in := &s3.GetObjectInput{Bucket: &m.bucket, Key: &k.name, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+length-1))}
	out, err := c.GetObject(ctx, in)
	if err != nil {
		return m.noBody(k, low, off, err)
	}
	defer out.Body.Close()
	return m.check(k, low, off, length, out)
}

// check compares an answer that should hold length bytes from off on with the version that its ETag names, which must be
// number low or a later one.
func (m *model) check(k *modelKey, low int, off, length int64, out *s3.GetObjectOutput) (outcome, error) {
	tag := aws.ToString(out.ETag)
	n, w, ok := k.find(low, func(w modelWrite) bool { return w.tag == tag })
	if !ok {
		n, _, ok := k.find(0, func(w modelWrite) bool { return w.tag == tag })
		if !ok {
			n = -1
		}
		return done, fmt.Errorf("GET %s: stale ETag %s: %s", k.name, tag, k.stale(low, n))
	}
	want, where := min(length, w.size-off), fmt.Sprintf("%d+%d", off, length)
	if got := aws.ToInt64(out.ContentLength); got != want {
		return done, fmt.Errorf("GET %s %s: Content-Length %d, want %d", k.name, where, got, want)
	}
	got, err := w.compare(out.Body, off)
	var wrong errWrongBytes
	switch {
	case errors.As(err, &wrong):
		return done, fmt.Errorf("GET %s %s of %s: %w", k.name, where, tag, err)
	case err != nil:
		return cut, nil
	case got != want:
		return done, fmt.Errorf("GET %s %s: a body of %d bytes that ends well, want %d", k.name, where, got, want)
	}
	k.settle(n, "by a GET that showed it")
	return done, nil
}

// noBody checks an answer without an object.
func (m *model) noBody(k *modelKey, low int, off int64, err error) (outcome, error) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return m.unanswered(err)
	}
	var match func(modelWrite) bool
	switch api.ErrorCode() {
	case "NoSuchKey":
		match = func(w modelWrite) bool { return w.tag == "" }
	case "InvalidRange":
		match = func(w modelWrite) bool { return w.tag != "" && w.size <= off }
	default:
		return m.unanswered(err)
	}
	n, _, ok := k.find(low, match)
	if !ok {
		return done, fmt.Errorf("GET %s: %s: %s", k.name, api.ErrorCode(), k.stale(low, -1))
	}
	k.settle(n, "by a GET that said "+api.ErrorCode())
	return done, nil
}

// tally counts outcomes.
type tally struct {
	mu struct {
		sync.Mutex
		by [refused + 1]int
	}
}

func (c *tally) add(o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.by[o]++
}

func (c *tally) of(o outcome) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.by[o]
}

func (c *tally) String() string {
	return fmt.Sprintf("%d done, %d lost, %d cut, %d refused", c.of(done), c.of(lost), c.of(cut), c.of(refused))
}

// rawClient is an HTTP client with a pool for many readers at once.
func rawClient(conns int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: conns, MaxIdleConnsPerHost: conns, DisableCompression: true}}
}
