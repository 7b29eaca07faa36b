package gateway

import (
	"context"

	"unistore/cache"
	"unistore/prefetch"
)

// invalidate forgets objects. The order matters: whoever asks after the flights are gone asks the upstream anew,
// and what was asked before can not be learned any more once the cache has dropped.
func (s *gatewayState) invalidate(ctx context.Context, what invalidation) (dropState, error) {
	if what.All {
		return s.drop(ctx, cache.Scope{})
	}
	t, err := s.service.routes.find(what.Bucket)
	if err != nil {
		return dropState{}, err
	}
	if what.Key != nil {
		return dropState(s.service.learner.drop(t.cacheKey(*what.Key))), nil
	}
	return s.drop(ctx, t.scope(*what.Prefix))
}

func (s *gatewayState) drop(ctx context.Context, scope cache.Scope) (dropState, error) {
	d, err := s.service.learner.dropMatching(ctx, scope)
	if err != nil {
		s.log.Error().Err(err).Msg("an invalidation was not finished")
	}
	return dropState(d), err
}

// scope is where the objects of a client's prefix are.
func (t target) scope(prefix string) cache.Scope {
	return cache.Scope{Upstream: t.store.Name(), Bucket: t.bucket, Prefix: t.route.Prefix + prefix}
}

func (s *gatewayState) usage(ctx context.Context, bucket, prefix string) (usageState, error) {
	t, err := s.service.routes.find(bucket)
	if err != nil {
		return usageState{}, err
	}
	u, err := s.cache.Usage(ctx, t.scope(prefix))
	return usageState{Bucket: bucket, Prefix: prefix, Objects: u.Objects, Size: u.Size, Blocks: u.Blocks, Bytes: u.Bytes}, err
}

// residency answers from what is known; no upstream is asked. A bucket without a route has no known objects.
func (s *gatewayState) residency(files []fileQuery) []fileResidency {
	out := make([]fileResidency, len(files))
	for i, f := range files {
		out[i] = fileResidency{Bucket: f.Bucket, Key: f.Key}
		t, err := s.service.routes.find(f.Bucket)
		if err != nil {
			continue
		}
		ck := t.cacheKey(f.Key)
		known, ok := s.cache.Stat(ck)
		if !ok {
			continue
		}
		ranges := prefetch.Union(f.specs, known.Attrs.Size)
		out[i].Known, out[i].Size = true, known.Attrs.Size
		for _, r := range ranges {
			out[i].Bytes += r.Len
		}
		out[i].Resident = s.cache.Resident(ck, known.Attrs, ranges)
	}
	return out
}
