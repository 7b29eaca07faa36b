package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// finish checks across keys and fills in what depends on several of them.
func (r *raw) finish(d *decoder, opts LoadOptions) {
	r.checkListeners(d)
	r.checkTLS(d)
	r.checkNames(d)
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
		if err := checkAddress(addr); err != nil {
			d.failKeys([]string{"listen"}, "%q %v", clip(addr), err)
		} else if seen[addr] && !anyPort(addr) {
			d.failKeys([]string{"listen"}, "%q is there twice", clip(addr))
		}
		seen[addr] = true
		if r.Anonymous && !Local(addr) {
			d.failKeys([]string{"anonymous"}, "true is allowed only with every listener on loopback or unix; %q is public", clip(addr))
		}
	}
	if err := checkAddress(r.Admin.Listen); err != nil {
		d.failKeys([]string{"admin.listen"}, "%q %v", clip(r.Admin.Listen), err)
		return
	}
	if seen[r.Admin.Listen] && !anyPort(r.Admin.Listen) {
		d.failKeys([]string{"admin.listen", "listen"}, "%q is the address of the S3 listener too", clip(r.Admin.Listen))
	}
	if d.given("admin.token") && r.Admin.Token.IsZero() {
		d.failKeys([]string{"admin.token"}, "is empty; give it a value, or remove the line")
	} else if r.Admin.Token.IsZero() && !Local(r.Admin.Listen) {
		d.failKeys([]string{"admin.listen"}, "off loopback the admin listener needs an admin.token")
	}
}

// Local reports whether a listener's address is a Unix socket or on loopback.
func Local(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func anyPort(addr string) bool { return strings.HasSuffix(addr, ":0") }

func checkAddress(addr string) error {
	if p, ok := strings.CutPrefix(addr, "unix:"); ok {
		if p == "" || len(p) > 107 || strings.ContainsRune(p, 0) { // sun_path of unix(7)
			return errors.New("is no Unix socket; write unix: and a path of at most 107 bytes")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("is no address; allowed are host:port and unix:PATH")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("has no valid port; allowed is 0 to 65535")
	}
	if strings.ContainsAny(host, " /\\@?#\x00") {
		return errors.New("has no valid host; allowed are a name, an IPv4 address, an IPv6 address in [], or nothing for all")
	}
	return nil
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
		d.failKeys([]string{"tls.cert"}, "the key pair can not be used: %v", err)
	}
	if t.ClientCA != "" {
		checkCA(d, "tls.client_ca", t.ClientCA)
	}
}

func checkCA(d *decoder, key, file string) {
	pem, err := readFile(file)
	if err != nil {
		d.failKeys([]string{key}, "%v", err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		d.failKeys([]string{key}, "%s: no certificate in it (PEM is expected)", clip(file))
	}
}

var (
	regionForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	// bucketForm is wider than today's rules of AWS: upstreams have older buckets.
	bucketForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)
)

func (r *raw) checkNames(d *decoder) {
	if !regionForm.MatchString(r.Region) {
		d.failKeys([]string{"region"}, "%q is no region; lower-case letters, digits and '-' are allowed", clip(r.Region))
	}
	r.BaseDomains = slices.DeleteFunc(r.BaseDomains, func(s string) bool { return s == "" })
	for _, domain := range r.BaseDomains {
		if !domainForm.MatchString(domain) {
			d.failKeys([]string{"base_domains"}, "%q is no domain; write a lower-case name without port", clip(domain))
		}
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
		for _, glob := range c.Buckets {
			if _, err := path.Match(glob, ""); err != nil || glob == "" {
				d.failKeys(at("buckets"), "%q is no glob; allowed are *, ?, [a-z] and plain names", clip(glob))
			}
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
		d.failKeys([]string{key}, "%v", err)
		return "", false
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		d.failKeys([]string{key}, "%s is empty", clip(s.file))
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

func checkEndpoint(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be http://HOST[:PORT] or https://HOST[:PORT]")
	case u.User != nil:
		return errors.New("must not hold a password; use access_key and secret_key")
	case u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return errors.New("must be http://HOST[:PORT] or https://HOST[:PORT] without a path")
	}
	return nil
}

func checkPrefix(s string) error {
	if len(s) > 512 || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("must be at most 512 bytes of UTF-8")
	}
	return nil
}
