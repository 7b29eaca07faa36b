package s3api

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"strings"
	"sync"
)

// signingKey is the key of one access key, day and region. It is safe for concurrent use.
type signingKey struct {
	secret string // that it was derived from
	macs   sync.Pool
}

// deriveKey makes the signing key of a scope: four chained HMACs, so it is worth keeping.
func deriveKey(secret, date, region string) *signingKey {
	k := []byte("AWS4" + secret)
	for _, step := range []string{date, region, sigService, sigTerminal} {
		h := hmac.New(sha256.New, k)
		_, _ = h.Write([]byte(step)) // a hash.Hash never fails
		k = h.Sum(nil)
	}
	key := &signingKey{secret: secret}
	key.macs.New = func() any { return hmac.New(sha256.New, k) }
	return key
}

// sign appends the raw signature of message to dst.
func (k *signingKey) sign(dst, message []byte) []byte {
	h := k.macs.Get().(hash.Hash)
	h.Reset()
	_, _ = h.Write(message)
	dst = h.Sum(dst)
	k.macs.Put(h)
	return dst
}

// maxKeys bounds the key cache. One entry is well under 1 KiB, and a client uses one a day.
const maxKeys = 4096

type keyID struct {
	accessKey, date, region string
}

// keyCache keeps signing keys. The zero value is empty and ready.
type keyCache struct {
	mu struct {
		sync.RWMutex
		keys map[keyID]*signingKey
	}
}

// get returns the signing key of the claim under secret, derived if it is not known.
func (kc *keyCache) get(c *claim, secret string) (key *signingKey, known bool) {
	kc.mu.RLock()
	key = kc.mu.keys[keyID{c.accessKey, c.date, c.region}]
	kc.mu.RUnlock()
	if key != nil && key.secret == secret { // else the secret has changed since
		return key, true
	}
	return deriveKey(secret, c.date, c.region), false
}

// put keeps a key whose signature held.
func (kc *keyCache) put(c *claim, key *signingKey) {
	// The strings may be parts of a whole header section.
	id := keyID{strings.Clone(c.accessKey), strings.Clone(c.date), strings.Clone(c.region)}
	kc.mu.Lock()
	defer kc.mu.Unlock()
	if kc.mu.keys == nil {
		kc.mu.keys = make(map[keyID]*signingKey)
	}
	for old := range kc.mu.keys { // any one: those of past days die out this way
		if len(kc.mu.keys) < maxKeys {
			break
		}
		delete(kc.mu.keys, old)
	}
	kc.mu.keys[id] = key
}
