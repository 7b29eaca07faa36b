package emulator

// Quirks are the ways in which stores differ from S3 and from one another. DefaultQuirks are the
// vendor's own.
type Quirks struct {
	// ContiguousParts: Complete refuses part numbers other than 1..n.
	ContiguousParts bool
	// ForbidOverwrite: x-VENDOR-forbid-overwrite is honoured, else ignored.
	ForbidOverwrite bool
	// Versioned: buckets say that they have versions, answers to writes name one, and forbid-overwrite is ignored.
	// No version but the last is kept.
	Versioned bool
	// CRC64: answers carry x-VENDOR-hash-crc64ecma.
	CRC64 bool
	// UpperETags: an MD5 ETag is in upper case.
	UpperETags bool
	// OpaqueETags: the ETag of a multipart object is not made of the MD5s of its parts.
	OpaqueETags bool
	// LooseRanges: a range that is not inside the object gives 200 and all of it, unless the request has
	// x-VENDOR-range-behavior: standard. A part copied of a range that is not inside its source is all of it.
	LooseRanges bool
	// ListV1Only: list-type=2 is not understood, and ignored.
	ListV1Only bool
	// HeadErrors: the error of a HEAD is told in a header (x-oss-err, x-obs-error-code).
	HeadErrors bool
	// NoPathStyle: the bucket is named by the host alone.
	NoPathStyle bool
	// ListPlus: a space in a listing with encoding-type=url is "+", else "%20".
	ListPlus bool
	// NoChunkedParts: a part without Content-Length is refused with 411; NoChunkedPuts: an object too.
	NoChunkedParts, NoChunkedPuts bool
	// CompleteSpaces: Complete answers 200 at once, as soon as it has begun, and sends so many spaces before its result.
	CompleteSpaces int
	// MinPart is the least size of a part that is not the last, checked at Complete; MaxPart the most, in bytes.
	MinPart, MaxPart int64
	// MaxPut is the most that one PUT or copy takes, in bytes.
	MaxPut int64
	// MaxKey is the longest key, in bytes.
	MaxKey int
}

// DefaultQuirks are those that the vendor documents.
func DefaultQuirks(d Dialect) Quirks {
	q := Quirks{MinPart: 100 << 10, MaxPart: 5 << 30, MaxPut: 5 << 30, MaxKey: 1024}
	switch d {
	case OSS:
		q.MaxKey = 1023
		q.ForbidOverwrite, q.CRC64, q.UpperETags, q.OpaqueETags = true, true, true, true
		q.LooseRanges, q.HeadErrors = true, true
	case OBS:
		q.HeadErrors = true
	case COS:
		q.MinPart, q.MaxKey = 1<<20, 850
		q.ContiguousParts, q.ForbidOverwrite, q.CRC64, q.OpaqueETags = true, true, true, true
		q.NoChunkedParts = true
	}
	return q
}
