package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// planted is a secret that must not come out again.
const planted = "pl4nted-s3cret"

const goodUpstream = "upstreams: {d: {type: local, root: /d}}\n"

func TestErrors(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // all of the lines of the error
	}{
		{"unknown key", "region: eu\nlissen: []\n", []string{`f.yaml:2: lissen: unknown key (did you mean "listen"?)`}},
		{"unknown key below", "cache:\n  size: 1GiB\n  blocksize: 1MiB\n", []string{`f.yaml:3: cache.blocksize: unknown key (did you mean "block_size"?)`}},
		{"unknown key, nothing near", "tls: {zzzzzz: 1}\n", []string{`f.yaml:1: tls.zzzzzz: unknown key; allowed are cert, key, client_ca`}},
		{"duplicate key", "region: eu\nlog: {}\nregion: us\n", []string{`f.yaml:3: region: duplicate key; it is already on line 1`}},
		{"duplicate route", goodUpstream + "buckets:\n  abc: {upstream: d}\n  abc: {upstream: d}\n", []string{`f.yaml:4: buckets.abc: duplicate key; it is already on line 3`}},
		{"not YAML", "listen: [a\nregion: x: y\n", []string{`f.yaml:2: not YAML: did not find expected ',' or ']'`}},
		{"flow", "region: eu\ntls: {cert: a\nregion: x\n", []string{`f.yaml:2: not YAML: did not find expected ',' or '}'`}},
		{"scanner", "region: eu\nregion: b: c\n", []string{`f.yaml:2: not YAML: mapping values are not allowed in this context`}},
		{"tab", "cache:\n\tsize: 1GiB\n", []string{`f.yaml:2: not YAML: found character that cannot start any token`}},
		{"two documents", "region: eu\n---\nregion: us\n", []string{`f.yaml:2: a second YAML document; only one is allowed`}},
		{"a list", "- region\n", []string{`f.yaml:1: must be a mapping (key: value), not a list`}},
		{"a scalar", "region\n", []string{`f.yaml:1: must be a mapping (key: value), not a single value`}},
		{"alias", "region: &r eu\ncache: {dir: *r}\n", []string{`f.yaml:2: cache.dir: anchors and aliases are not supported; write the value out`}},
		{"merge", "cache: {<<: {dir: x}}\n", []string{`f.yaml:1: cache: a key must be plain text; anchors, merges and nested keys are not supported`}},
		{"wrong type: list", "listen: 127.0.0.1:9000\n", []string{`f.yaml:1: listen: must be a list, not a single value`}},
		{"wrong type: scalar", "region: [a]\n", []string{`f.yaml:1: region: must be a single value, not a list`}},
		{"wrong type: mapping", "cache: 1GiB\n", []string{`f.yaml:1: cache: must be a mapping (key: value), not a single value`}},
		{"no value", "region:\n", []string{`f.yaml:1: region: has no value; give it one, or remove the line for the default`}},
		{"bool", "anonymous: yes\n", []string{`f.yaml:1: anonymous: "yes" is neither true nor false`}},
		{"int", "limits: {connections: many}\n", []string{`f.yaml:1: limits.connections: "many" is not a whole number; allowed is 0 to 10000000`}},
		{"int range", "limits: {connections: -1}\n", []string{`f.yaml:1: limits.connections: "-1" is out of range; allowed is 0 to 10000000`}},
		{"fraction", "cache: {pin_limit: 80%}\n", []string{`f.yaml:1: cache.pin_limit: "80%" is not a number; allowed is 0 to 1`}},
		{"fraction range", "cache: {pin_limit: 1.5}\n", []string{`f.yaml:1: cache.pin_limit: "1.5" is out of range; allowed is 0 to 1`}},
		{"size unit", "cache:\n  size: 10gb\n", []string{`f.yaml:2: cache.size: "10gb" has an unknown unit "gb"; allowed are B, KiB, MiB, GiB, TiB, PiB, KB, MB, GB, TB, PB`}},
		{"size", "cache: {size: lots}\n", []string{`f.yaml:1: cache.size: "lots" is not a size; write a number and a unit, such as 10GiB (B, KiB, MiB, GiB, TiB, PiB, KB, MB, GB, TB, PB)`}},
		{"rate", "cache: {scrub: 50MiB}\n", []string{`f.yaml:1: cache.scrub: "50MiB" is not a rate; write a size a second, such as 50MiB/s`}},
		{"duration", "limits: {request_body_idle: 60}\n", []string{`f.yaml:1: limits.request_body_idle: "60" is not a duration; write a number and a unit, such as 60s (ns, us, ms, s, m, h)`}},
		{"upload age", "uploads: {max_age: 0s}\n", []string{`f.yaml:1: uploads.max_age: "0s" is out of range; allowed is 1s to 87600h0m0s`}},
		{"uploads key", "uploads: {maxage: 1h}\n", []string{`f.yaml:1: uploads.maxage: unknown key (did you mean "max_age"?)`}},
		{"duration range", "limits: {request_body_idle: 1ms}\n", []string{`f.yaml:1: limits.request_body_idle: "1ms" is out of range; allowed is 1s to 1h0m0s`}},
		{"log level", "log: {level: warning}\n", []string{`f.yaml:1: log.level: "warning" is unknown; allowed: trace, debug, info, warn, error`}},
		{"variable", "region: ${NOT_SET}\n", []string{`f.yaml:1: region: the environment variable NOT_SET is not set`}},
		{"empty variable", "region: x${EMPTY}\n", []string{`f.yaml:1: region: the environment variable EMPTY is empty`}},
		{"bad variable", "region: ${A-B}\n", []string{"f.yaml:1: region: has a ${ that is not followed by a variable's name and }; write $${ for a literal ${"}},

		{"listen empty", "listen: []\n", []string{`f.yaml:1: listen: is empty; name at least one host:port or unix:PATH`}},
		{"listen", "listen: [9000, 'a:b', 'unix:', ':99999']\n", []string{
			`f.yaml:1: listen: "9000" is no address; allowed are host:port and unix:PATH`,
			`f.yaml:1: listen: "a:b" has no valid port; allowed is 0 to 65535`,
			`f.yaml:1: listen: "unix:" is no Unix socket; write unix: and a path of at most 107 bytes`,
			`f.yaml:1: listen: ":99999" has no valid port; allowed is 0 to 65535`,
		}},
		{"listen twice", "listen: ['localhost:1', 'localhost:1']\n", []string{`f.yaml:1: listen: the same address is there twice`}},
		{"public and anonymous", "listen: ['127.0.0.1:1', ':9000']\nanonymous: true\n", []string{`f.yaml:2: anonymous: true is allowed only with every listener on loopback or unix`}},
		{"admin in public", "\nadmin: {listen: '10.0.0.1:9001'}\n", []string{`f.yaml:2: admin.listen: off loopback the admin listener needs an admin.token`}},
		{"admin token empty", "admin: {token: ''}\n", []string{`f.yaml:1: admin.token: is empty; give it a value, or remove the line`}},
		{"admin address", "admin: {listen: ''}\n", []string{`f.yaml:1: admin.listen: "" is no address; allowed are host:port and unix:PATH`}},
		{"admin on S3", "admin: {listen: '127.0.0.1:9000'}\n", []string{`f.yaml:1: admin.listen: the address of the S3 listener and of the admin listener is the same`}},
		{"tls half", "tls:\n  cert: c.pem\n", []string{`f.yaml:2: tls.cert: tls.cert and tls.key go together; one is missing`}},
		{"tls not there", "tls: {cert: c.pem, key: k.pem}\n", []string{`f.yaml:1: tls.cert: the key pair can not be used: no such file or directory`}},
		{"tls client only", "tls: {client_ca: c.pem}\n", []string{`f.yaml:1: tls.client_ca: needs tls.cert and tls.key`}},
		{"region", "region: US East\n", []string{`f.yaml:1: region: "US East" is no region; lower-case letters, digits and '-' are allowed`}},
		{"region empty", "region: ''\n", []string{`f.yaml:1: region: is empty; us-east-1 is the default`}},
		{"domain", "base_domains: ['s3.x:9000']\n", []string{`f.yaml:1: base_domains: "s3.x:9000" is no domain; write a lower-case name without port`}},

		{"no secret", "credentials:\n  - access_key: AKX\n", []string{`f.yaml:2: credentials[0].secret_key: secret_key or secret_key_file is missing`}},
		{"no access key", "credentials:\n  - secret_key: " + planted + "\n", []string{`f.yaml:2: credentials[0].access_key: access_key is missing`}},
		{"bad access key", "credentials:\n  - {access_key: a/b, secret_key: " + planted + "}\n", []string{`f.yaml:2: credentials[0].access_key: must be 3 to 128 letters, digits, '_', '-' or '.'`}},
		{"access key twice", "credentials:\n  - {access_key: abc, secret_key: " + planted + "}\n  - {access_key: abc, secret_key: " + planted + "}\n", []string{`f.yaml:3: credentials[1].access_key: the same access_key is there twice`}},
		{"short secret", "credentials:\n  - {access_key: abc, secret_key: pl4nted}\n", []string{`f.yaml:2: credentials[0].secret_key: the secret must be 8 to 256 printable ASCII characters without spaces`}},
		{"secret of a wrong kind", "credentials:\n  - {access_key: abc, secret_key: [" + planted + "]}\n", []string{`f.yaml:2: credentials[0].secret_key: must be a single value, not a list`}},
		{"secret file not there", "credentials:\n  - access_key: abc\n    secret_key_file: s.txt\n", []string{`f.yaml:3: credentials[0].secret_key_file: can not be read: no such file or directory`}},
		{"secret file empty", "credentials:\n  - access_key: abc\n    secret_key_file: /dev/null\n", []string{`f.yaml:3: credentials[0].secret_key_file: the file is empty`}},
		{"secret twice", "credentials:\n  - {access_key: abc, secret_key: " + planted + ", secret_key_file: x}\n", []string{`f.yaml:2: credentials[0].secret_key_file: secret_key and secret_key_file exclude each other`}},
		{"credential globs", "credentials:\n  - {access_key: abc, secret_key: " + planted + ", buckets: ['[a']}\n  - {access_key: abd, secret_key: " + planted + ", buckets: []}\n", []string{
			`f.yaml:2: credentials[0].buckets: "[a" is no glob; allowed are *, ?, [a-z] and plain names`,
			`f.yaml:3: credentials[1].buckets: is empty; list the buckets (globs), or remove it for all`,
		}},

		{"block size", "cache: {block_size: 100KiB}\n", []string{`f.yaml:1: cache.block_size: must be a power of two from 64KiB to 16MiB`}},
		{"block size small", "cache: {block_size: 32KiB}\n", []string{`f.yaml:1: cache.block_size: must be a power of two from 64KiB to 16MiB`}},
		{"block size large", "cache: {block_size: 32MiB}\n", []string{`f.yaml:1: cache.block_size: must be a power of two from 64KiB to 16MiB`}},
		{"cache size", "cache: {size: 15MiB}\n", []string{`f.yaml:1: cache.size: the cache must have room for 16 blocks: 16777216 bytes or more`}},
		{"cache dir", "cache: {dir: ''}\n", []string{`f.yaml:1: cache.dir: is empty; name a directory`}},
		{"policy", "cache: {policy: arc}\n", []string{`f.yaml:1: cache.policy: "arc" is unknown; allowed: lru, s3fifo, tinylfu`}},
		{"watermarks", "cache:\n  low_watermark: 0.96\n", []string{`f.yaml:2: cache.low_watermark: the watermarks are out of order: 0 < low_watermark (0.96) < high_watermark (0.95) <= 1 is needed`}},
		{"high watermark alone", "cache:\n  high_watermark: 0.5\n  pin_limit: 0.4\n", []string{`f.yaml:2: cache.high_watermark: the watermarks are out of order: 0 < low_watermark (0.9) < high_watermark (0.5) <= 1 is needed`}},
		{"pin limit", "cache: {pin_limit: 0.96}\n", []string{`f.yaml:1: cache.pin_limit: pin_limit (0.96) must not be above high_watermark (0.95)`}},
		{"window", "prefetch: {max_window: 1GiB}\n", []string{`f.yaml:1: prefetch.max_window: prefetch.max_window (1073741824 bytes) must not be above prefetch.memory (268435456 bytes)`}},

		{"upstreams empty", "upstreams: {}\n", []string{
			`f.yaml:1: upstreams: is empty; name at least one upstream, or remove the key for the default`,
		}},
		{"type missing", "upstreams:\n  d: {root: /d}\n", []string{`f.yaml:2: upstreams.d.type: type is missing; allowed are cos, hdfs, local, obs, oss, s3`}},
		{"type unknown", "upstreams:\n  d: {type: locale}\n", []string{`f.yaml:2: upstreams.d.type: "locale" is unknown (did you mean "local"?); allowed are cos, hdfs, local, obs, oss, s3`}},
		{"min_part zero", "upstreams:\n  d: {type: local, root: /d, min_part: 0}\n", []string{`f.yaml:2: upstreams.d.min_part: "0" must be at least 1`}},
		{"type mem", "upstreams:\n  d: {type: mem}\n", []string{`f.yaml:2: upstreams.d.type: "mem" is unknown; allowed are cos, hdfs, local, obs, oss, s3`}},
		{"obs and cos bare", "upstreams:\n  b: {type: obs}\n  c: {type: cos}\nbuckets: {'*': {upstream: b}}\n", []string{
			`f.yaml:2: upstreams.b.access_key: access_key and secret_key (or secret_key_file) are needed`,
			`f.yaml:2: upstreams.b.endpoint: endpoint is missing, such as https://obs.cn-north-4.myhuaweicloud.com`,
			`f.yaml:3: upstreams.c.access_key: access_key and secret_key (or secret_key_file) are needed`,
			`f.yaml:3: upstreams.c.region: region is missing, such as ap-guangzhou (or an endpoint)`,
		}},
		{"obs and cos by address", "upstreams:\n  b: {type: obs, access_key: a, secret_key: " + planted + ",\n    endpoint: 'http://127.0.0.1:1'}\n" +
			"  c: {type: cos, access_key: a, secret_key: " + planted + ",\n    app_id: x1,\n    endpoint: 'http://[::1]:1'}\nbuckets: {'*': {upstream: b}}\n", []string{
			`f.yaml:3: upstreams.b.endpoint: must be a host name: buckets are addressed as BUCKET.HOST`,
			`f.yaml:5: upstreams.c.app_id: must be the digits that end the names of the account's buckets`,
			`f.yaml:6: upstreams.c.endpoint: must be a host name: buckets are addressed as BUCKET.HOST`,
		}},
		{"app_id elsewhere", "upstreams:\n  d: {type: s3,\n    app_id: 1}\n", []string{`f.yaml:3: upstreams.d.app_id: is not a key of the type s3`}},
		{"upstream name", "upstreams: {D d: {type: local, root: /d}}\n", []string{`f.yaml:1: upstreams.D d: is no name for an upstream; allowed are 32 lower-case letters, digits, '-' and '_'`}},
		{"key of another type", "upstreams:\n  d: {type: local, root: /d,\n    endpoint: 'http://x'}\n", []string{`f.yaml:3: upstreams.d.endpoint: is not a key of the type local`}},
		{"no NameNodes", "upstreams:\n  d: {type: hdfs,\n    root: /u}\n", []string{`f.yaml:2: upstreams.d.namenodes: namenodes is missing: the addresses of the cluster's NameNodes`}},
		{"NameNode", "upstreams:\n  d: {type: hdfs, root: /u,\n    namenodes: [nn1]}\n", []string{`f.yaml:3: upstreams.d.namenodes: "nn1" must be HOST:PORT, such as nn1:8020`}},
		{"HDFS root missing", "upstreams:\n  d: {type: hdfs, namenodes: ['nn1:8020']}\n", []string{`f.yaml:2: upstreams.d.root: root is missing: the directory of the buckets`}},
		{"HDFS root", "upstreams:\n  d: {type: hdfs, namenodes: ['nn1:8020'],\n    root: a/../b}\n", []string{`f.yaml:3: upstreams.d.root: root must be an absolute path without '.', '..', ':' and needless slashes`}},
		{"HDFS principal", "upstreams:\n  d: {type: hdfs, namenodes: ['nn1:8020'], root: /u,\n    user: u@REALM}\n", []string{`f.yaml:3: upstreams.d.user: "u@REALM" is no user's name; Kerberos principals are not supported`}},
		{"root missing", "upstreams: {d: {type: local}}\n", []string{`f.yaml:1: upstreams.d.root: root is missing: the directory of the objects`}},
		{"endpoint", "upstreams: {d: {type: s3, endpoint: 'localhost:9000'}}\n", []string{`f.yaml:1: upstreams.d.endpoint: the value must be http://HOST[:PORT] or https://HOST[:PORT]`}},
		{"endpoint with password", "upstreams: {d: {type: s3, endpoint: 'http://u:" + planted + "@h'}}\n", []string{`f.yaml:1: upstreams.d.endpoint: the value must not hold a password; use access_key and secret_key`}},
		{"endpoint with path", "upstreams: {d: {type: s3, endpoint: 'http://h/b'}}\n", []string{`f.yaml:1: upstreams.d.endpoint: the value must be http://HOST[:PORT] or https://HOST[:PORT] without a path`}},
		{"half a key pair", "upstreams: {d: {type: s3, secret_key: " + planted + "}}\n", []string{`f.yaml:1: upstreams.d.secret_key: access_key and secret_key go together; leave both out for the default chain of the AWS SDK`}},
		{"ca file", "upstreams: {d: {type: s3, ca_file: f.yaml}}\n", []string{`f.yaml:1: upstreams.d.ca_file: the file has no certificate in it (PEM is expected)`}},
		{"retries", "upstreams: {d: {type: s3, retries: 3}}\n", []string{`f.yaml:1: upstreams.d.retries: "3" is out of range; allowed is 0 to 2`}},

		{"routes missing", "upstreams:\n  a: {type: s3}\n  b: {type: s3}\n", []string{`f.yaml: buckets: buckets is missing: with several upstreams, say which buckets live where`}},
		{"routes empty", goodUpstream + "buckets: {}\n", []string{`f.yaml:2: buckets: is empty; name at least one route, or remove the key for the default`}},
		{"unknown upstream", goodUpstream + "buckets:\n  '*':\n    upstream: e\n", []string{`f.yaml:4: buckets.*.upstream: there is no upstream "e" (did you mean "d"?); there are d`}},
		{"route without upstream", goodUpstream + "buckets:\n  '*': {}\n", []string{`f.yaml:3: buckets.*.upstream: upstream is missing; there are d`}},
		{"bad glob", goodUpstream + "buckets:\n  'a[': {upstream: d}\n", []string{`f.yaml:3: buckets.a[: is no glob; allowed are *, ?, [a-z] and plain names`}},
		{"bad bucket", goodUpstream + "buckets:\n  _unistore: {upstream: d}\n", []string{`f.yaml:3: buckets._unistore: is neither a bucket's name (3 to 255 letters, digits, '.', '-', '_') nor a glob`}},
		{"bad bucket there", goodUpstream + "buckets:\n  abc: {upstream: d, bucket: '../x'}\n", []string{`f.yaml:3: buckets.abc.bucket: "../x" is no bucket's name`}},
		{"mirror", goodUpstream + "buckets:\n  abc: {upstream: {mirror: [d, e]}}\n", []string{`f.yaml:3: buckets.abc.upstream.mirror: two upstreams on one route are not supported by this version; name one: "upstream: NAME"`}},
		{"failover", goodUpstream + "buckets:\n  abc:\n    upstream: {hedge: p95, failover: [d, e]}\n", []string{`f.yaml:4: buckets.abc.upstream.failover: two upstreams on one route are not supported by this version; name one: "upstream: NAME"`}},
		{"freshness", goodUpstream + "buckets:\n  abc: {upstream: d, freshness: forever}\n", []string{`f.yaml:3: buckets.abc.freshness: "forever" is neither immutable, revalidate nor a duration such as 60s`}},
		{"write unknown", goodUpstream + "buckets:\n  abc: {upstream: d, write: back}\n", []string{`f.yaml:3: buckets.abc.write: "back" is unknown; allowed: bypass, cache`}},

		{"faults off", "\nfaults: [{name: upstream.reset}]\n", []string{`f.yaml:2: faults: faults are injected only by serve --enable-faults`}},
		{"fault without name", "faults:\n  - {delay: 1s}\n", []string{`f.yaml:1: faults: faults are`, `f.yaml:2: faults[0]: name is missing`}},
		{"fault unknown", "faults:\n  - {name: x.y}\n", []string{`f.yaml:1: faults: faults are`, `f.yaml:2: faults[0]: `}},

		{"all at once", "region: [a]\ncache:\n  size: 1XB\n  polcy: lru\nupstreams:\n  d: {type: local}\nbuckets: {abc: {upstream: q}}\n", []string{
			`f.yaml:1: region: must be`, `f.yaml:3: cache.size: "1XB" has`, `f.yaml:4: cache.polcy: unknown key (did you mean "policy"?)`,
			`f.yaml:6: upstreams.d.root: root is missing`, `f.yaml:7: buckets.abc.upstream: there is no upstream "q"`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.text, LoadOptions{Environ: []string{"EMPTY="}})
			if err == nil {
				t.Fatal("no error")
			}
			if _, ok := errors.AsType[Errors](err); !ok {
				t.Errorf("error is a %T", err)
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(tt.want) {
				t.Fatalf("got %d errors, want %d:\n%v", len(got), len(tt.want), err)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("got  %s\nwant %s", got[i], tt.want[i])
				}
			}
			if strings.Contains(err.Error(), "pl4nted") {
				t.Errorf("a secret is in the error: %v", err)
			}
			if _, err := os.Stat(DefaultDataDir); err == nil {
				t.Error("a bad file still made a data directory")
			}
		})
	}
}

// A secret that is expanded, or written, where it does not belong.
func TestSecretsInWrongPlaces(t *testing.T) {
	const text = `
region: "A ${SECRET}"
listen: ["${SECRET}", "unix:${SECRET}"]
base_domains: ["_${SECRET}"]
tls: {cert: "${SECRET}", key: "${SECRET}", client_ca: "${SECRET}"}
admin: {listen: "${SECRET}"}
log: {level: "${SECRET}"}
anonymous: "${SECRET}"
credentials: [{access_key: "a ${SECRET}", secret_key: "a ${SECRET}", buckets: ["[${SECRET}"]}, {access_key: abc, secret_key_file: pl4nted-s3cret}]
cache: {size: "${SECRET}", policy: "${SECRET}", pin_limit: "${SECRET}", scrub: "${SECRET}"}
limits: {connections: "${SECRET}", request_body_idle: "${SECRET}"}
upstreams: {a: {type: "${SECRET}"}, b: {type: s3, region: "_${SECRET}", endpoint: "http://x/pl4nted-s3cret", ca_file: pl4nted-s3cret, retries: "${SECRET}"}}
buckets: {abc: {upstream: "${SECRET}", bucket: "/${SECRET}", freshness: "${SECRET}", write: "${SECRET}"}}
`
	_, err := load(t, text, LoadOptions{Environ: []string{"SECRET=" + planted}})
	errs, _ := errors.AsType[Errors](err)
	if len(errs) < 25 {
		t.Errorf("%d errors:\n%v", len(errs), err)
	}
	if strings.Contains(err.Error(), planted) {
		t.Errorf("the secret is in the error:\n%v", err)
	}
}

func TestNearest(t *testing.T) {
	for s, want := range map[string]string{"regoin": "region", "Listen": "listen", "lsiten": "listen", "xyz": "", "": ""} {
		if got := nearest(s, []string{"listen", "region", "log"}); got != want {
			t.Errorf("nearest(%q) = %q, want %q", s, got, want)
		}
	}
}
