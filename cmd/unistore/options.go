package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"unistore/config"
)

// settings are the flags that stand for one key of the configuration.
var settings = []struct{ flag, path, help string }{
	{"listen", "listen", "S3 listeners: host:port or unix:PATH, separated by commas"},
	{"admin-listen", "admin.listen", "admin listener: host:port or unix:PATH"},
	{"region", "region", "region that clients sign for"},
	{"cache-dir", "cache.dir", "directory of the cache"},
	{"cache-size", "cache.size", "size of the cache, such as 900GiB"},
	{"log-level", "log.level", "trace, debug, info, warn or error"},
	{"log-format", "log.format", "json or console"},
}

// configFlags are the flags of commands that load the configuration.
type configFlags struct {
	file, dataDir string
	sets          []string
	values        map[string]*string
}

func addConfigFlags(cmd *cobra.Command, p process) *configFlags {
	f := &configFlags{values: map[string]*string{}}
	dir := p.getenv("UNISTORE_DATA_DIR")
	if dir == "" {
		dir = config.DefaultDataDir
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", p.getenv("UNISTORE_CONFIG"), "configuration file (YAML)")
	flags.StringVar(&f.dataDir, "data-dir", dir, "directory of what has no place of its own")
	flags.StringArrayVar(&f.sets, "set", nil, "set a key of the configuration: PATH=VALUE, such as upstreams.aws.region=eu-west-1")
	for _, s := range settings {
		f.values[s.flag] = flags.String(s.flag, "", s.help)
	}
	return f
}

// options are those for config.Load.
func (f *configFlags) options(cmd *cobra.Command, p process) (config.LoadOptions, error) {
	opts := config.LoadOptions{File: f.file, Environ: p.environ, DefaultDir: f.dataDir, Flags: map[string]string{}}
	put := func(path, value string) error {
		if _, ok := opts.Flags[path]; ok {
			return fmt.Errorf("%s is set twice by flags", path)
		}
		opts.Flags[path] = value
		return nil
	}
	for _, s := range settings {
		if cmd.Flags().Changed(s.flag) {
			if err := put(s.path, *f.values[s.flag]); err != nil {
				return opts, err
			}
		}
	}
	for _, set := range f.sets {
		path, value, ok := strings.Cut(set, "=")
		if !ok || path == "" {
			return opts, errors.New("--set: write PATH=VALUE")
		}
		if err := put(path, value); err != nil {
			return opts, err
		}
	}
	return opts, nil
}
