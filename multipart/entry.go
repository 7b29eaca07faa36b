package multipart

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"unistore/meta"
	"unistore/object"
	"unistore/upstream"
)

// The states of an entry, as metrics and listings name them.
const (
	StateIntent     = "intent"     // the store is being asked for the upload, or it is not known what came of that
	StateOpen       = "open"       // parts may come
	StateCompleting = "completing" // the store was asked to complete it
	StateCompleted  = "completed"  // it is an object; its result is remembered
	StateAbandoned  = "abandoned"  // of a PUT that has ended: to be aborted
)

func (e *Entry) labelLocked() string {
	switch {
	case e.up.State == meta.UploadIntent:
		return StateIntent
	case e.up.State == meta.UploadCompleted:
		return StateCompleted
	case e.up.Kind == meta.UploadPut && !e.live:
		return StateAbandoned
	case e.up.State == meta.UploadCompleting:
		return StateCompleting
	}
	return StateOpen
}

// save changes the entry and writes its record. An entry that is gone stays it: false.
func (e *Entry) save(what string, change func(*meta.Upload)) bool {
	e.io.Lock()
	defer e.io.Unlock()
	e.j.mu.Lock()
	if e.gone {
		e.j.mu.Unlock()
		return false
	}
	before := e.labelLocked()
	change(&e.up)
	if after := e.labelLocked(); after != before {
		e.j.meterLocked(before, -1)
		e.j.meterLocked(after, 1)
	}
	rec := e.up
	e.j.mu.Unlock()
	var ch meta.Changes
	ch.PutUpload(&rec)
	e.j.write(what, &ch)
	return true
}

// Opened says that the store has given the upload its id.
func (e *Entry) Opened(id string) {
	if e == nil {
		return
	}
	e.save("an upload", func(u *meta.Upload) {
		u.ID, u.State = id, meta.UploadOpen
		e.live = u.Kind == meta.UploadPut
		e.j.mu.named[uploadName{u.At, id}] = e
	})
}

// Failed says that the store gave no upload. One that may have made it nevertheless keeps the intent.
func (e *Entry) Failed(err error) {
	if e == nil {
		return
	}
	if !upstream.MayHaveActed(err) {
		e.Gone()
		return
	}
	now := e.j.cfg.Now()
	last := func(u *meta.Upload) { u.Last = now }
	e.j.mu.Lock()
	other := e.j.mu.orphans[e.up.At]
	e.j.mu.Unlock()
	if other != nil && other.save("an intent", last) { // retries of one key are one orphan
		e.Gone()
		return
	}
	e.save("an intent", func(u *meta.Upload) {
		last(u)
		e.live = false
		e.j.mu.orphans[u.At] = e
	})
}

// Part says that a part of a client's upload is stored.
func (e *Entry) Part(p upstream.Part) {
	if e == nil {
		return
	}
	e.j.mu.Lock()
	number, gone := e.up.Number, e.gone
	e.j.mu.Unlock()
	if gone {
		return
	}
	var ch meta.Changes
	ch.PutUploadPart(number, meta.UploadPart{Number: p.Number, Size: p.Size, ETag: p.ETag})
	e.j.write("a part", &ch)
}

// Completing says that the store is about to be asked to make the object of parts.
func (e *Entry) Completing(parts []upstream.Part) {
	if e == nil {
		return
	}
	digest, now := digestOf(parts), e.j.cfg.Now()
	e.save("a completion", func(u *meta.Upload) {
		if u.State != meta.UploadCompleted {
			u.State, u.Parts, u.Ended = meta.UploadCompleting, digest, now
			e.settled = false
		}
	})
}

// Refused says that the store did not complete or abort the upload: there is none any more, it goes on, or nobody
// knows, and the Sweeper will ask.
func (e *Entry) Refused(err error) {
	if e == nil {
		return
	}
	e.j.mu.Lock()
	completed, adopted := e.up.State == meta.UploadCompleted, e.adopted
	e.j.mu.Unlock()
	switch {
	case completed:
	case isGone(err):
		e.Gone()
	case upstream.MayHaveActed(err):
		e.j.wake()
	case adopted:
		e.Gone() // whoever has begun it keeps it in mind
	default:
		e.reopen()
	}
}

// reopen takes back Completing.
func (e *Entry) reopen() {
	e.save("a completion", func(u *meta.Upload) {
		if u.State == meta.UploadCompleting {
			u.State, u.Parts, u.Ended = meta.UploadOpen, [32]byte{}, time.Time{}
		}
	})
}

// Completed says that the upload has become the object of attrs. A client's is remembered, to answer the same again.
func (e *Entry) Completed(attrs object.Attrs) {
	if e == nil {
		return
	}
	if e.up.Kind == meta.UploadPut { // never changes
		e.Gone()
		return
	}
	now := e.j.cfg.Now()
	e.save("a completion", func(u *meta.Upload) {
		if u.State != meta.UploadCompleting {
			return
		}
		u.State, u.Ended = meta.UploadCompleted, now
		u.Result = object.Attrs{
			Size: attrs.Size, ETag: attrs.ETag, VersionID: attrs.VersionID, ModTime: attrs.ModTime, Checksums: attrs.Checksums,
		}
		e.j.mu.results = append(e.j.mu.results, e)
	})
	e.discardParts()
	e.j.trimResults()
}

// Abandoned says that a PUT has ended without that its upload could be aborted: the Sweeper will.
func (e *Entry) Abandoned() {
	if e == nil {
		return
	}
	e.save("an upload", func(*meta.Upload) { e.live = false })
	e.j.wake()
}

// abortAgain is when an upload is aborted once more, of which a part was on its way when it was aborted. A store may take a
// while to notice that a connection is cut, and what it stores then belongs to no upload that anybody lists
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html).
const abortAgain = 10 * time.Second

// Aborted says that a PUT has ended and its upload was aborted; late, that a part may come after that.
func (e *Entry) Aborted(late bool) {
	if e == nil {
		return
	}
	if !late {
		e.Gone()
		return
	}
	at := e.j.cfg.Now().Add(abortAgain)
	e.save("an upload", func(*meta.Upload) { e.live, e.next = false, at })
	e.j.wake()
}

// Gone says that the store has the upload no more, or never had it.
func (e *Entry) Gone() {
	if e == nil {
		return
	}
	e.io.Lock()
	defer e.io.Unlock()
	e.j.mu.Lock()
	if e.gone {
		e.j.mu.Unlock()
		return
	}
	e.forgetLocked()
	e.j.mu.Unlock()
	e.deleteRecord()
}

// forgetLocked takes e out of the Journal.
func (e *Entry) forgetLocked() {
	j := e.j
	j.meterLocked(e.labelLocked(), -1)
	e.gone, e.live = true, false
	delete(j.mu.entries, e.up.Number)
	if name := (uploadName{e.up.At, e.up.ID}); j.mu.named[name] == e {
		delete(j.mu.named, name)
	}
	if j.mu.orphans[e.up.At] == e {
		delete(j.mu.orphans, e.up.At)
	}
}

// deleteRecord removes the record of an entry that is gone; its parts after it, so that a crash leaves no upload
// without parts that it has.
func (e *Entry) deleteRecord() {
	var ch meta.Changes
	ch.DeleteUpload(e.up.Number)
	if e.j.write("an end", &ch) {
		e.discardParts()
	}
}

func (e *Entry) discardParts() {
	if e.up.Kind != meta.UploadClient || e.j.cfg.DB == nil {
		return
	}
	if err := e.j.cfg.DB.DiscardUploadParts(e.up.Number); err != nil {
		e.j.failed("an end", err)
	}
}

// Turn waits until nobody else completes or aborts the upload, and returns what lets the next one do it. The error
// is the context's.
func (e *Entry) Turn(ctx context.Context) (release func(), err error) {
	if e == nil {
		return func() {}, nil
	}
	select {
	case e.turn <- struct{}{}:
		return func() { <-e.turn }, nil
	case <-ctx.Done():
		return nil, &upstream.Error{Code: upstream.Cancelled, Op: "CompleteUpload", Err: ctx.Err()}
	}
}

// Result returns what a completed upload became, to who asks to complete it once more. done is false when it is
// not known to be completed; the error is NoUpload when it was with another list of parts.
func (e *Entry) Result(parts []upstream.Part) (attrs object.Attrs, done bool, err error) {
	if e == nil {
		return object.Attrs{}, false, nil
	}
	digest := digestOf(parts)
	e.j.mu.Lock()
	defer e.j.mu.Unlock()
	if e.gone || e.up.State != meta.UploadCompleted {
		return object.Attrs{}, false, nil
	}
	if e.up.Parts != digest {
		return object.Attrs{}, true, upstream.Errorf(upstream.NoUpload, "CompleteUpload", "it was completed with other parts")
	}
	attrs = e.up.Result
	attrs.Checksums = slices.Clone(attrs.Checksums)
	return attrs, true, nil
}

// digestOf identifies a list of parts by numbers and ETags, as they are listed.
func digestOf(parts []upstream.Part) [32]byte {
	h := sha256.New()
	var number [8]byte
	for _, p := range parts {
		etag := strings.ToLower(strings.Trim(p.ETag, `"`))
		binary.BigEndian.PutUint32(number[:4], uint32(p.Number))
		binary.BigEndian.PutUint32(number[4:], uint32(len(etag)))
		_, _ = h.Write(number[:]) // a hash never fails
		_, _ = h.Write([]byte(etag))
	}
	return [32]byte(h.Sum(nil))
}

// trimResults forgets the oldest results beyond maxResults.
func (j *Journal) trimResults() {
	for {
		j.mu.Lock()
		if len(j.mu.results) <= maxResults {
			j.mu.Unlock()
			return
		}
		e := j.mu.results[0]
		j.mu.results = j.mu.results[1:]
		j.mu.Unlock()
		e.Gone()
	}
}

func (j *Journal) sortResults() {
	j.mu.Lock()
	defer j.mu.Unlock()
	slices.SortFunc(j.mu.results, func(a, b *Entry) int { return cmp.Compare(a.up.Ended.UnixNano(), b.up.Ended.UnixNano()) })
}
