// Package metrics holds the Prometheus metrics of the gateway under the names that dashboards rely on.
// Labels are bounded: never a bucket, a key or an access key.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// seconds are histogram bounds from 50 us (a hit from memory) to a minute (a dying store).
var seconds = []float64{50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}

// Metrics is every metric of one gateway. New registers it; all fields are safe for concurrent use.
type Metrics struct {
	Requests       *prometheus.CounterVec   // operation, code
	RequestSeconds *prometheus.HistogramVec // operation
	FirstByte      *prometheus.HistogramVec // operation, source
	Connections    prometheus.Gauge
	ConnRejected   prometheus.Counter
	AuthFailures   *prometheus.CounterVec // reason

	CacheBytes     *prometheus.GaugeVec   // state: capacity|resident|pinned|prefetched|reserved
	CacheServed    *prometheus.CounterVec // source: cache|fill|bypass
	CacheReads     *prometheus.CounterVec // result: hit|partial|miss|bypass
	CacheWrites    *prometheus.CounterVec // outcome: kept, or why the bytes of a write were not
	RouteBytes     *prometheus.CounterVec // route: names of the configuration; kind: fetched|served
	CacheEvictions *prometheus.CounterVec // reason
	CacheFillBytes *prometheus.CounterVec // cause
	CacheErrors    *prometheus.CounterVec // kind
	CacheBypassed  *prometheus.GaugeVec   // side: read|write|records; 1: out of use
	CacheBlocks    prometheus.Gauge
	CacheFills     prometheus.Gauge
	Pins           *prometheus.GaugeVec   // kind: soft|hard
	HintsIgnored   *prometheus.CounterVec // header: a Unistore-* request header

	PrefetchBytes    *prometheus.CounterVec // outcome: issued|used|wasted|cancelled
	PrefetchWindow   prometheus.Gauge       // the last one that was chosen
	PrefetchJobs     *prometheus.GaugeVec   // state: queued|running
	PrefetchPromoted prometheus.Counter
	Queries          *prometheus.GaugeVec // state: warming|ready

	UpstreamRequests  *prometheus.CounterVec   // upstream, operation, outcome
	UpstreamFirstByte *prometheus.HistogramVec // upstream
	UpstreamBytes     *prometheus.CounterVec   // upstream, direction: in|out
	UpstreamRetries   *prometheus.CounterVec   // upstream, operation
	UpstreamWaits     *prometheus.CounterVec   // upstream, class: demand|background
	UpstreamDisowned  *prometheus.CounterVec   // upstream, outcome: deleted|left|failed

	Uploads             *prometheus.GaugeVec   // state: intent|open|completing|completed|abandoned
	UploadParts         *prometheus.CounterVec // outcome
	UploadMemory        prometheus.Gauge
	WriteDoubts         prometheus.Gauge
	UploadsSwept        *prometheus.CounterVec // outcome: aborted|expired|settled|reopened|resolved|stray|failed
	UploadsResumed      prometheus.Counter
	UploadJournalErrors prometheus.Counter
	FaultsInjected      *prometheus.CounterVec // name
}

// New makes the metrics and registers them with reg.
func New(reg prometheus.Registerer) *Metrics {
	b := builder{reg}
	return &Metrics{
		Requests:       b.counters("unistore_requests_total", "S3 requests by operation and HTTP status or S3 error code.", "operation", "code"),
		RequestSeconds: b.histograms("unistore_request_seconds", "From the request's headers to the last byte of its answer.", "operation"),
		FirstByte:      b.histograms("unistore_first_byte_seconds", "From the request's headers to the answer's first byte.", "operation", "source"),
		Connections:    b.gauge("unistore_connections", "Open client connections."),
		ConnRejected:   b.counter("unistore_connections_rejected_total", "Connections answered 503 because the limit was reached."),
		AuthFailures:   b.counters("unistore_auth_failures_total", "Refused signatures by S3 error code.", "reason"),

		CacheBytes:     b.gauges("unistore_cache_bytes", "Cache space by state.", "state"),
		CacheServed:    b.counters("unistore_cache_served_bytes_total", "Bytes sent to clients by where they came from.", "source"),
		CacheReads:     b.counters("unistore_cache_reads_total", "Reads by result.", "result"),
		CacheWrites:    b.counters("unistore_cache_writes_total", "Writes to routes that keep what is written (write: cache), by what became of the bytes in the cache.", "outcome"),
		RouteBytes:     b.counters("unistore_route_bytes_total", "Bytes of objects read through a route: fetched from its upstream, and served to clients.", "route", "kind"),
		CacheEvictions: b.counters("unistore_cache_evictions_total", "Blocks dropped by reason.", "reason"),
		CacheFillBytes: b.counters("unistore_cache_fill_bytes_total", "Bytes fetched from upstreams into the cache by cause.", "cause"),
		CacheErrors:    b.counters("unistore_cache_errors_total", "Failures that the cache survived by kind.", "kind"),
		CacheBypassed:  b.gauges("unistore_cache_bypassed", "Sides of the cache that are out of use because the disk or the database fails.", "side"),
		CacheBlocks:    b.gauge("unistore_cache_blocks", "Blocks in the index."),
		CacheFills:     b.gauge("unistore_cache_fills", "Fills under way."),
		Pins:           b.gauges("unistore_pins", "Pinned blocks by the firmest kind that holds them.", "kind"),
		HintsIgnored:   b.counters("unistore_hints_ignored_total", "Request headers of UniStore that could not be read, by header.", "header"),

		PrefetchBytes:    b.counters("unistore_prefetch_bytes_total", "Bytes fetched ahead of need by what became of them.", "outcome"),
		PrefetchWindow:   b.gauge("unistore_prefetch_window_bytes", "How far ahead of a reader bytes are fetched, as last chosen."),
		PrefetchJobs:     b.gauges("unistore_prefetch_jobs", "Requests ahead of need by state.", "state"),
		PrefetchPromoted: b.counter("unistore_prefetch_promoted_total", "Requests ahead of need that a reader reached while they were under way."),
		Queries:          b.gauges("unistore_queries", "Registered queries by state.", "state"),

		UpstreamRequests:  b.counters("unistore_upstream_requests_total", "Requests to upstreams by outcome.", "upstream", "operation", "outcome"),
		UpstreamFirstByte: b.histograms("unistore_upstream_first_byte_seconds", "From a request to an upstream to its answer's headers.", "upstream"),
		UpstreamBytes:     b.counters("unistore_upstream_bytes_total", "Body bytes from (in) and to (out) upstreams.", "upstream", "direction"),
		UpstreamRetries:   b.counters("unistore_upstream_retries_total", "Repeated requests to upstreams.", "upstream", "operation"),
		UpstreamWaits:     b.counters("unistore_upstream_waits_total", "Requests that had to wait for a connection, by whether a client waits for them.", "upstream", "class"),
		UpstreamDisowned:  b.counters("unistore_upstream_disowned_total", "Objects that the store took with other bytes than were sent, by what became of them.", "upstream", "outcome"),

		Uploads:             b.gauges("unistore_uploads", "Multipart uploads by state.", "state"),
		UploadParts:         b.counters("unistore_upload_parts_total", "Parts written by outcome.", "outcome"),
		UploadMemory:        b.gauge("unistore_upload_memory_bytes", "Memory that uploads hold for parts."),
		WriteDoubts:         b.gauge("unistore_write_doubts", "Objects with a write whose outcome is not known: reads of them ask the upstream."),
		UploadsSwept:        b.counters("unistore_uploads_swept_total", "What was done in the background about uploads that a crash, a failure or a client has left.", "outcome"),
		UploadsResumed:      b.counter("unistore_uploads_resumed_total", "Uploads of clients that were found in the records at a start and can go on."),
		UploadJournalErrors: b.counter("unistore_upload_journal_errors_total", "Records of uploads that could not be written or read."),
		FaultsInjected:      b.counters("unistore_faults_injected_total", "Injected faults that fired.", "name"),
	}
}

type builder struct{ reg prometheus.Registerer }

func (b builder) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	b.reg.MustRegister(c)
	return c
}

func (b builder) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	b.reg.MustRegister(c)
	return c
}

func (b builder) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	b.reg.MustRegister(g)
	return g
}

func (b builder) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	b.reg.MustRegister(g)
	return g
}

func (b builder) histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: seconds}, labels)
	b.reg.MustRegister(h)
	return h
}
