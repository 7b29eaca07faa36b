package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"unistore/gateway"
)

// Set by the linker.
var (
	version = "dev"
	commit  = ""
)

// buildInfo is what `unistore version` tells.
type buildInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	RocksDB string `json:"rocksdb"`
	Go      string `json:"go"`
}

func newBuildInfo() buildInfo {
	b := buildInfo{Version: version, Commit: commit, RocksDB: gateway.EngineVersion(), Go: runtime.Version()}
	if b.Commit == "" {
		b.Commit = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					b.Commit = s.Value
				}
			}
		}
	}
	return b
}

func newVersion(p process) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of UniStore and RocksDB",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := newBuildInfo()
			if asJSON(cmd) {
				return fail(json.NewEncoder(p.out).Encode(b))
			}
			_, err := fmt.Fprintf(p.out, "unistore %s\ncommit   %s\nRocksDB  %s\nGo       %s\n", b.Version, b.Commit, b.RocksDB, b.Go)
			return fail(err)
		},
	}
}
