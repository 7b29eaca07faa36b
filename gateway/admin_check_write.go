package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"unistore/byterange"
	"unistore/upstream"
)

// checkBody is what Check writes: the size of a request, not of a load.
var checkBody = bytes.Repeat([]byte("unistore check\n"), 100)

// writes tries what changes the store, in an object of its own under the prefix of a route, and leaves nothing of it.
func (c *checker) writes(ctx context.Context) {
	if !c.opts.Write {
		c.rest("nothing is written without --write")
		return
	}
	loc, ok := c.scratch()
	if !ok {
		c.rest("no route names a bucket to write to")
		return
	}
	defer c.step("delete", func() (string, error) { return c.tidy(ctx, loc) })
	var etag string
	if !c.step("write", func() (detail string, err error) {
		detail, etag, err = c.write(ctx, loc)
		return detail, err
	}) {
		const why = "the write failed"
		c.note("condition", "", notTried(why), 0)
		c.note("multipart", "", notTried(why), 0)
		return
	}
	c.step("condition", func() (string, error) { return c.condition(ctx, loc, etag) })
	c.step("multipart", func() (string, error) { return c.multipart(ctx, loc) })
}

// scratch is an object that nobody has.
func (c *checker) scratch() (upstream.Loc, bool) {
	for _, r := range c.cfg.Buckets {
		if name := named(r); r.Upstream == c.name && name != "" {
			return upstream.Loc{Bucket: name, Key: r.Prefix + "unistore-check-" + rand.Text()}, true
		}
	}
	return upstream.Loc{}, false
}

func (c *checker) write(ctx context.Context, loc upstream.Loc) (detail, etag string, err error) {
	attrs, err := c.store.Put(ctx, loc, upstream.PutRequest{Body: bytes.NewReader(checkBody), Size: int64(len(checkBody))})
	if err != nil {
		return "", "", err
	}
	if err := c.compare(ctx, loc, attrs.ETag, checkBody); err != nil {
		return "", "", err
	}
	return fmt.Sprintf("%d bytes written to bucket %s and read back, ETag %s", len(checkBody), loc.Bucket, attrs.ETag), attrs.ETag, nil
}

// compare reads an object in two ranges.
func (c *checker) compare(ctx context.Context, loc upstream.Loc, etag string, want []byte) error {
	half := int64(len(want) / 2)
	var got []byte
	for _, rng := range []byterange.Spec{byterange.Closed(0, half-1), byterange.From(half)} {
		stream, err := c.store.Open(ctx, loc, upstream.OpenOptions{Range: rng, IfMatch: etag})
		if err != nil {
			return err
		}
		b, err := io.ReadAll(stream.Body)
		if err = errors.Join(err, stream.Body.Close()); err != nil {
			return err
		}
		got = append(got, b...)
	}
	if !bytes.Equal(got, want) {
		return errors.New("what was read is not what was written")
	}
	return nil
}

// condition tries writes that must fail.
func (c *checker) condition(ctx context.Context, loc upstream.Loc, etag string) (string, error) {
	request := func() upstream.PutRequest {
		return upstream.PutRequest{Body: bytes.NewReader(checkBody[1:]), Size: int64(len(checkBody) - 1)}
	}
	create := request()
	create.IfNoneMatch = true
	_, err := c.store.Put(ctx, loc, create)
	createOnly, err := kept("If-None-Match", err)
	if err != nil {
		return "", err
	}
	replace := request()
	replace.IfMatch = "00000000000000000000000000000000"
	_, err = c.store.Put(ctx, loc, replace)
	replaceOnly, err := kept("If-Match", err)
	if err != nil {
		return "", err
	}
	if err := c.compare(ctx, loc, etag, checkBody); err != nil {
		return "", fmt.Errorf("after writes that must have failed: %w", err)
	}
	return createOnly + ", " + replaceOnly, nil
}

// kept judges a write whose condition does not hold.
func kept(name string, err error) (string, error) {
	switch {
	case err == nil:
		return "", fmt.Errorf("the store ignores %s", name)
	case errors.Is(err, upstream.Changed):
		return name + " is kept", nil
	case errors.Is(err, upstream.Unsupported):
		return name + " is refused: the store has no such condition", nil
	default:
		return "", fmt.Errorf("%s: %w", name, err)
	}
}

// multipart replaces the object by an upload of one part, the only number of parts that need not be large.
func (c *checker) multipart(ctx context.Context, loc upstream.Loc) (string, error) {
	if !c.store.Multipart() {
		return "", notTried("the store has no multipart uploads")
	}
	id, err := c.store.CreateUpload(ctx, loc, upstream.CreateUploadRequest{})
	if err != nil {
		return "", err
	}
	up := upstream.Upload{Loc: loc, ID: id}
	body := checkBody[3:]
	attrs, err := c.upload(ctx, up, body)
	if err != nil {
		ctx, cancel := afterwards(ctx)
		defer cancel()
		return "", errors.Join(err, c.store.AbortUpload(ctx, up))
	}
	if err := c.compare(ctx, loc, attrs, body); err != nil {
		return "", err
	}
	return fmt.Sprintf("1 part of %d bytes completed and read back, ETag %s", len(body), attrs), nil
}

func (c *checker) upload(ctx context.Context, up upstream.Upload, body []byte) (etag string, err error) {
	part, err := c.store.UploadPart(ctx, up, 1, upstream.PartRequest{Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		return "", err
	}
	attrs, err := c.store.CompleteUpload(ctx, up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
	return attrs.ETag, err
}

// tidy deletes the object, also when the time for the check is over.
func (c *checker) tidy(ctx context.Context, loc upstream.Loc) (string, error) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if err := c.store.Delete(ctx, loc, upstream.DeleteOptions{}); err != nil {
		return "", fmt.Errorf("%s is left in bucket %s: %w", loc.Key, loc.Bucket, err)
	}
	switch _, err := c.store.Stat(ctx, loc, upstream.StatOptions{}); {
	case err == nil:
		return "", fmt.Errorf("%s is still there after its deletion", loc.Key)
	case errors.Is(err, upstream.NotExist):
		return "the object of the check is gone", nil
	default:
		return "", err
	}
}

// afterwards is a context to tidy up in.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
}
