package meta

import (
	"encoding/binary"
	"errors"
	"time"

	"unistore/object"
)

// UploadKind is who began an upload.
type UploadKind uint8

// The kinds.
const (
	UploadPut    UploadKind = 1 // the gateway, for the body of one PUT
	UploadClient UploadKind = 2 // a client, whose parts pass through
)

// UploadState is how far an upload has come.
type UploadState uint8

// The states.
const (
	UploadIntent     UploadState = 1 // the store is about to be asked for it: ID is not known
	UploadOpen       UploadState = 2
	UploadCompleting UploadState = 3 // the store has been asked to complete it: Parts, Ended
	UploadCompleted  UploadState = 4 // it has become an object: Parts, Ended, Result
)

// Upload is one multipart upload at a store.
type Upload struct {
	Number uint64 // its own in this database, drawn at random
	Kind   UploadKind
	State  UploadState
	At     ObjectKey // of the object to be
	ID     string    // as the store names it; empty in an intent
	// Started is when it was begun. In an intent the store may have been asked until Last.
	Started, Last time.Time
	// Ended is when the state was reached, of UploadCompleting and UploadCompleted.
	Ended time.Time
	// Parts is a digest of the list of parts that it was completed with, of the same two.
	Parts [32]byte
	// Result is the answer of UploadCompleted: Size, ETag, VersionID, ModTime and Checksums of it.
	Result object.Attrs
}

// UploadPart is one stored part of an upload.
type UploadPart struct {
	Number int // 1..10000
	Size   int64
	ETag   string
}

func uploadKey(prefix string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(prefix)+12), prefix...), number)
}

func uploadPartKey(number uint64, part int) []byte {
	return binary.BigEndian.AppendUint32(uploadKey(prefixUploadPart, number), uint32(part))
}

// PutUpload adds or changes the record of an upload.
func (c *Changes) PutUpload(u *Upload) {
	var w writer
	w.byte(byte(u.Kind))
	w.byte(byte(u.State))
	w.string(u.At.Upstream)
	w.string(u.At.Bucket)
	w.string(u.At.Key)
	w.string(u.ID)
	w.time(u.Started)
	w.time(u.Last)
	w.time(u.Ended)
	w.bytes(u.Parts[:])
	w.int(u.Result.Size)
	w.string(u.Result.ETag)
	w.string(u.Result.VersionID)
	w.time(u.Result.ModTime)
	w.checksums(u.Result.Checksums)
	c.b.Put(uploadKey(prefixUpload, u.Number), w.seal())
}

// DeleteUpload removes the record of an upload. The records of its parts mean nothing then; DiscardUploadParts
// removes them.
func (c *Changes) DeleteUpload(number uint64) { c.b.Delete(uploadKey(prefixUpload, number)) }

// PutUploadPart makes p what is recorded of its number in an upload.
func (c *Changes) PutUploadPart(upload uint64, p UploadPart) {
	var w writer
	w.int(p.Size)
	w.string(p.ETag)
	c.b.Put(uploadPartKey(upload, p.Number), w.seal())
}

// Uploads calls fn for every upload until it returns an error, which Uploads returns. The error it gets is
// ErrCorrupt for a record that can not be read; of its Upload only Number counts.
func (d *DB) Uploads(fn func(u Upload, err error) error) error {
	return d.e.Scan([]byte(prefixUpload), nil, func(key, value []byte) error {
		if len(key) != len(prefixUpload)+8 {
			return nil // nobody can ask for it
		}
		number := binary.BigEndian.Uint64(key[len(prefixUpload):])
		u, err := decodeUpload(value)
		if err != nil {
			u = Upload{}
		}
		u.Number = number
		return fn(u, err)
	})
}

// HasUpload reports whether there is a record of an upload, readable or not.
func (d *DB) HasUpload(number uint64) (bool, error) {
	_, err := d.e.Get(uploadKey(prefixUpload, number))
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func decodeUpload(raw []byte) (Upload, error) {
	r := open(raw)
	u := Upload{Kind: UploadKind(r.byte()), State: UploadState(r.byte())}
	u.At = ObjectKey{Upstream: r.string(), Bucket: r.string(), Key: r.string()}
	u.ID = r.string()
	u.Started, u.Last, u.Ended = r.time(), r.time(), r.time()
	copy(u.Parts[:], r.bytes(uint64(len(u.Parts))))
	u.Result = object.Attrs{Size: r.int(), ETag: r.string(), VersionID: r.string(), ModTime: r.time(), Checksums: r.checksums()}
	if err := r.end(); err != nil {
		return Upload{}, err
	}
	if u.Kind < UploadPut || u.Kind > UploadClient || u.State < UploadIntent || u.State > UploadCompleted ||
		(u.State == UploadIntent) != (u.ID == "") || u.Result.Size < 0 {
		return Upload{}, ErrCorrupt
	}
	return u, nil
}

// UploadParts calls fn for every recorded part of an upload, by ascending number, until it returns an error, which
// UploadParts returns. Records that can not be read are left out.
func (d *DB) UploadParts(upload uint64, fn func(UploadPart) error) error {
	prefix := uploadKey(prefixUploadPart, upload)
	return d.e.Scan(prefix, nil, func(key, value []byte) error {
		if len(key) != len(prefix)+4 {
			return nil // nobody can ask for it
		}
		r := open(value)
		p := UploadPart{Number: int(binary.BigEndian.Uint32(key[len(prefix):])), Size: r.int(), ETag: r.string()}
		if r.end() != nil || p.Size < 0 {
			return nil
		}
		return fn(p)
	})
}

// DiscardUploadParts removes every part of an upload.
func (d *DB) DiscardUploadParts(upload uint64) error {
	return d.discard(uploadKey(prefixUploadPart, upload))
}

// UploadsWithParts calls fn for every upload of which there are parts, by ascending number, whether the
// upload has a record itself or not, until it returns an error, which UploadsWithParts returns.
func (d *DB) UploadsWithParts(fn func(upload uint64) error) error {
	prefix := []byte(prefixUploadPart)
	for start := prefix; start != nil; {
		var upload uint64
		err := d.e.Scan(prefix, start, func(key, _ []byte) error {
			if len(key) < len(prefix)+8 {
				return nil // nobody can ask for it
			}
			upload = binary.BigEndian.Uint64(key[len(prefix):])
			return errStop
		})
		if err == nil {
			return nil
		}
		if !errors.Is(err, errStop) {
			return err
		}
		if err := fn(upload); err != nil {
			return err
		}
		if start = nil; upload < 1<<64-1 {
			start = uploadKey(prefixUploadPart, upload+1)
		}
	}
	return nil
}
