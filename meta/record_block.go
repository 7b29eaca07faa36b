package meta

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// MaxPages is the most pages that a block can have: 16 MiB of 64 KiB.
const MaxPages = 256

// Pages is a set of pages of one block.
type Pages [MaxPages / 64]uint64

// Has reports whether page i is in the set.
func (p *Pages) Has(i int) bool { return p[i/64]>>(i%64)&1 != 0 }

// Set puts page i in the set.
func (p *Pages) Set(i int) { p[i/64] |= 1 << (i % 64) }

// Clear takes page i out of the set.
func (p *Pages) Clear(i int) { p[i/64] &^= 1 << (i % 64) }

// Count returns the number of pages in the set.
func (p *Pages) Count() int {
	n := 0
	for _, w := range p {
		n += bits.OnesCount64(w)
	}
	return n
}

// BlockState says what a block's file may hold.
type BlockState uint8

// The states.
const (
	// BlockFilling: pages are being written or the file is being removed. Nothing in the file counts.
	BlockFilling BlockState = iota + 1
	// BlockReady: the pages of the set are in the file.
	BlockReady
)

// Origin says who brought a block into the cache.
type Origin uint8

// The origins.
const (
	OriginDemand Origin = iota + 1
	OriginPrefetch
)

// Block is one block of one version and the file that holds it. Its key is the file id: a block that is
// dropped and comes back has another file and another record.
type Block struct {
	FileID uint64
	Object [16]byte // names the version
	Index  uint32   // the block's place in the object, in blocks
	Size   int64    // of the object, in bytes
	State  BlockState
	Origin Origin
	Pages  Pages
	// CRC is the CRC32C of each page in Pages, by page number; others are 0. A record
	// without pages may have none. Its length is the number of pages that the block has.
	CRC []uint32
}

func blockKey(prefix string, fileID uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 10), prefix...), fileID)
}

func decodeBlockKey(prefix string, raw []byte) (uint64, error) {
	if len(raw) != len(prefix)+8 || string(raw[:len(prefix)]) != prefix {
		return 0, ErrCorrupt
	}
	return binary.BigEndian.Uint64(raw[len(prefix):]), nil
}

// PutBlock adds the record of a block.
func (c *Changes) PutBlock(b *Block) { c.b.Put(blockKey(prefixBlk, b.FileID), encodeBlock(b)) }

// DeleteBlock removes the record of a block, and its recency.
func (c *Changes) DeleteBlock(fileID uint64) {
	c.b.Delete(blockKey(prefixBlk, fileID))
	c.b.Delete(blockKey(prefixUsed, fileID))
}

// PutUsed says when a block was last used, on the cache's own clock: larger is later.
func (c *Changes) PutUsed(fileID uint64, used uint32) {
	c.b.Put(blockKey(prefixUsed, fileID), binary.BigEndian.AppendUint32(nil, used))
}

// Block returns the record of a file: ErrNotExist, ErrCorrupt.
func (d *DB) Block(fileID uint64) (Block, error) {
	raw, err := d.e.Get(blockKey(prefixBlk, fileID))
	if err != nil {
		return Block{}, err
	}
	var b Block
	err = decodeBlock(raw, &b)
	if err == nil && b.FileID != fileID {
		err = ErrCorrupt
	}
	return b, err
}

// Blocks calls fn for every block record, by ascending file id, until it returns an error, which Blocks
// returns. fn may keep nothing of b. The error it gets is ErrCorrupt for a
// record that can not be read; of its Block only FileID counts.
func (d *DB) Blocks(fn func(b *Block, err error) error) error {
	var b Block
	return d.e.Scan([]byte(prefixBlk), nil, func(key, value []byte) error {
		id, err := decodeBlockKey(prefixBlk, key)
		if err != nil {
			return nil // nobody can ask for it
		}
		err = decodeBlock(value, &b)
		if err == nil && b.FileID != id {
			err = ErrCorrupt
		}
		b.FileID = id
		return fn(&b, err)
	})
}

// Used calls fn with what PutUsed wrote, by ascending file id.
func (d *DB) Used(fn func(fileID uint64, used uint32) error) error {
	return d.e.Scan([]byte(prefixUsed), nil, func(key, value []byte) error {
		id, err := decodeBlockKey(prefixUsed, key)
		if err != nil || len(value) != 4 {
			return nil // recency that can not be read is lost, no more
		}
		return fn(id, binary.BigEndian.Uint32(value))
	})
}

// IsAbsent reports whether err says that there is no usable record, and not that the engine failed.
func IsAbsent(err error) bool { return errors.Is(err, ErrNotExist) || errors.Is(err, ErrCorrupt) }

func encodeBlock(b *Block) []byte {
	w := writer{buf: make([]byte, 0, 64+4*len(b.CRC))}
	w.byte(byte(b.State))
	w.byte(byte(b.Origin))
	w.uint(b.FileID)
	w.bytes(b.Object[:])
	w.uint(uint64(b.Index))
	w.int(b.Size)
	w.uint(uint64(len(b.CRC)))
	for i := 0; i < len(b.CRC); i += 8 {
		w.byte(byte(b.Pages[i/64] >> (i % 64)))
	}
	for i, crc := range b.CRC {
		if b.Pages.Has(i) {
			w.crc(crc)
		}
	}
	return w.seal()
}

// decodeBlock reads raw into b and reuses b.CRC.
func decodeBlock(raw []byte, b *Block) error {
	r := open(raw)
	crc := b.CRC[:0]
	*b = Block{State: BlockState(r.byte()), Origin: Origin(r.byte()), FileID: r.uint()}
	copy(b.Object[:], r.bytes(16))
	index := r.uint()
	b.Size = r.int()
	n := r.uint()
	if n > MaxPages || index > 1<<32-1 || b.Size < 0 || b.State < BlockFilling || b.State > BlockReady ||
		b.Origin < OriginDemand || b.Origin > OriginPrefetch {
		return ErrCorrupt
	}
	b.Index = uint32(index)
	for i, v := range r.bytes((n + 7) / 8) {
		b.Pages[i/8] |= uint64(v) << (i % 8 * 8)
	}
	for i := range int(n) {
		sum := uint32(0)
		if b.Pages.Has(i) {
			sum = r.crc()
		}
		crc = append(crc, sum)
	}
	b.CRC = crc
	if n < MaxPages && !b.Pages.below(int(n)) {
		return ErrCorrupt
	}
	return r.end()
}

// below reports whether every page of the set is less than n.
func (p *Pages) below(n int) bool {
	for i, w := range p {
		if at := n - 64*i; at < 64 && w>>max(at, 0) != 0 {
			return false
		}
	}
	return true
}
