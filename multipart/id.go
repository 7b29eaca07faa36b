package multipart

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// ID names a multipart upload of a client: the upstream that holds it, and the upload there. It is all
// that a node needs to take a part, so any node can serve any request of an upload.
type ID struct {
	Upstream string // as in the configuration; not empty
	UploadID string // as the store names it; not empty
}

// ErrBadID is returned by DecodeID for what EncodeID did not make; to the client that is NoSuchUpload.
var ErrBadID = errors.New("not an upload id of this gateway")

// idVersion is the first byte of a token. Tokens live as long as uploads, so a new form
// needs a new number and the old forms stay readable.
const idVersion = 1

// maxID bounds the length of a token: S3's own ids have about 130 characters.
const maxID = 4096

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeID renders id as an opaque token of letters, digits, "-" and "_":
// base64url of version, length of Upstream (varint), Upstream, UploadID, CRC32C of all these.
func EncodeID(id ID) string {
	b := make([]byte, 0, 1+binary.MaxVarintLen64+len(id.Upstream)+len(id.UploadID)+crc32.Size)
	b = append(b, idVersion)
	b = binary.AppendUvarint(b, uint64(len(id.Upstream)))
	b = append(b, id.Upstream...)
	b = append(b, id.UploadID...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeID reads a token of EncodeID, or fails with ErrBadID. The checksum is there against
// accidents; rights to the upload are checked by bucket and key like those of every request.
func DecodeID(token string) (ID, error) {
	if len(token) > maxID {
		return ID{}, ErrBadID
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 1+crc32.Size || b[0] != idVersion {
		return ID{}, ErrBadID
	}
	body, sum := b[:len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if binary.BigEndian.Uint32(sum) != crc32.Checksum(body, castagnoli) {
		return ID{}, ErrBadID
	}
	n, width := binary.Uvarint(body[1:])
	if width <= 0 || n == 0 || n >= uint64(len(body)-1-width) {
		return ID{}, ErrBadID
	}
	names := body[1+width:]
	id := ID{Upstream: string(names[:n]), UploadID: string(names[n:])}
	// One id, one token: base64 and varints have other spellings of the same bytes.
	if EncodeID(id) != token {
		return ID{}, ErrBadID
	}
	return id, nil
}
