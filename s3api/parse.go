package s3api

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse types a request. baseDomains are the lower-case domains for virtual-host-style addressing
// (Host: BUCKET.DOMAIN[:PORT]); a request to any other host is path-style.
//
// The error is an *Error. The Operation is never nil: with an error it says as much
// as is known of the name and target, for logs and metrics, and nothing else in it may be used.
//
// Raw bytes become a key in one way only: what follows the bucket's "/" is percent-decoded once and kept as it
// is; "+" stands for itself, and dots and repeated slashes mean nothing. Unknown query
// parameters are ignored, as S3 does, unless they name a subresource.
func Parse(r *Request, baseDomains []string) (Operation, error) {
	c := &call{req: r, headers: slices.Clip(r.Header)}
	c.target(baseDomains)
	c.query = c.parseQuery(r.RawQuery)
	op := c.route()
	if c.err != nil {
		return op, c.err
	}
	return op, nil
}

// call is one request on its way to an Operation. The first failure stays; parsing goes on after it, so
// that the name and target of the operation are known with the error.
type call struct {
	req         *Request
	headers     Header // of the request, and what of them a presigned URL has in its query
	bucket, key string
	hasKey      bool
	query       map[string]string // decoded; names as sent
	err         *Error
}

func (c *call) fail(err error) {
	if e, ok := err.(*Error); ok && e != nil && c.err == nil {
		c.err = e
	}
}

func (c *call) onBucket() Bucket { return Bucket{Bucket: c.bucket} }
func (c *call) onObject() Object { return Object{Bucket: c.bucket, Key: c.key} }

// target finds the bucket and key of the request.
func (c *call) target(baseDomains []string) {
	path := c.req.RawPath
	if !strings.HasPrefix(path, "/") {
		c.fail(&Error{Code: ErrInvalidURI})
		return
	}
	rawKey := path[1:]
	if bucket, ok := hostBucket(c.req.Host, baseDomains); ok {
		c.bucket = bucket
	} else {
		var rawBucket string
		rawBucket, rawKey, _ = strings.Cut(rawKey, "/")
		if rawBucket == "" && rawKey == "" && path == "/" {
			return
		}
		c.bucket = c.unescape(rawBucket, false)
	}
	c.fail(CheckBucket(c.bucket))
	if rawKey == "" {
		return
	}
	c.hasKey = true
	if c.key = c.unescape(rawKey, false); c.err == nil {
		c.fail(CheckKey(c.key))
	}
}

// hostBucket returns the part of host before the longest base domain that it ends in.
func hostBucket(host string, baseDomains []string) (string, bool) {
	if len(baseDomains) == 0 {
		return "", false
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if slices.Contains(baseDomains, host) {
		return "", false // even if it ends in another one
	}
	best := ""
	for _, d := range baseDomains {
		if len(d) > len(best) && len(host) > len(d)+1 && strings.HasSuffix(host, d) && host[len(host)-len(d)-1] == '.' {
			best = d
		}
	}
	if best == "" {
		return "", false
	}
	return host[:len(host)-len(best)-1], true
}

// unescape percent-decodes s; failing is InvalidURI. plus makes "+" a space, as in queries.
func (c *call) unescape(s string, plus bool) string {
	d, ok := percentDecode(s, plus)
	if !ok {
		c.fail(&Error{Code: ErrInvalidURI})
	}
	return d
}

// percentDecode fails on a malformed escape, and on a result that is not UTF-8.
func percentDecode(s string, plus bool) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && (!plus || strings.IndexByte(s, '+') < 0) {
		return s, utf8.ValidString(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			d, ok := unescape(s[i:])
			if !ok {
				return "", false
			}
			b = append(b, d)
			i += 2
		case s[i] == '+' && plus:
			b = append(b, ' ')
		default:
			b = append(b, s[i])
		}
	}
	return string(b), utf8.Valid(b)
}

// Rejected is the Operation of a request that is none of the others; it comes with an error only.
type Rejected struct {
	Object
	name  string
	write bool
}

// Name implements Operation; it is one of a bounded set of names, "Unknown" among them.
func (o Rejected) Name() string { return o.name }

// Writes implements Operation.
func (o Rejected) Writes() bool { return o.write }
