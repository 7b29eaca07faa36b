package cache

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"unistore/cache/device"
	"unistore/faults"
	"unistore/meta"
	"unistore/netx"
)

// checkPages is the most pages of one span: as many are checked before the first of them is sent.
const checkPages = 16

// smallRead: a read up to this size goes through memory, so that it leaves in one segment with the
// header in front of it. sendfile would cost a system call more than it saves (bytes).
const smallRead = 32 << 10

// span is bytes at the reader's position that are ready: in a block's file, or in memory. The reader
// holds one at a time and lets go of it before the next.
type span struct {
	r     *Reader
	n     int64
	b     *block // acquired; nil when in memory
	hd    *handle
	p     int   // first page in the block
	pages int   // number of pages it touches
	off   int64 // in the file
	mem   []byte
}

// secure opens the file of s and checks the pages that were not checked in this run. Not ok: the block was
// bad and is dropped, or the reader has left the cache; look again.
func (r *Reader) secure(s *span) (ok bool, err error) {
	if s.b == nil {
		return true, nil
	}
	c := r.c
	hd, err := c.handles.get(device.Ref{ID: s.b.fileID, Scope: r.req.Key.scope()}, false)
	if err != nil {
		r.unreadable(s, err)
		return false, nil
	}
	s.hd = hd
	err = c.check(r.req.Key, s)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errBadPage):
		c.survived(kindCorrupt, err)
		c.drop(s.b, reasonCorrupt)
		s.release()
		return false, nil
	}
	r.unreadable(s, err)
	return false, nil
}

// unreadable gives up a span whose file could not be opened, checked or read: the reader goes on around the cache.
func (r *Reader) unreadable(s *span, err error) {
	c := r.c
	switch {
	case errors.Is(err, errHandles):
		c.survived(kindHandles, err)
	case errors.Is(err, errNoRecord): // the file may be as good as ever
		c.survived(kindMeta, err)
	default:
		c.survived(kindRead, err)
		c.drop(s.b, reasonError)
	}
	s.release()
	r.goAround()
}

// release lets go of the file and the block.
func (s *span) release() {
	if s.hd != nil {
		s.hd.release()
		s.hd = nil
	}
	if s.b != nil {
		c := s.r.c
		c.mu.Lock()
		c.releaseLocked(s.b)
		c.mu.Unlock()
		s.b = nil
	}
}

// errNoRecord: the database failed where the checksums of a block are.
var errNoRecord = errors.New("the checksums can not be read")

// errBadPage: what the file holds is not what was written.
var errBadPage = errors.New("checksum of a cached page is wrong")

// check verifies the pages of s that were not verified in this run. errBadPage, or the device's
// error.
func (c *Cache) check(key Key, s *span) error {
	fault, rot := c.cfg.Faults.Fire(faults.CacheCorruptPage, key.scope())
	c.mu.Lock()
	var todo meta.Pages
	for p := s.p; p < s.p+s.pages; p++ {
		if rot || !s.b.isVerified(p) {
			todo.Set(p)
		}
	}
	c.mu.Unlock()
	if todo.Count() == 0 {
		return nil
	}
	crc, err := c.checksums(s.b)
	if err != nil {
		return err
	}
	buf := pageBufs.Get().(*pageBuf)
	defer pageBufs.Put(buf)
	for p := s.p; p < s.p+s.pages; p++ {
		if !todo.Has(p) {
			continue
		}
		data := buf[:pageLen(c.math.first(s.b.index)+int64(p), s.b.v.size)]
		if _, err := s.hd.ReadAt(data, int64(p)*PageSize); err != nil && !errors.Is(err, io.EOF) {
			return err
		} else if err != nil {
			return fmt.Errorf("%w: the file is too short", errBadPage)
		}
		if rot {
			data[fault.After%int64(len(data))] ^= 1
			rot = false
		}
		if crc32.Checksum(data, castagnoli) != crc[p] {
			return fmt.Errorf("%w: page %d of block file %x", errBadPage, p, s.b.fileID)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := s.p; p < s.p+s.pages; p++ {
		if todo.Has(p) {
			s.b.setVerified(p)
		}
	}
	return nil
}

// checksums returns those of b's pages: from memory while somebody fills b, from its record otherwise.
// A record that does not fit is errBadPage: nothing can be verified.
func (c *Cache) checksums(b *block) ([]uint32, error) {
	for range 3 { // a fill may begin between the two looks
		c.mu.Lock()
		if b.use != nil && b.use.crc != nil {
			crc := append([]uint32(nil), b.use.crc...)
			c.mu.Unlock()
			return crc, nil
		}
		c.mu.Unlock()
		rec, err := c.db.Block(b.fileID)
		switch {
		case err != nil && !meta.IsAbsent(err):
			return nil, fmt.Errorf("%w: %w", errNoRecord, err)
		case err == nil && rec.State == meta.BlockReady && rec.Object == b.v.id && rec.Index == b.index &&
			len(rec.CRC) == c.math.count(b.index, b.v.size):
			return rec.CRC, nil
		}
	}
	return nil, fmt.Errorf("%w: no record of block file %x", errBadPage, b.fileID)
}

// advance moves the reader behind n delivered bytes of s and counts them by where they came from.
func (r *Reader) advance(s *span, n int64) {
	if n <= 0 {
		return
	}
	src := SourceCache
	switch {
	case s.b == nil && r.around != nil:
		src = SourceBypass
	case s.b == nil, r.waited, r.missing > 0 && pageOf(r.pos) >= r.miss:
		src = SourceFill
	}
	if src != SourceCache {
		r.missing = max(0, r.missing-n)
	}
	if !r.req.uncounted {
		r.c.meters.served(src, n)
	}
	r.pos += n
	r.failures = 0
	if r.req.Passed != nil {
		r.req.Passed(r.pos, r.stalled)
	}
	if s.n -= n; s.n == 0 || s.b != nil {
		s.release()
		r.cur = nil
		r.waited = false
		return
	}
	s.mem = s.mem[n:]
}

var errTooMuch = errors.New("cache: internal error: more bytes than the range has")

// current returns the span at pos.
func (r *Reader) current() (*span, error) {
	if r.cur == nil {
		s, err := r.next()
		if err != nil {
			return nil, err
		}
		if s.n > r.end-r.pos { // never a byte too many, whatever the reason
			s.release()
			return nil, errTooMuch
		}
		r.cur = s
	}
	return r.cur, nil
}

// Read fills p with the next bytes. It returns io.EOF after the last.
func (r *Reader) Read(p []byte) (int, error) {
	if r.pos >= r.end {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		s, err := r.current()
		if err != nil {
			return 0, err
		}
		n := int(min(int64(len(p)), s.n))
		if s.b == nil {
			copy(p, s.mem[:n])
		} else if _, err := s.hd.ReadAt(p[:n], s.off); err != nil {
			r.cur = nil
			r.unreadable(s, err)
			continue
		}
		r.advance(s, int64(n))
		return n, nil
	}
}

// WriteTo writes all that is left to w. A short count comes with an error, always: the response must
// be cut then. Into a *bufio.Writer files go by its ReadFrom, and so to a netx.Conn by sendfile.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	start := r.pos
	buffered, _ := w.(*bufio.Writer)
	if r.req.Range.Len <= smallRead {
		buffered = nil
	}
	for r.pos < r.end {
		s, err := r.current()
		if err != nil {
			return r.pos - start, err
		}
		if err := r.send(w, buffered, s); err != nil {
			return r.pos - start, err
		}
	}
	return r.pos - start, nil
}

// send writes s or a part of it. An error is w's; what is wrong with the file sends the reader around the cache.
func (r *Reader) send(w io.Writer, buffered *bufio.Writer, s *span) error {
	if s.b == nil {
		n, err := w.Write(s.mem)
		r.advance(s, int64(n))
		return err
	}
	if buffered != nil {
		src, err := s.hd.Source()
		if err != nil {
			r.cur = nil
			r.unreadable(s, err)
			return nil
		}
		if src != nil {
			return r.sendFile(buffered, s, &netx.FileRegion{File: src, Off: s.off, Len: s.n})
		}
	}
	buf := pageBufs.Get().(*pageBuf)
	defer pageBufs.Put(buf)
	data := buf[:min(s.n, PageSize)]
	if _, err := s.hd.ReadAt(data, s.off); err != nil {
		r.cur = nil
		r.unreadable(s, err)
		return nil
	}
	n, err := w.Write(data)
	r.advance(s, int64(n))
	return err
}

// sendFile hands a region to the connection behind w. What is wrong with the file sends the reader around the cache
// from where it was.
func (r *Reader) sendFile(w *bufio.Writer, s *span, region *netx.FileRegion) error {
	if err := w.Flush(); err != nil {
		return err
	}
	region.KeepErr = true
	n, err := w.ReadFrom(region)
	broken := region.Err
	if fileErr := (*netx.FileError)(nil); errors.As(err, &fileErr) { // from a w that is not over a Conn
		broken, err = err, nil
	}
	if broken == nil {
		if n > 0 {
			r.c.guard.worked(sideRead)
		}
		r.advance(s, n)
		return err
	}
	if !errors.Is(broken, io.ErrUnexpectedEOF) { // that is the file's doing
		r.c.guard.failed(sideRead, broken)
	}
	r.c.survived(kindRead, fmt.Errorf("sendfile: %w", broken))
	r.c.drop(s.b, reasonError)
	r.advance(s, n)
	s.release()
	r.cur = nil
	r.goAround()
	return err
}

// Close ends the read: what nobody else waits for is cancelled. Calling it again does nothing.
func (r *Reader) Close() error {
	r.shut()
	return nil
}

func (r *Reader) shut() {
	if r.closed {
		return
	}
	r.closed = true
	r.cancel()
	if r.cur != nil {
		r.cur.release()
		r.cur = nil
	}
	r.around.close()
	r.leaveAll()
	r.unpin()
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.mu.readers--
	r.c.mu.releaseVersion(r.v)
}
