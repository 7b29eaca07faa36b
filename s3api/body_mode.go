package s3api

import (
	"crypto/sha256"
	"encoding/hex"
)

// unsignedPayload is the hash that stands for a body that is not hashed.
const unsignedPayload = "UNSIGNED-PAYLOAD"

// payloadMode is how x-amz-content-sha256 says that the body is sent.
type payloadMode int

const (
	payloadUnsigned        payloadMode = iota // as it is, not covered by the signature
	payloadHash                               // as it is, with its SHA-256
	payloadSigned                             // aws-chunked, every chunk signed
	payloadSignedTrailer                      // the same, with a signed trailer
	payloadUnsignedTrailer                    // aws-chunked, not signed, with a trailer
)

func (m payloadMode) streaming() bool    { return m >= payloadSigned }
func (m payloadMode) signedChunks() bool { return m == payloadSigned || m == payloadSignedTrailer }
func (m payloadMode) trailer() bool      { return m == payloadSignedTrailer || m == payloadUnsignedTrailer }

// payload is a parsed x-amz-content-sha256; sum is of payloadHash.
type payload struct {
	mode payloadMode
	sum  [sha256.Size]byte
}

// parsePayload reads x-amz-content-sha256.
func parsePayload(value string) (payload, error) {
	switch value {
	case unsignedPayload:
		return payload{mode: payloadUnsigned}, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
		return payload{mode: payloadSigned}, nil
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		return payload{mode: payloadSignedTrailer}, nil
	case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
		return payload{mode: payloadUnsignedTrailer}, nil
	}
	p := payload{mode: payloadHash}
	if len(value) == 2*sha256.Size {
		if _, err := hex.Decode(p.sum[:], []byte(value)); err == nil {
			return p, nil
		}
	}
	return payload{}, badArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "+
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
		headerContentSHA, value)
}
