package gateway

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"unistore/meta/rocks"
	"unistore/upstream"
)

const (
	// probeAge is how long the result of a probe is believed, so that health checks do not load the stores.
	probeAge = 5 * time.Second
	// probeTimeout bounds one probe.
	probeTimeout = 3 * time.Second
)

// EngineVersion is the version of RocksDB.
func EngineVersion() string { return rocks.Version() }

// upstreamState is one store in the answer to GET /upstreams.
type upstreamState struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Reachable bool      `json:"reachable"`
	Detail    string    `json:"detail,omitempty"` // why it is not reachable, or what it refused
	Checked   time.Time `json:"checked"`
	Seconds   float64   `json:"seconds"`

	routes []string // names of the routes that lead to it
}

// prober asks the stores whether they answer.
type prober struct {
	stores map[string]*upstream.Store
	types  map[string]string
	turn   chan struct{} // capacity 1: held while probing; guards the fields below
	last   []upstreamState
	at     time.Time
}

func newProber(stores map[string]*upstream.Store, types map[string]string) *prober {
	return &prober{stores: stores, types: types, turn: make(chan struct{}, 1)}
}

// states returns what is known of the stores, at most probeAge old; nil when ctx ends first.
func (p *prober) states(ctx context.Context) []upstreamState {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-p.turn }()
	if p.last != nil && time.Since(p.at) < probeAge {
		return slices.Clone(p.last)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	names := slices.Sorted(maps.Keys(p.stores))
	states := make([]upstreamState, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { states[i] = probe(ctx, p.stores[name], p.types[name]) })
	}
	wg.Wait()
	p.last, p.at = states, time.Now()
	return slices.Clone(states)
}

// probe lists the buckets of a store. Any answer, a refusal too, shows that the store is there.
func probe(ctx context.Context, s *upstream.Store, kind string) upstreamState {
	start := time.Now()
	_, err := s.ListBuckets(ctx)
	state := upstreamState{Name: s.Name(), Type: kind, Reachable: true, Checked: start, Seconds: time.Since(start).Seconds()}
	if err == nil {
		return state
	}
	code := upstream.CodeOf(err)
	switch code {
	case upstream.Unavailable, upstream.Cancelled:
		state.Reachable = false
	case upstream.Unsupported:
		return state
	}
	state.Detail = code.Error()
	return state
}

// openAdmin opens the admin side of g.
func (g *Gateway) openAdmin() (*admin, error) {
	conf := adminConfig{
		Listen: g.cfg.Admin.Listen, Token: g.cfg.Admin.Token, Version: g.opts.Version, Registry: g.registry, Log: g.log,
		Queries: g.queries,
	}
	if g.cfg.EnableFaults {
		conf.Faults = g.faults
	}
	return newAdmin(conf, g.state)
}

// gatewayState answers the admin side and the control API from the gateway.
type gatewayState struct {
	*Gateway
	prober *prober
}

func newGatewayState(g *Gateway) *gatewayState {
	types := make(map[string]string, len(g.cfg.Upstreams))
	for name, u := range g.cfg.Upstreams {
		types[name] = u.Type
	}
	return &gatewayState{Gateway: g, prober: newProber(g.stores, types)}
}

// notReady: the index must be loaded, and reads must have a chance, from a store or from the cache.
func (s *gatewayState) notReady(ctx context.Context) []string {
	if !s.ready.Load() {
		return []string{"not serving: starting or draining"}
	}
	var down []string
	for _, u := range s.prober.states(ctx) {
		if u.Reachable {
			return nil
		}
		down = append(down, "upstream "+u.Name+" can not be reached: "+u.Detail)
	}
	if s.cache.Stats().Blocks > 0 {
		return nil
	}
	return append(down, "the cache is empty")
}

func (s *gatewayState) upstreamStates(ctx context.Context) []upstreamState {
	states := s.prober.states(ctx)
	for i := range states {
		for _, r := range s.cfg.Buckets {
			if r.Upstream == states[i].Name {
				states[i].routes = append(states[i].routes, r.Name)
			}
		}
	}
	return states
}
