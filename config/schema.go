package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// rawRoute and rawUpstream are what the file says, before it is checked across keys.
type rawRoute struct {
	Route
	path    string
	written string // Upstream, before the expansion
}

type rawUpstream struct {
	Upstream
	name, path string
	secret     secretSource
}

type rawCredential struct {
	Credential
	path       string
	hasBuckets bool
	secret     secretSource
}

// secretSource is a secret given by value or by the name of a file.
type secretSource struct {
	value string
	file  string
}

// raw is a configuration on its way.
type raw struct {
	*Config
	upstreams   []*rawUpstream
	routes      []*rawRoute
	credentials []*rawCredential
}

// fields are the keys of the file: the schema.
func (r *raw) fields() []field {
	c := r.Config
	return []field{
		textList("listen", &c.Listen, checkAddress),
		checked("region", &c.Region, checkRegion),
		textList("base_domains", &c.BaseDomains, checkDomain),
		{name: "tls", keys: []field{
			text("cert", &c.TLS.Cert), text("key", &c.TLS.Key), text("client_ca", &c.TLS.ClientCA),
		}},
		{name: "admin", keys: []field{
			checked("listen", &c.Admin.Listen, checkAddress),
			{name: "token", secret: true, text: func(s string) error { c.Admin.Token = NewSecret(s); return nil }},
		}},
		{name: "credentials", items: r.credential},
		boolean("anonymous", &c.Anonymous),
		{name: "log", keys: []field{
			oneOf("level", &c.Log.Level, "trace", "debug", "info", "warn", "error"),
			oneOf("format", &c.Log.Format, "json", "console", ""),
		}},
		{name: "limits", keys: []field{
			integer("connections", &c.Limits.Connections, 0, 10_000_000),
			size("memory", &c.Limits.Memory),
			duration("request_body_idle", &c.Limits.RequestBodyIdle, time.Second, time.Hour),
		}},
		{name: "cache", keys: c.Cache.fields()},
		{name: "prefetch", keys: []field{
			boolean("enabled", &c.Prefetch.Enabled),
			size("memory", &c.Prefetch.Memory),
			integer("max_inflight", &c.Prefetch.MaxInflight, 1, 65536),
			size("max_window", &c.Prefetch.MaxWindow),
		}},
		{name: "uploads", keys: []field{
			duration("max_age", &c.Uploads.MaxAge, time.Second, 10*365*24*time.Hour),
		}},
		{name: "upstreams", named: r.upstream},
		{name: "buckets", named: r.route},
		{name: "faults", custom: r.faults},
	}
}

func (c *Cache) fields() []field {
	return []field{
		text("dir", &c.Dir),
		size("size", &c.Size),
		size("block_size", &c.BlockSize),
		oneOf("policy", &c.Policy, "lru", "s3fifo", "tinylfu"),
		fraction("high_watermark", &c.HighWatermark),
		fraction("low_watermark", &c.LowWatermark),
		fraction("pin_limit", &c.PinLimit),
		size("reserve_free", &c.ReserveFree),
		{name: "scrub", text: func(s string) (err error) { c.Scrub, err = ParseRate(s); return err }},
	}
}

func (r *raw) credential(e entry) []field {
	c := &rawCredential{path: e.path}
	r.credentials = append(r.credentials, c)
	return []field{
		text("access_key", &c.AccessKey),
		secret("secret_key", &c.secret.value),
		text("secret_key_file", &c.secret.file),
		{name: "buckets", item: checkGlob, list: func(v []string) error {
			if len(v) == 0 {
				return errors.New(`is empty; list the buckets (globs), or remove it for all`)
			}
			c.Buckets, c.hasBuckets = v, true
			return nil
		}},
		boolean("read_only", &c.ReadOnly),
	}
}

func (r *raw) upstream(e entry) []field {
	u := &rawUpstream{name: e.name, path: e.path, Upstream: upstreamDefaults()}
	r.upstreams = append(r.upstreams, u)
	return []field{
		checked("type", &u.Type, checkType),
		checked("region", &u.Region, checkRegion),
		{name: "endpoint", secret: true, text: func(s string) error { u.Endpoint = strings.TrimRight(s, "/"); return checkEndpoint(s) }},
		boolean("path_style", &u.PathStyle),
		text("access_key", &u.AccessKey),
		secret("secret_key", &u.secret.value),
		text("secret_key_file", &u.secret.file),
		text("app_id", &u.AppID), // cos
		text("root", &u.Root),
		{name: "min_part", text: func(s string) (err error) {
			if u.MinPart, err = ParseSize(s); err == nil && u.MinPart < 1 {
				err = errors.New("must be at least 1")
			}
			return err
		}},
		text("ca_file", &u.CAFile),
		duration("timeout", &u.Timeout, 100*time.Millisecond, time.Hour),
		integer("max_connections", &u.MaxConnections, 1, 65536),
		integer("retries", &u.Retries, 0, 2),
		textList("namenodes", &u.NameNodes, checkHostPort),
		checked("user", &u.User, checkUser),
		boolean("datanode_hostnames", &u.DataNodeHostnames),
		boolean("no_sync", &u.NoSync),
		boolean("opaque_etags", &u.OpaqueETags),
	}
}

func (r *raw) route(e entry) []field {
	t := &rawRoute{path: e.path, Route: Route{Name: e.name, Freshness: Freshness{TTL: routeTTL}, Write: "bypass"}}
	r.routes = append(r.routes, t)
	return []field{
		{name: "upstream", custom: t.upstream},
		checked("bucket", &t.Bucket, checkBucket),
		checked("prefix", &t.Prefix, checkPrefix),
		{name: "freshness", text: func(s string) (err error) { t.Freshness, err = ParseFreshness(s); return err }},
		oneOf("write", &t.Write, "bypass", "cache"),
	}
}

// upstream reads the name of one, or {mirror: [...]} or {failover: [...], hedge: p95}.
func (t *rawRoute) upstream(e entry) {
	if e.node.Kind != yaml.MappingNode {
		if s, ok := e.d.scalar(e.node, e.path); ok {
			t.Upstream, t.written = s, e.node.Value
		}
		return
	}
	several := func(name string) field {
		return field{name: name, custom: func(m entry) {
			m.d.list(m.node, m.path, &field{list: func([]string) error {
				return fmt.Errorf("two upstreams on one route are not supported by this version; name one: %q", "upstream: NAME")
			}})
		}}
	}
	before := len(e.d.errs)
	var hedge string
	e.d.mapping(e.node, e.path, []field{several("mirror"), several("failover"), text("hedge", &hedge)})
	if len(e.d.errs) == before {
		e.fail("must be the name of an upstream")
	}
}

// faults are lists of mappings from names to scalars, handed on verbatim.
func (r *raw) faults(e entry) {
	if !e.d.isKind(e.node, e.path, yaml.SequenceNode) {
		return
	}
	for i, item := range e.node.Content {
		at := entry{d: e.d, node: item, path: fmt.Sprintf("%s[%d]", e.path, i)}
		if !e.d.isKind(item, at.path, yaml.MappingNode) {
			continue
		}
		f := Fault{Params: map[string]string{}}
		ok := true
		e.d.pairs(item, at.path, func(key string, _, value *yaml.Node) {
			s, good := e.d.scalar(value, join(at.path, key))
			ok = ok && good
			if key == "name" {
				f.Name = s
			} else {
				f.Params[key] = s
			}
		})
		if ok {
			at.checkFault(f)
			r.Faults = append(r.Faults, f)
		}
	}
}

// ParseFreshness reads immutable, revalidate or a duration.
func ParseFreshness(s string) (Freshness, error) {
	switch s {
	case "immutable":
		return Freshness{Immutable: true}, nil
	case "revalidate":
		return Freshness{Revalidate: true}, nil
	}
	ttl, err := ParseDuration(s)
	if err != nil {
		return Freshness{}, errors.New("is neither immutable, revalidate nor a duration such as 60s")
	}
	return Freshness{TTL: ttl, Revalidate: ttl == 0}, nil
}

func text(name string, to *string) field {
	return field{name: name, text: func(s string) error { *to = s; return nil }}
}

func secret(name string, to *string) field {
	f := text(name, to)
	f.secret = true
	return f
}

func checked(name string, to *string, check func(string) error) field {
	return field{name: name, text: func(s string) error { *to = s; return check(s) }}
}

func textList(name string, to *[]string, check func(string) error) field {
	return field{name: name, item: check, list: func(v []string) error { *to = v; return nil }}
}

func boolean(name string, to *bool) field {
	return field{name: name, text: func(s string) (err error) { *to, err = parseBool(s); return err }}
}

func integer(name string, to *int, low, high int) field {
	return field{name: name, text: func(s string) (err error) { *to, err = parseInt(s, low, high); return err }}
}

func size(name string, to *int64) field {
	return field{name: name, text: func(s string) (err error) { *to, err = ParseSize(s); return err }}
}

func fraction(name string, to *float64) field {
	return field{name: name, text: func(s string) (err error) { *to, err = parseFraction(s); return err }}
}

func duration(name string, to *time.Duration, low, high time.Duration) field {
	return field{name: name, text: func(s string) (err error) {
		if *to, err = ParseDuration(s); err == nil && (*to < low || *to > high) {
			err = fmt.Errorf("is out of range; allowed is %v to %v", low, high)
		}
		return err
	}}
}

func oneOf(name string, to *string, allowed ...string) field {
	return field{name: name, text: func(s string) error {
		for _, a := range allowed {
			if s == a {
				*to = s
				return nil
			}
		}
		return fmt.Errorf("is unknown%s; allowed: %s", didYouMean(s, allowed), strings.Join(nonEmpty(allowed), ", "))
	}}
}

func nonEmpty(all []string) []string {
	var some []string
	for _, s := range all {
		if s != "" {
			some = append(some, s)
		}
	}
	return some
}
