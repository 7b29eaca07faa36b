//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// cacheState is a part of the answer to GET /_unistore/v1/cache.
type cacheState struct {
	Capacity int64 `json:"capacity_bytes"`
	Resident int64 `json:"resident_bytes"`
	Reserved int64 `json:"reserved_bytes"`
	Blocks   int   `json:"blocks"`
	Fills    int   `json:"fills"`
	Readers  int   `json:"readers"`
}

// control calls the control API of the admin side and decodes its answer into out, unless that is nil.
func (g *gatewayProcess) control(method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "http://"+g.admin+"/_unistore/v1"+path, body)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (g *gatewayProcess) cache() cacheState {
	g.t.Helper()
	var s cacheState
	if err := g.control(http.MethodGet, "/cache", nil, &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// operate runs the binary as an operator does, against this gateway, and returns what it printed.
func (g *gatewayProcess) operate(args ...string) string {
	g.t.Helper()
	return g.run(binary(g.t), append(args, "--admin", "http://"+g.admin)...)
}

// fault makes a fault active.
func (g *gatewayProcess) fault(name string, params ...string) {
	g.t.Helper()
	g.operate(append([]string{"faults", "set", name}, params...)...)
}

func (g *gatewayProcess) clearFaults() {
	g.t.Helper()
	g.operate("faults", "clear")
}

// diskUse is what the block files are and take.
type diskUse struct {
	files int
	bytes int64 // allocated
}

func (g *gatewayProcess) diskUse() diskUse {
	g.t.Helper()
	var u diskUse
	err := filepath.WalkDir(filepath.Join(g.cacheDir, "blocks"), func(_ string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		u.files++
		u.bytes += info.Sys().(*syscall.Stat_t).Blocks * 512 // st_blocks counts 512 byte units (stat(2))
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return u
}

// metaBlock is what the filesystem may add to a file for its own map of a file with holes (ext4: one block).
const metaBlock = 4096

// agrees says why index and disk do not, or nothing.
func (s cacheState) agrees(u diskUse) string {
	switch {
	case s.Fills != 0 || s.Readers != 0 || s.Reserved != 0:
		return fmt.Sprintf("not at rest: %+v", s)
	case s.Blocks != u.files:
		return fmt.Sprintf("%d blocks in the index, %d files", s.Blocks, u.files)
	case u.bytes < s.Resident || u.bytes > s.Resident+int64(u.files)*metaBlock:
		return fmt.Sprintf("%d bytes in the index, %d on disk in %d files", s.Resident, u.bytes, u.files)
	case s.Resident > s.Capacity:
		return fmt.Sprintf("%d bytes in a cache of %d", s.Resident, s.Capacity)
	}
	return ""
}

// awaitAgreement fails the test when index and disk do not agree in time.
func (g *gatewayProcess) awaitAgreement(within time.Duration) cacheState {
	g.t.Helper()
	deadline := time.Now().Add(within)
	for {
		s, u := g.cache(), g.diskUse()
		why := s.agrees(u)
		if why == "" {
			return s
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("index and disk do not agree: %s", why)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// eventually waits for ok, which says what it still misses.
func eventually(t *testing.T, within time.Duration, ok func() string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		missing := ok()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", within, missing)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// presigned is a URL that needs no other signature; ranges go in a header.
func (g *gatewayProcess) presigned(bucket, key string) string {
	g.t.Helper()
	p := s3.NewPresignClient(g.client(), s3.WithPresignExpires(time.Hour))
	req, err := p.PresignGetObject(g.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		g.t.Fatal(err)
	}
	return req.URL
}

// goroutines is their number in the process, without fasthttp's idle workers, which wait some seconds for the next
// connection before they end.
func (g *gatewayProcess) goroutines() int {
	g.t.Helper()
	res, err := http.Get("http://" + g.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		g.t.Fatal(err)
	}
	n := 0
	for group := range strings.SplitSeq(string(readAll(g.t, res.Body)), "\n\n") {
		for line := range strings.Lines(group) {
			count, _, ok := strings.Cut(line, " @ ")
			if !ok {
				continue
			}
			k, err := strconv.Atoi(count)
			if err != nil {
				g.t.Fatalf("%q: %v", line, err)
			}
			_, frames, _ := strings.Cut(group, line)
			if first, _, _ := strings.Cut(frames, "\n"); !strings.Contains(first, "fasthttp.(*workerPool).workerFunc") {
				n += k
			}
		}
	}
	return n
}

// openFiles counts the descriptors of the process; those of block files, which it keeps open on purpose, apart.
func (g *gatewayProcess) openFiles() (blocks, others int) {
	g.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", g.cmd.Process.Pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range list {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(to, filepath.Join(g.cacheDir, "blocks")):
			blocks++
		default:
			others++
		}
	}
	return blocks, others
}

// files counts the regular files below dir.
func files(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
