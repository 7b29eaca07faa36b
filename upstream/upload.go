package upstream

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sync/atomic"
	"time"
)

// upload is the body of one attempt to Put or UploadPart, as the driver sees it.
//
// The driver's clock runs only while it is the store that is waited for: it stands still during Read.
type upload struct {
	a    *attempt
	body *SizedReader
	pump *pump     // nil when the source cannot block, or can be interrupted
	cut  *cut      // nil when it cannot be interrupted
	md5  hash.Hash // of the source's bytes, or nil; see digest
}

// content is a body as the caller gave it.
type content struct {
	src       io.Reader
	interrupt func() // as in PutRequest
	size      int64
	hash      bool // compute the MD5
}

// cut interrupts a source when the request that has begun to read it is over.
type cut struct {
	stop func() bool
	ran  chan struct{} // closed when it has run
	made atomic.Bool   // it has interrupted the source
}

func newCut(ctx context.Context, body *SizedReader, interrupt func()) *cut {
	c := &cut{ran: make(chan struct{})}
	c.stop = context.AfterFunc(ctx, func() {
		defer close(c.ran)
		if body.Started() && !body.Done() && body.Err() == nil { // else the source is whole, and may serve another attempt
			c.made.Store(true)
			interrupt()
		}
	})
	return c
}

// end keeps c from interrupting any more.
func (c *cut) end() {
	if !c.stop() {
		<-c.ran
	}
}

func newUpload(a *attempt, c content) *upload {
	u := &upload{a: a}
	src := c.src
	if src == nil {
		src = eofReader{}
	}
	pumped := c.interrupt == nil && !neverBlocks(src)
	if c.hash {
		u.md5 = md5.New()
		src = io.TeeReader(src, u.md5)
	}
	if pumped {
		u.pump = newPump(a.ctx, src)
		src = u.pump
	}
	u.body = NewSizedReader(src, c.size)
	if c.interrupt != nil {
		u.cut = newCut(a.ctx, u.body, c.interrupt)
	}
	return u
}

// digest is the MD5 of the body in hex, once all of it has been delivered; empty before, or when it was not
// asked for. The source has reported its end then, so nobody writes to the hash.
func (u *upload) digest() string {
	if u.md5 == nil || !u.body.Done() {
		return ""
	}
	return hex.EncodeToString(u.md5.Sum(nil))
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// Read implements io.Reader for the driver.
func (u *upload) Read(p []byte) (int, error) {
	u.a.watch.Stop()
	n, err := u.body.Read(p)
	u.a.s.out.Add(float64(n))
	if err == nil || err == io.EOF {
		u.a.watch.Reset(u.patience())
	}
	return n, err
}

func (u *upload) patience() time.Duration {
	if u.body.Done() {
		return slowFactor * u.a.s.cfg.Timeout
	}
	return u.a.s.cfg.IdleTimeout
}

// release ends all use of the source. The driver has returned.
func (u *upload) release() {
	if u.pump != nil {
		u.pump.stop()
	}
	u.body.Stop()
	if u.cut != nil {
		u.cut.end()
	}
	if u.pump != nil {
		u.pump.release()
	}
}

// verdict is the outcome of the attempt, given the driver's.
func (u *upload) verdict(op string, err error) error {
	if failed := u.sourceErr(); failed != nil {
		return &Error{Code: bodyCode(failed), Op: op, Err: failed}
	}
	if err == nil && !u.body.Done() {
		return Errorf(Unavailable, op, "the driver did not read the whole body")
	}
	return err
}

// sourceErr is the caller's own failure to deliver the body.
func (u *upload) sourceErr() error {
	err := u.body.Err()
	if errors.Is(err, errAborted) || u.cut != nil && u.cut.made.Load() {
		return nil
	}
	return err
}

// bodyCode is the Code of a failed body: the caller's own, or that it ended early.
func bodyCode(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if c, ok := errors.AsType[Code](err); ok {
		return c
	}
	return TooShort
}

// sendBody runs a call that carries a body. The call is repeated only if
// nothing of the body was used, or if it is a Replayer: then c.class says when. The caller's own error, if its
// body failed, is in the result's chain.
func sendBody[T any](ctx context.Context, s *Store, c call, from content, fn func(context.Context, *upload) (T, error)) (T, error) {
	var u *upload
	memory, replays := from.src.(Replayer)
	if !replays {
		c.class = retryUnacted
	}
	c.limit = 0
	c.consumed = func() bool { return from.size > 0 && !replays && u != nil && u.body.Started() }
	v, err := do(ctx, s, c, func(a *attempt) (T, error) {
		if replays {
			memory.Rewind() // nobody reads it any more: release has ended that
		}
		u = newUpload(a, from)
		defer u.release()
		if from.size == 0 { // drivers need not read an empty body, but its end may be a refusal
			if _, err := u.Read(make([]byte, 1)); err != io.EOF {
				var none T
				return none, u.verdict(c.op, err)
			}
		}
		v, err := fn(a.ctx, u)
		return v, u.verdict(c.op, err)
	})
	if err != nil && u != nil {
		if failed := u.sourceErr(); failed != nil && !errors.Is(err, failed) {
			err = &Error{Code: CodeOf(err), Op: c.op, Err: errors.Join(err, failed)}
		}
	}
	return v, err
}
