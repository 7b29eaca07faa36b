package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// callTimeout bounds one call of the admin listener.
	callTimeout = 30 * time.Second
	// maxAnswer is the most that is read of an answer: bytes.
	maxAnswer = 16 << 20
)

// adminFlags say where the admin listener of the running gateway is.
type adminFlags struct{ url, token string }

func addAdminFlags(cmd *cobra.Command, p process) *adminFlags {
	a := &adminFlags{}
	url := p.getenv("UNISTORE_ADMIN_URL")
	if url == "" {
		url = "http://127.0.0.1:9001"
	}
	cmd.PersistentFlags().StringVar(&a.url, "admin", url, "admin listener: a URL or unix:PATH")
	// Not a default of the flag: --help would print it.
	cmd.PersistentFlags().StringVar(&a.token, "token", "", "admin token (default: UNISTORE_ADMIN_TOKEN)")
	return a
}

// call sends a request and reads the JSON of the answer into out, unless that is nil. An answer that is no
// success is an error, with the gateway's words.
func (a *adminFlags) call(ctx context.Context, p process, method, path string, in, out any) error {
	return a.callWithin(ctx, p, callTimeout, adminCall{method, path, in}, out)
}

// adminCall is a request to the admin listener; in becomes JSON unless it is nil.
type adminCall struct {
	method, path string
	in           any
}

// callWithin is call with another bound on its time.
func (a *adminFlags) callWithin(ctx context.Context, p process, limit time.Duration, call adminCall, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := a.send(ctx, p, call)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the admin listener's answer was cut: %w", err)
	}
	return decodeAnswer(resp.StatusCode, text, out)
}

// send sends a request; closing the answer's body ends its connection.
func (a *adminFlags) send(ctx context.Context, p process, call adminCall) (*http.Response, error) {
	client, base, err := a.client()
	if err != nil {
		return nil, err
	}
	var body []byte
	if call.in != nil {
		if body, err = json.Marshal(call.in); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, call.method, base+call.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	token := a.token
	if token == "" {
		token = p.getenv("UNISTORE_ADMIN_TOKEN")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the admin listener does not answer: %w", err)
	}
	return resp, nil
}

// decodeAnswer reads an answer. Only /readyz answers 503 with something else than an error.
func decodeAnswer(status int, text []byte, out any) error {
	if status >= 300 {
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(text, &e); err == nil && e.Error.Message != "" {
			return errors.New(e.Error.Message)
		}
		if status != http.StatusServiceUnavailable || out == nil {
			return fmt.Errorf("the admin listener answered %d", status)
		}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("the admin listener's answer is no JSON: %w", err)
	}
	return nil
}

// client returns a client for the listener and what comes before a path.
func (a *adminFlags) client() (*http.Client, string, error) {
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	if path, ok := strings.CutPrefix(a.url, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return &http.Client{Transport: transport}, "http://localhost", nil
	}
	u, err := url.Parse(a.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, "", errors.New("--admin must be http://HOST:PORT, https://HOST:PORT or unix:PATH")
	}
	return &http.Client{Transport: transport}, strings.TrimRight(a.url, "/"), nil
}

// ready asks /readyz; not to be ready is a failure.
func (a *adminFlags) ready(cmd *cobra.Command, p process) error {
	var answer struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons,omitempty"`
	}
	if err := a.call(cmd.Context(), p, http.MethodGet, "/readyz", nil, &answer); err != nil {
		return fail(err)
	}
	if asJSON(cmd) {
		if err := json.NewEncoder(p.out).Encode(answer); err != nil {
			return fail(err)
		}
	} else if answer.Ready {
		fmt.Fprintln(p.out, "ready")
	}
	if !answer.Ready {
		return fail(errors.New(strings.Join(append([]string{"not ready"}, answer.Reasons...), ": ")))
	}
	return nil
}
