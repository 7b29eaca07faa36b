package emulator

import (
	"bytes"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/crc64"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// store holds buckets, objects and uploads. It knows neither HTTP nor vendors.
type store struct {
	now func() time.Time

	mu struct {
		sync.Mutex
		buckets map[string]*bucket // and everything in them
	}
}

type bucket struct {
	created time.Time
	objects map[string]*stored
	keys    []string // of objects, ascending
	uploads map[string]*upload
}

// stored is one version of an object or one part; it is never changed.
type stored struct {
	data     content
	size     int64
	etag     string // without quotes
	crc      uint64
	header   http.Header // as the client gave it: object headers, metadata, storage class
	modified time.Time
	multi    bool // made of parts
}

type upload struct {
	id, key string
	started time.Time
	header  http.Header
	parts   map[int]*stored
}

func newStore(now func() time.Time) *store {
	s := &store{now: now}
	s.mu.buckets = map[string]*bucket{}
	return s
}

// content is the bytes of an object, in pieces that objects may share. They are never changed.
type content [][]byte

// section reads a span of c.
func (c content) section(s span) io.Reader {
	var readers []io.Reader
	for _, piece := range c.slice(s) {
		readers = append(readers, bytes.NewReader(piece))
	}
	return io.MultiReader(readers...)
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// seal makes a version of data.
func (s *store) seal(data content, header http.Header) *stored {
	sum, v := md5.New(), &stored{data: data, header: header, modified: s.now().UTC()}
	for _, piece := range data {
		_, _ = sum.Write(piece)
		v.size += int64(len(piece))
	}
	v.etag = hex.EncodeToString(sum.Sum(nil))
	v.crc = data.crc()
	return v
}

// crc is the CRC-64 that OSS and COS call crc64ecma.
func (c content) crc() uint64 {
	var sum uint64
	for _, piece := range c {
		sum = crc64.Update(sum, crcTable, piece)
	}
	return sum
}

// with runs fn on a bucket under the store's lock.
func (s *store) with(name string, fn func(*bucket) *failure) *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mu.buckets[name]
	if b == nil {
		return errNoBucket
	}
	return fn(b)
}

// withUpload runs fn on an upload of key under the store's lock.
func (s *store) withUpload(name, key, id string, fn func(*bucket, *upload) *failure) *failure {
	return s.with(name, func(b *bucket) *failure {
		u := b.uploads[id]
		if u == nil || u.key != key {
			return errNoUpload
		}
		return fn(b, u)
	})
}

// find returns the current version of an object.
func (s *store) find(name, key string) (v *stored, f *failure) {
	f = s.with(name, func(b *bucket) *failure {
		if v = b.objects[key]; v == nil {
			return errNoKey
		}
		return nil
	})
	return v, f
}

// put makes v the current version of key; createOnly: unless there is one.
func (s *store) put(name, key string, v *stored, createOnly bool) *failure {
	return s.with(name, func(b *bucket) *failure { return b.put(key, v, createOnly) })
}

// put is called under the store's lock, as is every method of bucket.
func (b *bucket) put(key string, v *stored, createOnly bool) *failure {
	old := b.objects[key]
	if old != nil && createOnly {
		return fail(http.StatusConflict, "FileAlreadyExists", "The object you specified already exists and can not be overwritten.")
	}
	if old == nil {
		key = strings.Clone(key)
		i, _ := slices.BinarySearch(b.keys, key)
		b.keys = slices.Insert(b.keys, i, key)
	}
	b.objects[key] = v
	return nil
}

func (b *bucket) remove(key string) {
	if b.objects[key] == nil {
		return
	}
	delete(b.objects, key)
	i, _ := slices.BinarySearch(b.keys, key)
	b.keys = slices.Delete(b.keys, i, i+1)
}

// createBucket reports whether the bucket is new.
func (s *store) createBucket(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.buckets[name] != nil {
		return false
	}
	s.mu.buckets[name] = &bucket{created: s.now().UTC(), objects: map[string]*stored{}, uploads: map[string]*upload{}}
	return true
}

// deleteBucket deletes an empty bucket; unfinished uploads count as content.
func (s *store) deleteBucket(name string) *failure {
	return s.with(name, func(b *bucket) *failure {
		if len(b.objects) > 0 || len(b.uploads) > 0 {
			return fail(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
		}
		delete(s.mu.buckets, name)
		return nil
	})
}

type bucketInfo struct {
	name    string
	created time.Time
}

// bucketList returns all buckets by name.
func (s *store) bucketList() []bucketInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []bucketInfo
	for _, name := range slices.Sorted(maps.Keys(s.mu.buckets)) {
		all = append(all, bucketInfo{name: name, created: s.mu.buckets[name].created})
	}
	return all
}

// newUpload starts an upload of key.
func (s *store) newUpload(name, key string, header http.Header) (id string, f *failure) {
	f = s.with(name, func(b *bucket) *failure {
		var random [8]byte
		_, _ = rand.Read(random[:]) // never fails: see crypto/rand
		started := s.now().UTC()
		// Ascends with time, so that listings by key and id are by start.
		id = fmt.Sprintf("%016X%X", started.UnixNano(), random[:])
		b.uploads[id] = &upload{id: id, key: key, started: started, header: header, parts: map[int]*stored{}}
		return nil
	})
	return id, f
}
