package s3api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"unistore/checksum"
	"unistore/object"
)

const (
	trailerSignature = "x-amz-trailer-signature"
	// maxTrailerLines bounds the lines of a trailer: the checksum, the signature and stray empty lines.
	maxTrailerLines = 6
)

// readTrailer reads the promised checksum and, if the trailer is signed, its signature, and verifies both.
//
// Clients differ in the ends of lines and in empty lines between them (minio-go sends LF CRLF after the
// checksum, others CRLF CRLF after the last chunk), so those are not looked at.
func (c *chunkReader) readTrailer() error {
	var value, signature string
	for range maxTrailerLines {
		line, err := c.readTrailerLine()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			continue
		}
		name, v, ok := bytes.Cut(line, []byte(":"))
		v = bytes.TrimSpace(v)
		switch n := strings.ToLower(string(name)); {
		case !ok, len(v) == 0:
			return errTrailer()
		case n == c.cfg.trailer && value == "":
			value = string(v)
		case n == trailerSignature && c.cfg.signedTrailer && value != "":
			signature = string(v)
		default:
			return errTrailer()
		}
		if signature != "" || value != "" && !c.cfg.signedTrailer {
			return c.checkTrailer(value, signature)
		}
	}
	return errTrailer()
}

// readTrailerLine reads a line without its end. A body that ends here has no whole trailer.
func (c *chunkReader) readTrailerLine() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull, err == io.EOF:
		return nil, errTrailer()
	case err != nil:
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// checkTrailer verifies the signature of the trailer, then the checksum in it.
func (c *chunkReader) checkTrailer(value, signature string) error {
	if c.cfg.signedTrailer {
		sum := sha256.Sum256([]byte(c.cfg.trailer + ":" + value + "\n"))
		b := hex.AppendEncode(c.beginMessage("AWS4-HMAC-SHA256-TRAILER"), sum[:])
		if err := c.checkMessage(b, signature); err != nil {
			return err
		}
	}
	alg := c.cfg.algorithm
	if !checksum.Valid(alg, value) {
		return badRequest("Value for " + c.cfg.trailer + " trailing header is invalid.")
	}
	if checksum.Encode(c.cfg.sum) != value {
		return errChecksum(alg)
	}
	c.sums = []object.Checksum{{Algorithm: alg, Value: value, Type: "FULL_OBJECT"}}
	return nil
}

func errTrailer() *Error { return &Error{Code: ErrMalformedTrailerError} }
