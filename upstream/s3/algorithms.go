package s3

import "sync"

// uploadAlgorithms remembers the checksum algorithm of uploads that this process has started: their parts must
// come with a checksum of it. Of an upload of another process it knows nothing, and the client's own
// checksums must do.
type uploadAlgorithms struct {
	mu struct {
		sync.Mutex
		byID map[string]string
	}
}

// maxUploads bounds the memory; beyond it all are forgotten.
const maxUploads = 16 << 10

func newUploadAlgorithms() *uploadAlgorithms {
	u := &uploadAlgorithms{}
	u.mu.byID = map[string]string{}
	return u
}

func (u *uploadAlgorithms) get(id string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mu.byID[id]
}

// set notes an algorithm, or forgets the upload when there is none.
func (u *uploadAlgorithms) set(id, algorithm string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if algorithm == "" {
		delete(u.mu.byID, id)
		return
	}
	if len(u.mu.byID) >= maxUploads {
		clear(u.mu.byID)
	}
	u.mu.byID[id] = algorithm
}
