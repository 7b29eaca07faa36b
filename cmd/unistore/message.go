package main

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"unistore/config"
)

// startMessage says where everything is, and gives the lines to paste for awscli. No secret is in it: they are
// read from where they are by the shell.
func startMessage(cfg *config.Config, addresses []string, admin string, p process) string {
	var b strings.Builder
	scheme := "http"
	if cfg.TLS.Cert != "" {
		scheme = "https"
	}
	endpoint := ""
	fmt.Fprintf(&b, "UniStore %s\n\n", version)
	for _, addr := range addresses {
		where := reach(scheme, addr)
		if endpoint == "" && !strings.HasPrefix(where, "unix:") {
			endpoint = where
		}
		fmt.Fprintf(&b, "  S3        %s\n", where)
	}
	fmt.Fprintf(&b, "  admin     %s\n", reach("http", admin))
	fmt.Fprintf(&b, "  config    %s\n", cfg.Source)
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u := cfg.Upstreams[name]
		place := u.Endpoint
		switch {
		case u.Type == "local":
			place = absolute(u.Root)
		case place == "":
			place = "AWS " + u.Region
		}
		fmt.Fprintf(&b, "  upstream  %s: %s, %s\n", name, u.Type, place)
	}
	fmt.Fprintf(&b, "  cache     %s, %s\n", absolute(cfg.Cache.Dir), size(cfg.Cache.Size))
	if cfg.CredentialsFile != "" {
		fmt.Fprintf(&b, "  keys      %s (generated)\n", absolute(cfg.CredentialsFile))
	}
	if endpoint != "" {
		fmt.Fprintf(&b, "\nTo use it with awscli, paste:\n\n")
		paste(&b, cfg, endpoint, p)
	}
	b.WriteByte('\n')
	return b.String()
}

// paste writes the lines for a shell.
func paste(b *strings.Builder, cfg *config.Config, endpoint string, p process) {
	fmt.Fprintf(b, "  export AWS_ENDPOINT_URL=%s AWS_REGION=%s AWS_DEFAULT_REGION=%s\n", endpoint, cfg.Region, cfg.Region)
	if len(cfg.Credentials) == 0 {
		fmt.Fprintf(b, "  aws --no-sign-request s3 ls\n")
		return
	}
	access := cfg.Credentials[0].AccessKey
	fmt.Fprintf(b, "  export AWS_ACCESS_KEY_ID=%s\n", access)
	switch {
	case cfg.CredentialsFile != "":
		fmt.Fprintf(b, "  export AWS_SECRET_ACCESS_KEY=\"$(sed -n 's/.*\"secret_key\": \"\\(.*\\)\".*/\\1/p' %s)\"\n",
			quote(absolute(cfg.CredentialsFile)))
	case access == p.getenv("UNISTORE_ACCESS_KEY"):
		fmt.Fprintf(b, "  export AWS_SECRET_ACCESS_KEY=\"$UNISTORE_SECRET_KEY\"\n")
	default:
		fmt.Fprintf(b, "  export AWS_SECRET_ACCESS_KEY=...   # its secret_key in %s\n", cfg.Source)
	}
}

// reach turns a listener's address into what to connect to.
func reach(scheme, addr string) string {
	if strings.HasPrefix(addr, "unix:") {
		return addr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.4g %ciB", f, units[i])
}
