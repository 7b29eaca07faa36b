package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const (
	cachePath      = "/_unistore/v1/cache"
	invalidatePath = "/_unistore/v1/invalidate"
	verifyPath     = "/_unistore/v1/cache/verify"
	// dropTimeout bounds cache drop: a million objects take some ten seconds.
	dropTimeout = 10 * time.Minute
)

// cacheScope is what --bucket and --prefix select.
type cacheScope struct{ bucket, prefix string }

func (s cacheScope) check() error {
	if s.prefix != "" && s.bucket == "" {
		return errors.New("--prefix needs --bucket")
	}
	return nil
}

func newCache(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look into the cache of a running gateway, verify it, drop from it",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("a command is missing: stats, verify or drop") },
	}
	admin := addAdminFlags(cmd, p)
	var scope cacheScope
	cmd.PersistentFlags().StringVar(&scope.bucket, "bucket", "", "only objects of this bucket, as clients name it")
	cmd.PersistentFlags().StringVar(&scope.prefix, "prefix", "", "only keys that start with this; needs --bucket")
	sub := func(use, short, long string, run func(*cobra.Command) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if err := scope.check(); err != nil {
					return err
				}
				return fail(run(cmd))
			}})
	}
	sub("stats", "Print occupancy, hit ratio and what was fetched", "",
		func(cmd *cobra.Command) error { return cacheStats(cmd, p, admin, scope) })
	sub("verify", "Check the checksum of every cached page",
		"Checks the checksum of every cached page and drops what is bad; reads go on meanwhile.\nFails when something was bad.",
		func(cmd *cobra.Command) error { return cacheVerify(cmd, p, admin, scope) })
	sub("drop", "Forget objects and their blocks: all, those of a bucket, or of a prefix",
		"Forgets what is known of objects and their cached blocks, pinned ones too. Without --bucket it is everything.\nIt does not ask back: whatever is needed again is fetched again.",
		func(cmd *cobra.Command) error { return cacheDrop(cmd, p, admin, scope) })
	return cmd
}

// dropped is the answer to POST /invalidate.
type dropped struct {
	Objects int   `json:"objects"`
	Blocks  int   `json:"blocks"`
	Bytes   int64 `json:"bytes"`
}

func cacheDrop(cmd *cobra.Command, p process, admin *adminFlags, scope cacheScope) error {
	what := map[string]any{"all": true}
	if scope.bucket != "" {
		what = map[string]any{"bucket": scope.bucket, "prefix": scope.prefix}
	}
	var d dropped
	if err := admin.callWithin(cmd.Context(), p, dropTimeout, adminCall{http.MethodPost, invalidatePath, what}, &d); err != nil {
		return err
	}
	if asJSON(cmd) {
		return json.NewEncoder(p.out).Encode(d)
	}
	_, err := fmt.Fprintf(p.out, "dropped %s in %s of %s\n", size(d.Bytes), count(d.Blocks, "block"), count(d.Objects, "object"))
	return err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// stats is the part of GET /cache that is printed.
type stats struct {
	Directory  string           `json:"directory"`
	Capacity   int64            `json:"capacity_bytes"`
	Resident   int64            `json:"resident_bytes"`
	Pinned     int64            `json:"pinned_bytes"`
	Prefetched int64            `json:"prefetched_bytes"`
	Reserved   int64            `json:"reserved_bytes"`
	Blocks     int              `json:"blocks"`
	Versions   int              `json:"versions"`
	Reads      map[string]int64 `json:"reads"`
	HitRatio   *float64         `json:"hit_ratio"`
	Served     map[string]int64 `json:"served_bytes"`
	Filled     map[string]int64 `json:"fill_bytes"`
	Evictions  map[string]int64 `json:"evictions"`
	Errors     map[string]int64 `json:"errors"`
	Fetched    int64            `json:"fetched_bytes"`
	PerServed  *float64         `json:"fetched_per_served"`
	Routes     []struct {
		Route     string   `json:"route"`
		Fetched   int64    `json:"fetched_bytes"`
		Served    int64    `json:"served_bytes"`
		PerServed *float64 `json:"fetched_per_served"`
	} `json:"routes"`
	Usage *struct {
		Objects  int   `json:"objects"`
		Size     int64 `json:"size_bytes"`
		Blocks   int   `json:"blocks"`
		Resident int64 `json:"resident_bytes"`
	} `json:"usage"`
}

func cacheStats(cmd *cobra.Command, p process, admin *adminFlags, scope cacheScope) error {
	path := cachePath
	if scope.bucket != "" {
		path += "?" + url.Values{"bucket": {scope.bucket}, "prefix": {scope.prefix}}.Encode()
	}
	var raw json.RawMessage
	if err := admin.call(cmd.Context(), p, http.MethodGet, path, nil, &raw); err != nil {
		return err
	}
	if asJSON(cmd) {
		_, err := fmt.Fprintln(p.out, string(raw))
		return err
	}
	var s stats
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("the admin listener's answer is not the one of GET /cache: %w", err)
	}
	return s.print(p, scope)
}

func (s *stats) print(p process, scope cacheScope) error {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("directory", "%s", s.Directory)
	line("capacity", "%s", size(s.Capacity))
	line("resident", "%s%s, %s of %s", size(s.Resident), share(s.Resident, s.Capacity), count(s.Blocks, "block"), count(s.Versions, "version"))
	line("pinned", "%s%s", size(s.Pinned), share(s.Pinned, s.Capacity))
	line("prefetched", "%s%s", size(s.Prefetched), share(s.Prefetched, s.Capacity))
	line("reserved", "%s%s", size(s.Reserved), share(s.Reserved, s.Capacity))
	if u := s.Usage; u != nil {
		line("selected", "%s in %s of %s in s3://%s/%s (%s)", size(u.Resident), count(u.Blocks, "block"),
			count(u.Objects, "object"), scope.bucket, scope.prefix, size(u.Size))
	}
	line("since the start", "")
	hits := ""
	if s.HitRatio != nil {
		hits = fmt.Sprintf("; %.1f %% hits", 100**s.HitRatio)
	}
	line("reads", "%s%s", counts(s.Reads, func(n int64) string { return fmt.Sprint(n) }), hits)
	line("served", "%s", counts(s.Served, size))
	line("filled", "%s", counts(s.Filled, size))
	line("fetched", "%s%s", size(s.Fetched), perServed(s.PerServed))
	for _, r := range s.Routes {
		line("  "+r.Route, "%s fetched, %s served%s", size(r.Fetched), size(r.Served), perServed(r.PerServed))
	}
	line("evicted", "%s", counts(s.Evictions, func(n int64) string { return fmt.Sprint(n) }))
	line("errors", "%s", counts(s.Errors, func(n int64) string { return fmt.Sprint(n) }))
	return w.Flush()
}

func share(n, of int64) string {
	if n == 0 || of == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f %%)", 100*float64(n)/float64(of))
}

func perServed(ratio *float64) string {
	if ratio == nil {
		return ""
	}
	return fmt.Sprintf(", %.2f of what was served", *ratio)
}

// counts renders what is not zero, the largest first; "none" when all is.
func counts(m map[string]int64, render func(int64) string) string {
	names := make([]string, 0, len(m))
	for name, n := range m {
		if n != 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if m[a] != m[b] {
			return int(min(max(m[b]-m[a], -1), 1))
		}
		return strings.Compare(a, b)
	})
	if len(names) == 0 {
		return "none"
	}
	for i, name := range names {
		names[i] = name + " " + render(m[name])
	}
	return strings.Join(names, ", ")
}
