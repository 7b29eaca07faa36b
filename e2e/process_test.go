//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestTwoProcessesOnOneCache: the second refuses, says why, and does no harm.
func TestTwoProcessesOnOneCache(t *testing.T) {
	first := startGateway(t, upstreamYAML(t, "local", t.TempDir()), "")
	l := newLake(t, first, 2, 1<<20)
	l.read(t, 1, 80)
	second := prepareWith(t, setup{upstreams: upstreamYAML(t, "local", t.TempDir()), cacheDir: first.cacheDir})
	cmd := exec.Command(binary(t), "serve", "--config", second.config)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	t.Logf("exit code %d: %s", cmd.ProcessState.ExitCode(), out.String())
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v, want exit code 1", err)
	}
	for _, text := range []string{"in use by another process", first.cacheDir} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the message does not say %q", text)
		}
	}
	l.read(t, 2, 80)
	first.awaitAgreement(10 * time.Second)
}

// rest is what must be back when the clients have left.
type rest struct {
	goroutines, fds, hidden int
}

func (g *gatewayProcess) rest(objects string) rest {
	g.t.Helper()
	_, fds := g.openFiles()
	return rest{g.goroutines(), fds, files(g.t, objects)}
}

// TestClientsThatLeave: 1,000 clients go in the midst of a body, most of them reading, some writing.
func TestClientsThatLeave(t *testing.T) {
	const size, clients = 32 << 20, 50
	dir := t.TempDir()
	objects := filepath.Join(dir, "objects")
	g := startWith(t, setup{upstreams: upstreamYAML(t, "local", dir), cache: "size: 64MiB, reserve_free: 0"})
	c := g.client()
	createBucket(t, c, "leave")
	for i := range 4 {
		put(t, c, "leave", fmt.Sprintf("k%d", i), content{uint64(i), size}.bytes())
	}
	if _, err := get(t, c, "leave", "k0", "bytes=0-99"); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	base := g.rest(objects)
	g.fault("upstream.bandwidth", "total=200MB/s") // so that all are in mid-body
	total := count(300, 1000)
	var all sync.WaitGroup
	errs := make(chan error, total)
	for id := range clients {
		all.Go(func() {
			for i := range total / clients {
				n := id*total/clients + i
				if n%5 == 4 {
					errs <- g.leaveWriting(fmt.Sprintf("new-%d", n))
				} else {
					errs <- g.leaveReading(g.presigned("leave", fmt.Sprintf("k%d", n%4)), n)
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	g.clearFaults()
	var now rest
	eventually(t, 30*time.Second, func() string {
		http.DefaultClient.CloseIdleConnections()
		now = g.rest(objects)
		if now.goroutines > base.goroutines+5 || now.fds > base.fds+5 || now.hidden != base.hidden {
			return fmt.Sprintf("before %+v, now %+v", base, now)
		}
		return ""
	})
	s := g.awaitAgreement(10 * time.Second)
	blocks, _ := g.openFiles()
	t.Logf("%d clients left; before %+v, after %+v; %+v, %d block files open", total, base, now, s, blocks)
	l := &lake{g: g, c: rawClient(1), urls: []string{g.presigned("leave", "k1")}, what: []content{{1, size}}}
	l.read(t, 1, 80)
}

// leaveReading reads a bit of a body and goes.
func (g *gatewayProcess) leaveReading(to string, n int) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", g.s3)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%d-\r\n\r\n", u.RequestURI(), g.s3, n%64<<18)
	if err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	_, err = io.CopyN(io.Discard, res.Body, int64(n%7)*50_000+1)
	return err
}

// leaveWriting sends a bit of a body and goes.
func (g *gatewayProcess) leaveWriting(key string) error {
	req, err := http.NewRequest(http.MethodPut, g.url()+"/leave/"+key, http.NoBody)
	if err != nil {
		return err
	}
	req.ContentLength = 8 << 20
	req.Header.Set("Content-Length", "8388608")
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	creds := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}
	if err := v4.NewSigner().SignHTTP(g.t.Context(), creds, req, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now()); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", g.s3)
	if err != nil {
		return err
	}
	defer conn.Close()
	var head bytes.Buffer
	fmt.Fprintf(&head, "PUT /leave/%s HTTP/1.1\r\nHost: %s\r\n", key, g.s3)
	req.Header.Set("Content-Length", "8388608")
	if err := req.Header.Write(&head); err != nil {
		return err
	}
	head.WriteString("\r\n")
	if _, err := conn.Write(head.Bytes()); err != nil {
		return err
	}
	part := make([]byte, 1<<20)
	_, _ = rand.Read(part)
	_, err = conn.Write(part)
	return err
}

// TestFileDescriptorsRunOut opens more connections than there are descriptors: the surplus is told to slow down, the
// rest is served, and all is normal when they have left.
func TestFileDescriptorsRunOut(t *testing.T) {
	const descriptors, conns = 256, 600
	g := startWith(t, setup{upstreams: upstreamYAML(t, "local", t.TempDir()), files: descriptors, cache: "size: 64MiB, reserve_free: 0"})
	l := newLake(t, g, 8, 6<<20)
	l.read(t, 1, 200)
	held := make([]net.Conn, 0, conns)
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for range conns {
		c, err := net.Dial("tcp", g.s3)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	served, slow, closed := 0, 0, 0
	for i, c := range held {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "GET /lake/none HTTP/1.1\r\nHost: %s\r\n\r\n", g.s3)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			closed++
			t.Logf("connection %d: %v", i, err)
			continue
		}
		text, _ := io.ReadAll(res.Body)
		switch {
		case res.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), "<Code>SlowDown</Code>"):
			slow++
		case res.StatusCode == http.StatusForbidden: // not signed: it is served
			served++
		default:
			t.Errorf("connection %d: %d %s", i, res.StatusCode, text)
		}
	}
	blocks, others := g.openFiles()
	t.Logf("%d descriptors, %d connections: %d served, %d SlowDown, %d closed; %d block files and %d others open",
		descriptors, conns, served, slow, closed, blocks, others)
	if served < 50 || slow == 0 || closed > 0 {
		t.Errorf("%d served, %d SlowDown, %d closed without a word", served, slow, closed)
	}
	for _, c := range held {
		c.Close()
	}
	eventually(t, 10*time.Second, func() string {
		if n := g.metric("unistore_connections"); n > 20 {
			return fmt.Sprintf("%v connections", n)
		}
		return ""
	})
	l.c.CloseIdleConnections()
	l.read(t, 2, 400)
	g.awaitAgreement(10 * time.Second)
}

// TestRestartOfABigCache fills the cache and measures how long a start takes, after SIGTERM and after kill -9.
func TestRestartOfABigCache(t *testing.T) {
	const objectSize = 256 << 20
	dir := t.TempDir()
	objects := count(2, 14)
	g := startWith(t, setup{upstreams: upstreamYAML(t, "local", dir), cache: "size: 4GiB, block_size: 64KiB, reserve_free: 1GiB"})
	createBucket(t, g.client(), "lake")
	sparse(t, filepath.Join(dir, "objects"), "lake", objects, objectSize)
	c := rawClient(1)
	defer c.CloseIdleConnections()
	for i := range objects {
		res, err := c.Get(g.presigned("lake", fmt.Sprintf("object-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); err != nil || n != objectSize {
			t.Fatalf("%d bytes, %v", n, err)
		}
		res.Body.Close()
	}
	full := g.awaitAgreement(30 * time.Second)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		began := time.Now()
		g.stop(sig)
		stopped := time.Since(began)
		took := g.start()
		s := g.awaitAgreement(30 * time.Second)
		t.Logf("%d blocks, %d bytes: %v took %v, ready again after %v", s.Blocks, s.Resident, sig, stopped, took)
		if s.Resident != full.Resident {
			t.Errorf("after %v: %d bytes of %d are cached", sig, s.Resident, full.Resident)
		}
		if took > 2*time.Second {
			t.Errorf("after %v: ready after %v", sig, took)
		}
	}
}

// TestDrain sends SIGTERM in the midst of a slow download: it comes whole, and another process can have the cache and the
// addresses at once.
func TestDrain(t *testing.T) {
	what := content{1, 256 << 20}
	g := startGateway(t, upstreamYAML(t, "local", t.TempDir()), "")
	createBucket(t, g.client(), "drain")
	put(t, g.client(), "drain", "k", what.bytes())
	g.fault("upstream.bandwidth", "total=64MB/s") // 4.2 s
	c := rawClient(1)
	url := g.presigned("drain", "k")
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	began := time.Now()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		g.stop(syscall.SIGTERM)
	}()
	n, err := what.compare(res.Body, 0)
	took := time.Since(began)
	if err != nil || n != what.size {
		t.Errorf("%d bytes of %d: %v", n, what.size, err)
	}
	c.CloseIdleConnections()
	<-stopped
	t.Logf("256 MiB in %v under drain; the process ended %v later", took, time.Since(began)-took)
	if all := time.Since(began); all > 30*time.Second {
		t.Errorf("the end took %v", all)
	}
	if ready := g.start(); ready > 2*time.Second {
		t.Errorf("the next process was ready after %v", ready)
	}
	before := g.dataRequests()
	if err := readRange(c, url, what, 0, what.size); err != nil {
		t.Error(err)
	}
	if n := g.dataRequests() - before; n != 0 {
		t.Errorf("%v upstream requests for what was read before", n)
	}
	c.CloseIdleConnections()
}
