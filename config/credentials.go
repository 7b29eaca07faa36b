package config

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// credentialsName is the file of generated credentials in the data directory.
const credentialsName = "credentials.json"

// storedCredential is that file's contents: one key a line, so that sed can read it.
type storedCredential struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// envCredential adds the key pair of the environment, which replaces one of the same access key.
func (r *raw) envCredential(d *decoder) {
	access, _ := d.lookup("UNISTORE_ACCESS_KEY")
	secret, _ := d.lookup("UNISTORE_SECRET_KEY")
	if access == "" && secret == "" {
		return
	}
	fail := func(name, what string) { d.errs = append(d.errs, &Error{Source: name, What: what}) }
	switch {
	case access == "":
		fail("UNISTORE_ACCESS_KEY", "is not set, but UNISTORE_SECRET_KEY is; set both or none")
	case secret == "":
		fail("UNISTORE_SECRET_KEY", "is not set, but UNISTORE_ACCESS_KEY is; set both or none")
	case !validAccessKey(access):
		fail("UNISTORE_ACCESS_KEY", accessKeyRule)
	case !validSecret(secret):
		fail("UNISTORE_SECRET_KEY", "the value "+secretRule)
	default:
		kept := []Credential{{AccessKey: access, SecretKey: NewSecret(secret), Buckets: []string{"*"}}}
		for _, c := range r.Credentials {
			if c.AccessKey != access {
				kept = append(kept, c)
			}
		}
		r.Credentials = kept
	}
}

// generateCredentials reads the credentials of the data directory, or makes them once, when there are no others.
func (r *raw) generateCredentials(d *decoder, opts LoadOptions) error {
	if len(r.Credentials) > 0 || r.Anonymous {
		return nil
	}
	name := filepath.Join(opts.DefaultDir, credentialsName)
	c, err := readCredential(name)
	if errors.Is(err, fs.ErrNotExist) {
		if opts.KeepCredentials {
			return nil
		}
		if err = writeCredential(name); err == nil {
			c, err = readCredential(name)
		}
	}
	if err != nil {
		return fmt.Errorf("generated credentials: %w", err)
	}
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o077 != 0 {
		d.warnings = append(d.warnings, fmt.Sprintf("%s can be read by others (mode %04o): chmod 600 it", name, info.Mode().Perm()))
	}
	r.CredentialsFile = name
	r.Credentials = []Credential{{AccessKey: c.AccessKey, SecretKey: NewSecret(c.SecretKey), Buckets: []string{"*"}}}
	return nil
}

func readCredential(name string) (storedCredential, error) {
	var c storedCredential
	text, err := readFile(name)
	if err != nil {
		return c, err
	}
	// The decoder's own error could quote the file.
	if json.Unmarshal(text, &c) != nil || !validAccessKey(c.AccessKey) || !validSecret(c.SecretKey) {
		return c, fmt.Errorf("%s: must hold access_key and secret_key as JSON; remove it to have it made anew", name)
	}
	return c, nil
}

// writeCredential makes a new key pair durable, readable by the owner alone. If another process
// was quicker, its pair stays.
func writeCredential(name string) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// 20 and 40 characters of base32, as long as those of AWS: 85 and 200 random bits.
	c := storedCredential{AccessKey: "UNI" + rand.Text()[:17], SecretKey: (rand.Text() + rand.Text())[:40]}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".credentials-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	err = os.Link(f.Name(), name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(f.Name(), name) // a file system without links
}

const (
	accessKeyRule = "must be 3 to 128 letters, digits, '_', '-' or '.'"
	secretRule    = "must be 8 to 256 printable ASCII characters without spaces"
)

// validAccessKey keeps what would break the scope of a signature (/ , = and spaces) out.
func validAccessKey(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
	return len(s) >= 3 && len(s) <= 128 && strings.Trim(s, allowed) == ""
}

func validSecret(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) >= 8 && len(s) <= 256
}
