package prefetch

import (
	"unistore/byterange"
	"unistore/cache"
	"unistore/meta"
)

// load reads the records. What can not be read is removed: it is the client's to register again.
func (g *Registry) load() error {
	now := g.cfg.Now()
	var drop []string
	var kept []meta.Query
	err := g.cfg.DB.Queries(func(r meta.Query, err error) error {
		if err != nil || !r.Until.After(now) || Class(r.Priority) >= classes {
			drop = append(drop, r.Name)
			return nil
		}
		kept = append(kept, r)
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range drop {
		g.write.Lock()
		err := g.discardLocked(name)
		g.write.Unlock()
		if err != nil {
			g.cfg.Log.Warn().Err(err).Msg("the record of a query that has ended stays until the next start")
		}
	}
	for _, r := range kept {
		files, next, err := g.cfg.DB.QueryFiles(r.Name)
		if err != nil {
			return err
		}
		q := g.newQuery(r.Name, Class(r.Priority), cache.PinKind(r.Pin), r.Until)
		q.deadline = r.Deadline
		q.minted, q.calls = Minted{r.AccessKey, r.SecretKey, r.Token}, next
		for _, f := range files {
			add := file{bucket: f.Bucket, key: f.Key, etag: f.ETag, size: f.Size}
			for _, x := range f.Ranges {
				add.ranges = append(add.ranges, byterange.Range{Off: x[0], Len: x[1]})
			}
			q.add(&add)
		}
		q.slots = len(q.files)
		g.mu.Lock()
		g.mu.slots += q.slots
		g.putLocked(q)
		g.workLocked(q)
		g.mu.Unlock()
	}
	return nil
}

// record writes the record of q, unless it has ended. A failure costs the registration at the next start, no more.
func (g *Registry) record(q *query) {
	g.write.Lock()
	defer g.write.Unlock()
	g.mu.Lock()
	alive := g.aliveLocked(q)
	r := meta.Query{
		Name: q.name, Until: q.until, Priority: byte(q.class), Pin: byte(q.pin), Deadline: q.deadline,
		AccessKey: q.minted.AccessKey, SecretKey: q.minted.SecretKey, Token: q.minted.Token,
	}
	g.mu.Unlock()
	if !alive {
		return
	}
	var c meta.Changes
	c.PutQuery(&r)
	g.store(&c)
}

// recordFiles adds the files of one call to the record.
func (g *Registry) recordFiles(q *query, number uint32, files []*file) {
	if len(files) == 0 {
		return
	}
	list := make([]meta.QueryFile, 0, len(files))
	for _, f := range files {
		r := meta.QueryFile{Bucket: f.bucket, Key: f.key, ETag: f.etag, Size: f.size}
		for _, x := range f.ranges {
			r.Ranges = append(r.Ranges, [2]int64{x.Off, x.Len})
		}
		list = append(list, r)
	}
	g.write.Lock()
	defer g.write.Unlock()
	g.mu.Lock()
	alive := g.aliveLocked(q)
	g.mu.Unlock()
	if !alive {
		return
	}
	var c meta.Changes
	c.PutQueryFiles(q.name, number, list)
	g.store(&c)
}

func (g *Registry) store(c *meta.Changes) {
	if err := g.cfg.DB.Write(c, true); err != nil {
		g.cfg.Metrics.CacheErrors.WithLabelValues("meta").Inc()
		g.cfg.Log.Warn().Err(err).Msg("a registered query is not recorded; a restart will forget it")
	}
}

// discardLocked removes the record of a query; g.write is held.
func (g *Registry) discardLocked(name string) error {
	err := g.cfg.DB.DiscardQuery(name)
	if err != nil {
		g.cfg.Metrics.CacheErrors.WithLabelValues("meta").Inc()
	}
	return err
}
