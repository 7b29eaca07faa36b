package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// finish checks across keys and fills in what depends on several of them.
func (r *raw) finish(d *decoder, opts LoadOptions) {
	r.checkListeners(d)
	r.checkTLS(d)
	if r.Region == "" {
		d.failKeys([]string{"region"}, "is empty; us-east-1 is the default")
	}
	r.BaseDomains = slices.DeleteFunc(r.BaseDomains, func(s string) bool { return s == "" })
	r.checkCredentials(d)
	r.envCredential(d)
	r.checkCache(d)
	if r.Prefetch.MaxWindow > r.Prefetch.Memory {
		d.failKeys([]string{"prefetch.max_window", "prefetch.memory"}, "prefetch.max_window (%d bytes) must not be above prefetch.memory (%d bytes)",
			r.Prefetch.MaxWindow, r.Prefetch.Memory)
	}
	r.finishUpstreams(d, opts.DefaultDir)
	r.finishRoutes(d)
	if len(r.Faults) > 0 && !r.EnableFaults {
		d.failKeys([]string{"faults"}, "faults are injected only by serve --enable-faults")
	}
}

func (r *raw) checkListeners(d *decoder) {
	if len(r.Listen) == 0 {
		d.failKeys([]string{"listen"}, "is empty; name at least one host:port or unix:PATH")
	}
	seen := map[string]bool{}
	for _, addr := range r.Listen {
		if seen[addr] && !anyPort(addr) {
			d.failKeys([]string{"listen"}, "the same address is there twice")
		}
		seen[addr] = true
	}
	if r.Anonymous && slices.ContainsFunc(r.Listen, func(addr string) bool { return !Local(addr) }) {
		d.failKeys([]string{"anonymous"}, "true is allowed only with every listener on loopback or unix")
	}
	if seen[r.Admin.Listen] && !anyPort(r.Admin.Listen) {
		d.failKeys([]string{"admin.listen", "listen"}, "the address of the S3 listener and of the admin listener is the same")
	}
	if d.given("admin.token") && r.Admin.Token.IsZero() {
		d.failKeys([]string{"admin.token"}, "is empty; give it a value, or remove the line")
	} else if r.Admin.Token.IsZero() && !Local(r.Admin.Listen) {
		d.failKeys([]string{"admin.listen"}, "off loopback the admin listener needs an admin.token")
	}
}

func (r *raw) checkTLS(d *decoder) {
	t := r.TLS
	switch {
	case t.Cert == "" && t.Key == "":
		if t.ClientCA != "" {
			d.failKeys([]string{"tls.client_ca"}, "needs tls.cert and tls.key")
		}
		return
	case t.Cert == "" || t.Key == "":
		d.failKeys([]string{"tls.cert", "tls.key"}, "tls.cert and tls.key go together; one is missing")
		return
	}
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		d.failKeys([]string{"tls.cert"}, "the key pair can not be used: %v", withoutName(err))
	}
	if t.ClientCA != "" {
		checkCA(d, "tls.client_ca", t.ClientCA)
	}
}

func checkCA(d *decoder, key, file string) {
	pem, err := readFile(file)
	if err != nil {
		d.failKeys([]string{key}, "can not be read: %v", withoutName(err))
	} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		d.failKeys([]string{key}, "the file has no certificate in it (PEM is expected)")
	}
}

func (r *raw) checkCredentials(d *decoder) {
	seen := map[string]bool{}
	for _, c := range r.credentials {
		at := func(key string) []string { return []string{join(c.path, key), c.path} }
		switch {
		case c.AccessKey == "":
			d.failKeys(at("access_key"), "access_key is missing")
		case !validAccessKey(c.AccessKey):
			d.failKeys(at("access_key"), accessKeyRule)
		case seen[c.AccessKey]:
			d.failKeys(at("access_key"), "the same access_key is there twice")
		}
		seen[c.AccessKey] = true
		if secret, ok := c.secret.read(d, c.path); ok {
			switch {
			case secret == "":
				d.failKeys(at("secret_key"), "secret_key or secret_key_file is missing")
			case !validSecret(secret):
				d.failKeys([]string{join(c.path, "secret_key"), join(c.path, "secret_key_file")}, "the secret "+secretRule)
			}
			c.SecretKey = NewSecret(secret)
		}
		if !c.hasBuckets {
			c.Buckets = []string{"*"}
		}
		r.Credentials = append(r.Credentials, c.Credential)
	}
}

// read returns the secret, empty when neither way was used, or false after an error.
func (s secretSource) read(d *decoder, above string) (string, bool) {
	key := join(above, "secret_key_file")
	switch {
	case s.file == "":
		return s.value, true
	case d.given(join(above, "secret_key")):
		d.failKeys([]string{key}, "secret_key and secret_key_file exclude each other")
		return "", false
	}
	text, err := readFile(s.file)
	if err != nil {
		d.failKeys([]string{key}, "can not be read: %v", withoutName(err))
		return "", false
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		d.failKeys([]string{key}, "the file is empty")
		return "", false
	}
	return secret, true
}

func (r *raw) checkCache(d *decoder) {
	c := r.Cache
	if c.Dir == "" {
		d.failKeys([]string{"cache.dir"}, "is empty; name a directory")
	}
	blockOK := c.BlockSize >= 64<<10 && c.BlockSize <= 16<<20 && c.BlockSize&(c.BlockSize-1) == 0
	if !blockOK {
		d.failKeys([]string{"cache.block_size"}, "must be a power of two from 64KiB to 16MiB")
	}
	if blockOK && c.Size < 16*c.BlockSize {
		d.failKeys([]string{"cache.size", "cache.block_size"}, "the cache must have room for 16 blocks: %d bytes or more", 16*c.BlockSize)
	}
	if c.LowWatermark <= 0 || c.LowWatermark >= c.HighWatermark {
		d.failKeys([]string{"cache.low_watermark", "cache.high_watermark"},
			"the watermarks are out of order: 0 < low_watermark (%v) < high_watermark (%v) <= 1 is needed", c.LowWatermark, c.HighWatermark)
	}
	if c.PinLimit > c.HighWatermark {
		d.failKeys([]string{"cache.pin_limit", "cache.high_watermark"},
			"pin_limit (%v) must not be above high_watermark (%v)", c.PinLimit, c.HighWatermark)
	}
}

// withoutName takes the file's name out of an error: somebody may have written the secret in its place.
func withoutName(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
