package config

import (
	"maps"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// typeKeys are the keys of one type only; all others belong to every type.
var typeKeys = map[string][]string{
	"region": clouds, "endpoint": clouds, "path_style": {"s3", "oss"},
	"access_key": clouds, "secret_key": clouds, "secret_key_file": clouds, "ca_file": clouds, "app_id": {"cos"},
	"root": {"hdfs", "local"}, "namenodes": {"hdfs"}, "user": {"hdfs"}, "datanode_hostnames": {"hdfs"}, "no_sync": {"hdfs"}, "min_part": {"local"},
}

// clouds are the types that speak HTTP and sign with keys.
var clouds = []string{"s3", "oss", "obs", "cos"}

// defaultKeys say where the keys of a cloud come from when the file has none; clouds that are not here need them.
var defaultKeys = map[string]string{
	"s3":  "the default chain of the AWS SDK",
	"oss": "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET of the environment",
}

func (r *raw) finishUpstreams(d *decoder, dir string) {
	if !d.given("upstreams") {
		u := upstreamDefaults()
		u.Type, u.Root = "local", filepath.Join(dir, "objects")
		r.Upstreams["local"] = u
		return
	}
	if len(r.upstreams) == 0 {
		d.failKeys([]string{"upstreams"}, "is empty; name at least one upstream, or remove the key for the default")
	}
	for _, u := range r.upstreams {
		r.finishUpstream(d, u)
		r.Upstreams[u.name] = u.Upstream
	}
}

func (r *raw) finishUpstream(d *decoder, u *rawUpstream) {
	if u.Retries == 0 {
		u.Retries = -1
	}
	at := func(key string) []string { return []string{join(u.path, key), u.path} }
	if !nameForm.MatchString(u.name) {
		d.failKeys([]string{u.path}, "is no name for an upstream; allowed are 32 lower-case letters, digits, '-' and '_'")
	}
	if !slices.Contains(supportedTypes, u.Type) {
		d.failKeys(at("type"), "type is missing; allowed are %s", strings.Join(supportedTypes, ", "))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(typeKeys)) {
		if d.given(join(u.path, key)) && !slices.Contains(typeKeys[key], u.Type) {
			d.failKeys(at(key), "is not a key of the type %s", u.Type)
		}
	}
	switch u.Type {
	case "local":
		if u.Root == "" {
			d.failKeys(at("root"), "root is missing: the directory of the objects")
		}
	case "hdfs":
		u.finishHDFS(d, at)
	case "oss":
		if u.Region == "" && u.Endpoint == "" {
			d.failKeys(at("region"), "region is missing: it is part of the signature")
		}
		u.finishCloud(d)
	case "s3":
		u.finishCloud(d)
	case "obs":
		u.finishOBS(d, at)
	case "cos":
		u.finishCOS(d, at)
	}
}

func (u *rawUpstream) finishHDFS(d *decoder, at func(key string) []string) {
	if len(u.NameNodes) == 0 {
		d.failKeys(at("namenodes"), "namenodes is missing: the addresses of the cluster's NameNodes")
	}
	switch {
	case u.Root == "":
		d.failKeys(at("root"), "root is missing: the directory of the buckets")
	case !path.IsAbs(u.Root) || path.Clean(u.Root) != u.Root || strings.ContainsAny(u.Root, ":\x00"):
		d.failKeys(at("root"), "root must be an absolute path without '.', '..', ':' and needless slashes")
	}
}

func (u *rawUpstream) finishOBS(d *decoder, at func(key string) []string) {
	u.finishCloud(d)
	u.checkNamed(d)
	if u.Endpoint == "" {
		d.failKeys(at("endpoint"), "endpoint is missing, such as https://obs.cn-north-4.myhuaweicloud.com")
	}
}

func (u *rawUpstream) finishCOS(d *decoder, at func(key string) []string) {
	u.finishCloud(d)
	u.checkNamed(d)
	if u.Endpoint == "" && u.Region == "" {
		d.failKeys(at("region"), "region is missing, such as ap-guangzhou (or an endpoint)")
	}
	if strings.Trim(u.AppID, "0123456789") != "" {
		d.failKeys(at("app_id"), "must be the digits that end the names of the account's buckets")
	}
}

// finishCloud reads the key pair and the certificates of a store that speaks HTTP.
func (u *rawUpstream) finishCloud(d *decoder) {
	secret, ok := u.secret.read(d, u.path)
	if !ok {
		return
	}
	keys := []string{join(u.path, "access_key"), join(u.path, "secret_key"), join(u.path, "secret_key_file")}
	from, optional := defaultKeys[u.Type]
	switch {
	case !optional && (u.AccessKey == "" || secret == ""):
		d.failKeys(append(keys, u.path), "access_key and secret_key (or secret_key_file) are needed")
	case (u.AccessKey == "") != (secret == ""):
		d.failKeys(keys, "access_key and secret_key go together; leave both out for %s", from)
	}
	u.SecretKey = NewSecret(secret)
	if u.CAFile != "" {
		checkCA(d, join(u.path, "ca_file"), u.CAFile)
	}
}

// checkNamed refuses addresses where a bucket's name goes before the host's.
func (u *rawUpstream) checkNamed(d *decoder) {
	if e, err := url.Parse(u.Endpoint); err == nil && net.ParseIP(e.Hostname()) != nil {
		d.failKeys([]string{join(u.path, "endpoint")}, "must be a host name: buckets are addressed as BUCKET.HOST")
	}
}

func (r *raw) finishRoutes(d *decoder) {
	names := slices.Sorted(maps.Keys(r.Upstreams))
	if !d.given("buckets") {
		if len(names) == 0 {
			return // an error already
		}
		if len(names) == 1 {
			r.Buckets = []Route{{Name: "*", Upstream: names[0], Freshness: Freshness{TTL: routeTTL}, Write: "bypass"}}
		} else {
			d.failKeys([]string{"buckets"}, "buckets is missing: with several upstreams, say which buckets live where")
		}
		return
	}
	if len(r.routes) == 0 {
		d.failKeys([]string{"buckets"}, `is empty; name at least one route, or remove the key for the default`)
	}
	for _, t := range r.routes {
		t.finish(d, names)
		r.Buckets = append(r.Buckets, t.Route)
	}
}

func (t *rawRoute) finish(d *decoder, upstreams []string) {
	at := func(key string) []string { return []string{join(t.path, key), t.path} }
	if _, err := path.Match(t.Name, ""); err != nil {
		d.failKeys([]string{t.path}, "is no glob; allowed are *, ?, [a-z] and plain names")
	} else if t.Name == "" || !isGlob(t.Name) && !bucketForm.MatchString(t.Name) {
		d.failKeys([]string{t.path}, "is neither a bucket's name (3 to 255 letters, digits, '.', '-', '_') nor a glob")
	}
	switch {
	case t.Upstream == "":
		d.failKeys(at("upstream"), "upstream is missing; there are %s", strings.Join(upstreams, ", "))
	case !slices.Contains(upstreams, t.Upstream):
		d.failKeys(at("upstream"), "there is no upstream %q%s; there are %s",
			clip(t.written), didYouMean(t.Upstream, upstreams), strings.Join(upstreams, ", "))
	}
}

func isGlob(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// Find returns the route of a bucket: the one of exactly that name, else the first glob in
// the order of the file that matches.
func (c *Config) Find(bucket string) (Route, bool) {
	for _, r := range c.Buckets {
		if r.Name == bucket {
			return r, true
		}
	}
	for _, r := range c.Buckets {
		if ok, err := path.Match(r.Name, bucket); err == nil && ok && isGlob(r.Name) {
			return r, true
		}
	}
	return Route{}, false
}

// Glob reports whether the route's name is a pattern and not a bucket.
func (r Route) Glob() bool { return isGlob(r.Name) }
