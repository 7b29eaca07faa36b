package hdfs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/datanode"
	"unistore/upstream/hdfs/internal/namenode"
	"unistore/upstream/hdfs/internal/wire"
)

const (
	// pipelineTries bounds how many pipelines are tried for one block. Only their setting up is repeated: a pipeline
	// that breaks later fails the write.
	pipelineTries = 4
	// reportWait is how long DataNodes may take to tell the NameNode of a block that they have acknowledged.
	reportWait  = 30 * time.Second
	firstReport = 2 * time.Millisecond
	lastReport  = 500 * time.Millisecond
)

// staged is a file in the hidden area, on its way to become an object or a part. It is for one goroutine.
type staged struct {
	b         *Backend
	ctx       context.Context
	path      string
	id        uint64
	blockSize int64
	chunk     int
	size      int64               // written
	block     *wire.ExtendedBlock // the last one, with its length once it is finished
	w         *datanode.Writer    // of block, or nil
	closed    bool
	done      bool // it has another name now
}

// stage makes a file. The caller discards it. ctx is for all that is written to it.
func (b *Backend) stage(ctx context.Context, op string) (*staged, error) {
	d, err := b.serverDefaults(ctx, op)
	if err != nil {
		return nil, err
	}
	if _, err := b.area.make(ctx, false); err != nil {
		return nil, fail(op, err)
	}
	path := b.area.name()
	s, err := b.nn.Create(ctx, path, d.GetReplication(), int64(d.GetBlockSize()))
	if isMissing(err) { // somebody has removed the directory
		if _, err = b.area.make(ctx, true); err == nil {
			s, err = b.nn.Create(ctx, path, d.GetReplication(), int64(d.GetBlockSize()))
		}
	}
	if err != nil {
		b.area.discard(path) // it may be there
		return nil, fail(op, err)
	}
	b.area.writers.Add(1)
	tmp := &staged{
		b: b, ctx: ctx, path: path, id: s.GetFileId(), blockSize: int64(d.GetBlockSize()), chunk: int(d.GetBytesPerChecksum()),
	}
	if s == nil || s.FileEncryptionInfo != nil || s.EcPolicy != nil {
		tmp.discard()
		return nil, upstream.Errorf(upstream.Unsupported, op, "the root is in an encryption zone, or erasure-coded")
	}
	return tmp, nil
}

// Write implements io.Writer.
func (s *staged) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if s.w != nil && s.w.Len() == s.blockSize {
			if err := s.finishBlock(); err != nil {
				return done, err
			}
		}
		if s.w == nil {
			if err := s.startBlock(); err != nil {
				return done, err
			}
		}
		n, err := s.w.Write(p[done:min(int64(len(p)), int64(done)+s.blockSize-s.w.Len())])
		done += n
		s.size += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// startBlock adds a block to the file and sets up its pipeline, around DataNodes that do not answer.
func (s *staged) startBlock() error {
	var exclude []*wire.DatanodeInfo
	var last error
	for range pipelineTries {
		located, err := s.addBlock(exclude)
		if err != nil {
			return errors.Join(err, last)
		}
		s.w, err = datanode.NewWriter(s.ctx, s.b.dn, located, s.chunk)
		if err == nil {
			s.block = located.GetB()
			return nil
		}
		if cerr := s.ctx.Err(); cerr != nil {
			return cerr
		}
		last = err
		if bad, ok := errors.AsType[*datanode.PipelineError](err); ok {
			exclude = append(exclude, bad.Bad)
		}
		if err := s.b.nn.AbandonBlock(s.ctx, s.path, s.id, located.GetB()); err != nil {
			return errors.Join(err, last)
		}
	}
	return last
}

// addBlock waits while the block before is not yet known to be stored.
func (s *staged) addBlock(exclude []*wire.DatanodeInfo) (*wire.LocatedBlock, error) {
	var located *wire.LocatedBlock
	err := s.wait(func() (bool, error) {
		var err error
		located, err = s.b.nn.AddBlock(s.ctx, s.path, s.id, s.block, exclude)
		if namenode.Is(err, "NotReplicatedYetException") {
			return false, nil
		}
		return true, err
	})
	return located, err
}

// finishBlock returns when all of the block is stored.
func (s *staged) finishBlock() error {
	if err := s.w.Finish(); err != nil {
		return err
	}
	s.block.NumBytes = new(uint64)
	*s.block.NumBytes = uint64(s.w.Len())
	s.w.Close()
	s.w = nil
	return nil
}

// close ends the file: all that was written is stored, and the NameNode knows.
func (s *staged) close() error {
	if s.w != nil {
		if err := s.finishBlock(); err != nil {
			return err
		}
	}
	err := s.wait(func() (bool, error) { return s.b.nn.Complete(s.ctx, s.path, s.id, s.block) })
	if err != nil {
		return err
	}
	s.end()
	return nil
}

// wait repeats a call until it is done, with growing pauses.
func (s *staged) wait(call func() (done bool, err error)) error {
	giveUp := time.Now().Add(reportWait)
	for pause := firstReport; ; pause = min(2*pause, lastReport) {
		done, err := call()
		if done || err != nil {
			return err
		}
		if time.Now().After(giveUp) {
			return fmt.Errorf("no DataNode has reported the last block in %v", reportWait)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
			return s.ctx.Err()
		}
	}
}

// end says that the file's lease is not needed any more.
func (s *staged) end() {
	if !s.closed {
		s.closed = true
		s.b.area.writers.Add(-1)
	}
}

// discard ends the transfer, and has the file removed unless it has another name.
func (s *staged) discard() {
	if s.w != nil {
		s.w.Close()
		s.w = nil
	}
	s.end()
	if !s.done {
		s.b.area.discard(s.path)
	}
}

// status returns the status of the file, which is closed.
func (s *staged) status(op string) (*wire.FileStatus, error) {
	st, err := s.b.nn.Info(s.ctx, inode(s.id))
	if err != nil {
		return nil, fail(op, err)
	}
	if int64(st.GetLength()) != s.size {
		return nil, upstream.Errorf(upstream.Unavailable, op, "%d of %d bytes are stored", st.GetLength(), s.size)
	}
	return st, nil
}

// createEmpty makes an empty file and returns its status.
func (b *Backend) createEmpty(ctx context.Context, path string) (*wire.FileStatus, error) {
	d, err := b.serverDefaults(ctx, "Create")
	if err != nil {
		return nil, err
	}
	s, err := b.nn.Create(ctx, path, d.GetReplication(), int64(d.GetBlockSize()))
	if err != nil {
		return nil, err
	}
	if done, err := b.nn.Complete(ctx, path, s.GetFileId(), nil); err != nil || !done {
		return nil, errors.Join(err, errors.New("an empty file was not closed"))
	}
	return b.nn.Info(ctx, inode(s.GetFileId()))
}
