package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// LoadOptions say where a configuration comes from. The zero value is the embedded default.
type LoadOptions struct {
	File    string            // the YAML file; empty: none, the embedded default
	Environ []string          // as os.Environ gives it
	Flags   map[string]string // dotted path -> value; they win over Environ, and that over File
	// DefaultDir is where what has no place of its own lives; empty is DefaultDataDir.
	DefaultDir string
	// EnableFaults allows faults in the file.
	EnableFaults bool
	// KeepCredentials reads generated credentials but never makes any: there may be none then.
	KeepCredentials bool
}

// DefaultDataDir is the data directory of the embedded default.
const DefaultDataDir = "unistore-data"

// embedded is the Source of a configuration without a file.
const embedded = "embedded default"

// maxFile is the most bytes that a configuration or a secret's file may have.
const maxFile = 1 << 20

// routeTTL is the freshness of a route that names none.
const routeTTL = time.Minute

// Load reads the configuration. Its error is an Errors with everything that is wrong, or that of
// the file system.
func Load(opts LoadOptions) (*Config, error) {
	if opts.DefaultDir == "" {
		opts.DefaultDir = DefaultDataDir
	}
	d := &decoder{
		source: embedded, lookup: lookupIn(opts.Environ), origins: map[*yaml.Node]string{},
		places: map[string]*yaml.Node{}, expanded: map[string]bool{},
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	if opts.File != "" {
		d.source = opts.File
		text, err := readFile(opts.File)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		if root = d.parse(text); root == nil {
			return nil, d.errs
		}
	}
	r := &raw{Config: defaults(opts.DefaultDir)}
	r.Source, r.EnableFaults = d.source, opts.EnableFaults
	d.override(root, opts)
	d.mapping(root, "", r.fields())
	d.decoded = len(d.errs)
	d.unknownVariables(opts.Environ)
	r.finish(d, opts)
	if len(d.errs) > 0 {
		return nil, d.errs.sorted()
	}
	if err := r.generateCredentials(d, opts); err != nil {
		return nil, err
	}
	r.Warnings = d.warnings
	return r.Config, nil
}

// defaults is a Config without upstreams and routes.
func defaults(dir string) *Config {
	return &Config{
		Listen:      []string{"127.0.0.1:9000"},
		Region:      "us-east-1",
		BaseDomains: []string{"s3.localhost"},
		Admin:       Admin{Listen: "127.0.0.1:9001"},
		Log:         Log{Level: "info"},
		Limits:      Limits{RequestBodyIdle: time.Minute},
		Cache: Cache{
			Dir: filepath.Join(dir, "cache"), Size: 10 << 30, BlockSize: 1 << 20, Policy: "lru",
			HighWatermark: 0.95, LowWatermark: 0.90, PinLimit: 0.80, ReserveFree: 5 << 30, Scrub: 50 << 20,
		},
		Prefetch:  Prefetch{Enabled: true, Memory: 256 << 20, MaxInflight: 64, MaxWindow: 128 << 20},
		Uploads:   Uploads{MaxAge: 7 * 24 * time.Hour},
		Upstreams: map[string]Upstream{},
	}
}

func upstreamDefaults() Upstream {
	return Upstream{Timeout: 30 * time.Second, MaxConnections: 256, Retries: 2}
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	// The errors of yaml's parser, whose lines it counts from 0; those of its scanner count from 1.
	yamlParser = regexp.MustCompile(`^did not find expected (<document start>|node content|'-' indicator|key|',' or)`)
)

// parse returns the file's mapping, or nil after an error.
func (d *decoder) parse(text []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.MappingNode}
	case err == nil:
		if err = dec.Decode(&more); errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			d.errs = Errors{{Source: d.source, Line: more.Line, What: "a second YAML document; only one is allowed"}}
			return nil
		}
		fallthrough
	default:
		d.errs = Errors{d.syntaxError(err)}
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode}
	}
	if !d.isKind(root, "", yaml.MappingNode) {
		return nil
	}
	return root
}

func (d *decoder) syntaxError(err error) *Error {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return &Error{Source: d.source, Line: 1, What: "not YAML: " + clip(err.Error())}
	}
	line, _ := strconv.Atoi(m[1]) // none is the first line
	if yamlParser.MatchString(m[2]) {
		line++
	}
	return &Error{Source: d.source, Line: max(line, 1), What: "not YAML: " + clip(m[2])}
}

// readFile returns the contents of a small file.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	return text, err
}

func lookupIn(environ []string) func(string) (string, bool) {
	all := make(map[string]string, len(environ))
	for _, kv := range slices.Backward(environ) { // the first of two wins, as in getenv
		if k, v, ok := strings.Cut(kv, "="); ok {
			all[k] = v
		}
	}
	return func(k string) (string, bool) { v, ok := all[k]; return v, ok }
}
