package semantics

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"unistore/checksum"
	"unistore/object"
	"unistore/upstream"
)

// MaxPartNumber is S3's highest part number
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
const MaxPartNumber = 10000

const uploadIDLen = 48

// NewUploadID returns an unguessable id that is a plain file name; ids sort by their start.
func NewUploadID(started time.Time) string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: see crypto/rand
	return fmt.Sprintf("%016x%s", uint64(started.UnixNano()), hex.EncodeToString(random[:]))
}

// ValidUploadID reports whether id has the form that NewUploadID gives.
func ValidUploadID(id string) bool {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(id) == uploadIDLen
}

// CheckPart refuses a part number or size that S3 or the limits do not allow.
func CheckPart(op string, number int, size int64, limits upstream.Limits) error {
	if number < 1 || number > MaxPartNumber {
		return upstream.Errorf(upstream.Invalid, op, "part number %d is not in 1..%d", number, MaxPartNumber)
	}
	if limits.MaxPart > 0 && size > limits.MaxPart {
		return upstream.Errorf(upstream.TooLarge, op, "part %d has %d bytes", number, size)
	}
	return nil
}

// SelectParts returns the stored parts that req names, in its order. find returns one stored part,
// and false when there is none. It fails with Invalid (no parts), PartOrder, InvalidPart or TooSmall.
func SelectParts(op string, req upstream.CompleteRequest, minPart int64,
	find func(number int) (upstream.Part, bool, error)) ([]upstream.Part, error) {
	if len(req.Parts) == 0 {
		return nil, upstream.Errorf(upstream.Invalid, op, "no parts")
	}
	for i := 1; i < len(req.Parts); i++ {
		if req.Parts[i].Number <= req.Parts[i-1].Number {
			return nil, upstream.Errorf(upstream.PartOrder, op, "part %d after part %d",
				req.Parts[i].Number, req.Parts[i-1].Number)
		}
	}
	stored := make([]upstream.Part, 0, len(req.Parts))
	for _, want := range req.Parts {
		have, ok, err := find(want.Number)
		if err != nil {
			return nil, err
		}
		if !ok || have.ETag != want.ETag || !sameSums(have.Checksums, want.Checksums) {
			return nil, upstream.Errorf(upstream.InvalidPart, op, "part %d", want.Number)
		}
		stored = append(stored, have)
	}
	for _, p := range stored[:len(stored)-1] {
		if p.Size < minPart {
			return nil, upstream.Errorf(upstream.TooSmall, op, "part %d has %d bytes, at least %d wanted",
				p.Number, p.Size, minPart)
		}
	}
	return stored, nil
}

// sameSums reports whether every checksum of want is in have.
func sameSums(have, want []object.Checksum) bool {
	for _, w := range want {
		same := func(h object.Checksum) bool { return h.Algorithm == w.Algorithm && h.Value == w.Value }
		if !slices.ContainsFunc(have, same) {
			return false
		}
	}
	return true
}

// MultipartETag returns the ETag that S3 gives to an object of parts: the hex MD5 of their MD5s, "-",
// and their number.
func MultipartETag(parts []upstream.Part) (string, error) {
	h := md5.New()
	for _, p := range parts {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil {
			return "", fmt.Errorf("the ETag of part %d is no MD5: %w", p.Number, err)
		}
		_, _ = h.Write(sum)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts)), nil
}

// CheckObject refuses parts that the limits do not allow to be one object.
func CheckObject(op string, parts []upstream.Part, limits upstream.Limits) error {
	if limits.MaxObject > 0 && Size(parts) > limits.MaxObject {
		return upstream.Errorf(upstream.TooLarge, op, "%d bytes", Size(parts))
	}
	if limits.ContiguousParts && parts[len(parts)-1].Number != len(parts) {
		return upstream.Errorf(upstream.InvalidPart, op, "part numbers have gaps")
	}
	return nil
}

// Size returns the bytes of all parts together.
func Size(parts []upstream.Part) int64 {
	var total int64
	for _, p := range parts {
		total += p.Size
	}
	return total
}

// ChecksumType returns the type of the checksum of an upload that named alg and perhaps a type
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
func ChecksumType(alg, typ string) string {
	switch {
	case alg == "" || typ != "":
		return typ
	case alg == "CRC64NVME":
		return FullObject
	default:
		return Composite
	}
}

// CheckUpload refuses a checksum that a multipart upload cannot have: an unknown algorithm, a full-object
// SHA (it cannot be made of its parts') or a composite CRC64NVME.
func CheckUpload(op string, req upstream.CreateUploadRequest) error {
	alg, typ := req.ChecksumAlgorithm, req.ChecksumType
	if alg == "" {
		return nil
	}
	if _, ok := checksum.New(alg); !ok {
		return upstream.Errorf(upstream.Invalid, op, "unknown checksum algorithm %q", alg)
	}
	sha := alg == "SHA1" || alg == "SHA256"
	if (sha && typ == FullObject) || (alg == "CRC64NVME" && typ == Composite) {
		return upstream.Errorf(upstream.Invalid, op, "a multipart upload has no %s checksum of type %s", alg, typ)
	}
	return nil
}

// Checksums returns the checksums of the object that parts make. up is the request that started the
// upload; promised is the client's word about the whole, or nil: BadDigest when it is wrong,
// Invalid when the parts do not tell.
func Checksums(op string, up upstream.CreateUploadRequest, parts []upstream.Part,
	promised *object.Checksum) ([]object.Checksum, error) {
	alg, typ := up.ChecksumAlgorithm, ChecksumType(up.ChecksumAlgorithm, up.ChecksumType)
	if alg == "" && promised != nil {
		alg, typ = promised.Algorithm, ChecksumType(promised.Algorithm, promised.Type)
	}
	if alg == "" {
		return nil, nil
	}
	values, err := partSums(op, alg, parts)
	if err != nil {
		return nil, err
	}
	whole := object.Checksum{Algorithm: alg, Type: typ}
	if typ == Composite {
		whole.Value, err = checksum.Composite(alg, values)
	} else {
		whole.Value, err = combine(alg, values, parts)
	}
	if err != nil {
		return nil, upstream.Errorf(upstream.Invalid, op, "%w", err)
	}
	if promised != nil && (promised.Algorithm != alg || promised.Value != whole.Value) {
		return nil, upstream.Errorf(upstream.BadDigest, op, "%s checksum of the object", promised.Algorithm)
	}
	return []object.Checksum{whole}, nil
}

func partSums(op, alg string, parts []upstream.Part) ([]string, error) {
	values := make([]string, 0, len(parts))
	for _, p := range parts {
		i := slices.IndexFunc(p.Checksums, func(c object.Checksum) bool { return c.Algorithm == alg })
		if i < 0 {
			return nil, upstream.Errorf(upstream.Invalid, op, "part %d has no %s checksum", p.Number, alg)
		}
		values = append(values, p.Checksums[i].Value)
	}
	return values, nil
}

func combine(alg string, values []string, parts []upstream.Part) (string, error) {
	whole := values[0]
	for i, v := range values[1:] {
		var err error
		if whole, err = checksum.Combine(alg, whole, v, parts[i+1].Size); err != nil {
			return "", err
		}
	}
	return whole, nil
}
