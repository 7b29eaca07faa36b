//go:build e2e

package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"unistore/e2e/servers"
)

// run collects the results of this process.
var run = newReport()

// resultsVariable names the directory of the results; without it none are written.
const resultsVariable = "UNISTORE_BENCH_RESULTS"

func TestMain(m *testing.M) {
	code := m.Run()
	dir := os.Getenv(resultsVariable)
	if dir != "" && len(run.Results)+len(run.Windows) > 0 {
		if err := run.write(dir, cmp.Or(os.Getenv("UNISTORE_BENCH_NAME"), "writes")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// rounds is how often each side is measured: UNISTORE_BENCH_ROUNDS, or 7.
func rounds(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("UNISTORE_BENCH_ROUNDS"), "7"))
	if err != nil || n < 1 {
		b.Fatalf("UNISTORE_BENCH_ROUNDS: %v", err)
	}
	return n
}

// rate runs op once, which moves so many bytes, and returns MiB/s. What was written before is on the disk by then, so that
// no side pays for the other one.
func rate(b *testing.B, bytes int64, op func() error) float64 {
	b.Helper()
	syscall.Sync()
	began := time.Now()
	if err := op(); err != nil {
		b.Fatal(err)
	}
	return float64(bytes) / (1 << 20) / time.Since(began).Seconds()
}

// compare measures the gateway and a rival in turns, each first in every other round, after one round that does not count.
// store is the process behind both, or 0.
func compare(b *testing.B, p *process, store int, r *Result, bytes int64, gateway, other func() error) {
	b.Helper()
	r.Unit = "MiB/s"
	rate(b, bytes, gateway)
	rate(b, bytes, other)
	perGiB := float64(1<<30) / float64(bytes)
	used := func(pid int, rates *[]float64, op func() error, cpu *[]float64) {
		if pid == 0 {
			*rates = append(*rates, rate(b, bytes, op))
			return
		}
		before := cpuOf(b, pid)
		*rates = append(*rates, rate(b, bytes, op))
		*cpu = append(*cpu, (cpuOf(b, pid)-before)*perGiB)
	}
	for i := range rounds(b) {
		if i%2 == 1 {
			used(store, &r.Other, other, &r.StoreOther)
		}
		before := cpuOf(b, p.pid)
		used(store, &r.Gateway, gateway, &r.StoreGateway)
		r.CPU = append(r.CPU, (cpuOf(b, p.pid)-before)*perGiB)
		if i%2 == 0 {
			used(store, &r.Other, other, &r.StoreOther)
		}
	}
	r.summarise()
	run.Results = append(run.Results, r)
	b.ReportMetric(r.Ratio, "ratio")
	b.ReportMetric(median(r.Gateway), "MiB/s")
	b.ReportMetric(median(r.Other), "direct-MiB/s")
	b.ReportMetric(median(r.CPU), "CPU-s/GiB")
	fmt.Println(r)
}

// kinds are the servers that are written to, directly and through the gateway.
var kinds = map[string]func(testing.TB) *servers.Server{"versitygw": servers.StartVersity, "minio": servers.StartMinIO}

// pair is a store and a gateway in front of it, with a client of each.
type pair struct {
	gateway, other *client
	process        *process
	store          int // the process
}

// sides starts a server and a gateway in front of it. A bucket is there.
func sides(b *testing.B, kind string, s setting) pair {
	b.Helper()
	var server *servers.Server
	s.store(b, func() int {
		server = kinds[kind](b)
		return server.PID()
	})
	s.client(b)
	up := direct(kind, server)
	p := pair{process: startGateway(b, up), store: server.PID(), other: newClient(up)}
	p.gateway = newClient(p.process.endpoint)
	b.Cleanup(p.gateway.close)
	b.Cleanup(p.other.close)
	if _, _, err := p.gateway.do(b.Context(), http.MethodPut, "/bench", nil, 0); err != nil {
		b.Fatal(err)
	}
	if profiling != "" {
		profile(b, p.process)
	}
	return p
}

// profile takes a CPU profile of the gateway while the benchmark runs.
func profile(b *testing.B, p *process) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	file := filepath.Join(profiling, strings.ReplaceAll(b.Name(), "/", "-")+".prof")
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/debug/pprof/profile?seconds=20", nil)
		if err != nil {
			done <- err
			return
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			done <- err
			return
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		done <- err
	}()
	b.Cleanup(func() {
		if err := <-done; err != nil {
			b.Log(err)
		}
		cancel()
	})
}
