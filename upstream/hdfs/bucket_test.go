package hdfs

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/wire"
)

// bucketNode is an emulated NameNode with an unfinished upload of bucket b, inode 77.
type bucketNode struct {
	there  bool // the bucket
	exists bool // it is made just before the rename
	mu     struct {
		sync.Mutex
		renamed bool
		early   []string // deleted before
		late    []string // deleted after the rename has succeeded
	}
}

func (n *bucketNode) answer(method string, req []byte) (proto.Message, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	yes := &wire.Done{Result: proto.Bool(true)}
	switch method {
	case "getFileInfo":
		if n.there {
			return &wire.GetFileInfoResponse{Fs: emulatedStatus(wire.FileStatus_IS_DIR, "b", 5, 0)}, ""
		}
		return &wire.GetFileInfoResponse{}, ""
	case "getListing":
		list := &wire.DirectoryListing{RemainingEntries: proto.Uint32(0)}
		list.PartialListing = append(list.PartialListing, emulatedStatus(wire.FileStatus_IS_DIR, "upload", 77, 0))
		return &wire.GetListingResponse{DirList: list}, ""
	case "rename2":
		if n.there || n.exists {
			return nil, "org.apache.hadoop.fs.FileAlreadyExistsException"
		}
		n.mu.renamed = true
	case "delete":
		var m wire.DeleteRequest
		if err := proto.Unmarshal(req, &m); err != nil {
			return nil, err.Error()
		}
		if n.mu.renamed {
			n.mu.late = append(n.mu.late, m.GetSrc())
		} else {
			n.mu.early = append(n.mu.early, m.GetSrc())
		}
		return yes, ""
	case "mkdirs":
		return yes, ""
	}
	return &wire.Empty{}, ""
}

// TestCreateBucketSparesUploads: those of a bucket that is there already, or that another process makes at this
// moment, stay. Only what is left of a bucket that was there once is removed, when the new one is there.
func TestCreateBucketSparesUploads(t *testing.T) {
	for name, n := range map[string]*bucketNode{
		"there": {there: true}, "made at this moment": {exists: true}, "new": {},
	} {
		t.Run(name, func(t *testing.T) {
			b := emulated(t, n.answer)
			want := []string{inode(77)}
			err := b.CreateBucket(t.Context(), "b")
			if n.there || n.exists {
				want = nil
				if !errors.Is(err, upstream.BucketOwned) {
					t.Errorf("%v, want BucketOwned", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			for _, path := range []string{b.uploadsOf("b"), inode(77)} {
				if slices.Contains(n.mu.early, path) {
					t.Errorf("%s was deleted before there was a new bucket", path)
				}
			}
			if !slices.Equal(n.mu.late, want) {
				t.Errorf("deleted %q, want %q", n.mu.late, want)
			}
		})
	}
}
