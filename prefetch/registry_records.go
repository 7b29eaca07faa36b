package prefetch

import "unistore/meta"

// record writes the record of q, unless it has ended. A failure costs the registration at the next start, no more.
func (g *Registry) record(q *query) {
	g.write.Lock()
	defer g.write.Unlock()
	g.mu.Lock()
	alive := g.mu.queries[q.name] == q
	r := meta.Query{
		Name: q.name, Until: q.until, Priority: byte(q.class), Pin: byte(q.pin),
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
	alive := g.mu.queries[q.name] == q
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

// discard removes the records of a query.
func (g *Registry) discard(name string) {
	g.write.Lock()
	defer g.write.Unlock()
	if err := g.cfg.DB.DiscardQuery(name); err != nil {
		g.cfg.Metrics.CacheErrors.WithLabelValues("meta").Inc()
		g.cfg.Log.Warn().Err(err).Msg("the record of a query that has ended stays until it expires")
	}
}
