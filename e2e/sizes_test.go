//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sizes are those around the borders of parts.
func sizes() []int64 {
	const part = int64(gatewayPart)
	all := []int64{0, 1, part - 1, part, part + 1, 2 * part, 2*part + 1, 3*part - 1}
	if full() {
		all = append(all, 1<<30)
	}
	return all
}

// orders are the orders in which parts get to the store.
var orders = []string{"as they come", "last part first", "random"}

// order makes one of orders happen from now on.
func (g *gatewayProcess) order(name string, seed uint64) {
	g.t.Helper()
	g.clearFaults()
	switch name {
	case "last part first":
		g.fault("upload.last-part-first")
	case "random":
		g.fault("upstream.latency", "operation=UploadPart", "probability=0.5", fmt.Sprintf("seed=%d", seed), "delay=150ms")
	}
}

// write puts an object and reads it back. Every error but an errCorrupt is a failure that the client has seen as such and
// that has left nothing.
func (g *gatewayProcess) write(c *http.Client, path string, what content, known, exact bool) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), 5*time.Minute)
	defer cancel()
	size := what.size
	if !known {
		size = -1
	}
	put, failed := g.put(ctx, c, path, what.reader(), size)
	got, err := g.check(ctx, c, path, what)
	switch {
	case failed != nil && errors.Is(err, errNoObject):
		return failed
	case failed != nil:
		return errCorrupt{fmt.Sprintf("the write failed (%v), but something is there: %v", failed, err)}
	case err != nil:
		return err
	case got != put:
		return errCorrupt{fmt.Sprintf("ETag %s, the write was answered with %s", got, put)}
	}
	if want := etagOf(what, known); exact && got != want {
		return errCorrupt{fmt.Sprintf("ETag %s, want %s", got, want)}
	}
	return nil
}

// etagOf is the ETag that S3 gives to what the gateway makes of a body.
func etagOf(what content, known bool) string {
	if known || what.size <= gatewayPart {
		return what.wholeETag()
	}
	return what.cutETag(gatewayPart)
}

// TestSizes writes every size around the borders of parts, of known and of unknown length, with parts in every order, on
// every upstream.
func TestSizes(t *testing.T) {
	for _, kind := range append(writeKinds(), emulated...) {
		t.Run(kind, func(t *testing.T) {
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			createBucket(t, g.client(), "sizes")
			seed := seedOf(t, 4)
			c := rawClient(1)
			defer c.CloseIdleConnections()
			for _, order := range orders {
				g.order(order, seed)
				for i, size := range sizes() {
					if size > 1<<26 && slices.Contains(emulated, kind) {
						continue // an emulator keeps everything in memory
					}
					for _, known := range []bool{true, false} {
						path := fmt.Sprintf("/sizes/%s-%d-%v", strings.ReplaceAll(order, " ", "-"), size, known)
						if err := g.write(c, path, content{seed + uint64(i), size}, known, exactETags(kind)); err != nil {
							t.Errorf("%s, %d bytes, known length %v: %v", order, size, known, err)
						}
					}
				}
			}
			g.clearFaults()
			if n := g.metric("unistore_upload_memory_bytes"); n != 0 {
				t.Errorf("%v bytes of memory are still in use", n)
			}
		})
	}
}

// TestSizesCatchTheBug puts the decision of the bug back, which looks at a piece's size alone, into a binary of its own:
// what TestSizes checks must see the corruption, on every upstream and in every order.
func TestSizesCatchTheBug(t *testing.T) {
	bug := buildMutant(t, "multipart/plan.go", "whole := position == 0 && last", "whole := size < DefaultPart")
	const part = int64(gatewayPart)
	for _, kind := range writeKinds() {
		t.Run(kind, func(t *testing.T) {
			g := startWith(t, setup{upstreams: upstreamYAML(t, kind, t.TempDir()), binary: bug})
			createBucket(t, g.client(), "sizes")
			c := rawClient(1)
			defer c.CloseIdleConnections()
			for _, order := range orders {
				g.order(order, seedOf(t, 4))
				for i, size := range []int64{part + 1, 2*part + 1, 3*part - 1, 2 * part} {
					path := fmt.Sprintf("/sizes/%s-%d", strings.ReplaceAll(order, " ", "-"), size)
					err := g.write(c, path, content{uint64(i), size}, false, exactETags(kind))
					_, corrupt := errors.AsType[errCorrupt](err)
					if whole := size%part == 0; corrupt == whole { // without a short piece even the bug works
						t.Errorf("%s, %d bytes: %v", order, size, err)
					}
					t.Logf("%s, %d bytes: %.300s", order, size, fmt.Sprint(err))
				}
			}
		})
	}
}

// buildMutant builds the binary with one piece of one source file replaced.
func buildMutant(t *testing.T, file, from, to string) string {
	t.Helper()
	dir := t.TempDir()
	path, err := filepath.Abs(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), from) != 1 {
		t.Fatalf("%s does not have %q once", file, from)
	}
	mutant := filepath.Join(dir, filepath.Base(file))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{mutant: strings.Replace(string(source), from, to, 1), filepath.Join(dir, "overlay.json"): string(overlay)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", filepath.Join(dir, "unistore"), "./cmd/unistore")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "unistore")
}

// writeKinds are the upstreams of the proofs of writing: kinds, and the one that UNISTORE_E2E_UPSTREAM configures.
func writeKinds() []string {
	all := slices.Clone(kinds)
	if os.Getenv(upstreamVariable) != "" {
		all = append(all, "configured")
	}
	return all
}

// exactETags reports whether a kind gives ETags as S3 does.
func exactETags(kind string) bool {
	return slices.Contains([]string{"local", "versitygw", "minio"}, kind)
}
