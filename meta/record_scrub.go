package meta

import (
	"errors"
	"time"
)

// keyScrub is the Scrub record.
const keyScrub = "c"

// Scrub is how far the background check of the block files has come.
type Scrub struct {
	Next    uint64    // the file id to go on from
	Started time.Time // when the pass began; whole seconds
}

// Scrub returns the Scrub record, or ErrNotExist, or ErrCorrupt.
func (d *DB) Scrub() (Scrub, error) {
	raw, err := d.e.Get([]byte(keyScrub))
	if err != nil {
		return Scrub{}, err
	}
	r := open(raw)
	s := Scrub{Next: r.uint(), Started: time.Unix(r.int(), 0)}
	return s, r.end()
}

// PutScrub adds the Scrub record.
func (c *Changes) PutScrub(s Scrub) {
	var w writer
	w.uint(s.Next)
	w.int(s.Started.Unix())
	c.b.Put([]byte(keyScrub), w.seal())
}

// BlocksFrom returns at most n block records by ascending file id, from first on. A record that can not be
// read is left out. None: there are no more.
func (d *DB) BlocksFrom(first uint64, n int) ([]Block, error) {
	var list []Block
	err := d.e.Scan([]byte(prefixBlk), blockKey(prefixBlk, first), func(key, value []byte) error {
		id, err := decodeBlockKey(prefixBlk, key)
		if err != nil {
			return nil // nobody can ask for it
		}
		var b Block
		if decodeBlock(value, &b) == nil && b.FileID == id {
			list = append(list, b)
		}
		if len(list) == n {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return list, err
}
