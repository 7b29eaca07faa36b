package s3api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// scratch is the memory of one signature check.
type scratch struct {
	canonical, toSign, query []byte
	pairs                    []queryPair
	sum, hex                 []byte
}

// queryPair is one query parameter, encoded; parts of scratch.query.
type queryPair struct{ name, value []byte }

var scratches = sync.Pool{New: func() any {
	return &scratch{canonical: make([]byte, 0, 1024), toSign: make([]byte, 0, 256)}
}}

// checkSignature verifies the signature of r under key.
//
// The path is signed as S3 canonicalises it: every byte decoded and encoded again, nothing normalised. Some
// clients sign the path exactly as they send it; that is accepted too. Both forms name the same key, for
// what was signed decodes to what is asked for.
func (c *claim) checkSignature(r *Request, key *signingKey) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	asSent := canonicalForm{hash: c.hash}
	if s.holds(c, r, key, asSent) || s.holds(c, r, key, canonicalForm{hash: c.hash, rawPath: true}) {
		return nil
	}
	// A hash that was added to a presigned URL, for a body that was not known when it was signed. The URL is good,
	// and the body must have the hash all the same.
	if c.hashUnsigned && len(c.hash) == 2*sha256.Size && s.holds(c, r, key, canonicalForm{hash: unsignedPayload}) {
		return nil
	}
	s.holds(c, r, key, asSent) // for the words of the error
	return errSignature(c.accessKey, c.signature, string(s.toSign), string(s.canonical))
}

// canonicalForm is what may vary in a canonical request.
type canonicalForm struct {
	hash    string
	rawPath bool
}

// holds reports whether the signature of c is that of r in this form, leaving what was signed in s.
func (s *scratch) holds(c *claim, r *Request, key *signingKey, form canonicalForm) bool {
	s.buildCanonical(c, r, form)
	sum := sha256.Sum256(s.canonical)
	b := append(s.toSign[:0], sigAlgorithm+"\n"...)
	b = append(b, c.timestamp...)
	b = append(b, '\n')
	b = append(b, c.scope...)
	b = append(b, '\n')
	s.toSign = hex.AppendEncode(b, sum[:])
	s.sum = key.sign(s.sum[:0], s.toSign)
	s.hex = hex.AppendEncode(s.hex[:0], s.sum)
	return equalConstantTime(s.hex, c.signature)
}

// equalConstantTime compares without telling where a difference is.
func equalConstantTime(computed []byte, given string) bool {
	return subtle.ConstantTimeCompare(computed, []byte(given)) == 1
}

// buildCanonical writes the canonical request.
func (s *scratch) buildCanonical(c *claim, r *Request, form canonicalForm) {
	b := append(s.canonical[:0], r.Method...)
	b = append(b, '\n')
	if form.rawPath {
		b = append(b, r.RawPath...)
	} else {
		b = appendPath(b, r.RawPath)
	}
	b = append(b, '\n')
	b = s.appendQuery(b, r.RawQuery, c.mechanism == presigned)
	b = append(b, '\n')
	for list, more := c.signedHeaders, true; more; {
		var name string
		name, list, more = strings.Cut(list, ";")
		b = appendHeader(b, r, strings.ToLower(name))
	}
	b = append(b, '\n')
	b = append(b, c.signedHeaders...)
	b = append(b, '\n')
	s.canonical = append(b, form.hash...)
}

// appendHeader writes "name:values\n" with the values of all lines of that name.
func appendHeader(b []byte, r *Request, name string) []byte {
	b = append(b, name...)
	b = append(b, ':')
	if name == "host" && r.Host != "" {
		return append(append(b, r.Host...), '\n')
	}
	first := true
	for i := range r.Header {
		if r.Header[i].Name != name {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendCollapsed(b, r.Header[i].Value)
	}
	if first && name == "content-length" && r.ContentLength >= 0 {
		b = strconv.AppendInt(b, r.ContentLength, 10)
	}
	return append(b, '\n')
}

// appendCollapsed writes v without spaces around it and with one space for many.
func appendCollapsed(b []byte, v string) []byte {
	v = strings.Trim(v, " ")
	if !strings.Contains(v, "  ") {
		return append(b, v...)
	}
	for i := range len(v) {
		if v[i] != ' ' || v[i-1] != ' ' { // v[0] is no space
			b = append(b, v[i])
		}
	}
	return b
}

// appendQuery writes the parameters encoded and sorted by name, then value; without the signature of a
// presigned URL.
func (s *scratch) appendQuery(b []byte, raw string, skipSignature bool) []byte {
	if raw == "" {
		return b
	}
	s.pairs = s.pairs[:0]
	s.query = slices.Grow(s.query[:0], 3*len(raw)) // so that the pairs stay parts of it
	for more := true; more; {
		var part string
		part, raw, more = strings.Cut(raw, "&")
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		start := len(s.query)
		s.query = appendEncoded(s.query, name, inQuery)
		middle := len(s.query)
		s.query = appendEncoded(s.query, value, inQuery)
		pair := queryPair{s.query[start:middle], s.query[middle:]}
		if !skipSignature || string(pair.name) != "X-Amz-Signature" {
			s.pairs = append(s.pairs, pair)
		}
	}
	slices.SortFunc(s.pairs, func(x, y queryPair) int {
		if c := bytes.Compare(x.name, y.name); c != 0 {
			return c
		}
		return bytes.Compare(x.value, y.value)
	})
	for i, p := range s.pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	return b
}
