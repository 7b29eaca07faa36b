package hdfs

import (
	"errors"
	"maps"
	"net"
	"sync"
	"time"

	"unistore/upstream/hdfs/internal/wire"
)

// suspectFor is how long reads ask a DataNode last that could not be reached, or did not answer.
const suspectFor = time.Minute

// suspects are the DataNodes that have failed lately. Its methods are safe for concurrent use.
type suspects struct {
	mu struct {
		sync.Mutex
		until map[string]time.Time // by DatanodeUuid
	}
}

func nodeID(node *wire.DatanodeInfo) string { return node.GetId().GetDatanodeUuid() }

// add notes how a DataNode failed. Its words about one block say nothing about others: they do not count.
func (s *suspects) add(id string, err error, now time.Time) {
	if _, ok := errors.AsType[net.Error](err); !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.until == nil {
		s.mu.until = map[string]time.Time{}
	}
	maps.DeleteFunc(s.mu.until, func(_ string, t time.Time) bool { return !now.Before(t) })
	s.mu.until[id] = now.Add(suspectFor)
}

func (s *suspects) has(id string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.mu.until[id])
}

// last returns nodes in their order, but those that failed after the others.
func last(nodes []*wire.DatanodeInfo, failed func(id string) bool) []*wire.DatanodeInfo {
	var good, bad []*wire.DatanodeInfo
	for _, node := range nodes {
		if failed(nodeID(node)) {
			bad = append(bad, node)
		} else {
			good = append(good, node)
		}
	}
	return append(good, bad...)
}

// fails has the DataNode that was asked last come after the others.
func (f *body) fails(err error) {
	f.last = err
	if f.failed == nil {
		f.failed = map[string]bool{}
	}
	f.failed[f.from] = true
	f.b.slow.add(f.from, err, time.Now())
}

// replicas returns who has a block, in the order in which they are asked.
func (f *body) replicas(block *wire.LocatedBlock) []*wire.DatanodeInfo {
	now := time.Now()
	return last(block.GetLocs(), func(id string) bool { return f.failed[id] || f.b.slow.has(id, now) })
}
