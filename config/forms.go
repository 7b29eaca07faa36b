package config

import (
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

var (
	regionForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	nameForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	// bucketForm is wider than today's rules of AWS: upstreams have older buckets.
	bucketForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)
)

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

func checkRegion(s string) error {
	if !regionForm.MatchString(s) && s != "" {
		return errors.New("is no region; lower-case letters, digits and '-' are allowed")
	}
	return nil
}

func checkDomain(s string) error {
	if !domainForm.MatchString(s) && s != "" {
		return errors.New("is no domain; write a lower-case name without port")
	}
	return nil
}

func checkGlob(s string) error {
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return errors.New("is no glob; allowed are *, ?, [a-z] and plain names")
	}
	return nil
}

func checkBucket(s string) error {
	if !bucketForm.MatchString(s) && s != "" {
		return errors.New("is no bucket's name")
	}
	return nil
}

// supportedTypes are the types of upstreams.
var supportedTypes = []string{"cos", "hdfs", "local", "obs", "oss", "s3"}

func checkType(s string) error {
	if !slices.Contains(supportedTypes, s) {
		return fmt.Errorf("is unknown%s; allowed are %s", didYouMean(s, supportedTypes), strings.Join(supportedTypes, ", "))
	}
	return nil
}

// checkHostPort is for a NameNode's address.
func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.Atoi(port)
	if err != nil || host == "" || strings.ContainsAny(host, "/@ ") || perr != nil || n < 1 || n > 65535 {
		return errors.New("must be HOST:PORT, such as nn1:8020")
	}
	return nil
}

// checkUser is for a user of a cluster.
func checkUser(s string) error {
	if s == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r == '@' || r == 0x7f }) {
		return errors.New("is no user's name; Kerberos principals are not supported")
	}
	return nil
}

func checkEndpoint(s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil
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
		return errors.New("must be at most 512 bytes of UTF-8")
	}
	return nil
}
