package multipart

import (
	"bytes"
	"testing"
	"time"

	"unistore/faults"
	"unistore/upstream"
)

// An upload of which a part may have been on its way when it was aborted is aborted once more, later; others are done with.
func TestLateParts(t *testing.T) {
	for name, late := range map[string]struct {
		f    faults.Fault
		want bool
	}{
		"the connection broke":    {faults.Fault{Name: faults.UpstreamReset, Operation: "UploadPart", After: 10, Skip: 1}, true},
		"the answer was lost":     {faults.Fault{Name: faults.UpstreamReset, Operation: "UploadPart", After: 1 << 20, Skip: 1}, true},
		"the part was refused":    {faults.Fault{Name: faults.UpstreamError, Operation: "UploadPart", Status: 403, Skip: 1}, false},
		"nothing happened to one": {faults.Fault{Name: faults.UploadCompleteError}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSwept(t, testLimits)
			u := NewUploader(Config{PartSize: part, Memory: 16 * part, Parallel: 1, Journal: f.j, Faults: f.set})
			if err := f.set.Put(late.f); err != nil {
				t.Fatal(err)
			}
			_, err := u.Put(t.Context(), f.store, loc, upstream.PutRequest{Body: unsized{bytes.NewReader(body(3 * part))}, Size: -1})
			if err == nil {
				t.Fatal("it succeeded")
			}
			if !late.want {
				f.want("[] store 0", "at once")
				return
			}
			f.want("[put abandoned:1] store 0", "at once")
			f.round(abortAgain - time.Second)
			f.want("[put abandoned:1] store 0", "too early")
			f.round(2 * time.Second)
			f.want("[] store 0", "in time")
			if n := f.counted(sweptAborted); n != 1 || f.records() != 0 {
				t.Errorf("%v swept, %d records are left", n, f.records())
			}
		})
	}
}
