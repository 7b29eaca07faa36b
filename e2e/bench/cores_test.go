//go:build e2e

package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// setting says which cores the parties of a comparison have.
type setting string

const (
	// together: client, gateway and store share all cores, so that what the gateway takes is missing at the store.
	together setting = "together"
	// apart: the store has core 0 to itself and the rest shares core 1, as when the store is another machine.
	apart setting = "apart"
)

var settings = []setting{together, apart}

// client pins this process, and what it starts, away from the store, until the benchmark ends.
func (s setting) client(b *testing.B) {
	b.Helper()
	if s == together {
		return
	}
	if runtime.NumCPU() < 2 {
		b.Skip("one core alone")
	}
	before := runtime.GOMAXPROCS(1)
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(err)
	}
	pin(b, os.Getpid(), 1)
	b.Cleanup(func() {
		runtime.GOMAXPROCS(before)
		assign(b, os.Getpid(), &all)
	})
}

// store starts a server on its own core, if it is to have one.
func (s setting) store(b *testing.B, start func() int) {
	b.Helper()
	if s == together {
		start()
		return
	}
	b.Setenv("GOMAXPROCS", "1")
	pin(b, start(), 0)
	if err := os.Unsetenv("GOMAXPROCS"); err != nil {
		b.Fatal(err)
	}
}

// pin keeps all threads of a process, and those that they will start, on one core.
func pin(b *testing.B, pid, core int) {
	b.Helper()
	var one unix.CPUSet
	one.Set(core)
	assign(b, pid, &one)
}

// assign gives all threads of a process these cores. It goes on until no thread is new: one that
// was not seen may have been started by one that had other cores.
func assign(b *testing.B, pid int, cores *unix.CPUSet) {
	b.Helper()
	seen := map[string]bool{}
	for fresh := true; fresh; {
		fresh = false
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			b.Fatal(err)
		}
		for _, task := range tasks {
			if seen[task] {
				continue
			}
			seen[task], fresh = true, true
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				b.Fatal(err)
			}
			if err := unix.SchedSetaffinity(tid, cores); err != nil && !errors.Is(err, unix.ESRCH) {
				b.Fatal(err)
			}
		}
	}
}

// cpuOf is the processor time that a process has used, in seconds (proc_pid_stat(5), in ticks of 10 ms).
func cpuOf(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return (user + system) / 100
}
