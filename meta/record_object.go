package meta

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"unistore/object"
)

// ObjectKey names an object: the upstream in the configuration, the bucket on it and the full key there.
type ObjectKey struct {
	Upstream, Bucket, Key string
}

// Object is what is known of an object's current version.
type Object struct {
	Attrs   object.Attrs
	Checked time.Time // when the upstream last confirmed it
}

func (k ObjectKey) encode() []byte {
	b := append(make([]byte, 0, len(prefixObj)+len(k.Upstream)+len(k.Bucket)+len(k.Key)+4), prefixObj...)
	b = binary.AppendUvarint(b, uint64(len(k.Upstream)))
	b = append(b, k.Upstream...)
	b = binary.AppendUvarint(b, uint64(len(k.Bucket)))
	b = append(b, k.Bucket...)
	return append(b, k.Key...)
}

func decodeObjectKey(raw []byte) (ObjectKey, error) {
	if len(raw) < len(prefixObj) || string(raw[:len(prefixObj)]) != prefixObj {
		return ObjectKey{}, ErrCorrupt
	}
	r := reader{buf: raw[len(prefixObj):]}
	k := ObjectKey{Upstream: r.string(), Bucket: r.string()}
	k.Key = string(r.buf)
	if r.bad {
		return ObjectKey{}, ErrCorrupt
	}
	return k, nil
}

// PutObject adds the record of k.
func (c *Changes) PutObject(k ObjectKey, o Object) { c.b.Put(k.encode(), encodeObject(o)) }

// DeleteObject removes the record of k.
func (c *Changes) DeleteObject(k ObjectKey) { c.b.Delete(k.encode()) }

// Object returns the record of k: ErrNotExist, ErrCorrupt.
func (d *DB) Object(k ObjectKey) (Object, error) {
	raw, err := d.e.Get(k.encode())
	if err != nil {
		return Object{}, err
	}
	return decodeObject(raw)
}

// Objects calls fn for every object record until it returns an error, which Objects returns. The
// error that fn gets is ErrCorrupt for a record that can not be read, whose Object is zero.
func (d *DB) Objects(fn func(ObjectKey, Object, error) error) error {
	return d.e.Scan([]byte(prefixObj), nil, func(key, value []byte) error {
		k, err := decodeObjectKey(key)
		if err != nil {
			return nil // nobody can ask for it
		}
		o, err := decodeObject(value)
		return fn(k, o, err)
	})
}

func encodeObject(o Object) []byte {
	var w writer
	a := &o.Attrs
	w.int(a.Size)
	w.string(a.ETag)
	w.string(a.VersionID)
	w.time(a.ModTime)
	w.time(o.Checked)
	w.byte(boolByte(a.HeadersKnown))
	h := &a.Headers
	for _, v := range headerFields(h) {
		w.string(*v)
	}
	w.uint(uint64(len(h.User)))
	for _, name := range slices.Sorted(maps.Keys(h.User)) {
		w.string(name)
		w.string(h.User[name])
	}
	w.checksums(a.Checksums)
	w.int(int64(a.PartsCount))
	w.string(a.StorageClass)
	return w.seal()
}

func decodeObject(raw []byte) (Object, error) {
	r := open(raw)
	var o Object
	a := &o.Attrs
	a.Size = r.int()
	a.ETag = r.string()
	a.VersionID = r.string()
	a.ModTime = r.time()
	o.Checked = r.time()
	a.HeadersKnown = r.byte() == 1
	for _, v := range headerFields(&a.Headers) {
		*v = r.string()
	}
	if n := r.count(); n > 0 {
		a.Headers.User = make(map[string]string, n)
		for range n {
			name := r.string()
			a.Headers.User[name] = r.string()
		}
	}
	a.Checksums = r.checksums()
	a.PartsCount = int(r.int())
	a.StorageClass = r.string()
	if err := r.end(); err != nil {
		return Object{}, err
	}
	if a.Size < 0 {
		return Object{}, ErrCorrupt
	}
	return o, nil
}

// headerFields are the plain headers in the order of the encoding.
func headerFields(h *object.Headers) [6]*string {
	return [6]*string{
		&h.ContentType, &h.ContentEncoding, &h.ContentLanguage,
		&h.ContentDisposition, &h.CacheControl, &h.Expires,
	}
}

// time writes t to the nanosecond; the zero Time stays zero.
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.byte(0)
		return
	}
	w.byte(1)
	w.int(t.Unix())
	w.uint(uint64(t.Nanosecond()))
}

func (r *reader) time() time.Time {
	if r.byte() == 0 {
		return time.Time{}
	}
	sec, nsec := r.int(), r.uint()
	if nsec >= 1e9 {
		r.fail()
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func (w *writer) checksums(sums []object.Checksum) {
	w.uint(uint64(len(sums)))
	for _, sum := range sums {
		w.string(sum.Algorithm)
		w.string(sum.Value)
		w.string(sum.Type)
	}
}

func (r *reader) checksums() []object.Checksum {
	n := r.count()
	if n == 0 {
		return nil
	}
	sums := make([]object.Checksum, n)
	for i := range sums {
		sums[i] = object.Checksum{Algorithm: r.string(), Value: r.string(), Type: r.string()}
	}
	return sums
}
