package gateway

import (
	"errors"
	"path/filepath"
	"syscall"

	"unistore/cache"
	"unistore/meta"
	"unistore/meta/fault"
	"unistore/meta/reopen"
	"unistore/meta/rocks"
)

// openRecords opens the database of the cache. One that is damaged, or of an older format, begins empty: the cache is
// only a cache. One of a newer format is an error, and is left alone.
func (g *Gateway) openRecords() (*meta.DB, error) {
	dir := filepath.Join(g.cfg.Cache.Dir, "meta")
	records := reopen.Config{
		Open: func() (meta.Engine, error) {
			e, err := rocks.Open(rocks.Config{Dir: dir})
			if err != nil {
				return nil, err
			}
			if g.cfg.EnableFaults {
				return fault.Wrap(e, g.faults), nil
			}
			return e, nil
		},
		Destroy: func() error {
			g.metrics.CacheErrors.WithLabelValues("meta").Inc()
			return rocks.Destroy(dir)
		},
		Log: g.log,
	}
	engine, err := reopen.Open(records)
	if errors.Is(err, syscall.ENOSPC) {
		g.log.Error().Err(err).Msg("the disk is full: removing a part of the cache")
		if err := cache.MakeRoom(g.cfg.Cache.Dir); err != nil {
			return nil, err
		}
		engine, err = reopen.Open(records)
	}
	if err != nil {
		return nil, err
	}
	g.engine = engine
	g.closers = append(g.closers, engine.Close)
	db, err := meta.NewDB(engine)
	if errors.Is(err, meta.ErrCorrupt) {
		g.log.Error().Err(err).Msg("cache records are damaged; starting with an empty cache")
		if err := engine.Reset(); err != nil {
			return nil, err
		}
		db, err = meta.NewDB(engine)
	}
	return db, err
}
