package meta

import (
	"encoding/binary"
	"time"
)

// Lease is what a query holds its pins by.
type Lease struct {
	ID    uint64    // its number, never used again
	Query string    // names the query
	Until time.Time // to the millisecond; the lease has expired then
}

// PinLeaf is how many blocks a PinSet covers.
const PinLeaf = 64

// PinSet is the blocks of one leaf of a version that a lease holds, as bits: bit i is block Leaf*PinLeaf+i of the
// object. A block is in one of the sets at most. It names places in a version and no files: whatever file has
// those bytes is meant.
type PinSet struct {
	Lease  uint64
	Object [16]byte // names the version
	Leaf   uint32
	Soft   uint64 // evicted last
	Hard   uint64 // never evicted
}

func leaseKey(id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(prefixLease)+8), prefixLease...), id)
}

func pinKey(p *PinSet) []byte {
	b := append(make([]byte, 0, len(prefixPin)+28), prefixPin...)
	b = binary.BigEndian.AppendUint64(b, p.Lease)
	b = append(b, p.Object[:]...)
	return binary.BigEndian.AppendUint32(b, p.Leaf)
}

// PutLease adds or changes the record of a lease.
func (c *Changes) PutLease(l *Lease) {
	var w writer
	w.int(l.Until.UnixMilli())
	w.string(l.Query)
	c.b.Put(leaseKey(l.ID), w.seal())
}

// DeleteLease removes the record of a lease. The records of its pins mean nothing then; DiscardPinsOf removes
// them.
func (c *Changes) DeleteLease(id uint64) { c.b.Delete(leaseKey(id)) }

// PutPins makes p what is recorded of its lease and leaf; without a block the record is removed.
func (c *Changes) PutPins(p *PinSet) {
	if p.Soft|p.Hard == 0 {
		c.b.Delete(pinKey(p))
		return
	}
	var w writer
	w.uint(p.Soft)
	w.uint(p.Hard)
	c.b.Put(pinKey(p), w.seal())
}

// Leases calls fn for every lease, by ascending ID, until it returns an error, which Leases returns. The
// error it gets is ErrCorrupt for a record that can not be read; of its Lease only ID counts.
func (d *DB) Leases(fn func(l Lease, err error) error) error {
	return d.e.Scan([]byte(prefixLease), nil, func(key, value []byte) error {
		if len(key) != len(prefixLease)+8 {
			return nil // nobody can ask for it
		}
		l := Lease{ID: binary.BigEndian.Uint64(key[len(prefixLease):])}
		r := open(value)
		until := r.int()
		query := r.string()
		err := r.end()
		if err == nil {
			l.Query, l.Until = query, time.UnixMilli(until)
		}
		return fn(l, err)
	})
}

// Pins calls fn for every record of pins, those of one lease together, by ascending Lease, until it returns an error,
// which Pins returns. The error it gets is ErrCorrupt for a record that can not be read; its sets are empty then.
func (d *DB) Pins(fn func(p PinSet, err error) error) error {
	return d.e.Scan([]byte(prefixPin), nil, func(key, value []byte) error {
		if len(key) != len(prefixPin)+28 {
			return nil // nobody can ask for it
		}
		key = key[len(prefixPin):]
		p := PinSet{Lease: binary.BigEndian.Uint64(key), Leaf: binary.BigEndian.Uint32(key[24:])}
		copy(p.Object[:], key[8:24])
		r := open(value)
		soft, hard := r.uint(), r.uint()
		err := r.end()
		if err == nil && (soft&hard != 0 || soft|hard == 0 || p.Leaf > (1<<32-1)/PinLeaf) {
			err = ErrCorrupt
		}
		if err == nil {
			p.Soft, p.Hard = soft, hard
		}
		return fn(p, err)
	})
}

// DiscardPinsOf removes every pin of one lease.
func (d *DB) DiscardPinsOf(lease uint64) error {
	return d.discard(binary.BigEndian.AppendUint64([]byte(prefixPin), lease))
}

// DiscardPins removes every lease and every pin.
func (d *DB) DiscardPins() error {
	if err := d.discard([]byte(prefixLease)); err != nil {
		return err
	}
	return d.discard([]byte(prefixPin))
}
