package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// goShare is how much of the memory Go's heap may take before its collector works harder; RocksDB's and
// the kernel's share is the rest.
const goShare = 0.85

// processMemory is what the process may take in bytes: limits.memory, else the limit of the cgroup; 0 when there
// is none.
func processMemory(configured int64) int64 {
	if configured == 0 {
		return cgroupMemory("/")
	}
	return configured
}

// limitMemory gives the garbage collector its limit, for a process that may take so many bytes (0: any number).
// The variable GOMEMLIMIT wins. It returns the limit in bytes, or 0 when it has set none.
func limitMemory(memory int64, p process) int64 {
	if memory == 0 || p.getenv("GOMEMLIMIT") != "" {
		return 0
	}
	limit := int64(float64(memory) * goShare)
	debug.SetMemoryLimit(limit)
	return limit
}

// cgroupMemory is the smallest memory limit of the own cgroup and those above it (version 2, or 1), or 0.
// root is where /proc and /sys are.
func cgroupMemory(root string) int64 {
	limit := int64(math.MaxInt64)
	use := func(file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && n > 0 {
			limit = min(limit, n)
		}
	}
	mount := filepath.Join(root, "sys/fs/cgroup")
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		groups = []byte("0::/\n")
	}
	for line := range strings.Lines(string(groups)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		base, name := mount, "memory.max"
		if id != "0" {
			if controllers != "memory" {
				continue
			}
			base, name = filepath.Join(mount, "memory"), "memory.limit_in_bytes"
		}
		for dir := filepath.Join("/", group); ; dir = filepath.Dir(dir) {
			use(filepath.Join(base, dir, name))
			if dir == "/" {
				break
			}
		}
	}
	if limit >= math.MaxInt64/2 { // version 1 has a huge number for none
		return 0
	}
	return limit
}
