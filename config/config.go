// Package config is the configuration of the gateway: the YAML file, the environment and the flags over it,
// and the embedded default. Load returns a Config that is complete and valid, or an error that
// names file, line and key.
package config

import "time"

// Config is a valid configuration. The shapes and names are those of the YAML.
type Config struct {
	Listen      []string // host:port or unix:PATH
	Region      string
	BaseDomains []string
	TLS         TLS
	Admin       Admin
	Credentials []Credential
	Anonymous   bool
	Log         Log
	Limits      Limits
	Cache       Cache
	Prefetch    Prefetch
	Uploads     Uploads
	Upstreams   map[string]Upstream
	// Buckets are the routes in file order; Find gives the one for a bucket.
	Buckets []Route
	Faults  []Fault

	// EnableFaults is the flag --enable-faults; faults in the file need it as well.
	EnableFaults bool

	// Source is the file that was read, or "embedded default".
	Source string
	// CredentialsFile is where the credentials were generated, when neither the file nor the
	// environment has any; otherwise empty.
	CredentialsFile string
	// Warnings are what the operator should hear but what is no error; no secrets in them.
	Warnings []string
}

// TLS is the server's key pair; both empty is plain HTTP.
type TLS struct {
	Cert, Key, ClientCA string
}

// Admin is the operator's listener.
type Admin struct {
	Listen string
	Token  Secret
}

// Credential is a key pair of a client.
type Credential struct {
	AccessKey string
	SecretKey Secret
	Buckets   []string // globs
	ReadOnly  bool
}

// Log says what is logged and how.
type Log struct {
	Level  string // trace, debug, info, warn, error
	Format string // json, console, or empty: console when stderr is a terminal
}

// Limits bound the process. 0 means: found from rlimits and the cgroup.
type Limits struct {
	Connections     int
	Memory          int64
	RequestBodyIdle time.Duration
}

// Cache is the block cache. Sizes in bytes.
type Cache struct {
	Dir           string
	Size          int64
	BlockSize     int64 // 64 KiB..16 MiB, power of two
	Policy        string
	HighWatermark float64
	LowWatermark  float64
	PinLimit      float64
	ReserveFree   int64
	Scrub         int64 // bytes a second
}

// Prefetch bounds speculation. Sizes in bytes.
type Prefetch struct {
	Enabled     bool
	Memory      int64
	MaxInflight int
	MaxWindow   int64
}

// Uploads bounds multipart uploads that nobody finishes.
type Uploads struct {
	MaxAge time.Duration // older ones are aborted; 0: 7 days
}

// Upstream is one store. Which fields matter depends on Type.
type Upstream struct {
	Type      string // s3, obs, cos, local, hdfs (mem: tests only, never from a file)
	Region    string
	Endpoint  string
	PathStyle bool
	AccessKey string
	SecretKey Secret
	AppID     string   // cos: what ends the names of buckets; empty: routes name it
	Root      string   // local, hdfs: the directory
	NameNodes []string // hdfs: host:port of each
	User      string   // hdfs: whom the cluster takes us for; empty: unistore
	// DataNodeHostnames: DataNodes are reached by name, not by address (hdfs).
	DataNodeHostnames bool
	// NoSync: a write is done when it is in the memory of all replicas, not on their disks (hdfs).
	NoSync         bool
	MinPart        int64 // local: bytes of a part that is not the last; 0 is S3's 5 MiB
	CAFile         string
	Timeout        time.Duration // to the first byte of an answer
	MaxConnections int
	OpaqueETags    bool // the store's ETags look like MD5 sums and are none
	Retries        int  // extra tries; negative is none, which the file writes as 0
}

// Route says where a bucket lives. Name may be a glob; an exact name wins over every glob.
type Route struct {
	Name      string
	Upstream  string
	Bucket    string // on the upstream; empty: the client's name
	Prefix    string // put before every key
	Freshness Freshness
	Write     string // bypass, cache
}

// Freshness is how long what is known of an object may be believed.
type Freshness struct {
	Immutable  bool
	Revalidate bool
	TTL        time.Duration // when neither of the above
}

// Fault is one injected fault, as the faults package reads it.
type Fault struct {
	Name   string
	Params map[string]string // upstream, delay, probability, ... verbatim
}

// Secret is a string that prints as "***"; Reveal gives it.
type Secret struct{ value string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal returns the secret itself, for the one place that needs it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.value == "" }

// String hides the secret from every %v.
func (s Secret) String() string { return "***" }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return "***" }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }
