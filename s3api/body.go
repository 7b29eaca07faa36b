package s3api

import (
	"crypto/md5"
	"encoding/base64"
	"io"
	"strconv"
	"strings"

	"unistore/checksum"
	"unistore/object"
)

// Body is a request's decoded body.
//
// Reader delivers the object's bytes: aws-chunked framing removed; content hash, chunk signatures, trailing
// checksums, x-amz-checksum-* and Content-MD5 verified. The last byte is delivered
// only after all of them hold; a failure is an *Error from Read (BadDigest, SignatureDoesNotMatch,
// XAmzContentSHA256Mismatch, IncompleteBody, ...) and stays the error of every later Read. A body of known
// size 0 is verified before Auth.Body returns, so that it need not be read. Reader is for one goroutine.
type Body struct {
	io.Reader
	Size     int64            // decoded; -1 when not known
	Checksum *object.Checksum // promised in a header, or in the trailer of an empty body; or nil
	MD5      string           // Content-MD5 as sent (base64), or empty
	// Trailing returns, after io.EOF, the verified checksums of the trailer; nil when there is no trailer.
	Trailing func() []object.Checksum
	// TrailingAlgorithm is that of the checksum in the trailer; empty when there is none.
	TrailingAlgorithm string
}

// Headers that describe a body.
const (
	headerMD5           = "content-md5"
	headerDecodedLength = "x-amz-decoded-content-length"
	headerTrailer       = "x-amz-trailer"
	headerSDKAlgorithm  = "x-amz-sdk-checksum-algorithm"
)

// Body returns the body of r, which a verified. Every error is an *Error. Content-Encoding does not
// matter: whether a body is aws-chunked is said by x-amz-content-sha256, which is signed.
func (a *Auth) Body(r *Request) (*Body, error) {
	promises, err := findPromises(r, a.payload.mode)
	if err != nil {
		return nil, err
	}
	src := &source{r: r.Body, size: r.ContentLength}
	if r.Body == nil {
		src.r = strings.NewReader("")
		src.size = max(src.size, 0)
	}
	rd := &bodyReader{src: src, dec: src, left: src.size}
	if a.payload.mode.streaming() {
		if rd.left, err = decodedLength(r); err != nil {
			return nil, err
		}
	}
	rd.verify(a.payload, promises)
	var trailing func() []object.Checksum
	if a.payload.mode.streaming() {
		cr := newChunkReader(src, rd.left, a.chunkConfig(promises.trailer, rd))
		rd.dec, trailing = cr, cr.trailing
	} else {
		trailing = func() []object.Checksum { return nil }
	}
	body := &Body{Reader: rd, Size: rd.left, Checksum: promises.checksum, MD5: promises.md5, Trailing: trailing}
	body.TrailingAlgorithm, _ = checksum.FromHeader(promises.trailer)
	if rd.left == 0 {
		if err := rd.finish(); err != nil {
			return nil, err
		}
		if sums := trailing(); len(sums) > 0 { // known before the first read, like one of a header
			body.Checksum, body.TrailingAlgorithm = &sums[0], ""
			body.Trailing = func() []object.Checksum { return nil }
		}
	}
	return body, nil
}

// chunkConfig says how the chunks of a streaming body are verified; rd hashes what the trailer promises.
func (a *Auth) chunkConfig(trailer string, rd *bodyReader) chunkConfig {
	cfg := chunkConfig{trailer: trailer}
	if a.payload.mode.signedChunks() {
		cfg.chain, cfg.accessKey = &a.chain, a.AccessKey
		cfg.signedTrailer = a.payload.mode == payloadSignedTrailer
	}
	if alg, ok := checksum.FromHeader(trailer); ok {
		cfg.algorithm, cfg.sum = alg, rd.hash(alg)
	}
	return cfg
}

// decodedLength reads x-amz-decoded-content-length, which a streaming body must have.
func decodedLength(r *Request) (int64, error) {
	value, ok := r.Header.Lookup(headerDecodedLength)
	if !ok {
		return 0, &Error{Code: ErrMissingContentLength}
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || !isDigits(value) {
		return 0, badArgument("The value of x-amz-decoded-content-length is not a length.", headerDecodedLength, value)
	}
	if r.ContentLength >= 0 && n > r.ContentLength {
		return 0, errBytes(n, r.ContentLength)
	}
	return n, nil
}

// promises are the checksums that the headers promise.
type promises struct {
	checksum *object.Checksum
	raw      []byte // of checksum
	md5      string
	rawMD5   []byte
	trailer  string // lower-case name of the promised trailer, or empty
}

// findPromises reads the checksum headers of r.
func findPromises(r *Request, mode payloadMode) (promises, error) {
	var p promises
	if value, ok := r.Header.Lookup(headerMD5); ok {
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(raw) != md5.Size {
			return p, &Error{Code: ErrInvalidDigest, Fields: []Field{{"Content-MD5", value}}}
		}
		p.md5, p.rawMD5 = value, raw
	}
	// The checksum headers of CompleteMultipartUpload are about the object, not about the XML they come with.
	aboutObject := r.Method == "POST" && hasParameter(r.RawQuery, "uploadId")
	if !aboutObject {
		if err := p.findChecksum(r.Header); err != nil {
			return p, err
		}
	}
	if err := p.findTrailer(r.Header, mode); err != nil {
		return p, err
	}
	if !aboutObject {
		return p, p.checkAlgorithm(r.Header)
	}
	return p, nil
}

// findChecksum reads the one x-amz-checksum-* header there may be.
func (p *promises) findChecksum(h Header) error {
	for i := range h {
		name, value := h[i].Name, h[i].Value
		if !strings.HasPrefix(name, checksum.HeaderPrefix) {
			continue
		}
		switch name {
		case "x-amz-checksum-mode", "x-amz-checksum-type", "x-amz-checksum-algorithm":
			continue
		}
		alg, ok := checksum.FromHeader(name)
		if !ok {
			return badRequest("The algorithm type you specified in x-amz-checksum- header is invalid.")
		}
		if p.checksum != nil {
			return errManyChecksums()
		}
		raw, err := checksum.Decode(alg, value)
		if err != nil {
			return badRequest("Value for " + name + " header is invalid.")
		}
		p.checksum, p.raw = &object.Checksum{Algorithm: alg, Value: value, Type: "FULL_OBJECT"}, raw
	}
	return nil
}

// findTrailer reads x-amz-trailer, which names one checksum.
func (p *promises) findTrailer(h Header, mode payloadMode) error {
	value := h.Get(headerTrailer)
	switch {
	case value == "" && mode == payloadSignedTrailer:
		return &Error{Code: ErrMalformedTrailerError}
	case value == "":
		return nil
	case !mode.trailer(): // it would never be verified
		return badRequest("x-amz-trailer needs an x-amz-content-sha256 that announces a trailer.")
	case strings.Contains(value, ","):
		return errManyChecksums()
	}
	name := strings.ToLower(value)
	if _, ok := checksum.FromHeader(name); !ok {
		return badRequest("The value specified in the x-amz-trailer header is not supported")
	}
	if p.checksum != nil {
		return errManyChecksums()
	}
	p.trailer = name
	return nil
}

// checkAlgorithm verifies that x-amz-sdk-checksum-algorithm, if given, names what is promised.
func (p *promises) checkAlgorithm(h Header) error {
	value, ok := h.Lookup(headerSDKAlgorithm)
	if !ok {
		return nil
	}
	if checksum.Header(value) == "" {
		return badRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	promised := p.trailer
	if p.checksum != nil {
		promised = checksum.Header(p.checksum.Algorithm)
	}
	switch promised {
	case checksum.Header(value):
		return nil
	case "":
		return badRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* " +
			"or x-amz-trailer headers were found.")
	}
	return badRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
}

func errManyChecksums() *Error {
	return badRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

// hasParameter reports whether a raw query has the parameter.
func hasParameter(raw, name string) bool {
	for more := raw != ""; more; {
		var part string
		part, raw, more = strings.Cut(raw, "&")
		key, _, _ := strings.Cut(part, "=")
		if unescapeQuery(key) == name {
			return true
		}
	}
	return false
}
