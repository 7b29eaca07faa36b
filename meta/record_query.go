package meta

import (
	"encoding/binary"
	"slices"
	"time"
)

// Query is a registered query: what a client has asked to be warmed before it reads it.
type Query struct {
	Name     string    // names it, unique
	Until    time.Time // to the millisecond; it has expired then
	Priority byte
	Pin      byte
	Deadline time.Time // to the millisecond, by when its files are to be there; zero: none
	// The temporary credentials that were made for it; empty when none were.
	AccessKey, SecretKey, Token string
}

// QueryFile is one object of a registered query.
type QueryFile struct {
	Bucket, Key, ETag string // bucket and key as the client names them
	Size              int64
	Ranges            [][2]int64 // offset and length; ascending
}

func queryKey(name string) []byte { return append([]byte(prefixQuery), name...) }

func queryFilesKey(name string, number uint32) []byte {
	k := append(append([]byte(prefixQueryFiles), name...), 0)
	return binary.BigEndian.AppendUint32(k, number)
}

// PutQuery adds or changes the record of a query.
func (c *Changes) PutQuery(q *Query) {
	var w writer
	w.int(q.Until.UnixMilli())
	w.byte(q.Priority)
	w.byte(q.Pin)
	w.string(q.AccessKey)
	w.string(q.SecretKey)
	w.string(q.Token)
	if !q.Deadline.IsZero() {
		w.int(q.Deadline.UnixMilli())
	}
	c.b.Put(queryKey(q.Name), w.seal())
}

// PutQueryFiles adds the files of one call, the number-th of its query. name has no zero byte.
func (c *Changes) PutQueryFiles(name string, number uint32, files []QueryFile) {
	var w writer
	w.uint(uint64(len(files)))
	for _, f := range files {
		w.string(f.Bucket)
		w.string(f.Key)
		w.string(f.ETag)
		w.int(f.Size)
		w.uint(uint64(len(f.Ranges)))
		for _, r := range f.Ranges {
			w.int(r[0])
			w.int(r[1])
		}
	}
	c.b.Put(queryFilesKey(name, number), w.seal())
}

// DiscardQuery removes a query with its files: all of it or nothing. It is durable when it returns.
func (d *DB) DiscardQuery(name string) error {
	var b Batch
	b.Delete(queryKey(name))
	err := d.e.Scan(append(append([]byte(prefixQueryFiles), name...), 0), nil, func(key, _ []byte) error {
		b.Delete(slices.Clone(key))
		return nil
	})
	if err != nil {
		return err
	}
	return d.e.Apply(&b, true)
}

// Queries calls fn for every query, until it returns an error, which Queries returns. The error it gets is ErrCorrupt
// for a record that can not be read; of its Query only Name counts.
func (d *DB) Queries(fn func(q Query, err error) error) error {
	return d.e.Scan([]byte(prefixQuery), nil, func(key, value []byte) error {
		r := open(value)
		q := Query{
			Name: string(key[len(prefixQuery):]), Until: time.UnixMilli(r.int()), Priority: r.byte(), Pin: r.byte(),
			AccessKey: r.string(), SecretKey: r.string(), Token: r.string(),
		}
		if len(r.buf) > 0 {
			q.Deadline = time.UnixMilli(r.int())
		}
		return fn(q, r.end())
	})
}

// QueryFiles returns the files of a query, and the number after that of the last call. Calls that can not be read are left out.
func (d *DB) QueryFiles(name string) (files []QueryFile, next uint32, err error) {
	prefix := append(append([]byte(prefixQueryFiles), name...), 0)
	err = d.e.Scan(prefix, nil, func(key, value []byte) error {
		if len(key) != len(prefix)+4 {
			return nil
		}
		next = binary.BigEndian.Uint32(key[len(prefix):]) + 1
		r := open(value)
		var list []QueryFile
		for range r.count() {
			f := QueryFile{Bucket: r.string(), Key: r.string(), ETag: r.string(), Size: r.int()}
			for range r.count() {
				f.Ranges = append(f.Ranges, [2]int64{r.int(), r.int()})
			}
			list = append(list, f)
		}
		if r.end() == nil {
			files = append(files, list...)
		}
		return nil
	})
	return files, next, err
}
