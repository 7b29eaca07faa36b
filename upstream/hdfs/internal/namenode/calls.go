package namenode

import (
	"context"

	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

const (
	filePerm = 0o644
	dirPerm  = 0o755
)

// Info returns the status of a path, or nil when nothing is there.
func (c *Client) Info(ctx context.Context, path string) (*wire.FileStatus, error) {
	var resp wire.GetFileInfoResponse
	err := c.Call(ctx, "getFileInfo", &wire.PathRequest{Src: &path}, &resp)
	return resp.GetFs(), err
}

// List returns some of the entries of a directory whose names come after one, in the NameNode's order,
// and whether there are more. A directory that is not there is a FileNotFoundException; a file is its
// own only entry, with an empty name.
func (c *Client) List(ctx context.Context, dir string, after []byte) (entries []*wire.FileStatus, more bool, err error) {
	if after == nil {
		after = []byte{}
	}
	var resp wire.GetListingResponse
	err = c.Call(ctx, "getListing", &wire.GetListingRequest{Src: &dir, StartAfter: after, NeedLocation: proto.Bool(false)}, &resp)
	if err == nil && resp.DirList == nil {
		err = &RemoteError{Method: "getListing", Class: "java.io.FileNotFoundException", Message: "no such directory"}
	}
	return resp.GetDirList().GetPartialListing(), resp.GetDirList().GetRemainingEntries() > 0, err
}

// Locations returns where the blocks of a range of a file are.
func (c *Client) Locations(ctx context.Context, path string, off, n int64) (*wire.LocatedBlocks, error) {
	var resp wire.GetBlockLocationsResponse
	err := c.Call(ctx, "getBlockLocations", &wire.GetBlockLocationsRequest{
		Src: &path, Offset: proto.Uint64(uint64(off)), Length: proto.Uint64(uint64(n)),
	}, &resp)
	if err == nil && resp.Locations == nil {
		err = &RemoteError{Method: "getBlockLocations", Class: "java.io.FileNotFoundException", Message: "no such file"}
	}
	return resp.GetLocations(), err
}

// Defaults returns what the cluster gives to new files.
func (c *Client) Defaults(ctx context.Context) (*wire.ServerDefaults, error) {
	var resp wire.GetServerDefaultsResponse
	err := c.Call(ctx, "getServerDefaults", &wire.Empty{}, &resp)
	return resp.GetServerDefaults(), err
}

// Create makes a file, whose directory must exist, and holds its lease.
func (c *Client) Create(ctx context.Context, path string, replication uint32, blockSize int64) (*wire.FileStatus, error) {
	const create, shouldReplicate = 0x01, 0x80 // the latter: not erasure-coded, whatever the directory's policy
	var resp wire.CreateResponse
	err := c.Call(ctx, "create", &wire.CreateRequest{
		Src: &path, Masked: &wire.FsPermission{Perm: proto.Uint32(filePerm)}, ClientName: &c.name,
		CreateFlag: proto.Uint32(create | shouldReplicate), CreateParent: proto.Bool(false),
		Replication: &replication, BlockSize: proto.Uint64(uint64(blockSize)),
	}, &resp)
	return resp.GetFs(), err
}

// AddBlock ends the block before, if there was one, and begins another.
func (c *Client) AddBlock(ctx context.Context, path string, fileID uint64, previous *wire.ExtendedBlock,
	exclude []*wire.DatanodeInfo) (*wire.LocatedBlock, error) {
	var resp wire.AddBlockResponse
	err := c.Call(ctx, "addBlock", &wire.AddBlockRequest{
		Src: &path, ClientName: &c.name, Previous: previous, ExcludeNodes: exclude, FileId: &fileID,
	}, &resp)
	return resp.GetBlock(), err
}

// AbandonBlock gives up a block to which nothing was written.
func (c *Client) AbandonBlock(ctx context.Context, path string, fileID uint64, block *wire.ExtendedBlock) error {
	return c.Call(ctx, "abandonBlock", &wire.AbandonBlockRequest{B: block, Src: &path, Holder: &c.name, FileId: &fileID},
		&wire.Empty{})
}

// Complete closes a file. It returns false while DataNodes have not yet reported its last block.
func (c *Client) Complete(ctx context.Context, path string, fileID uint64, last *wire.ExtendedBlock) (bool, error) {
	var resp wire.Done
	err := c.Call(ctx, "complete", &wire.CompleteRequest{Src: &path, ClientName: &c.name, Last: last, FileId: &fileID}, &resp)
	return resp.GetResult(), err
}

// Concat moves the blocks of files to the end of target, atomically; the files are gone then.
func (c *Client) Concat(ctx context.Context, target string, sources []string) error {
	return c.Call(ctx, "concat", &wire.ConcatRequest{Trg: &target, Srcs: sources}, &wire.Empty{})
}

// Rename moves a file or a directory. With overwrite, a file (or empty directory) at dst is replaced
// atomically; without, it is a FileAlreadyExistsException.
func (c *Client) Rename(ctx context.Context, src, dst string, overwrite bool) error {
	return c.Call(ctx, "rename2", &wire.Rename2Request{Src: &src, Dst: &dst, OverwriteDest: &overwrite}, &wire.Empty{})
}

// Delete removes a path, and reports whether there was something. A directory that is not empty is a
// PathIsNotEmptyDirectoryException, unless recursive.
func (c *Client) Delete(ctx context.Context, path string, recursive bool) (bool, error) {
	var resp wire.Done
	err := c.Call(ctx, "delete", &wire.DeleteRequest{Src: &path, Recursive: &recursive}, &resp)
	return resp.GetResult(), err
}

// Mkdir makes a directory, with those above it if parents is set. One that is there is no error.
func (c *Client) Mkdir(ctx context.Context, path string, parents bool) error {
	return c.Call(ctx, "mkdirs", &wire.MkdirsRequest{
		Src: &path, Masked: &wire.FsPermission{Perm: proto.Uint32(dirPerm)}, CreateParent: &parents,
	}, &wire.Done{})
}

// RenewLease keeps the files that this client writes from being closed by others.
func (c *Client) RenewLease(ctx context.Context) error {
	return c.Call(ctx, "renewLease", &wire.RenewLeaseRequest{ClientName: &c.name}, &wire.Empty{})
}

// SetXAttr sets an extended attribute of the namespace "user".
func (c *Client) SetXAttr(ctx context.Context, path, name string, value []byte) error {
	const createOrReplace = 1 | 2
	return c.Call(ctx, "setXAttr", &wire.SetXAttrRequest{
		Src: &path, XAttr: &wire.XAttr{Namespace: proto.Int32(0), Name: &name, Value: value}, Flag: proto.Uint32(createOrReplace),
	}, &wire.Empty{})
}

// XAttrs returns the extended attributes of the namespace "user", by name.
func (c *Client) XAttrs(ctx context.Context, path string) (map[string][]byte, error) {
	var resp wire.GetXAttrsResponse
	if err := c.Call(ctx, "getXAttrs", &wire.GetXAttrsRequest{Src: &path}, &resp); err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, x := range resp.GetXAttrs() {
		if x.GetNamespace() == 0 {
			all[x.GetName()] = x.GetValue()
		}
	}
	return all, nil
}
