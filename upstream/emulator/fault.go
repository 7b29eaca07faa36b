package emulator

import (
	"encoding/xml"
	"net/http"
	"time"
)

// Operation is what a request does, by S3's name for it.
type Operation string

// The operations.
const (
	ListBuckets    Operation = "ListBuckets"
	CreateBucket   Operation = "CreateBucket"
	DeleteBucket   Operation = "DeleteBucket"
	HeadBucket     Operation = "HeadBucket"
	BucketInfo     Operation = "BucketInfo" // GET with acl, location, versioning or bucketInfo
	List           Operation = "List"
	ListUploads    Operation = "ListUploads"
	DeleteObjects  Operation = "DeleteObjects"
	PutObject      Operation = "PutObject"
	GetObject      Operation = "GetObject"
	HeadObject     Operation = "HeadObject"
	DeleteObject   Operation = "DeleteObject"
	CopyObject     Operation = "CopyObject"
	CreateUpload   Operation = "CreateUpload"
	UploadPart     Operation = "UploadPart"
	UploadPartCopy Operation = "UploadPartCopy"
	CompleteUpload Operation = "CompleteUpload"
	AbortUpload    Operation = "AbortUpload"
	ListParts      Operation = "ListParts"
	Unknown        Operation = "Unknown"
)

// Call is one request, as Config.Inject sees it.
type Call struct {
	Op          Operation
	Bucket, Key string
	Header      http.Header // not to be changed
	Length      int64       // of the body; -1 when it comes in chunks
}

// Fault is what goes wrong with one request; the zero value is nothing.
type Fault struct {
	// Delay before anything else.
	Delay time.Duration
	// Status, when not 0, is answered with Code instead of doing anything.
	Status int
	Code   string
	// ErrorIn200, when not empty, is the code of an error document sent with status 200, and nothing is done:
	// what Complete and the copies of the vendors do when they fail late.
	ErrorIn200 string
	// CutBefore closes the connection without doing anything, CutAfter does everything and closes it instead
	// of answering.
	CutBefore, CutAfter bool
	// CutBody, when not 0, closes the connection after so many bytes of the answer's body.
	CutBody int
	// Omit are headers that the answer lacks, Set those that it has in place of the right ones.
	Omit []string
	Set  map[string]string
}

// withFault serves a call as the injected fault has it.
func (e *Emulator) withFault(c *call, serve func()) {
	e.mu.Lock()
	inject := e.mu.inject
	e.mu.Unlock()
	if inject != nil {
		c.fault = inject(Call{Op: c.op, Bucket: c.bucket, Key: c.key, Header: c.r.Header, Length: c.r.ContentLength})
	}
	f := c.fault
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-c.r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.CutBefore:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		e.writeFailure(c, fail(f.Status, f.Code, "Injected by the emulator."))
		return
	case f.ErrorIn200 != "":
		e.errorIn200(c)
		return
	}
	if f.CutAfter || f.CutBody > 0 || len(f.Omit) > 0 || len(f.Set) > 0 {
		c.w = &faultyWriter{ResponseWriter: c.w, fault: f, left: f.CutBody}
	}
	serve()
	if f.CutAfter {
		panic(http.ErrAbortHandler)
	}
}

// errorIn200 sends an error document where the client expects a result, behind the white space of a Complete.
func (e *Emulator) errorIn200(c *call) {
	doc := e.errorDocument(c, fail(http.StatusOK, c.fault.ErrorIn200, "Injected by the emulator."))
	c.w.Header().Set("Content-Type", "application/xml")
	if c.op == CompleteUpload && c.quirks.CompleteSpaces > 0 {
		e.pause(c)
		doc = doc[len(xml.Header):]
	}
	_, _ = c.w.Write(doc) // the client is gone: nobody to tell
}

// faultyWriter is the answer of a call with a fault.
type faultyWriter struct {
	http.ResponseWriter
	fault   Fault
	left    int
	started bool
}

func (w *faultyWriter) WriteHeader(status int) {
	w.started = true
	if w.fault.CutAfter {
		return
	}
	for _, name := range w.fault.Omit {
		w.Header().Del(name)
	}
	for name, value := range w.fault.Set {
		w.Header().Set(name, value)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.fault.CutAfter:
		return len(p), nil
	case w.fault.CutBody > 0 && len(p) > w.left:
		_, _ = w.ResponseWriter.Write(p[:w.left])
		w.Flush()
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *faultyWriter) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok && !w.fault.CutAfter {
		f.Flush()
	}
}
