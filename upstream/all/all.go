// Package all knows every driver, and makes the Backend that a configuration asks for.
package all

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/cos"
	"unistore/upstream/hdfs"
	"unistore/upstream/local"
	"unistore/upstream/mem"
	"unistore/upstream/obs"
	"unistore/upstream/oss"
	"unistore/upstream/s3"
)

// The types of upstreams.
const (
	typeS3    = "s3"
	typeOBS   = "obs"
	typeCOS   = "cos"
	typeOSS   = "oss"
	typeLocal = "local"
	typeHDFS  = "hdfs"
	typeMem   = "mem" // for tests: it forgets everything at Close
)

// Types returns the types that New knows, sorted.
func Types() []string {
	types := []string{typeHDFS, typeS3, typeOSS, typeOBS, typeCOS, typeLocal, typeMem}
	slices.Sort(types)
	return types
}

// New makes the Backend of the upstream called name. It does not ask the store for anything, so a store
// that cannot be reached is no error here. The caller closes the Backend.
func New(ctx context.Context, name string, cfg config.Upstream, log zerolog.Logger) (upstream.Backend, error) {
	b, err := open(ctx, name, cfg, log)
	if err != nil {
		return nil, fmt.Errorf("upstream %s: %w", name, err)
	}
	return b, nil
}

func open(ctx context.Context, name string, cfg config.Upstream, log zerolog.Logger) (upstream.Backend, error) {
	log = log.With().Str("upstream", name).Logger()
	switch cfg.Type {
	case typeS3:
		return made(s3.New(ctx, s3.Config{
			Name:           name,
			Region:         cfg.Region,
			Endpoint:       cfg.Endpoint,
			PathStyle:      cfg.PathStyle,
			AccessKey:      cfg.AccessKey,
			SecretKey:      cfg.SecretKey,
			CAFile:         cfg.CAFile,
			Timeout:        cfg.Timeout,
			MaxConnections: cfg.MaxConnections,
			Log:            log,
		}))
	case typeOSS:
		return made(oss.New(oss.Config{
			Name:           name,
			Region:         cfg.Region,
			Endpoint:       cfg.Endpoint,
			PathStyle:      cfg.PathStyle,
			AccessKey:      cfg.AccessKey,
			SecretKey:      cfg.SecretKey,
			CAFile:         cfg.CAFile,
			Timeout:        cfg.Timeout,
			MaxConnections: cfg.MaxConnections,
			Log:            log,
		}))
	case typeLocal:
		return made(local.New(local.Config{Root: cfg.Root, MinPart: cfg.MinPart, Log: log}))
	case typeHDFS:
		return made(hdfs.New(hdfs.Config{
			NameNodes: cfg.NameNodes, User: cfg.User, Root: cfg.Root, Hostnames: cfg.DataNodeHostnames, Timeout: cfg.Timeout,
			NoSync: cfg.NoSync, Log: log,
		}))
	case typeOBS:
		return made(obs.New(obs.Config{
			Name: name, Endpoint: cfg.Endpoint, Region: cfg.Region, AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey,
			CAFile: cfg.CAFile, Timeout: cfg.Timeout, MaxConnections: cfg.MaxConnections, Log: log,
		}))
	case typeCOS:
		return made(cos.New(cos.Config{
			Name: name, Endpoint: cfg.Endpoint, Region: cfg.Region, AppID: cfg.AppID, AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey,
			CAFile: cfg.CAFile, Timeout: cfg.Timeout, MaxConnections: cfg.MaxConnections, Log: log,
		}))
	case typeMem:
		return mem.New(mem.Config{}), nil
	default:
		return nil, fmt.Errorf("unknown type %q (known: %s)", cfg.Type, strings.Join(Types(), ", "))
	}
}

// made is a driver as a Backend, nil with every error: the driver's nil pointer would not be nil in the interface.
func made[B upstream.Backend](b B, err error) (upstream.Backend, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}
