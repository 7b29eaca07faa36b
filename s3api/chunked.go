package s3api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strconv"
	"sync"

	"unistore/object"
)

// aws-chunked, from the S3 API reference, "Signature Calculations for the Authorization Header: Transferring
// Payload in Multiple Chunks" and "... Including Trailing Headers":
//
//	size-in-hex [";chunk-signature=" 64 hex digits] CRLF data CRLF   (any number of times)
//	"0" [";chunk-signature=" 64 hex digits] CRLF
//	[trailer-name ":" value CRLF ["x-amz-trailer-signature:" 64 hex digits CRLF]]
//	CRLF
const (
	chunkExtension = ";chunk-signature="
	// maxChunkLine bounds a line of framing; the longest honest ones are about 100 bytes. It is also the size of the
	// read buffer: reads of data larger than this go past it.
	maxChunkLine = 4096
	// minChunk is the least size of a chunk that is not the last, as the service demands; else the cost of framing
	// and signatures per byte has no bound.
	minChunk = 8192
)

// emptySHA256 is the hash of nothing, in hex.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// chain is what the signature of a chunk is made of, besides the chunk and the signature before it.
type chain struct {
	key              *signingKey
	timestamp, scope string
	seed             string // signature of the request, before the first chunk
}

// chunkConfig says what a body's chunks must have.
type chunkConfig struct {
	chain         *chain // nil: chunks are not signed
	accessKey     string // for errors
	signedTrailer bool
	trailer       string    // lower-case name of the promised trailer, or empty
	algorithm     string    // of trailer
	sum           hash.Hash // of the whole decoded body, by algorithm
}

// chunkReader decodes aws-chunked. It holds no more than a line of framing. It is a decoder.
type chunkReader struct {
	br    *bufio.Reader
	cfg   chunkConfig
	total int64 // decoded length
	left  int64 // decoded bytes after the current chunk
	chunk int64 // bytes left of the current chunk
	count int   // chunks begun, to tell where a CRLF is due
	size  int64 // of the last chunk begun

	sum      hash.Hash // of the current chunk, when signed
	given    string    // signature of the current chunk
	previous []byte    // signature before it
	message  []byte    // memory for strings to sign

	sums []object.Checksum // of the trailer, verified
}

var chunkBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxChunkLine) }}

// newChunkReader decodes src to exactly length bytes.
func newChunkReader(src io.Reader, length int64, cfg chunkConfig) *chunkReader {
	c := &chunkReader{cfg: cfg, total: length, left: length}
	c.br = chunkBuffers.Get().(*bufio.Reader)
	c.br.Reset(src)
	if cfg.chain != nil {
		c.sum = sha256.New()
		c.previous = []byte(cfg.chain.seed)
	}
	return c
}

// trailing returns the verified checksum of the trailer.
func (c *chunkReader) trailing() []object.Checksum { return c.sums }

// release gives the buffer back; c must not be read again.
func (c *chunkReader) release() {
	if c.br != nil {
		c.br.Reset(nil)
		chunkBuffers.Put(c.br)
		c.br = nil
	}
}

// Read implements decoder. It is called only while decoded bytes are left.
func (c *chunkReader) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err != nil {
		c.release()
	}
	return n, err
}

func (c *chunkReader) read(p []byte) (int, error) {
	if c.chunk == 0 {
		size, err := c.nextChunk()
		if err != nil {
			return 0, err
		}
		if size == 0 {
			return 0, errBytes(c.total, c.total-c.left)
		}
	}
	n, err := c.br.Read(p[:min(int64(len(p)), c.chunk)])
	if c.sum != nil {
		_, _ = c.sum.Write(p[:n]) // a hash.Hash never fails
	}
	c.chunk -= int64(n)
	if err == io.EOF {
		return 0, errBytes(c.total, c.total-c.left-c.chunk)
	}
	if err == nil && c.chunk == 0 {
		err = c.checkChunk()
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// finish implements decoder.
func (c *chunkReader) finish() error {
	defer c.release()
	size, err := c.nextChunk()
	if err == nil && size != 0 {
		err = errBytes(c.total, c.total+size)
	}
	if err == nil {
		err = c.checkChunk()
	}
	if err == nil && c.cfg.trailer != "" {
		err = c.readTrailer()
	}
	if err != nil {
		return err
	}
	return c.readEnd()
}

// nextChunk reads the line that begins a chunk, and the CRLF that ends the one before.
func (c *chunkReader) nextChunk() (int64, error) {
	if c.count > 0 {
		line, err := c.readLine()
		if err != nil {
			return 0, err
		}
		if len(line) != 0 {
			return 0, errFraming("a chunk is longer than its size")
		}
	}
	line, err := c.readLine()
	if err != nil {
		return 0, err
	}
	size, err := c.parseChunk(line)
	if err != nil {
		return 0, err
	}
	switch {
	case size > c.left:
		return 0, errBytes(c.total, c.total-c.left+size)
	case size > 0 && c.count > 0 && c.size < minChunk:
		return 0, &Error{Code: ErrInvalidChunkSizeError,
			Fields: []Field{{"Chunk", strconv.Itoa(c.count)}, {"BadChunkSize", strconv.FormatInt(c.size, 10)}}}
	}
	c.count++
	c.size, c.chunk = size, size
	c.left -= size
	return size, nil
}

// parseChunk reads "SIZE" or "SIZE;chunk-signature=SIGNATURE".
func (c *chunkReader) parseChunk(line []byte) (int64, error) {
	digits, extension := line, []byte(nil)
	if i := bytes.IndexByte(line, ';'); i >= 0 {
		digits, extension = line[:i], line[i:]
	}
	if c.cfg.chain != nil {
		signature, ok := bytes.CutPrefix(extension, []byte(chunkExtension))
		if !ok || len(signature) != 2*sha256.Size {
			return 0, errFraming("a chunk has no chunk-signature")
		}
		c.given = string(signature)
	} else if extension != nil {
		return 0, errFraming("an unsigned chunk has an extension")
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, errFraming("a chunk has no valid size")
	}
	var size int64
	for _, d := range digits {
		v, ok := fromHex(d)
		if !ok {
			return 0, errFraming("a chunk has no valid size")
		}
		size = size<<4 | int64(v)
	}
	return size, nil
}

// readLine reads a line of framing without its CRLF. The line is valid until the next read.
func (c *chunkReader) readLine() ([]byte, error) {
	line, err := c.br.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return nil, errFraming("a line is too long")
	case err == io.EOF:
		return nil, errBytes(c.total, c.total-c.left)
	case err != nil:
		return nil, err
	case len(line) < 2 || line[len(line)-2] != '\r':
		return nil, errFraming("a line does not end in CRLF")
	}
	return line[:len(line)-2], nil
}

// readEnd reads the CRLF after everything, which some clients leave out, and makes sure that there is no more.
func (c *chunkReader) readEnd() error {
	var rest [3]byte
	n, err := io.ReadFull(c.br, rest[:])
	switch {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return err
	case n == 0, n == 2 && string(rest[:2]) == "\r\n":
		return nil
	}
	return errFraming("there is data after the end")
}

// checkChunk verifies the signature of the chunk that has just ended.
func (c *chunkReader) checkChunk() error {
	if c.cfg.chain == nil {
		return nil
	}
	b := c.beginMessage("AWS4-HMAC-SHA256-PAYLOAD")
	b = append(b, emptySHA256...)
	b = append(b, '\n')
	var sum [sha256.Size]byte
	b = hex.AppendEncode(b, c.sum.Sum(sum[:0]))
	c.sum.Reset()
	return c.checkMessage(b, c.given)
}

// beginMessage begins a string to sign, up to the previous signature.
func (c *chunkReader) beginMessage(algorithm string) []byte {
	b := append(c.message[:0], algorithm...)
	for _, s := range []string{c.cfg.chain.timestamp, c.cfg.chain.scope} {
		b = append(b, '\n')
		b = append(b, s...)
	}
	b = append(b, '\n')
	b = append(b, c.previous...)
	return append(b, '\n')
}

// checkMessage compares the signature of a string to sign, which then is the previous one.
func (c *chunkReader) checkMessage(message []byte, given string) error {
	c.message = message
	var raw [sha256.Size]byte
	c.previous = hex.AppendEncode(c.previous[:0], c.cfg.chain.key.sign(raw[:0], message))
	if !equalConstantTime(c.previous, given) {
		return errSignature(c.cfg.accessKey, given, string(message), "")
	}
	return nil
}

// errFraming is a body whose chunks cannot be told apart.
func errFraming(what string) *Error {
	return &Error{Code: ErrIncompleteBody, Message: "The aws-chunked body is malformed: " + what + "."}
}
