package faults

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// uses says which of the parameters under "what it does" a name understands; the others are refused,
// so that a fault never silently does less than its author thinks.
var uses = map[string][]string{
	UploadLastPartFirst: nil,
	UploadPartError:     nil,
	UploadCompleteError: nil,
	UpstreamLatency:     {"delay"},
	UpstreamBandwidth:   {"rate", "total"},
	UpstreamError:       {"status"},
	UpstreamReset:       {"after"},
	UpstreamTruncate:    {"after"},
	UpstreamCorrupt:     {"after"},
	UpstreamETagChange:  nil,
	CacheWriteError:     {"error", "after", "delay"},
	CacheReadError:      {"error", "after", "delay"},
	CacheCorruptPage:    {"after"},
	MetaError:           {"error", "delay"},
	ProcessKill:         nil,
}

// errnos are the values of the parameter error.
var errnos = map[string]syscall.Errno{
	"ENOSPC": syscall.ENOSPC,
	"EIO":    syscall.EIO,
	"EROFS":  syscall.EROFS,
	"EMFILE": syscall.EMFILE,
	"EACCES": syscall.EACCES,
	"ENOENT": syscall.ENOENT,
	"EDQUOT": syscall.EDQUOT,
}

// setters parse one parameter as it is written in YAML and on the command line.
var setters = map[string]func(f *Fault, v string) error{
	"upstream":    func(f *Fault, v string) error { f.Upstream = v; return nil },
	"operation":   func(f *Fault, v string) error { f.Operation = v; return nil },
	"bucket":      func(f *Fault, v string) error { f.Bucket = v; return nil },
	"key":         func(f *Fault, v string) error { f.Key = v; return nil },
	"match":       setMatch,
	"error":       func(f *Fault, v string) error { f.Error = v; return nil },
	"skip":        func(f *Fault, v string) (err error) { f.Skip, err = parseCount(v); return },
	"count":       func(f *Fault, v string) (err error) { f.Count, err = parseCount(v); return },
	"probability": func(f *Fault, v string) (err error) { f.Probability, err = parseFloat(v); return },
	"seed":        func(f *Fault, v string) (err error) { f.Seed, err = parseSeed(v); return },
	"delay":       func(f *Fault, v string) (err error) { f.Delay, err = parseDelay(v); return },
	"rate":        func(f *Fault, v string) (err error) { f.Rate, err = parseSize(strings.TrimSuffix(v, "/s")); return },
	"total":       func(f *Fault, v string) (err error) { f.Total, err = parseSize(strings.TrimSuffix(v, "/s")); return },
	"after":       func(f *Fault, v string) (err error) { f.After, err = parseSize(v); return },
	"status":      setStatus,
}

// Names returns every name that may be set, sorted.
func Names() []string { return slices.Sorted(maps.Keys(uses)) }

// Parse makes a Fault of the parameters as YAML and the command line write them:
//
//	upstream operation bucket key   text; bucket and key are globs
//	match                           BUCKETGLOB or BUCKETGLOB/KEYGLOB, in place of bucket and key
//	skip count seed status          whole numbers
//	probability                     0 to 1
//	delay                           a duration: 200ms, 1.5s
//	rate total                      bytes a second: 80MB/s, 64KiB/s, 1000000
//	after                           bytes: 64KiB, 10
//	error                           ENOSPC, EIO, ...
//
// An error names the parameter and what it may be. The result is valid for Put.
func Parse(name string, params map[string]string) (Fault, error) {
	f := Fault{Name: name}
	for _, p := range slices.Sorted(maps.Keys(params)) {
		set, ok := setters[p]
		if !ok {
			return Fault{}, fmt.Errorf("%s: unknown parameter %q (known: %s)", name, p,
				strings.Join(slices.Sorted(maps.Keys(setters)), ", "))
		}
		if err := set(&f, params[p]); err != nil {
			return Fault{}, fmt.Errorf("%s: %s: %w", name, p, err)
		}
	}
	if err := f.check(); err != nil {
		return Fault{}, err
	}
	return f, nil
}

// Errno returns the error number that Error names, EIO when it is empty.
func (f Fault) Errno() syscall.Errno {
	if e, ok := errnos[f.Error]; ok {
		return e
	}
	return syscall.EIO
}

// check reports what is wrong with f.
func (f *Fault) check() error {
	used, ok := uses[f.Name]
	if !ok {
		return fmt.Errorf("unknown fault %q (known: %s)", f.Name, strings.Join(Names(), ", "))
	}
	if err := f.checkValues(); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	given := map[string]bool{
		"delay": f.Delay != 0, "rate": f.Rate != 0, "total": f.Total != 0,
		"status": f.Status != 0, "error": f.Error != "", "after": f.After != 0,
	}
	for _, p := range slices.Sorted(maps.Keys(given)) {
		if given[p] && !slices.Contains(used, p) {
			return fmt.Errorf("%s has no parameter %s", f.Name, p)
		}
	}
	switch {
	case f.Name == UpstreamLatency && f.Delay == 0:
		return fmt.Errorf("%s needs delay", f.Name)
	case f.Name == UpstreamBandwidth && f.Rate == 0 && f.Total == 0:
		return fmt.Errorf("%s needs rate or total", f.Name)
	}
	return nil
}

func (f *Fault) checkValues() error {
	switch {
	case f.Skip < 0:
		return errors.New("skip is negative")
	case f.Count < 0:
		return errors.New("count is negative")
	case math.IsNaN(f.Probability) || f.Probability < 0 || f.Probability > 1:
		return errors.New("probability is not between 0 and 1")
	case f.Delay < 0:
		return errors.New("delay is negative")
	case f.Rate < 0 || f.Total < 0:
		return errors.New("rate or total is negative")
	case f.After < 0:
		return errors.New("after is negative")
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status %d is not between 400 and 599", f.Status)
	}
	if _, ok := errnos[f.Error]; f.Error != "" && !ok {
		return fmt.Errorf("unknown error %q (known: %s)", f.Error,
			strings.Join(slices.Sorted(maps.Keys(errnos)), ", "))
	}
	for _, g := range [...]struct{ param, glob string }{{"bucket", f.Bucket}, {"key", f.Key}} {
		if _, err := path.Match(g.glob, ""); err != nil {
			return fmt.Errorf("%s: bad glob %q", g.param, g.glob)
		}
	}
	return nil
}

// glob is path.Match with a "*" and "?" that match "/" too. The pattern has been checked.
func glob(pattern, s string) bool {
	ok, _ := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(s, "/", "\x00"))
	return ok
}

func setMatch(f *Fault, v string) error {
	f.Bucket, f.Key, _ = strings.Cut(v, "/")
	return nil
}

func setStatus(f *Fault, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", v)
	}
	f.Status = n
	return nil
}

func parseCount(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", v)
	}
	return n, nil
}

func parseSeed(v string) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number of at least 0", v)
	}
	return n, nil
}

func parseFloat(v string) (float64, error) {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", v)
	}
	return n, nil
}

func parseDelay(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 200ms or 1.5s", v)
	}
	return d, nil
}

var units = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseSize reads a number of bytes with an optional unit.
func parseSize(v string) (int64, error) {
	digits := strings.TrimRight(v, "BKMGTikmgtb")
	unit, ok := units[v[len(digits):]]
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	bytes := n * float64(unit)
	if !ok || err != nil || math.IsNaN(bytes) || math.Abs(bytes) >= 1<<62 {
		return 0, fmt.Errorf("%q is not a size such as 64KiB or 80MB (units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB)", v)
	}
	return int64(bytes), nil
}
