package s3

import (
	"context"
	"net/url"
	"strings"
	"sync/atomic"

	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// exactKeys reports whether the service at endpoint takes every key for what it is. Amazon does. Other servers
// read keys as paths: MinIO strips a leading "/", versitygw resolves "." and ".." and joins
// "//", so that two keys name one object.
func exactKeys(endpoint *url.URL) bool {
	return endpoint == nil || endpoint.Hostname() == "amazonaws.com" ||
		strings.HasSuffix(endpoint.Hostname(), ".amazonaws.com") || strings.HasSuffix(endpoint.Hostname(), ".amazonaws.com.cn")
}

// pathLike reports whether key changes when it is read as a path, or leads into the directory in which
// versitygw keeps what is not an object yet.
func pathLike(key string) bool {
	first := true
	for part := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if part == "" || part == "." || part == ".." || (first && part == ".sgwtmp") {
			return true
		}
		first = false
	}
	return false
}

// encoding is what is known of a service's listings.
type encoding struct{ state atomic.Int32 }

const (
	encodingUnknown = iota
	encodingURL     // listings are percent-encoded when asked for
	encodingNone    // they never are: a key that XML cannot carry comes back as another one
)

func (e *encoding) learn(encoded bool) {
	if encoded {
		e.state.Store(encodingURL)
	} else {
		e.state.Store(encodingNone)
	}
}

// checkKey refuses keys that the service would take for another one, or could not list.
func (b *Backend) checkKey(ctx context.Context, op string, loc upstream.Loc) error {
	switch {
	case loc.Key == "":
		return &upstream.Error{Code: upstream.InvalidKey, Op: op, Message: "empty key"}
	case !b.exact && pathLike(loc.Key):
		return &upstream.Error{Code: upstream.InvalidKey, Op: op, Message: "the store reads keys as paths, in which this one names another object"}
	case wire.XMLSafe(loc.Key):
		return nil
	}
	if b.listings.state.Load() == encodingUnknown {
		if _, err := b.listOnce(ctx, upstream.ListRequest{Bucket: loc.Bucket, MaxKeys: 1}); err != nil {
			return err
		}
	}
	if b.listings.state.Load() == encodingNone {
		return &upstream.Error{Code: upstream.InvalidKey, Op: op, Message: "the store cannot list a key with control characters"}
	}
	return nil
}
