package cache

import (
	"context"

	"unistore/object"
)

// VerifyMatching is Verify for the blocks of the objects in s.
func (c *Cache) VerifyMatching(ctx context.Context, s Scope, progress func(done, total, bad int64)) (VerifyResult, error) {
	if s.all() {
		return c.Verify(ctx, progress)
	}
	ids, total, err := c.versionsIn(ctx, s)
	if err != nil {
		return VerifyResult{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	return c.verifyVersions(ctx, ids, func(v *VerifyResult) {
		if progress != nil {
			progress(v.Bytes, max(total, v.Bytes), v.bad())
		}
	})
}

// versionsIn returns the current versions of the objects in s, by what they take on disk in all.
func (c *Cache) versionsIn(ctx context.Context, s Scope) (ids map[versionID]bool, total int64, err error) {
	ids = map[versionID]bool{}
	add := func(k Key, a object.Attrs) {
		id := idOf(k, a)
		if _, bytes := c.versionUsage(id); bytes > 0 && !ids[id] {
			ids[id] = true
			total += bytes
		}
	}
	err = c.eachRecord(ctx, s, func(k Key, e Entry) { add(k, e.Attrs) })
	for i := range c.objects.all {
		for _, kn := range c.objects.all[i].matching(s) {
			add(kn.key, kn.entry.Attrs)
		}
	}
	return ids, total, err
}

// verifyVersions verifies the blocks of ids, and calls done after every batch of records.
func (c *Cache) verifyVersions(ctx context.Context, ids map[versionID]bool, done func(*VerifyResult)) (VerifyResult, error) {
	var res VerifyResult
	buf := new(pageBuf)
	for first := uint64(0); len(ids) > 0; {
		list, err := c.db.BlocksFrom(first, scrubBatch)
		if err != nil {
			return res, err
		}
		for i := range list {
			if c.ctx.Err() != nil {
				return res, ErrClosed
			}
			if !ids[versionID(list[i].Object)] {
				continue
			}
			if err := c.verifyBlock(ctx, &list[i], &pace{}, buf, &res); err != nil {
				return res, err
			}
		}
		done(&res)
		if len(list) < scrubBatch {
			break
		}
		first = list[len(list)-1].FileID + 1
	}
	return res, ctx.Err()
}
