package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Result is one comparison.
type Result struct {
	Name   string  `json:"name"`
	Rival  string  `json:"rival"`  // what the gateway is compared with
	Unit   string  `json:"unit"`   // of the rates, e.g. "MiB/s"
	Target float64 `json:"target"` // the least ratio that is wanted
	// Rates of each round, in the order of measuring.
	Gateway []float64 `json:"gateway"`
	Other   []float64 `json:"other"`
	// Ratio is the median of the rounds' ratios, gateway over rival; Low and High are the least and the largest.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// CPU is the processor time of the gateway for each GiB, of each round (seconds).
	CPU []float64 `json:"gateway_cpu_s_per_gib"`
	// The same of the store, when it is written to through the gateway and directly.
	StoreGateway []float64 `json:"store_cpu_s_per_gib,omitempty"`
	StoreOther   []float64 `json:"store_cpu_s_per_gib_direct,omitempty"`
}

// summarise fills in what follows from the rates. There is at least one round.
func (r *Result) summarise() {
	ratios := make([]float64, len(r.Gateway))
	for i := range ratios {
		ratios[i] = r.Gateway[i] / r.Other[i]
	}
	r.Low, r.High, r.Ratio = slices.Min(ratios), slices.Max(ratios), median(ratios)
}

// median of at least one number.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// String is a line of the table.
func (r *Result) String() string {
	verdict := "ok"
	if r.Ratio < r.Target {
		verdict = "BELOW"
	}
	store := ""
	if len(r.StoreGateway) > 0 {
		store = fmt.Sprintf(" (store %.2f, direct %.2f)", median(r.StoreGateway), median(r.StoreOther))
	}
	return fmt.Sprintf("%-44s vs %-10s %8.1f / %8.1f %s   ratio %.3f (%.3f to %.3f, %d rounds), gateway %.2f CPU s/GiB%s, target %.2f %s",
		r.Name, r.Rival, median(r.Gateway), median(r.Other), r.Unit, r.Ratio, r.Low, r.High, len(r.Gateway), median(r.CPU), store, r.Target, verdict)
}

// report is the file of one run.
type report struct {
	Date    time.Time `json:"date"`
	Go      string    `json:"go"`
	CPUs    int       `json:"cpus"`
	Load    string    `json:"load"` // /proc/loadavg when the run began
	Results []*Result `json:"results,omitempty"`
	Windows []Window  `json:"windows,omitempty"`
}

// Window is a cold scan through a store with one time to the first byte.
type Window struct {
	FirstByte float64 `json:"first_byte_ms"`
	Reader    string  `json:"reader"`
	Window    float64 `json:"window_mib"`   // median over the second half of the scan
	Rate      float64 `json:"mb_s"`         // of the scan
	Without   float64 `json:"without_mb_s"` // of the same without fetching ahead
	Limit     float64 `json:"limit_mb_s"`   // what the store and the reader allow
}

// write leaves name.json, name.svg and name-window.svg in dir, the plots of what there is.
func (r *report) write(dir, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	if len(r.Windows) > 0 {
		if err := os.WriteFile(filepath.Join(dir, name+"-window.svg"), []byte(plotWindows(r.Windows)), 0o644); err != nil {
			return err
		}
	}
	if len(r.Results) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, name+".svg"), []byte(plot(r.Results)), 0o644)
}

func newReport() *report {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		load = []byte("unknown")
	}
	return &report{Date: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), CPUs: runtime.NumCPU(), Load: strings.TrimSpace(string(load))}
}
