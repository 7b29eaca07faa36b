package meta

import (
	"encoding/binary"
	"time"
)

// PinKind says how firmly a pin holds a block.
type PinKind uint8

// The kinds; a larger one is firmer.
const (
	PinSoft PinKind = iota + 1 // evicted last
	PinHard                    // never evicted
)

// Lease is what a query holds its pins by.
type Lease struct {
	ID    uint64    // its number, never used again
	Query string    // names the query
	Until time.Time // to the millisecond; the lease has expired then
}

// Pin is one block that a lease holds. It names a place in a version and no file: whatever file has those bytes
// is meant.
type Pin struct {
	Lease  uint64
	Object [16]byte // names the version
	Index  uint32   // the block's place in the object, in blocks
	Kind   PinKind
}

func leaseKey(id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, len(prefixLease)+8), prefixLease...), id)
}

func pinKey(p *Pin) []byte {
	b := append(make([]byte, 0, len(prefixPin)+28), prefixPin...)
	b = binary.BigEndian.AppendUint64(b, p.Lease)
	b = append(b, p.Object[:]...)
	return binary.BigEndian.AppendUint32(b, p.Index)
}

// PutLease adds or changes the record of a lease.
func (c *Changes) PutLease(l *Lease) {
	var w writer
	w.int(l.Until.UnixMilli())
	w.string(l.Query)
	c.b.Put(leaseKey(l.ID), w.seal())
}

// DeleteLease removes the record of a lease. The records of its pins mean nothing then, DiscardPinsOf removes
// them.
func (c *Changes) DeleteLease(id uint64) { c.b.Delete(leaseKey(id)) }

// PutPin adds or changes the record of a pin.
func (c *Changes) PutPin(p *Pin) {
	var w writer
	w.byte(byte(p.Kind))
	c.b.Put(pinKey(p), w.seal())
}

// DeletePin removes the record of a pin; its Kind does not matter.
func (c *Changes) DeletePin(p *Pin) { c.b.Delete(pinKey(p)) }

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

// Pins calls fn for every pin, those of one lease together, by ascending Lease, until it returns an error, which
// Pins returns. The error it gets is ErrCorrupt for a record that can not be read; of its Pin only Kind does not
// count then.
func (d *DB) Pins(fn func(p Pin, err error) error) error {
	return d.e.Scan([]byte(prefixPin), nil, func(key, value []byte) error {
		if len(key) != len(prefixPin)+28 {
			return nil // nobody can ask for it
		}
		key = key[len(prefixPin):]
		p := Pin{Lease: binary.BigEndian.Uint64(key), Index: binary.BigEndian.Uint32(key[24:])}
		copy(p.Object[:], key[8:24])
		r := open(value)
		kind := PinKind(r.byte())
		err := r.end()
		if err == nil && (kind < PinSoft || kind > PinHard) {
			err = ErrCorrupt
		}
		if err == nil {
			p.Kind = kind
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
