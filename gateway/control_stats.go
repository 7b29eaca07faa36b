package gateway

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// cacheState is the answer to GET /cache. Sizes are in bytes; the counts are those since the start.
type cacheState struct {
	Directory       string `json:"directory,omitempty"`
	CapacityBytes   int64  `json:"capacity_bytes"`
	ResidentBytes   int64  `json:"resident_bytes"`
	PinnedBytes     int64  `json:"pinned_bytes"`
	PrefetchedBytes int64  `json:"prefetched_bytes"`
	ReservedBytes   int64  `json:"reserved_bytes"`
	BlockSize       int64  `json:"block_size"`
	Blocks          int    `json:"blocks"`
	Versions        int    `json:"versions"`
	Objects         int    `json:"objects_in_memory"`
	Fills           int    `json:"fills"`
	Readers         int    `json:"readers"`

	Reads     map[string]int64 `json:"reads"`        // by result
	HitRatio  *float64         `json:"hit_ratio"`    // hits of all reads; null before the first
	Served    map[string]int64 `json:"served_bytes"` // to clients, by source
	Filled    map[string]int64 `json:"fill_bytes"`   // into the cache, by cause
	Evictions map[string]int64 `json:"evictions"`    // blocks, by reason
	Errors    map[string]int64 `json:"errors"`       // that the cache survived, by kind

	// Fetched is what reads have brought from upstreams, through the cache or around it.
	Fetched   int64        `json:"fetched_bytes"`
	PerServed *float64     `json:"fetched_per_served"` // null before the first byte
	Routes    []routeState `json:"routes"`

	Usage *usageState `json:"usage,omitempty"` // when a bucket was asked for
}

// routeState is what was read through one route.
type routeState struct {
	Route     string   `json:"route"`
	Fetched   int64    `json:"fetched_bytes"`
	Served    int64    `json:"served_bytes"`
	PerServed *float64 `json:"fetched_per_served"`
}

// Names of the metrics that GET /cache is made from.
const (
	metricBytes     = "unistore_cache_bytes"
	metricReads     = "unistore_cache_reads_total"
	metricServed    = "unistore_cache_served_bytes_total"
	metricFilled    = "unistore_cache_fill_bytes_total"
	metricEvictions = "unistore_cache_evictions_total"
	metricErrors    = "unistore_cache_errors_total"
	metricRoutes    = "unistore_route_bytes_total"
)

// reading is one moment's values of the metrics whose name starts with unistore_: by name, then
// one for each set of labels.
type reading map[string][]sample

type sample struct {
	labels map[string]string
	value  float64
}

// collect reads counters and gauges; histograms are left out.
func collect(from prometheus.Gatherer) reading {
	families, _ := from.Gather() // what could be gathered is there all the same
	out := reading{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "unistore_") {
			continue
		}
		for _, m := range f.GetMetric() {
			s := sample{labels: map[string]string{}}
			for _, l := range m.GetLabel() {
				s.labels[l.GetName()] = l.GetValue()
			}
			switch {
			case m.GetCounter() != nil:
				s.value = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				s.value = m.GetGauge().GetValue()
			default:
				continue
			}
			out[f.GetName()] = append(out[f.GetName()], s)
		}
	}
	return out
}

// by sums metric by the values of label; those in always are there even when nothing was counted.
func (r reading) by(metric, label string, always ...string) map[string]int64 {
	out := make(map[string]int64, len(always))
	for _, value := range always {
		out[value] = 0
	}
	for _, s := range r[metric] {
		out[s.labels[label]] += int64(s.value)
	}
	return out
}

func (s *gatewayState) cacheState() cacheState {
	c := s.cache.Stats()
	m := collect(s.registry)
	bytes := m.by(metricBytes, "state")
	state := cacheState{
		Directory: s.cfg.Cache.Dir, CapacityBytes: c.Capacity, ResidentBytes: c.Resident, ReservedBytes: c.Reserved,
		PinnedBytes: bytes["pinned"], PrefetchedBytes: bytes["prefetched"],
		BlockSize: s.cfg.Cache.BlockSize, Blocks: c.Blocks, Versions: c.Versions, Objects: c.Objects,
		Fills: c.Fills, Readers: c.Readers,
		Reads:  m.by(metricReads, "result", "hit", "partial", "miss", "bypass"),
		Served: m.by(metricServed, "source", "cache", "fill", "bypass"),
		Filled: m.by(metricFilled, "cause"), Evictions: m.by(metricEvictions, "reason"), Errors: m.by(metricErrors, "kind"),
	}
	state.HitRatio = ratio(state.Reads["hit"], sum(state.Reads))
	state.addRoutes(s, m)
	return state
}

// addRoutes sets what is known by route, in the order of the configuration.
func (c *cacheState) addRoutes(s *gatewayState, m reading) {
	c.Routes = make([]routeState, 0, len(s.cfg.Buckets))
	at := map[string]*routeState{}
	for _, r := range s.cfg.Buckets {
		c.Routes = append(c.Routes, routeState{Route: r.Name})
		at[r.Name] = &c.Routes[len(c.Routes)-1]
	}
	for _, sample := range m[metricRoutes] {
		r := at[sample.labels["route"]]
		if r == nil {
			continue
		}
		if sample.labels["kind"] == "fetched" {
			r.Fetched += int64(sample.value)
		} else {
			r.Served += int64(sample.value)
		}
	}
	var served int64
	for i := range c.Routes {
		r := &c.Routes[i]
		r.PerServed = ratio(r.Fetched, r.Served)
		c.Fetched += r.Fetched
		served += r.Served
	}
	c.PerServed = ratio(c.Fetched, served)
}

func sum(m map[string]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

// ratio is nil when there is nothing to divide by.
func ratio(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	q := float64(part) / float64(whole)
	return &q
}
