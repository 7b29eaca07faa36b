package gateway

import (
	"strings"
	"sync/atomic"
	"time"

	"unistore/config"
	"unistore/prefetch"
	"unistore/s3api"
)

// identity is what a caller may do.
type identity struct {
	accessKey string
	buckets   []string // globs
	readOnly  bool
	query     string // of temporary credentials: the query that they were made for; else empty
	operator  bool   // the caller of the admin listener; nobody on the S3 listener is
}

func (w identity) mayUse(bucket string) bool { return matchAny(w.buckets, bucket) }

// keyring is the set of credentials; it implements s3api.Credentials. Reload swaps it whole.
type keyring struct {
	keys atomic.Pointer[map[string]config.Credential]
	// queries has the temporary key pairs of registered queries. It is set before requests come; nil: there are none.
	queries *prefetch.Registry
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
		m, _, until, found := k.minted(accessKey)
		return s3api.Credential{AccessKey: accessKey, SecretKey: m.SecretKey, SessionToken: m.Token, Expires: until}, found
	}
	return s3api.Credential{AccessKey: c.AccessKey, SecretKey: c.SecretKey.Reveal()}, true
}

// identify returns what an authenticated caller may do. An anonymous one, where they are accepted at
// all, may do everything that S3 has: that is only possible on loopback and Unix sockets. ErrInvalidAccessKeyId: the key
// is gone since it was verified.
func (k *keyring) identify(a *s3api.Auth) (identity, error) {
	if a.Anonymous {
		return identity{buckets: []string{"*"}}, nil
	}
	c, ok := (*k.keys.Load())[a.AccessKey]
	if !ok {
		_, who, _, ok := k.minted(a.AccessKey)
		if !ok {
			return identity{}, &s3api.Error{Code: s3api.ErrInvalidAccessKeyId}
		}
		return who, nil
	}
	return identity{accessKey: c.AccessKey, buckets: c.Buckets, readOnly: c.ReadOnly}, nil
}

// minted returns the temporary key pair of a query, whose rights are those of the access key that registered it: none, when
// that is gone. One that the operator has made may read everything.
func (k *keyring) minted(accessKey string) (m prefetch.Minted, who identity, until time.Time, ok bool) {
	m, name, until, ok := k.queries.Lookup(accessKey)
	if !ok {
		return m, identity{}, until, false
	}
	owner, id, _ := strings.Cut(name, " ")
	if owner == operator.accessKey {
		return m, identity{buckets: operator.buckets, readOnly: true, query: id}, until, true
	}
	c, ok := (*k.keys.Load())[owner]
	if !ok {
		return prefetch.Minted{}, identity{}, until, false
	}
	return m, identity{accessKey: c.AccessKey, buckets: c.Buckets, readOnly: c.ReadOnly, query: id}, until, true
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
