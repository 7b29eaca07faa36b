package checksum

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"
)

// The algorithms, by the names S3 gives them in x-amz-checksum-algorithm.
const (
	CRC32     = "CRC32"
	CRC32C    = "CRC32C"
	CRC64NVME = "CRC64NVME"
	SHA1      = "SHA1"
	SHA256    = "SHA256"
)

// HeaderPrefix begins every header that carries a checksum.
const HeaderPrefix = "x-amz-checksum-"

// ErrInvalid is wrapped by all errors of this package: an unknown algorithm or a malformed value.
var ErrInvalid = errors.New("invalid checksum")

// algorithm is what is known of one algorithm. poly is the reflected CRC polynomial, 0 for a hash that is
// no CRC.
type algorithm struct {
	name, header string
	size         int
	poly         uint64
	make         func() hash.Hash
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The polynomial of CRC64NVME is that of the NVM Express NVM Command Set specification 1.0, section 5.2.1.3.4.
var table = []algorithm{
	{CRC32, "x-amz-checksum-crc32", crc32.Size, crc32.IEEE, func() hash.Hash { return crc32.NewIEEE() }},
	{CRC32C, "x-amz-checksum-crc32c", crc32.Size, crc32.Castagnoli, func() hash.Hash { return crc32.New(castagnoli) }},
	{CRC64NVME, "x-amz-checksum-crc64nvme", crc64nvme.Size, 0x9a6c9329ac4bc9b5, func() hash.Hash { return crc64nvme.New() }},
	{SHA1, "x-amz-checksum-sha1", sha1.Size, 0, sha1.New},
	{SHA256, "x-amz-checksum-sha256", sha256.Size, 0, sha256.New},
}

// Algorithms lists all algorithms, upper case.
var Algorithms = []string{CRC32, CRC32C, CRC64NVME, SHA1, SHA256}

// find returns the algorithm of that name in any case, or nil.
func find(alg string) *algorithm {
	for i := range table {
		if strings.EqualFold(table[i].name, alg) {
			return &table[i]
		}
	}
	return nil
}

// New returns a fresh hash of the algorithm, whose name may be in any case.
func New(alg string) (hash.Hash, bool) {
	a := find(alg)
	if a == nil {
		return nil, false
	}
	return a.make(), true
}

// Header returns the lower-case header that carries the algorithm's checksum, or "" if it is unknown.
func Header(alg string) string {
	if a := find(alg); a != nil {
		return a.header
	}
	return ""
}

// FromHeader returns the algorithm (upper case) of a lower-case checksum header. It is false for every
// other header, those of the same prefix that are no checksum included (x-amz-checksum-type, ...).
func FromHeader(name string) (alg string, ok bool) {
	if !strings.HasPrefix(name, HeaderPrefix) {
		return "", false
	}
	for i := range table {
		if table[i].header == name {
			return table[i].name, true
		}
	}
	return "", false
}

// Encode returns the sum of h as S3 writes it: base64 of the big-endian bytes.
func Encode(h hash.Hash) string {
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Decode returns the raw bytes of a checksum that is not composite.
func Decode(alg, value string) ([]byte, error) {
	a := find(alg)
	if a == nil {
		return nil, fmt.Errorf("%w: unknown algorithm %q", ErrInvalid, alg)
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(sum) != a.size || strings.ContainsAny(value, "\r\n") {
		return nil, fmt.Errorf("%w: %q is no %s", ErrInvalid, value, a.name)
	}
	return sum, nil
}

// Valid reports whether value is a well-formed checksum of the algorithm, not composite.
func Valid(alg, value string) bool {
	_, err := Decode(alg, value)
	return err == nil
}

// Composite returns the checksum of type COMPOSITE of a multipart object: the algorithm over the
// concatenated raw checksums of the parts, in part order, and "-" with their count. CRC64NVME has none: S3 knows
// it as full-object checksum only.
func Composite(alg string, parts []string) (string, error) {
	a := find(alg)
	if a == nil || a.name == CRC64NVME {
		return "", fmt.Errorf("%w: %q has no composite form", ErrInvalid, alg)
	}
	if len(parts) == 0 {
		return "", fmt.Errorf("%w: no parts", ErrInvalid)
	}
	h := a.make()
	for _, p := range parts {
		sum, err := Decode(alg, p)
		if err != nil {
			return "", err
		}
		_, _ = h.Write(sum) // a hash.Hash never fails
	}
	return Encode(h) + "-" + strconv.Itoa(len(parts)), nil
}
