package columns

import (
	"hash"
	"hash/fnv"
)

// The fields that are read, of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
const (
	fileRowGroups      = 4  // FileMetaData
	groupColumns       = 1  // RowGroup
	chunkMetadata      = 3  // ColumnChunk
	columnPath         = 3  // ColumnMetaData, and those below
	columnCompressed   = 7  // its bytes, page headers included
	columnDataPages    = 9  // where these begin
	columnDictionaries = 11 // where that begins, if there is one
)

// signature is what may follow the metadata of an encrypted file whose footer is not: a nonce and a tag (bytes).
const signature = 12 + 16

// footer reads a layout. All that it keeps is bounded by MaxChunks.
type footer struct {
	thrift
	size   int64 // of the file
	layout Layout
	chunks int
	schema hash.Hash64 // of the columns' paths in the first row group
}

// parse reads the layout of a file of size bytes from its footer, without the trailer.
func parse(data []byte, size int64) (*Layout, error) {
	f := &footer{thrift: thrift{b: data}, size: size, schema: fnv.New64a()}
	seen := false
	f.fields(func(id int64, k kind) {
		if id != fileRowGroups {
			f.skip(k, 1)
			return
		}
		if seen {
			f.fail("row groups twice")
		}
		seen = true
		f.groups(f.listOf(k, kindStruct))
	})
	if !seen {
		f.fail("no row groups")
	}
	if len(f.b) > signature {
		f.fail("%d bytes behind the metadata", len(f.b))
	}
	if f.err != nil {
		return nil, f.err
	}
	if f.chunks > 0 {
		f.layout.Schema = f.schema.Sum64()
	}
	return &f.layout, nil
}

func (f *footer) groups(n int) {
	if n > MaxChunks {
		f.fail("more than %d row groups", MaxChunks)
	}
	for g := 0; g < n && f.err == nil; g++ {
		chunks := f.group()
		if g > 0 && len(chunks) != len(f.layout.Groups[0]) {
			f.fail("row groups of different columns")
		}
		f.layout.Groups = append(f.layout.Groups, chunks)
	}
}

func (f *footer) group() (chunks []Chunk) {
	seen := false
	f.fields(func(id int64, k kind) {
		if id != groupColumns {
			f.skip(k, 1)
			return
		}
		if seen {
			f.fail("columns twice")
		}
		seen = true
		n := f.listOf(k, kindStruct)
		if f.chunks += n; f.chunks > MaxChunks {
			f.fail("more than %d column chunks", MaxChunks)
			return
		}
		chunks = make([]Chunk, 0, n)
		for i := 0; i < n && f.err == nil; i++ {
			chunks = append(chunks, f.chunk())
		}
	})
	if !seen {
		f.fail("a row group without columns")
	}
	return chunks
}

// chunk reads one column chunk. One whose metadata are elsewhere, or encrypted, has no bytes.
func (f *footer) chunk() (c Chunk) {
	f.fields(func(id int64, k kind) {
		if id != chunkMetadata {
			f.skip(k, 1)
			return
		}
		if f.is(k, kindStruct) {
			c = f.column()
		}
	})
	if len(f.layout.Groups) == 0 {
		_, _ = f.schema.Write([]byte{1}) // never fails
	}
	return c
}

// column reads a ColumnMetaData.
func (f *footer) column() Chunk {
	var path, length, data bool
	var c Chunk
	dictionary := int64(0)
	f.fields(func(id int64, k kind) {
		switch id {
		case columnPath:
			path = true
			f.path(f.listOf(k, kindBinary))
		case columnCompressed:
			length = f.is(k, kindI64)
			c.Len = f.varint()
		case columnDataPages:
			data = f.is(k, kindI64)
			c.Off = f.varint()
		case columnDictionaries:
			f.is(k, kindI64)
			dictionary = f.varint()
		default:
			f.skip(k, 1)
		}
	})
	if !path || !length || !data {
		f.fail("a column without a path or place")
	}
	if dictionary > 0 && dictionary < c.Off {
		c.Off = dictionary
	}
	if c.Off < 0 || c.Len < 0 || c.Len > f.size || c.Off > f.size-c.Len {
		f.fail("a column chunk outside of the file")
	}
	return c
}

// path reads the n parts of a column's path.
func (f *footer) path(n int) {
	for i := 0; i < n && f.err == nil; i++ {
		part := f.take(f.uvarint())
		if len(f.layout.Groups) == 0 {
			_, _ = f.schema.Write(part) // never fails
			_, _ = f.schema.Write([]byte{0})
		}
	}
}
