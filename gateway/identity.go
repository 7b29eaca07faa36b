package gateway

import (
	"sync/atomic"

	"unistore/config"
	"unistore/s3api"
)

// identity is what a caller may do.
type identity struct {
	accessKey string
	buckets   []string // globs
	readOnly  bool
	query     string // of temporary credentials: the query that they were made for; else empty
}

func (w identity) mayUse(bucket string) bool { return matchAny(w.buckets, bucket) }

// keyring is the set of credentials; it implements s3api.Credentials. Reload swaps it whole.
type keyring struct {
	keys atomic.Pointer[map[string]config.Credential]
}

func newKeyring(creds []config.Credential) *keyring {
	k := &keyring{}
	k.replace(creds)
	return k
}

func (k *keyring) replace(creds []config.Credential) {
	m := make(map[string]config.Credential, len(creds))
	for _, c := range creds {
		m[c.AccessKey] = c
	}
	k.keys.Store(&m)
}

// Lookup implements s3api.Credentials.
func (k *keyring) Lookup(accessKey string) (s3api.Credential, bool) {
	c, ok := (*k.keys.Load())[accessKey]
	if !ok {
		return s3api.Credential{}, false
	}
	return s3api.Credential{AccessKey: c.AccessKey, SecretKey: c.SecretKey.Reveal()}, true
}

// identify returns what an authenticated caller may do. An anonymous one, where they are accepted at
// all, may do everything: that is only possible on loopback and Unix sockets.
func (k *keyring) identify(a *s3api.Auth) identity {
	if a.Anonymous {
		return identity{buckets: []string{"*"}}
	}
	c := (*k.keys.Load())[a.AccessKey]
	return identity{accessKey: c.AccessKey, buckets: c.Buckets, readOnly: c.ReadOnly}
}

// authorise refuses what the caller has no right to. Copy sources are checked where they are resolved.
func (w identity) authorise(op s3api.Operation) error {
	if op.Writes() && w.readOnly {
		return &s3api.Error{Code: s3api.ErrAccessDenied, Message: "This access key is read-only."}
	}
	bucket, _ := op.Target()
	if bucket != "" && !w.mayUse(bucket) {
		return &s3api.Error{Code: s3api.ErrAccessDenied}
	}
	return nil
}
